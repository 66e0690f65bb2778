//! Keys: derived from each other, and sealing small secrets.

use std::fmt;

use ::ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

use super::segments::TAG_BYTES;

/// First byte of what [`Key::seal`] makes: names the construction.
const SEALED_VERSION: u8 = 1;

/// Random bytes for each sealed secret.
const SALT_BYTES: usize = 24;

/// Bytes that [`Key::seal`] adds to a secret.
pub const SEALED_OVERHEAD_BYTES: usize = 1 + SALT_BYTES + TAG_BYTES;

/// Sealed bytes, or a segment, are not what was written under this key and context: another key, another
/// place, or changed bytes. Which of them cannot be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Damaged;

impl fmt::Display for Damaged {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("encrypted bytes do not belong to this key and place, or were changed")
    }
}

impl std::error::Error for Damaged {}

/// A 256-bit key. Its memory is wiped when it is dropped, and `Debug` does not show it.
///
/// The cipher contexts that `ring` expands from a key live as long as the request that uses them and are
/// not wiped: the crate has no means for it.
pub struct Key {
    bytes: Zeroizing<[u8; Key::BYTES]>,
}

impl Key {
    pub const BYTES: usize = 32;

    /// Takes a key and wipes the copy that it was given.
    pub fn new(mut bytes: [u8; Self::BYTES]) -> Self {
        let key = Self { bytes: Zeroizing::new(bytes) };
        bytes.zeroize();
        key
    }

    /// A new key from unpredictable bytes.
    pub fn random(random: impl FnOnce(&mut [u8])) -> Self {
        let mut bytes = Zeroizing::new([0; Self::BYTES]);
        random(&mut *bytes);
        Self { bytes }
    }

    /// Reads a key of exactly [`Key::BYTES`].
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; Self::BYTES] = bytes.try_into().ok()?;
        Some(Self::new(bytes))
    }

    /// The key itself, for those who write it to where it is kept.
    pub fn reveal(&self) -> &[u8; Self::BYTES] {
        &self.bytes
    }

    /// The key for one purpose: HMAC-SHA256 of the purpose's name and what else distinguishes it. Keys of
    /// different names or parts are independent; none tells anything of the key they come from.
    pub fn derive(&self, name: &str, parts: &[&[u8]]) -> Self {
        Self { bytes: self.mac(name, parts) }
    }

    /// HMAC-SHA256 under this key (RFC 2104). Each input goes with its length, so that no two lists of parts
    /// read alike.
    fn mac(&self, name: &str, parts: &[&[u8]]) -> Zeroizing<[u8; 32]> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&*self.bytes).expect("HMAC takes keys of any length");
        for part in std::iter::once(name.as_bytes()).chain(parts.iter().copied()) {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        Zeroizing::new(mac.finalize().into_bytes().into())
    }

    /// Encrypts a small secret. It opens only with the same `context`, which says what and where the secret
    /// is, so that sealed bytes cannot be passed off as others. `random` fills a buffer with unpredictable
    /// bytes.
    pub fn seal(&self, context: &[u8], secret: &[u8], random: impl FnOnce(&mut [u8])) -> Vec<u8> {
        let mut salt = [0; SALT_BYTES];
        random(&mut salt);
        let mut sealed = Vec::with_capacity(secret.len() + SEALED_OVERHEAD_BYTES);
        sealed.push(SEALED_VERSION);
        sealed.extend_from_slice(&salt);
        sealed.extend_from_slice(secret);
        let start = 1 + SALT_BYTES;
        let tag = cipher(&self.derive("seal", &[&salt]))
            .seal_in_place_separate_tag(zero_nonce(), Aad::from(context), &mut sealed[start..])
            .expect("a secret is shorter than GCM's 64 GiB");
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    /// Decrypts what [`Key::seal`] made.
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Damaged> {
        let (&version, rest) = sealed.split_first().ok_or(Damaged)?;
        if version != SEALED_VERSION {
            return Err(Damaged);
        }
        let (salt, encrypted) = rest.split_at_checked(SALT_BYTES).ok_or(Damaged)?;
        let mut secret = Zeroizing::new(encrypted.to_vec());
        let length = cipher(&self.derive("seal", &[salt]))
            .open_in_place(zero_nonce(), Aad::from(context), &mut secret)
            .map_err(|_| Damaged)?
            .len();
        secret.truncate(length);
        Ok(secret)
    }

    /// Encrypts a key under this one.
    pub fn wrap(&self, context: &[u8], key: &Self, random: impl FnOnce(&mut [u8])) -> Vec<u8> {
        self.seal(context, &*key.bytes, random)
    }

    /// Decrypts what [`Key::wrap`] made.
    pub fn unwrap(&self, context: &[u8], wrapped: &[u8]) -> Result<Self, Damaged> {
        Self::from_slice(&self.open(context, wrapped)?).ok_or(Damaged)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Key(***)")
    }
}

/// The key of a node, under which everything else is sealed that must not lie open on its drives.
#[derive(Debug)]
pub struct MasterKey(Key);

impl MasterKey {
    pub const BYTES: usize = Key::BYTES;

    pub const FINGERPRINT_BYTES: usize = 8;

    pub fn new(key: Key) -> Self {
        Self(key)
    }

    /// Seals a secret of the node: see [`Key::seal`]. The context begins with the kind of secret.
    pub fn seal(&self, context: &[u8], secret: &[u8], random: impl FnOnce(&mut [u8])) -> Vec<u8> {
        self.0.seal(context, secret, random)
    }

    /// Opens what [`MasterKey::seal`] made.
    pub fn open(&self, context: &[u8], sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Damaged> {
        self.0.open(context, sealed)
    }

    /// A key for one purpose of the node: see [`Key::derive`].
    pub fn derive(&self, name: &str, parts: &[&[u8]]) -> Key {
        self.0.derive(name, parts)
    }

    /// Tells master keys apart without telling anything of them: for messages and checks at the start.
    pub fn fingerprint(&self) -> [u8; Self::FINGERPRINT_BYTES] {
        let mac = self.0.mac("fingerprint", &[]);
        std::array::from_fn(|index| mac[index])
    }

    /// The key itself, for whoever writes it to its file.
    pub fn reveal(&self) -> &[u8; Key::BYTES] {
        self.0.reveal()
    }
}

/// The AES-256-GCM context of a key.
pub(super) fn cipher(key: &Key) -> LessSafeKey {
    let key = UnboundKey::new(&AES_256_GCM, &*key.bytes).expect("a key of the algorithm's length");
    LessSafeKey::new(key)
}

/// The nonce of keys that are used once.
fn zero_nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn key(byte: u8) -> Key {
        Key::new([byte; 32])
    }

    fn hex(text: &str) -> Vec<u8> {
        let digit = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
        (0..text.len()).step_by(2).map(digit).collect()
    }

    #[test]
    fn the_cipher_is_aes_256_gcm() {
        // McGrew and Viega, "The Galois/Counter Mode of Operation", appendix B, test cases 14 and 15.
        let mut block = [0; 16].to_vec();
        let seal = |key: &[u8], nonce: &[u8], bytes: &mut [u8]| {
            let nonce = Nonce::try_assume_unique_for_key(nonce).unwrap();
            let cipher = cipher(&Key::from_slice(key).unwrap());
            cipher.seal_in_place_separate_tag(nonce, Aad::empty(), bytes).unwrap().as_ref().to_vec()
        };
        let tag = seal(&[0; 32], &[0; 12], &mut block);
        assert_eq!(block, hex("cea7403d4d606b6e074ec5d3baf39d18"));
        assert_eq!(tag, hex("d0d1c8a799996bf0265b98b5d48ab919"));
        let mut text = hex(
            "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525\
             b16aedf5aa0de657ba637b391aafd255",
        );
        let key = hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
        let tag = seal(&key, &hex("cafebabefacedbaddecaf888"), &mut text);
        assert_eq!(
            text,
            hex(
                "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838\
                 c5f61e6393ba7a0abcc9f662898015ad"
            )
        );
        assert_eq!(tag, hex("b094dac5d93471bdec1a502270e3cc6c"));
    }

    #[test]
    fn what_was_sealed_before_still_opens() {
        // Made by an independent implementation: Python's `hmac` and `cryptography`.
        let sealed =
            "01090909090909090909090909090909090909090909090909776130bae29747e5d9af7f16597a5a35dee99035750a";
        assert_eq!(&**key(7).open(b"context", &hex(sealed)).unwrap(), b"secret");
        let again = key(7).seal(b"context", b"secret", |salt| salt.fill(9));
        assert_eq!(again, hex(sealed));
    }

    #[test]
    fn keys_of_different_purposes_differ() {
        let root = key(1);
        let keys = [
            root.derive("a", &[]),
            root.derive("b", &[]),
            root.derive("a", &[b""]),
            root.derive("a", &[b"b"]),
            root.derive("a", &[b"b", b"c"]),
            root.derive("a", &[b"bc"]),
            root.derive("ab", &[b"c"]),
            key(2).derive("a", &[]),
        ];
        for (index, one) in keys.iter().enumerate() {
            assert!(keys[..index].iter().all(|other| other.reveal() != one.reveal()), "{index}");
        }
        assert_eq!(root.derive("a", &[b"b"]).reveal(), keys[3].reveal());
    }

    #[test]
    fn no_key_is_ever_printed() {
        assert_eq!(format!("{:?}", MasterKey::new(key(0x41))), "MasterKey(Key(***))");
    }

    #[test]
    fn fingerprints_tell_master_keys_apart() {
        let of = |byte| MasterKey::new(key(byte)).fingerprint();
        assert_eq!(of(1), of(1));
        assert_ne!(of(1), of(2));
    }

    proptest! {
        #[test]
        fn a_sealed_secret_opens_only_unchanged_in_its_place_and_with_its_key(
            secret in proptest::collection::vec(any::<u8>(), 0..100),
            salt in any::<u8>(),
            flip in any::<(prop::sample::Index, u8)>(),
            cut in any::<prop::sample::Index>(),
        ) {
            let sealed = key(1).seal(b"here", &secret, |bytes| bytes.fill(salt));
            prop_assert_eq!(sealed.len(), secret.len() + SEALED_OVERHEAD_BYTES);
            let opened = key(1).open(b"here", &sealed).unwrap();
            prop_assert_eq!(&*opened, &secret);
            prop_assert_eq!(key(1).open(b"there", &sealed), Err(Damaged));
            prop_assert_eq!(key(2).open(b"here", &sealed), Err(Damaged));
            prop_assert_eq!(key(1).open(b"here", &sealed[..cut.index(sealed.len())]), Err(Damaged));
            let mut changed = sealed.clone();
            changed[flip.0.index(sealed.len())] ^= 1 << (flip.1 % 8);
            prop_assert_eq!(key(1).open(b"here", &changed), Err(Damaged));
        }
    }
}
