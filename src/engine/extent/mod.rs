//! Extents: payload of large objects in data segments, written once, shared by reference, freed by punching
//! holes.
//!
//! A core writes only to segments that it owns (`id % cores`), and the owner of a segment counts the
//! references to its extents. Counts are never read from disk: recovery derives them from the indexes.

pub mod reader;
pub mod writer;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Bound;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use super::format::segment::{SegmentHeader, SegmentKind};
use super::format::{ExtentId, FileName, SegmentId};
use super::health;
use super::log::{Identity, error_of, error_of_opening};
use super::shared::Shared;
use super::types::EngineError;
use crate::base::instruments::Durations;
use crate::base::limits::BLOCK_BYTES;
use crate::base::local::{Semaphore, Sender, Signal, SignalWait, oneshot};
use crate::base::stages::{self, Stage};
use crate::io::{Buffer, Disk, Durability, Host, OpenMode};

/// The data segments of a core; clones share them.
pub struct Extents<H: Host> {
    inner: Rc<Inner<H>>,
}

impl<H: Host> Clone for Extents<H> {
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
    /// Kept free when segments are made, so that log segments can still be.
    reserve_bytes: u64,
    next_id: Rc<Cell<SegmentId>>,
    open: RefCell<Option<OpenSegment<H>>>,
    opening: Semaphore,
    segments: RefCell<BTreeMap<SegmentId, DataSegment>>,
    extents: RefCell<BTreeMap<ExtentId, Extent>>,
    /// Extents without references, with the read epoch after which nobody can reach them.
    condemned: RefCell<VecDeque<(u64, ExtentId)>>,
    condemned_signal: Signal,
    /// Who waits for the sync after the one under way.
    syncs: RefCell<HashMap<SegmentId, Vec<SyncDone>>>,
    /// Blocks of extents that nobody refers to and that were not freed yet.
    blocks_dead: Cell<u64>,
    meters: Meters,
}

/// What is counted of large payload.
#[derive(Default)]
pub struct Meters {
    /// Of each write of payload, with its wait for the drive's queue.
    pub writing: Durations,
    /// Of each upload's wait for what it wrote to be durable.
    pub syncing: Durations,
}

struct OpenSegment<H: Host> {
    id: SegmentId,
    file: <H::Disk as Disk>::File,
    next_block: u32,
    end_block: u32,
}

type SyncDone = Sender<Result<(), EngineError>>;

/// A data segment and how much of it is referred to.
#[derive(Clone, Copy, Debug)]
struct DataSegment {
    live_blocks: u64,
}

#[derive(Clone, Copy, Debug)]
struct Extent {
    payload_bytes: u32,
    references: u32,
    /// Read epoch in which the last reference was given back. A copy may have taken the extent up again
    /// since and given it back once more; only the last time counts.
    condemned: u64,
    /// Whether payload and checksums are on the drive: not while they are being received.
    is_written: bool,
}

/// Space for one extent, granted by [`Extents::reserve`].
pub struct Reservation<H: Host> {
    pub extent: ExtentId,
    pub file: <H::Disk as Disk>::File,
}

/// Blocks that an extent of `payload_bytes` occupies with its checksum block.
pub fn extent_blocks(payload_bytes: u32) -> u32 {
    payload_bytes.div_ceil(BLOCK_BYTES as u32) + 1
}

impl<H: Host> Extents<H> {
    pub fn new(
        host: H,
        disk: H::Disk,
        shared: Arc<Shared>,
        identity: Identity,
        segment_bytes: u64,
        reserve_bytes: u64,
        next_id: Rc<Cell<SegmentId>>,
    ) -> Self {
        let inner = Inner {
            host,
            disk,
            shared,
            identity,
            segment_bytes,
            reserve_bytes,
            next_id,
            open: RefCell::new(None),
            opening: Semaphore::new(1),
            segments: RefCell::default(),
            extents: RefCell::default(),
            condemned: RefCell::default(),
            condemned_signal: Signal::default(),
            syncs: RefCell::default(),
            blocks_dead: Cell::new(0),
            meters: Meters::default(),
        };
        Self { inner: Rc::new(inner) }
    }

    /// Payload bytes that one extent may hold: the format's limit, less where segments are small.
    pub fn extent_bytes_max(&self) -> u64 {
        let quarter = self.inner.segment_bytes / 4;
        crate::base::limits::EXTENT_BYTES_MAX
            .min(quarter - quarter % crate::base::limits::BUFFER_BYTES as u64)
    }

    /// Reserves space for an extent with one reference, held by the caller.
    pub async fn reserve(&self, payload_bytes: u32) -> Result<Reservation<H>, EngineError> {
        self.check()?;
        let blocks = extent_blocks(payload_bytes);
        let _turn = self.inner.opening.acquire(1).await;
        let fits = |open: &OpenSegment<H>| open.end_block - open.next_block >= blocks;
        if !self.inner.open.borrow().as_ref().is_some_and(fits) {
            // The open one stays until there is another: on a full drive, smaller extents may still fit it.
            let new = self.create_segment().await?;
            let old = self.inner.open.borrow_mut().replace(new);
            if let Some(old) = old {
                self.seal(old).await;
            }
        }
        let mut slot = self.inner.open.borrow_mut();
        let open = slot.as_mut().expect("opened above");
        let extent = ExtentId { segment: open.id, block: open.next_block };
        open.next_block += blocks;
        let file = open.file.clone();
        self.inner
            .extents
            .borrow_mut()
            .insert(extent, Extent { payload_bytes, references: 1, condemned: 0, is_written: false });
        self.inner.account(extent.segment, i64::from(blocks));
        Ok(Reservation { extent, file })
    }

    /// Gives back the part of a reservation that its payload did not need.
    pub fn shrink(&self, extent: ExtentId, payload_bytes: u32) {
        let mut extents = self.inner.extents.borrow_mut();
        let state = extents.get_mut(&extent).expect("the caller holds a reference");
        let (before, after) = (extent_blocks(state.payload_bytes), extent_blocks(payload_bytes));
        state.payload_bytes = payload_bytes;
        self.inner.account(extent.segment, i64::from(after) - i64::from(before));
        let freed = u64::from(extent.block + after)..u64::from(extent.block + before);
        self.punch_in_background(extent.segment, freed);
    }

    /// Makes everything written to the segment so far durable; callers at the same time share one sync.
    pub async fn sync(&self, segment: SegmentId, file: &<H::Disk as Disk>::File) -> Result<(), EngineError> {
        self.check()?;
        let (done, synced) = oneshot();
        let began = self.inner.host.monotonic();
        self.queue_sync(segment, file, done);
        let result = synced.await.unwrap_or(Err(EngineError::Stopping));
        let took = self.inner.host.monotonic().saturating_sub(began);
        self.inner.meters.syncing.observe_duration(took);
        stages::add(Stage::Sync, took);
        result
    }

    /// What it has counted since the start.
    pub fn meters(&self) -> &Meters {
        &self.inner.meters
    }

    /// Joins the sync that comes next for the segment; begins the first one.
    fn queue_sync(&self, segment: SegmentId, file: &<H::Disk as Disk>::File, done: SyncDone) {
        let mut syncs = self.inner.syncs.borrow_mut();
        match syncs.get_mut(&segment) {
            Some(waiting) => waiting.push(done),
            None => {
                syncs.insert(segment, vec![done]);
                let (extents, file) = (self.clone(), file.clone());
                self.inner.host.spawn(async move { extents.run_syncs(segment, file).await });
            }
        }
    }

    async fn run_syncs(&self, segment: SegmentId, file: <H::Disk as Disk>::File) {
        loop {
            let waiting = {
                let mut syncs = self.inner.syncs.borrow_mut();
                let waiting = syncs.get_mut(&segment).map(std::mem::take).unwrap_or_default();
                if waiting.is_empty() {
                    syncs.remove(&segment);
                    return;
                }
                waiting
            };
            let result = self.sync_once(segment, &file).await;
            waiting.into_iter().for_each(|done| done.send(result.clone()));
        }
    }

    /// A sync that succeeds after one that failed says nothing about what was written before: the kernel
    /// reports a loss once. So none is tried after a failure.
    async fn sync_once(&self, segment: SegmentId, file: &<H::Disk as Disk>::File) -> Result<(), EngineError> {
        self.check()?;
        self.inner.disk.sync(file).await.map_err(|error| {
            self.fail(&format!("syncing {}: {error}", FileName::Data(segment)));
            EngineError::Failed(format!("syncing {}: {error}", FileName::Data(segment)))
        })
    }

    /// Latches: this core takes no more payload. What was written but not synced is unknown now.
    pub fn fail(&self, why: &str) {
        tracing::error!("this core takes no more payload: {why}");
        // The first failure is the one to tell of.
        let _ = self.inner.failure().set(why.to_string());
    }

    /// Refuses after a failure.
    pub fn check(&self) -> Result<(), EngineError> {
        health::check(self.inner.failure())
    }

    /// Bytes of this core's segments that extents take.
    pub fn bytes_live(&self) -> u64 {
        let segments = self.inner.segments.borrow();
        segments.values().map(|segment| segment.live_blocks * BLOCK_BYTES as u64).sum()
    }

    /// Of those bytes, what nobody refers to and is to be freed.
    pub fn bytes_dead(&self) -> u64 {
        self.inner.blocks_dead.get() * BLOCK_BYTES as u64
    }

    /// This core's data segments.
    pub fn segments_count(&self) -> usize {
        self.inner.segments.borrow().len()
    }

    /// Whether there is no room for another data segment.
    pub fn is_full(&self) -> bool {
        let wanted = self.inner.segment_bytes + self.inner.reserve_bytes;
        self.inner.disk.space().is_ok_and(|space| space.bytes_free < wanted)
    }

    /// Takes a reference to each extent. Extents that a look-up found and whose reader is still pinned are
    /// there, condemned or not; `false` (and nothing taken) if one is not.
    pub fn acquire(&self, wanted: &[ExtentId]) -> bool {
        let mut extents = self.inner.extents.borrow_mut();
        if !wanted.iter().all(|extent| extents.contains_key(extent)) {
            return false;
        }
        for extent in wanted {
            let state = extents.get_mut(extent).expect("checked above");
            if state.references == 0 {
                self.inner.count_dead(-i64::from(extent_blocks(state.payload_bytes)));
            }
            state.references += 1;
        }
        true
    }

    /// Gives references back. Extents without any are freed when nobody can be reading them.
    pub fn release(&self, given: &[ExtentId]) {
        let mut extents = self.inner.extents.borrow_mut();
        let mut unreferenced = Vec::new();
        for extent in given {
            let Some(state) = extents.get_mut(extent).filter(|state| state.references > 0) else {
                tracing::error!("a reference to {extent:?} is given back that nobody holds");
                continue;
            };
            state.references -= 1;
            if state.references == 0 {
                self.inner.count_dead(i64::from(extent_blocks(state.payload_bytes)));
                unreferenced.push(*extent);
            }
        }
        if !unreferenced.is_empty() {
            let epoch = self.inner.shared.retire();
            let mut condemned = self.inner.condemned.borrow_mut();
            for extent in unreferenced {
                extents.get_mut(&extent).expect("found above").condemned = epoch;
                condemned.push_back((epoch, extent));
            }
            self.inner.condemned_signal.raise();
        }
    }

    /// Counts references while recovery reads the indexes.
    pub fn recover_reference(&self, extent: ExtentId, payload_bytes: u32) {
        let mut extents = self.inner.extents.borrow_mut();
        let state = extents.entry(extent).or_insert(Extent {
            payload_bytes,
            references: 0,
            condemned: 0,
            is_written: true,
        });
        state.references += 1;
        if state.references == 1 {
            self.inner.account(extent.segment, i64::from(extent_blocks(payload_bytes)));
        }
    }

    /// Says that extents are on the drive as a whole.
    pub fn written(&self, written: impl Iterator<Item = ExtentId>) {
        let mut extents = self.inner.extents.borrow_mut();
        for extent in written {
            if let Some(state) = extents.get_mut(&extent) {
                state.is_written = true;
            }
        }
    }

    /// The first extent behind `after` that is written and referred to, with its payload bytes.
    pub fn next_written(&self, after: Option<ExtentId>) -> Option<(ExtentId, u32)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let extents = self.inner.extents.borrow();
        let mut behind = extents.range((from, Bound::Unbounded));
        let is_used = |state: &Extent| state.is_written && state.references > 0;
        behind.find(|(_, state)| is_used(state)).map(|(extent, state)| (*extent, state.payload_bytes))
    }

    /// Whether an extent is referred to.
    pub fn is_referred(&self, extent: ExtentId) -> bool {
        self.inner.extents.borrow().get(&extent).is_some_and(|state| state.references > 0)
    }

    /// Segments with how far their extents reach into them, and the bytes that extents take there.
    pub fn reach(&self) -> Vec<(SegmentId, u64, u64)> {
        let mut reach: BTreeMap<SegmentId, (u64, u64)> = BTreeMap::new();
        for (extent, state) in self.inner.extents.borrow().iter() {
            let blocks = extent_blocks(state.payload_bytes);
            let (end, bytes) = reach.entry(extent.segment).or_default();
            *end = (*end).max((u64::from(extent.block) + u64::from(blocks)) * BLOCK_BYTES as u64);
            *bytes += u64::from(blocks) * BLOCK_BYTES as u64;
        }
        reach.into_iter().map(|(segment, (end, bytes))| (segment, end, bytes)).collect()
    }

    /// Waits until an extent is condemned after this call.
    pub fn condemned(&self) -> SignalWait {
        self.inner.condemned_signal.wait()
    }

    /// Whether extents wait for their readers to go.
    pub fn has_condemned(&self) -> bool {
        !self.inner.condemned.borrow().is_empty()
    }

    /// Frees condemned extents that nobody reads any more; whether there was anything to do.
    pub async fn reap(&self) -> bool {
        let mut freed: BTreeMap<SegmentId, Vec<(ExtentId, u32)>> = BTreeMap::new();
        {
            let mut condemned = self.inner.condemned.borrow_mut();
            let mut extents = self.inner.extents.borrow_mut();
            while let Some((epoch, extent)) = condemned.front().copied() {
                if !self.inner.shared.is_quiet_since(epoch) {
                    break;
                }
                condemned.pop_front();
                let unused = |state: &Extent| state.references == 0 && state.condemned == epoch;
                if let Some(state) = extents.get(&extent).copied().filter(unused) {
                    extents.remove(&extent);
                    self.inner.count_dead(-i64::from(extent_blocks(state.payload_bytes)));
                    freed
                        .entry(extent.segment)
                        .or_default()
                        .push((extent, extent_blocks(state.payload_bytes)));
                }
            }
        }
        let any = !freed.is_empty();
        for (segment, extents) in freed {
            self.free(segment, &extents).await;
        }
        any
    }

    async fn free(&self, segment: SegmentId, extents: &[(ExtentId, u32)]) {
        for (extent, blocks) in extents {
            self.inner.account(extent.segment, -i64::from(*blocks));
        }
        if self.inner.live_blocks(segment) == 0 && !self.inner.is_open(segment) {
            self.remove_segment(segment).await;
            return;
        }
        for (extent, blocks) in extents {
            let blocks = u64::from(extent.block)..u64::from(extent.block + blocks);
            self.punch(segment, blocks).await;
        }
    }

    async fn remove_segment(&self, segment: SegmentId) {
        self.inner.segments.borrow_mut().remove(&segment);
        let removed = remove_file(&self.inner.shared, self.inner.host.disks(), FileName::Data(segment)).await;
        if let Err(error) = removed
            && !is_missing(&error)
        {
            tracing::warn!("removing {}: {error}", FileName::Data(segment));
        }
    }

    fn punch_in_background(&self, segment: SegmentId, blocks: std::ops::Range<u64>) {
        if !blocks.is_empty() {
            let extents = self.clone();
            self.inner.host.spawn(async move { extents.punch(segment, blocks).await });
        }
    }

    /// Frees blocks. A failure leaks them until the segment is dropped; it endangers nothing.
    async fn punch(&self, segment: SegmentId, blocks: std::ops::Range<u64>) {
        if blocks.is_empty() {
            return;
        }
        let name = FileName::Data(segment);
        let bytes = blocks.start * BLOCK_BYTES as u64..blocks.end * BLOCK_BYTES as u64;
        let punched = async {
            let (disk, file) = open_to_free(self.inner.host.disks(), name).await?;
            disk.punch(&file, bytes).await
        };
        if let Err(error) = punched.await
            && !is_missing(&error)
        {
            tracing::warn!("freeing blocks {blocks:?} of {name}: {error}");
        }
    }

    /// Frees everything of this core's segments that recovery found no reference to.
    pub async fn free_unreferenced(&self, files: &[(SegmentId, u64, u64)]) {
        for (segment, bytes, bytes_allocated) in files {
            let live_blocks = self.inner.live_blocks(*segment);
            if live_blocks == 0 {
                self.remove_segment(*segment).await;
                continue;
            }
            let slack = 16 * BLOCK_BYTES as u64;
            if *bytes_allocated <= (live_blocks + 1) * BLOCK_BYTES as u64 + slack {
                continue;
            }
            for gap in self.inner.gaps(*segment, bytes / BLOCK_BYTES as u64) {
                self.punch(*segment, gap).await;
            }
        }
    }

    /// Frees what is unused of a segment that was open.
    async fn seal(&self, open: OpenSegment<H>) {
        if self.inner.live_blocks(open.id) == 0 {
            self.remove_segment(open.id).await;
        } else {
            self.punch(open.id, u64::from(open.next_block)..u64::from(open.end_block)).await;
        }
    }

    async fn create_segment(&self) -> Result<OpenSegment<H>, EngineError> {
        let space = self.inner.disk.space().map_err(|error| error_of("asking for free space", &error))?;
        if space.bytes_free < self.inner.segment_bytes + self.inner.reserve_bytes {
            return Err(EngineError::Full);
        }
        let id = self.inner.next_id.get();
        self.inner.next_id.set(id + self.inner.identity.cores);
        let name = FileName::Data(id).to_string();
        match self.write_new_segment(id, &name).await {
            Ok(open) => Ok(open),
            Err(error) => {
                let _ = self.inner.disk.remove(&name).await;
                Err(error_of_opening("making a data segment", &error))
            }
        }
    }

    async fn write_new_segment(&self, id: SegmentId, name: &str) -> std::io::Result<OpenSegment<H>> {
        let inner = &self.inner;
        let file = inner.disk.open(name, OpenMode::Create).await?;
        inner.disk.allocate(&file, 0..inner.segment_bytes).await?;
        let header = SegmentHeader {
            kind: SegmentKind::Data,
            id,
            node: inner.identity.node,
            generation: inner.identity.generation,
            shard: inner.identity.shard,
            epoch: inner.identity.epoch,
            nonce: 0,
            bytes: inner.segment_bytes,
        };
        let mut block = Buffer::heap(BLOCK_BYTES);
        block.append(&header.encode());
        let (result, _) = inner.disk.write(&file, 0, block, 0..BLOCK_BYTES, Durability::Durable).await;
        result?;
        inner.shared.sync_directory(&inner.disk).await?;
        inner.segments.borrow_mut().insert(id, DataSegment { live_blocks: 0 });
        let end_block = (inner.segment_bytes / BLOCK_BYTES as u64) as u32;
        Ok(OpenSegment { id, file, next_block: 1, end_block })
    }
}

/// Whether there is no file to free, as the start said already.
fn is_missing(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::NotFound
}

/// Opens a segment that is to be freed, on whichever drive has it: with another number of cores, its owner
/// may be a core of another drive.
pub async fn open_to_free<D: Disk>(disks: &[D], name: FileName) -> std::io::Result<(D, D::File)> {
    let text = name.to_string();
    for disk in disks {
        match disk.open(&text, OpenMode::Write).await {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            opened => return Ok((disk.clone(), opened?)),
        }
    }
    Err(std::io::ErrorKind::NotFound.into())
}

/// Removes a segment, durably, and frees its blocks, which the name alone would not: other cores may have it
/// open for reads to come.
pub async fn remove_file<D: Disk>(shared: &Shared, disks: &[D], name: FileName) -> std::io::Result<()> {
    let (disk, file) = open_to_free(disks, name).await?;
    disk.remove(&name.to_string()).await?;
    // A file that comes back after a crash must come back whole.
    shared.sync_directory(&disk).await?;
    // No segment is longer; beyond the end of the file nothing happens.
    let end = u64::from(u32::MAX) + 1;
    disk.punch(&file, 0..end).await
}

#[cfg(test)]
impl<H: Host> Extents<H> {
    /// Extents that exist, referred to or condemned.
    pub fn count(&self) -> usize {
        self.inner.extents.borrow().len()
    }

    /// Blocks of a segment that extents cover.
    pub fn live_blocks_of(&self, segment: SegmentId) -> u64 {
        self.inner.live_blocks(segment)
    }

    /// The segment that the next extent goes to, if it fits.
    pub fn open_segment(&self) -> Option<SegmentId> {
        self.inner.open.borrow().as_ref().map(|open| open.id)
    }

    /// References to each extent.
    pub fn references(&self) -> Vec<(ExtentId, u32)> {
        self.inner.extents.borrow().iter().map(|(extent, state)| (*extent, state.references)).collect()
    }
}

impl<H: Host> Inner<H> {
    /// Why this core takes no more payload, once it does not.
    fn failure(&self) -> &OnceLock<String> {
        &self.shared.failures[self.identity.shard as usize].payload
    }

    fn account(&self, segment: SegmentId, blocks: i64) {
        let mut segments = self.segments.borrow_mut();
        let state = segments.entry(segment).or_insert(DataSegment { live_blocks: 0 });
        state.live_blocks = state.live_blocks.checked_add_signed(blocks).expect("blocks are freed once");
    }

    fn count_dead(&self, blocks: i64) {
        self.blocks_dead.set(self.blocks_dead.get().saturating_add_signed(blocks));
    }

    fn live_blocks(&self, segment: SegmentId) -> u64 {
        self.segments.borrow().get(&segment).map_or(0, |state| state.live_blocks)
    }

    fn is_open(&self, segment: SegmentId) -> bool {
        self.open.borrow().as_ref().is_some_and(|open| open.id == segment)
    }

    /// Runs of blocks of a segment that no extent covers, its header block aside.
    fn gaps(&self, segment: SegmentId, blocks: u64) -> Vec<std::ops::Range<u64>> {
        let extents = self.extents.borrow();
        let of_it = ExtentId { segment, block: 0 }..=ExtentId { segment, block: u32::MAX };
        let covered: Vec<(u64, u64)> = extents
            .range(of_it)
            .map(|(extent, state)| (u64::from(extent.block), u64::from(extent_blocks(state.payload_bytes))))
            .collect();
        let mut gaps = Vec::new();
        let mut next = 1;
        for (start, count) in covered {
            if start > next {
                gaps.push(next..start);
            }
            next = next.max(start + count);
        }
        if blocks > next {
            gaps.push(next..blocks);
        }
        gaps
    }
}
