//! What a log counts.

use crate::base::instruments::{Counter, Counts, Durations, Sizes};

/// The instruments of a core's log.
#[derive(Default)]
pub struct Meters {
    /// From an append until it is durable and applied; without those of cleaning.
    pub commit: Durations,
    /// Records of each batch.
    pub batch_records: Counts,
    /// Bytes of each batch as it was written.
    pub batch_bytes: Sizes,
    /// Bytes of records that cleaning has moved.
    pub bytes_moved: Counter,
}
