//! Damage: bytes on a drive that are not what was written there, or cannot be read; where they are, and whose
//! they were.
//!
//! The core that takes care of a file keeps what is known of it. A read of any core that meets damage tells
//! that core; the scrub finds what nobody reads.

use std::collections::BTreeMap;
use std::fmt;

use super::Engine;
use super::format::record::ObjectPut;
use super::format::{FileName, SegmentId};
use super::message::Request;
use super::types::BucketId;
use super::version::VersionId;
use crate::base::limits::{DAMAGED_OBJECTS_MAX, DAMAGES_PER_CORE_MAX};
use crate::io::Host;

/// What is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DamageKind {
    /// A log segment: records, and payload of small objects.
    Log,
    /// A data segment: payload of large objects.
    Extent,
    Checkpoint,
    Superblock,
}

/// A place that is damaged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub kind: DamageKind,
    /// Name of the file in its data directory.
    pub file: String,
    pub offset: u64,
    /// Bytes from there on of which at least one is not as it was written.
    pub bytes: u64,
    /// What is wrong, as part of a sentence.
    pub what: String,
    /// Versions whose data lies there, as far as they are known: at most [`DAMAGED_OBJECTS_MAX`].
    pub objects: Vec<DamagedObject>,
}

/// A version that cannot be read whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DamagedObject {
    pub bucket: String,
    pub key: Vec<u8>,
    pub version: VersionId,
}

impl fmt::Display for DamagedObject {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}/{}", self.bucket, String::from_utf8_lossy(&self.key).escape_default())?;
        match self.version {
            VersionId::Null => Ok(()),
            VersionId::Numbered(sequence) => write!(out, " (version {sequence:016x})"),
        }
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, offset, bytes, what, objects, .. } = self;
        write!(out, "{file} at offset {offset}, {bytes} bytes: {what}")?;
        for (index, object) in objects.iter().enumerate() {
            write!(out, "{}{object}", if index == 0 { "; data of " } else { ", " })?;
        }
        Ok(())
    }
}

/// What a core knows of damage in the files it takes care of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Damages {
    /// Places that are known now, also those beyond the list.
    pub count: u64,
    /// In order of file and offset: at most [`DAMAGES_PER_CORE_MAX`].
    pub list: Vec<Damage>,
}

/// Keeps damage that was found, each place once.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// With the pass of the scrub in which it was seen last.
    places: BTreeMap<(String, u64), (u64, Damage)>,
    /// Found while the list was full.
    beyond: u64,
    pass: u64,
}

impl Known {
    /// Adds what was found; `true` if it is news that is worth a line.
    fn add(&mut self, damage: Damage) -> bool {
        let place = (damage.file.clone(), damage.offset);
        if let Some((seen, known)) = self.places.get_mut(&place) {
            *seen = self.pass;
            known.bytes = known.bytes.max(damage.bytes);
            let before = known.objects.len();
            for object in damage.objects {
                if known.objects.len() < DAMAGED_OBJECTS_MAX && !known.objects.contains(&object) {
                    known.objects.push(object);
                }
            }
            return known.objects.len() > before;
        }
        if self.places.len() >= DAMAGES_PER_CORE_MAX {
            self.beyond += 1;
            return self.beyond.is_power_of_two();
        }
        self.places.insert(place, (self.pass, damage));
        true
    }

    fn all(&self) -> Damages {
        let list: Vec<Damage> = self.places.values().map(|(_, damage)| damage.clone()).collect();
        Damages { count: self.count(), list }
    }

    /// Places that are known now.
    pub fn count(&self) -> u64 {
        self.places.len() as u64 + self.beyond
    }

    /// A pass of the scrub begins: what it does not see again will be forgotten at its end.
    pub fn begin_pass(&mut self) {
        self.pass += 1;
        self.beyond = 0;
    }

    /// Forgets what is no longer there: it was deleted, or made whole.
    pub fn end_pass(&mut self) {
        let pass = self.pass;
        self.places.retain(|_, (seen, _)| *seen >= pass);
    }
}

impl<H: Host> Engine<H> {
    /// Damage in the files that this core takes care of, as far as it was met since the start.
    pub fn damages(&self) -> Damages {
        self.inner.damages.borrow().all()
    }

    /// Takes note of damage in a file that this core takes care of.
    pub(super) fn note_damage(&self, damage: Damage) {
        let text = damage.to_string();
        if self.inner.damages.borrow_mut().add(damage) {
            tracing::error!("damage: {text}");
        }
    }

    /// Tells the core that takes care of a segment of damage in it.
    pub(super) fn tell_damage(&self, segment: SegmentId, damage: Damage) {
        let owner = segment as usize % self.cores();
        if owner == self.me() {
            return self.note_damage(damage);
        }
        let engine = self.clone();
        self.host().spawn(async move {
            // A core that does not answer any more needs no list.
            let _ = engine.ask(owner, Request::Damaged { damage: Box::new(damage) }).await;
        });
    }

    /// How people know a version.
    pub(super) fn damaged_object(&self, bucket: BucketId, key: &[u8], version: VersionId) -> DamagedObject {
        let name = self.inner.buckets.borrow().name_of(bucket);
        let bucket = name.unwrap_or_else(|| format!("bucket {bucket:016x}"));
        DamagedObject { bucket, key: key.to_vec(), version }
    }

    /// Tells of payload that can't be read.
    pub(super) fn tell_payload_damage(&self, segment: SegmentId, flaw: Flaw, object: &ObjectPut) {
        let object = self.damaged_object(object.bucket, &object.key, object.version());
        let damage = flaw.in_file(DamageKind::Extent, FileName::Data(segment));
        self.tell_damage(segment, Damage { objects: vec![object], ..damage });
    }
}

/// Damage within a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    pub offset: u64,
    pub bytes: u64,
    pub what: String,
}

impl Flaw {
    pub fn in_file(self, kind: DamageKind, name: FileName) -> Damage {
        let Self { offset, bytes, what } = self;
        Damage { kind, file: name.to_string(), offset, bytes, what, objects: Vec::new() }
    }
}

/// Whether a read failed because of the sectors it asked for. Other errors say nothing of what is stored.
/// The kernel's block layer and its file systems answer a medium error, a failed integrity check or a
/// checksum that does not match with one of these (block/blk-core.c, blk_errors).
pub(super) fn is_unreadable(error: &std::io::Error) -> bool {
    const CODES: [i32; 6] =
        [libc::EIO, libc::ENODATA, libc::EILSEQ, libc::EBADMSG, libc::EUCLEAN, libc::EREMOTEIO];
    error.raw_os_error().is_some_and(|code| CODES.contains(&code))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn damage(offset: u64, key: Option<&[u8]>) -> Damage {
        let object = |key: &[u8]| DamagedObject {
            bucket: "b".to_string(),
            key: key.to_vec(),
            version: VersionId::Null,
        };
        Damage {
            kind: DamageKind::Log,
            file: "log-00000001".to_string(),
            offset,
            bytes: 8,
            what: "rot".to_string(),
            objects: key.map(object).into_iter().collect(),
        }
    }

    #[test]
    fn a_place_is_told_once_and_forgotten_when_a_whole_pass_does_not_see_it() {
        let mut known = Known::default();
        assert!(known.add(damage(1, None)));
        assert!(!known.add(damage(1, None)));
        assert!(known.add(damage(1, Some(b"key"))), "the object is news");
        assert!(known.add(damage(2, None)));
        known.begin_pass();
        known.add(damage(2, None));
        assert_eq!(known.all().count, 2);
        known.end_pass();
        let left: Vec<u64> = known.all().list.iter().map(|damage| damage.offset).collect();
        assert_eq!(left, [2]);
    }

    #[test]
    fn the_list_is_bounded_and_goes_on_counting() {
        let mut known = Known::default();
        let count = DAMAGES_PER_CORE_MAX as u64 + 10;
        for offset in 0..count {
            known.add(damage(offset, None));
        }
        let all = known.all();
        assert_eq!((all.count, all.list.len()), (count, DAMAGES_PER_CORE_MAX));
    }

    #[test]
    fn a_person_reads_where_it_is_and_whose_it_was() {
        let text = damage(4096, Some(b"a\nb")).to_string();
        assert_eq!(text, r"log-00000001 at offset 4096, 8 bytes: rot; data of b/a\nb");
    }
}
