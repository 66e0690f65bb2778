//! The storage engine: durable objects under ordered keys, spread over the cores of a node.
//!
//! Every core runs one [`Engine`]. Each key has one owner core, which serialises all changes of that key;
//! the others reach it by [`Message`]s over a [`Mesh`]. Payload is written and read by the core that has
//! the connection. An operation that changes something returns after its log record is durable.
//!
//! The engine is generic over [`Host`]: the same code runs on io_uring and on the simulated disk. It knows
//! no S3 error codes, no XML and no headers' meaning.
//!
//! What a core does for the request at hand is in `operations.rs`; what it does as the owner of keys in
//! `shard.rs`, and as the keeper of the table of buckets, of their quotas and of the configuration in
//! `buckets.rs`, `quota.rs` and `config.rs`.

mod buckets;
mod checkpoint;
mod config;
mod damage;
mod events;
mod extent;
mod files;
pub mod format;
mod gc;
mod health;
mod hold;
mod index;
mod listing;
mod locks;
mod log;
mod message;
mod meters;
mod object;
pub mod offline;
mod operations;
mod quota;
mod recovery;
mod rename;
pub mod replacement;
mod scan;
mod shard;
mod shared;
mod types;
mod version;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeSet, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use crate::base::limits::{EXTENT_TRAILERS_MAX, OPEN_FILES_MAX, SCRUB_BYTES_PER_SECOND};
use crate::base::local::{Semaphore, Signal};
use crate::base::stages::{self, Stage};
use crate::io::{Disk, Host};
use extent::Extents;
use files::Files;
use format::record::ObjectPut;
use format::segment::ExtentTrailer;
use format::{ExtentId, Location, SegmentId, Slice};
use index::Index;
use locks::Locks;
use log::{Log, Urgency};
use message::{Answer, Request};
use shared::Readers;

pub use config::{Config, ConfigChange};
pub use damage::{Damage, DamageKind, DamagedObject, Damages};
pub use events::{Event, EventChange, EventDraft, EventId};
pub use extent::reader::PayloadReader;
pub use extent::writer::PayloadWriter;
pub use gc::scrub::ScrubProgress;
pub use health::{CoreHealth, Failure, Part as FailedPart};
pub use message::{Message, Reply};
pub use meters::EngineCounts;
pub use object::{Object, Payload};
pub use quota::{QUOTA_SETTING, QuotaUse, quota_of};
pub use recovery::{OpenError, prepare};
pub use scan::{ScanPosition, ScannedVersion};
pub use shared::Shared;
pub use types::*;
pub use version::*;

/// The readers of whole checkpoints and segments, for the fuzz targets of `tests/fuzz/`: those give them files of
/// any bytes, which no public way does.
#[doc(hidden)]
pub mod fuzzing {
    pub use super::checkpoint::load as load_checkpoint;
    pub use super::log::LogPosition;
    pub use super::log::scan::{Head, Opened, ScanError, Scanned, SegmentScanner};
}

/// The index of a core, for the benchmarks of single functions (`benches/micro/`).
#[doc(hidden)]
pub mod measured {
    pub use super::index::{BucketIndex, ChecksumCode, Entry, EntryFlags, EntryPayload};
}

/// Name of the file that marks a drive's directory as ours; a directory without it must be empty.
pub const SUPERBLOCK_NAME: &str = "ringcask.superblock";

/// The superblock and its copy: a drive stays ours as long as one of them is whole.
pub const SUPERBLOCK_NAMES: [&str; 2] = [SUPERBLOCK_NAME, "ringcask.superblock.copy"];

/// Carries messages between the cores of a node: bounded, in order for each pair of cores.
pub trait Mesh: 'static {
    /// Cores of the node.
    fn cores(&self) -> usize;

    /// The core this mesh end belongs to.
    fn me(&self) -> usize;

    /// Has [`Engine::handle`] of core `to` (never `me`) answer `message`. Waits while too many calls to
    /// that core are under way.
    fn call(&self, to: usize, message: Message) -> Pin<Box<dyn Future<Output = Reply>>>;
}

/// How an engine is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Length of a log segment, at most; less on small drives.
    pub log_segment_bytes: u64,
    /// Length of a data segment, at most; less on small drives.
    pub data_segment_bytes: u64,
    /// A checkpoint is written after this much log.
    pub checkpoint_log_bytes: u64,
    /// Budget of the cache of small objects of this core.
    pub cache_bytes: u64,
    /// Bytes that the scrub reads in a second of each drive; 0 for none.
    pub scrub_bytes_per_second: u64,
    /// Whether the node starts without changes that are damaged in its log: see [`OpenError::Corrupt`].
    pub accept_damage: bool,
    /// Segment files that this core keeps open for reading.
    pub open_files_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            log_segment_bytes: 64 << 20,
            data_segment_bytes: 1 << 30,
            checkpoint_log_bytes: 256 << 20,
            cache_bytes: 64 << 20,
            scrub_bytes_per_second: SCRUB_BYTES_PER_SECOND,
            accept_damage: false,
            open_files_max: OPEN_FILES_MAX,
        }
    }
}

/// One core's engine; clones share it.
pub struct Engine<H: Host> {
    inner: Rc<Inner<H>>,
}

impl<H: Host> Clone for Engine<H> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

struct Inner<H: Host> {
    host: H,
    mesh: Rc<dyn Mesh>,
    shared: Arc<Shared>,
    options: Options,
    /// This core's drive among the host's.
    drive: usize,
    identity: log::Identity,
    index: Rc<RefCell<Index>>,
    log: Log<H>,
    extents: Extents<H>,
    /// Data segments that were not there at the start and that this core's index, or the index of another core,
    /// refers to.
    payload_missing: RefCell<BTreeSet<SegmentId>>,
    locks: Locks,
    readers: Readers,
    holds: hold::Holds<H>,
    buckets: RefCell<buckets::Table>,
    quotas: Rc<quota::Quotas>,
    config: config::Table,
    events: events::Queue,
    /// Keys that are the source of a rename under way: they take no other changes.
    renaming: RefCell<HashSet<(BucketId, Vec<u8>)>>,
    /// Small objects as they stand in the log.
    cache: Rc<RefCell<RecordCache>>,
    trailers: RefCell<quick_cache::unsync::Cache<ExtentId, Rc<ExtentTrailer>>>,
    files: RefCell<Files<H>>,
    /// References to give back, by owner core.
    releases: Rc<RefCell<Vec<Vec<ExtentId>>>>,
    scrub: gc::scrub::State,
    /// Damage in the files that this core takes care of.
    damages: RefCell<damage::Known>,
    release_work: Signal,
    /// Low bits of the next version's sequence: so two of one millisecond differ, also if one is gone.
    sequence_counter: Cell<u16>,
    recovered: Cell<bool>,
    recovered_signal: Signal,
    /// Cores that have sent all their references while recovering.
    references_ended: Cell<usize>,
    stopping: Cell<bool>,
    checkpoint: checkpoint::State,
    /// Background work has one at a time.
    maintenance: Semaphore,
    cleaning: gc::Cleaning,
    meters: meters::Meters,
}

type RecordCache = quick_cache::unsync::Cache<Location, Arc<ObjectPut>, RecordWeight>;

/// Weighs a cached record by the memory it holds.
#[derive(Clone)]
struct RecordWeight;

impl quick_cache::Weighter<Location, Arc<ObjectPut>> for RecordWeight {
    fn weight(&self, location: &Location, put: &Arc<ObjectPut>) -> u64 {
        const OVERHEAD_BYTES: u64 = 256;
        OVERHEAD_BYTES + u64::from(location.length) + 20 * put.parts.len() as u64
    }
}

impl<H: Host> Engine<H> {
    /// Makes an engine that does not know its data yet. From here on messages of other cores may come.
    pub fn new(host: H, mesh: Rc<dyn Mesh>, shared: Arc<Shared>, options: Options) -> Self {
        let me = mesh.me();
        let drive = me % host.disks().len();
        let disk = host.disks()[drive].clone();
        let options = fit_to_drive(options, &disk);
        let identity = log::Identity {
            node: shared.node,
            generation: shared.generation,
            shard: me as u32,
            epoch: shared.epoch,
            cores: shared.cores as u32,
        };
        let next_id = Rc::new(Cell::new(0));
        let index = Rc::new(RefCell::new(Index::default()));
        let items = (options.cache_bytes / 4096).max(16) as usize;
        let cache = quick_cache::unsync::Cache::with_weighter(items, options.cache_bytes, RecordWeight);
        let cache = Rc::new(RefCell::new(cache));
        let releases = Rc::new(RefCell::new(vec![Vec::new(); shared.cores]));
        let release_work = Signal::default();
        let events = events::Queue::default();
        let quotas = Rc::<quota::Quotas>::default();
        let apply = {
            let quotas = quotas.clone();
            let queued = events.queued.clone();
            let (index, cache, releases) = (index.clone(), cache.clone(), releases.clone());
            let (work, cores) = (release_work.clone(), shared.cores);
            move |record: format::record::Record, location: Location, urgency: Urgency| {
                let relocated = urgency == Urgency::Relocating;
                if !relocated {
                    shard::cache_written(&mut cache.borrow_mut(), &record, location);
                }
                let is_event = matches!(record, format::record::Record::EventQueued(_));
                let counted = quotas.bucket_of(&record);
                let held = |index: &Index| counted.map_or(0, |bucket| index.bytes_held(bucket));
                let before = held(&index.borrow());
                let released = index.borrow_mut().apply(record, location);
                if let Some(bucket) = counted {
                    quotas.grew(bucket, held(&index.borrow()).saturating_sub(before));
                }
                if is_event {
                    queued.raise();
                }
                if !relocated {
                    queue_releases(&mut releases.borrow_mut(), &released, cores, &work);
                }
            }
        };
        let cores_of_drive = shared.cores.div_ceil(host.disks().len());
        let log_reserve_bytes = reserve_of(&options, &disk, cores_of_drive);
        let log = Log::new(
            host.clone(),
            disk.clone(),
            shared.clone(),
            identity,
            log::Room { segment_bytes: options.log_segment_bytes, reserve_bytes: log_reserve_bytes },
            next_id.clone(),
            Box::new(apply),
        );
        // More than the log keeps free, so that large objects do not take what deletions need.
        let reserve_bytes = log_reserve_bytes + options.log_segment_bytes;
        let extents = Extents::new(
            host.clone(),
            disk,
            shared.clone(),
            identity,
            options.data_segment_bytes,
            reserve_bytes,
            next_id.clone(),
        );
        let files = Files::new(options.open_files_max);
        let inner = Inner {
            holds: hold::Holds::default(),
            readers: Readers::new(shared.clone(), me),
            checkpoint: checkpoint::State::new(next_id),
            host,
            mesh,
            shared,
            options,
            drive,
            identity,
            index,
            log,
            extents,
            payload_missing: RefCell::default(),
            locks: Locks::default(),
            buckets: RefCell::default(),
            quotas,
            config: config::Table::default(),
            events,
            renaming: RefCell::default(),
            cache,
            trailers: RefCell::new(quick_cache::unsync::Cache::new(EXTENT_TRAILERS_MAX)),
            files: RefCell::new(files),
            releases,
            scrub: gc::scrub::State::default(),
            damages: RefCell::default(),
            release_work,
            sequence_counter: Cell::new(0),
            recovered: Cell::new(false),
            recovered_signal: Signal::default(),
            references_ended: Cell::new(0),
            maintenance: Semaphore::new(1),
            cleaning: gc::Cleaning::default(),
            stopping: Cell::new(false),
            meters: meters::Meters::default(),
        };
        Self { inner: Rc::new(inner) }
    }

    /// Reads checkpoint and log, on all cores at once; when it returns, requests may be served.
    pub async fn recover(&self) -> Result<(), OpenError> {
        recovery::recover(self).await
    }

    /// The answer to a message of another core, if that takes no waiting; else it is one for [`Engine::handle`].
    pub fn answer_now(&self, message: &Message) -> Option<Reply> {
        if !self.inner.recovered.get() {
            return None;
        }
        self.serve_now(&message.0).map(Reply)
    }

    /// Answers a message of another core.
    pub fn handle(&self, message: Message) -> impl Future<Output = Reply> + 'static {
        let engine = self.clone();
        async move {
            while !engine.inner.recovered.get() && !message.0.serves_recovery() {
                engine.inner.recovered_signal.wait().await;
            }
            Reply(engine.serve(message.0).await)
        }
    }

    /// Refuses further changes, waits for those under way, writes a checkpoint.
    pub async fn shutdown(&self) -> Result<(), EngineError> {
        self.inner.stopping.set(true);
        self.inner.log.drain().await;
        checkpoint::write(self).await
    }

    /// The host, for its clock, randomness and buffers.
    pub fn host(&self) -> &H {
        &self.inner.host
    }

    fn cores(&self) -> usize {
        self.inner.shared.cores
    }

    fn me(&self) -> usize {
        self.inner.mesh.me()
    }

    /// The core that owns a key.
    fn owner(&self, bucket: BucketId, key: &[u8]) -> usize {
        owner_of(bucket, key, self.cores())
    }

    /// Asks one core, which may be this one.
    async fn ask(&self, core: usize, request: Request) -> Result<Answer, EngineError> {
        if core == self.me() {
            self.serve(request).await
        } else {
            let began = stages::is_looked_at().then(|| self.host().monotonic());
            let answer = self.inner.mesh.call(core, Message(request)).await.0;
            if let Some(began) = began {
                stages::add(Stage::Owner, self.host().monotonic().saturating_sub(began));
            }
            answer
        }
    }

    /// Asks several cores at once; answers in the same order.
    async fn ask_each(&self, requests: Vec<(usize, Request)>) -> Vec<Result<Answer, EngineError>> {
        let mut asked = Vec::with_capacity(requests.len());
        for (core, request) in requests {
            let (done, answer) = crate::base::local::oneshot();
            let engine = self.clone();
            self.host().spawn(stages::keep(async move { done.send(engine.ask(core, request).await) }));
            asked.push(answer);
        }
        let mut answers = Vec::with_capacity(asked.len());
        for answer in asked {
            answers.push(answer.await.unwrap_or(Err(EngineError::Stopping)));
        }
        answers
    }

    async fn ask_all(&self, request: impl Fn() -> Request) -> Vec<Result<Answer, EngineError>> {
        self.ask_each((0..self.cores()).map(|core| (core, request())).collect()).await
    }

    fn check_running(&self) -> Result<(), EngineError> {
        if self.inner.stopping.get() { Err(EngineError::Stopping) } else { Ok(()) }
    }

    fn disk(&self) -> &H::Disk {
        &self.inner.host.disks()[self.inner.drive]
    }

    fn extents(&self) -> &Extents<H> {
        &self.inner.extents
    }

    fn trailer(&self, extent: ExtentId) -> Option<Rc<ExtentTrailer>> {
        self.inner.trailers.borrow_mut().get(&extent).cloned()
    }

    fn keep_trailer(&self, trailer: Rc<ExtentTrailer>) {
        self.inner.trailers.borrow_mut().insert(trailer.extent, trailer);
    }

    /// Gives references to extents back, in the background.
    fn release(&self, slices: &[Slice]) {
        let mut releases = self.inner.releases.borrow_mut();
        queue_releases(&mut releases, slices, self.cores(), &self.inner.release_work);
    }
}

/// The core that owns a key among `cores`: FNV-1a over bucket and key, its high bits spread by a final mix.
/// Written data depends on it for the life of a generation.
fn owner_of(bucket: BucketId, key: &[u8], cores: usize) -> usize {
    core_of(hash_of(bucket, key), cores)
}

/// The core that owns the key of a hash.
fn core_of(hash: u64, cores: usize) -> usize {
    (hash % cores as u64) as usize
}

fn hash_of(bucket: BucketId, key: &[u8]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let mut hash = OFFSET;
    for byte in bucket.to_le_bytes().iter().chain(key) {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(PRIME);
    }
    // The finaliser of SplitMix64.
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

fn queue_releases(queues: &mut [Vec<ExtentId>], slices: &[Slice], cores: usize, work: &Signal) {
    if slices.is_empty() {
        return;
    }
    for slice in slices {
        queues[slice.extent.segment as usize % cores].push(slice.extent);
    }
    work.raise();
}

/// A core answered another question: a bug, which must not take the node down.
fn unexpected(answer: &Answer) -> EngineError {
    EngineError::Failed(format!("internal error: unexpected answer {answer:?}"))
}

/// Segments that leave room for several of them on a small drive.
fn fit_to_drive<D: Disk>(mut options: Options, disk: &D) -> Options {
    let Ok(space) = disk.space() else { return options };
    (options.log_segment_bytes, options.data_segment_bytes) = segments_of(&options, space.bytes_total);
    options
}

/// Bytes of a segment of the log and of data on a drive of so many bytes.
fn segments_of(options: &Options, bytes_total: u64) -> (u64, u64) {
    const MIB: u64 = 1 << 20;
    let share = |divisor: u64| (bytes_total / divisor / MIB).max(1) * MIB;
    let log = options.log_segment_bytes.min(share(64).max(4 * MIB));
    (log, options.data_segment_bytes.min(share(32).max(8 * MIB)))
}

/// What `cores` that share a drive keep free on it to make room with: each may need a segment to move records
/// to, the one after it, and a checkpoint; and one that delete markers fill before deletions are refused.
fn reserve_of<D: Disk>(options: &Options, disk: &D, cores: usize) -> u64 {
    let wanted = 4 * options.log_segment_bytes * cores as u64;
    disk.space().map_or(wanted, |space| wanted.min(space.bytes_total / 8))
}

/// Free bytes of a drive of `bytes_total` with `cores` on it, below which it takes no further large objects: the
/// next data segment has no room beside what is kept free.
pub fn bytes_free_min(bytes_total: u64, cores: usize) -> u64 {
    let (log, data) = segments_of(&Options::default(), bytes_total);
    data + log + (4 * log * cores as u64).min(bytes_total / 8)
}

#[cfg(test)]
mod tests;
