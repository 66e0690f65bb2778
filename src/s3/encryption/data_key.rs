//! The data key of an object or an upload: made, wrapped, unwrapped, and the keys of runs that come from it.

use super::answer::{self, Answer, Notice};
use super::asked::{Asked, CustomerKey};
use super::vault::{KEY_DEFAULT, KEY_OF_NODE, Vault, name_of, refusal};
use super::{Encryption, Run, Salt, Scheme};
use crate::base::etag::ETag;
use crate::crypt::{Key, SegmentCipher};
use crate::engine::BucketId;
use crate::http::Response;
use crate::io::Host;
use crate::s3::error::{Code, S3Error};

/// Where an object is: a wrapped data key opens nowhere else. Its key is no part of it, because a rename within
/// the bucket changes that without the customer's key at hand.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub bucket: BucketId,
}

/// With whose key a new object is to be encrypted.
#[derive(Debug)]
pub enum Target {
    Managed,
    Named { key_id: String, context: String, is_bucket_key: bool },
    Customer(CustomerKey),
}

/// A data key at hand, with what is kept of it.
pub struct DataKey {
    key: Key,
    pub kept: Encryption,
    /// Digest of the customer's key that wraps it.
    customer_md5: Option<[u8; 16]>,
}

/// The key of a run of payload that is being received.
pub struct RunKey {
    pub number: u16,
    pub salt: Salt,
    pub cipher: SegmentCipher,
}

impl Target {
    /// SSE-KMS with a key, or with the one for those who name none.
    pub fn named(key_id: Option<String>, context: String, is_bucket_key: bool) -> Self {
        let key_id = key_id.unwrap_or_else(|| format!("alias/{KEY_DEFAULT}"));
        Self::Named { key_id, context, is_bucket_key }
    }

    /// What a write asks for; what it leaves open is as AWS has it without a default of the bucket.
    /// `None`: not encrypted. The key of SSE-KMS must exist.
    pub fn choose(asked: Asked, default: Option<Target>, vault: &Vault) -> Result<Option<Self>, S3Error> {
        let target = match asked {
            Asked::Nothing => default,
            Asked::Managed => Some(Self::Managed),
            Asked::Customer(key) => Some(Self::Customer(key)),
            Asked::Named { key_id, context, is_bucket_key } => {
                let default = matches!(default, Some(Self::Named { is_bucket_key: true, .. }));
                Some(Self::named(key_id, context, is_bucket_key.unwrap_or(default)))
            }
        };
        if let Some(Self::Named { key_id, .. }) = &target {
            vault.info(name_of(key_id)).map_err(|error| refusal(error, key_id))?;
        }
        Ok(target)
    }

    /// Makes a data key for a new object or upload.
    pub fn data_key<H: Host>(self, vault: &Vault, place: Place, host: &H) -> Result<DataKey, S3Error> {
        let key = Key::random(|bytes| host.random(bytes));
        self.wrap(key, vault, place, host)
    }

    /// Makes the data key of a copy that shares its source's payload.
    pub fn rewrap<H: Host>(
        self,
        source: DataKey,
        runs: Vec<Run>,
        vault: &Vault,
        place: Place,
        host: &H,
    ) -> Result<DataKey, S3Error> {
        let mut copy = self.wrap(source.key, vault, place, host)?;
        copy.kept.runs = runs;
        Ok(copy)
    }

    fn wrap<H: Host>(self, key: Key, vault: &Vault, place: Place, host: &H) -> Result<DataKey, S3Error> {
        let customer_md5 = match &self {
            Self::Customer(customer) => Some(customer.md5),
            Self::Managed | Self::Named { .. } => None,
        };
        let random = |bytes: &mut [u8]| host.random(bytes);
        let newest = |key_id| vault.newest(name_of(key_id)).map_err(|error| refusal(error, key_id));
        let (scheme, key_version, wrapped) = match self {
            Self::Managed => {
                let (version, wrapping) = newest(KEY_OF_NODE)?;
                (Scheme::Managed, version, wrapping.wrap(&bound(&Scheme::Managed, place), &key, random))
            }
            Self::Named { key_id, context, is_bucket_key } => {
                let (version, wrapping) = newest(&key_id)?;
                let scheme = Scheme::Named { key_id, context, is_bucket_key };
                let wrapped = wrapping.wrap(&bound(&scheme, place), &key, random);
                (scheme, version, wrapped)
            }
            Self::Customer(customer) => {
                let wrapped = customer.key.wrap(&bound(&Scheme::Customer, place), &key, random);
                (Scheme::Customer, 0, wrapped)
            }
        };
        let kept = Encryption { scheme, key_version, wrapped, runs: Vec::new() };
        Ok(DataKey { key, kept, customer_md5 })
    }

    /// Whether a copy that is to be encrypted so may share the payload of a source that is: under the same
    /// key, so that whoever gets or loses that key gets or loses both.
    pub fn is_of(&self, source: &Encryption, source_key: Option<&CustomerKey>) -> bool {
        match (self, &source.scheme) {
            (Self::Managed, Scheme::Managed) => true,
            (
                Self::Named { key_id, context, .. },
                Scheme::Named { key_id: other, context: other_context, .. },
            ) => name_of(key_id) == name_of(other) && context == other_context,
            (Self::Customer(key), Scheme::Customer) => Some(key) == source_key,
            _ => false,
        }
    }
}

impl DataKey {
    /// Unwraps what an object or upload keeps. A customer's key that does not fit is `wrong_key`.
    pub fn open(
        kept: Encryption,
        place: Place,
        vault: &Vault,
        customer: Option<&CustomerKey>,
        wrong_key: impl FnOnce() -> S3Error,
    ) -> Result<Self, S3Error> {
        let context = bound(&kept.scheme, place);
        let of_vault =
            |key_id| vault.version(name_of(key_id), kept.key_version).map_err(|error| refusal(error, key_id));
        let opened = match (&kept.scheme, customer) {
            (Scheme::Customer, Some(customer)) => customer.key.unwrap(&context, &kept.wrapped).ok(),
            (Scheme::Customer, None) => None,
            (Scheme::Managed, _) => of_vault(KEY_OF_NODE)?.unwrap(&context, &kept.wrapped).ok(),
            (Scheme::Named { key_id, .. }, _) => of_vault(key_id)?.unwrap(&context, &kept.wrapped).ok(),
        };
        match opened {
            Some(key) => Ok(Self { key, kept, customer_md5: customer.map(|customer| customer.md5) }),
            None if kept.scheme == Scheme::Customer => Err(wrong_key()),
            None => {
                tracing::error!("a data key does not open: the object's record was changed or moved");
                Err(Code::InternalError.into())
            }
        }
    }

    /// Says in a response how the object is encrypted.
    pub fn describe(&self, response: &mut Response, answer: Answer) {
        answer::describe(response, &self.kept, self.customer_md5, answer);
    }

    /// What responses tell, without the key.
    pub fn into_notice(self) -> Notice {
        Notice { kept: self.kept, customer_md5: self.customer_md5 }
    }

    /// A key for a run of payload that is about to be received.
    pub fn new_run<H: Host>(&self, number: u16, host: &H) -> RunKey {
        let mut salt = [0; 16];
        host.random(&mut salt);
        RunKey { number, salt, cipher: self.cipher(number, &salt) }
    }

    /// Encrypts and decrypts one run.
    pub fn cipher(&self, number: u16, salt: &Salt) -> SegmentCipher {
        SegmentCipher::new(&self.key.derive("run", &[&number.to_le_bytes(), salt]))
    }

    /// A key for a run that is to follow those of the object, which has them in its parts or notes them
    /// itself. From now on it does. `None` if it can have no more.
    pub fn following_run<H: Host>(&mut self, runs: Vec<Run>, host: &H) -> Option<RunKey> {
        let number = runs.last().map_or(Some(0), |last| last.number.checked_add(1))?;
        self.kept.runs = runs;
        Some(self.new_run(number, host))
    }

    /// Notes a run of payload that was received whole.
    pub fn add_run(&mut self, run: &RunKey, plain_bytes: u64) {
        self.kept.runs.push(Run { number: run.number, plain_bytes, salt: run.salt });
    }

    /// The ETag of a run with this MD5. AWS shows the MD5 of what SSE-S3 encrypts, and no MD5 of what is
    /// encrypted under other keys: it would tell whoever may list, and not decrypt, what they guess. There
    /// it is a MAC of the MD5, different for each upload; a part that is sent again has the same.
    pub fn etag(&self, md5: [u8; 16], run: &RunKey) -> ETag {
        if self.kept.scheme == Scheme::Managed {
            return ETag::of_md5(md5);
        }
        let mac = self.key.derive("etag", &[&run.number.to_le_bytes(), &md5]);
        ETag::of_md5(std::array::from_fn(|at| mac.reveal()[at]))
    }
}

/// What a wrapped data key is bound to: bucket, scheme and encryption context.
fn bound(scheme: &Scheme, place: Place) -> Vec<u8> {
    let (code, context) = match scheme {
        Scheme::Managed => (1, ""),
        Scheme::Named { context, .. } => (2, context.as_str()),
        Scheme::Customer => (3, ""),
    };
    let mut bound = b"data key".to_vec();
    bound.push(code);
    bound.extend_from_slice(&place.bucket.to_le_bytes());
    bound.extend_from_slice(context.as_bytes());
    bound
}

impl std::fmt::Debug for DataKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("DataKey").field("kept", &self.kept).finish_non_exhaustive()
    }
}
