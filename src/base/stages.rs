//! Where the time of one request goes.
//!
//! A request that is looked at has a [`Stages`]. While its future is polled ([`Stages::within`]) it is the current
//! one of its thread, and whoever measures a stage adds to it with [`add`]; elsewhere, and for requests that are
//! not looked at, that does nothing.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

/// Something that requests spend time with. The same as those of the metrics, where there is such a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Waiting for an I/O buffer.
    Buffer,
    /// Waiting for bytes of the request's body.
    Receive,
    /// Bytes of the body are hashed, with the wait for their turn.
    Hash,
    /// Large payload is written to the drive. Several writes of a request are under way at a time, and each counts.
    Write,
    /// Large payload becomes durable.
    Sync,
    /// A change of a key of this core becomes durable in the log.
    Commit,
    /// A record or a run of payload is read. Reads of a request may be under way at a time, and each counts.
    Read,
    /// Waiting for another core, to which the key belongs: its commit or read, and the way there and back.
    Owner,
}

impl Stage {
    const COUNT: usize = Self::Owner as usize + 1;
}

/// The time of one request, by stage.
#[derive(Debug, Default)]
pub struct Stages([Cell<Duration>; Stage::COUNT]);

thread_local! {
    static CURRENT: RefCell<Option<Rc<Stages>>> = const { RefCell::new(None) };
}

/// The stages of the request that is being polled, for what it leaves to other tasks.
pub fn current() -> Option<Rc<Stages>> {
    CURRENT.with_borrow(Clone::clone)
}

/// Whether the request that is being polled is looked at: a clock need not be read for others.
pub fn is_looked_at() -> bool {
    CURRENT.with_borrow(Option::is_some)
}

/// Adds to a stage of the request that is being polled.
pub fn add(stage: Stage, took: Duration) {
    CURRENT.with_borrow(|current| {
        if let Some(stages) = current {
            stages.add(stage, took);
        }
    });
}

/// A part of the current request that another task carries out: what it adds is added to the same stages.
pub fn keep<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let current = current();
    async move {
        match current {
            Some(stages) => stages.within(future).await,
            None => future.await,
        }
    }
}

impl Stages {
    /// Adds to a stage.
    pub fn add(&self, stage: Stage, took: Duration) {
        let cell = &self.0[stage as usize];
        cell.set(cell.get().saturating_add(took));
    }

    /// What a stage has come to.
    pub fn get(&self, stage: Stage) -> Duration {
        self.0[stage as usize].get()
    }

    /// Makes these the current ones until the guard is dropped: for one poll.
    pub fn enter(self: &Rc<Self>) -> Guard {
        Guard(CURRENT.replace(Some(self.clone())))
    }

    /// Makes these the current ones whenever `future` is polled.
    pub async fn within<F: Future>(self: &Rc<Self>, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|context| {
            let _guard = self.enter();
            future.as_mut().poll(context)
        })
        .await
    }
}

/// Puts back what was current before.
pub struct Guard(Option<Rc<Stages>>);

impl Drop for Guard {
    fn drop(&mut self) {
        CURRENT.set(self.0.take());
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn each_request_has_its_own_time_however_their_polls_alternate() {
        let stages: [Rc<Stages>; 2] = Default::default();
        let mut context = Context::from_waker(Waker::noop());
        let work = |polls: u32| async move {
            for _ in 0..polls {
                add(Stage::Hash, SECOND);
                let mut is_first = true;
                poll_fn(|_| if std::mem::take(&mut is_first) { Poll::Pending } else { Poll::Ready(()) })
                    .await;
            }
            current().expect("it is looked at").add(Stage::Read, SECOND);
        };
        let mut one = pin!(stages[0].within(work(2)));
        let mut other = pin!(stages[1].within(work(3)));
        let mut ready = [false; 2];
        for _ in 0..5 {
            assert!(!is_looked_at());
            add(Stage::Hash, SECOND);
            ready[0] = ready[0] || one.as_mut().poll(&mut context).is_ready();
            ready[1] = ready[1] || other.as_mut().poll(&mut context).is_ready();
        }
        assert_eq!(ready, [true; 2]);
        let of = |stage| stages.each_ref().map(|stages| stages.get(stage).as_secs());
        assert_eq!((of(Stage::Hash), of(Stage::Read), of(Stage::Write)), ([2, 3], [1, 1], [0, 0]));
    }
}
