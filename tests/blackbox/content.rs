//! Payloads that prove themselves: what they are can be told from their bytes alone.

/// Bytes of the header that names seed and length.
pub const HEADER_BYTES: usize = 24;

/// A small generator (xorshift) for reproducible choices and payloads.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// Evenly in `0..bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % bound as u64).expect("below a usize")
    }
}

/// `length` bytes (at least [`HEADER_BYTES`]) made of `seed`; no two seeds agree in any long stretch.
pub fn payload(seed: u64, length: usize) -> Vec<u8> {
    assert!(length >= HEADER_BYTES);
    let mut bytes = Vec::with_capacity(length + 8);
    bytes.extend_from_slice(b"ringcask");
    bytes.extend_from_slice(&seed.to_le_bytes());
    bytes.extend_from_slice(&(length as u64).to_le_bytes());
    let mut random = Random::new(seed ^ 0xA5A5_5A5A);
    while bytes.len() < length {
        bytes.extend_from_slice(&random.next().to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// The seed of an intact payload; what is wrong otherwise.
pub fn seed_of(bytes: &[u8]) -> Result<u64, String> {
    let header = bytes.get(..HEADER_BYTES).ok_or_else(|| format!("only {} bytes", bytes.len()))?;
    let number = |at: usize| u64::from_le_bytes(header[at..at + 8].try_into().expect("eight bytes"));
    if &header[..8] != b"ringcask" {
        return Err("the header is damaged".to_owned());
    }
    if number(16) != bytes.len() as u64 {
        return Err(format!("{} bytes of {}", bytes.len(), number(16)));
    }
    let whole = payload(number(8), bytes.len());
    match whole.iter().zip(bytes).position(|(expected, have)| expected != have) {
        None => Ok(number(8)),
        Some(at) => Err(format!("differs from byte {at} of {}", bytes.len())),
    }
}
