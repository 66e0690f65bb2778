//! The engine's vocabulary: buckets, objects, conditions, listings, uploads, errors.

use std::collections::BTreeMap;

use super::events::EventDraft;
use super::version::{Lock, VersionId, Versioning, modified_of};
use crate::base::checksum::{Checksum, ChecksumAlgorithm, ChecksumKind};
use crate::base::etag::ETag;
use crate::io::TimestampMs;

/// Identifies a bucket over its life; a bucket made again under the same name gets another one.
pub type BucketId = u64;

/// A bucket, as every core caches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    pub id: BucketId,
    pub name: String,
    pub created: TimestampMs,
    pub versioning: Versioning,
    /// Opaque settings by name; who uses them (s3/) gives them their meaning.
    pub settings: BTreeMap<String, Vec<u8>>,
}

/// What changes of a bucket; the rest stays as it is, whoever else changes it at the same time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BucketChange {
    pub versioning: Option<Versioning>,
    /// New values of settings; `None` removes one.
    pub settings: BTreeMap<String, Option<Vec<u8>>>,
    pub expected: BucketExpectation,
}

/// What must hold of a bucket for a [`BucketChange`] to happen; decided together with the change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BucketExpectation {
    pub versioning: Option<Versioning>,
    /// Values that settings must have; `None`: the setting is not there.
    pub settings: BTreeMap<String, Option<Vec<u8>>>,
}

/// What a bucket holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Current objects.
    pub objects: u64,
    /// Versions that are not current, and delete markers.
    pub versions: u64,
    /// Bytes of current objects and of all other versions.
    pub bytes: u64,
}

impl Usage {
    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            objects: self.objects + other.objects,
            versions: self.versions + other.versions,
            bytes: self.bytes + other.bytes,
        }
    }

    /// Whether there is neither an object nor a version nor a delete marker.
    pub fn is_empty(&self) -> bool {
        self.objects == 0 && self.versions == 0
    }
}

/// Headers kept with an object: lower-case name and value, in order.
pub type Headers = Vec<(String, Vec<u8>)>;

/// What is stored about an object beside its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    pub etag: ETag,
    pub checksum: Option<Checksum>,
    pub headers: Headers,
    pub lock: Lock,
}

/// A part of a completed multipart object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectPart {
    pub number: u16,
    pub bytes: u64,
    pub checksum: Option<Checksum>,
    /// That of the uploaded part.
    pub note: Vec<u8>,
}

/// What must hold of the current object for a change to happen; decided by the owner core together with
/// the change, so that concurrent conditional changes have one winner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// `If-None-Match: *`: nothing is there.
    pub absent: bool,
    /// `If-None-Match` with ETags: what is there, if anything is, has none of them.
    pub differs: Vec<ETag>,
    /// `If-Match`: the current object matches.
    pub matches: Option<ETagMatch>,
    /// `x-amz-if-match-size` of a delete.
    pub size: Option<u64>,
    /// `x-amz-if-match-last-modified-time` of a delete, at whole seconds.
    pub modified_seconds: Option<u64>,
    /// The version with this sequence, and no other.
    pub sequence: Option<u64>,
}

/// An `If-Match` value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ETagMatch {
    /// `*`: any object.
    Any,
    OneOf(Vec<ETag>),
}

/// Why an operation did not happen. What the caller can do differs for each; nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineError {
    /// The bucket does not exist (any more).
    NoSuchBucket,
    /// CreateBucket of a name that exists.
    BucketExists,
    /// DeleteBucket of a bucket that holds objects.
    BucketNotEmpty,
    /// The multipart upload does not exist (any more).
    NoSuchUpload,
    /// A part named by CompleteMultipartUpload is not there, or not with this ETag.
    InvalidPart,
    /// [`Condition::matches`] (or size, time) was asked of a key that holds nothing.
    ConditionOnMissing,
    /// A [`Condition`] does not hold.
    ConditionFailed,
    /// What a change of a bucket or of the configuration expected does not hold (any more).
    Changed,
    /// Settings of a bucket, or the configuration, would exceed this limit.
    LimitExceeded(&'static str),
    /// A retention or a legal hold forbids it.
    Locked,
    /// An update of a delete marker.
    DeleteMarker,
    /// An update of a key or a version that is not there.
    NoSuchObject,
    /// The bucket's quota has no room for these bytes, by which the change would make it grow.
    QuotaExceeded { bytes: u64 },
    /// The drive is full, up to the reserve for deletes.
    Full,
    /// Too much is waiting: try again later.
    Busy,
    /// The drive failed; whether the change happened is unknown until the next start.
    Failed(String),
    /// A write or a sync failed before, so this part of the node takes no more changes until the next start.
    ReadOnly(String),
    /// Stored bytes do not match their checksum; file and offset are named.
    Corrupt(String),
    /// The node is shutting down.
    Stopping,
}

impl std::fmt::Display for EngineError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoSuchBucket => out.write_str("the bucket does not exist"),
            Self::BucketExists => out.write_str("a bucket of that name exists"),
            Self::BucketNotEmpty => out.write_str("the bucket holds objects"),
            Self::NoSuchUpload => out.write_str("the multipart upload does not exist"),
            Self::InvalidPart => out.write_str("a part is not there with that ETag"),
            Self::ConditionOnMissing => out.write_str("a condition names an object that does not exist"),
            Self::ConditionFailed => out.write_str("a condition does not hold"),
            Self::Changed => out.write_str("somebody else changed it meanwhile"),
            Self::LimitExceeded(what) => write!(out, "there may be no more than {what}"),
            Self::Locked => out.write_str("a retention or a legal hold forbids it"),
            Self::DeleteMarker => out.write_str("the version is a delete marker"),
            Self::NoSuchObject => out.write_str("the object does not exist"),
            Self::QuotaExceeded { bytes } => write!(out, "the bucket's quota has no room for {bytes} bytes"),
            Self::Full => out.write_str("the drive is full"),
            Self::Busy => out.write_str("too much is waiting"),
            Self::Failed(why) => write!(out, "the drive failed: {why}"),
            Self::ReadOnly(why) => write!(out, "read-only since a failure: {why}"),
            Self::Corrupt(what) => write!(out, "stored bytes are damaged: {what}"),
            Self::Stopping => out.write_str("the node is shutting down"),
        }
    }
}

impl std::error::Error for EngineError {}

/// The result of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    pub etag: ETag,
    /// The version that was made; none in a bucket that never had versioning.
    pub version: Option<VersionId>,
    pub modified: TimestampMs,
}

impl Committed {
    pub(super) fn new(etag: ETag, sequence: u64, version: VersionId, versioning: Versioning) -> Self {
        let version = (versioning != Versioning::Unversioned).then_some(version);
        Self { etag, version, modified: modified_of(sequence) }
    }
}

/// What a listing shows of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedObject {
    pub key: Vec<u8>,
    pub bytes: u64,
    pub etag: ETag,
    pub modified: TimestampMs,
    /// Algorithm and kind of the stored checksum, without its value.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
}

/// What a listing asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListQuery {
    pub prefix: Vec<u8>,
    /// Keys that contain it after the prefix are folded into a common prefix; empty for none. It may be of
    /// any length.
    pub delimiter: Vec<u8>,
    /// Only what sorts after this. If it ends with the delimiter and is a common prefix (a marker that a
    /// previous page returned), everything under it is skipped.
    pub after: Vec<u8>,
    /// Entries at most, objects and common prefixes counted together.
    pub count_max: usize,
}

/// A page of a listing; `objects` and `common_prefixes` are each in byte order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListPage {
    pub objects: Vec<ListedObject>,
    pub common_prefixes: Vec<Vec<u8>>,
    /// Whether more follows, after `next`.
    pub truncated: bool,
    /// The last key or common prefix of the page.
    pub next: Vec<u8>,
}

/// Identifies a multipart upload.
pub type UploadId = [u8; 16];

/// A multipart upload in progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upload {
    pub key: Vec<u8>,
    pub id: UploadId,
    pub initiated: TimestampMs,
    /// Headers of the object to be, with whatever else s3/ wants to remember (under names of its own).
    pub headers: Headers,
}

/// An uploaded part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub number: u16,
    /// Bytes that a client sees; what is stored of an encrypted part is longer.
    pub bytes: u64,
    pub etag: ETag,
    pub checksum: Option<Checksum>,
    pub modified: TimestampMs,
    /// What whoever stored the part must know of its payload to read it; opaque, at most 255 bytes.
    pub note: Vec<u8>,
}

/// What ListMultipartUploads asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UploadQuery {
    pub prefix: Vec<u8>,
    pub delimiter: Vec<u8>,
    /// Only keys after this one, or with `upload_after` also later uploads of this key.
    pub key_after: Vec<u8>,
    pub upload_after: Option<UploadId>,
    pub count_max: usize,
}

/// A page of ListMultipartUploads, in order of key and then upload id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UploadPage {
    pub uploads: Vec<Upload>,
    pub common_prefixes: Vec<Vec<u8>>,
    pub truncated: bool,
    pub next_key: Vec<u8>,
    pub next_upload: Option<UploadId>,
}

/// What CompleteMultipartUpload turns into an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// Parts in ascending order, each as the client named it.
    pub parts: Vec<(u16, ETag)>,
    pub attributes: Attributes,
    pub condition: Condition,
    /// They tell of the object.
    pub events: Vec<EventDraft>,
}
