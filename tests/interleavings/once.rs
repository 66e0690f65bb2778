//! A value that is set once, as a model checker sees it.

use super::primitives::{Access, AtomicBool, Ordering};

/// The standard library's, with the checker's atomics around it.
pub struct OnceLock<T> {
    is_set: AtomicBool,
    access: Access,
    value: std::sync::OnceLock<T>,
}

impl<T> Default for OnceLock<T> {
    fn default() -> Self {
        Self { is_set: AtomicBool::new(false), access: Access::default(), value: std::sync::OnceLock::new() }
    }
}

impl<T> OnceLock<T> {
    /// One thread sets it, as cores do.
    pub fn set(&self, value: T) -> Result<(), T> {
        self.access.write();
        self.value.set(value)?;
        self.is_set.store(true, Ordering::Release);
        Ok(())
    }

    pub fn get(&self) -> Option<&T> {
        if !self.is_set.load(Ordering::Acquire) {
            return None;
        }
        self.access.read();
        self.value.get()
    }
}
