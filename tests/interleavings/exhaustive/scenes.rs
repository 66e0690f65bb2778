//! The scenes. One that loses a wake-up ends with a thread asleep for ever, which loom reports.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

use super::mesh::{Delivery, Exchange, Ports, ports_within};
use super::phase::{Life, Phase};
use super::sync::EventFd;
use super::wakeup::Wakeup;

type TestPorts = Ports<u8, u8, u8>;

const STOPPING: u8 = u8::MAX;

/// Tries all interleavings, or those in which threads are interrupted at most so often.
fn check(preemptions_max: Option<usize>, scene: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    // LOOM_MAX_PREEMPTIONS overrides.
    builder.preemption_bound = builder.preemption_bound.or(preemptions_max);
    builder.max_branches = 100_000;
    let tried = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = tried.clone();
    builder.check(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        scene();
    });
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    eprintln!("{name}: {} interleavings", tried.load(Ordering::Relaxed));
}

/// A core that answers each request with the number after it, and keeps connections.
struct Core {
    exchange: Exchange<u8, u8, u8>,
    event: Arc<EventFd>,
    answered: Cell<usize>,
    connections: RefCell<Vec<u8>>,
}

impl Core {
    /// As a core starts: others may have sent already.
    fn connect(ports: TestPorts) -> Self {
        let exchange = Exchange::new(ports, || STOPPING);
        let core = Self {
            exchange,
            event: Arc::default(),
            answered: Cell::default(),
            connections: RefCell::default(),
        };
        let event = core.event.clone();
        core.exchange.connect(move || event.count_up(), || core.look());
        core
    }

    fn look(&self) {
        self.exchange.receive(|delivery| match delivery {
            Delivery::Request(caller, message) => {
                self.answered.set(self.answered.get() + 1);
                self.exchange.reply(caller, message + 1);
            }
            Delivery::Connection(connection) => self.connections.borrow_mut().push(connection),
        });
    }

    /// Sleeps and looks until `done`.
    fn run(&self, mut done: impl FnMut(&Self) -> bool) {
        while !done(self) {
            self.event.read();
            self.look();
        }
    }

    /// Waits for a reply.
    fn block_on(&self, call: impl Future<Output = u8>) -> u8 {
        let mut call = pin!(call);
        loop {
            if let Poll::Ready(reply) = poll(call.as_mut()) {
                return reply;
            }
            self.event.read();
            self.look();
        }
    }
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn ports<const CORES: usize>(calls_max: usize) -> [TestPorts; CORES] {
    ports_within(CORES, calls_max, 2).try_into().ok().expect("ports for each core")
}

#[test]
fn what_one_core_sends_while_the_other_starts_and_sleeps_is_seen() {
    check(None, || {
        let [a, b] = ports(1);
        let receiver = thread::spawn(move || {
            let core = Core::connect(b);
            core.run(|core| core.connections.borrow().len() == 2);
            assert_eq!(*core.connections.borrow(), [7, 8]);
        });
        let sender = Exchange::new(a, || STOPPING);
        assert_eq!([sender.hand_over(1, 7), sender.hand_over(1, 8)], [Ok(()), Ok(())]);
        receiver.join().unwrap();
    });
}

#[test]
fn what_two_cores_send_at_once_is_seen() {
    check(Some(4), || {
        let [a, b, c] = ports(1);
        let receiver = thread::spawn(move || {
            let core = Core::connect(b);
            core.run(|core| core.connections.borrow().len() == 2);
        });
        let other = thread::spawn(move || Exchange::new(c, || STOPPING).hand_over(1, 8).unwrap());
        Exchange::new(a, || STOPPING).hand_over(1, 7).unwrap();
        other.join().unwrap();
        receiver.join().unwrap();
    });
}

#[test]
fn calls_are_answered_and_one_that_waited_for_room_follows() {
    check(Some(4), || {
        let [a, b] = ports(1);
        let answering = thread::spawn(move || Core::connect(b).run(|core| core.answered.get() == 2));
        let core = Core::connect(a);
        let (first, second) = (core.exchange.call(1, 10), core.exchange.call(1, 20));
        assert_eq!(core.block_on(second), 21);
        assert_eq!(core.block_on(first), 11);
        answering.join().unwrap();
    });
}

#[test]
fn cores_that_call_each_other_at_once_are_both_answered() {
    check(Some(3), || {
        let [a, b] = ports(1);
        let run = |ports, to| {
            let core = Core::connect(ports);
            assert_eq!(core.block_on(core.exchange.call(to, 5)), 6);
            core.run(|core| core.answered.get() == 1);
        };
        let other = thread::spawn(move || run(b, 0));
        run(a, 1);
        other.join().unwrap();
    });
}

#[test]
fn a_call_given_up_while_its_reply_comes_frees_its_number() {
    check(Some(3), || {
        let [a, b] = ports(1);
        let answering = thread::spawn(move || Core::connect(b).run(|core| core.answered.get() == 2));
        let core = Core::connect(a);
        let given_up = core.exchange.call(1, 10);
        core.look();
        drop(given_up);
        assert_eq!(core.block_on(core.exchange.call(1, 20)), 21);
        answering.join().unwrap();
    });
}

#[test]
fn a_core_that_sleeps_hears_of_each_phase() {
    check(None, || {
        let [_, b] = ports(1);
        let life = Life::new(b.bells());
        let known = life.clone();
        let core = thread::spawn(move || {
            let core = Core::connect(b);
            core.run(|_| known.reached(Phase::Serving));
            core.run(|_| known.reached(Phase::Draining));
        });
        life.advance(Phase::Serving);
        life.advance(Phase::Draining);
        core.join().unwrap();
    });
}

/// The way of a real core: the bell calls `Wakeup::wake`, and the core reads the eventfd, takes what is
/// pending and only then looks. The storage ring counts the eventfd up too.
#[test]
fn a_wake_up_through_the_eventfd_that_completions_share_is_not_lost() {
    check(Some(4), || {
        let [a, b] = ports(1);
        let wakeup = Arc::new(Wakeup::new().unwrap());
        let completions = wakeup.clone();
        let receiver = thread::spawn(move || {
            let exchange = Exchange::new(b, || STOPPING);
            let seen = Cell::new(0);
            let look = || exchange.receive(|_| seen.set(seen.get() + 1));
            let wake = wakeup.clone();
            exchange.connect(move || wake.wake(), look);
            while seen.get() < 2 {
                wakeup.event().read();
                if wakeup.take_pending() {
                    look();
                }
            }
        });
        let sender = Exchange::new(a, || STOPPING);
        sender.hand_over(1, 7).unwrap();
        completions.signal();
        sender.hand_over(1, 8).unwrap();
        receiver.join().unwrap();
    });
}

/// Threads beside the cores wake a core without a bell, and what they left needs no lock for its order.
#[test]
fn what_two_threads_left_before_they_woke_a_core_is_seen() {
    check(Some(4), || {
        let wakeup = Arc::new(Wakeup::new().unwrap());
        let left = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let threads: Vec<_> = (0..2)
            .map(|number| {
                let (wakeup, left) = (wakeup.clone(), left.clone());
                thread::spawn(move || {
                    left[number].store(1, Ordering::Relaxed);
                    wakeup.wake();
                })
            })
            .collect();
        let mut seen = 0;
        while seen < 2 {
            wakeup.event().read();
            if wakeup.take_pending() {
                seen = left.iter().map(|left| left.load(Ordering::Relaxed)).sum();
            }
        }
        for thread in threads {
            thread.join().unwrap();
        }
    });
}
