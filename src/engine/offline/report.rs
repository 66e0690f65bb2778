//! What a check has to say: findings, each with the place, what is there, what was expected and which objects
//! it touches; and what the drives hold in sum.

use std::collections::BTreeMap;
use std::fmt;

use crate::base::limits::{OFFLINE_FINDINGS_MAX, OFFLINE_OBJECTS_NAMED_MAX};
use crate::engine::types::{BucketId, UploadId, Usage};
use crate::engine::version::VersionId;

/// How bad a finding is. Only damage makes a check fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Bytes are not what was written, or something is missing that was durable.
    Damage,
    /// Nothing is lost, but something is there that should not be, or space is held by nobody.
    Warning,
    /// What a crash leaves behind, and the next start clears away.
    Note,
}

/// What kind of thing a finding is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    Superblock,
    Log,
    Checkpoint,
    /// What log and checkpoints say of the same objects, and whether it makes sense.
    Index,
    /// Data segments and the extents in them.
    Data,
    /// Files that should not be there, or lie in the wrong place.
    Files,
}

impl fmt::Display for Severity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Damage => "damage",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

impl fmt::Display for Area {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Superblock => "superblock",
            Self::Log => "log",
            Self::Checkpoint => "checkpoint",
            Self::Index => "index",
            Self::Data => "data",
            Self::Files => "files",
        })
    }
}

/// Where something was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    /// Position of the drive among those given.
    pub drive: usize,
    /// Name of the file; empty for the drive as a whole.
    pub file: String,
    /// Byte in the file, unless the file as a whole is meant.
    pub offset: Option<u64>,
}

impl Spot {
    pub fn file(drive: usize, file: impl fmt::Display) -> Self {
        Self { drive, file: file.to_string(), offset: None }
    }

    pub fn at(drive: usize, file: impl fmt::Display, offset: u64) -> Self {
        Self { drive, file: file.to_string(), offset: Some(offset) }
    }
}

/// An object version, or an upload in progress, that a finding touches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectName {
    pub bucket: BucketId,
    /// Unknown if the bucket's own record is lost, or the bucket was deleted.
    pub bucket_name: Option<String>,
    pub key: Vec<u8>,
    pub version: Option<VersionId>,
    pub upload: Option<UploadId>,
}

impl ObjectName {
    pub fn version(bucket: BucketId, key: &[u8], version: VersionId) -> Self {
        Self { bucket, bucket_name: None, key: key.to_vec(), version: Some(version), upload: None }
    }

    pub fn upload(bucket: BucketId, key: &[u8], upload: UploadId) -> Self {
        Self { bucket, bucket_name: None, key: key.to_vec(), version: None, upload: Some(upload) }
    }

    pub fn key(bucket: BucketId, key: &[u8]) -> Self {
        Self { bucket, bucket_name: None, key: key.to_vec(), version: None, upload: None }
    }
}

/// One thing that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub severity: Severity,
    pub area: Area,
    pub spot: Spot,
    /// What is there.
    pub found: String,
    /// What should be there, or what it means.
    pub expected: String,
    /// Objects that it touches, at most [`OFFLINE_OBJECTS_NAMED_MAX`].
    pub objects: Vec<ObjectName>,
    /// Further ones.
    pub objects_more: u64,
}

/// What lies on the drives, in numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub drives: u64,
    pub node: Option<[u8; 16]>,
    pub epoch: u64,
    pub generation: u32,
    pub cores: u32,
    pub buckets: u64,
    /// Current objects.
    pub objects: u64,
    /// Versions that are not current, and delete markers.
    pub versions: u64,
    /// Bytes of objects and other versions, as clients see them.
    pub object_bytes: u64,
    pub uploads: u64,
    pub parts: u64,
    pub config_entries: u64,
    pub events: u64,
    pub renames: u64,
    pub log_segments: u64,
    pub log_batches: u64,
    pub log_records: u64,
    /// Bytes of the log up to the ends of its segments.
    pub log_bytes: u64,
    /// Bytes of records that something still needs.
    pub log_bytes_live: u64,
    pub checkpoints: u64,
    pub data_segments: u64,
    pub extents: u64,
    /// References that objects, versions and parts have to extents.
    pub references: u64,
    /// Bytes of blocks that extents in use occupy, checksum blocks included.
    pub data_bytes_live: u64,
    /// Bytes of the drives that data segments occupy.
    pub data_bytes_allocated: u64,
    /// Payload bytes whose checksums were computed.
    pub data_bytes_verified: u64,
}

/// The result of a check.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub summary: Summary,
    /// Name and contents of each bucket, in order of name.
    pub buckets: Vec<(String, Usage)>,
    /// Worst first; of each severity at most [`OFFLINE_FINDINGS_MAX`].
    pub findings: Vec<Finding>,
    /// Findings of each severity, those that are not kept included.
    pub counts: BTreeMap<Severity, u64>,
    /// What could not be looked at, and why: then the check says nothing about it.
    pub unchecked: Vec<String>,
}

impl Report {
    pub fn count(&self, severity: Severity) -> u64 {
        self.counts.get(&severity).copied().unwrap_or(0)
    }

    /// Whether everything was looked at and no damage was found.
    pub fn is_clean(&self) -> bool {
        self.count(Severity::Damage) == 0 && self.unchecked.is_empty()
    }
}

/// Gathers findings up to their limits.
#[derive(Default)]
pub struct Findings {
    kept: Vec<Finding>,
    counts: BTreeMap<Severity, u64>,
    pub unchecked: Vec<String>,
}

/// Names a finding while others are still gathered; none if it is beyond the limit.
pub type FindingId = Option<usize>;

impl Findings {
    pub fn add(
        &mut self,
        severity: Severity,
        area: Area,
        spot: Spot,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> FindingId {
        let count = self.counts.entry(severity).or_default();
        *count += 1;
        if *count > OFFLINE_FINDINGS_MAX as u64 {
            return None;
        }
        let (found, expected) = (found.into(), expected.into());
        let objects = Vec::new();
        self.kept.push(Finding { severity, area, spot, found, expected, objects, objects_more: 0 });
        Some(self.kept.len() - 1)
    }

    pub fn damage(
        &mut self,
        area: Area,
        spot: Spot,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> FindingId {
        self.add(Severity::Damage, area, spot, found, expected)
    }

    /// Says that a finding touches an object.
    pub fn touch(&mut self, id: FindingId, object: ObjectName) {
        let Some(finding) = id.and_then(|at| self.kept.get_mut(at)) else { return };
        if finding.objects.contains(&object) {
            return;
        }
        if finding.objects.len() < OFFLINE_OBJECTS_NAMED_MAX {
            finding.objects.push(object);
        } else {
            finding.objects_more += 1;
        }
    }

    /// A file that could not be read: damage, unless whoever checks is not allowed to read it.
    pub fn unreadable(&mut self, area: Area, spot: Spot, error: &std::io::Error) -> FindingId {
        if error.kind() == std::io::ErrorKind::PermissionDenied {
            let why = format!("{}: {error}", spot.file);
            if self.unchecked.len() < OFFLINE_FINDINGS_MAX {
                self.unchecked.push(why);
            }
            return None;
        }
        let expected = "the drive returns what was written";
        self.damage(area, spot, format!("it cannot be read: {error}"), expected)
    }

    /// Whether damage was found, or something could not be read at all.
    pub fn has_damage(&self) -> bool {
        self.counts.contains_key(&Severity::Damage) || !self.unchecked.is_empty()
    }

    /// Whether something was found there already.
    pub fn has_about(&self, spot: &Spot) -> bool {
        self.kept.iter().any(|finding| finding.spot == *spot)
    }

    /// Everything gathered, worst first, with names of buckets.
    pub fn into_report(mut self, names: impl Fn(BucketId) -> Option<String>) -> Report {
        for finding in &mut self.kept {
            finding.objects.iter_mut().for_each(|object| object.bucket_name = names(object.bucket));
            finding.objects.sort();
        }
        let order = |finding: &Finding| (finding.severity, finding.area, finding.spot.clone());
        self.kept.sort_by_key(order);
        Report { findings: self.kept, counts: self.counts, unchecked: self.unchecked, ..Report::default() }
    }
}
