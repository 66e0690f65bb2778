//! What a core's engine has counted, and how it stands, in one copy.

use std::time::Duration;

use super::Engine;
use super::gc::scrub::ScrubProgress;
use super::health::Part;
use super::types::{BucketId, Usage};
use crate::base::instruments::{Counter, Distribution, Durations};
use crate::base::stages::{self, Stage};
use crate::io::{Disk, Host, Space};

/// The engine's own instruments; log, extents and checkpoints have theirs.
#[derive(Default)]
pub(super) struct Meters {
    /// Of each read that a look-up or a download waited for, from log or extents.
    reading: Durations,
    pub cache_hits: Counter,
    pub cache_misses: Counter,
    pub segments_cleaned: Counter,
    pub bytes_cleaned: Counter,
}

/// A core's engine at one moment. Durations are in nanoseconds; counts are those since the start.
#[derive(Clone, Debug)]
pub struct EngineCounts {
    pub failed: Vec<Part>,
    /// Of the core's drive, asked by the first core of each.
    pub space: Option<Space>,
    /// From an append until it was durable and applied.
    pub commit: Distribution,
    pub batch_records: Distribution,
    pub batch_bytes: Distribution,
    /// Of each write of large payload.
    pub writing: Distribution,
    /// Of each upload's wait for its payload to be durable.
    pub syncing: Distribution,
    /// Of each read of a record or of payload.
    pub reading: Distribution,
    pub cache_hits: u64,
    pub cache_misses: u64,
    pub cache_bytes: u64,
    pub log: LogCounts,
    /// Bytes of data segments that extents take which somebody refers to.
    pub payload_bytes_live: u64,
    /// Bytes of extents that nobody refers to and that are to be freed.
    pub payload_bytes_dead: u64,
    pub payload_segments: usize,
    pub checkpoints: Distribution,
    pub is_checkpoint_under_way: bool,
    /// Log written since the last checkpoint began, and how much makes the next one due.
    pub checkpoint_log_bytes: u64,
    pub checkpoint_log_bytes_due: u64,
    pub scrub: ScrubProgress,
    pub damages: u64,
    pub events_queued: usize,
    pub events_dropped: u64,
    /// What the core owns of the buckets asked for, in their order.
    pub buckets: Vec<Usage>,
}

/// A core's log at one moment.
#[derive(Clone, Debug, Default)]
pub struct LogCounts {
    pub segments: usize,
    pub bytes_live: u64,
    /// Bytes of no live record: dead ones, but also padding and deletions that still hide something.
    pub bytes_dead: u64,
    pub bytes_written: u64,
    /// Appends that wait for the next batch, and the bytes that wait or are being written.
    pub appends_queued: usize,
    pub bytes_queued: usize,
    pub segments_cleaned: u64,
    pub bytes_cleaned: u64,
    /// Bytes of records that cleaning moved.
    pub bytes_moved: u64,
}

impl<H: Host> Engine<H> {
    /// Takes note of a read that began at `began` and has just ended.
    pub(super) fn note_reading(&self, began: Duration) {
        let took = self.host().monotonic().saturating_sub(began);
        self.inner.meters.reading.observe_duration(took);
        stages::add(Stage::Read, took);
    }

    /// What this core has counted and how it stands, with what it owns of `buckets`.
    pub fn counts(&self, buckets: &[BucketId]) -> EngineCounts {
        let inner = &self.inner;
        let (meters, log, extents) = (&inner.meters, inner.log.meters(), inner.extents.meters());
        let index = inner.index.borrow();
        let payload_bytes_dead = inner.extents.bytes_dead();
        EngineCounts {
            failed: inner.shared.failed_parts(self.me(), inner.drive),
            space: (self.me() < self.host().disks().len()).then(|| self.disk().space().ok()).flatten(),
            commit: log.commit.snapshot(),
            batch_records: log.batch_records.snapshot(),
            batch_bytes: log.batch_bytes.snapshot(),
            writing: extents.writing.snapshot(),
            syncing: extents.syncing.snapshot(),
            reading: meters.reading.snapshot(),
            cache_hits: meters.cache_hits.get(),
            cache_misses: meters.cache_misses.get(),
            cache_bytes: inner.cache.borrow().weight(),
            log: self.log_counts(index.live_log_bytes()),
            payload_bytes_live: inner.extents.bytes_live().saturating_sub(payload_bytes_dead),
            payload_bytes_dead,
            payload_segments: inner.extents.segments_count(),
            checkpoints: inner.checkpoint.writing(),
            is_checkpoint_under_way: inner.checkpoint.is_writing(),
            checkpoint_log_bytes: inner.checkpoint.log_bytes_since(inner.log.bytes_written()),
            checkpoint_log_bytes_due: inner.checkpoint.log_bytes_due(inner.options.checkpoint_log_bytes),
            scrub: self.scrub_progress(),
            damages: inner.damages.borrow().count(),
            events_queued: index.events.count(),
            events_dropped: self.events_dropped(),
            buckets: buckets.iter().map(|bucket| index.usage(*bucket)).collect(),
        }
    }

    fn log_counts(&self, bytes_live: u64) -> LogCounts {
        let (log, meters) = (&self.inner.log, &self.inner.meters);
        let (appends_queued, bytes_queued) = log.queued();
        LogCounts {
            segments: log.segments_count(),
            bytes_live,
            bytes_dead: log.bytes_used().saturating_sub(bytes_live),
            bytes_written: log.bytes_written(),
            appends_queued,
            bytes_queued,
            segments_cleaned: meters.segments_cleaned.get(),
            bytes_cleaned: meters.bytes_cleaned.get(),
            bytes_moved: log.meters().bytes_moved.get(),
        }
    }
}
