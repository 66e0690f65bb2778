//! shuttle's atomics: each access is a point where another thread may run.

pub use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Memory without a lock. shuttle knows no memory model, so there is nothing to track.
#[derive(Default)]
pub struct Access(());

impl Access {
    pub fn read(&self) {}

    pub fn write(&self) {}
}
