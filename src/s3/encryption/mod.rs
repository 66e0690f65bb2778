//! Server-side encryption: what a request asks for, the keys it takes, and what an object keeps of it.
//!
//! Every encrypted object (and multipart upload) has a data key of its own, which is kept with it, wrapped:
//! SSE-S3 wraps it under a key of the node, SSE-KMS under a named key with the client's encryption context,
//! SSE-C under the key that the client brings with each request. Payload is encrypted in *runs*: an object
//! that is put whole is one, of a multipart object each part is. The key of a run is derived from the data
//! key, the part's number and a random salt, so that a part that is uploaded again gets another.
//!
//! [`asked`] reads headers, [`vault`] has the named keys, [`data_key`] wraps and unwraps, [`sealer`] encrypts
//! payload where it was received, [`reader`] reads it back, [`transcode`]
//! copies it from key to key, [`answer`] says it in responses, and [`requests`] joins them for the operations.
//! `docs/ENCRYPTION.md` tells what is protected against whom.
//!
//! Source: AWS, "Protecting data with server-side encryption".

pub mod answer;
pub mod asked;
pub mod data_key;
pub mod layout;
pub mod reader;
pub mod requests;
pub mod sealer;
pub mod transcode;
pub mod vault;

use crate::engine::{Headers, ObjectPart};
use crate::s3::error::{Code, S3Error};

pub use answer::{Answer, Notice};
pub use asked::{CustomerKey, brings_key};
pub use data_key::{DataKey, Place, RunKey, Target};
pub use reader::{Opened, PlainReader};
pub use sealer::Sealer;
pub use vault::Vault;

/// Name under which [`Encryption`] is kept among an object's headers; no header of HTTP can have it.
pub const HEADER: &str = ":encryption";

/// Distinguishes the runs of one data key.
pub type Salt = [u8; 16];

/// With whose keys an object is encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// SSE-S3.
    Managed,
    /// SSE-KMS.
    Named {
        /// As the client gave it.
        key_id: String,
        /// The encryption context as canonical JSON; empty for none.
        context: String,
        /// Shown as it was asked for. It has no other effect: named keys are at hand here, and sharing their
        /// calls among the objects of a bucket would save nothing.
        is_bucket_key: bool,
    },
    /// SSE-C.
    Customer,
}

/// What an object or an upload keeps of its encryption.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encryption {
    pub scheme: Scheme,
    /// Version of the wrapping key; 0 for a customer's.
    pub key_version: u32,
    /// The data key, wrapped.
    pub wrapped: Vec<u8>,
    /// The runs of the payload, in order. Empty for an upload, and for an object that was made of parts,
    /// which have the salts.
    pub runs: Vec<Run>,
}

/// A stretch of payload under a key of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// That of the part, 0 for an object that was put whole. Numbers ascend: runs cannot change places.
    pub number: u16,
    pub plain_bytes: u64,
    pub salt: Salt,
}

const VERSION: u8 = 1;
const SCHEME_MANAGED: u8 = 1;
const SCHEME_NAMED: u8 = 2;
const SCHEME_CUSTOMER: u8 = 3;
const RUN_BYTES: usize = 2 + 8 + 16;

impl Encryption {
    /// Remembers it among an object's or an upload's headers.
    pub fn store(&self, headers: &mut Headers) {
        remove(headers);
        headers.push((HEADER.to_owned(), self.encode()));
    }

    /// Finds what [`Encryption::store`] remembered.
    pub fn load(headers: &Headers) -> Result<Option<Self>, S3Error> {
        let Some((_, value)) = headers.iter().find(|(name, _)| name == HEADER) else { return Ok(None) };
        match Self::decode(value) {
            Some(encryption) => Ok(Some(encryption)),
            None => {
                tracing::error!("an object's note about its encryption cannot be read");
                Err(Code::InternalError.into())
            }
        }
    }

    /// The runs of an object that has these parts.
    pub fn runs_of(&self, parts: &[ObjectPart]) -> Option<Vec<Run>> {
        if parts.is_empty() || !self.runs.is_empty() {
            return Some(self.runs.clone());
        }
        let run = |part: &ObjectPart| {
            let salt = part.note.as_slice().try_into().ok()?;
            Some(Run { number: part.number, plain_bytes: part.bytes, salt })
        };
        parts.iter().map(run).collect()
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        let short = |out: &mut Vec<u8>, bytes: &[u8]| {
            out.extend_from_slice(&(bytes.len() as u16).to_le_bytes());
            out.extend_from_slice(bytes);
        };
        match &self.scheme {
            Scheme::Managed => out.push(SCHEME_MANAGED),
            Scheme::Named { key_id, context, is_bucket_key } => {
                out.push(SCHEME_NAMED);
                short(&mut out, key_id.as_bytes());
                short(&mut out, context.as_bytes());
                out.push(u8::from(*is_bucket_key));
            }
            Scheme::Customer => out.push(SCHEME_CUSTOMER),
        }
        out.extend_from_slice(&self.key_version.to_le_bytes());
        short(&mut out, &self.wrapped);
        for run in &self.runs {
            out.extend_from_slice(&run.number.to_le_bytes());
            out.extend_from_slice(&run.plain_bytes.to_le_bytes());
            out.extend_from_slice(&run.salt);
        }
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (&[version, scheme], mut rest) = bytes.split_first_chunk()?;
        if version != VERSION {
            return None;
        }
        let short = |rest: &mut &[u8]| {
            let (length, after) = rest.split_first_chunk()?;
            let (bytes, after) = after.split_at_checked(u16::from_le_bytes(*length).into())?;
            *rest = after;
            Some(bytes.to_vec())
        };
        let scheme = match scheme {
            SCHEME_MANAGED => Scheme::Managed,
            SCHEME_NAMED => {
                let key_id = String::from_utf8(short(&mut rest)?).ok()?;
                let context = String::from_utf8(short(&mut rest)?).ok()?;
                let (&is_bucket_key, after) = rest.split_first()?;
                rest = after;
                Scheme::Named { key_id, context, is_bucket_key: is_bucket_key != 0 }
            }
            SCHEME_CUSTOMER => Scheme::Customer,
            _ => return None,
        };
        let (key_version, after) = rest.split_first_chunk()?;
        rest = after;
        let wrapped = short(&mut rest)?;
        let (runs, rest) = rest.as_chunks::<RUN_BYTES>();
        let runs: Vec<Run> = runs.iter().map(decode_run).collect();
        let is_ascending = runs.windows(2).all(|pair| pair[0].number < pair[1].number);
        let key_version = u32::from_le_bytes(*key_version);
        (rest.is_empty() && is_ascending).then_some(Self { scheme, key_version, wrapped, runs })
    }
}

fn decode_run(bytes: &[u8; RUN_BYTES]) -> Run {
    Run {
        number: u16::from_le_bytes(std::array::from_fn(|at| bytes[at])),
        plain_bytes: u64::from_le_bytes(std::array::from_fn(|at| bytes[2 + at])),
        salt: std::array::from_fn(|at| bytes[10 + at]),
    }
}

/// Takes what an object keeps of its encryption out of its headers: for a copy, which has its own.
pub fn remove(headers: &mut Headers) {
    headers.retain(|(name, _)| name != HEADER);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn named() -> Encryption {
        let scheme = Scheme::Named {
            key_id: "alias/project".to_owned(),
            context: r#"{"a":"b"}"#.to_owned(),
            is_bucket_key: true,
        };
        let run = |number| Run { number, plain_bytes: u64::from(number) << 40, salt: [number as u8; 16] };
        Encryption { scheme, key_version: 7, wrapped: vec![5; 73], runs: vec![run(1), run(10_000)] }
    }

    #[test]
    fn what_an_object_keeps_is_found_again() {
        for encryption in [
            named(),
            Encryption { scheme: Scheme::Managed, runs: Vec::new(), ..named() },
            Encryption { scheme: Scheme::Customer, key_version: 0, ..named() },
        ] {
            let mut headers = vec![("content-type".to_owned(), b"a/b".to_vec())];
            encryption.store(&mut headers);
            encryption.store(&mut headers);
            assert_eq!((headers.len(), Encryption::load(&headers)), (2, Ok(Some(encryption))));
            remove(&mut headers);
            assert_eq!(Encryption::load(&headers), Ok(None));
        }
    }

    #[test]
    fn runs_that_changed_places_are_no_encryption() {
        let mut encryption = named();
        encryption.runs.reverse();
        assert_eq!(Encryption::decode(&encryption.encode()), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Encryption::decode(&bytes);
            let mut like = named().encode();
            like.truncate(bytes.len());
            let _ = Encryption::decode(&like);
        }
    }
}
