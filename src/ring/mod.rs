//! [`crate::io`] on io_uring: files of the drives, buffers registered with the kernel, and the thread that
//! runs a core. Nothing above this layer knows the kernel interface.
//!
//! Each core thread has two rings (docs/decisions/0002-two-rings.md). monoio's carries sockets and timers
//! and is where the thread sleeps. Ours carries file operations; the kernel counts its completions up in
//! an eventfd that a task reads through monoio's ring, so that a finished file operation wakes the thread
//! like a packet does.
//!
//! - [`runtime`] starts and ends a core.
//! - [`socket`] lets a socket leave it.
//! - `host` is the core as seen by its code: [`RingHost`].
//! - `disk` turns [`crate::io::Disk`] into kernel operations: [`RingDisk`].
//! - `queue` submits operations and keeps what they use alive until the kernel is done with it.
//! - [`meters`] counts what drives do; [`machine`] asks what the kernel offers.
//! - `arena` registers the buffers.
//! - `wakeup` is how other threads (and completions) reach a sleeping core: [`Wakeup`].

mod arena;
mod disk;
mod host;
pub mod machine;
pub mod meters;
mod queue;
pub mod runtime;
pub mod socket;
mod sync;
#[cfg(test)]
mod tests;
mod wakeup;

pub use disk::{RingDisk, RingFile};
pub use host::RingHost;
pub use wakeup::Wakeup;
