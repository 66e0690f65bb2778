//! Bulk and small requests on one core: how much payload is copied to and from sockets before everything else
//! that is due gets its turn.
//!
//! The kernel copies payload while it takes submissions. When dozens of uploads are due at once, and each takes a
//! quarter of a megabyte, a small request that comes meanwhile waits for all of that. So bulk draws on an allowance,
//! first come, first served, which is renewed once the core has been through the kernel and has run what came in.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

use crate::base::limits::BULK_PASS_BYTES_MAX;
use crate::base::local::{Permit, Semaphore};
use crate::io::Host;
use crate::net::Bulk;

/// The allowance of a core. Clones share it.
pub struct Pace<H: Host> {
    inner: Rc<Inner<H>>,
}

struct Inner<H> {
    host: H,
    allowance: Semaphore,
    /// What was taken since the allowance was renewed.
    taken: RefCell<Vec<Permit>>,
    /// Whether a task renews it.
    is_running: Cell<bool>,
}

impl<H: Host> Clone for Pace<H> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<H: Host> Pace<H> {
    pub fn new(host: H) -> Self {
        let (allowance, taken) = (Semaphore::new(BULK_PASS_BYTES_MAX), RefCell::default());
        Self { inner: Rc::new(Inner { host, allowance, taken, is_running: Cell::new(false) }) }
    }

    async fn take(self, bytes: usize) {
        let permit = self.inner.allowance.acquire(bytes.min(BULK_PASS_BYTES_MAX)).await;
        self.inner.taken.borrow_mut().push(permit);
        if !self.inner.is_running.replace(true) {
            let renewal = Renewal { pace: self.clone() };
            self.inner.host.spawn(renewal.run());
        }
    }
}

impl<H: Host> Bulk for Pace<H> {
    fn turn(&self, bytes: usize) -> Pin<Box<dyn Future<Output = ()>>> {
        Box::pin(self.clone().take(bytes))
    }
}

/// The task that renews the allowance, as long as something is taken.
struct Renewal<H: Host> {
    pace: Pace<H>,
}

impl<H: Host> Renewal<H> {
    async fn run(self) {
        loop {
            self.pace.inner.host.yield_now().await;
            // Giving permits back wakes those who wait: no borrow may be held.
            let taken = self.pace.inner.taken.take();
            if taken.is_empty() {
                return;
            }
            drop(taken);
        }
    }
}

impl<H: Host> Drop for Renewal<H> {
    fn drop(&mut self) {
        self.pace.inner.is_running.set(false);
        let taken = self.pace.inner.taken.take();
        drop(taken);
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::task::Poll;

    use super::*;
    use crate::io::sim::Simulation;

    async fn is_ready(turn: &mut Pin<Box<dyn Future<Output = ()>>>) -> bool {
        poll_fn(|context| Poll::Ready(turn.as_mut().poll(context).is_ready())).await
    }

    #[test]
    fn bulk_beyond_the_allowance_waits_for_the_next_pass() {
        let simulation = Simulation::new(1);
        let host = simulation.host(1);
        simulation.block_on(async {
            let pace = Pace::new(host.clone());
            let mut turns: Vec<_> = (0..6).map(|_| pace.turn(BULK_PASS_BYTES_MAX / 2)).collect();
            for (number, turn) in turns.iter_mut().enumerate() {
                assert_eq!(is_ready(turn).await, number < 2, "{number}");
            }
            turns.drain(..2);
            while pace.inner.allowance.waiting() > 2 {
                host.yield_now().await;
            }
            for (number, turn) in turns.iter_mut().enumerate() {
                assert_eq!(is_ready(turn).await, number < 2, "{number} of those who waited");
            }
        });
    }

    #[test]
    fn more_than_the_whole_allowance_gets_its_turn_and_who_gives_up_takes_none() {
        let simulation = Simulation::new(2);
        let host = simulation.host(1);
        simulation.block_on(async {
            let pace = Pace::new(host.clone());
            pace.turn(10 * BULK_PASS_BYTES_MAX).await;
            let mut waiting = pace.turn(1);
            assert!(!is_ready(&mut waiting).await);
            drop(waiting);
            pace.turn(BULK_PASS_BYTES_MAX).await;
            while pace.inner.is_running.get() {
                host.yield_now().await;
            }
            assert_eq!(pace.inner.allowance.available(), BULK_PASS_BYTES_MAX);
        });
    }
}
