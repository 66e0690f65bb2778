//! Little-endian encoding of on-disk structures, and its checked reading.

/// Appends values to a byte vector.
pub trait Encode {
    fn u8(&mut self, value: u8);
    fn u16(&mut self, value: u16);
    fn u32(&mut self, value: u32);
    fn u64(&mut self, value: u64);
    /// Bytes behind their length as u16.
    fn short_bytes(&mut self, bytes: &[u8]);
    /// Bytes behind their length as u32.
    fn long_bytes(&mut self, bytes: &[u8]);
}

impl Encode for Vec<u8> {
    fn u8(&mut self, value: u8) {
        self.push(value);
    }

    fn u16(&mut self, value: u16) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn u32(&mut self, value: u32) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn short_bytes(&mut self, bytes: &[u8]) {
        self.u16(u16::try_from(bytes.len()).expect("checked against its limit before"));
        self.extend_from_slice(bytes);
    }

    fn long_bytes(&mut self, bytes: &[u8]) {
        self.u32(u32::try_from(bytes.len()).expect("checked against its limit before"));
        self.extend_from_slice(bytes);
    }
}

/// The bytes are not what the format says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// Reads values from the front of bytes that came from a disk: every step is checked.
pub struct Decoder<'a> {
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Bytes that are not read yet.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    pub fn bytes(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.rest.split_at_checked(count).ok_or(Malformed)?;
        self.rest = rest;
        Ok(head)
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(Malformed)?;
        self.rest = rest;
        Ok(*head)
    }

    pub fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(|[byte]| byte)
    }

    pub fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_le_bytes)
    }

    pub fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_le_bytes)
    }

    pub fn short_bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let count = self.u16()?;
        self.bytes(count.into())
    }

    pub fn long_bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let count = self.u32()?;
        self.bytes(count as usize)
    }

    /// A count of elements that each take at least `bytes_min`: never more than the rest can hold, so that
    /// it may be used to reserve memory.
    pub fn count(&mut self, bytes_min: usize) -> Result<usize, Malformed> {
        let count = self.u32()? as usize;
        if count.saturating_mul(bytes_min) > self.rest.len() { Err(Malformed) } else { Ok(count) }
    }

    pub fn string(&mut self) -> Result<String, Malformed> {
        String::from_utf8(self.short_bytes()?.to_vec()).map_err(|_| Malformed)
    }
}
