//! Versions of keys: how they are named, locked, changed, deleted and listed.

use super::Object;
use super::events::EventDraft;
use super::types::{Condition, Headers};
use crate::base::checksum::{ChecksumAlgorithm, ChecksumKind};
use crate::base::etag::ETag;
use crate::io::{Host, TimestampMs};

/// Names one version of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VersionId {
    /// The version that changes make while the bucket has no versioning; a key has at most one.
    Null,
    /// The version with this sequence, which is above 0.
    Numbered(u64),
}

/// What changes of a bucket's objects do with the version that was there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Versioning {
    /// It never had versioning: every key has its null version at most.
    #[default]
    Unversioned = 0,
    /// Every change makes a version of its own.
    Enabled = 1,
    /// Changes replace the null version and leave all others.
    Suspended = 2,
}

impl Versioning {
    /// Reads the number on disk.
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Unversioned, Self::Enabled, Self::Suspended].into_iter().find(|it| *it as u8 == code)
    }
}

/// What forbids that a version is removed (AWS, "Locking objects with Object Lock").
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lock {
    pub retention: Option<Retention>,
    pub legal_hold: bool,
}

/// Until when, and how strictly, a version stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    pub mode: RetentionMode,
    pub until: TimestampMs,
}

/// Who may end a retention before its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum RetentionMode {
    /// Who bypasses governance.
    Governance = 1,
    /// Nobody.
    Compliance = 2,
}

impl RetentionMode {
    /// Reads the number on disk.
    pub fn from_code(code: u8) -> Option<Self> {
        [Self::Governance, Self::Compliance].into_iter().find(|it| *it as u8 == code)
    }
}

impl Lock {
    /// Whether nothing is locked, now or at any time.
    pub fn is_none(&self) -> bool {
        self.retention.is_none() && !self.legal_hold
    }

    /// Whether the version must stay at `now`.
    pub fn forbids_removal(&self, now: TimestampMs, bypass_governance: bool) -> bool {
        let retained = self.retention.is_some_and(|it| it.forbids_loosening(now, bypass_governance));
        retained || self.legal_hold
    }

    /// Whether the retention may become `next` at `now`: while it lasts, it can be extended; a governance
    /// can be changed in any way by who bypasses it.
    pub fn allows_retention(
        &self,
        next: Option<Retention>,
        now: TimestampMs,
        bypass_governance: bool,
    ) -> bool {
        let Some(current) = self.retention else { return true };
        let extends = next.is_some_and(|next| next.mode == current.mode && next.until >= current.until);
        extends || !current.forbids_loosening(now, bypass_governance)
    }
}

impl Retention {
    fn forbids_loosening(&self, now: TimestampMs, bypass_governance: bool) -> bool {
        self.until > now && (self.mode == RetentionMode::Compliance || !bypass_governance)
    }
}

/// When a version of this sequence was made. An update keeps the sequence, and so the time.
pub fn modified_of(sequence: u64) -> TimestampMs {
    sequence >> SEQUENCE_COUNTER_BITS
}

/// A sequence is a time in milliseconds above a counter of this many bits.
pub(super) const SEQUENCE_COUNTER_BITS: u32 = 16;

/// What a look-up found.
pub enum Lookup<H: Host> {
    Found(Object<H>),
    /// The version, or what is current if none was named, is a delete marker.
    DeleteMarker {
        version: VersionId,
        modified: TimestampMs,
        is_latest: bool,
    },
    Missing,
}

impl<H: Host> Lookup<H> {
    /// The object, if that is what was found.
    pub fn found(self) -> Option<Object<H>> {
        match self {
            Self::Found(object) => Some(object),
            Self::DeleteMarker { .. } | Self::Missing => None,
        }
    }
}

/// What is to be deleted of a key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Deletion {
    /// That version for good; without one, the bucket's versioning decides what a deletion does.
    pub version: Option<VersionId>,
    /// What must hold of that version, or of the current object.
    pub condition: Condition,
    /// Whether who asks may remove what a governance retention protects.
    pub bypass_governance: bool,
    /// Refused as a condition that does not hold if the named version is the newest of its key: who removes
    /// what was replaced must not remove what has become current again.
    pub only_replaced: bool,
    /// They tell of it, if there is something to delete.
    pub events: Vec<EventDraft>,
}

/// What a deletion did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Whether there was something to delete: the named version, or a current object.
    pub existed: bool,
    /// The named version, or the delete marker that was made; none in a bucket that never had versioning.
    pub version: Option<VersionId>,
    /// Whether a delete marker was made or removed.
    pub is_delete_marker: bool,
}

/// A change of what is stored about a version; neither its payload, its time nor its place changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// Headers of the names of `set` and `remove` are removed, then those of `set` are added.
    Headers {
        set: Headers,
        remove: Vec<String>,
    },
    /// Refused with [`super::EngineError::Locked`] if it loosens what is in force.
    Retention {
        retention: Option<Retention>,
        bypass_governance: bool,
    },
    LegalHold(bool),
}

/// The result of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Updated {
    /// The version that was updated; none in a bucket that never had versioning.
    pub version: Option<VersionId>,
}

/// What a listing of versions asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionQuery {
    pub prefix: Vec<u8>,
    /// As in [`super::ListQuery`].
    pub delimiter: Vec<u8>,
    /// Only keys after this one, or with `version_after` also older versions of this key.
    pub key_after: Vec<u8>,
    pub version_after: Option<VersionId>,
    /// Entries at most, versions, delete markers and common prefixes counted together.
    pub count_max: usize,
}

/// What a listing shows of a version or a delete marker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedVersion {
    pub key: Vec<u8>,
    pub version: VersionId,
    pub is_latest: bool,
    /// Then it has no bytes, and no ETag that means anything.
    pub is_delete_marker: bool,
    pub bytes: u64,
    pub etag: ETag,
    /// Its place among the versions of the key.
    pub sequence: u64,
    /// Algorithm and kind of the stored checksum, without its value.
    pub checksum: Option<(ChecksumAlgorithm, ChecksumKind)>,
}

impl ListedVersion {
    /// When the version was made.
    pub fn modified(&self) -> TimestampMs {
        modified_of(self.sequence)
    }
}

/// A page of versions, in order of key and then newest first; `common_prefixes` in byte order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionPage {
    pub versions: Vec<ListedVersion>,
    pub common_prefixes: Vec<Vec<u8>>,
    /// Whether more follows, after `next_key` and `next_version`.
    pub truncated: bool,
    /// The last key or common prefix of the page.
    pub next_key: Vec<u8>,
    /// The last version of the page; none after a common prefix.
    pub next_version: Option<VersionId>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: TimestampMs = 1000;

    fn lock(mode: RetentionMode, until: TimestampMs) -> Lock {
        Lock { retention: Some(Retention { mode, until }), legal_hold: false }
    }

    #[test]
    fn a_version_stays_while_something_locks_it() {
        use RetentionMode::{Compliance, Governance};
        assert!(!Lock::default().forbids_removal(NOW, false));
        assert!(Lock { retention: None, legal_hold: true }.forbids_removal(NOW, true));
        for (mode, until, bypass, forbidden) in [
            (Governance, NOW + 1, false, true),
            (Governance, NOW + 1, true, false),
            (Governance, NOW, false, false),
            (Compliance, NOW + 1, true, true),
            (Compliance, NOW, false, false),
        ] {
            assert_eq!(
                lock(mode, until).forbids_removal(NOW, bypass),
                forbidden,
                "{mode:?} {until} {bypass}"
            );
        }
    }

    #[test]
    fn a_retention_in_force_can_only_be_extended_but_by_who_bypasses_governance() {
        use RetentionMode::{Compliance, Governance};
        let next = |mode, until| Some(Retention { mode, until });
        for mode in [Governance, Compliance] {
            let current = lock(mode, NOW + 10);
            assert!(current.allows_retention(next(mode, NOW + 10), NOW, false));
            assert!(!current.allows_retention(next(mode, NOW + 9), NOW, false));
            assert!(!current.allows_retention(None, NOW, false));
            assert!(lock(mode, NOW).allows_retention(None, NOW, false), "its time is over");
        }
        assert!(!lock(Governance, NOW + 10).allows_retention(next(Compliance, NOW + 20), NOW, false));
        assert!(lock(Governance, NOW + 10).allows_retention(next(Compliance, NOW + 5), NOW, true));
        assert!(lock(Governance, NOW + 10).allows_retention(None, NOW, true));
        assert!(!lock(Compliance, NOW + 10).allows_retention(next(Governance, NOW + 20), NOW, true));
        assert!(!lock(Compliance, NOW + 10).allows_retention(None, NOW, true));
        assert!(Lock::default().allows_retention(next(Compliance, NOW + 5), NOW, false));
    }
}
