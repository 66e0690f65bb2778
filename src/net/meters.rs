//! What a core's connections count.

use crate::base::instruments::{Counter, Distribution, Durations};

/// The instruments, shared by all connections of a core.
#[derive(Default)]
pub(super) struct Meters {
    pub(super) joined: Counter,
    pub(super) refused: Counter,
    pub(super) timed_out: Counter,
    pub(super) cut: Counter,
    pub(super) bytes_received: Counter,
    pub(super) bytes_sent: Counter,
    /// Of request heads that were there as a whole.
    pub(super) parsing: Durations,
}

/// What a core's connections have counted since the start.
#[derive(Clone, Debug, Default)]
pub struct ConnectionCounts {
    /// Connections that were served or refused.
    pub joined: u64,
    /// Of those, connections that were told that there are too many.
    pub refused: u64,
    /// Connections whose peer kept the node waiting for too long, in a request or without one.
    pub timed_out: u64,
    /// Slow clients that were cut because others waited for buffers.
    pub cut: u64,
    pub bytes_received: u64,
    pub bytes_sent: u64,
    /// Time to parse a request head, in nanoseconds.
    pub parsing: Distribution,
}

impl Meters {
    pub(super) fn snapshot(&self) -> ConnectionCounts {
        ConnectionCounts {
            joined: self.joined.get(),
            refused: self.refused.get(),
            timed_out: self.timed_out.get(),
            cut: self.cut.get(),
            bytes_received: self.bytes_received.get(),
            bytes_sent: self.bytes_sent.get(),
            parsing: self.parsing.snapshot(),
        }
    }
}
