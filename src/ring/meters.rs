//! What a core counts of its drives' operations.

use std::time::Duration;

use crate::base::instruments::{Counter, Distribution, Durations};

/// What is asked of a drive often enough to be timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    Read,
    /// A write that may stay in the drive's cache.
    Write,
    /// A write that is durable when it ends.
    WriteDurable,
    /// fdatasync of a file.
    Sync,
}

impl Operation {
    pub const ALL: [Self; 4] = [Self::Read, Self::Write, Self::WriteDurable, Self::Sync];

    /// Its name as a label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::WriteDurable => "write_durable",
            Self::Sync => "sync",
        }
    }
}

/// The instruments of one drive on one core.
#[derive(Default)]
pub(super) struct Meters {
    /// In the order of [`Operation::ALL`].
    operations: [OfOperation; 4],
}

#[derive(Default)]
struct OfOperation {
    durations: Durations,
    bytes: Counter,
    failures: Counter,
}

/// What a core's operations of one kind on one drive have come to since the start.
#[derive(Clone, Debug)]
pub struct OperationCounts {
    pub operation: Operation,
    /// From asking until the drive has answered, in nanoseconds.
    pub durations: Distribution,
    /// Bytes of those that succeeded.
    pub bytes: u64,
    pub failures: u64,
}

impl Meters {
    /// Counts an operation, with the bytes it moved if it succeeded.
    pub(super) fn ended(&self, operation: Operation, took: Duration, bytes: Option<usize>) {
        let of_it = &self.operations[operation as usize];
        of_it.durations.observe_duration(took);
        match bytes {
            Some(bytes) => of_it.bytes.add(bytes as u64),
            None => of_it.failures.increment(),
        }
    }

    pub(super) fn snapshot(&self) -> Vec<OperationCounts> {
        let of_each = Operation::ALL.into_iter().zip(&self.operations);
        of_each
            .map(|(operation, of_it)| OperationCounts {
                operation,
                durations: of_it.durations.snapshot(),
                bytes: of_it.bytes.get(),
                failures: of_it.failures.get(),
            })
            .collect()
    }
}
