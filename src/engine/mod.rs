//! The storage engine: durable objects under ordered keys, spread over the cores of a node.
//!
//! Every core runs one [`Engine`]. Each key has one owner core, which serialises all changes of that key;
//! the others reach it by [`Message`]s over a [`Mesh`]. Payload is written and read by the core that has
//! the connection. An operation that changes something returns after its log record is durable.
//!
//! The engine is generic over [`Host`]: the same code runs on io_uring and on the simulated disk. It knows
//! no S3 error codes, no XML and no headers' meaning.

use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

use bytes::Bytes;

use crate::base::checksum::Checksum;
use crate::base::etag::ETag;
use crate::io::{Chunk, Host, TimestampMs};

/// Identifies a bucket over its life; a bucket made again under the same name gets another one.
pub type BucketId = u64;

/// A bucket, as every core caches it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    pub id: BucketId,
    pub name: String,
    pub created: TimestampMs,
    /// Opaque settings by name; who uses them (s3/) gives them their meaning.
    pub settings: BTreeMap<String, Vec<u8>>,
}

/// What a bucket holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub objects: u64,
    pub bytes: u64,
}

/// Headers kept with an object: lower-case name and value, in order.
pub type Headers = Vec<(String, Vec<u8>)>;

/// What is stored about an object beside its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attributes {
    pub etag: ETag,
    pub checksum: Option<Checksum>,
    pub headers: Headers,
}

/// A part of a completed multipart object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectPart {
    pub number: u16,
    pub bytes: u64,
    pub checksum: Option<Checksum>,
}

/// What must hold of the current object for a change to happen; decided by the owner core together with
/// the change, so that concurrent conditional changes have one winner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// `If-None-Match: *`: nothing is there.
    pub absent: bool,
    /// `If-Match`: the current object matches.
    pub matches: Option<ETagMatch>,
    /// `x-amz-if-match-size` of a delete.
    pub size: Option<u64>,
    /// `x-amz-if-match-last-modified-time` of a delete, at whole seconds.
    pub modified_seconds: Option<u64>,
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
    /// The drive is full, up to the reserve for deletes.
    Full,
    /// Too much is waiting: try again later.
    Busy,
    /// The drive failed, or its log did before: this core's part of the node takes no more changes.
    Failed(String),
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
            Self::Full => out.write_str("the drive is full"),
            Self::Busy => out.write_str("too much is waiting"),
            Self::Failed(why) => write!(out, "the drive failed: {why}"),
            Self::Corrupt(what) => write!(out, "stored bytes are damaged: {what}"),
            Self::Stopping => out.write_str("the node is shutting down"),
        }
    }
}

impl std::error::Error for EngineError {}

/// The result of a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    pub modified: TimestampMs,
    pub etag: ETag,
}

/// What a listing shows of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedObject {
    pub key: Vec<u8>,
    pub bytes: u64,
    pub etag: ETag,
    pub modified: TimestampMs,
    /// Algorithm and kind of the stored checksum, without its value.
    pub checksum: Option<(crate::base::checksum::ChecksumAlgorithm, crate::base::checksum::ChecksumKind)>,
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
    pub bytes: u64,
    pub etag: ETag,
    pub checksum: Option<Checksum>,
    pub modified: TimestampMs,
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
}

/// A request of one core's engine to another's. Opaque to who carries it.
#[derive(Debug)]
pub struct Message {}

/// The answer to a [`Message`].
#[derive(Debug)]
pub struct Reply {}

impl Reply {
    /// What a caller gets when the core it asked is gone.
    pub fn stopping() -> Self {
        Self {}
    }
}

/// Carries messages between the cores of a node: bounded, in order for each pair of cores.
pub trait Mesh: 'static {
    /// Cores of the node.
    fn cores(&self) -> usize;

    /// The core this mesh end belongs to.
    fn me(&self) -> usize;

    /// Has [`Engine::handle`] of core `to` (never `me`) answer `message`. Waits while too many calls to
    /// that core are under way.
    fn call(&self, to: usize, message: Message) -> std::pin::Pin<Box<dyn Future<Output = Reply>>>;
}

/// How an engine is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Length of a log segment.
    pub log_segment_bytes: u64,
    /// Length of a data segment.
    pub data_segment_bytes: u64,
    /// A checkpoint is written after this much log.
    pub checkpoint_log_bytes: u64,
    /// Budget of the cache of small objects of this core.
    pub cache_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            log_segment_bytes: 64 << 20,
            data_segment_bytes: 1 << 30,
            checkpoint_log_bytes: 256 << 20,
            cache_bytes: 64 << 20,
        }
    }
}

/// State that all cores of a node share: atomics only.
#[derive(Debug)]
pub struct Shared {}

/// Why a node's data cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// The drives do not belong together, are of another format version, or are incomplete.
    Foreign(String),
    /// The data is damaged: file and offset are named.
    Corrupt(String),
    Io(std::io::Error),
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Foreign(why) | Self::Corrupt(why) => out.write_str(why),
            Self::Io(error) => error.fmt(out),
        }
    }
}

impl std::error::Error for OpenError {}

/// Name of the file that marks a drive's directory as ours; a directory without it must be empty.
pub const SUPERBLOCK_NAME: &str = "ringcask.superblock";

/// Reads or makes the superblocks of all drives for a node of `cores` cores. Once for each start, on any
/// one thread, before the engines are made.
#[allow(unused_variables, clippy::unused_async)]
pub async fn prepare<H: Host>(host: &H, cores: usize) -> Result<std::sync::Arc<Shared>, OpenError> {
    unimplemented!()
}

/// One core's engine; clones share it.
pub struct Engine<H: Host> {
    inner: Rc<H>,
}

/// An object as it was when it was looked up. While it is held, its payload stays readable, whatever is
/// deleted or overwritten meanwhile.
pub struct Object<H: Host> {
    _engine: Engine<H>,
    pub bytes: u64,
    pub modified: TimestampMs,
    pub attributes: Attributes,
    /// Parts of a multipart object in ascending order; empty for an object that was put whole.
    pub parts: Vec<ObjectPart>,
}

/// Payload that was written durably and belongs to no object yet. Dropping it frees its space.
pub struct Payload<H: Host> {
    _engine: Engine<H>,
}

/// Receives the payload of one upload or part on the accepting core.
pub struct PayloadWriter<H: Host> {
    _engine: Engine<H>,
}

/// Reads a range of an object, verified against the stored checksums.
pub struct PayloadReader<H: Host> {
    _engine: Engine<H>,
}

#[allow(unused_variables, clippy::unused_async)]
impl<H: Host> Engine<H> {
    /// Makes an engine that does not know its data yet. From here on messages of other cores may come.
    pub fn new(host: H, mesh: Rc<dyn Mesh>, shared: std::sync::Arc<Shared>, options: Options) -> Self {
        unimplemented!()
    }

    /// Reads checkpoint and log, on all cores at once; when it returns, requests may be served.
    pub async fn recover(&self) -> Result<(), OpenError> {
        unimplemented!()
    }

    /// Answers a message of another core.
    pub fn handle(&self, message: Message) -> impl Future<Output = Reply> + 'static {
        async move { Reply {} }
    }

    /// Refuses further changes, waits for those under way, writes a checkpoint.
    pub async fn shutdown(&self) -> Result<(), EngineError> {
        unimplemented!()
    }

    /// The host, for its clock, randomness and buffers.
    pub fn host(&self) -> &H {
        &self.inner
    }

    /// A bucket, from this core's cache.
    pub fn bucket(&self, name: &str) -> Option<Rc<Bucket>> {
        unimplemented!()
    }

    /// All buckets in order of name, from this core's cache.
    pub fn buckets(&self) -> Vec<Rc<Bucket>> {
        unimplemented!()
    }

    /// Makes a bucket; when it returns, every core knows it.
    pub async fn create_bucket(
        &self,
        name: &str,
        settings: BTreeMap<String, Vec<u8>>,
    ) -> Result<Rc<Bucket>, EngineError> {
        unimplemented!()
    }

    /// Removes an empty bucket (uploads in progress are aborted); when it returns, no core knows it.
    pub async fn delete_bucket(&self, name: &str) -> Result<(), EngineError> {
        unimplemented!()
    }

    /// Objects and bytes of a bucket over all cores, without a scan.
    pub async fn usage(&self, bucket: BucketId) -> Result<Usage, EngineError> {
        unimplemented!()
    }

    /// Payload of at most [`crate::base::limits::INLINE_BYTES_MAX`] bytes that is already in memory.
    pub fn inline_payload(&self, bytes: Bytes) -> Payload<H> {
        unimplemented!()
    }

    /// Starts to receive payload; with `bytes` known, its space is reserved at once.
    pub async fn payload_writer(&self, bytes: Option<u64>) -> Result<PayloadWriter<H>, EngineError> {
        unimplemented!()
    }

    /// Stores an object if `condition` holds. On failure the payload is freed.
    pub async fn put(
        &self,
        bucket: BucketId,
        key: &[u8],
        payload: Payload<H>,
        attributes: Attributes,
        condition: Condition,
    ) -> Result<Committed, EngineError> {
        unimplemented!()
    }

    /// Looks an object up with what HEAD needs and GET starts from.
    pub async fn get(&self, bucket: BucketId, key: &[u8]) -> Result<Option<Object<H>>, EngineError> {
        unimplemented!()
    }

    /// Removes an object. `Ok(false)`: there was none (and the condition did not ask for one).
    pub async fn delete(
        &self,
        bucket: BucketId,
        key: &[u8],
        condition: Condition,
    ) -> Result<bool, EngineError> {
        unimplemented!()
    }

    /// Removes many objects, in one batch for each owner core; results in the order of `keys`.
    pub async fn delete_many(
        &self,
        bucket: BucketId,
        keys: Vec<(Vec<u8>, Condition)>,
    ) -> Vec<Result<bool, EngineError>> {
        unimplemented!()
    }

    /// A page of a bucket in byte order of keys, merged over all cores.
    pub async fn list(&self, bucket: BucketId, query: ListQuery) -> Result<ListPage, EngineError> {
        unimplemented!()
    }

    pub async fn create_upload(
        &self,
        bucket: BucketId,
        key: &[u8],
        headers: Headers,
    ) -> Result<Upload, EngineError> {
        unimplemented!()
    }

    /// The upload and its parts with numbers above `part_after`, at most `count_max`, in order.
    pub async fn upload(
        &self,
        bucket: BucketId,
        key: &[u8],
        id: UploadId,
        part_after: u16,
        count_max: usize,
    ) -> Result<(Upload, Vec<Part>), EngineError> {
        unimplemented!()
    }

    /// Stores (or replaces) a part.
    pub async fn put_part(
        &self,
        bucket: BucketId,
        key: &[u8],
        id: UploadId,
        number: u16,
        payload: Payload<H>,
        etag: ETag,
        checksum: Option<Checksum>,
    ) -> Result<Part, EngineError> {
        unimplemented!()
    }

    /// Makes an object of the named parts in one record; unnamed parts are freed. Repeating a completion
    /// whose answer was lost succeeds as long as its object is current.
    pub async fn complete_upload(
        &self,
        bucket: BucketId,
        key: &[u8],
        id: UploadId,
        completion: Completion,
    ) -> Result<Committed, EngineError> {
        unimplemented!()
    }

    pub async fn abort_upload(&self, bucket: BucketId, key: &[u8], id: UploadId) -> Result<(), EngineError> {
        unimplemented!()
    }

    pub async fn list_uploads(
        &self,
        bucket: BucketId,
        query: UploadQuery,
    ) -> Result<UploadPage, EngineError> {
        unimplemented!()
    }
}

#[allow(unused_variables, clippy::unused_async)]
impl<H: Host> Object<H> {
    /// Reads `range` of the object's bytes. Panics if the range ends beyond the object.
    pub fn reader(&self, range: Range<u64>) -> PayloadReader<H> {
        unimplemented!()
    }

    /// The payload of `range`, shared by reference (bytes are copied only if they are inline), for a copy.
    pub async fn share(&self, range: Range<u64>) -> Result<Payload<H>, EngineError> {
        unimplemented!()
    }
}

#[allow(unused_variables, clippy::unused_async)]
impl<H: Host> PayloadWriter<H> {
    /// A pool buffer to receive into; waits until one is free and fewer than the bounded number of this
    /// upload's writes are in flight.
    pub async fn buffer(&mut self) -> crate::io::Buffer {
        unimplemented!()
    }

    /// Appends `buffer[..len]`. All but the last must be full to capacity. Returns once the write is under
    /// way; a failure of an earlier write is reported here or by `finish`.
    pub async fn write(&mut self, buffer: crate::io::Buffer) -> Result<(), EngineError> {
        unimplemented!()
    }

    /// Waits until everything written is durable.
    pub async fn finish(self) -> Result<Payload<H>, EngineError> {
        unimplemented!()
    }
}

#[allow(clippy::unused_async)]
impl<H: Host> PayloadReader<H> {
    /// The next run of bytes, or `None` at the end. Reads ahead a bounded number of buffers.
    pub async fn next(&mut self) -> Option<Result<Chunk, EngineError>> {
        unimplemented!()
    }
}

impl<H: Host> Clone for Engine<H> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}
