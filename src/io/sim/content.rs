//! What a simulated file holds: for every block the durable bytes and, on top, every version that was
//! written since and may or may not survive a crash.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::rc::Rc;

use super::random::{Random, coin, mix};
use crate::base::limits::BLOCK_BYTES;

const BLOCK: u64 = BLOCK_BYTES as u64;

/// Bytes of one block; `None` stands for zeros.
pub(super) type Data = Option<Rc<[u8]>>;

/// A change of a file, as submitted.
#[derive(Clone)]
pub(super) enum Change {
    /// Blocks from number `first` on.
    Write { first: u64, blocks: Vec<Data> },
    /// Space for a byte range, and a length of at least its end.
    Allocate(Range<u64>),
    /// No space and zeros for a byte range; the length stays.
    Punch(Range<u64>),
}

/// A file. A change gets a number of its drive when it is submitted and another when it completes; larger
/// is later.
#[derive(Clone, Default)]
pub(super) struct Content {
    blocks: BTreeMap<u64, Block>,
    /// Numbers of the blocks that have versions beyond the durable one.
    dirty: BTreeSet<u64>,
    /// Numbers of the blocks that fail to be read.
    unreadable: BTreeSet<u64>,
    /// Byte ranges with space on the drive, by start: disjoint, not touching.
    extents: BTreeMap<u64, u64>,
    length: Versioned<u64>,
    /// Changes under way, by number of submission: at a crash, parts of them may have reached the drive.
    in_flight: BTreeMap<u64, Change>,
}

type Block = Versioned<Data>;

/// A durable value and the later ones, oldest first.
#[derive(Clone, Default)]
struct Versioned<T> {
    durable: T,
    later: Vec<Version<T>>,
}

#[derive(Clone)]
struct Version<T> {
    sequence: u64,
    value: T,
    /// A failed sync forgot it: readable still, but no later sync makes it durable.
    forgotten: bool,
}

impl<T: Clone> Versioned<T> {
    fn current(&self) -> &T {
        self.later.last().map_or(&self.durable, |version| &version.value)
    }

    fn push(&mut self, sequence: u64, value: T) {
        self.later.push(Version { sequence, value, forgotten: false });
    }

    /// Makes the newest version up to `mark` durable.
    fn sync(&mut self, mark: u64) {
        let covered = |version: &Version<T>| version.sequence <= mark && !version.forgotten;
        if let Some(index) = self.later.iter().rposition(covered) {
            self.durable = self.later[index].value.clone();
            self.later.drain(..=index);
        }
    }

    /// What a failed sync leaves: each version up to `mark` is kept for a later sync, lost, or forgotten.
    fn fail_sync(&mut self, mark: u64, random: &mut Random) {
        self.later.retain_mut(|version| {
            if version.sequence > mark {
                return true;
            }
            match random.below(3) {
                0 => false,
                1 => {
                    version.forgotten = true;
                    true
                }
                _ => true,
            }
        });
    }

    /// What a crash leaves, if `survives` names the versions that reached the drive.
    fn settle(&mut self, mut survives: impl FnMut(u64) -> bool) {
        for version in self.later.drain(..) {
            if !version.forgotten && survives(version.sequence) {
                self.durable = version.value;
            }
        }
    }
}

/// What survives a crash beyond what was made durable.
#[derive(Clone, Copy)]
pub(super) enum Survival {
    Nothing,
    Everything,
    /// Each change wholly or not at all, in any order.
    Changes,
    /// Each unit of so many bytes of each change, in any order.
    Torn(usize),
}

impl Survival {
    pub fn draw(random: &mut Random) -> Self {
        match random.below(5) {
            0 => Self::Nothing,
            1 => Self::Everything,
            2 => Self::Changes,
            3 => Self::Torn(512),
            _ => Self::Torn(BLOCK_BYTES),
        }
    }
}

/// Decides, change by change, what a crash leaves, and counts.
pub(super) struct Fate {
    pub survival: Survival,
    pub salt: u64,
    pub kept: u64,
    pub lost: u64,
    /// Of all decisions so far: two crashes of one state that decide alike leave the same.
    pub fingerprint: u64,
}

impl Fate {
    pub fn new(survival: Survival, salt: u64) -> Self {
        Self { survival, salt, kept: 0, lost: 0, fingerprint: 0 }
    }

    pub fn decides(&mut self, sequence: u64, unit: u64) -> bool {
        let survives = match self.survival {
            Survival::Nothing => false,
            Survival::Everything => true,
            Survival::Changes => coin(self.salt, &[sequence]),
            // Half of the changes are torn, so that whole, torn and absent ones are seen side by side.
            Survival::Torn(_) if coin(self.salt, &[sequence, 1]) => coin(self.salt, &[sequence, 2, unit]),
            Survival::Torn(_) => coin(self.salt, &[sequence, 3]),
        };
        self.note(survives);
        survives
    }

    pub fn note(&mut self, survives: bool) {
        *if survives { &mut self.kept } else { &mut self.lost } += 1;
        self.fingerprint = mix(self.fingerprint ^ u64::from(survives) ^ self.kept << 1);
    }
}

impl Content {
    pub fn length(&self) -> u64 {
        *self.length.current()
    }

    /// Bytes of the drive the file occupies.
    pub fn bytes_allocated(&self) -> u64 {
        self.extents.iter().map(|(start, end)| end - start).sum()
    }

    /// Bytes of `range` (whole blocks) that have no space yet.
    pub fn bytes_missing(&self, range: Range<u64>) -> u64 {
        let range = block_start(range.start)..range.end.next_multiple_of(BLOCK);
        let covered: u64 = self
            .extents
            .range(..range.end)
            .rev()
            .take_while(|(_, end)| **end > range.start)
            .map(|(start, end)| range.end.min(*end) - range.start.max(*start))
            .sum();
        range.end.saturating_sub(range.start) - covered
    }

    /// Copies from `offset` (a block's start) into `out`, up to the file's length; returns how much.
    pub fn read(&self, offset: u64, out: &mut [u8]) -> usize {
        let count = self.length().saturating_sub(offset).min(out.len() as u64) as usize;
        for (index, chunk) in out[..count].chunks_mut(BLOCK_BYTES).enumerate() {
            match self.blocks.get(&(offset / BLOCK + index as u64)).and_then(|block| block.current().as_ref())
            {
                Some(data) => chunk.copy_from_slice(&data[..chunk.len()]),
                None => chunk.fill(0),
            }
        }
        count
    }

    /// Notes that a change is under way.
    pub fn submit(&mut self, submission: u64, change: Change) {
        self.in_flight.insert(submission, change);
    }

    /// Has a change under way take effect as number `sequence`, durably if asked.
    pub fn complete(&mut self, submission: u64, sequence: u64, durable: bool) {
        let Some(change) = self.in_flight.remove(&submission) else {
            return;
        };
        let numbers = self.apply(sequence, change);
        if durable {
            for number in numbers {
                self.dirty.remove(&number);
                if let Some(block) = self.blocks.get_mut(&number) {
                    block.sync(sequence);
                }
            }
            self.length.sync(sequence);
        }
    }

    /// Has a change under way fail: any of its blocks may have been written.
    pub fn fail(&mut self, submission: u64, sequence: u64, random: &mut Random) {
        if let Some(Change::Write { first, blocks }) = self.in_flight.remove(&submission) {
            let kept = random.below(blocks.len() as u64 + 1) as usize;
            let blocks = blocks.into_iter().take(kept).collect();
            self.apply(sequence, Change::Write { first, blocks });
        }
    }

    /// Makes the changes that completed up to `mark` durable.
    pub fn sync(&mut self, mark: u64) {
        self.settle_dirty(|block| block.sync(mark));
        self.length.sync(mark);
    }

    /// A sync that failed.
    pub fn fail_sync(&mut self, mark: u64, random: &mut Random) {
        self.settle_dirty(|block| block.fail_sync(mark, random));
        self.length.fail_sync(mark, random);
    }

    /// Has `settle` handle every block that is not durable as it is.
    fn settle_dirty(&mut self, mut settle: impl FnMut(&mut Block)) {
        let blocks = &mut self.blocks;
        self.dirty.retain(|number| {
            let Some(block) = blocks.get_mut(number) else {
                return false;
            };
            settle(block);
            if block.later.is_empty() && block.durable.is_none() {
                blocks.remove(number);
                return false;
            }
            !block.later.is_empty()
        });
    }

    /// The power went; `fate` decides what reached the drive.
    pub fn crash(&mut self, fate: &mut Fate) {
        for (submission, change) in std::mem::take(&mut self.in_flight) {
            self.apply(submission, change);
        }
        for number in std::mem::take(&mut self.dirty) {
            let Some(block) = self.blocks.get_mut(&number) else {
                continue;
            };
            match fate.survival {
                Survival::Torn(unit_bytes) => {
                    tear(block, unit_bytes, |sequence, unit| fate.decides(sequence, number * BLOCK + unit))
                }
                _ => block.settle(|sequence| fate.decides(sequence, 0)),
            }
        }
        self.length.settle(|sequence| fate.decides(sequence, u64::MAX));
        let length = self.length();
        self.blocks.retain(|number, block| number * BLOCK < length && block.durable.is_some());
        self.free(length.next_multiple_of(BLOCK)..u64::MAX);
    }

    /// Flips one bit of the byte at `offset`, at rest. False if the file does not reach that far.
    pub fn flip_bit(&mut self, offset: u64, bit: u8) -> bool {
        if offset >= self.length() {
            return false;
        }
        let mut bytes = self.block(offset / BLOCK).unwrap_or_else(|| [0; BLOCK_BYTES].into()).to_vec();
        bytes[(offset % BLOCK) as usize] ^= 1 << (bit % 8);
        self.set_at_rest(offset / BLOCK, Some(bytes.into()));
        true
    }

    /// Has the block at `to` hold, at rest, what the one at `from` holds. False if the file does not reach
    /// that far.
    pub fn misdirect(&mut self, from: u64, to: u64) -> bool {
        if from.max(to) >= self.length() {
            return false;
        }
        self.set_at_rest(to / BLOCK, self.block(from / BLOCK));
        true
    }

    fn block(&self, number: u64) -> Data {
        self.blocks.get(&number).and_then(|block| block.current().clone())
    }

    fn set_at_rest(&mut self, number: u64, data: Data) {
        self.dirty.remove(&number);
        self.blocks.insert(number, Versioned { durable: data, later: Vec::new() });
    }

    /// Has the block at `offset` fail to be read until it is written again. False if the file does not reach
    /// that far.
    pub fn make_unreadable(&mut self, offset: u64) -> bool {
        let reaches = offset < self.length();
        if reaches {
            self.unreadable.insert(offset / BLOCK);
        }
        reaches
    }

    /// Whether every block of `range` can be read.
    pub fn is_readable(&self, range: Range<u64>) -> bool {
        self.unreadable.range(range.start / BLOCK..range.end.div_ceil(BLOCK)).next().is_none()
    }

    /// Cuts the file to a length, at rest.
    pub fn cut(&mut self, length: u64) {
        if length < self.length() {
            self.length = Versioned { durable: length, later: Vec::new() };
            self.blocks.retain(|number, _| number * BLOCK < length);
            self.dirty.retain(|number| number * BLOCK < length);
            self.free(length.next_multiple_of(BLOCK)..u64::MAX);
        }
    }

    /// Byte ranges that have space on the drive, in order.
    pub fn allocated(&self) -> Vec<Range<u64>> {
        self.extents.iter().map(|(start, end)| *start..*end).collect()
    }

    /// Applies a change to the current state; returns the numbers of the blocks it touched.
    fn apply(&mut self, sequence: u64, change: Change) -> Range<u64> {
        match change {
            Change::Write { first, blocks } => {
                let end = first + blocks.len() as u64;
                for (number, data) in (first..).zip(blocks) {
                    self.unreadable.remove(&number);
                    self.blocks.entry(number).or_default().push(sequence, data);
                    self.dirty.insert(number);
                }
                self.occupy(first * BLOCK..end * BLOCK);
                self.extend(sequence, end * BLOCK);
                first..end
            }
            Change::Allocate(range) => {
                self.occupy(block_start(range.start)..range.end.next_multiple_of(BLOCK));
                self.extend(sequence, range.end);
                0..0
            }
            Change::Punch(range) => {
                let numbers = range.start / BLOCK..range.end.div_ceil(BLOCK);
                for (number, block) in self.blocks.range_mut(numbers) {
                    block.push(sequence, None);
                    self.dirty.insert(*number);
                }
                self.free(range);
                0..0
            }
        }
    }

    fn extend(&mut self, sequence: u64, length: u64) {
        if length > self.length() {
            self.length.push(sequence, length);
        }
    }

    fn occupy(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let (mut start, mut end) = (range.start, range.end);
        while let Some((&other_start, &other_end)) = self.extents.range(..=end).next_back() {
            if other_end < start {
                break;
            }
            self.extents.remove(&other_start);
            start = start.min(other_start);
            end = end.max(other_end);
        }
        self.extents.insert(start, end);
    }

    fn free(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        while let Some((&start, &end)) = self.extents.range(..range.end).next_back() {
            if end <= range.start {
                break;
            }
            self.extents.remove(&start);
            if end > range.end {
                self.extents.insert(range.end, end);
            }
            if start < range.start {
                self.extents.insert(start, range.start);
                break;
            }
        }
    }
}

/// Settles a block unit by unit: each is the durable one or that of any later version.
fn tear(block: &mut Block, unit_bytes: usize, mut survives: impl FnMut(u64, u64) -> bool) {
    if block.later.is_empty() {
        return;
    }
    let mut bytes = block.durable.as_ref().map_or_else(|| vec![0; BLOCK_BYTES], |data| data.to_vec());
    for version in block.later.iter().filter(|version| !version.forgotten) {
        for start in (0..BLOCK_BYTES).step_by(unit_bytes) {
            if survives(version.sequence, start as u64) {
                let unit = &mut bytes[start..start + unit_bytes];
                match &version.value {
                    Some(data) => unit.copy_from_slice(&data[start..start + unit_bytes]),
                    None => unit.fill(0),
                }
            }
        }
    }
    *block = Versioned { durable: Some(bytes.into()), later: Vec::new() };
}

fn block_start(offset: u64) -> u64 {
    offset - offset % BLOCK
}
