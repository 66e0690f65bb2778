//! What cores ask each other.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::config::{ConfigChange, ConfigEntries};
use super::damage::{Damage, DamagedObject};
use super::events::EventDraft;
use super::format::record::{ObjectPut, PartPut};
use super::format::{ExtentId, SegmentId};
use super::health::CoreHealth;
use super::index::listing::ShardPage;
use super::rename::{RenameCommit, RenameId};
use super::types::*;
use super::version::*;
use crate::io::TimestampMs;

/// A request of one core's engine to another's. Opaque to who carries it.
#[derive(Debug)]
pub struct Message(pub(super) Request);

/// The answer to a [`Message`].
#[derive(Debug)]
pub struct Reply(pub(super) Result<Answer, EngineError>);

impl Reply {
    /// What a caller gets when the core it asked is gone.
    pub fn stopping() -> Self {
        Self(Err(EngineError::Stopping))
    }
}

/// Requests to the owner of a key, of an extent, of the table of buckets, or to every core.
#[derive(Debug)]
pub(super) enum Request {
    Get {
        bucket: BucketId,
        key: Vec<u8>,
        version: Option<VersionId>,
    },
    Put {
        put: Box<ObjectPut>,
        condition: Condition,
        events: Vec<EventDraft>,
        /// Of the bucket's quota, for this.
        promised: u64,
    },
    Delete {
        bucket: BucketId,
        keys: Vec<(Vec<u8>, Deletion)>,
    },
    Update {
        bucket: BucketId,
        key: Vec<u8>,
        version: Option<VersionId>,
        update: Update,
        condition: Condition,
        events: Vec<EventDraft>,
    },
    /// Look up the source of a rename and take no other changes of it.
    RenameBegin {
        bucket: BucketId,
        key: Vec<u8>,
        condition: Condition,
    },
    RenameCommit {
        commit: Box<RenameCommit>,
    },
    /// Delete the source of a rename if it was committed, and take changes of the key again.
    RenameEnd {
        bucket: BucketId,
        key: Vec<u8>,
        sequence: u64,
        is_committed: bool,
    },
    /// The source of a rename is durably gone.
    RenameDone {
        id: RenameId,
    },
    List {
        bucket: BucketId,
        query: ListQuery,
    },
    ListVersions {
        bucket: BucketId,
        query: VersionQuery,
    },
    Usage {
        bucket: BucketId,
    },
    UsageOfAll,
    UploadCreate {
        bucket: BucketId,
        key: Vec<u8>,
        headers: Headers,
    },
    UploadGet {
        bucket: BucketId,
        key: Vec<u8>,
        id: UploadId,
        part_after: u16,
        count_max: usize,
    },
    PartPut {
        put: Box<PartPut>,
        /// Of the bucket's quota, for this.
        promised: u64,
    },
    UploadComplete {
        bucket: BucketId,
        key: Vec<u8>,
        id: UploadId,
        completion: Box<Completion>,
    },
    UploadAbort {
        bucket: BucketId,
        key: Vec<u8>,
        id: UploadId,
    },
    UploadList {
        bucket: BucketId,
        query: UploadQuery,
    },
    /// A read met damage in a segment that the core takes care of.
    Damaged {
        damage: Box<Damage>,
    },
    ExtentsAcquire {
        extents: Vec<ExtentId>,
    },
    ExtentsRelease {
        extents: Vec<ExtentId>,
    },
    BucketCreate {
        name: String,
        versioning: Versioning,
        settings: BTreeMap<String, Vec<u8>>,
    },
    BucketSet {
        name: String,
        change: Box<BucketChange>,
    },
    BucketDelete {
        name: String,
    },
    /// Start using a bucket (or its new settings).
    BucketApply {
        bucket: Bucket,
    },
    /// Refuse writes to a bucket, wait for those under way, say what it holds.
    BucketFreeze {
        id: BucketId,
    },
    BucketThaw {
        id: BucketId,
    },
    BucketForget {
        id: BucketId,
    },
    /// The table of buckets, once core 0 has recovered it.
    BucketTable,
    ConfigChange {
        change: Box<ConfigChange>,
    },
    /// Start using new entries of the configuration.
    ConfigApply {
        entries: ConfigEntries,
    },
    /// The whole configuration, once core 0 has recovered it.
    ConfigTable,
    /// References that the sender's index holds, while recovering.
    RecoverReferences {
        references: Vec<(ExtentId, u32)>,
    },
    /// The sender has sent all its references.
    RecoverReferencesEnd,
    /// Records of a segment that is being cleaned: append those again that are live.
    Relocate {
        records: Vec<OwnedRecord>,
        segment: SegmentId,
    },
    /// Bytes that the core holds of a bucket.
    QuotaHeld {
        bucket: BucketId,
    },
    /// Would a new object, or a part, of so many bytes be within the bucket's quota?
    QuotaRoom {
        bucket: BucketId,
        key: Vec<u8>,
        part: Option<(UploadId, u16)>,
        bytes: u64,
        promised: u64,
    },
    /// Keep of the share of a bucket's quota only what is held; answer with that.
    QuotaReturn {
        bucket: BucketId,
    },
    /// Keep nothing of the share of a bucket's quota.
    QuotaRevoke {
        bucket: BucketId,
    },
    /// Add to the share of a bucket's quota: for a change that will come, and for any.
    QuotaGive {
        bucket: BucketId,
        promised: u64,
        spare: u64,
    },
    /// Promise a core bytes of a bucket's quota, for a change that will come.
    QuotaPromise {
        bucket: BucketId,
        core: usize,
        bytes: u64,
    },
    /// Write a checkpoint now.
    Checkpoint,
    /// How the core is.
    Health,
    /// Bytes of live records that the index knows in a log segment.
    /// Which versions have payload in these parts of extents?
    PayloadOwners {
        ranges: Vec<(ExtentId, Range<u32>)>,
    },
    /// In which log segments do live records stand?
    LiveSegments,
    /// Look at the live records in a part of a log segment; write damaged ones again from memory, answer with
    /// those that are lost, and with `moves` write whole ones again, too.
    Salvage {
        segment: SegmentId,
        range: Range<u32>,
        moves: bool,
    },
    SegmentUsage {
        segment: SegmentId,
    },
}

impl Request {
    /// Whether it is answered while this core still recovers.
    pub fn serves_recovery(&self) -> bool {
        matches!(
            self,
            Self::BucketTable
                | Self::ConfigTable
                | Self::RecoverReferences { .. }
                | Self::RecoverReferencesEnd
        )
    }
}

/// A record as it stands in the log, with its place.
#[derive(Debug)]
pub(super) struct OwnedRecord {
    pub record: super::format::record::Record,
    pub location: super::format::Location,
}

/// What the owner of a key found under it.
#[derive(Debug)]
pub(super) enum Looked {
    Found(Arc<ObjectPut>),
    DeleteMarker { version: VersionId, modified: TimestampMs, is_latest: bool },
    Missing,
}

#[derive(Debug)]
pub(super) enum Answer {
    Done,
    Object(Looked),
    Committed(Committed),
    /// With the sequence of the object under its new key.
    Renamed(Committed, u64),
    Deleted(Vec<Result<Deleted, EngineError>>),
    Updated(Updated),
    Page(ShardPage<ListedObject>),
    VersionPage(ShardPage<ListedVersion>),
    Usage(Usage),
    Bytes(u64),
    Upload(Upload, Vec<Part>),
    Part(Part),
    UploadPage(ShardPage<Upload>),
    Acquired(bool),
    Bucket(Bucket),
    Buckets(Vec<Bucket>),
    Config(ConfigEntries),
    Health(Box<CoreHealth>),
    Segments(Vec<SegmentId>),
    Damages(Vec<Damage>),
    /// Versions, each with the place of its range in the question.
    PayloadOwners(Vec<(usize, DamagedObject)>),
}
