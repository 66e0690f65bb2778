//! A whole machine in memory, replayable from a seed: an executor with virtual time, a clock, randomness,
//! and drives that lose, tear and reorder what was not made durable when the power goes.
//!
//! ```
//! use ringcask::io::{Disk, Host, OpenMode, sim::Simulation};
//!
//! let simulation = Simulation::new(7);
//! let host = simulation.host(1);
//! simulation.block_on(async move { host.disks()[0].open("log", OpenMode::Create).await.unwrap() });
//! simulation.crash();
//! assert!(simulation.host(1).disks()[0].list().unwrap().len() <= 1, "the name was never made durable");
//! ```
//!
//! The same seed and the same calls give the same order of tasks, the same completions and the same
//! faults. Every panic of the simulation names the seed.

mod content;
mod directory;
mod disk;
mod executor;
mod faults;
mod random;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::rc::Rc;
use std::time::Duration;

pub use disk::{SimDisk, SimFile};
pub use faults::{Faults, STALL};

use super::{Host, Pool, TimestampMs};
use crate::base::local::oneshot;
use directory::Names;
use disk::Drive;
use executor::Executor;

/// Arena of a host made by [`Simulation::host`].
const ARENA_BYTES: usize = 16 << 20;

/// A simulated machine. It owns the drives, so that they outlive its crashes.
pub struct Simulation {
    executor: Rc<Executor>,
    drives: RefCell<Vec<Rc<Drive>>>,
    faults: RefCell<Faults>,
}

impl Simulation {
    pub fn new(seed: u64) -> Self {
        Self { executor: Executor::new(seed), drives: RefCell::default(), faults: RefCell::default() }
    }

    /// A core's view of the first `drives` drives; those that do not exist yet are made, empty. Every host
    /// has buffers of its own.
    pub fn host(&self, drives: usize) -> SimHost {
        self.host_with_arena(drives, ARENA_BYTES)
    }

    /// As [`Simulation::host`], with buffers of about `arena_bytes`.
    pub fn host_with_arena(&self, drives: usize, arena_bytes: usize) -> SimHost {
        let disks = (0..drives).map(|index| self.disk(index)).collect();
        SimHost { executor: self.executor.clone(), disks, pool: Pool::new(arena_bytes) }
    }

    /// A core's view of the drives of these numbers, in this order.
    pub fn host_over(&self, drives: &[usize]) -> SimHost {
        let disks = drives.iter().map(|index| self.disk(*index)).collect();
        SimHost { executor: self.executor.clone(), disks, pool: Pool::new(ARENA_BYTES) }
    }

    /// A handle on drive `index`, made if it does not exist yet.
    pub fn disk(&self, index: usize) -> SimDisk {
        let mut drives = self.drives.borrow_mut();
        while drives.len() <= index {
            drives.push(Drive::new(self.executor.clone(), self.faults.borrow().clone()));
        }
        SimDisk::new(index, drives[index].clone())
    }

    /// How all drives behave from now on; [`SimDisk::set_faults`] is for one alone.
    pub fn set_faults(&self, faults: Faults) {
        for drive in self.drives.borrow().iter() {
            drive.set_faults(faults.clone());
        }
        *self.faults.borrow_mut() = faults;
    }

    /// Runs `future` and all spawned tasks until `future` ends. The other tasks stay for the next call.
    /// Panics, naming the seed, when nothing can ever run again.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.executor.run(future, u64::MAX).expect("the steps are not bounded")
    }

    /// As [`Simulation::block_on`] for at most `steps` steps (a task polled or an event of the machine);
    /// `None` if `future` had not ended by then. It is dropped; the spawned tasks stay.
    pub fn block_on_for<F: Future>(&self, future: F, steps: u64) -> Option<F::Output> {
        self.executor.run(future, steps)
    }

    /// The power goes: all tasks and timers are gone, and of what was not durable each drive keeps what
    /// the seed decides. Disks and files opened before refuse all further work; [`Simulation::host`]
    /// gives new ones over the same drives.
    pub fn crash(&self) {
        self.power_off();
        self.settle();
    }

    /// The power goes, and every drive stays as it is in that moment, so that several crashes of the one
    /// moment can be looked at: [`Simulation::power_on`].
    pub fn power_cut(&self) -> PowerCut {
        self.power_off();
        PowerCut { drives: self.drives.borrow().iter().map(|drive| drive.state()).collect() }
    }

    /// The power comes back after `cut`, whatever happened since: of what was not durable each drive keeps
    /// what `seed` decides, and chance goes on from there. Returns a fingerprint of what was decided: two
    /// equal ones of one cut left the same.
    pub fn power_on(&self, cut: &PowerCut, seed: u64) -> u64 {
        self.power_off();
        self.executor.reseed(seed);
        for (drive, state) in self.drives.borrow().iter().zip(&cut.drives) {
            drive.set_state(state);
        }
        self.settle()
    }

    fn power_off(&self) {
        for drive in self.drives.borrow().iter() {
            drive.power_off();
        }
        self.executor.clear();
    }

    fn settle(&self) -> u64 {
        self.executor.count("crashes", 1);
        let drives = self.drives.borrow();
        drives.iter().fold(0, |all, drive| random::mix(all ^ drive.power_on()))
    }

    /// Flips a bit of the byte at `offset` of a file, at rest: nothing but a read will tell. Panics beyond
    /// the end of the file.
    pub fn flip_bit(&self, drive: usize, file: &str, offset: u64) {
        self.disk(drive).flip_bit(file, offset).expect("the file reaches that far");
    }

    /// Has the block at `to` of a file hold what belongs to `from`, at rest: as a drive leaves it that wrote
    /// one block to the place of another. Panics beyond the end of the file.
    pub fn misdirect(&self, drive: usize, file: &str, from: u64, to: u64) {
        self.disk(drive).misdirect(file, from, to).expect("the file reaches that far");
    }

    /// Sets the clock on the wall back.
    pub fn set_back(&self, duration: Duration) {
        self.executor.set_back(duration);
    }

    /// What befell the machine so far, by kind: crashes, what they took, and each fault that happened.
    pub fn tally(&self) -> BTreeMap<&'static str, u64> {
        self.executor.tally()
    }

    /// The seed that this machine was made with.
    pub fn seed(&self) -> u64 {
        self.executor.seed()
    }
}

/// The drives of a [`Simulation`] in the moment when the power went.
pub struct PowerCut {
    drives: Vec<Names>,
}

impl Drop for Simulation {
    /// Tasks hold their host and the host holds the executor that holds the tasks: the circle is cut here.
    fn drop(&mut self) {
        self.executor.clear();
    }
}

/// A core of a [`Simulation`].
#[derive(Clone)]
pub struct SimHost {
    executor: Rc<Executor>,
    disks: Rc<[SimDisk]>,
    pool: Pool,
}

impl Host for SimHost {
    type Disk = SimDisk;

    fn disks(&self) -> &[SimDisk] {
        &self.disks
    }

    fn pool(&self) -> &Pool {
        &self.pool
    }

    fn now(&self) -> TimestampMs {
        self.executor.now_ms()
    }

    fn monotonic(&self) -> Duration {
        self.executor.monotonic()
    }

    fn random(&self, bytes: &mut [u8]) {
        self.executor.random().fill(bytes);
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.executor.spawn(Box::pin(task));
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + 'static {
        let (sender, receiver) = oneshot();
        self.executor.after(duration, Box::new(move || sender.send(())));
        async move {
            if receiver.await.is_none() {
                // The machine lost power: nobody wakes up.
                std::future::pending::<()>().await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
