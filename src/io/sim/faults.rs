//! How a simulated drive misbehaves.

use std::ops::Range;
use std::time::Duration;

/// How a drive misbehaves. Probabilities are per operation. The default does not fail; its latencies
/// differ, so that operations complete in another order than they were submitted.
#[derive(Clone, Debug, PartialEq)]
pub struct Faults {
    /// A read fails with EIO.
    pub read_error: f64,
    /// A write fails with EIO; any of its blocks may have been written.
    pub write_error: f64,
    /// A sync (of a file, of the directory, or that of a durable write) fails with EIO; what it should
    /// have made durable is lost, kept, or readable until the next crash only.
    pub sync_error: f64,
    /// Opening or making a file fails with EIO.
    pub open_error: f64,
    /// Reserving space fails with EIO.
    pub allocate_error: f64,
    /// Punching a hole fails with EIO.
    pub punch_error: f64,
    /// A rename or a removal fails with EIO.
    pub name_error: f64,
    /// A read returns fewer bytes than the file holds, as if the file were cut.
    pub read_short: f64,
    /// Bytes that all files together may occupy; beyond, writes and allocations fail with ENOSPC.
    pub capacity_bytes: u64,
    /// Time an operation takes: anything within the range.
    pub latency: Range<Duration>,
    /// An operation takes [`STALL`] more, while others overtake it.
    pub stall: f64,
}

/// What a stalled operation takes more: a drive that retries within itself.
pub const STALL: Duration = Duration::from_millis(400);

impl Default for Faults {
    fn default() -> Self {
        Self {
            read_error: 0.0,
            write_error: 0.0,
            sync_error: 0.0,
            open_error: 0.0,
            allocate_error: 0.0,
            punch_error: 0.0,
            name_error: 0.0,
            read_short: 0.0,
            capacity_bytes: 1 << 40,
            latency: Duration::from_micros(10)..Duration::from_micros(200),
            stall: 0.0,
        }
    }
}
