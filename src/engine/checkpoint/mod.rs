//! Checkpoints: written in the background from an index that goes on changing, published by rename, read back
//! by `read.rs`.
//!
//! The image is fuzzy: what changes while it is written may or may not be in it. The replay of the log from
//! the position where it began makes it exact, since applying a record again changes nothing more.

mod read;
mod tables;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::ops::Bound;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use super::Engine;
use super::format::checkpoint::*;
use super::format::{FileName, SegmentId};
use super::index::Index;
use super::log::{LogPosition, error_of};
use super::types::{BucketId, EngineError};
use crate::base::instruments::{Distribution, Durations};
use crate::base::limits::{BLOCK_BYTES, BUFFER_BYTES, CHECKPOINTS_KEPT, WALK_STEP_ENTRIES};
use crate::base::local::Semaphore;
use crate::io::{Buffer, Disk, Durability, Host, OpenMode};

pub use read::{Unusable, load, read_header, verify};

/// What a core knows of its checkpoints.
pub struct State {
    /// The counter that names segments; recovery sets it.
    pub next_id: Rc<Cell<SegmentId>>,
    turn: Semaphore,
    /// Checkpoints of this generation on the drive, oldest first.
    kept: RefCell<VecDeque<(u32, LogPosition)>>,
    /// Log written when the last one began.
    bytes_written: Cell<u64>,
    /// Length of the last one that was written.
    image_bytes: Cell<u64>,
    index_ready: Cell<bool>,
    /// Checkpoints of earlier generations are gone.
    old_dropped: Cell<bool>,
    /// Of each checkpoint written.
    writing: Durations,
}

impl State {
    pub fn new(next_id: Rc<Cell<SegmentId>>) -> Self {
        Self {
            next_id,
            turn: Semaphore::new(1),
            kept: RefCell::default(),
            bytes_written: Cell::new(0),
            image_bytes: Cell::new(0),
            index_ready: Cell::new(false),
            old_dropped: Cell::new(false),
            writing: Durations::default(),
        }
    }

    /// How long checkpoints took to be written, since the start.
    pub fn writing(&self) -> Distribution {
        self.writing.snapshot()
    }

    /// Whether a checkpoint is being written.
    pub fn is_writing(&self) -> bool {
        self.turn.available() == 0
    }

    /// Whether recovery has read the index.
    pub fn index_ready(&self) -> bool {
        self.index_ready.get()
    }

    pub fn set_index_ready(&self) {
        self.index_ready.set(true);
    }

    pub fn old_dropped(&self) -> bool {
        self.old_dropped.get()
    }

    pub fn set_old_dropped(&self) {
        self.old_dropped.set(true);
    }

    /// Remembers a checkpoint that recovery found, oldest first.
    pub fn found(&self, sequence: u32, position: LogPosition) {
        self.kept.borrow_mut().push_back((sequence, position));
    }

    /// The oldest position that a recovery may start from; log before it is not replayed any more.
    pub fn oldest_position(&self) -> Option<LogPosition> {
        self.kept.borrow().front().map(|(_, position)| *position)
    }

    /// The position that a start from the newest checkpoint replays from.
    pub fn newest_position(&self) -> Option<LogPosition> {
        self.kept.borrow().back().map(|(_, position)| *position)
    }

    pub fn has_any(&self) -> bool {
        !self.kept.borrow().is_empty()
    }

    /// Numbers of the checkpoints on the drive.
    pub fn sequences(&self) -> Vec<u32> {
        self.kept.borrow().iter().map(|(sequence, _)| *sequence).collect()
    }

    /// Bytes of log written since the last checkpoint began.
    pub fn log_bytes_since(&self, bytes_written: u64) -> u64 {
        bytes_written - self.bytes_written.get()
    }

    /// How much log makes the next checkpoint due: as much as the last one has, or with a small index
    /// `log_bytes_min`. So checkpoints write no more than the log does, however large the index is, and a start
    /// replays no more than it loads.
    pub fn log_bytes_due(&self, log_bytes_min: u64) -> u64 {
        self.image_bytes.get().max(log_bytes_min)
    }
}

/// Writes a checkpoint of this core.
pub async fn write<H: Host>(engine: &Engine<H>) -> Result<(), EngineError> {
    let state = &engine.inner.checkpoint;
    let _turn = state.turn.acquire(1).await;
    let began = engine.host().monotonic();
    if let Some(why) = engine.inner.log.failure() {
        return Err(EngineError::Failed(why));
    }
    let identity = engine.inner.identity;
    let sequence = state.kept.borrow().back().map_or(1, |(sequence, _)| sequence + 1);
    let position = engine.inner.log.position();
    state.bytes_written.set(engine.inner.log.bytes_written());
    let (generation, shard) = (identity.generation, identity.shard);
    let draft = FileName::CheckpointDraft { generation, shard, sequence }.to_string();
    let name = FileName::Checkpoint { generation, shard, sequence }.to_string();
    let disk = engine.disk();
    let failed = |error: std::io::Error| error_of("writing a checkpoint", &error);
    let header = CheckpointHeader {
        node: identity.node,
        generation,
        shard,
        cores: identity.cores,
        sequence,
        position,
        chunks: 0,
        entries: 0,
    };
    let written = write_draft(engine, &draft, header).await;
    if written.is_err() {
        // On a full drive, half a checkpoint would keep the room that deletions need.
        let _ = disk.remove(&draft).await;
    }
    written.map_err(failed)?;
    disk.rename(&draft, &name).await.map_err(failed)?;
    engine.inner.shared.sync_directory(disk).await.map_err(failed)?;
    let first = !state.has_any();
    state.kept.borrow_mut().push_back((sequence, position));
    if first {
        engine.inner.shared.checkpoints_missing.fetch_sub(1, Ordering::SeqCst);
    }
    state.writing.observe_duration(engine.host().monotonic().saturating_sub(began));
    drop_old(engine).await;
    Ok(())
}

/// Writes a whole checkpoint under the name of its draft.
async fn write_draft<H: Host>(
    engine: &Engine<H>,
    draft: &str,
    header: CheckpointHeader,
) -> std::io::Result<()> {
    let disk = engine.disk();
    let _ = disk.remove(draft).await;
    let file = disk.open(draft, OpenMode::Create).await?;
    let mut image = Image { disk: disk.clone(), file, offset: BLOCK_BYTES as u64, header };
    image.header.entries = write_entries(engine, &mut image).await?;
    engine.inner.checkpoint.image_bytes.set(image.offset);
    image.write_at(0, &image.header.encode()).await?;
    disk.sync(&image.file).await
}

/// Removes checkpoints beyond the kept number.
async fn drop_old<H: Host>(engine: &Engine<H>) {
    let identity = engine.inner.identity;
    loop {
        let oldest = {
            let mut kept = engine.inner.checkpoint.kept.borrow_mut();
            if kept.len() <= CHECKPOINTS_KEPT {
                return;
            }
            kept.pop_front()
        };
        let Some((sequence, _)) = oldest else { return };
        let name = FileName::Checkpoint { generation: identity.generation, shard: identity.shard, sequence };
        if let Err(error) = engine.disk().remove(&name.to_string()).await {
            tracing::warn!("removing {name}: {error}");
        }
    }
}

/// A checkpoint being written.
struct Image<D: Disk> {
    disk: D,
    file: D::File,
    offset: u64,
    /// Its chunks are counted while they are written.
    header: CheckpointHeader,
}

impl<D: Disk> Image<D> {
    async fn chunk(&mut self, entries: &mut Vec<u8>) -> std::io::Result<()> {
        if entries.is_empty() {
            return Ok(());
        }
        let chunk = encode_chunk(&self.header, self.header.chunks, entries);
        self.write_at(self.offset, &chunk).await?;
        self.offset += chunk.len() as u64;
        self.header.chunks += 1;
        entries.clear();
        Ok(())
    }

    async fn write_at(&self, offset: u64, bytes: &[u8]) -> std::io::Result<()> {
        let mut buffer = Buffer::heap(bytes.len());
        buffer.append(bytes);
        let length = buffer.len();
        self.disk.write(&self.file, offset, buffer, 0..length, Durability::Buffered).await.0
    }
}

/// Walks the index in steps between which the core does other things. Returns the number of entries.
async fn write_entries<H: Host>(engine: &Engine<H>, image: &mut Image<H::Disk>) -> std::io::Result<u64> {
    let index = &engine.inner.index;
    let mut out = Vec::with_capacity(BUFFER_BYTES);
    let mut entries = tables::write(engine, image, &mut out).await?;
    let mut after: Option<BucketId> = None;
    loop {
        let next = next_bucket(&index.borrow(), after);
        let Some(bucket) = next else { break };
        after = next;
        let mut at: Option<Place> = None;
        loop {
            let after = at.as_ref().map(|(key, sequence)| (&**key, *sequence));
            let (count, last) = encode_versions(&index.borrow(), bucket, after, &mut out);
            entries += count;
            if out.len() >= BUFFER_BYTES {
                image.chunk(&mut out).await?;
            }
            let Some(last) = last else { break };
            at = Some(last);
            engine.host().yield_now().await;
        }
        let mut upload = None;
        loop {
            let next = {
                let index = index.borrow();
                let from = upload.take().map_or(Bound::Unbounded, Bound::Excluded);
                let next = index
                    .buckets
                    .get(&bucket)
                    .and_then(|it| it.uploads.range((from, Bound::Unbounded)).next());
                next.map(|(name, entry)| {
                    encode_upload_entry(bucket, entry, &mut out);
                    name.clone()
                })
            };
            let Some(name) = next else { break };
            upload = Some(name);
            entries += 1;
            if out.len() >= BUFFER_BYTES {
                image.chunk(&mut out).await?;
            }
        }
    }
    image.chunk(&mut out).await?;
    Ok(entries)
}

fn next_bucket(index: &Index, after: Option<BucketId>) -> Option<BucketId> {
    let from = after.map_or(Bound::Unbounded, Bound::Excluded);
    index.buckets.range((from, Bound::Unbounded)).next().map(|(id, _)| *id)
}

/// Key and sequence of a version.
type Place = (Box<[u8]>, u64);

/// Encodes the next versions of a bucket; returns how many, and the place of the last if there may be more.
///
/// They are walked in one order, whichever of them are current. So a version that becomes current, or ceases
/// to be, while the image is written is not missed.
fn encode_versions(
    index: &Index,
    bucket: BucketId,
    after: Option<(&[u8], u64)>,
    out: &mut Vec<u8>,
) -> (u64, Option<Place>) {
    let Some(shard) = index.buckets.get(&bucket) else { return (0, None) };
    let walk = match after {
        None => shard.walk(Bound::Unbounded),
        Some((key, sequence)) => shard.walk_after(key, sequence),
    };
    let mut count = 0;
    for (key, entry) in walk {
        encode_object_entry(bucket, key, &entry, out);
        count += 1;
        if count == WALK_STEP_ENTRIES as u64 || out.len() >= BUFFER_BYTES {
            return (count, Some((key.into(), entry.sequence)));
        }
    }
    (count, None)
}
