//! The settings of a bucket: their documents, and what they mean.
//!
//! Each file is one setting: how its document is read, with AWS's refusals, how it is written, and the
//! questions that requests ask it. All of it is pure. The engine keeps the written form; [`BucketSettings`]
//! reads a setting when it is first asked for, and the service keeps that while the bucket stays as it is.

pub mod acl;
pub mod cors;
pub mod document;
pub mod encryption;
pub mod expiry;
pub mod lifecycle;
pub mod notification;
pub mod object_lock;
pub mod ownership;
pub mod public_access_block;
pub mod request_payment;
pub mod tagging;
pub mod versioning;

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

use crate::auth::acl::Acl;
use crate::auth::policy::{Kind, Policy};
use crate::base::limits::BUCKET_SETTINGS_CACHED_MAX;
use crate::engine::{Bucket, BucketId};
use crate::s3::error::{Code, S3Error};

pub use cors::Cors;
pub use document::Document;
pub use encryption::{DefaultAlgorithm, DefaultEncryption};
pub use lifecycle::Lifecycle;
pub use notification::Notification;
pub use object_lock::ObjectLock;
pub use ownership::ObjectOwnership;
pub use public_access_block::PublicAccessBlock;

/// Setting that names the account which owns a bucket: its twelve digits.
pub const OWNER: &str = "owner";

/// Setting of buckets that were made without a word on who owns their objects, and got AWS's default.
pub const OWNERSHIP_DEFAULT: &str = "ownershipDefault";

/// Setting that holds the bucket's policy, byte for byte as it was put.
pub const POLICY: &str = "policy";

/// The settings of a bucket as they are now.
pub struct BucketSettings {
    bucket: Rc<Bucket>,
    acl: Parsed<Acl>,
    cors: Parsed<Cors>,
    encryption: Parsed<DefaultEncryption>,
    lifecycle: Parsed<Lifecycle>,
    notification: Parsed<Notification>,
    object_lock: Parsed<ObjectLock>,
    ownership: Parsed<ObjectOwnership>,
    policy: Parsed<Policy>,
    public_access_block: Parsed<PublicAccessBlock>,
}

/// A setting once it was asked for; `None` within if the bucket does not have it.
type Parsed<Setting> = OnceCell<Option<Setting>>;

impl BucketSettings {
    pub fn new(bucket: Rc<Bucket>) -> Self {
        Self {
            bucket,
            acl: OnceCell::new(),
            cors: OnceCell::new(),
            encryption: OnceCell::new(),
            lifecycle: OnceCell::new(),
            notification: OnceCell::new(),
            object_lock: OnceCell::new(),
            ownership: OnceCell::new(),
            policy: OnceCell::new(),
            public_access_block: OnceCell::new(),
        }
    }

    pub fn bucket(&self) -> &Rc<Bucket> {
        &self.bucket
    }

    /// Account id of the owner; `None` for a bucket of the node's own account that never said so.
    pub fn owner(&self) -> Option<&str> {
        std::str::from_utf8(self.bucket.settings.get(OWNER)?).ok()
    }

    /// `None` if nobody ever put one: then it is the owner's alone.
    pub fn acl(&self) -> Result<Option<&Acl>, S3Error> {
        self.read(&self.acl, acl::NAME, |text| Acl::parse(std::str::from_utf8(text).ok()?))
    }

    pub fn policy(&self) -> Result<Option<&Policy>, S3Error> {
        self.read(&self.policy, POLICY, |text| Policy::parse(text, Kind::Bucket).ok())
    }

    pub fn cors(&self) -> Result<Option<&Cors>, S3Error> {
        self.parsed(&self.cors)
    }

    pub fn encryption(&self) -> Result<Option<&DefaultEncryption>, S3Error> {
        self.parsed(&self.encryption)
    }

    pub fn lifecycle(&self) -> Result<Option<&Lifecycle>, S3Error> {
        self.parsed(&self.lifecycle)
    }

    pub fn notification(&self) -> Result<Option<&Notification>, S3Error> {
        self.parsed(&self.notification)
    }

    /// `None` if versions cannot be locked.
    pub fn object_lock(&self) -> Result<Option<&ObjectLock>, S3Error> {
        self.parsed(&self.object_lock)
    }

    /// Who owns the bucket's objects; a bucket that does not say has [`ObjectOwnership::ObjectWriter`].
    pub fn ownership(&self) -> Result<ObjectOwnership, S3Error> {
        Ok(self.parsed(&self.ownership)?.copied().unwrap_or(ObjectOwnership::ObjectWriter))
    }

    /// Whether ACLs are disabled.
    pub fn is_owner_enforced(&self) -> Result<bool, S3Error> {
        Ok(self.ownership()? == ObjectOwnership::BucketOwnerEnforced)
    }

    /// Whether the bucket was made by a request that did not say who owns its objects.
    pub fn is_ownership_default(&self) -> bool {
        self.bucket.settings.contains_key(OWNERSHIP_DEFAULT)
    }

    /// A bucket without the setting blocks nothing.
    pub fn public_access_block(&self) -> Result<PublicAccessBlock, S3Error> {
        Ok(self.parsed(&self.public_access_block)?.copied().unwrap_or_default())
    }

    fn parsed<'a, D: Document>(&'a self, cell: &'a Parsed<D>) -> Result<Option<&'a D>, S3Error> {
        self.read(cell, D::NAME, |text| D::parse(text).ok())
    }

    /// Reads what was stored. What cannot be read fails the request: a setting that restricts must not be
    /// taken for one that is not there.
    fn read<'a, T>(
        &'a self,
        cell: &'a Parsed<T>,
        name: &str,
        parse: impl Fn(&[u8]) -> Option<T>,
    ) -> Result<Option<&'a T>, S3Error> {
        if let Some(setting) = cell.get() {
            return Ok(setting.as_ref());
        }
        let setting = match self.bucket.settings.get(name) {
            None => None,
            Some(text) => Some(parse(text).ok_or_else(|| {
                tracing::error!(bucket = self.bucket.name, setting = name, "a stored setting cannot be read");
                Code::InternalError
            })?),
        };
        Ok(cell.get_or_init(|| setting).as_ref())
    }
}

/// The settings of the buckets that a core was asked about lately.
pub struct SettingsCache {
    settings: RefCell<quick_cache::unsync::Cache<BucketId, Rc<BucketSettings>>>,
}

impl Default for SettingsCache {
    fn default() -> Self {
        let cache = quick_cache::unsync::Cache::new(BUCKET_SETTINGS_CACHED_MAX);
        Self { settings: RefCell::new(cache) }
    }
}

impl SettingsCache {
    /// The settings of a bucket as `bucket` has them. A changed bucket is another value of the engine's.
    pub fn of(&self, bucket: &Rc<Bucket>) -> Rc<BucketSettings> {
        let mut cache = self.settings.borrow_mut();
        if let Some(settings) = cache.get(&bucket.id).filter(|known| Rc::ptr_eq(known.bucket(), bucket)) {
            return settings.clone();
        }
        let settings = Rc::new(BucketSettings::new(bucket.clone()));
        cache.insert(bucket.id, settings.clone());
        settings
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Versioning;
    use std::collections::BTreeMap;

    fn bucket(settings: &[(&str, &[u8])]) -> Rc<Bucket> {
        let settings = settings.iter().map(|(name, value)| ((*name).to_owned(), value.to_vec()));
        Rc::new(Bucket {
            id: 1,
            name: "bkt".to_owned(),
            created: 0,
            versioning: Versioning::Unversioned,
            settings: settings.collect::<BTreeMap<_, _>>(),
        })
    }

    #[test]
    fn settings_are_kept_while_the_bucket_stays_as_it_is() {
        let cache = SettingsCache::default();
        let before = bucket(&[]);
        let first = cache.of(&before);
        assert!(Rc::ptr_eq(&first, &cache.of(&before)));
        assert_eq!(first.ownership(), Ok(ObjectOwnership::ObjectWriter));
        assert_eq!(first.public_access_block(), Ok(PublicAccessBlock::default()));
        let enforced = ObjectOwnership::BucketOwnerEnforced.render();
        let after = bucket(&[("ownershipControls", &enforced), (OWNER, b"123456789012")]);
        let second = cache.of(&after);
        assert_eq!(second.is_owner_enforced(), Ok(true));
        assert_eq!(second.owner(), Some("123456789012"));
        assert_eq!(first.is_owner_enforced(), Ok(false));
    }

    #[test]
    fn a_setting_that_cannot_be_read_is_not_taken_for_absent() {
        let settings =
            BucketSettings::new(bucket(&[("publicAccessBlock", b"<"), ("acl", b"x;y"), ("policy", b"{")]));
        assert_eq!(settings.public_access_block().unwrap_err().code, Code::InternalError);
        assert_eq!(settings.acl().unwrap_err().code, Code::InternalError);
        assert_eq!(settings.policy().unwrap_err().code, Code::InternalError);
        assert_eq!(settings.cors(), Ok(None));
    }
}
