//! A core's connections: how many there are, how long each may still keep its peer waiting, and how they end.
//!
//! A timer for each receive and send would cost more than the small requests it guards. Instead a connection
//! has an amount of patience, counted in ticks; one task per core takes a tick from each connection that
//! waits for its peer, and cancels the operation of one that has none left.
//!
//! The same task looks whether requests wait for I/O buffers. If they do, the slowest clients are cut: clients
//! that take or send their bytes one by one would otherwise hold all buffers for as long as they please.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use monoio::io::{CancelHandle, Canceller};

use super::meters::Meters;
use super::{Bulk, ConnectionCounts, Limits};
use crate::base::limits::{
    BULK_BYTES_MIN, CUT_TIMEOUT_MS, RESPONSE_BUFFERS_SPARE_MAX, TLS_RECORDS_BYTES, TLS_RECORDS_SPARE_MAX,
};
use crate::base::local::Signal;
use crate::http::date::{self, IMF_FIXDATE_BYTES};
use crate::io::{Pool, TimestampMs};

/// The connections of a core. Clones share it.
#[derive(Clone)]
pub struct Connections {
    inner: Rc<Inner>,
}

struct Inner {
    limits: Limits,
    meters: Meters,
    /// The buffers that bodies and responses take, if connections look after them.
    pool: Option<Pool>,
    /// What large transfers ask for their turn.
    bulk: OnceCell<Rc<dyn Bulk>>,
    allowances: Allowances,
    members: RefCell<BTreeMap<u64, Rc<Watch>>>,
    next_number: Cell<u64>,
    draining: Cell<bool>,
    ticking: Cell<bool>,
    /// Raised when a connection ends.
    departure: Signal,
    /// The second since the epoch that `Date` was last written for, and what was written.
    date: Cell<(u64, [u8; IMF_FIXDATE_BYTES])>,
    spare_buffers: RefCell<Vec<Vec<u8>>>,
    spare_records: RefCell<Vec<Box<[u8]>>>,
}

impl Connections {
    pub fn new(limits: Limits) -> Self {
        Self::with_pool(limits, None)
    }

    /// Connections that cut the slowest clients while requests wait for buffers of `pool`.
    pub fn sharing(limits: Limits, pool: Pool) -> Self {
        Self::with_pool(limits, Some(pool))
    }

    fn with_pool(limits: Limits, pool: Option<Pool>) -> Self {
        let inner = Inner {
            pool,
            bulk: OnceCell::new(),
            allowances: Allowances::new(&limits),
            limits,
            meters: Meters::default(),
            members: RefCell::default(),
            next_number: Cell::new(0),
            draining: Cell::new(false),
            ticking: Cell::new(false),
            departure: Signal::default(),
            date: Cell::new((0, date::imf_fixdate(0))),
            spare_buffers: RefCell::default(),
            spare_records: RefCell::default(),
        };
        Self { inner: Rc::new(inner) }
    }

    /// Has large transfers wait for their turn. Only the first call has an effect.
    pub fn paced(self, bulk: Rc<dyn Bulk>) -> Self {
        let _ = self.inner.bulk.set(bulk);
        self
    }

    /// Waits until so many bytes may be copied to or from a socket.
    pub(super) async fn turn(&self, bytes: usize) {
        if bytes >= BULK_BYTES_MIN
            && let Some(bulk) = self.inner.bulk.get()
        {
            bulk.turn(bytes).await;
        }
    }

    /// Connections being served.
    pub fn active(&self) -> usize {
        self.inner.members.borrow().len()
    }

    /// What they have counted since the start.
    pub fn counts(&self) -> ConnectionCounts {
        self.inner.meters.snapshot()
    }

    /// Begins to end all connections: idle ones at once, others after their current request.
    pub fn begin_drain(&self) {
        self.inner.draining.set(true);
        self.stop_where(|watch| watch.wait.get() == Wait::Request);
    }

    /// Ends all connections as [`Connections::begin_drain`] does and waits for them; those that are not done
    /// within `bound` are cut. Returns how many are left even so: their requests wait for something other
    /// than their peer.
    pub async fn drain(&self, bound: Duration) -> usize {
        self.begin_drain();
        self.departed_within(bound).await;
        self.stop_where(|_| true);
        self.departed_within(Duration::from_millis(CUT_TIMEOUT_MS)).await;
        self.active()
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    pub(super) fn meters(&self) -> &Meters {
        &self.inner.meters
    }

    pub(super) fn allowances(&self) -> &Allowances {
        &self.inner.allowances
    }

    pub(super) fn is_draining(&self) -> bool {
        self.inner.draining.get()
    }

    /// Counts a connection in.
    pub(super) fn join(&self) -> Membership {
        let number = self.inner.next_number.get();
        self.inner.next_number.set(number + 1);
        let watch = Rc::new(Watch::default());
        self.inner.meters.joined.increment();
        self.inner.members.borrow_mut().insert(number, watch.clone());
        if !self.inner.ticking.replace(true) {
            monoio::spawn(self.clone().tick());
        }
        Membership { connections: self.clone(), number, watch }
    }

    /// `Date` of this moment; formatted once a second.
    pub(super) fn date(&self, now: TimestampMs) -> [u8; IMF_FIXDATE_BYTES] {
        let (second, date) = self.inner.date.get();
        if second == now / 1000 {
            return date;
        }
        let date = date::imf_fixdate(now);
        self.inner.date.set((now / 1000, date));
        date
    }

    /// An empty buffer for a response.
    pub(super) fn take_buffer(&self) -> Vec<u8> {
        self.inner.spare_buffers.borrow_mut().pop().unwrap_or_default()
    }

    pub(super) fn give_buffer(&self, mut buffer: Vec<u8>) {
        let mut spare = self.inner.spare_buffers.borrow_mut();
        if spare.len() < RESPONSE_BUFFERS_SPARE_MAX {
            buffer.clear();
            spare.push(buffer);
        }
    }

    /// A buffer for [`TLS_RECORDS_BYTES`] of records.
    pub(super) fn take_records(&self) -> Box<[u8]> {
        let spare = self.inner.spare_records.borrow_mut().pop();
        spare.unwrap_or_else(|| vec![0; TLS_RECORDS_BYTES].into_boxed_slice())
    }

    /// The same for `bytes`: smaller ones are not kept.
    pub(super) fn take_records_of(&self, bytes: usize) -> Box<[u8]> {
        if bytes == TLS_RECORDS_BYTES { self.take_records() } else { vec![0; bytes].into_boxed_slice() }
    }

    pub(super) fn give_records(&self, buffer: Box<[u8]>) {
        let mut spare = self.inner.spare_records.borrow_mut();
        if buffer.len() == TLS_RECORDS_BYTES && spare.len() < TLS_RECORDS_SPARE_MAX {
            spare.push(buffer);
        }
    }

    /// Takes patience from waiting connections until there are none.
    async fn tick(self) {
        loop {
            monoio::time::sleep(self.inner.limits.tick).await;
            let members = self.inner.members.borrow();
            if members.is_empty() {
                self.inner.ticking.set(false);
                return;
            }
            let timed_out = members.values().filter(|watch| watch.tick()).count();
            self.inner.meters.timed_out.add(timed_out as u64);
            let waiting = self.inner.pool.as_ref().map_or(0, Pool::waiting);
            self.cut_slowest(waiting);
        }
    }

    /// Cuts up to `count` of the clients that have been slow for too long where others wait for buffers.
    fn cut_slowest(&self, count: usize) {
        let limits = &self.inner.limits;
        let members = self.inner.members.borrow();
        let mut slow: Vec<&Rc<Watch>> = Vec::new();
        for watch in members.values() {
            watch.judge_speed(limits.crowded_bytes_per_tick_min);
            if count > 0 && watch.slow_ticks.get() >= limits.crowded_ticks {
                slow.push(watch);
            }
        }
        slow.sort_unstable_by_key(|watch| std::cmp::Reverse(watch.slow_ticks.get()));
        if !slow.is_empty() {
            tracing::warn!("{count} requests wait for buffers: the slowest clients are cut");
        }
        for watch in slow.into_iter().take(count) {
            watch.timed_out.set(true);
            watch.cancel();
            self.inner.meters.cut.increment();
        }
    }

    fn stop_where(&self, condition: impl Fn(&Watch) -> bool) {
        for watch in self.inner.members.borrow().values().filter(|watch| condition(watch)) {
            watch.stopped.set(true);
            watch.cancel();
        }
    }

    /// Waits until no connection is left, at most so long.
    async fn departed_within(&self, bound: Duration) {
        let departed = async {
            while self.active() > 0 {
                self.inner.departure.wait().await;
            }
        };
        // Whether it came to that is asked of `active`.
        let _ = monoio::time::timeout(bound, departed).await;
    }
}

/// How long a peer may keep its connection waiting.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Allowance {
    ticks: u64,
    /// Progress that renews it; 0 if nothing does.
    progress_bytes: u64,
}

/// The limits in ticks, one for each thing that a peer is waited for.
pub(super) struct Allowances {
    pub(super) handshake: Allowance,
    pub(super) head: Allowance,
    pub(super) idle: Allowance,
    pub(super) body: Allowance,
    pub(super) send: Allowance,
    pub(super) linger: Allowance,
    /// Ticks after which a connection without a request rests.
    rest: u64,
}

impl Allowances {
    fn new(limits: &Limits) -> Self {
        let tick = limits.tick.as_micros().max(1);
        let ticks = |timeout: Duration| u64::try_from(timeout.as_micros().div_ceil(tick)).unwrap_or(u64::MAX);
        let once = |timeout| Allowance { ticks: ticks(timeout), progress_bytes: 0 };
        let renewed =
            |timeout| Allowance { ticks: ticks(timeout), progress_bytes: limits.progress_bytes_min };
        Self {
            handshake: once(limits.handshake_timeout),
            head: once(limits.head_timeout),
            idle: once(limits.idle_timeout),
            body: renewed(limits.body_timeout),
            send: renewed(limits.send_timeout),
            linger: once(limits.linger_timeout),
            rest: ticks(limits.rest_after),
        }
    }
}

/// A connection's place among the others, given up when dropped.
pub(super) struct Membership {
    pub(super) connections: Connections,
    number: u64,
    watch: Rc<Watch>,
}

impl Drop for Membership {
    fn drop(&mut self) {
        self.connections.inner.members.borrow_mut().remove(&self.number);
        self.connections.inner.departure.raise();
    }
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Wait {
    /// Nothing of its peer.
    #[default]
    Nothing,
    /// The first byte of the next request: a drain ends this wait at once.
    Request,
    /// The peer's receiving or sending within a request.
    Peer,
}

/// Why an operation on a connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WireError {
    /// The peer is gone, or the operation failed.
    Closed,
    /// Patience ran out.
    TimedOut,
    /// No request came for a while: the wait goes on with less memory.
    Resting,
    /// The node stops.
    Stopped,
}

/// What the tick task sees of a connection.
#[derive(Default)]
struct Watch {
    wait: Cell<Wait>,
    /// Ticks left.
    patience: Cell<u64>,
    /// What `patience` began with.
    granted: Cell<Allowance>,
    /// Bytes since `patience` was granted or renewed.
    progress: Cell<u64>,
    /// Bytes since the last tick.
    moved: Cell<u64>,
    /// Ticks on end in which less was moved than a crowded core wants.
    slow_ticks: Cell<u64>,
    /// Ticks until the connection rests; 0 if it does, or waits for no request.
    rest: Cell<u64>,
    timed_out: Cell<bool>,
    resting: Cell<bool>,
    stopped: Cell<bool>,
    canceller: RefCell<Canceller>,
}

impl Watch {
    /// Takes a tick; whether patience ends with it.
    fn tick(&self) -> bool {
        if self.wait.get() == Wait::Nothing {
            return false;
        }
        let is_over = self.patience.get() == 0 && !self.timed_out.get();
        match self.patience.get() {
            0 => {
                self.timed_out.set(true);
                self.cancel();
            }
            left => self.patience.set(left - 1),
        }
        if self.wait.get() == Wait::Request && self.rest.get() > 0 {
            self.rest.set(self.rest.get() - 1);
            if self.rest.get() == 0 && !self.timed_out.get() {
                self.resting.set(true);
                self.cancel();
            }
        }
        is_over
    }

    /// Counts a tick in which a body or a response, which need buffers, hardly moved.
    fn judge_speed(&self, bytes_min: u64) {
        let moves = self.wait.get() == Wait::Peer && self.granted.get().progress_bytes > 0;
        let is_slow = moves && self.moved.get() < bytes_min;
        self.slow_ticks.set(if is_slow { self.slow_ticks.get() + 1 } else { 0 });
        self.moved.set(0);
    }

    fn cancel(&self) {
        let canceller = self.canceller.take();
        *self.canceller.borrow_mut() = canceller.cancel();
    }
}

impl Membership {
    /// Gives the peer time for what is to come, in all the waits together.
    pub(super) fn grant(&self, choose: impl Fn(&Allowances) -> Allowance) {
        let allowance = choose(self.connections.allowances());
        self.watch.patience.set(allowance.ticks);
        self.watch.granted.set(allowance);
        self.watch.progress.set(0);
        self.watch.rest.set(self.connections.allowances().rest);
    }

    /// Begins a wait: hands out what cancels its operation.
    pub(super) fn begin(&self, wait: Wait) -> Result<CancelHandle, WireError> {
        let watch = &self.watch;
        if watch.stopped.get() || (wait == Wait::Request && self.connections.is_draining()) {
            return Err(WireError::Stopped);
        }
        watch.timed_out.set(false);
        watch.resting.set(false);
        watch.wait.set(wait);
        Ok(watch.canceller.borrow().handle())
    }

    /// Ends a wait with the result of its operation.
    pub(super) fn end(&self, result: io::Result<usize>) -> Result<usize, WireError> {
        let watch = &self.watch;
        watch.wait.set(Wait::Nothing);
        let Ok(bytes) = result else {
            return Err(match () {
                () if watch.stopped.get() => WireError::Stopped,
                () if watch.timed_out.get() => WireError::TimedOut,
                () if watch.resting.get() => WireError::Resting,
                () => WireError::Closed,
            });
        };
        watch.moved.set(watch.moved.get() + bytes as u64);
        let progress = watch.progress.get() + bytes as u64;
        let granted = watch.granted.get();
        let renewed = granted.progress_bytes > 0 && progress >= granted.progress_bytes;
        if renewed {
            watch.patience.set(granted.ticks);
        }
        watch.progress.set(if renewed { 0 } else { progress });
        Ok(bytes)
    }
}
