//! loom's atomics, and what tells it which memory is touched when.

use loom::cell::UnsafeCell;

pub use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Stands for memory without a lock: loom fails where two accesses are not ordered.
#[derive(Default)]
pub struct Access(UnsafeCell<()>);

impl Access {
    pub fn read(&self) {
        self.0.with(|_| ());
    }

    pub fn write(&self) {
        self.0.with_mut(|_| ());
    }
}
