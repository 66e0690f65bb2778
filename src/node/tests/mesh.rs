//! The mesh with a protocol of numbers, without engine and ring.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use crate::node::mesh::{Bell, Caller, Delivery, Exchange, Ports, ports_within};

type TestExchange = Exchange<u64, u64, u64>;

const STOPPING: u64 = u64::MAX;

fn pair(calls_max: usize) -> [TestExchange; 2] {
    let ports = ports_within(2, calls_max, 2);
    let exchanges: Vec<_> = ports.into_iter().map(|ports| Exchange::new(ports, || STOPPING)).collect();
    exchanges.try_into().ok().unwrap()
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Requests that came, not yet answered.
fn requests(exchange: &TestExchange) -> Vec<(Caller, u64)> {
    let mut requests = Vec::new();
    exchange.receive(|delivery| {
        if let Delivery::Request(caller, message) = delivery {
            requests.push((caller, message));
        }
    });
    requests
}

#[test]
fn calls_beyond_the_bound_wait_and_leave_in_order() {
    let [a, b] = pair(2);
    let mut calls: Vec<_> = (0..5).map(|message| Box::pin(a.call(1, message))).collect();
    let mut seen = Vec::new();
    while seen.len() < 5 {
        let came = requests(&b);
        assert!((1..=2).contains(&came.len()), "the bound is two calls");
        for (caller, message) in came {
            seen.push(message);
            b.reply(caller, message * 10);
        }
        a.receive(|_| panic!("nobody calls core 0"));
    }
    assert_eq!(seen, [0, 1, 2, 3, 4]);
    for (message, call) in calls.iter_mut().enumerate() {
        assert_eq!(poll(call.as_mut()), Poll::Ready(message as u64 * 10));
    }
}

#[test]
fn a_call_dropped_while_it_waits_is_never_sent_and_one_dropped_later_frees_its_number() {
    let [a, b] = pair(1);
    let sent = a.call(1, 1);
    let waiting = a.call(1, 2);
    let last = a.call(1, 3);
    drop(waiting);
    drop(sent);
    for expected in [1, 3] {
        let came = requests(&b);
        assert_eq!(came.iter().map(|(_, message)| *message).collect::<Vec<_>>(), [expected]);
        came.into_iter().for_each(|(caller, message)| b.reply(caller, message));
        a.receive(|_| {});
    }
    assert_eq!(poll(std::pin::pin!(last)), Poll::Ready(3));
}

#[test]
fn closing_resolves_calls_under_way_waiting_and_later() {
    let [a, b] = pair(1);
    let mut calls: Vec<_> = (0..3).map(|message| Box::pin(a.call(1, message))).collect();
    let came = requests(&b);
    a.close();
    for call in &mut calls {
        assert_eq!(poll(call.as_mut()), Poll::Ready(STOPPING));
    }
    assert_eq!(poll(std::pin::pin!(a.call(1, 9))), Poll::Ready(STOPPING));
    // The other core does not know yet, and its late reply does no harm.
    came.into_iter().for_each(|(caller, message)| b.reply(caller, message));
    a.receive(|_| {});
}

#[test]
fn a_full_queue_gives_the_connection_back() {
    let [a, b] = pair(1);
    assert_eq!([a.hand_over(1, 7), a.hand_over(1, 8), a.hand_over(1, 9)], [Ok(()), Ok(()), Err(9)]);
    let mut connections = Vec::new();
    b.receive(|delivery| {
        if let Delivery::Connection(connection) = delivery {
            connections.push(connection);
        }
    });
    assert_eq!(connections, [7, 8]);
}

#[test]
fn a_bell_wakes_once_until_it_is_answered() {
    let [a, b] = pair(8);
    let wakes = Arc::new(AtomicUsize::new(0));
    let count = wakes.clone();
    let count_up = move || {
        count.fetch_add(1, Ordering::Relaxed);
    };
    b.connect(count_up, || assert!(requests(&b).is_empty()));
    let calls: Vec<_> = (0..3).map(|message| a.call(1, message)).collect();
    assert_eq!(wakes.load(Ordering::Relaxed), 1);
    assert_eq!(requests(&b).len(), 3);
    let another = a.call(1, 3);
    assert_eq!(wakes.load(Ordering::Relaxed), 2);
    drop((calls, another));
}

#[test]
fn what_came_before_a_core_was_connected_is_not_lost() {
    let [a, b] = pair(8);
    let call = a.call(1, 5);
    b.connect(|| panic!("it is looking already"), || assert_eq!(requests(&b).len(), 1));
    drop(call);
}

/// A thread's tasks and its parking place.
struct Core {
    exchange: TestExchange,
    woken: Arc<Parked>,
    tasks: Vec<Pin<Box<dyn Future<Output = ()>>>>,
}

struct Parked {
    thread: thread::Thread,
    woken: AtomicBool,
}

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

impl Core {
    fn new(ports: Ports<u64, u64, u64>) -> Self {
        let exchange = Exchange::new(ports, || STOPPING);
        let woken = Arc::new(Parked { thread: thread::current(), woken: AtomicBool::new(true) });
        let wake = woken.clone();
        // The first run looks.
        exchange.connect(move || wake.wake_by_ref(), || {});
        Self { exchange, woken, tasks: Vec::new() }
    }

    /// Answers requests with `message + 1` and runs tasks until `done` holds.
    fn run(&mut self, mut done: impl FnMut(&Self) -> bool) {
        while !done(self) {
            if !self.woken.woken.swap(false, Ordering::AcqRel) {
                thread::park();
                continue;
            }
            let Self { exchange, tasks, .. } = self;
            exchange.receive(|delivery| {
                if let Delivery::Request(caller, message) = delivery {
                    let exchange = exchange.clone();
                    // A pass later, as a real handler would.
                    tasks.push(Box::pin(async move {
                        crate::base::local::yield_now().await;
                        exchange.reply(caller, message + 1);
                    }));
                }
            });
            let waker = Waker::from(self.woken.clone());
            let mut context = Context::from_waker(&waker);
            self.tasks.retain_mut(|task| task.as_mut().poll(&mut context).is_pending());
        }
    }
}

#[test]
fn tens_of_thousands_of_calls_between_four_threads_are_all_answered() {
    const CORES: usize = 4;
    const TASKS: usize = 48;
    const CALLS: u64 = 200;
    let ports = ports_within::<u64, u64, u64>(CORES, 16, 4);
    let bells = ports[0].bells();
    let working = Arc::new(AtomicUsize::new(CORES * TASKS));
    let start = Arc::new(Barrier::new(CORES));
    let threads: Vec<_> = ports
        .into_iter()
        .map(|ports| {
            let (bells, working, start) = (bells.clone(), working.clone(), start.clone());
            thread::Builder::new().spawn(move || {
                let mut core = Core::new(ports);
                for task in 0..TASKS {
                    let exchange = core.exchange.clone();
                    let (bells, working) = (bells.clone(), working.clone());
                    core.tasks.push(Box::pin(async move {
                        for call in 0..CALLS {
                            let to = (exchange.me() + 1 + (task + call as usize) % (CORES - 1)) % CORES;
                            let message = call << 16 | (task as u64) << 8 | exchange.me() as u64;
                            assert_eq!(exchange.call(to, message).await, message + 1);
                        }
                        if working.fetch_sub(1, Ordering::AcqRel) == 1 {
                            bells.iter().for_each(Bell::ring);
                        }
                    }));
                }
                start.wait();
                core.run(|_| working.load(Ordering::Acquire) == 0);
            })
        })
        .collect();
    for thread in threads {
        thread.unwrap().join().unwrap();
    }
}

#[test]
fn calls_wake_cores_that_sleep_in_the_real_runtime() {
    use crate::io::Host;
    use crate::ring::runtime::{self, Config};
    use std::sync::mpsc;

    const CALLS: u64 = 500;
    let config = || Config { arena_bytes: 1 << 20, cores: 2, ..Config::default() };
    let mut ports = ports_within::<u64, u64, u64>(2, 4, 1).into_iter();
    let (caller, answerer) = (ports.next().unwrap(), ports.next().unwrap());
    let stop = Arc::new(AtomicBool::new(false));
    let (sender, outcome) = mpsc::channel();

    let stopped = stop.clone();
    let answering = thread::Builder::new().spawn(move || {
        runtime::run(config(), async move |host| {
            let exchange = Exchange::new(answerer, || STOPPING);
            let ended = crate::base::local::Signal::default();
            let (hook_exchange, hook_host, hook_ended) = (exchange.clone(), host.clone(), ended.clone());
            let look = move || {
                hook_exchange.receive(|delivery| {
                    if let Delivery::Request(caller, message) = delivery {
                        let exchange = hook_exchange.clone();
                        hook_host.spawn(async move { exchange.reply(caller, message + 1) });
                    }
                });
                hook_ended.raise();
            };
            let wakeup = host.wakeup();
            exchange.connect(move || wakeup.wake(), &look);
            host.on_wake(Rc::new(look));
            loop {
                let wait = ended.wait();
                if stopped.load(Ordering::Acquire) {
                    break;
                }
                wait.await;
            }
        })
    });
    let calling = thread::Builder::new().spawn(move || {
        let bells = caller.bells();
        let result = runtime::run(config(), async move |host| {
            let exchange = Exchange::new(caller, || STOPPING);
            let hook = exchange.clone();
            host.on_wake(Rc::new(move || hook.receive(|_| {})));
            let wakeup = host.wakeup();
            exchange.connect(move || wakeup.wake(), || exchange.receive(|_| {}));
            let mut replies = Vec::new();
            for message in 0..CALLS {
                replies.push(exchange.call(1, message).await);
            }
            replies
        });
        stop.store(true, Ordering::Release);
        bells[1].ring();
        sender.send(result.unwrap()).unwrap();
    });
    assert_eq!(outcome.recv().unwrap(), (1..=CALLS).collect::<Vec<_>>());
    calling.unwrap().join().unwrap();
    answering.unwrap().join().unwrap().unwrap();
}
