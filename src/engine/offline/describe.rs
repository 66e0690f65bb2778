//! What a record says, for a person: never a value of the configuration, a setting, a header or a key.

use crate::engine::format::record::{Record, StoredPayload};
use crate::engine::format::{Location, Slice};
use crate::engine::types::Headers;
use crate::engine::version::{RetentionMode, VersionId};

use super::catalogue::object_of;
use super::report::ObjectName;

/// A record in a line, and what more there is to say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    pub location: Location,
    pub kind: &'static str,
    pub object: Option<ObjectName>,
    /// Name of the bucket, of a record that makes or changes one.
    pub bucket_name: Option<String>,
    /// Bytes of the object or part, as clients see them; of the value, of an entry of the configuration.
    pub bytes: Option<u64>,
    pub sequence: Option<u64>,
    /// Further facts, by name.
    pub facts: Vec<(&'static str, String)>,
}

/// Describes a record that stands at `location`.
pub fn describe(record: &Record, location: Location) -> Described {
    let object = object_of(record);
    let mut it = Described {
        location,
        kind: "",
        object,
        bucket_name: None,
        bytes: None,
        sequence: None,
        facts: Vec::new(),
    };
    match record {
        Record::ObjectPut(put) => {
            it.kind = "put";
            (it.bytes, it.sequence) = (Some(put.bytes), Some(put.sequence));
            it.fact("etag", put.attributes.etag.to_string());
            if let Some(checksum) = &put.attributes.checksum {
                it.fact("checksum", format!("{:?}", checksum.algorithm));
            }
            it.fact("headers", names_of(&put.attributes.headers));
            if let Some(retention) = put.attributes.lock.retention {
                let mode = match retention.mode {
                    RetentionMode::Governance => "governance",
                    RetentionMode::Compliance => "compliance",
                };
                it.fact("retention", format!("{mode} until {}", retention.until));
            }
            if put.attributes.lock.legal_hold {
                it.fact("legal hold", "on".to_owned());
            }
            if !put.parts.is_empty() {
                it.fact("parts", put.parts.len().to_string());
            }
            if let Some(id) = &put.upload {
                it.fact("completes upload", hex(id));
            }
            match &put.payload {
                StoredPayload::Inline(bytes) => {
                    it.fact("stored", format!("{} bytes in the record", bytes.len()))
                }
                StoredPayload::Slices(slices) => it.fact("stored", slices_of(slices)),
            }
        }
        Record::DeleteMarkerPut(put) => {
            it.kind = "marker";
            it.sequence = Some(put.sequence);
        }
        Record::VersionDeleted { version, .. } => {
            it.kind = "delete";
            it.sequence = match version {
                VersionId::Null => None,
                VersionId::Numbered(sequence) => Some(*sequence),
            };
        }
        Record::BucketPut(bucket) => {
            it.kind = "bucket";
            it.bucket_name = Some(bucket.name.clone());
            it.fact("id", format!("{:016x}", bucket.id));
            it.fact("versioning", format!("{:?}", bucket.versioning).to_lowercase());
            let settings = bucket.settings.iter().map(|(name, value)| (name.as_str(), value.len()));
            it.fact("settings", named_lengths(settings));
        }
        Record::BucketDeleted { id } => {
            it.kind = "unbucket";
            it.fact("id", format!("{id:016x}"));
        }
        Record::ConfigPut { name, value } => {
            it.kind = "config";
            it.bytes = Some(value.len() as u64);
            it.fact("of kind", kind_of(name));
        }
        Record::ConfigDeleted { name } => {
            it.kind = "unconfig";
            it.fact("of kind", kind_of(name));
        }
        Record::EventQueued(event) => {
            it.kind = "event";
            it.bytes = Some(event.body.len() as u64);
            it.sequence = Some(event.id.sequence);
            it.fact("change", format!("{:?}", event.change).to_lowercase());
        }
        Record::EventDone { id, .. } => {
            it.kind = "event-end";
            it.sequence = Some(id.sequence);
        }
        Record::RenameCommitted(rename) => {
            it.kind = "rename";
            it.sequence = Some(rename.sequence);
            it.fact("from", String::from_utf8_lossy(&rename.from).into_owned());
        }
        Record::RenameDone { id } => {
            it.kind = "renamed";
            it.sequence = Some(id.2);
        }
        Record::UploadCreated { upload, .. } => {
            it.kind = "upload";
            it.fact("id", hex(&upload.id));
            it.fact("headers", names_of(&upload.headers));
        }
        Record::PartPut(put) => {
            it.kind = "part";
            it.bytes = Some(put.part.bytes);
            it.fact("number", put.part.number.to_string());
            it.fact("of upload", hex(&put.upload));
            it.fact("etag", put.part.etag.to_string());
            it.fact("stored", slices_of(&put.slices));
        }
        Record::UploadAborted { id, .. } => {
            it.kind = "abort";
            it.fact("id", hex(id));
        }
    }
    it
}

impl Described {
    fn fact(&mut self, name: &'static str, value: String) {
        if !value.is_empty() {
            self.facts.push((name, value));
        }
    }
}

/// What kind of entry of the configuration a name is of: the rest may tell who there is.
fn kind_of(name: &str) -> String {
    name.split(['/', ':']).next().unwrap_or_default().to_owned()
}

fn names_of(headers: &Headers) -> String {
    named_lengths(headers.iter().map(|(name, value)| (name.as_str(), value.len())))
}

/// Names with the lengths of their values.
fn named_lengths<'a>(named: impl Iterator<Item = (&'a str, usize)>) -> String {
    named.map(|(name, length)| format!("{name} ({length} bytes)")).collect::<Vec<_>>().join(", ")
}

fn slices_of(slices: &[Slice]) -> String {
    const SHOWN: usize = 8;
    let one = |slice: &Slice| {
        let Slice { extent, start, length, .. } = slice;
        let at = u64::from(extent.block) * crate::base::limits::BLOCK_BYTES as u64;
        format!("{length} bytes at {start} of the extent at data-{:08x} offset {at}", extent.segment)
    };
    let mut shown: Vec<String> = slices.iter().take(SHOWN).map(one).collect();
    if slices.len() > SHOWN {
        shown.push(format!("and {} more", slices.len() - SHOWN));
    }
    shown.join("; ")
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
