//! Locks of keys: changes of one key happen one after the other, first come first served.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::rc::Rc;

use crate::base::local::{Sender, oneshot};

/// The locks held on a core, by hash: two keys of one hash share a lock, which is harmless.
#[derive(Clone, Default)]
pub struct Locks {
    held: Rc<RefCell<HashMap<u64, VecDeque<Sender<()>>>>>,
}

impl Locks {
    pub async fn acquire(&self, name: u64) -> Lock {
        let turn = {
            let mut held = self.held.borrow_mut();
            match held.get_mut(&name) {
                Some(waiting) => {
                    let (sender, turn) = oneshot();
                    waiting.push_back(sender);
                    Some(turn)
                }
                None => {
                    held.insert(name, VecDeque::new());
                    None
                }
            }
        };
        let lock = Lock { locks: self.clone(), name };
        if let Some(turn) = turn {
            turn.await;
        }
        lock
    }
}

/// A held lock; the next in line gets it when it is dropped.
///
/// Those who wait are never abandoned: engine operations run to their end once begun.
pub struct Lock {
    locks: Locks,
    name: u64,
}

impl Drop for Lock {
    fn drop(&mut self) {
        let mut held = self.locks.held.borrow_mut();
        let waiting = held.get_mut(&self.name).expect("a held lock is listed");
        match waiting.pop_front() {
            Some(next) => next.send(()),
            None => {
                held.remove(&self.name);
            }
        }
    }
}
