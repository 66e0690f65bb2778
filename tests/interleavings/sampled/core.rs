//! A core that calls, answers, hands over and ends; and the ledger that judges what all of them did.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::{Condvar, Mutex};

use super::mesh::{Caller, Delivery, Exchange, Ports};
use super::phase::{Life, Phase};
use super::wakeup::Wakeup;

/// What a history is made of.
#[derive(Clone, Copy)]
pub struct Plan {
    pub cores: usize,
    pub calls_max: usize,
    /// Tasks of each core that call others.
    pub callers: usize,
    /// Calls of each such task.
    pub calls: usize,
    /// Whether the node ends only when all callers have.
    pub waits_for_callers: bool,
    /// Whether callers drop some calls before they are answered.
    pub gives_up: bool,
}

/// A request: who sent it, and which one it is of those that went the same way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    from: usize,
    number: u32,
    /// Whether the answering core asks another one first.
    asks_on: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    To(Message),
    Stopping,
}

/// A connection; the ledger hears when it is dropped.
pub struct Connection {
    number: usize,
    ledger: Arc<Ledger>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.ledger.entries.lock().unwrap().connections_open -= 1;
    }
}

/// What the cores of a history did.
pub struct Ledger {
    plan: Plan,
    entries: std::sync::Mutex<Entries>,
    callers: Mutex<usize>,
    callers_ended: Condvar,
}

#[derive(Default)]
struct Entries {
    /// Requests that came, by way.
    last: BTreeMap<(usize, usize), u32>,
    connections_open: usize,
    connections_made: usize,
    /// How often each was served.
    served: BTreeMap<usize, usize>,
}

impl Ledger {
    pub fn new(plan: Plan) -> Self {
        Self {
            plan,
            entries: std::sync::Mutex::default(),
            callers: Mutex::new(plan.cores * plan.callers),
            callers_ended: Condvar::new(),
        }
    }

    fn caller_ended(&self) {
        *self.callers.lock().unwrap() -= 1;
        self.callers_ended.notify_one();
    }

    pub fn wait_for_callers(&self) {
        let mut callers = self.callers.lock().unwrap();
        while *callers > 0 {
            callers = self.callers_ended.wait(callers).unwrap();
        }
    }

    fn connection(self: &Arc<Self>) -> Connection {
        let mut entries = self.entries.lock().unwrap();
        entries.connections_open += 1;
        entries.connections_made += 1;
        Connection { number: entries.connections_made, ledger: self.clone() }
    }

    fn serve(&self, connection: &Connection) {
        *self.entries.lock().unwrap().served.entry(connection.number).or_default() += 1;
    }

    /// Requests of one way come in the order of their calls, none twice; those given up may be missing.
    fn request(&self, to: usize, message: Message) {
        let mut entries = self.entries.lock().unwrap();
        let last = entries.last.insert((message.from, to), message.number);
        let follows = match last {
            None => self.plan.gives_up || message.number == 0,
            Some(last) if self.plan.gives_up => message.number > last,
            Some(last) => message.number == last + 1,
        };
        assert!(follows, "{message:?} came after {last:?}");
    }

    /// Once all threads have ended.
    pub fn judge(&self) {
        let entries = self.entries.lock().unwrap();
        assert_eq!(*self.callers.lock().unwrap(), 0, "a caller still waits");
        assert_eq!(entries.connections_open, 0, "a connection leaked");
        assert!(entries.served.values().all(|count| *count == 1), "{:?}", entries.served);
        if self.plan.waits_for_callers && !self.plan.gives_up {
            let sent = self.plan.callers * self.plan.calls;
            let came: usize = entries.last.values().map(|last| *last as usize + 1).sum();
            assert!(came >= self.plan.cores * sent, "{came} requests of {sent} came");
        }
    }
}

/// A task, and whether it asked to be run.
struct Task {
    ready: Arc<Ready>,
    future: Pin<Box<dyn Future<Output = ()>>>,
}

struct Ready(AtomicBool);

impl Wake for Ready {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Clones are the same core.
#[derive(Clone)]
pub struct Core {
    exchange: Exchange<Message, Reply, Connection>,
    life: Arc<Life>,
    ledger: Arc<Ledger>,
    spawned: Rc<RefCell<Vec<Task>>>,
    /// Numbers of the next calls, by core.
    numbers: Rc<RefCell<Vec<u32>>>,
    is_closed: Rc<Cell<bool>>,
}

impl Core {
    /// A core's thread.
    pub fn run(ports: Ports<Message, Reply, Connection>, plan: Plan, life: Arc<Life>, ledger: Arc<Ledger>) {
        let core = Self {
            exchange: Exchange::new(ports, || Reply::Stopping),
            life,
            ledger,
            spawned: Rc::default(),
            numbers: Rc::new(RefCell::new(vec![0; plan.cores])),
            is_closed: Rc::default(),
        };
        for _ in 0..plan.callers {
            let caller = core.clone();
            core.spawn(async move { caller.call_others(plan).await });
        }
        let wakeup = Arc::new(Wakeup::new().unwrap());
        let wake = wakeup.clone();
        core.exchange.connect(move || wake.wake(), || core.look());
        let mut tasks = Vec::new();
        loop {
            core.run_tasks(&mut tasks);
            if core.is_closed.get() && tasks.is_empty() {
                return;
            }
            if !core.is_closed.get() && core.life.reached(Phase::Closed) {
                core.is_closed.set(true);
                core.exchange.close();
                continue;
            }
            wakeup.event().read();
            if wakeup.take_pending() {
                core.look();
            }
        }
    }

    fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        let ready = Arc::new(Ready(AtomicBool::new(true)));
        self.spawned.borrow_mut().push(Task { ready, future: Box::pin(future) });
    }

    /// Runs tasks in random order until none can go on.
    fn run_tasks(&self, tasks: &mut Vec<Task>) {
        loop {
            tasks.append(&mut self.spawned.borrow_mut());
            let can_run = |(_, task): &(usize, &Task)| task.ready.0.load(Ordering::Relaxed);
            let ready: Vec<usize> = tasks.iter().enumerate().filter(can_run).map(|(at, _)| at).collect();
            if ready.is_empty() {
                return;
            }
            let at = ready[thread_rng().gen_range(0..ready.len())];
            let mut task = tasks.swap_remove(at);
            task.ready.0.store(false, Ordering::Relaxed);
            let waker = Waker::from(task.ready.clone());
            if task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                tasks.push(task);
            }
        }
    }

    /// As a node's core looks.
    fn look(&self) {
        self.exchange.receive(|delivery| match delivery {
            Delivery::Request(caller, message) => {
                self.ledger.request(self.exchange.me(), message);
                let core = self.clone();
                self.spawn(async move { core.answer(caller, message).await });
            }
            Delivery::Connection(connection) => self.ledger.serve(&connection),
        });
    }

    async fn answer(&self, caller: Caller, message: Message) {
        pause().await;
        if message.asks_on {
            self.call(self.other(), false).await;
        }
        self.exchange.reply(caller, Reply::To(message));
    }

    async fn call_others(&self, plan: Plan) {
        for _ in 0..plan.calls {
            if plan.gives_up && thread_rng().gen_bool(0.4) {
                self.call_and_give_up().await;
            } else {
                let to = self.other();
                // Only one core may ask on while it answers.
                self.call(to, to == 0 && thread_rng().gen_bool(0.5)).await;
            }
            if thread_rng().gen_bool(0.3) {
                self.hand_over();
            }
        }
        self.ledger.caller_ended();
    }

    fn other(&self) -> usize {
        let step = thread_rng().gen_range(1..self.exchange.cores());
        (self.exchange.me() + step) % self.exchange.cores()
    }

    fn message(&self, to: usize, asks_on: bool) -> Message {
        let number = &mut self.numbers.borrow_mut()[to];
        *number += 1;
        Message { from: self.exchange.me(), number: *number - 1, asks_on }
    }

    async fn call(&self, to: usize, asks_on: bool) {
        let message = self.message(to, asks_on);
        match self.exchange.call(to, message).await {
            Reply::To(answered) => assert_eq!(answered, message, "the answer to another question"),
            Reply::Stopping => assert!(self.life.reached(Phase::Closed), "stopped before the end"),
        }
    }

    /// Drops a call before it left, on its way, or with its reply there.
    async fn call_and_give_up(&self) {
        let to = self.other();
        let mut call = Box::pin(self.exchange.call(to, self.message(to, false)));
        for _ in 0..thread_rng().gen_range(0..3) {
            let answered = poll_fn(|context| Poll::Ready(call.as_mut().poll(context).is_ready())).await;
            if answered {
                return;
            }
            pause().await;
        }
    }

    fn hand_over(&self) {
        if let Err(connection) = self.exchange.hand_over(self.other(), self.ledger.connection()) {
            self.ledger.serve(&connection);
        }
    }
}

/// Lets other tasks of the core go first, some times.
async fn pause() {
    for _ in 0..thread_rng().gen_range(0..3) {
        let mut waited = false;
        poll_fn(|context| {
            if std::mem::replace(&mut waited, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}
