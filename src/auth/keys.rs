//! The key that Signature Version 4 signs with, and a cache of such keys.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::base::limits::{SIGNING_DATES_MAX, SIGNING_KEYS_MAX};

/// HMAC-SHA256 under a key of any length.
fn hmac(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// The key of one secret, day and region, for service `s3`: four HMACs deep.
///
/// Source: AWS, "Signature calculations for the Authorization header", task 3.
#[derive(Clone)]
pub struct SigningKey {
    /// Keyed already: a signature hashes the message, not the key again.
    mac: Hmac<Sha256>,
}

impl SigningKey {
    /// Derives the key; `date` is `YYYYMMDD`.
    pub fn derive(secret: &str, date: &str, region: &str) -> Self {
        let mut key = [b"AWS4", secret.as_bytes()].concat();
        for part in [date, region, "s3", "aws4_request"] {
            key = hmac(&key).chain_update(part).finalize().into_bytes().to_vec();
        }
        Self { mac: hmac(&key) }
    }

    /// Signature of a string to sign, in lower-case hex.
    pub fn sign(&self, string_to_sign: &[u8]) -> [u8; 64] {
        hex(&self.mac.clone().chain_update(string_to_sign).finalize().into_bytes().into())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SigningKey(secret)")
    }
}

/// Lower-case hex of a SHA-256 or an HMAC-SHA256.
pub(super) fn hex(digest: &[u8; 32]) -> [u8; 64] {
    let digit = |nibble: u8| b"0123456789abcdef"[usize::from(nibble)];
    let mut text = [0; 64];
    for (pair, byte) in text.chunks_exact_mut(2).zip(digest) {
        pair[0] = digit(byte >> 4);
        pair[1] = digit(byte & 15);
    }
    text
}

/// Signing keys derived for earlier requests; one per core.
///
/// Deriving a key takes about a microsecond, a quarter of what checking a small request takes, and a day's
/// key is the same all day. Entries are found by access key id and verified against secret and region,
/// so a key whose secret was changed is derived anew. Only ids that have a secret get in, and at most
/// [`SIGNING_KEYS_MAX`] of them with [`SIGNING_DATES_MAX`] days each.
#[derive(Default)]
pub struct SigningKeys {
    derived: RefCell<HashMap<String, Vec<Derived>>>,
}

struct Derived {
    secret: String,
    date: String,
    region: String,
    key: SigningKey,
}

impl SigningKeys {
    pub fn new() -> Self {
        Self::default()
    }

    /// The signing key of `access_key_id`, whose secret is `secret`; `date` is `YYYYMMDD`.
    pub fn key(&self, access_key_id: &str, secret: &str, date: &str, region: &str) -> SigningKey {
        let mut derived = self.derived.borrow_mut();
        if let Some(days) = derived.get(access_key_id) {
            let same = |day: &&Derived| day.date == date && day.region == region && day.secret == secret;
            if let Some(day) = days.iter().find(same) {
                return day.key.clone();
            }
        }
        let key = SigningKey::derive(secret, date, region);
        if derived.len() >= SIGNING_KEYS_MAX && !derived.contains_key(access_key_id) {
            // Rare (more ids than that in use on one core), and refilling costs a microsecond for each.
            derived.clear();
        }
        let days = derived.entry(access_key_id.to_owned()).or_default();
        days.retain(|day| day.secret == secret && day.region == region && day.date != date);
        if days.len() >= SIGNING_DATES_MAX {
            days.remove(0);
        }
        days.push(Derived {
            secret: secret.to_owned(),
            date: date.to_owned(),
            region: region.to_owned(),
            key: key.clone(),
        });
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(key: &SigningKey) -> [u8; 64] {
        key.sign(b"message")
    }

    /// AWS, "Examples of how to derive a signing key", publishes the key of service `iam`; the signatures of
    /// the S3 examples (in `auth/tests`) prove the key of service `s3`. Here the cache must not change it.
    #[test]
    fn a_cached_key_is_the_derived_key() {
        let keys = SigningKeys::new();
        let derived = SigningKey::derive("secret", "20130524", "us-east-1");
        for _ in 0..2 {
            assert_eq!(signature(&keys.key("id", "secret", "20130524", "us-east-1")), signature(&derived));
        }
    }

    #[test]
    fn a_changed_secret_date_or_region_gets_its_own_key() {
        let keys = SigningKeys::new();
        let first = signature(&keys.key("id", "secret", "20130524", "us-east-1"));
        for (secret, date, region) in [
            ("other", "20130524", "us-east-1"),
            ("secret", "20130525", "us-east-1"),
            ("secret", "20130524", "eu-west-1"),
        ] {
            let other = signature(&keys.key("id", secret, date, region));
            assert_ne!(other, first);
            assert_eq!(other, signature(&SigningKey::derive(secret, date, region)));
        }
        assert_eq!(signature(&keys.key("id", "secret", "20130524", "us-east-1")), first);
    }

    #[test]
    fn ids_and_days_are_bounded() {
        let keys = SigningKeys::new();
        for id in 0..2 * SIGNING_KEYS_MAX + 5 {
            for day in 0..SIGNING_DATES_MAX + 3 {
                keys.key(&format!("id{id}"), "secret", &format!("201305{day:02}"), "us-east-1");
            }
        }
        let derived = keys.derived.borrow();
        assert!(derived.len() <= SIGNING_KEYS_MAX);
        assert!(derived.values().all(|days| days.len() <= SIGNING_DATES_MAX));
    }

    #[test]
    fn a_key_is_not_printed() {
        assert_eq!(format!("{:?}", SigningKey::derive("secret", "d", "r")), "SigningKey(secret)");
    }
}
