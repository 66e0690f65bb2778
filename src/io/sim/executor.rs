//! Tasks, timers and virtual time of a simulated machine. One thread; the seed decides who runs next.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::random::Random;
use crate::io::TimestampMs;

/// Wall clock at the start of every simulation: 2026-01-01T00:00:00Z.
const START_MS: TimestampMs = 1_767_225_600_000;

/// Virtual time that one poll of a task takes. Time passes even when tasks never rest, so that their
/// completions and timers come.
const POLL_NANOSECONDS: u64 = 200;

/// The future given to [`Executor::run`] stands under this number among the tasks.
const MAIN: u64 = 0;

type Task = Pin<Box<dyn Future<Output = ()>>>;
type Event = Box<dyn FnOnce()>;

pub(super) struct Executor {
    seed: u64,
    random: RefCell<Random>,
    /// What befell the machine, by kind.
    tally: RefCell<BTreeMap<&'static str, u64>>,
    /// Nanoseconds since the start.
    clock: Cell<u64>,
    /// By how much the clock on the wall was set back.
    set_back_ms: Cell<u64>,
    last_id: Cell<u64>,
    tasks: RefCell<BTreeMap<u64, (Task, Arc<TaskWaker>)>>,
    ready: Ready,
    /// What happens at which moment; the second number keeps simultaneous events apart.
    events: RefCell<BTreeMap<(u64, u64), Event>>,
}

/// Tasks to be polled. A waker must be `Send`, so this is shared as if by threads.
type Ready = Arc<Mutex<Vec<u64>>>;

struct TaskWaker {
    id: u64,
    queued: AtomicBool,
    ready: Ready,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.ready.lock().expect("no panic while locked").push(self.id);
        }
    }
}

/// What [`Executor::step`] found to do.
enum Step {
    Main,
    Other,
    Nothing,
}

impl Executor {
    pub fn new(seed: u64) -> Rc<Self> {
        Rc::new(Self {
            seed,
            random: RefCell::new(Random::new(seed)),
            tally: RefCell::default(),
            clock: Cell::new(0),
            set_back_ms: Cell::new(0),
            last_id: Cell::new(MAIN),
            tasks: RefCell::default(),
            ready: Ready::default(),
            events: RefCell::default(),
        })
    }

    pub fn seed(&self) -> u64 {
        self.seed
    }

    pub fn random(&self) -> RefMut<'_, Random> {
        self.random.borrow_mut()
    }

    /// Has chance go on from another seed.
    pub fn reseed(&self, seed: u64) {
        *self.random.borrow_mut() = Random::new(seed);
    }

    pub fn count(&self, kind: &'static str, times: u64) {
        if times > 0 {
            *self.tally.borrow_mut().entry(kind).or_default() += times;
        }
    }

    pub fn tally(&self) -> BTreeMap<&'static str, u64> {
        self.tally.borrow().clone()
    }

    pub fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.clock.get())
    }

    pub fn now_ms(&self) -> TimestampMs {
        START_MS + self.clock.get() / 1_000_000 - self.set_back_ms.get()
    }

    /// Sets the clock on the wall back; what counts time goes on.
    pub fn set_back(&self, duration: Duration) {
        self.set_back_ms.set(self.set_back_ms.get() + duration.as_millis() as u64);
    }

    pub fn spawn(&self, task: Task) {
        let id = self.new_id();
        let waker = self.waker(id);
        waker.wake_by_ref();
        self.tasks.borrow_mut().insert(id, (task, waker));
    }

    /// Has `event` happen once `delay` has passed.
    pub fn after(&self, delay: Duration, event: Event) {
        let nanoseconds = u64::try_from(delay.as_nanos()).unwrap_or(u64::MAX);
        let key = (self.clock.get().saturating_add(nanoseconds), self.new_id());
        self.events.borrow_mut().insert(key, event);
    }

    /// Runs until `future` ends, or `None` after `steps` steps.
    pub fn run<F: Future>(&self, future: F, steps: u64) -> Option<F::Output> {
        let mut future = pin!(future);
        self.ready.lock().expect("no panic while locked").retain(|id| *id != MAIN);
        let main = self.waker(MAIN);
        main.wake_by_ref();
        let waker = Waker::from(main.clone());
        for _ in 0..steps {
            match self.step() {
                Step::Other => {}
                Step::Main => {
                    main.queued.store(false, Ordering::Relaxed);
                    if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                        return Some(output);
                    }
                }
                Step::Nothing => {
                    panic!("deadlock: no task can run and no timer is set (simulation seed {})", self.seed)
                }
            }
        }
        None
    }

    /// Drops all tasks, timers and completions under way.
    pub fn clear(&self) {
        // What is dropped may spawn and schedule in its destructors; such tasks are dropped in turn.
        for _ in 0..1000 {
            let tasks = self.tasks.take();
            let events = self.events.take();
            if tasks.is_empty() && events.is_empty() {
                break;
            }
            drop(tasks);
            drop(events);
        }
        self.ready.lock().expect("no panic while locked").clear();
    }

    /// Lets one event happen or polls one task.
    fn step(&self) -> Step {
        if self.run_event(self.clock.get()) {
            return Step::Other;
        }
        let Some(id) = self.pick() else {
            return if self.run_event(u64::MAX) { Step::Other } else { Step::Nothing };
        };
        self.clock.set(self.clock.get() + POLL_NANOSECONDS);
        if id == MAIN {
            return Step::Main;
        }
        // Out of the map while it runs, so that it can spawn.
        let Some((mut task, state)) = self.tasks.borrow_mut().remove(&id) else {
            return Step::Other;
        };
        state.queued.store(false, Ordering::Relaxed);
        let waker = Waker::from(state.clone());
        if task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            self.tasks.borrow_mut().insert(id, (task, state));
        }
        Step::Other
    }

    /// Lets the next event up to `until` happen and sets the clock to its time.
    fn run_event(&self, until: u64) -> bool {
        let mut events = self.events.borrow_mut();
        let Some(first) = events.first_entry() else {
            return false;
        };
        let (moment, _) = *first.key();
        if moment > until {
            return false;
        }
        let event = first.remove();
        drop(events);
        self.clock.set(self.clock.get().max(moment));
        event();
        true
    }

    /// One of the tasks that can run.
    fn pick(&self) -> Option<u64> {
        let mut ready = self.ready.lock().expect("no panic while locked");
        if ready.is_empty() {
            return None;
        }
        let index = self.random.borrow_mut().below(ready.len() as u64) as usize;
        Some(ready.swap_remove(index))
    }

    fn new_id(&self) -> u64 {
        self.last_id.set(self.last_id.get() + 1);
        self.last_id.get()
    }

    fn waker(&self, id: u64) -> Arc<TaskWaker> {
        Arc::new(TaskWaker { id, queued: AtomicBool::new(false), ready: self.ready.clone() })
    }
}
