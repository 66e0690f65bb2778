//! Waiting within one core: a one-shot value, a semaphore and a wake-all signal. Nothing here crosses
//! threads, so nothing locks.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// Makes a channel for one value. Dropping the sender without sending resolves the receiver to `None`.
pub fn oneshot<T>() -> (Sender<T>, Receiver<T>) {
    let slot =
        Rc::new(Slot { value: RefCell::new(None), closed: Cell::new(false), waker: RefCell::new(None) });
    (Sender { slot: slot.clone() }, Receiver { slot })
}

struct Slot<T> {
    value: RefCell<Option<T>>,
    closed: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl<T> Slot<T> {
    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// Sending half of [`oneshot`].
pub struct Sender<T> {
    slot: Rc<Slot<T>>,
}

impl<T> Sender<T> {
    pub fn send(self, value: T) {
        *self.slot.value.borrow_mut() = Some(value);
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        self.slot.closed.set(true);
        self.slot.wake();
    }
}

/// Receiving half of [`oneshot`]: a future of the value, or of `None` if the sender is gone.
pub struct Receiver<T> {
    slot: Rc<Slot<T>>,
}

impl<T> Future for Receiver<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        if let Some(value) = self.slot.value.borrow_mut().take() {
            return Poll::Ready(Some(value));
        }
        if self.slot.closed.get() {
            return Poll::Ready(None);
        }
        *self.slot.waker.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    }
}

/// Counting semaphore, first come first served.
#[derive(Clone)]
pub struct Semaphore {
    inner: Rc<SemaphoreInner>,
}

struct SemaphoreInner {
    free: Cell<usize>,
    waiting: RefCell<VecDeque<Rc<Waiter>>>,
}

struct Waiter {
    wanted: usize,
    granted: Cell<bool>,
    abandoned: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Semaphore {
    pub fn new(permits: usize) -> Self {
        Self { inner: Rc::new(SemaphoreInner { free: Cell::new(permits), waiting: RefCell::default() }) }
    }

    /// Permits nobody holds.
    pub fn available(&self) -> usize {
        self.inner.free.get()
    }

    /// How many wait for permits.
    pub fn waiting(&self) -> usize {
        self.inner.waiting.borrow().iter().filter(|waiter| !waiter.abandoned.get()).count()
    }

    /// Takes `wanted` permits at once if nobody waits before and they are free.
    pub fn try_acquire(&self, wanted: usize) -> Option<Permit> {
        let free = self.inner.free.get();
        if free < wanted || !self.inner.waiting.borrow().is_empty() {
            return None;
        }
        self.inner.free.set(free - wanted);
        Some(Permit { inner: self.inner.clone(), count: wanted })
    }

    /// Waits for `wanted` permits.
    pub async fn acquire(&self, wanted: usize) -> Permit {
        if let Some(permit) = self.try_acquire(wanted) {
            return permit;
        }
        let waiter = Rc::new(Waiter {
            wanted,
            granted: Cell::new(false),
            abandoned: Cell::new(false),
            waker: RefCell::new(None),
        });
        self.inner.waiting.borrow_mut().push_back(waiter.clone());
        let mut waiting = Waiting { inner: self.inner.clone(), waiter, done: false };
        poll_fn(|context| waiting.poll(context)).await;
        Permit { inner: self.inner.clone(), count: wanted }
    }
}

/// A place in the queue that is given up, with what it was granted, if the wait is dropped.
struct Waiting {
    inner: Rc<SemaphoreInner>,
    waiter: Rc<Waiter>,
    done: bool,
}

impl Waiting {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if self.waiter.granted.get() {
            self.done = true;
            return Poll::Ready(());
        }
        *self.waiter.waker.borrow_mut() = Some(context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        self.waiter.abandoned.set(true);
        if self.waiter.granted.get() {
            self.inner.release(self.waiter.wanted);
        } else {
            self.inner.release(0);
        }
    }
}

impl SemaphoreInner {
    fn release(&self, count: usize) {
        self.free.set(self.free.get() + count);
        let mut waiting = self.waiting.borrow_mut();
        while let Some(first) = waiting.front() {
            if !first.abandoned.get() {
                if self.free.get() < first.wanted {
                    break;
                }
                self.free.set(self.free.get() - first.wanted);
                first.granted.set(true);
                if let Some(waker) = first.waker.borrow_mut().take() {
                    waker.wake();
                }
            }
            waiting.pop_front();
        }
    }
}

/// Permits held; given back when dropped.
pub struct Permit {
    inner: Rc<SemaphoreInner>,
    count: usize,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.inner.release(self.count);
    }
}

/// A signal that wakes everybody who waits for it at that moment.
#[derive(Clone, Default)]
pub struct Signal {
    inner: Rc<SignalInner>,
}

#[derive(Default)]
struct SignalInner {
    round: Cell<u64>,
    /// One waker for each who waits, by number.
    waiting: RefCell<BTreeMap<u64, Waker>>,
    number_next: Cell<u64>,
}

impl Signal {
    /// Wakes all who wait now.
    pub fn raise(&self) {
        self.inner.round.set(self.inner.round.get() + 1);
        for waker in self.inner.waiting.take().into_values() {
            waker.wake();
        }
    }

    /// Waits for the next [`Signal::raise`] after this call (not after its first poll).
    pub fn wait(&self) -> SignalWait {
        let number = self.inner.number_next.replace(self.inner.number_next.get() + 1);
        SignalWait { inner: self.inner.clone(), round: self.inner.round.get(), number }
    }
}

/// The future of [`Signal::wait`].
pub struct SignalWait {
    inner: Rc<SignalInner>,
    round: u64,
    number: u64,
}

impl Future for SignalWait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.inner.round.get() != self.round {
            return Poll::Ready(());
        }
        self.inner.waiting.borrow_mut().insert(self.number, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for SignalWait {
    fn drop(&mut self) {
        self.inner.waiting.borrow_mut().remove(&self.number);
    }
}

/// The outcome of `work`, or `None` if `limit` ends first, which drops the work.
pub async fn within<T>(work: impl Future<Output = T>, limit: impl Future<Output = ()>) -> Option<T> {
    let (mut work, mut limit) = (pin!(work), pin!(limit));
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => limit.as_mut().poll(context).map(|()| None),
    })
    .await
}

/// The outcomes of all of `work` that end before `limit` does; the rest is dropped.
pub async fn each_within<'a, T>(
    work: impl Iterator<Item = Pin<Box<dyn Future<Output = T> + 'a>>>,
    limit: impl Future<Output = ()>,
) -> Vec<Option<T>> {
    let mut each: Vec<_> = work.map(|work| (Some(work), None)).collect();
    let mut limit = pin!(limit);
    poll_fn(|context| {
        for (work, outcome) in &mut each {
            if let Some(Poll::Ready(value)) = work.as_mut().map(|work| work.as_mut().poll(context)) {
                *work = None;
                *outcome = Some(value);
            }
        }
        let is_over = limit.as_mut().poll(context).is_ready();
        if is_over || each.iter().all(|(work, _)| work.is_none()) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    each.into_iter().map(|(_, outcome)| outcome).collect()
}

/// Lets every other runnable task of a simple executor run first; product code asks `io::Host::yield_now`.
#[cfg(test)]
pub async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if yielded {
            return Poll::Ready(());
        }
        yielded = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_dropped_sender_resolves_to_none() {
        let (sender, receiver) = oneshot::<u8>();
        let mut receiver = std::pin::pin!(receiver);
        assert!(poll(receiver.as_mut()).is_pending());
        drop(sender);
        assert_eq!(poll(receiver), Poll::Ready(None));
    }

    #[test]
    fn an_abandoned_waiter_gives_its_permits_to_the_next() {
        let semaphore = Semaphore::new(1);
        let held = semaphore.try_acquire(1).unwrap();
        let mut first = Box::pin(semaphore.acquire(1));
        let mut second = Box::pin(semaphore.acquire(1));
        assert!(poll(first.as_mut()).is_pending());
        assert!(poll(second.as_mut()).is_pending());
        drop(held);
        drop(first);
        assert!(poll(second.as_mut()).is_ready());
        drop(second);
        assert_eq!(semaphore.available(), 1);
    }

    #[test]
    fn a_signal_holds_one_waker_for_each_who_waits() {
        let signal = Signal::default();
        let mut waits: Vec<_> = (0..3).map(|_| signal.wait()).collect();
        for _ in 0..100 {
            assert!(waits.iter_mut().all(|wait| poll(Pin::new(wait)).is_pending()));
        }
        assert_eq!(signal.inner.waiting.borrow().len(), 3);
        waits.pop();
        assert_eq!(signal.inner.waiting.borrow().len(), 2);
        signal.raise();
        assert!(waits.iter_mut().all(|wait| poll(Pin::new(wait)).is_ready()));
    }

    #[test]
    fn a_large_request_is_not_starved_by_small_ones() {
        let semaphore = Semaphore::new(2);
        let held = semaphore.try_acquire(1).unwrap();
        let mut large = Box::pin(semaphore.acquire(2));
        assert!(poll(large.as_mut()).is_pending());
        assert!(semaphore.try_acquire(1).is_none());
        drop(held);
        assert!(poll(large.as_mut()).is_ready());
    }
}
