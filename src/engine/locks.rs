//! Locks of keys: changes of one key happen one after the other, first come first served.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::base::local::{Permit, Semaphore};

/// The locks held or waited for on a core, by hash: two keys of one hash share a lock, which is harmless.
#[derive(Clone, Default)]
pub struct Locks {
    named: Rc<RefCell<HashMap<u64, Named>>>,
}

/// A lock that somebody holds or waits for.
struct Named {
    turn: Semaphore,
    users: usize,
}

impl Locks {
    /// Waits for the lock. A wait that is given up hands its place to the next in line.
    pub async fn acquire(&self, name: u64) -> Lock {
        let turn = {
            let mut named = self.named.borrow_mut();
            let lock = named.entry(name).or_insert_with(|| Named { turn: Semaphore::new(1), users: 0 });
            lock.users += 1;
            lock.turn.clone()
        };
        let user = User { locks: self.clone(), name };
        Lock { _turn: turn.acquire(1).await, _user: user }
    }
}

/// A held lock; the next in line gets it when it is dropped.
pub struct Lock {
    _turn: Permit,
    _user: User,
}

/// Keeps a lock listed while somebody holds it or waits for it.
struct User {
    locks: Locks,
    name: u64,
}

impl Drop for User {
    fn drop(&mut self) {
        let mut named = self.locks.named.borrow_mut();
        let lock = named.get_mut(&self.name).expect("a lock that is used is listed");
        lock.users -= 1;
        if lock.users == 0 {
            named.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn poll<F: Future>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
        future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn a_wait_that_is_given_up_neither_takes_nor_passes_on_a_turn_it_has_not() {
        let locks = Locks::default();
        let Poll::Ready(held) = poll(&mut Box::pin(locks.acquire(7))) else { panic!("nobody holds it") };
        let mut given_up = Box::pin(locks.acquire(7));
        let mut next = Box::pin(locks.acquire(7));
        assert!(poll(&mut given_up).is_pending() && poll(&mut next).is_pending());
        drop(given_up);
        assert!(poll(&mut next).is_pending(), "the first still holds it");
        drop(held);
        let Poll::Ready(second) = poll(&mut next) else { panic!("it is the next one's turn") };
        drop(second);
        assert!(locks.named.borrow().is_empty(), "nothing is kept of a lock that nobody uses");
    }
}
