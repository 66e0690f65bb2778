//! The queues between cores as a model checker sees them: rtrb's loads, stores and orderings on the checker's
//! atomics. The payload of a slot is in a lock that is never contended; whether it may be touched is what
//! `Access` tracks.

use std::marker::PhantomData;
use std::sync::{Arc, Mutex};

use super::primitives::{Access, AtomicUsize, Ordering};

pub struct RingBuffer<T>(PhantomData<T>);

pub struct Producer<T> {
    shared: Arc<Shared<T>>,
    tail: usize,
    /// The head when it was last loaded.
    head: usize,
}

pub struct Consumer<T> {
    shared: Arc<Shared<T>>,
    head: usize,
    /// The tail when it was last loaded.
    tail: usize,
}

struct Shared<T> {
    slots: Vec<(Access, Mutex<Option<T>>)>,
    head: AtomicUsize,
    tail: AtomicUsize,
}

#[derive(Debug)]
pub enum PushError<T> {
    Full(T),
}

#[derive(Debug)]
pub struct PopError;

impl<T> RingBuffer<T> {
    #[allow(clippy::new_ret_no_self, reason = "as rtrb's")]
    pub fn new(capacity: usize) -> (Producer<T>, Consumer<T>) {
        let slots = (0..capacity).map(|_| (Access::default(), Mutex::new(None))).collect();
        let shared = Arc::new(Shared { slots, head: AtomicUsize::new(0), tail: AtomicUsize::new(0) });
        let producer = Producer { shared: shared.clone(), tail: 0, head: 0 };
        (producer, Consumer { shared, head: 0, tail: 0 })
    }
}

impl<T> Producer<T> {
    pub fn push(&mut self, value: T) -> Result<(), PushError<T>> {
        let capacity = self.shared.slots.len();
        if self.tail - self.head == capacity {
            self.head = self.shared.head.load(Ordering::Acquire);
            if self.tail - self.head == capacity {
                return Err(PushError::Full(value));
            }
        }
        let (access, slot) = &self.shared.slots[self.tail % capacity];
        access.write();
        *slot.lock().unwrap() = Some(value);
        self.tail += 1;
        self.shared.tail.store(self.tail, Ordering::Release);
        Ok(())
    }
}

impl<T> Consumer<T> {
    pub fn pop(&mut self) -> Result<T, PopError> {
        if self.head == self.tail {
            self.tail = self.shared.tail.load(Ordering::Acquire);
            if self.head == self.tail {
                return Err(PopError);
            }
        }
        let (access, slot) = &self.shared.slots[self.head % self.shared.slots.len()];
        access.write();
        let value = slot.lock().unwrap().take().expect("a slot between head and tail is full");
        self.head += 1;
        self.shared.head.store(self.head, Ordering::Release);
        Ok(value)
    }
}
