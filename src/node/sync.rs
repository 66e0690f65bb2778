//! The atomics and queues that cores share, by one name each: `tests/interleavings` compiles the files that use
//! them once more, with the versions of model checkers in their place.

pub use std::sync::OnceLock;
pub use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

pub use rtrb::{Consumer, Producer, PushError, RingBuffer};
