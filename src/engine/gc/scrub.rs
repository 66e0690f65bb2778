//! Scrub: reads everything that is stored, slowly, and verifies it, so that damage is known before somebody
//! needs what it hit.
//!
//! Each core goes over the files it takes care of: superblocks, checkpoints, log, extents. What can be made whole
//! from another copy or from memory is; the rest is told, with the versions whose data it was.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use super::super::checkpoint;
use crate::base::crc32c;
use crate::base::limits::{
    BLOCK_BYTES, BUFFER_BYTES, CHECKSUM_CHUNK_BYTES, SCRUB_FLAWS_TOGETHER_MAX, SCRUB_PASS_SECONDS_MIN,
};
use crate::base::local::Semaphore;
use crate::engine::Engine;
use crate::engine::damage::{Damage, DamageKind, Flaw};
use crate::engine::extent::extent_blocks;
use crate::engine::extent::reader::{Broken, NO_MATCH, Stored, read_blocks};
use crate::engine::format::segment::ExtentTrailer;
use crate::engine::format::{ExtentId, FileName, SegmentId};
use crate::engine::log::error_of;
use crate::engine::log::scan::{Opened, ScanError, Scanned, SegmentScanner};
use crate::engine::message::{Answer, Request};
use crate::engine::recovery::verify_superblocks;
use crate::engine::types::EngineError;
use crate::io::Host;

/// How far the scrub of a core is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScrubProgress {
    pub is_under_way: bool,
    /// Passes that have ended since the start: each verified everything once.
    pub passes: u64,
    /// Bytes that the pass under way has verified.
    pub bytes_done: u64,
    /// Bytes there were to verify when it began.
    pub bytes_total: u64,
}

/// What a core knows of its scrub.
pub(in crate::engine) struct State {
    progress: Cell<ScrubProgress>,
    turn: Semaphore,
}

impl Default for State {
    fn default() -> Self {
        Self { progress: Cell::default(), turn: Semaphore::new(1) }
    }
}

/// Damage in extents that waits to be told, with the part of the extent's payload that it takes.
type Flaws = RefCell<Vec<(ExtentId, Range<u32>, Flaw)>>;

impl<H: Host> Engine<H> {
    /// How far this core's scrub is.
    pub fn scrub_progress(&self) -> ScrubProgress {
        self.inner.scrub.progress.get()
    }

    /// Bytes that the scrub of all cores reads in a second of each drive; 0 for none.
    pub fn scrub_bytes_per_second(&self) -> u64 {
        self.inner.options.scrub_bytes_per_second
    }

    /// Verifies once everything that this core takes care of, as fast as it goes; [`Engine::damages`] knows the
    /// findings then.
    pub async fn scrub(&self) -> Result<ScrubProgress, EngineError> {
        self.scrub_pass(None).await?;
        Ok(self.scrub_progress())
    }

    /// Scrubs again and again, no faster than the options say.
    pub(super) async fn run_scrub(&self) {
        let cores = self.cores().div_ceil(self.host().disks().len()) as u64;
        let per_second = self.inner.options.scrub_bytes_per_second.div_ceil(cores);
        if per_second == 0 {
            return;
        }
        loop {
            // Nothing is verified twice a day; a store that is small, or was just filled, is soon through.
            for _ in 0..SCRUB_PASS_SECONDS_MIN {
                self.host().sleep(Duration::from_secs(1)).await;
                if self.inner.stopping.get() {
                    return;
                }
            }
            match self.scrub_pass(Some(per_second)).await {
                Ok(()) | Err(EngineError::Stopping) => {}
                Err(error) => tracing::warn!("the scrub was cut off: {error}"),
            }
        }
    }

    async fn scrub_pass(&self, per_second: Option<u64>) -> Result<(), EngineError> {
        let _turn = self.inner.scrub.turn.acquire(1).await;
        let result = self.scrub_everything(per_second).await;
        let progress = self.scrub_progress();
        self.inner.scrub.progress.set(ScrubProgress { is_under_way: false, ..progress });
        result
    }

    async fn scrub_everything(&self, per_second: Option<u64>) -> Result<(), EngineError> {
        self.inner.damages.borrow_mut().begin_pass();
        let passes = self.scrub_progress().passes;
        let extent_bytes: u64 = self.inner.extents.reach().iter().map(|(.., bytes)| bytes).sum();
        let bytes_total = self.inner.log.bytes_used() + extent_bytes;
        let begun = ScrubProgress { is_under_way: true, passes, bytes_done: 0, bytes_total };
        self.inner.scrub.progress.set(begun);
        self.scrub_superblocks().await;
        self.scrub_checkpoints(per_second).await?;
        let current = self.inner.log.position().segment;
        let sealed = self.inner.log.sealed_segments().into_iter().map(|(id, _)| id);
        for id in sealed.chain([current]) {
            self.scrub_log(id, per_second).await?;
        }
        self.scrub_missing().await?;
        self.scrub_extents(per_second).await?;
        self.inner.damages.borrow_mut().end_pass();
        let progress = self.scrub_progress();
        self.inner.scrub.progress.set(ScrubProgress { passes: passes + 1, ..progress });
        Ok(())
    }

    /// Waits as long as reading so many bytes may take.
    async fn pace(&self, bytes: u64, per_second: Option<u64>) -> Result<(), EngineError> {
        self.check_running()?;
        match per_second {
            Some(per_second) => {
                let nanos = u128::from(bytes) * 1_000_000_000 / u128::from(per_second);
                self.host().sleep(Duration::from_nanos(nanos as u64)).await;
            }
            None => self.host().yield_now().await,
        }
        self.check_running()
    }

    fn count_scrubbed(&self, bytes: u64) {
        let progress = self.scrub_progress();
        let bytes_done = (progress.bytes_done + bytes).min(progress.bytes_total);
        self.inner.scrub.progress.set(ScrubProgress { bytes_done, ..progress });
    }

    /// The first core of each drive looks at its superblocks; the next start writes both.
    async fn scrub_superblocks(&self) {
        if self.me() < self.host().disks().len() {
            for damage in verify_superblocks(self.disk()).await {
                self.note_damage(damage);
            }
        }
    }

    async fn scrub_checkpoints(&self, per_second: Option<u64>) -> Result<(), EngineError> {
        let identity = self.inner.identity;
        let mut is_damaged = false;
        for sequence in self.inner.checkpoint.sequences() {
            let name =
                FileName::Checkpoint { generation: identity.generation, shard: identity.shard, sequence };
            let pace = async |bytes| drop(self.pace(bytes, per_second).await);
            let verified = checkpoint::verify(self.disk(), name, identity.node, pace).await;
            self.check_running()?;
            // One that was replaced meanwhile is gone.
            if let Err(unusable) = verified
                && self.inner.checkpoint.sequences().contains(&sequence)
            {
                is_damaged = true;
                let flaw = Flaw { offset: unusable.offset, bytes: unusable.bytes, what: unusable.why };
                self.note_damage(flaw.in_file(DamageKind::Checkpoint, name));
            }
        }
        if is_damaged { self.renew_checkpoints().await } else { Ok(()) }
    }

    /// Replaces both checkpoints by new ones.
    async fn renew_checkpoints(&self) -> Result<(), EngineError> {
        checkpoint::write(self).await?;
        checkpoint::write(self).await
    }

    async fn scrub_log(&self, id: SegmentId, per_second: Option<u64>) -> Result<(), EngineError> {
        let name = FileName::Log(id);
        let failed = |error: ScanError| match error {
            ScanError::Io(error) => error_of(&format!("verifying {name}"), &error),
            ScanError::Malformed(at) => {
                EngineError::Corrupt(format!("{name} at offset {}: a record can't be understood", at.offset))
            }
        };
        let note = |offset: u32, bytes: u32, what: &str| {
            let flaw = Flaw { offset: offset.into(), bytes: bytes.into(), what: what.to_string() };
            self.note_damage(flaw.in_file(DamageKind::Log, name));
        };
        let opened = match self.file(name).await {
            Ok((disk, file)) => {
                SegmentScanner::open(&disk, file, id).await.map_err(|error| failed(error.into()))?
            }
            Err(EngineError::Corrupt(what)) => {
                if self.inner.log.has_segment(id) {
                    note(0, 0, &what);
                }
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let mut scanner = match opened {
            Opened::Segment(scanner) => scanner,
            Opened::Unused | Opened::Damaged => {
                if self.inner.log.has_segment(id) {
                    note(0, BLOCK_BYTES as u32, "the header and its copy are damaged");
                    self.salvage_everywhere(id, 0..u32::MAX, false).await?;
                }
                return Ok(());
            }
        };
        if scanner.is_header_damaged {
            note(0, BLOCK_BYTES as u32, "the header is damaged; the next start reads it from its copy");
        }
        let mut damaged: Option<Range<u32>> = None;
        // Up to where damage was seen, not only supposed.
        let mut certain = 0;
        let mut is_fresh = false;
        let mut offset = BLOCK_BYTES as u32;
        let mut expected = None;
        loop {
            // The cleaner must not remove it meanwhile.
            let turn = self.inner.maintenance.acquire(1).await;
            let Some(end) = self.inner.log.end_of(id) else { return Ok(()) };
            if offset >= end {
                break;
            }
            let found = scanner.batch(offset).await.map_err(|error| failed(error.into()))?;
            let batch = found.filter(|batch| expected.is_none_or(|expected| expected == batch.sequence));
            let mut ignore = |_: Scanned<'_>| Ok(());
            let is_whole = match &batch {
                Some(batch) => scanner.visit(offset, batch, &mut ignore).await.map_err(failed)?,
                None => false,
            };
            if !is_whole && !is_fresh {
                // What was read ahead may have been written since.
                scanner.forget_window();
                is_fresh = true;
                continue;
            }
            is_fresh = false;
            let length = batch.map_or(BLOCK_BYTES, |it| (it.bytes as usize).next_multiple_of(BLOCK_BYTES));
            let mut next = offset + length as u32;
            expected = batch.map(|batch| batch.sequence + 1).or(expected);
            if !is_whole {
                let mut is_certain = true;
                if batch.is_none() {
                    let later = scanner.later(next, expected.unwrap_or(0)).await;
                    let later = later.map_err(|error| failed(error.into()))?;
                    next = later.map_or(end.max(next), |(place, _)| place);
                    expected = later.map(|(_, batch)| batch.sequence);
                    // Where older segments end is not known exactly; what lives there is looked at in any case.
                    let newest = self.inner.checkpoint.newest_position();
                    is_certain = later.is_some() || newest.is_some_and(|newest| newest.segment <= id);
                }
                if is_certain {
                    note(offset, next - offset, "changes in the log are damaged");
                    certain = next;
                }
                damaged = Some(damaged.map_or(offset, |range| range.start)..next);
            }
            drop(turn);
            self.count_scrubbed(u64::from(next - offset));
            self.pace(u64::from(next - offset), per_second).await?;
            offset = next;
        }
        let Some(damaged) = damaged else { return Ok(()) };
        self.salvage_everywhere(id, damaged, false).await?;
        // A start replays from the oldest checkpoint on: it must not come to what is damaged.
        let oldest = self.inner.checkpoint.oldest_position();
        let is_replayed = oldest.is_some_and(|oldest| (oldest.segment, oldest.offset) < (id, certain));
        if certain > 0 && is_replayed { self.renew_checkpoints().await } else { Ok(()) }
    }

    /// Has all cores look at what they have in a part of a log segment; see [`Request::Salvage`].
    pub(super) async fn salvage_everywhere(
        &self,
        segment: SegmentId,
        range: Range<u32>,
        moves: bool,
    ) -> Result<(), EngineError> {
        for answer in self.ask_all(|| Request::Salvage { segment, range: range.clone(), moves }).await {
            if let Answer::Damages(damages) = answer? {
                damages.into_iter().for_each(|damage| self.note_damage(damage));
            }
        }
        Ok(())
    }

    /// Looks for log segments that hold live records, are this core's, and are gone.
    async fn scrub_missing(&self) -> Result<(), EngineError> {
        let mut missing = BTreeSet::new();
        for answer in self.ask_all(|| Request::LiveSegments).await {
            let Answer::Segments(segments) = answer? else { continue };
            let own = segments.into_iter().filter(|id| *id as usize % self.cores() == self.me());
            missing.extend(own.filter(|id| !self.inner.log.has_segment(*id)));
        }
        for id in missing {
            // One that was made meanwhile is there.
            if let Err(EngineError::Corrupt(_)) = self.file(FileName::Log(id)).await {
                self.salvage_everywhere(id, 0..u32::MAX, false).await?;
            }
        }
        Ok(())
    }

    async fn scrub_extents(&self, per_second: Option<u64>) -> Result<(), EngineError> {
        let flaws = Flaws::default();
        let mut after = None;
        while let Some((extent, bytes)) = self.inner.extents.next_written(after) {
            after = Some(extent);
            self.scrub_extent(Stored { extent, bytes }, &flaws, per_second).await?;
            if flaws.borrow().len() >= SCRUB_FLAWS_TOGETHER_MAX {
                self.tell_flaws(flaws.take()).await?;
            }
        }
        self.tell_flaws(flaws.take()).await
    }

    /// Verifies an extent, a buffer at a time, unless it is given up meanwhile.
    async fn scrub_extent(
        &self,
        extent: Stored,
        flaws: &Flaws,
        per_second: Option<u64>,
    ) -> Result<(), EngineError> {
        let note = |range: Range<usize>, flaw: Flaw| {
            flaws.borrow_mut().push((extent.extent, range.start as u32..range.end as u32, flaw));
        };
        let (bytes, payload_bytes) =
            (extent.bytes as usize, (extent.bytes as usize).next_multiple_of(BLOCK_BYTES));
        let trailer = match self.scrub_read(extent, payload_bytes, BLOCK_BYTES).await? {
            None => return Ok(()),
            Some(Ok(block)) => extent.trailer(&block),
            Some(Err(flaw)) => Err(Broken::Flaw(flaw)),
        };
        let trailer = match trailer {
            Ok(trailer) => trailer,
            Err(Broken::Flaw(flaw)) => {
                note(0..bytes, flaw);
                self.count_scrubbed(u64::from(extent_blocks(extent.bytes)) * BLOCK_BYTES as u64);
                return Ok(());
            }
            Err(Broken::Error(error)) => return Err(error),
        };
        self.count_scrubbed(BLOCK_BYTES as u64);
        let mut first = 0;
        while first < payload_bytes {
            let length = BUFFER_BYTES.min(payload_bytes - first);
            let Some(read) = self.scrub_read(extent, first, length).await? else { return Ok(()) };
            let end = (first + length).min(bytes);
            match read {
                Ok(buffer) => check_chunks(extent, &trailer, first, &buffer[..end - first], &note),
                // Which of its chunks?
                Err(_) => {
                    for start in (first..end).step_by(CHECKSUM_CHUNK_BYTES) {
                        let length = CHECKSUM_CHUNK_BYTES.min(payload_bytes - start);
                        let Some(read) = self.scrub_read(extent, start, length).await? else { return Ok(()) };
                        let end = (start + length).min(bytes);
                        match read {
                            Ok(chunk) => check_chunks(extent, &trailer, start, &chunk[..end - start], &note),
                            Err(flaw) => note(start..end, flaw),
                        }
                    }
                }
            }
            self.count_scrubbed(length as u64);
            self.pace(length as u64, per_second).await?;
            first += length;
        }
        Ok(())
    }

    /// Reads some of an extent; `None` if nothing refers to it any more.
    async fn scrub_read(
        &self,
        extent: Stored,
        offset: usize,
        length: usize,
    ) -> Result<Option<Result<Vec<u8>, Flaw>>, EngineError> {
        // What is given up after this is freed after the read.
        let _pin = self.inner.readers.pin();
        if !self.inner.extents.is_referred(extent.extent) {
            return Ok(None);
        }
        let buffer = self.host().pool().acquire(length).await;
        match read_blocks(self, extent, offset, length, buffer).await {
            Ok(buffer) => Ok(Some(Ok(buffer[..length].to_vec()))),
            Err(Broken::Flaw(flaw)) => Ok(Some(Err(flaw))),
            Err(Broken::Error(error)) => Err(error),
        }
    }

    /// Finds out whose payload was hit, and tells.
    async fn tell_flaws(&self, flaws: Vec<(ExtentId, Range<u32>, Flaw)>) -> Result<(), EngineError> {
        if flaws.is_empty() {
            return Ok(());
        }
        let ranges: Vec<_> = flaws.iter().map(|(extent, range, _)| (*extent, range.clone())).collect();
        let mut objects = vec![Vec::new(); flaws.len()];
        for answer in self.ask_all(|| Request::PayloadOwners { ranges: ranges.clone() }).await {
            let Answer::PayloadOwners(found) = answer? else { continue };
            found.into_iter().for_each(|(place, object)| objects[place].push(object));
        }
        for ((extent, _, flaw), objects) in flaws.into_iter().zip(objects) {
            if self.inner.extents.is_referred(extent) {
                let damage = flaw.in_file(DamageKind::Extent, FileName::Data(extent.segment));
                self.note_damage(Damage { objects, ..damage });
            }
        }
        Ok(())
    }
}

/// Compares payload that begins `first` bytes into the extent with its checksums.
fn check_chunks(
    extent: Stored,
    trailer: &ExtentTrailer,
    first: usize,
    payload: &[u8],
    note: &impl Fn(Range<usize>, Flaw),
) {
    for (index, chunk) in payload.chunks(CHECKSUM_CHUNK_BYTES).enumerate() {
        let offset = first + index * CHECKSUM_CHUNK_BYTES;
        let number = offset / CHECKSUM_CHUNK_BYTES;
        if trailer.checksums.get(number) != Some(&crc32c::crc32c(chunk))
            && let Broken::Flaw(flaw) = extent.flaw(offset, chunk.len(), NO_MATCH)
        {
            note(offset..offset + chunk.len(), flaw);
        }
    }
}
