//! Versions of keys in order, packed: what an entry takes is its key and some forty bytes
//! (docs/decisions/0015-packed-index.md).
//!
//! It is a tree of two kinds of nodes: an ordered map of leaves under their fences, and leaves of some tens of
//! entries, encoded one behind the other in order. A look-up descends the map and then reads a leaf from its
//! beginning; a change moves the bytes behind it within the leaf. All of a leaf is at or behind its fence and
//! before the next one.

use std::borrow::Borrow;
use std::cmp::{Ordering, Reverse};
use std::collections::btree_map;
use std::collections::{BTreeMap, HashMap};
use std::ops::{Bound, Range};
use std::rc::Rc;

use super::{ChecksumCode, Entry, EntryFlags, EntryPayload};
use crate::base::etag::ETag;
use crate::base::limits::INDEX_LEAF_BYTES_MAX;
use crate::engine::format::{ExtentId, Location, Slice};

/// Versions by key and then newest first.
#[derive(Debug, Default)]
pub struct Packed {
    leaves: BTreeMap<Fence, Vec<u8>>,
    count: usize,
    /// Slices of the few objects that have several: in a leaf they could take megabytes.
    several: HashMap<u64, Rc<[Slice]>>,
    several_next: u64,
    /// Where entries are encoded.
    scratch: Vec<u8>,
}

/// A version and its key.
pub type Item<'a> = (&'a [u8], Entry);

impl Packed {
    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The newest version of a key.
    pub fn newest(&self, key: &[u8]) -> Option<Entry> {
        self.from(Bound::Included((key, u64::MAX))).next_if(|place| place.0 == key).map(|(_, entry)| entry)
    }

    /// The version of a key with this sequence.
    pub fn get(&self, key: &[u8], sequence: u64) -> Option<Entry> {
        let place = (key, sequence);
        self.from(Bound::Included(place)).next_if(|found| found == place).map(|(_, entry)| entry)
    }

    /// All versions from a place (a key and a sequence) on.
    pub fn from(&self, from: Bound<(&[u8], u64)>) -> Versions<'_> {
        let mut versions = Versions { tree: self, leaf: &[], at: 0, fence: None, leaves: None };
        match from {
            Bound::Unbounded => versions.leaves = Some(self.leaves.range::<Fence, _>(..)),
            Bound::Included(place) => versions.descend(place, false),
            Bound::Excluded(place) => versions.descend(place, true),
        }
        versions
    }

    /// Puts a version in its place; returns the one that was there.
    pub fn insert(&mut self, key: &[u8], entry: &Entry) -> Option<Entry> {
        let place = (key, entry.sequence);
        let mut encoded = std::mem::take(&mut self.scratch);
        encoded.clear();
        self.encode(key, entry, &mut encoded);
        if self.leaves.is_empty() {
            self.leaves.insert(Fence::first(), Vec::new());
        }
        let (_, leaf) = self.leaf_mut(place).expect("the first fence is before all places");
        let (found, is_there) = find(leaf, place);
        let old = is_there.then(|| Raw::at(leaf, found.start).decode());
        let is_end = found.start == leaf.len();
        replace(leaf, found.clone(), &encoded);
        if leaf.len() > INDEX_LEAF_BYTES_MAX {
            // Keys that come in order leave full leaves behind.
            let at = if is_end { found.start } else { middle(leaf) };
            if at > 0 {
                let behind = leaf.split_off(at);
                leaf.shrink_to_fit();
                let first = Raw::at(&behind, 0);
                let fence = Fence { key: first.key.into(), sequence: first.sequence() };
                self.leaves.insert(fence, behind);
            }
        }
        self.scratch = encoded;
        self.count += usize::from(!is_there);
        old.map(|(entry, several)| self.taken(entry, several))
    }

    /// Removes the version of a key with this sequence.
    pub fn remove(&mut self, key: &[u8], sequence: u64) -> Option<Entry> {
        let place = (key, sequence);
        let (fence, leaf) = self.leaf_mut(place)?;
        let (found, is_there) = find(leaf, place);
        if !is_there {
            return None;
        }
        let (entry, several) = Raw::at(leaf, found.start).decode();
        replace(leaf, found, &[]);
        if leaf.len() < INDEX_LEAF_BYTES_MAX / 4 {
            let fence = fence.clone();
            self.shrink(&fence);
        } else if leaf.capacity() - leaf.len() > INDEX_LEAF_BYTES_MAX / 4 {
            leaf.shrink_to_fit();
        }
        self.count -= 1;
        Some(self.taken(entry, several))
    }

    /// Joins a leaf that has become small with the one before or behind it, if both fit half a leaf.
    fn shrink(&mut self, fence: &Fence) {
        let bytes = self.leaves[fence as &dyn Place].len();
        let is_fitting = |(_, other): &(&Fence, &Vec<u8>)| other.len() + bytes <= INDEX_LEAF_BYTES_MAX / 2;
        let from: (Bound<&dyn Place>, Bound<&dyn Place>) = (Bound::Excluded(fence), Bound::Unbounded);
        let next = self.leaves.range::<dyn Place + '_, _>(from).next().filter(is_fitting);
        let next = next.map(|(next, _)| next.clone());
        let until: (Bound<&dyn Place>, Bound<&dyn Place>) = (Bound::Unbounded, Bound::Excluded(fence));
        let before = self.leaves.range::<dyn Place + '_, _>(until).next_back().filter(is_fitting);
        let before = before.map(|(before, _)| before.clone());
        if let Some(before) = before {
            self.join(&before, fence);
        } else if let Some(next) = next {
            self.join(fence, &next);
        } else if bytes == 0 && (self.leaves.len() == 1 || *fence != Fence::first()) {
            self.leaves.remove(fence as &dyn Place);
        } else {
            self.leaves.get_mut(fence as &dyn Place).expect("it was found above").shrink_to_fit();
        }
    }

    /// Puts a leaf's entries behind those of the leaf before it.
    fn join(&mut self, fence: &Fence, next: &Fence) {
        let behind = self.leaves.remove(next as &dyn Place).expect("both leaves are there");
        let leaf = self.leaves.get_mut(fence as &dyn Place).expect("both leaves are there");
        leaf.reserve_exact(behind.len());
        leaf.extend_from_slice(&behind);
        leaf.shrink_to_fit();
        if leaf.is_empty() && self.leaves.len() == 1 {
            self.leaves.clear();
        }
    }

    /// The leaf in which a place is.
    fn leaf_mut(&mut self, place: (&[u8], u64)) -> Option<(&Fence, &mut Vec<u8>)> {
        let bound: (Bound<&dyn Place>, Bound<&dyn Place>) = (Bound::Unbounded, Bound::Included(&place));
        self.leaves.range_mut::<dyn Place + '_, _>(bound).next_back()
    }

    fn leaf(&self, place: (&[u8], u64)) -> Option<(&Fence, &Vec<u8>)> {
        let bound: (Bound<&dyn Place>, Bound<&dyn Place>) = (Bound::Unbounded, Bound::Included(&place));
        self.leaves.range::<dyn Place + '_, _>(bound).next_back()
    }

    fn encode(&mut self, key: &[u8], entry: &Entry, out: &mut Vec<u8>) {
        let several = match &entry.payload {
            EntryPayload::Many(slices) => {
                let number = self.several_next;
                self.several_next += 1;
                self.several.insert(number, slices.clone());
                Some(number)
            }
            _ => None,
        };
        encode(key, entry, several, out);
    }

    /// An entry that is not in the tree any more.
    fn taken(&mut self, entry: Entry, several: Option<u64>) -> Entry {
        match several.and_then(|number| self.several.remove(&number)) {
            Some(slices) => Entry { payload: EntryPayload::Many(slices), ..entry },
            None => entry,
        }
    }

    fn entry(&self, raw: Raw<'_>) -> Entry {
        let (entry, several) = raw.decode();
        match several {
            Some(number) => Entry { payload: EntryPayload::Many(self.several[&number].clone()), ..entry },
            None => entry,
        }
    }
}

/// Versions from a place on, in order.
pub struct Versions<'a> {
    tree: &'a Packed,
    leaf: &'a [u8],
    /// Where the next entry begins.
    at: usize,
    /// That of the leaf, until the leaves behind it are looked up.
    fence: Option<&'a Fence>,
    leaves: Option<btree_map::Range<'a, Fence, Vec<u8>>>,
}

impl<'a> Versions<'a> {
    /// Goes on at the first version at (or, `after`, behind) a place.
    fn descend(&mut self, place: (&[u8], u64), after: bool) {
        self.leaves = None;
        let Some((fence, leaf)) = self.tree.leaf(place) else {
            (self.leaf, self.at, self.fence) = (&[], 0, None);
            return;
        };
        let (found, is_there) = find(leaf, place);
        self.at = if is_there && after { found.end } else { found.start };
        (self.leaf, self.fence) = (leaf, Some(fence));
    }

    /// Passes over everything before `key`, which is not before the next version. What is near is found
    /// without a descent.
    pub fn seek(&mut self, key: &[u8]) {
        while let Some(raw) = self.peek() {
            if raw.key >= key {
                return;
            }
            self.at = raw.end;
            if self.at == self.leaf.len() {
                break;
            }
        }
        match self.peek() {
            Some(raw) if raw.key < key => self.descend((key, u64::MAX), false),
            _ => {}
        }
    }

    /// The next version if its place is wanted.
    fn next_if(mut self, is_wanted: impl Fn((&[u8], u64)) -> bool) -> Option<Item<'a>> {
        let raw = self.peek()?;
        is_wanted((raw.key, raw.sequence())).then(|| (raw.key, self.tree.entry(raw)))
    }

    fn peek(&mut self) -> Option<Raw<'a>> {
        while self.at == self.leaf.len() {
            let leaves = match (&mut self.leaves, self.fence) {
                (Some(leaves), _) => leaves,
                (None, fence) => {
                    let fence = fence?;
                    let from: (Bound<&dyn Place>, Bound<&dyn Place>) =
                        (Bound::Excluded(fence), Bound::Unbounded);
                    self.leaves.insert(self.tree.leaves.range::<dyn Place + '_, _>(from))
                }
            };
            self.leaf = leaves.next()?.1;
            self.at = 0;
        }
        Some(Raw::at(self.leaf, self.at))
    }
}

impl<'a> Iterator for Versions<'a> {
    type Item = Item<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        let raw = self.peek()?;
        self.at = raw.end;
        Some((raw.key, self.tree.entry(raw)))
    }
}

/// The least place that a leaf may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fence {
    key: Box<[u8]>,
    sequence: u64,
}

impl Fence {
    fn first() -> Self {
        Self { key: Box::default(), sequence: u64::MAX }
    }
}

impl Ord for Fence {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

impl PartialOrd for Fence {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// What versions are ordered by: key, then newest first. Borrowed, so that a look-up needs no key of its own.
trait Place {
    fn place(&self) -> (&[u8], Reverse<u64>);
}

impl Place for Fence {
    fn place(&self) -> (&[u8], Reverse<u64>) {
        (&self.key, Reverse(self.sequence))
    }
}

impl Place for (&[u8], u64) {
    fn place(&self) -> (&[u8], Reverse<u64>) {
        (self.0, Reverse(self.1))
    }
}

impl<'a> Borrow<dyn Place + 'a> for Fence {
    fn borrow(&self) -> &(dyn Place + 'a) {
        self
    }
}

impl PartialEq for dyn Place + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.place() == other.place()
    }
}

impl Eq for dyn Place + '_ {}

impl Ord for dyn Place + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.place().cmp(&other.place())
    }
}

impl PartialOrd for dyn Place + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Where a place is in a leaf, and whether something is there; if not, the empty range where it belongs.
fn find(leaf: &[u8], place: (&[u8], u64)) -> (Range<usize>, bool) {
    let mut at = 0;
    while at < leaf.len() {
        let raw = Raw::at(leaf, at);
        match raw.key.cmp(place.0).then_with(|| place.1.cmp(&raw.sequence())) {
            Ordering::Less => at = raw.end,
            Ordering::Equal => return (at..raw.end, true),
            Ordering::Greater => break,
        }
    }
    (at..at, false)
}

/// Puts `bytes` where `range` was. The leaf takes no more memory than it needs.
fn replace(leaf: &mut Vec<u8>, range: Range<usize>, bytes: &[u8]) {
    let (before, tail) = (leaf.len(), range.start + bytes.len());
    let after = before - range.len() + bytes.len();
    if after > before {
        leaf.reserve_exact(after - before);
        leaf.resize(after, 0);
    }
    leaf.copy_within(range.end..before, tail);
    leaf.truncate(after);
    leaf[range.start..tail].copy_from_slice(bytes);
}

/// Where an entry begins that is nearest to the middle of a leaf; 0 if there is only one.
fn middle(leaf: &[u8]) -> usize {
    let (mut before, mut at) = (0, 0);
    while at < leaf.len() / 2 {
        (before, at) = (at, Raw::at(leaf, at).end);
    }
    let is_nearer = before > 0 && leaf.len() - before < at;
    if is_nearer || at == leaf.len() { before } else { at }
}

/// An encoded entry: lengths of the key (a varint) and of the rest (a byte), the key, and the rest.
///
/// The rest: its shape, the sequence, the ETag's digest unless that is zero, its parts and the checksum's code
/// if there are any, the bytes of the object, its location, and what of its payload is not in the log.
#[derive(Clone, Copy)]
struct Raw<'a> {
    key: &'a [u8],
    rest: &'a [u8],
    /// Where the next entry begins.
    end: usize,
}

/// Bits of an entry's shape above those of [`EntryFlags`].
const HAS_DIGEST: u8 = 1 << 3;
const HAS_PARTS: u8 = 1 << 4;
const HAS_CHECKSUM: u8 = 1 << 5;
const HAS_SLICE: u8 = 1 << 6;
const HAS_SEVERAL: u8 = 1 << 7;

const _: () = assert!(EntryFlags::ALL < HAS_DIGEST);

impl<'a> Raw<'a> {
    fn at(leaf: &'a [u8], at: usize) -> Self {
        let mut from = Fields(&leaf[at..]);
        let key_bytes = from.number() as usize;
        let rest_bytes = usize::from(from.byte());
        let key = from.take(key_bytes);
        let rest = from.take(rest_bytes);
        Self { key, rest, end: leaf.len() - from.0.len() }
    }

    fn sequence(&self) -> u64 {
        Fields(&self.rest[1..]).word()
    }

    /// The entry, and the number of its slices if it has several.
    fn decode(&self) -> (Entry, Option<u64>) {
        let mut from = Fields(self.rest);
        let shape = from.byte();
        let has = |bit| shape & bit != 0;
        let sequence = from.word();
        let digest = if has(HAS_DIGEST) { from.array() } else { [0; 16] };
        let parts = if has(HAS_PARTS) { from.number() as u16 } else { 0 };
        let checksum = ChecksumCode(if has(HAS_CHECKSUM) { from.byte() } else { 0 });
        let bytes = from.number();
        let location = Location {
            segment: from.number() as u32,
            offset: from.number() as u32,
            length: from.number() as u32,
        };
        let payload = if has(HAS_SLICE) { EntryPayload::One(from.slice()) } else { EntryPayload::Inline };
        let several = has(HAS_SEVERAL).then(|| from.number());
        let flags = EntryFlags::from_code(shape & EntryFlags::ALL).expect("these bits are flags");
        let etag = ETag { digest, parts };
        (Entry { bytes, sequence, etag, checksum, flags, location, payload }, several)
    }
}

fn encode(key: &[u8], entry: &Entry, several: Option<u64>, out: &mut Vec<u8>) {
    put_number(key.len() as u64, out);
    let length_at = out.len();
    out.push(0);
    out.extend_from_slice(key);
    let start = out.len();
    let Entry { bytes, sequence, etag, checksum, flags, location, payload } = entry;
    let bit = |is: bool, bit| if is { bit } else { 0 };
    let shape = bit(etag.digest != [0; 16], HAS_DIGEST)
        | bit(etag.parts > 0, HAS_PARTS)
        | bit(checksum.0 > 0, HAS_CHECKSUM)
        | bit(matches!(payload, EntryPayload::One(_)), HAS_SLICE)
        | bit(several.is_some(), HAS_SEVERAL);
    out.push(shape | flags.code());
    out.extend_from_slice(&sequence.to_le_bytes());
    if shape & HAS_DIGEST != 0 {
        out.extend_from_slice(&etag.digest);
    }
    if etag.parts > 0 {
        put_number(etag.parts.into(), out);
    }
    if checksum.0 > 0 {
        out.push(checksum.0);
    }
    put_number(*bytes, out);
    for word in [location.segment, location.offset, location.length] {
        put_number(word.into(), out);
    }
    if let EntryPayload::One(slice) = payload {
        let Slice { extent, extent_bytes, start, length } = *slice;
        for word in [extent.segment, extent.block, extent_bytes, start, length] {
            put_number(word.into(), out);
        }
    }
    several.into_iter().for_each(|number| put_number(number, out));
    out[length_at] = u8::try_from(out.len() - start).expect("the longest rest has less than a hundred bytes");
}

/// Seven bits in each byte, the least first; the highest bit says that more follow.
fn put_number(mut number: u64, out: &mut Vec<u8>) {
    while number > 0x7f {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Reads what was encoded here: it is whole.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count);
        self.0 = rest;
        taken
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let (taken, rest) = self.0.split_first_chunk().expect("what was encoded is whole");
        self.0 = rest;
        *taken
    }

    fn byte(&mut self) -> u8 {
        let [byte] = self.array();
        byte
    }

    fn word(&mut self) -> u64 {
        u64::from_le_bytes(self.array())
    }

    fn number(&mut self) -> u64 {
        let mut number = 0;
        let mut shift = 0;
        loop {
            let byte = self.byte();
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return number;
            }
            shift += 7;
        }
    }

    fn slice(&mut self) -> Slice {
        let extent = ExtentId { segment: self.number() as u32, block: self.number() as u32 };
        Slice {
            extent,
            extent_bytes: self.number() as u32,
            start: self.number() as u32,
            length: self.number() as u32,
        }
    }
}

#[cfg(test)]
mod tests;
