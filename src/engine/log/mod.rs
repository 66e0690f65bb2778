//! The log of a core: batches of records, each made durable by one write (group commit).
//!
//! A batch is under way at most once; what comes meanwhile gathers for the next. The flush loop applies a
//! batch's records in the same step in which it learns that they are durable, so at any moment the index
//! knows exactly the records before [`Log::position`].

mod meters;
pub mod scan;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use super::format::record::{EncodedRecord, Record};
use super::format::segment::{
    BATCH_HEADER_BYTES, BatchHeader, RecordsDigest, SegmentHeader, SegmentKind, log_end,
};
use super::format::{FileName, Location, SegmentId};
use super::health;
use super::shared::Shared;
use super::types::EngineError;
use crate::base::limits::{BLOCK_BYTES, BUFFER_BYTES, LOG_QUEUE_BYTES_MAX, RECORD_META_BYTES_MAX};
use crate::base::local::{Permit, Semaphore, Sender, Signal, oneshot};
use crate::base::stages::{self, Stage};
use crate::io::{Buffer, Disk, Durability, Host, OpenMode};

pub use meters::Meters;

/// Who this log belongs to; written into every segment.
#[derive(Clone, Copy, Debug)]
pub struct Identity {
    pub node: [u8; 16],
    pub generation: u32,
    pub shard: u32,
    pub epoch: u64,
    pub cores: u32,
}

/// What a log takes of its drive.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    pub segment_bytes: u64,
    /// Free bytes of the drive that only deletions, cleaning and checkpoints may use.
    pub reserve_bytes: u64,
}

/// A place between two batches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogPosition {
    pub segment: SegmentId,
    /// Where the next batch stands or will stand.
    pub offset: u32,
    /// Sequence number of the next batch.
    pub sequence: u64,
    /// The batch before.
    pub previous_segment: SegmentId,
    pub previous_offset: u32,
}

/// A log segment of this drive that the core takes care of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogSegment {
    pub generation: u32,
    pub shard: u32,
    /// Bytes up to the end of its last batch.
    pub bytes_used: u64,
}

/// Which records may use the room kept for making room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    Normal,
    /// Delete markers and settings of buckets: rules make room with them, but first they take some.
    Hiding,
    /// Deletions: they go on when the drive is full.
    Reclaiming,
    /// What a durable change already owes: it cannot be refused.
    Settling,
    /// A record that the cleaner moves: what it refers to stays referred to.
    Relocating,
}

/// A core's log; clones share it.
pub struct Log<H: Host> {
    inner: Rc<Inner<H>>,
}

impl<H: Host> Clone for Log<H> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

struct Inner<H: Host> {
    host: H,
    disk: H::Disk,
    shared: Arc<Shared>,
    identity: Identity,
    segment_bytes: u64,
    /// Free bytes of the drive that only deletions, cleaning and checkpoints may use: they make room.
    reserve_bytes: u64,
    /// Less than that was free when it was last looked at.
    scarce: Cell<bool>,
    /// Gives the next free segment number of this core.
    next_id: Rc<Cell<SegmentId>>,
    apply: Box<dyn Fn(Record, Location, Urgency)>,
    queue: RefCell<VecDeque<Pending>>,
    queue_bytes: Semaphore,
    work: Signal,
    drained: Signal,
    /// Appends under way, by the order in which they began.
    tickets: RefCell<BTreeSet<u64>>,
    ticket_next: Cell<u64>,
    position: Cell<LogPosition>,
    current: RefCell<Option<Open<H>>>,
    prepared: RefCell<Option<Open<H>>>,
    preparing: Cell<bool>,
    preparation: Signal,
    segments: RefCell<BTreeMap<SegmentId, LogSegment>>,
    /// Why no next segment could be made, the last time it was needed.
    segment_failure: RefCell<Option<String>>,
    bytes_written: Cell<u64>,
    meters: Meters,
}

/// A segment with its file.
struct Open<H: Host> {
    id: SegmentId,
    nonce: u64,
    file: <H::Disk as Disk>::File,
}

struct Pending {
    /// They share a batch: so after a crash all of them are there or none.
    records: Vec<(Record, EncodedRecord)>,
    /// Bytes in the batch.
    bytes: usize,
    urgency: Urgency,
    done: Sender<Result<(), EngineError>>,
    _permit: Permit,
}

impl<H: Host> Log<H> {
    /// A log that is not open yet: [`Log::start`].
    pub fn new(
        host: H,
        disk: H::Disk,
        shared: Arc<Shared>,
        identity: Identity,
        room: Room,
        next_id: Rc<Cell<SegmentId>>,
        apply: Box<dyn Fn(Record, Location, Urgency)>,
    ) -> Self {
        let inner = Inner {
            host,
            disk,
            shared,
            identity,
            segment_bytes: room.segment_bytes,
            reserve_bytes: room.reserve_bytes,
            scarce: Cell::new(false),
            next_id,
            apply,
            queue: RefCell::default(),
            queue_bytes: Semaphore::new(LOG_QUEUE_BYTES_MAX),
            work: Signal::default(),
            drained: Signal::default(),
            tickets: RefCell::default(),
            ticket_next: Cell::new(0),
            position: Cell::default(),
            current: RefCell::new(None),
            prepared: RefCell::new(None),
            preparing: Cell::new(false),
            preparation: Signal::default(),
            segments: RefCell::default(),
            segment_failure: RefCell::new(None),
            bytes_written: Cell::new(0),
            meters: Meters::default(),
        };
        Self { inner: Rc::new(inner) }
    }

    /// Begins a new segment after the batch that recovery found last, and starts the flush loop. If the drive
    /// has no room for one, the log begins it when it is needed and there is room: until then it takes nothing,
    /// and everything can be read.
    pub async fn start(
        &self,
        last: LogPosition,
        segments: BTreeMap<SegmentId, LogSegment>,
    ) -> Result<(), EngineError> {
        *self.inner.segments.borrow_mut() = segments;
        self.inner.position.set(last);
        match self.inner.roll().await {
            Err(EngineError::Full) => {
                tracing::warn!("the drive has no room for a log segment: this core takes no changes yet");
            }
            result => result?,
        }
        let log = self.clone();
        self.inner.host.spawn(async move { log.run().await });
        Ok(())
    }

    /// Appends a record; returns once it is durable and applied.
    pub async fn append(&self, record: Record, urgency: Urgency) -> Result<(), EngineError> {
        self.append_all(vec![record], urgency).await
    }

    /// Appends records as one: they become durable and are applied together, in this order, and a crash
    /// leaves all of them or none. Returns once they are durable and applied.
    pub async fn append_all(&self, records: Vec<Record>, urgency: Urgency) -> Result<(), EngineError> {
        let encode = |record: Record| {
            let encoded = record.encode();
            (record, encoded)
        };
        let records: Vec<_> = records.into_iter().map(encode).collect();
        let bytes: usize = records.iter().map(|(_, encoded)| encoded.padded_bytes()).sum();
        // What recovery would not read must not be written.
        let is_too_long = |(_, encoded): &(Record, EncodedRecord)| {
            encoded.padded_bytes() as u64 > self.inner.segment_bytes / 2
                || encoded.meta.len() > RECORD_META_BYTES_MAX
        };
        // Events of a change have room beside the longest record.
        if records.iter().any(is_too_long) || bytes as u64 > self.inner.segment_bytes / 4 * 3 {
            return Err(EngineError::LimitExceeded("the bytes of a log segment that one change may take"));
        }
        let _ticket = self.inner.ticket();
        let began = self.inner.host.monotonic();
        let permit = self.inner.queue_bytes.acquire(bytes.min(LOG_QUEUE_BYTES_MAX)).await;
        self.inner.check_room(urgency)?;
        let (done, durable) = oneshot();
        self.inner.queue.borrow_mut().push_back(Pending { records, bytes, urgency, done, _permit: permit });
        self.inner.work.raise();
        let result = durable.await.unwrap_or(Err(EngineError::Stopping));
        if result.is_ok() && urgency != Urgency::Relocating {
            let took = self.inner.host.monotonic().saturating_sub(began);
            self.inner.meters.commit.observe_duration(took);
            stages::add(Stage::Commit, took);
        }
        result
    }

    /// What it has counted since the start.
    pub fn meters(&self) -> &Meters {
        &self.inner.meters
    }

    /// Appends that wait for the batch after the one under way, and the bytes that they and that one take.
    pub fn queued(&self) -> (usize, usize) {
        (self.inner.queue.borrow().len(), LOG_QUEUE_BYTES_MAX - self.inner.queue_bytes.available())
    }

    /// Segments this core takes care of.
    pub fn segments_count(&self) -> usize {
        self.inner.segments.borrow().len()
    }

    /// Where the next batch will stand; every record before it is durable and applied.
    pub fn position(&self) -> LogPosition {
        self.inner.position.get()
    }

    /// Bytes of batches written since the start.
    pub fn bytes_written(&self) -> u64 {
        self.inner.bytes_written.get()
    }

    /// Waits until every append that has begun is durable and applied, or has failed.
    pub async fn drain(&self) {
        let before = self.inner.ticket_next.get();
        while self.inner.tickets.borrow().first().is_some_and(|oldest| *oldest < before) {
            self.inner.drained.wait().await;
        }
    }

    /// Why the log takes no more records, if it failed.
    pub fn failure(&self) -> Option<String> {
        self.inner.failure().get().cloned()
    }

    /// Why no next segment could be made, if the log needs one and that failed.
    pub fn segment_failure(&self) -> Option<String> {
        self.inner.segment_failure.borrow().clone()
    }

    /// Whether the drive has so little room left that only what makes room may go on.
    pub fn is_scarce(&self) -> bool {
        self.inner.scarce.get() && self.inner.look_for_room() < self.inner.reserve_bytes
    }

    /// The segments this core takes care of, but for the ones it writes to.
    pub fn sealed_segments(&self) -> Vec<(SegmentId, LogSegment)> {
        let current = self.position().segment;
        let segments = self.inner.segments.borrow();
        segments.iter().filter(|(id, _)| **id != current).map(|(id, segment)| (*id, *segment)).collect()
    }

    /// Whether this core takes care of the segment.
    pub fn has_segment(&self, id: SegmentId) -> bool {
        self.inner.segments.borrow().contains_key(&id)
    }

    /// Up to where a segment is written, or may be; `None` if this core does not take care of it.
    pub fn end_of(&self, id: SegmentId) -> Option<u32> {
        let position = self.position();
        if id == position.segment {
            return Some(position.offset);
        }
        // Of segments that the start did not read, what they take of the drive is known: with the last block,
        // which is no batch.
        let of_it = self.inner.segments.borrow().get(&id).copied()?;
        let end = of_it.bytes_used.min(log_end(self.inner.segment_bytes));
        Some(end as u32)
    }

    /// Bytes of all segments this core takes care of.
    pub fn bytes_used(&self) -> u64 {
        self.inner.segments.borrow().values().map(|segment| segment.bytes_used).sum()
    }

    /// Forgets a segment whose file is about to be removed.
    pub fn forget_segment(&self, id: SegmentId) {
        self.inner.segments.borrow_mut().remove(&id);
    }

    async fn run(self) {
        let mut buffer = Some(self.inner.host.pool().acquire(BUFFER_BYTES).await);
        loop {
            if self.inner.queue.borrow().is_empty() {
                self.inner.work.wait().await;
                continue;
            }
            let batch = self.inner.take_batch();
            buffer = Some(self.inner.flush(batch, buffer.take()).await);
        }
    }
}

/// An append under way.
struct Ticket<'a, H: Host> {
    log: &'a Inner<H>,
    number: u64,
}

impl<H: Host> Drop for Ticket<'_, H> {
    fn drop(&mut self) {
        self.log.tickets.borrow_mut().remove(&self.number);
        self.log.drained.raise();
    }
}

impl<H: Host> Inner<H> {
    fn ticket(&self) -> Ticket<'_, H> {
        let number = self.ticket_next.replace(self.ticket_next.get() + 1);
        self.tickets.borrow_mut().insert(number);
        Ticket { log: self, number }
    }

    /// Why the log takes no more records, once it does not.
    fn failure(&self) -> &OnceLock<String> {
        &self.shared.failures[self.identity.shard as usize].log
    }

    /// Refuses a record that must not use the last room, and any record after a failure.
    fn check_room(&self, urgency: Urgency) -> Result<(), EngineError> {
        health::check(self.failure())?;
        // Each is stopped so early that the next still finds room after every core has made one more segment.
        // Cleaning comes last: with what deletions leave it, it can always move a segment and remove it.
        let kept_free = match urgency {
            Urgency::Normal => self.reserve_bytes,
            Urgency::Hiding => self.reserve_bytes / 8 * 5,
            Urgency::Reclaiming => self.reserve_bytes / 8 * 3,
            Urgency::Settling | Urgency::Relocating => return Ok(()),
        };
        if self.scarce.get() && self.look_for_room() < kept_free { Err(EngineError::Full) } else { Ok(()) }
    }

    /// Free bytes of the drive; notes whether they are scarce.
    fn look_for_room(&self) -> u64 {
        let free = self.disk.space().map_or(0, |space| space.bytes_free);
        self.scarce.set(free < self.reserve_bytes);
        free
    }

    /// Takes what fits one batch: at least what one append wants together.
    fn take_batch(&self) -> Vec<Pending> {
        let mut queue = self.queue.borrow_mut();
        // A batch fits any segment, however small.
        let bytes_max = BUFFER_BYTES.min((self.segment_bytes / 4 * 3) as usize);
        let mut bytes = BATCH_HEADER_BYTES;
        let mut batch = Vec::new();
        while let Some(next) = queue.front() {
            bytes += next.bytes;
            if bytes > bytes_max && !batch.is_empty() {
                break;
            }
            batch.extend(queue.pop_front());
        }
        batch
    }

    async fn flush(self: &Rc<Self>, batch: Vec<Pending>, buffer: Option<Buffer>) -> Buffer {
        let bytes = BATCH_HEADER_BYTES + batch.iter().map(|pending| pending.bytes).sum::<usize>();
        let padded = bytes.next_multiple_of(BLOCK_BYTES);
        let (buffer, kept) = match buffer {
            Some(buffer) if buffer.capacity() >= padded => (buffer, None),
            // A batch this large is of one append and rare. The buffer of the pool is kept: who holds
            // all the others may wait for this very log.
            kept => (Buffer::heap(padded), kept),
        };
        if self.is_roll_due(padded)
            && let Err(error) = self.roll().await
        {
            self.note_segment_failure(Some(&error));
            batch.into_iter().for_each(|pending| pending.done.send(Err(error.clone())));
            return kept.unwrap_or(buffer);
        }
        self.note_segment_failure(None);
        let (buffer, locations) = self.fill(buffer, &batch, bytes);
        let (result, buffer) = self.write(buffer, padded).await;
        match result {
            Ok(()) => self.complete(batch, locations, bytes, padded),
            Err(error) => {
                self.fail(batch, &format!("writing {}: {error}", FileName::Log(self.position.get().segment)))
            }
        }
        kept.unwrap_or(buffer)
    }

    /// Whether a batch needs another segment: it does not fit this one, or a full drive left none.
    fn is_roll_due(&self, padded: usize) -> bool {
        let end = u64::from(self.position.get().offset) + padded as u64;
        self.current.borrow().is_none() || end > log_end(self.segment_bytes)
    }

    /// Lays the batch out in the buffer.
    fn fill(&self, mut buffer: Buffer, batch: &[Pending], bytes: usize) -> (Buffer, Vec<Location>) {
        let position = self.position.get();
        let records = || batch.iter().flat_map(|pending| &pending.records).map(|(_, encoded)| encoded);
        let mut digest = RecordsDigest::default();
        records().for_each(|encoded| digest.add(&encoded.header));
        let header = BatchHeader {
            segment: position.segment,
            nonce: self.current.borrow().as_ref().expect("a batch is laid out for one").nonce,
            sequence: position.sequence,
            previous_segment: position.previous_segment,
            previous_offset: position.previous_offset,
            bytes: bytes as u32,
            records: records().count() as u32,
            digest: digest.value(),
        };
        let mut locations = Vec::with_capacity(header.records as usize);
        buffer.clear();
        buffer.append(&header.encode());
        for encoded in records() {
            let start = buffer.len();
            locations.push(Location {
                segment: position.segment,
                offset: position.offset + start as u32,
                length: encoded.header.record_bytes() as u32,
            });
            buffer.append(&encoded.header.encode());
            buffer.append(&encoded.meta);
            buffer.append(&encoded.payload);
            pad(&mut buffer, start + encoded.padded_bytes());
        }
        let padded = bytes.next_multiple_of(BLOCK_BYTES);
        pad(&mut buffer, padded);
        (buffer, locations)
    }

    async fn write(&self, buffer: Buffer, padded: usize) -> (std::io::Result<()>, Buffer) {
        let file = self.current.borrow().as_ref().expect("a batch is laid out for one").file.clone();
        let offset = u64::from(self.position.get().offset);
        self.disk.write(&file, offset, buffer, 0..padded, Durability::Durable).await
    }

    /// Applies a durable batch and moves on, in one step without waiting.
    fn complete(self: &Rc<Self>, batch: Vec<Pending>, locations: Vec<Location>, bytes: usize, padded: usize) {
        let position = self.position.get();
        self.position.set(LogPosition {
            segment: position.segment,
            offset: position.offset + padded as u32,
            sequence: position.sequence + 1,
            previous_segment: position.segment,
            previous_offset: position.offset,
        });
        let end = u64::from(position.offset) + bytes as u64;
        if let Some(segment) = self.segments.borrow_mut().get_mut(&position.segment) {
            segment.bytes_used = end;
        }
        self.bytes_written.set(self.bytes_written.get() + padded as u64);
        self.meters.batch_records.observe(locations.len() as u64);
        self.meters.batch_bytes.observe(padded as u64);
        let mut locations = locations.into_iter();
        for pending in batch {
            if pending.urgency == Urgency::Relocating {
                self.meters.bytes_moved.add(pending.bytes as u64);
            }
            for ((record, _), location) in pending.records.into_iter().zip(&mut locations) {
                (self.apply)(record, location, pending.urgency);
            }
            pending.done.send(Ok(()));
        }
        if end > self.segment_bytes / 2 {
            self.prepare_in_background();
        }
    }

    /// Latches: what was not acknowledged never will be, and nothing more is taken.
    fn fail(&self, batch: Vec<Pending>, why: &str) {
        tracing::error!("this core takes no more changes: {why}");
        // Nothing is written after the first failure, so there is no other to tell of.
        let _ = self.failure().set(why.to_string());
        for pending in batch {
            pending.done.send(Err(EngineError::Failed(why.to_string())));
        }
        for pending in self.queue.take() {
            pending.done.send(Err(EngineError::ReadOnly(why.to_string())));
        }
    }

    /// Notes for who asks how the core is whether the segment that the log needed could be made.
    fn note_segment_failure(&self, error: Option<&EngineError>) {
        let why = error.filter(|error| **error != EngineError::Full).map(EngineError::to_string);
        let noted = &self.shared.failures[self.identity.shard as usize].segment;
        if noted.swap(why.is_some(), Ordering::Relaxed) || why.is_some() {
            *self.segment_failure.borrow_mut() = why;
        }
    }

    /// Makes the prepared segment the current one.
    async fn roll(self: &Rc<Self>) -> Result<(), EngineError> {
        if self.prepared.borrow().is_none() {
            if self.preparing.get() {
                self.preparation.wait().await;
            }
            if self.prepared.borrow().is_none() {
                self.prepare().await?;
            }
        }
        let Some(next) = self.prepared.borrow_mut().take() else { return Err(EngineError::Full) };
        let position = self.position.get();
        self.position.set(LogPosition {
            segment: next.id,
            offset: BLOCK_BYTES as u32,
            sequence: position.sequence.max(1),
            ..position
        });
        let segment = LogSegment {
            generation: self.identity.generation,
            shard: self.identity.shard,
            bytes_used: BLOCK_BYTES as u64,
        };
        self.segments.borrow_mut().insert(next.id, segment);
        *self.current.borrow_mut() = Some(next);
        Ok(())
    }

    fn prepare_in_background(self: &Rc<Self>) {
        if self.preparing.get() || self.prepared.borrow().is_some() {
            return;
        }
        self.preparing.set(true);
        let log = self.clone();
        self.host.spawn(async move {
            if let Err(error) = log.prepare().await {
                tracing::warn!("no next log segment could be prepared: {error}");
            }
            log.preparing.set(false);
            log.preparation.raise();
        });
    }

    /// Makes the next segment: preallocated and written once with zeros, so that appending to it needs no
    /// commit of file system metadata.
    async fn prepare(&self) -> Result<(), EngineError> {
        let id = self.next_id.get();
        let name = FileName::Log(id).to_string();
        self.next_id.set(id + self.identity.cores);
        match self.write_new_segment(id, &name).await {
            Ok(open) => {
                *self.prepared.borrow_mut() = Some(open);
                self.look_for_room();
                Ok(())
            }
            Err(error) => {
                let _ = self.disk.remove(&name).await;
                self.look_for_room();
                Err(error_of_opening("preparing a log segment", &error))
            }
        }
    }

    async fn write_new_segment(&self, id: SegmentId, name: &str) -> std::io::Result<Open<H>> {
        const ZEROS_BYTES: usize = 1024 * 1024;
        let file = self.disk.open(name, OpenMode::Create).await?;
        self.disk.allocate(&file, 0..self.segment_bytes).await?;
        let mut zeros = Buffer::heap(ZEROS_BYTES.min(self.segment_bytes as usize));
        let mut offset = 0;
        while offset < self.segment_bytes {
            let count = (self.segment_bytes - offset).min(ZEROS_BYTES as u64) as usize;
            let (result, back) = self.disk.write(&file, offset, zeros, 0..count, Durability::Buffered).await;
            result?;
            zeros = back;
            offset += count as u64;
        }
        let mut nonce = [0; 8];
        self.host.random(&mut nonce);
        let header = SegmentHeader {
            kind: SegmentKind::Log,
            id,
            node: self.identity.node,
            generation: self.identity.generation,
            shard: self.identity.shard,
            epoch: self.identity.epoch,
            nonce: u64::from_le_bytes(nonce),
            bytes: self.segment_bytes,
        };
        zeros.append(&header.encode());
        let mut block = zeros;
        for offset in [log_end(self.segment_bytes), 0] {
            let (result, back) =
                self.disk.write(&file, offset, block, 0..BLOCK_BYTES, Durability::Buffered).await;
            result?;
            block = back;
        }
        self.disk.sync(&file).await?;
        self.shared.sync_directory(&self.disk).await?;
        Ok(Open { id, nonce: header.nonce, file })
    }
}

/// Fills with zeros up to `length`.
fn pad(buffer: &mut Buffer, length: usize) {
    let from = buffer.len();
    buffer.set_len(length);
    buffer[from..].fill(0);
}

/// A file that could not be opened or made, as the caller of the engine sees it: for want of descriptors it may
/// work later.
pub fn error_of_opening(doing: &str, error: &std::io::Error) -> EngineError {
    if error.kind() != std::io::ErrorKind::ResourceBusy {
        return error_of(doing, error);
    }
    tracing::warn!("{doing}: {error}");
    EngineError::Busy
}

/// A failed file operation, as the caller of the engine sees it.
pub fn error_of(doing: &str, error: &std::io::Error) -> EngineError {
    match error.kind() {
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => EngineError::Full,
        _ => EngineError::Failed(format!("{doing}: {error}")),
    }
}
