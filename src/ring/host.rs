//! A core as its code sees it: drives, buffers, clock, randomness, tasks.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use monoio::task::JoinHandle;
use pin_project_lite::pin_project;
use rustix::time::{ClockId, clock_gettime};

use super::disk::RingDisk;
use super::queue::Ring;
use super::runtime::Config;
use super::wakeup::Wakeup;
use crate::base::local::Signal;
use crate::io::{Host, Pool, TimestampMs};

/// A core that runs on io_uring. Clones are the same core; none may leave its thread.
#[derive(Clone)]
pub struct RingHost {
    inner: Rc<HostInner>,
}

struct HostInner {
    disks: Vec<RingDisk>,
    pool: Pool,
    ring: Ring,
    wakeup: Arc<Wakeup>,
    hooks: RefCell<Vec<Rc<dyn Fn()>>>,
    listening: Cell<bool>,
    /// Whether somebody waits for the next time that the core has been through the kernel.
    yielding: Cell<bool>,
    passed: Signal,
    tasks: Rc<Tasks>,
    /// The core's own tasks.
    own: RefCell<Vec<JoinHandle<()>>>,
}

impl RingHost {
    /// Makes a core of the current thread, within its runtime.
    pub(super) fn new(config: &Config) -> io::Result<Self> {
        let pool = Pool::try_new(config.arena_bytes)?;
        let wakeup = Arc::new(Wakeup::new()?);
        let ring = Ring::new(config.ring_entries, &pool, &wakeup, config.cores)?;
        let disks = {
            let directories = config.directories.iter().enumerate();
            directories.map(|(number, path)| RingDisk::open(&ring, number, path)).collect::<Result<_, _>>()?
        };
        let inner = HostInner {
            disks,
            pool,
            ring,
            wakeup,
            hooks: RefCell::default(),
            listening: Cell::new(true),
            yielding: Cell::new(false),
            passed: Signal::default(),
            tasks: Rc::default(),
            own: RefCell::default(),
        };
        let host = Self { inner: Rc::new(inner) };
        let events = std::fs::File::from(host.inner.wakeup.event().as_fd().try_clone_to_owned()?);
        let listener = host.clone().listen(monoio::fs::File::from_std(events)?);
        let flusher = host.inner.ring.clone().flush();
        *host.inner.own.borrow_mut() = vec![monoio::spawn(flusher), monoio::spawn(listener)];
        Ok(host)
    }

    /// CPU time that this core's thread has taken.
    pub fn cpu_time(&self) -> Duration {
        clock(ClockId::ThreadCPUTime)
    }

    /// Operations of the storage ring under way, and how many wait because there are as many as there may be.
    pub fn operations(&self) -> (usize, usize) {
        (self.inner.ring.under_way(), self.inner.ring.waiting())
    }

    /// What other threads call to have this core run its hooks.
    pub fn wakeup(&self) -> Arc<Wakeup> {
        self.inner.wakeup.clone()
    }

    /// Has `hook` run on this core after each [`Wakeup::wake`] (several calls may be answered by one run). It
    /// must not block.
    pub fn on_wake(&self, hook: Rc<dyn Fn()>) {
        self.inner.hooks.borrow_mut().push(hook);
    }

    /// Answers the eventfd: completions of the storage ring, and calls of other threads.
    async fn listen(self, events: monoio::fs::File) {
        let mut count = vec![0; 8];
        while self.inner.listening.get() {
            let result;
            (result, count) = events.read_at(count, 0).await;
            if let Err(error) = result {
                tracing::debug!("reading the eventfd: {error}; trying again");
                monoio::time::sleep(Duration::from_millis(1)).await;
            }
            // After the read, which set the count to zero, and before looking: what comes later counts the
            // eventfd up again.
            let called = self.inner.wakeup.take_pending();
            self.inner.ring.reap();
            if self.inner.yielding.take() {
                self.inner.passed.raise();
            }
            if called {
                let hooks = self.inner.hooks.borrow().clone();
                hooks.iter().for_each(|hook| hook());
            }
        }
        // Closing needs the runtime too.
        let _ = events.close().await;
    }

    /// Drops all spawned tasks, waits for the operations under way, and ends the core's own tasks.
    pub(super) async fn shut_down(&self) {
        self.inner.tasks.end().await;
        self.inner.ring.drain().await;
        self.inner.hooks.take();
        self.inner.ring.stop();
        self.inner.listening.set(false);
        self.inner.wakeup.signal();
        for task in self.inner.own.take() {
            task.await;
        }
    }

    #[cfg(test)]
    pub(super) fn ring(&self) -> &Ring {
        &self.inner.ring
    }
}

impl Host for RingHost {
    type Disk = RingDisk;

    fn disks(&self) -> &[RingDisk] {
        &self.inner.disks
    }

    fn pool(&self) -> &Pool {
        &self.inner.pool
    }

    #[allow(clippy::disallowed_methods, reason = "this is the clock that everybody else asks")]
    fn now(&self) -> TimestampMs {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        TimestampMs::try_from(elapsed.as_millis()).unwrap_or(TimestampMs::MAX)
    }

    fn monotonic(&self) -> Duration {
        monotonic()
    }

    /// Panics if the kernel gives no random bytes, which it always does once it has booted.
    fn random(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).unwrap_or_else(|error| panic!("getrandom: {error}"));
    }

    /// The task is dropped, wherever it waits, when the core's main future has ended.
    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        monoio::spawn(Placed { task, place: self.inner.tasks.enter() });
    }

    /// By way of the eventfd: so all tasks that can run have run, and the runtime has been where it looks for
    /// what came in and at its timers. With a run queue that never empties it would not look at timers at all.
    fn yield_now(&self) -> impl Future<Output = ()> + 'static {
        if !self.inner.yielding.replace(true) {
            self.inner.wakeup.signal();
        }
        self.inner.passed.wait()
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + 'static {
        monoio::time::sleep(duration)
    }
}

/// Time since some moment that all cores have in common.
pub(super) fn monotonic() -> Duration {
    clock(ClockId::Monotonic)
}

/// Both clocks exist on every kernel that has io_uring, and count up from zero.
fn clock(id: ClockId) -> Duration {
    let time = clock_gettime(id);
    Duration::new(time.tv_sec.cast_unsigned(), time.tv_nsec as u32)
}

/// The spawned tasks of a core. The runtime would drop them when it is gone itself, and their destructors
/// (a buffer returning to its pool wakes whoever waits for one) need it.
#[derive(Default)]
struct Tasks {
    wakers: RefCell<Vec<Option<Waker>>>,
    free: RefCell<Vec<usize>>,
    alive: Cell<usize>,
    ending: Cell<bool>,
    ended: Signal,
}

impl Tasks {
    fn enter(self: &Rc<Self>) -> Place {
        self.alive.set(self.alive.get() + 1);
        let index = self.free.borrow_mut().pop().unwrap_or_else(|| {
            self.wakers.borrow_mut().push(None);
            self.wakers.borrow().len() - 1
        });
        Place { tasks: self.clone(), index }
    }

    async fn end(&self) {
        self.ending.set(true);
        for waker in self.wakers.borrow().iter().flatten() {
            waker.wake_by_ref();
        }
        while self.alive.get() > 0 {
            self.ended.wait().await;
        }
    }
}

pin_project! {
    /// A spawned task in its place. An `async` block in its stead would take twice the memory of the task: for what
    /// it captures, and for what it polls.
    struct Placed<F> {
        // Dropped in this order.
        #[pin]
        task: F,
        place: Place,
    }
}

impl<F: Future<Output = ()>> Future for Placed<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        match this.place.poll(context.waker()) {
            Poll::Ready(()) => Poll::Ready(()),
            Poll::Pending => this.task.poll(context),
        }
    }
}

/// A task's place among [`Tasks`], given up when the task is gone.
struct Place {
    tasks: Rc<Tasks>,
    index: usize,
}

impl Place {
    /// Ready when the task is to end.
    fn poll(&self, waker: &Waker) -> Poll<()> {
        if self.tasks.ending.get() {
            return Poll::Ready(());
        }
        let known = &mut self.tasks.wakers.borrow_mut()[self.index];
        if !known.as_ref().is_some_and(|known| known.will_wake(waker)) {
            *known = Some(waker.clone());
        }
        Poll::Pending
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let waker = self.tasks.wakers.borrow_mut()[self.index].take();
        drop(waker);
        self.tasks.free.borrow_mut().push(self.index);
        self.tasks.alive.set(self.tasks.alive.get() - 1);
        if self.tasks.alive.get() == 0 {
            self.tasks.ended.raise();
        }
    }
}
