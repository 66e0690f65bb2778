//! What keeps the payload of an object readable that was looked up, whatever is deleted meanwhile.
//!
//! At first that is its read epoch, which costs nothing. But an epoch keeps everything from being freed that is
//! given up after it, on all cores. So whoever reads for longer than a moment, a slow client for one, gets
//! references to the extents it reads instead, and holds nothing else.

use std::cell::{Cell, RefCell};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;

use super::format::record::{ObjectPut, StoredPayload};
use super::format::{ExtentId, Slice};
use super::message::{Answer, Request};
use super::shared::ReadPin;
use super::types::EngineError;
use super::{Engine, unexpected};
use crate::base::limits::READ_EPOCH_MS_MAX;
use crate::base::local::Signal;
use crate::io::Host;

/// Keeps an object's payload readable while it exists.
pub(super) struct Hold<H: Host> {
    engine: Engine<H>,
    put: Arc<ObjectPut>,
    pin: RefCell<Option<ReadPin>>,
    /// Whether it has references in place of the pin.
    refers: Cell<bool>,
}

impl<H: Host> Hold<H> {
    fn slices(&self) -> &[Slice] {
        match &self.put.payload {
            StoredPayload::Slices(slices) => slices,
            StoredPayload::Inline(_) => &[],
        }
    }

    /// Takes references, and lets the read epoch go.
    async fn refer(&self) -> Result<(), EngineError> {
        self.engine.acquire(self.slices()).await?;
        self.refers.set(true);
        *self.pin.borrow_mut() = None;
        Ok(())
    }
}

impl<H: Host> Drop for Hold<H> {
    fn drop(&mut self) {
        if self.refers.get() {
            self.engine.release(self.slices());
        }
    }
}

/// Holds with a pin, by age.
pub(super) struct Holds<H: Host> {
    /// Since the last look.
    young: RefCell<Vec<Weak<Hold<H>>>>,
    /// Since the look before.
    old: RefCell<Vec<Weak<Hold<H>>>>,
    added: Signal,
}

impl<H: Host> Default for Holds<H> {
    fn default() -> Self {
        Self { young: RefCell::default(), old: RefCell::default(), added: Signal::default() }
    }
}

impl<H: Host> Engine<H> {
    /// Keeps the payload of `put` readable, which was looked up under `pin`.
    pub(super) fn hold(&self, pin: ReadPin, put: Arc<ObjectPut>) -> Rc<Hold<H>> {
        let (engine, pin) = (self.clone(), RefCell::new(Some(pin)));
        let hold = Rc::new(Hold { engine, put, pin, refers: Cell::new(false) });
        let holds = &self.inner.holds;
        if holds.young.borrow().is_empty() {
            holds.added.raise();
        }
        holds.young.borrow_mut().push(Rc::downgrade(&hold));
        hold
    }

    /// Gives references to whoever reads for longer than the bound.
    pub(super) async fn run_holds(&self) {
        let holds = &self.inner.holds;
        loop {
            let added = holds.added.wait();
            if holds.young.borrow().is_empty() && holds.old.borrow().is_empty() {
                added.await;
            }
            self.host().sleep(Duration::from_millis(READ_EPOCH_MS_MAX / 2)).await;
            for hold in holds.old.replace(holds.young.take()) {
                let Some(hold) = hold.upgrade() else { continue };
                // Another try later, if an owner does not answer.
                if hold.refer().await.is_err() {
                    holds.young.borrow_mut().push(Rc::downgrade(&hold));
                }
            }
        }
    }

    /// Takes a reference to each slice's extent at its owner, before any record may use it.
    pub(super) async fn acquire(&self, slices: &[Slice]) -> Result<(), EngineError> {
        let cores = self.cores();
        let mut by_owner: Vec<Vec<ExtentId>> = vec![Vec::new(); cores];
        for slice in slices {
            by_owner[slice.extent.segment as usize % cores].push(slice.extent);
        }
        let mut taken: Vec<Slice> = Vec::new();
        for (owner, extents) in by_owner.into_iter().enumerate().filter(|(_, extents)| !extents.is_empty()) {
            match self.ask(owner, Request::ExtentsAcquire { extents }).await {
                Ok(Answer::Acquired(true)) => {
                    let of_owner = |slice: &&Slice| slice.extent.segment as usize % cores == owner;
                    taken.extend(slices.iter().filter(of_owner));
                }
                other => {
                    self.release(&taken);
                    return Err(match other {
                        Ok(Answer::Acquired(false)) => {
                            EngineError::Failed("internal error: a pinned extent is gone".to_string())
                        }
                        Ok(other) => unexpected(&other),
                        Err(error) => error,
                    });
                }
            }
        }
        Ok(())
    }
}
