//! The storage ring of a core: submits operations, and keeps what they use alive until the kernel is done.
//!
//! At most as many operations are under way as the submission queue has entries; more wait for a permit.
//! So the submission queue never lacks room, and the completion queue, which is larger, never overflows.

use std::cell::{Cell, RefCell};
use std::ffi::CString;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use io_uring::{IoUring, squeue};

use super::arena::Arena;
use super::wakeup::Wakeup;
use crate::base::limits::RING_RETRIES_MAX;
use crate::base::local::{Permit, Semaphore, Signal};
use crate::io::{Buffer, Pool};

/// Time until an operation is tried again that the kernel had no resources for.
const RETRY_DELAY: Duration = Duration::from_millis(1);

/// A core's storage ring; clones share it. It belongs to the thread that made it.
#[derive(Clone)]
pub(super) struct Ring {
    inner: Rc<RingInner>,
}

struct RingInner {
    uring: RefCell<IoUring>,
    operations: RefCell<Operations>,
    permits: Semaphore,
    /// Entries in the submission queue that the kernel was not told of yet.
    queued: Cell<usize>,
    /// Counts how often the kernel took only a part of what was queued, which breaks links.
    submissions_cut: Cell<u64>,
    /// Of the task that tells the kernel of queued entries.
    flusher: RefCell<Option<Waker>>,
    stopping: Cell<bool>,
    /// Raised when the last operation under way completed.
    idle: Signal,
    completions: RefCell<Vec<(u64, i32)>>,
    arena: Option<Arena>,
    /// Registered memory stays as long as the ring.
    _pool: Pool,
}

/// What an operation uses: given to [`Ring::run`], given back on completion.
#[derive(Default)]
#[expect(dead_code, reason = "files and names are held, not read")]
pub(super) struct Held {
    pub buffer: Option<Buffer>,
    pub file: Option<Rc<OwnedFd>>,
    pub names: Vec<CString>,
    /// The result is a new file descriptor, to be closed if nobody takes it.
    pub opens: bool,
}

impl Held {
    /// Gives up an operation that nobody waits for any more.
    fn discard(self, results: Results) {
        if self.opens && results[0] >= 0 {
            // SAFETY: the kernel opened this descriptor for the operation; nobody else knows it.
            drop(unsafe { OwnedFd::from_raw_fd(results[0]) });
        }
    }
}

/// Operations under way, by number.
#[derive(Default)]
struct Operations {
    slots: Vec<Slot>,
    free: Vec<usize>,
    under_way: usize,
}

enum Slot {
    Free,
    UnderWay {
        held: Held,
        /// Completions still to come, and the results of those that came.
        missing: usize,
        results: Results,
        /// None until the future was polled.
        waker: Option<Waker>,
        /// The future was dropped: nobody waits, but the kernel still works.
        abandoned: bool,
        _permit: Permit,
    },
    Done {
        held: Held,
        results: Results,
    },
}

/// Results of an operation's entries, of which there are one or two.
type Results = [i32; 2];

impl Operations {
    fn insert(&mut self, held: Held, entries: usize, permit: Permit) -> usize {
        let results = Results::default();
        let slot = Slot::UnderWay {
            held,
            missing: entries,
            results,
            waker: None,
            abandoned: false,
            _permit: permit,
        };
        self.under_way += 1;
        match self.free.pop() {
            Some(index) => {
                self.slots[index] = slot;
                index
            }
            None => {
                self.slots.push(slot);
                self.slots.len() - 1
            }
        }
    }

    fn remove(&mut self, index: usize) -> Slot {
        self.free.push(index);
        std::mem::replace(&mut self.slots[index], Slot::Free)
    }
}

impl Ring {
    /// Sets a ring up whose completions count `wakeup`'s eventfd up, with the pool's arena registered
    /// if `cores` cores may do so.
    pub fn new(entries: u32, pool: &Pool, wakeup: &Wakeup, cores: usize) -> io::Result<Self> {
        // COOP_TASKRUN: completions are processed when this thread enters the kernel anyway, which it
        // does at least when it goes to sleep, so no interrupt is needed. DEFER_TASKRUN would process
        // them only when this very ring is entered: one more system call for each batch.
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_coop_taskrun()
            .setup_submit_all()
            .setup_clamp()
            .dontfork()
            // A linked pair needs two.
            .build(entries.max(2))
            .map_err(|error| explain_setup_error(&error))?;
        uring.submitter().register_eventfd(wakeup.event().as_fd().as_raw_fd())?;
        let arena = Arena::register(&uring, pool, cores);
        let capacity = uring.params().sq_entries() as usize;
        Ok(Self {
            inner: Rc::new(RingInner {
                uring: RefCell::new(uring),
                operations: RefCell::default(),
                permits: Semaphore::new(capacity),
                queued: Cell::new(0),
                submissions_cut: Cell::new(0),
                flusher: RefCell::default(),
                stopping: Cell::new(false),
                idle: Signal::default(),
                completions: RefCell::default(),
                arena,
                _pool: pool.clone(),
            }),
        })
    }

    /// The registered piece in which `buffer` lies, if it does.
    pub fn piece(&self, buffer: &Buffer) -> Option<u16> {
        self.inner.arena.as_ref()?.piece(buffer)
    }

    /// Runs an operation to its end; what failed for want of resources or by a signal is tried again.
    ///
    /// # Safety
    ///
    /// Whatever `entry` points to or names (memory, file descriptors) is owned by `held` or outlives the
    /// ring, and stays at its address when `held` is moved.
    pub async unsafe fn run(&self, entry: squeue::Entry, mut held: Held) -> (io::Result<u32>, Held) {
        let mut retries = 0;
        loop {
            let permit = self.inner.permits.acquire(1).await;
            let result;
            // SAFETY: the caller's promise.
            ([result, _], held) = unsafe { self.start(std::slice::from_ref(&entry), held, permit) }.await;
            if !retry(result, &mut retries).await {
                return (outcome(result), held);
            }
        }
    }

    /// Runs a write and, after it, a sync of its file, which the kernel starts without waking this core in
    /// between. A write that is short or fails keeps the sync from running, which then fails too.
    ///
    /// # Safety
    ///
    /// As for [`Ring::run`], for both entries.
    pub async unsafe fn run_synced(
        &self,
        write: squeue::Entry,
        sync: squeue::Entry,
        mut held: Held,
    ) -> (io::Result<u32>, io::Result<u32>, Held) {
        let entries = [write.flags(squeue::Flags::IO_LINK), sync];
        let mut retries = 0;
        loop {
            let permit = self.inner.permits.acquire(entries.len()).await;
            let submissions_cut = self.inner.submissions_cut.get();
            let (written, synced);
            // SAFETY: the caller's promise.
            ([written, synced], held) = unsafe { self.start(&entries, held, permit) }.await;
            if retry(written, &mut retries).await {
                continue;
            }
            // Submitted apart, they may have run side by side.
            let apart = submissions_cut != self.inner.submissions_cut.get();
            let mut synced_outcome = outcome(synced);
            // A sync that failed is never tried again: the next one may succeed although data was lost.
            let again = match -synced {
                libc::EINTR | libc::EAGAIN => true,
                code => apart && (code <= 0 || code == libc::ECANCELED),
            };
            if again {
                let [_, sync] = entries;
                // SAFETY: the caller's promise.
                (synced_outcome, held) = unsafe { self.run(sync, held) }.await;
            }
            return (outcome(written), synced_outcome, held);
        }
    }

    /// Queues an operation of one entry, or of two that are linked.
    ///
    /// # Safety
    ///
    /// As for [`Ring::run`], for all entries.
    unsafe fn start(&self, entries: &[squeue::Entry], held: Held, permit: Permit) -> Completion {
        let index = self.inner.operations.borrow_mut().insert(held, entries.len(), permit);
        let mut uring = self.inner.uring.borrow_mut();
        for (which, entry) in entries.iter().enumerate() {
            let entry = entry.clone().user_data((index * Results::default().len() + which) as u64);
            // SAFETY: everything the entry refers to lives in the slot until its completion is reaped, even
            // if the future is dropped or the ring is (see `Drop`).
            unsafe { uring.submission().push(&entry) }.expect("no more permits than entries");
        }
        drop(uring);
        self.inner.queued.set(self.inner.queued.get() + entries.len());
        if let Some(flusher) = self.inner.flusher.borrow_mut().take() {
            flusher.wake();
        }
        Completion { ring: self.inner.clone(), index }
    }

    /// Tells the kernel of queued operations, once for each pass of the core's run queue: the first
    /// operation queued wakes this task, which then stands behind all tasks that are runnable now.
    pub async fn flush(self) {
        loop {
            poll_fn(|context| {
                if self.inner.queued.get() > 0 || self.inner.stopping.get() {
                    return Poll::Ready(());
                }
                *self.inner.flusher.borrow_mut() = Some(context.waker().clone());
                Poll::Pending
            })
            .await;
            if self.inner.queued.get() == 0 {
                return;
            }
            if let Err(error) = self.inner.submit() {
                tracing::debug!("io_uring_enter: {error}; trying again");
                monoio::time::sleep(RETRY_DELAY).await;
            }
        }
    }

    /// Wakes whoever waits for what has completed.
    pub fn reap(&self) {
        self.inner.reap();
    }

    /// Waits until no operation is under way.
    pub async fn drain(&self) {
        while self.inner.operations.borrow().under_way > 0 {
            self.inner.idle.wait().await;
        }
    }

    /// Ends [`Ring::flush`].
    pub fn stop(&self) {
        self.inner.stopping.set(true);
        if let Some(flusher) = self.inner.flusher.borrow_mut().take() {
            flusher.wake();
        }
    }

    /// Operations that the kernel has not completed.
    pub fn under_way(&self) -> usize {
        self.inner.operations.borrow().under_way
    }

    /// Operations that wait for a place among those under way.
    pub fn waiting(&self) -> usize {
        self.inner.permits.waiting()
    }
}

impl RingInner {
    fn submit(&self) -> io::Result<()> {
        while self.queued.get() > 0 {
            let submitted = match self.uring.borrow().submit() {
                Ok(count) => count,
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => continue,
                Err(error) => return Err(error),
            };
            self.queued.set(self.queued.get().saturating_sub(submitted));
            if self.queued.get() > 0 {
                self.submissions_cut.set(self.submissions_cut.get() + 1);
            }
            if submitted == 0 {
                break;
            }
        }
        // Some complete at once, and some that came in before complete on the way out of the kernel.
        self.reap();
        Ok(())
    }

    fn reap(&self) {
        // Dropping what an abandoned operation held may wake tasks or close files: no borrow may be held.
        let mut completions = self.completions.take();
        completions
            .extend(self.uring.borrow_mut().completion().map(|entry| (entry.user_data(), entry.result())));
        for (number, result) in completions.drain(..) {
            self.complete(number as usize, result);
        }
        self.completions.replace(completions);
    }

    fn complete(&self, number: usize, result: i32) {
        let (index, which) = (number / Results::default().len(), number % Results::default().len());
        let mut operations = self.operations.borrow_mut();
        let Slot::UnderWay { missing, results, .. } = &mut operations.slots[index] else {
            unreachable!("the kernel completes each entry once");
        };
        results[which] = result;
        *missing -= 1;
        if *missing > 0 {
            return;
        }
        operations.under_way -= 1;
        let idle = operations.under_way == 0;
        let slot = std::mem::replace(&mut operations.slots[index], Slot::Free);
        let Slot::UnderWay { held, results, waker, abandoned, _permit: permit, .. } = slot else {
            unreachable!("checked above");
        };
        if abandoned {
            operations.free.push(index);
            drop(operations);
            held.discard(results);
        } else {
            operations.slots[index] = Slot::Done { held, results };
            drop(operations);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
        drop(permit);
        if idle {
            self.idle.raise();
        }
    }
}

impl Drop for RingInner {
    /// Waits for the kernel, which may still write into what the operations hold. A core that ends in order
    /// has drained before, so that this finds nothing.
    fn drop(&mut self) {
        let missing = |slot: &Slot| if let Slot::UnderWay { missing, .. } = slot { *missing } else { 0 };
        let mut left: usize = self.operations.get_mut().slots.iter().map(missing).sum();
        while left > 0 {
            let uring = self.uring.get_mut();
            if uring.submit_and_wait(1).is_err_and(|error| error.raw_os_error() != Some(libc::EINTR)) {
                // The kernel may go on writing into this memory, which is given up below.
                break;
            }
            left = left.saturating_sub(uring.completion().count());
        }
        // Giving buffers back wakes tasks, for which there is no runtime any more.
        std::mem::forget(self.operations.take());
    }
}

/// A future of an operation's result and of what it held.
struct Completion {
    ring: Rc<RingInner>,
    index: usize,
}

impl Future for Completion {
    type Output = (Results, Held);

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<(Results, Held)> {
        let mut operations = self.ring.operations.borrow_mut();
        if let Slot::UnderWay { waker, .. } = &mut operations.slots[self.index] {
            if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
                *waker = Some(context.waker().clone());
            }
            return Poll::Pending;
        }
        let Slot::Done { held, results } = operations.remove(self.index) else {
            unreachable!("polled after its end");
        };
        drop(operations);
        // The slot is no longer this future's.
        self.get_mut().index = usize::MAX;
        Poll::Ready((results, held))
    }
}

impl Drop for Completion {
    /// Leaves the operation, and all it holds, to its completion.
    fn drop(&mut self) {
        if self.index == usize::MAX {
            return;
        }
        let mut operations = self.ring.operations.borrow_mut();
        if let Slot::UnderWay { waker, abandoned, .. } = &mut operations.slots[self.index] {
            *abandoned = true;
            *waker = None;
            return;
        }
        let slot = operations.remove(self.index);
        drop(operations);
        if let Slot::Done { held, results } = slot {
            held.discard(results);
        }
    }
}

fn outcome(result: i32) -> io::Result<u32> {
    u32::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}

/// Whether an operation is to be tried again: it was interrupted, or the kernel lacked resources for it.
async fn retry(result: i32, retries: &mut u32) -> bool {
    match -result {
        libc::EINTR => true,
        libc::EAGAIN if *retries < RING_RETRIES_MAX => {
            *retries += 1;
            monoio::time::sleep(RETRY_DELAY).await;
            true
        }
        _ => false,
    }
}

/// Says in one line why a ring cannot be set up and what to change.
pub(super) fn explain_setup_error(error: &io::Error) -> io::Error {
    // Since Linux 6.6.
    let disabled = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
    let text = setup_error_text(error.raw_os_error(), disabled.trim());
    io::Error::new(error.kind(), format!("{text} ({error})"))
}

/// The explanation of an errno of io_uring_setup(2), given the sysctl `kernel.io_uring_disabled`.
pub(super) fn setup_error_text(code: Option<i32>, disabled: &str) -> String {
    let text = match code {
        Some(libc::EPERM | libc::EACCES) if matches!(disabled, "1" | "2") => {
            return format!(
                "io_uring is disabled by the sysctl kernel.io_uring_disabled = {disabled}: enable it with \
                 `sysctl -w kernel.io_uring_disabled=0`"
            );
        }
        Some(libc::EPERM | libc::EACCES) => {
            "io_uring is not permitted: the container's seccomp profile or a security module must allow \
             io_uring_setup, io_uring_enter and io_uring_register (Docker: --security-opt \
             seccomp=unconfined, or a profile that allows them)"
        }
        Some(libc::ENOSYS) => {
            "this kernel has no io_uring: Linux 6.0 or newer is needed, built with CONFIG_IO_URING, and no \
             sandbox (gVisor, seccomp) may hide it"
        }
        Some(libc::EINVAL) => {
            "this kernel's io_uring lacks single-issuer rings: Linux 6.0 or newer is needed"
        }
        Some(libc::ENOMEM) => {
            "not enough memory for an io_uring: free some, or raise the limit of locked memory \
             (RLIMIT_MEMLOCK, `ulimit -l`)"
        }
        Some(libc::EMFILE | libc::ENFILE) => {
            "too many open files to set io_uring up: raise the limit (RLIMIT_NOFILE, `ulimit -n`)"
        }
        _ => "io_uring cannot be set up",
    };
    text.to_owned()
}
