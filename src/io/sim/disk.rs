//! A simulated drive: files, names and the faults of both.

use std::cell::{Cell, RefCell, RefMut};
use std::future::pending;
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use super::content::{Change, Data, Fate, Survival};
use super::directory::{File, NameChange, Names};
use super::executor::Executor;
use super::faults::{Faults, STALL};
use super::random::Random;
use crate::base::limits::BLOCK_BYTES;
use crate::base::local::oneshot;
use crate::io::{Buffer, Disk, Durability, FileEntry, OpenMode, Space};

/// A drive, as it is across crashes.
pub(super) struct Drive {
    executor: Rc<Executor>,
    faults: RefCell<Faults>,
    /// Counts the crashes: handles of an earlier generation are refused.
    generation: Cell<u64>,
    last_sequence: Cell<u64>,
    names: RefCell<Names>,
}

impl Drive {
    pub fn new(executor: Rc<Executor>, faults: Faults) -> Rc<Self> {
        Rc::new(Self {
            executor,
            faults: RefCell::new(faults),
            generation: Cell::new(0),
            last_sequence: Cell::new(0),
            names: RefCell::default(),
        })
    }

    pub fn set_faults(&self, faults: Faults) {
        *self.faults.borrow_mut() = faults;
    }

    /// From here on every handle is refused.
    pub fn power_off(&self) {
        self.generation.set(self.generation.get() + 1);
    }

    /// The files as they are.
    pub fn state(&self) -> Names {
        self.names.borrow().copy()
    }

    /// Has the files be as they were.
    pub fn set_state(&self, state: &Names) {
        *self.names.borrow_mut() = state.copy();
    }

    /// Settles what survived; returns a fingerprint of what was decided.
    pub fn power_on(&self) -> u64 {
        let (mut fate, in_order) = {
            let mut random = self.random();
            (Fate::new(Survival::draw(&mut random), random.next()), random.chance(0.5))
        };
        let mut names = self.names.borrow_mut();
        let changes = std::mem::take(&mut names.changes);
        // A journal keeps the order of changes, so that a crash leaves a first part of them; POSIX does not
        // promise it, so that any subset may be left.
        let first_part = self.random().below(changes.len() as u64 + 1);
        for (index, (sequence, change)) in (0..).zip(changes) {
            let survives = match fate.survival {
                Survival::Changes | Survival::Torn(_) if in_order => {
                    fate.note(index < first_part);
                    index < first_part
                }
                _ => fate.decides(sequence, 0),
            };
            if survives {
                change.apply(&mut names.durable);
            }
        }
        names.current = names.durable.clone();
        let salt = fate.salt;
        for (number, file) in (0..).zip(names.current.values()) {
            fate.salt = salt ^ number;
            file.borrow_mut().crash(&mut fate);
        }
        self.executor.count("unsynced changes kept", fate.kept);
        self.executor.count("unsynced changes lost", fate.lost);
        fate.fingerprint
    }

    fn random(&self) -> RefMut<'_, Random> {
        self.executor.random()
    }

    /// Whether a fault of some kind happens now.
    fn fails(&self, kind: &'static str, probability: impl Fn(&Faults) -> f64) -> bool {
        let fails = self.random().chance(probability(&self.faults.borrow()));
        self.executor.count(kind, u64::from(fails));
        fails
    }

    fn check(&self, kind: &'static str, probability: impl Fn(&Faults) -> f64) -> io::Result<()> {
        if self.fails(kind, probability) { Err(error(libc::EIO)) } else { Ok(()) }
    }

    fn next_sequence(&self) -> u64 {
        self.last_sequence.set(self.last_sequence.get() + 1);
        self.last_sequence.get()
    }

    fn bytes_used(&self) -> u64 {
        self.names.borrow().current.values().map(|file| file.borrow().bytes_allocated()).sum()
    }

    fn bytes_free(&self) -> u64 {
        self.faults.borrow().capacity_bytes.saturating_sub(self.bytes_used())
    }

    fn file(&self, name: &str) -> io::Result<File> {
        self.names.borrow().current.get(name).cloned().ok_or_else(|| error(libc::ENOENT))
    }

    fn change_name(&self, change: NameChange) {
        let mut names = self.names.borrow_mut();
        change.clone().apply(&mut names.current);
        names.changes.push((self.next_sequence(), change));
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.check("name errors", |faults| faults.name_error)?;
        let file = self.file(from)?;
        if from != to {
            self.change_name(NameChange::Rename(from.to_owned(), to.to_owned(), file));
        }
        Ok(())
    }

    fn open(&self, name: &str, mode: OpenMode) -> io::Result<File> {
        self.check("open errors", |faults| faults.open_error)?;
        if mode != OpenMode::Create {
            return self.file(name);
        }
        if self.file(name).is_ok() {
            return Err(error(libc::EEXIST));
        }
        let file = File::default();
        self.change_name(NameChange::Create(name.to_owned(), file.clone()));
        Ok(file)
    }

    fn sync_names(&self, mark: u64) -> io::Result<()> {
        let failed = self.fails("sync errors", |faults| faults.sync_error);
        let mut names = self.names.borrow_mut();
        let later = names.changes.partition_point(|(sequence, _)| *sequence <= mark);
        let changes: Vec<_> = names.changes.drain(..later).collect();
        // A failed sync made a first part durable; the rest is seen until the next crash.
        let kept = if failed { self.random().below(changes.len() as u64) as usize } else { changes.len() };
        for (_, change) in changes.into_iter().take(kept) {
            change.apply(&mut names.durable);
        }
        if failed { Err(error(libc::EIO)) } else { Ok(()) }
    }
}

/// An open file of a [`SimDisk`].
#[derive(Clone)]
pub struct SimFile {
    content: File,
    writable: bool,
    generation: u64,
}

/// A handle on a drive, good until the next crash.
#[derive(Clone)]
pub struct SimDisk {
    number: usize,
    drive: Rc<Drive>,
    generation: u64,
}

impl SimDisk {
    pub(super) fn new(number: usize, drive: Rc<Drive>) -> Self {
        Self { number, generation: drive.generation.get(), drive }
    }

    /// How this drive behaves from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.drive.set_faults(faults);
    }

    pub fn faults(&self) -> Faults {
        self.drive.faults.borrow().clone()
    }

    /// Flips a bit of the byte at `offset` of a file, at rest: nothing but a read will tell.
    pub fn flip_bit(&self, name: &str, offset: u64) -> io::Result<()> {
        let file = self.drive.file(name)?;
        let bit = self.drive.random().below(8) as u8;
        self.drive.executor.count("bits flipped at rest", 1);
        if file.borrow_mut().flip_bit(offset, bit) { Ok(()) } else { Err(error(libc::EINVAL)) }
    }

    /// Has the block at `to` of a file hold what belongs to `from`, at rest: as a drive leaves it that wrote
    /// one block to the place of another. Both are rounded down to blocks.
    pub fn misdirect(&self, name: &str, from: u64, to: u64) -> io::Result<()> {
        let file = self.drive.file(name)?;
        self.drive.executor.count("blocks misdirected at rest", 1);
        if file.borrow_mut().misdirect(from, to) { Ok(()) } else { Err(error(libc::EINVAL)) }
    }

    /// Has the block at `offset` of a file fail to be read until it is written again: a bad sector.
    pub fn make_unreadable(&self, name: &str, offset: u64) -> io::Result<()> {
        let file = self.drive.file(name)?;
        if file.borrow_mut().make_unreadable(offset) { Ok(()) } else { Err(error(libc::EINVAL)) }
    }

    /// Cuts a file to a length, at rest.
    pub fn cut(&self, name: &str, length: u64) -> io::Result<()> {
        self.drive.file(name)?.borrow_mut().cut(length);
        Ok(())
    }

    /// Bytes of a file as the drive has them, read by nobody: no time passes and nothing fails.
    pub fn peek(&self, name: &str, offset: u64, length: usize) -> io::Result<Vec<u8>> {
        let file = self.drive.file(name)?;
        let start = offset - offset % BLOCK_BYTES as u64;
        let skip = (offset - start) as usize;
        let mut bytes = vec![0; (skip + length).next_multiple_of(BLOCK_BYTES)];
        let count = file.borrow().read(start, &mut bytes);
        bytes.truncate(count.min(skip + length));
        Ok(bytes.split_off(skip.min(count)))
    }

    /// Byte ranges of a file that have space on the drive, in order; between them are holes.
    pub fn allocated(&self, name: &str) -> io::Result<Vec<Range<u64>>> {
        Ok(self.drive.file(name)?.borrow().allocated())
    }

    /// Has `action` happen on the drive after the time an operation takes, whether or not the future is
    /// still there.
    async fn operate<T: 'static>(&self, action: impl FnOnce(&Drive) -> T + 'static) -> T {
        let latency = {
            let range = self.drive.faults.borrow().latency.clone();
            let spread = range.end.saturating_sub(range.start).as_nanos() as u64;
            let usual = range.start + Duration::from_nanos(self.drive.random().below(spread.max(1)));
            let stalls = self.drive.fails("stalled operations", |faults| faults.stall);
            if stalls { usual + STALL } else { usual }
        };
        let (sender, receiver) = oneshot();
        let drive = self.drive.clone();
        self.drive.executor.after(latency, Box::new(move || sender.send(action(&drive))));
        match receiver.await {
            Some(outcome) => outcome,
            // The machine lost power: nobody gets an answer.
            None => pending().await,
        }
    }

    fn powered(&self) -> io::Result<()> {
        if self.generation == self.drive.generation.get() {
            return Ok(());
        }
        Err(io::Error::other("the simulated machine has lost power since this drive was opened"))
    }

    fn check(&self, file: &SimFile, writing: bool) -> io::Result<()> {
        self.powered()?;
        if file.generation != self.generation {
            return Err(io::Error::other("the file was opened before the simulated machine lost power"));
        }
        if writing && !file.writable { Err(error(libc::EBADF)) } else { Ok(()) }
    }

    /// Submits a change of a file that needs `bytes_new` of space; completes with its result.
    async fn change(
        &self,
        file: &SimFile,
        change: Change,
        space: Range<u64>,
        durability: Durability,
    ) -> io::Result<()> {
        let submission = self.drive.next_sequence();
        let (kind, probability): (_, fn(&Faults) -> f64) = match &change {
            Change::Write { .. } => ("write errors", |faults| faults.write_error),
            Change::Allocate(_) => ("allocate errors", |faults| faults.allocate_error),
            Change::Punch(_) => ("punch errors", |faults| faults.punch_error),
        };
        file.content.borrow_mut().submit(submission, change);
        let content = file.content.clone();
        self.operate(move |drive| {
            let sequence = drive.next_sequence();
            if content.borrow().bytes_missing(space) > drive.bytes_free() {
                content.borrow_mut().fail(submission, sequence, &mut Random::new(0));
                drive.executor.count("full drives", 1);
                return Err(error(libc::ENOSPC));
            }
            let durable = durability == Durability::Durable;
            if drive.fails(kind, probability)
                || durable && drive.fails("sync errors", |faults| faults.sync_error)
            {
                content.borrow_mut().fail(submission, sequence, &mut drive.random());
                return Err(error(libc::EIO));
            }
            content.borrow_mut().complete(submission, sequence, durable);
            Ok(())
        })
        .await
    }
}

impl Disk for SimDisk {
    type File = SimFile;

    fn number(&self) -> usize {
        self.number
    }

    async fn open(&self, name: &str, mode: OpenMode) -> io::Result<SimFile> {
        self.powered()?;
        check_name(name)?;
        let name = name.to_owned();
        let content = self.operate(move |drive| drive.open(&name, mode)).await?;
        Ok(SimFile { content, writable: mode != OpenMode::Read, generation: self.generation })
    }

    async fn read(
        &self,
        file: &SimFile,
        offset: u64,
        mut buffer: Buffer,
        range: Range<usize>,
    ) -> (io::Result<usize>, Buffer) {
        if let Err(error) = self.check(file, false).and_then(|()| check_transfer(offset, &buffer, &range)) {
            return (Err(error), buffer);
        }
        let content = file.content.clone();
        self.operate(move |drive| {
            if drive.fails("read errors", |faults| faults.read_error) {
                return (Err(error(libc::EIO)), buffer);
            }
            if !content.borrow().is_readable(offset..offset + range.len() as u64) {
                drive.executor.count("unreadable sectors", 1);
                return (Err(error(libc::EIO)), buffer);
            }
            let start = range.start;
            let mut count = content.borrow().read(offset, &mut buffer.whole_mut()[range]);
            if drive.fails("short reads", |faults| faults.read_short) {
                count = drive.random().below(count as u64) as usize;
            }
            if count > 0 && buffer.len() < start + count {
                buffer.set_len(start + count);
            }
            (Ok(count), buffer)
        })
        .await
    }

    async fn write(
        &self,
        file: &SimFile,
        offset: u64,
        buffer: Buffer,
        range: Range<usize>,
        durability: Durability,
    ) -> (io::Result<()>, Buffer) {
        if let Err(error) = self.check(file, true).and_then(|()| check_transfer(offset, &buffer, &range)) {
            return (Err(error), buffer);
        }
        let space = offset..offset + range.len() as u64;
        let blocks = buffer.whole()[range].chunks(BLOCK_BYTES).map(block_data).collect();
        let change = Change::Write { first: offset / BLOCK_BYTES as u64, blocks };
        (self.change(file, change, space, durability).await, buffer)
    }

    async fn sync(&self, file: &SimFile) -> io::Result<()> {
        self.check(file, false)?;
        let mark = self.drive.next_sequence();
        let content = file.content.clone();
        self.operate(move |drive| {
            if drive.fails("sync errors", |faults| faults.sync_error) {
                content.borrow_mut().fail_sync(mark, &mut drive.random());
                return Err(error(libc::EIO));
            }
            content.borrow_mut().sync(mark);
            Ok(())
        })
        .await
    }

    async fn allocate(&self, file: &SimFile, range: Range<u64>) -> io::Result<()> {
        self.check(file, true)?;
        check_range(&range)?;
        self.change(file, Change::Allocate(range.clone()), range, Durability::Buffered).await
    }

    async fn punch(&self, file: &SimFile, range: Range<u64>) -> io::Result<()> {
        self.check(file, true)?;
        check_range(&range)?;
        self.change(file, Change::Punch(range), 0..0, Durability::Buffered).await
    }

    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.powered()?;
        check_name(to)?;
        let (from, to) = (from.to_owned(), to.to_owned());
        self.operate(move |drive| drive.rename(&from, &to)).await
    }

    async fn remove(&self, name: &str) -> io::Result<()> {
        self.powered()?;
        let name = name.to_owned();
        self.operate(move |drive| {
            drive.check("name errors", |faults| faults.name_error)?;
            drive.file(&name)?;
            drive.change_name(NameChange::Remove(name));
            Ok(())
        })
        .await
    }

    async fn sync_directory(&self) -> io::Result<()> {
        self.powered()?;
        let mark = self.drive.next_sequence();
        self.operate(move |drive| drive.sync_names(mark)).await
    }

    fn list(&self) -> io::Result<Vec<FileEntry>> {
        self.powered()?;
        let names = self.drive.names.borrow();
        let entry = |(name, file): (&String, &File)| {
            let content = file.borrow();
            let (bytes, bytes_allocated) = (content.length(), content.bytes_allocated());
            FileEntry { name: name.clone(), bytes, bytes_allocated }
        };
        Ok(names.current.iter().map(entry).collect())
    }

    fn space(&self) -> io::Result<Space> {
        self.powered()?;
        let bytes_total = self.drive.faults.borrow().capacity_bytes;
        Ok(Space { bytes_total, bytes_free: self.drive.bytes_free() })
    }
}

/// A block to be written; zeros take no memory.
fn block_data(bytes: &[u8]) -> Data {
    const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
    (bytes != &ZEROS[..bytes.len()]).then(|| bytes.into())
}

fn error(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

/// As a kernel answers a name that cannot be one file of a flat directory.
fn check_name(name: &str) -> io::Result<()> {
    let legal = !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0']);
    if legal { Ok(()) } else { Err(error(libc::EINVAL)) }
}

/// As O_DIRECT answers what is not aligned.
fn check_transfer(offset: u64, buffer: &Buffer, range: &Range<usize>) -> io::Result<()> {
    let aligned = offset.is_multiple_of(BLOCK_BYTES as u64)
        && range.start.is_multiple_of(BLOCK_BYTES)
        && range.end.is_multiple_of(BLOCK_BYTES);
    let legal = aligned && range.start <= range.end && range.end <= buffer.capacity();
    if legal { Ok(()) } else { Err(error(libc::EINVAL)) }
}

fn check_range(range: &Range<u64>) -> io::Result<()> {
    let block = BLOCK_BYTES as u64;
    let legal =
        range.start < range.end && range.start.is_multiple_of(block) && range.end.is_multiple_of(block);
    if legal { Ok(()) } else { Err(error(libc::EINVAL)) }
}
