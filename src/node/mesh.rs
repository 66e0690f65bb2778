//! Messages between cores: calls that are answered, and connections that are handed over.
//!
//! Each ordered pair of cores has a bounded single-producer single-consumer queue of requests, one of
//! replies and one of connections, so nothing locks. At most `calls_max` calls of a pair are under way;
//! further ones wait at the caller in order. So a queue of requests or replies of that capacity never
//! overflows: each of its entries belongs to a call under way.
//!
//! One core of a node may call others while it answers, and those answer without calling: the engine's core 0
//! does. Were there two such cores, calls could wait for each other in a circle of full pairs: A's calls take all
//! numbers of the pair to B, their answers at B wait for numbers of the pair to A, and these are taken by calls
//! whose answers at A wait for the pair to B.
//!
//! # Waking the receiver
//!
//! Each core has a [`Bell`]: a flag `pending` and a wake-up of its thread (an eventfd write).
//!
//! - A sender pushes, then swaps `pending` to true; if it was false, it wakes the receiver.
//! - The receiver, woken, swaps `pending` to false and only then empties its queues.
//!
//! No wake-up is lost. All swaps are read-modify-writes of one atomic, so they have one order, and each
//! one reads what the one before it wrote. Take a sender's swap and the first swap of the receiver after it
//! in that order. Between them are only other senders' swaps, so the release of our sender's push reaches
//! the receiver through them (a release sequence), and its reads of the queues see the push. And there is
//! such a receiver's swap: our sender either found false and wakes the receiver, or found true; then some
//! sender since the receiver's last swap found false, and wakes it. The receiver is woken at most once for
//! each time it empties its queues.
//!
//! The same order covers the start: a core sets its wake-up and then empties its queues once. A sender whose
//! swap came before that one is seen; one whose swap came after it sees the wake-up set.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::sync::{AtomicBool, Consumer, OnceLock, Ordering, Producer, PushError, RingBuffer};
use crate::base::limits::{CALLS_PER_CORE_MAX, CALLS_PER_PAIR_MAX, HANDOVERS_PER_PAIR_MAX};

/// Makes a core look at its queues.
#[derive(Default)]
pub struct Bell {
    pending: AtomicBool,
    wake: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl Bell {
    /// Has the core look at its queues soon. From any thread.
    pub fn ring(&self) {
        if !self.pending.swap(true, Ordering::AcqRel)
            && let Some(wake) = self.wake.get()
        {
            wake();
        }
    }

    fn answer(&self) {
        self.pending.swap(false, Ordering::AcqRel);
    }
}

/// A request with the caller's number of the call.
struct Request<M> {
    slot: u16,
    message: M,
}

struct Answer<R> {
    slot: u16,
    reply: R,
}

/// One core's ends of all queues, before its thread has them.
pub struct Ports<M, R, C> {
    me: usize,
    calls_max: usize,
    bells: Arc<[Bell]>,
    /// By core; the entry of this core is never used.
    peers: Vec<PeerPorts<M, R, C>>,
}

struct PeerPorts<M, R, C> {
    requests_out: Producer<Request<M>>,
    requests_in: Consumer<Request<M>>,
    replies_out: Producer<Answer<R>>,
    replies_in: Consumer<Answer<R>>,
    connections_out: Producer<C>,
    connections_in: Consumer<C>,
}

/// Makes the queues between `cores` cores, within the limits of [`crate::base::limits`].
pub fn ports<M, R, C>(cores: usize) -> Vec<Ports<M, R, C>> {
    let calls_max = (CALLS_PER_CORE_MAX / cores.max(1)).clamp(1, CALLS_PER_PAIR_MAX);
    ports_within(cores, calls_max, HANDOVERS_PER_PAIR_MAX)
}

/// Makes the queues between `cores` cores for so many calls and so many connections of each pair.
pub fn ports_within<M, R, C>(cores: usize, calls_max: usize, connections_max: usize) -> Vec<Ports<M, R, C>> {
    assert!(calls_max <= usize::from(u16::MAX), "a call's number has 16 bits");
    let bells: Arc<[Bell]> = (0..cores).map(|_| Bell::default()).collect();
    let mut requests = Queues::new(cores, calls_max);
    let mut replies = Queues::new(cores, calls_max);
    let mut connections = Queues::new(cores, connections_max);
    let mut ports = Vec::with_capacity(cores);
    for me in 0..cores {
        let mut peers = Vec::with_capacity(cores);
        for peer in 0..cores {
            let (requests_out, requests_in) = requests.ends(me, peer);
            let (replies_out, replies_in) = replies.ends(me, peer);
            let (connections_out, connections_in) = connections.ends(me, peer);
            peers.push(PeerPorts {
                requests_out,
                requests_in,
                replies_out,
                replies_in,
                connections_out,
                connections_in,
            });
        }
        ports.push(Ports { me, calls_max, bells: bells.clone(), peers });
    }
    ports
}

impl<M, R, C> Ports<M, R, C> {
    /// The bells of all cores.
    pub fn bells(&self) -> Arc<[Bell]> {
        self.bells.clone()
    }
}

/// A queue for each ordered pair of cores; each end is taken once.
struct Queues<T> {
    cores: usize,
    producers: Vec<Option<Producer<T>>>,
    consumers: Vec<Option<Consumer<T>>>,
}

impl<T> Queues<T> {
    fn new(cores: usize, capacity: usize) -> Self {
        let (producers, consumers) = (0..cores * cores)
            .map(|pair| {
                let to_itself = pair / cores == pair % cores;
                let (producer, consumer) = RingBuffer::new(if to_itself { 0 } else { capacity });
                (Some(producer), Some(consumer))
            })
            .unzip();
        Self { cores, producers, consumers }
    }

    /// The end that sends from `me` to `peer`, and the end where `me` receives from `peer`.
    fn ends(&mut self, me: usize, peer: usize) -> (Producer<T>, Consumer<T>) {
        let producer = self.producers[me * self.cores + peer].take().expect("each end is taken once");
        let consumer = self.consumers[peer * self.cores + me].take().expect("each end is taken once");
        (producer, consumer)
    }
}

/// What came from another core.
pub enum Delivery<M, C> {
    /// A request, to be answered with [`Exchange::reply`].
    Request(Caller, M),
    /// A connection that is this core's from now on.
    Connection(C),
}

/// Whom to answer.
#[derive(Debug)]
pub struct Caller {
    core: usize,
    slot: u16,
}

/// One core's part in the mesh; clones share it.
pub struct Exchange<M, R, C> {
    inner: Rc<Inner<M, R, C>>,
}

struct Inner<M, R, C> {
    me: usize,
    bells: Arc<[Bell]>,
    peers: Vec<Peer<M, R, C>>,
    closed: Cell<bool>,
    /// The reply of calls that will get none any more.
    stopping: fn() -> R,
}

struct Peer<M, R, C> {
    ports: RefCell<PeerPorts<M, R, C>>,
    calls: RefCell<Calls<M, R>>,
}

/// Calls of this core to another.
struct Calls<M, R> {
    /// Calls under way, by number.
    under_way: Vec<Option<Rc<Call<R>>>>,
    /// Numbers not in use.
    free: Vec<u16>,
    /// Calls that wait for a number, oldest first.
    waiting: VecDeque<(Rc<Call<R>>, M)>,
}

struct Call<R> {
    reply: Cell<Option<R>>,
    waker: Cell<Option<Waker>>,
}

impl<R> Call<R> {
    fn resolve(&self, reply: R) {
        self.reply.set(Some(reply));
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}

impl<M: 'static, R: 'static, C: 'static> Exchange<M, R, C> {
    /// Takes the ports over on the core's own thread. Calls that are under way when the mesh closes, and
    /// later ones, get the reply that `stopping` makes.
    pub fn new(ports: Ports<M, R, C>, stopping: fn() -> R) -> Self {
        let calls_max = ports.calls_max;
        let calls = || Calls {
            under_way: (0..calls_max).map(|_| None).collect(),
            free: (0..calls_max as u16).rev().collect(),
            waiting: VecDeque::new(),
        };
        let peers = ports.peers.into_iter();
        let peers = peers.map(|ports| Peer { ports: RefCell::new(ports), calls: RefCell::new(calls()) });
        let inner = Inner {
            me: ports.me,
            bells: ports.bells,
            peers: peers.collect(),
            closed: Cell::new(false),
            stopping,
        };
        Self { inner: Rc::new(inner) }
    }

    /// Says how this core's thread is woken; [`Exchange::receive`] must then run on each wake-up. `look`, which
    /// runs it too, is called once now, for what came before.
    pub fn connect(&self, wake: impl Fn() + Send + Sync + 'static, look: impl FnOnce()) {
        let set = self.inner.bells[self.inner.me].wake.set(Box::new(wake));
        assert!(set.is_ok(), "a core is connected once");
        look();
    }

    pub fn cores(&self) -> usize {
        self.inner.peers.len()
    }

    pub fn me(&self) -> usize {
        self.inner.me
    }

    /// Sends `message` to core `to`, which must not be this one, and waits for the reply. Messages leave in
    /// the order of the calls of this function. Dropping the future before it left takes the message back;
    /// later it only loses the reply.
    pub fn call(&self, to: usize, message: M) -> impl Future<Output = R> + use<M, R, C> {
        assert_ne!(to, self.inner.me, "a core calls itself directly");
        let call = Rc::new(Call { reply: Cell::new(None), waker: Cell::new(None) });
        if self.inner.closed.get() {
            call.reply.set(Some((self.inner.stopping)()));
        } else {
            let peer = &self.inner.peers[to];
            let mut calls = peer.calls.borrow_mut();
            calls.waiting.push_back((call.clone(), message));
            if peer.send(&mut calls) {
                self.inner.bells[to].ring();
            }
        }
        Waiting { inner: self.inner.clone(), to, call }
    }

    /// Calls of this core that were not answered yet, and those that wait for others to be.
    pub fn calls(&self) -> (usize, usize) {
        let of_peer = |peer: &Peer<M, R, C>| {
            let calls = peer.calls.borrow();
            (calls.under_way.len() - calls.free.len(), calls.waiting.len())
        };
        let peers = self.inner.peers.iter().map(of_peer);
        peers.fold((0, 0), |sum, of_peer| (sum.0 + of_peer.0, sum.1 + of_peer.1))
    }

    /// Answers a call. Never waits: the queue has room for a reply to each call under way.
    pub fn reply(&self, caller: Caller, reply: R) {
        let mut ports = self.inner.peers[caller.core].ports.borrow_mut();
        let pushed = ports.replies_out.push(Answer { slot: caller.slot, reply });
        assert!(pushed.is_ok(), "a queue of replies holds one for each call under way");
        self.inner.bells[caller.core].ring();
    }

    /// Gives a connection to core `to`, which must not be this one; or back, if its queue is full.
    pub fn hand_over(&self, to: usize, connection: C) -> Result<(), C> {
        let mut ports = self.inner.peers[to].ports.borrow_mut();
        ports.connections_out.push(connection).map_err(|PushError::Full(connection)| connection)?;
        self.inner.bells[to].ring();
        Ok(())
    }

    /// Empties this core's queues: resolves calls that were answered, sends calls that waited for them, and
    /// gives everything else to `each`. Runs on each wake-up. What it does is bounded by the queues:
    /// `each` must answer no request: its caller could send the next one meanwhile, and so on.
    pub fn receive(&self, mut each: impl FnMut(Delivery<M, C>)) {
        self.inner.bells[self.inner.me].answer();
        for (core, peer) in self.inner.peers.iter().enumerate() {
            if core == self.inner.me {
                continue;
            }
            if peer.take_replies() {
                self.inner.bells[core].ring();
            }
            // The borrow ends before `each` runs.
            while let Some(Request { slot, message }) = peer.next(|ports| ports.requests_in.pop().ok()) {
                each(Delivery::Request(Caller { core, slot }, message));
            }
            while let Some(connection) = peer.next(|ports| ports.connections_in.pop().ok()) {
                each(Delivery::Connection(connection));
            }
        }
    }

    /// Resolves all calls under way and all later ones with the stopping reply. For the end of a node, when
    /// no core answers any more.
    pub fn close(&self) {
        self.inner.closed.set(true);
        for peer in &self.inner.peers {
            let mut calls = peer.calls.borrow_mut();
            let waiting: Vec<_> = calls.waiting.drain(..).map(|(call, _)| call).collect();
            let under_way: Vec<_> = calls.under_way.iter_mut().filter_map(Option::take).collect();
            drop(calls);
            for call in waiting.into_iter().chain(under_way) {
                call.resolve((self.inner.stopping)());
            }
        }
    }
}

impl<M, R, C> Peer<M, R, C> {
    fn next<T>(&self, pop: impl FnOnce(&mut PeerPorts<M, R, C>) -> Option<T>) -> Option<T> {
        pop(&mut self.ports.borrow_mut())
    }

    /// Sends waiting calls while there are numbers for them. Whether any was sent.
    fn send(&self, calls: &mut Calls<M, R>) -> bool {
        let mut ports = self.ports.borrow_mut();
        let mut sent = false;
        while !calls.waiting.is_empty()
            && let Some(slot) = calls.free.pop()
            && let Some((call, message)) = calls.waiting.pop_front()
        {
            calls.under_way[usize::from(slot)] = Some(call);
            let pushed = ports.requests_out.push(Request { slot, message });
            assert!(pushed.is_ok(), "a queue of requests holds all calls under way");
            sent = true;
        }
        sent
    }

    /// Resolves the calls that were answered and sends what waited for them. Whether any was sent.
    fn take_replies(&self) -> bool {
        let mut answered = false;
        while let Some(Answer { slot, reply }) = self.next(|ports| ports.replies_in.pop().ok()) {
            let mut calls = self.calls.borrow_mut();
            // None once the mesh is closed.
            let call = calls.under_way[usize::from(slot)].take();
            calls.free.push(slot);
            drop(calls);
            if let Some(call) = call {
                call.resolve(reply);
            }
            answered = true;
        }
        answered && self.send(&mut self.calls.borrow_mut())
    }
}

/// The future of [`Exchange::call`].
struct Waiting<M, R, C> {
    inner: Rc<Inner<M, R, C>>,
    to: usize,
    call: Rc<Call<R>>,
}

impl<M, R, C> Future for Waiting<M, R, C> {
    type Output = R;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<R> {
        if let Some(reply) = self.call.reply.take() {
            return Poll::Ready(reply);
        }
        self.call.waker.set(Some(context.waker().clone()));
        Poll::Pending
    }
}

impl<M, R, C> Drop for Waiting<M, R, C> {
    fn drop(&mut self) {
        let mut calls = self.inner.peers[self.to].calls.borrow_mut();
        // Rare, and the queue holds at most one call for each task of this core.
        if let Some(place) = calls.waiting.iter().position(|(call, _)| Rc::ptr_eq(call, &self.call)) {
            calls.waiting.remove(place);
        }
    }
}

impl<M, R, C> Clone for Exchange<M, R, C> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}
