//! Registration of a core's buffers, so that the kernel need not pin their pages for each operation.

use std::fmt::Display;
use std::sync::Once;

use io_uring::IoUring;
use rustix::mm::Advice;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities};

use crate::base::limits::{BUFFER_BYTES, SMALL_BUFFER_BYTES};
use crate::io::{Buffer, Pool};

/// The kernel registers at most 1 GiB in one piece (`IORING_MAX_REG_BUFFERS` pieces).
const PIECE_BYTES: usize = 1 << 30;

// Pool buffers are laid out from multiples of their own size on, so that none straddles two pieces.
const _: () = assert!(PIECE_BYTES.is_multiple_of(BUFFER_BYTES));
const _: () = assert!(BUFFER_BYTES.is_multiple_of(SMALL_BUFFER_BYTES));

/// Locked memory that a core needs beside its arena: the kernel counts the two rings too.
const RINGS_BYTES: usize = 1 << 20;

/// Memory that so many cores lock, if the limits allow, with `arena_bytes` of buffers each.
pub fn locked_bytes(arena_bytes: usize, cores: usize) -> usize {
    arena_bytes.saturating_add(RINGS_BYTES).saturating_mul(cores)
}

/// The registered memory of a ring: `bytes` at address `start`.
#[derive(Clone, Copy)]
pub(super) struct Arena {
    start: usize,
    bytes: usize,
}

impl Arena {
    /// Registers the arena of `pool`, which must outlive the ring. Without the allowance to lock that much
    /// memory for each of `cores` cores the ring goes on without registered buffers, after one warning for
    /// the process. Either all cores register or none does: were the allowance spent by the first ones,
    /// the others would not even get their rings.
    pub fn register(ring: &IoUring, pool: &Pool, cores: usize) -> Option<Self> {
        let (start, bytes) = pool.arena();
        if !may_lock(locked_bytes(bytes, cores)) {
            warn_unregistered(bytes, cores, &"too little");
            return None;
        }
        // Huge pages make registration and each operation cheaper. Where there are none, nothing is lost.
        // SAFETY: advice on memory that the pool owns; it changes no contents.
        let _ = unsafe { rustix::mm::madvise(start.cast(), bytes, Advice::LinuxHugepage) };
        let pieces: Vec<_> = (0..bytes)
            .step_by(PIECE_BYTES)
            .map(|offset| libc::iovec {
                iov_base: start.wrapping_add(offset).cast(),
                iov_len: PIECE_BYTES.min(bytes - offset),
            })
            .collect();
        // SAFETY: the pieces cover exactly the pool's mapping. The ring's owner holds the pool until the
        // ring is closed, so the registered pages stay mapped at these addresses.
        match unsafe { ring.submitter().register_buffers(&pieces) } {
            Ok(()) => Some(Self { start: start as usize, bytes }),
            Err(error) => {
                warn_unregistered(bytes, cores, &error);
                None
            }
        }
    }

    /// The registered piece in which `buffer` lies, if it does.
    pub fn piece(&self, buffer: &Buffer) -> Option<u16> {
        let offset = (buffer.as_ptr() as usize).checked_sub(self.start)?;
        (offset < self.bytes).then_some((offset / PIECE_BYTES) as u16)
    }
}

/// Raises the soft limit of locked memory to the hard one, which any process may do.
pub(super) fn raise_memlock() {
    let limit = getrlimit(Resource::Memlock);
    if limit.current != limit.maximum {
        let _ = setrlimit(Resource::Memlock, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
}

/// Whether this process may lock `bytes`.
fn may_lock(bytes: usize) -> bool {
    let unlimited = capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::IPC_LOCK));
    unlimited || getrlimit(Resource::Memlock).current.is_none_or(|limit| limit >= bytes as u64)
}

fn warn_unregistered(bytes: usize, cores: usize, error: &dyn Display) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let limit = match getrlimit(Resource::Memlock).current {
            Some(bytes) => format!("{} KiB", bytes / 1024),
            None => "unlimited".to_owned(),
        };
        tracing::warn!(
            "no buffers are registered with io_uring: {cores} cores need {} MiB of locked memory, the limit \
             (RLIMIT_MEMLOCK) is {limit} ({error}). Requests will cost more CPU time. To change it: \
             LimitMEMLOCK=infinity in a systemd unit, --ulimit memlock=-1 for a container, `ulimit -l \
             unlimited` in a shell, or a smaller arena.",
            locked_bytes(bytes, cores) >> 20,
        );
    });
}
