//! Starts a core on the current thread and ends it in order.

use std::io;
use std::path::PathBuf;

use monoio::{IoUringDriver, RuntimeBuilder};
use rustix::thread::{CpuSet, sched_setaffinity};

use super::arena::raise_memlock;
use super::host::RingHost;
use super::queue::explain_setup_error;
use crate::base::limits::{RING_ENTRIES, SOCKET_RING_ENTRIES};

/// How a core is set up.
#[derive(Clone, Debug)]
pub struct Config {
    /// About how much memory its buffers take; all of it is locked if the limits allow.
    pub arena_bytes: usize,
    /// Operations of the storage ring under way at a time, usually
    /// [`RING_ENTRIES`]; the kernel rounds it
    /// up to a power of two.
    pub ring_entries: u32,
    /// The data directories, in order; they must exist.
    pub directories: Vec<PathBuf>,
    /// Cores of the process, which share its limit of locked memory.
    pub cores: usize,
    /// The CPU to stay on.
    pub cpu: Option<usize>,
}

impl Default for Config {
    /// A lone core without drives.
    fn default() -> Self {
        Self {
            arena_bytes: 64 << 20,
            ring_entries: RING_ENTRIES,
            directories: Vec::new(),
            cores: 1,
            cpu: None,
        }
    }
}

/// Runs a core on the current thread: the future that `main` makes, to its end. Then the tasks that were
/// spawned on the host are dropped, and the operations under way are waited for.
///
/// What `main` spawned with monoio itself must have ended by then. Errors say in one line what of the
/// machine does not suit and what to change.
pub fn run<T>(config: Config, main: impl AsyncFnOnce(RingHost) -> T) -> io::Result<T> {
    if let Some(cpu) = config.cpu {
        pin_to(cpu)?;
    }
    raise_memlock();
    let mut sockets = io_uring_of_monoio::IoUring::builder();
    sockets.setup_coop_taskrun().setup_single_issuer().setup_clamp().dontfork();
    sockets.setup_cqsize(4 * SOCKET_RING_ENTRIES);
    let mut runtime = RuntimeBuilder::<IoUringDriver>::new()
        .with_entries(SOCKET_RING_ENTRIES)
        .uring_builder(sockets)
        .enable_timer()
        .build()
        .map_err(|error| explain_setup_error(&error))?;
    runtime.block_on(async {
        let host = RingHost::new(&config)?;
        let output = main(host.clone()).await;
        host.shut_down().await;
        Ok(output)
    })
}

/// Keeps the current thread on one CPU.
fn pin_to(cpu: usize) -> io::Result<()> {
    let refused = |why: &dyn std::fmt::Display| {
        io::Error::new(io::ErrorKind::InvalidInput, format!("cannot run on CPU {cpu}: {why}"))
    };
    if cpu >= CpuSet::MAX_CPU {
        return Err(refused(&"there are not that many"));
    }
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    sched_setaffinity(None, &cpus).map_err(|error| refused(&error))
}
