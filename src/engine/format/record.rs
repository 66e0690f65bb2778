//! Log records: every change of a shard, with the payload of small objects inside.

use std::sync::Arc;

use bytes::Bytes;

use super::Slice;
use super::codec::{Decoder, Encode, Malformed};
use super::owed::*;
use super::parts::*;
use crate::base::crc32c;
use crate::base::limits::{INLINE_BYTES_MAX, RECORD_META_BYTES_MAX};
use crate::engine::events::{Event, EventId};
use crate::engine::rename::{Rename, RenameId};
use crate::engine::types::{Attributes, Bucket, BucketId, ObjectPart, Part, Upload, UploadId};
use crate::engine::version::{VersionId, modified_of};
use crate::engine::{core_of, owner_of};
use crate::io::TimestampMs;

/// Bytes of a record's header.
pub const RECORD_HEADER_BYTES: usize = 24;

/// Records start at multiples of this within a batch.
pub const RECORD_ALIGNMENT: usize = 8;

/// Header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// CRC32C of the header after this field, and the meta bytes.
    pub meta_crc: u32,
    pub payload_crc: u32,
    pub meta_bytes: u32,
    pub payload_bytes: u32,
    pub kind: u8,
}

impl RecordHeader {
    /// Header for `meta` and `payload`, checksums computed.
    pub fn of(kind: u8, meta: &[u8], payload: &[u8]) -> Self {
        let mut header = Self {
            meta_crc: 0,
            payload_crc: crc32c::crc32c(payload),
            meta_bytes: meta.len() as u32,
            payload_bytes: payload.len() as u32,
            kind,
        };
        header.meta_crc = crc32c::crc32c_append(crc32c::crc32c(&header.encode()[4..]), meta);
        header
    }

    pub fn encode(&self) -> [u8; RECORD_HEADER_BYTES] {
        let mut out = [0; RECORD_HEADER_BYTES];
        let words = [self.meta_crc, self.payload_crc, self.meta_bytes, self.payload_bytes];
        for (field, word) in out.chunks_exact_mut(4).zip(words) {
            field.copy_from_slice(&word.to_le_bytes());
        }
        out[16] = self.kind;
        out
    }

    /// Reads a header without checking any checksum: see [`RecordHeader::check_meta`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut from = Decoder::new(bytes.get(..RECORD_HEADER_BYTES).ok_or(Malformed)?);
        let header = Self {
            meta_crc: from.u32()?,
            payload_crc: from.u32()?,
            meta_bytes: from.u32()?,
            payload_bytes: from.u32()?,
            kind: from.u8()?,
        };
        let too_long = header.meta_bytes as usize > RECORD_META_BYTES_MAX
            || header.payload_bytes as usize > INLINE_BYTES_MAX;
        if too_long { Err(Malformed) } else { Ok(header) }
    }

    /// Bytes of the record without padding.
    pub fn record_bytes(&self) -> usize {
        RECORD_HEADER_BYTES + self.meta_bytes as usize + self.payload_bytes as usize
    }

    /// Whether `meta` is what was written under this header.
    pub fn check_meta(&self, meta: &[u8]) -> bool {
        meta.len() == self.meta_bytes as usize
            && crc32c::crc32c_append(crc32c::crc32c(&self.encode()[4..]), meta) == self.meta_crc
    }

    /// Whether `payload` is what was written under this header.
    pub fn check_payload(&self, payload: &[u8]) -> bool {
        payload.len() == self.payload_bytes as usize && crc32c::crc32c(payload) == self.payload_crc
    }
}

/// Where an object's bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoredPayload {
    /// In the record itself.
    Inline(Bytes),
    /// In extents, in order.
    Slices(Vec<Slice>),
}

impl StoredPayload {
    /// Length in bytes.
    pub fn bytes(&self) -> u64 {
        match self {
            Self::Inline(bytes) => bytes.len() as u64,
            Self::Slices(slices) => slices.iter().map(|slice| u64::from(slice.length)).sum(),
        }
    }
}

/// A change of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    ObjectPut(ObjectPut),
    /// A version is gone; of a key without versions, the object.
    VersionDeleted {
        bucket: BucketId,
        key: Vec<u8>,
        version: VersionId,
    },
    /// A bucket was made or its settings changed.
    BucketPut(Bucket),
    BucketDeleted {
        id: BucketId,
    },
    /// An entry of the configuration was made or has a new value.
    ConfigPut {
        name: String,
        value: Arc<[u8]>,
    },
    ConfigDeleted {
        name: String,
    },
    /// An event is to be delivered. In the batch of its change.
    EventQueued(Event),
    EventDone {
        id: EventId,
        /// Hash of the event's bucket and key.
        route: u64,
    },
    /// A version must go that has been renamed. In the batch of the object under its new key.
    RenameCommitted(Rename),
    RenameDone {
        id: RenameId,
    },
    UploadCreated {
        bucket: BucketId,
        upload: Upload,
    },
    PartPut(PartPut),
    UploadAborted {
        bucket: BucketId,
        key: Vec<u8>,
        id: UploadId,
    },
    DeleteMarkerPut(DeleteMarkerPut),
}

/// A version of a key was made, or what is stored about it changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectPut {
    pub bucket: BucketId,
    pub key: Vec<u8>,
    /// Its place among the versions of the key, and when it was made: see [`modified_of`].
    pub sequence: u64,
    /// Whether it is the null version, which replaces the one before.
    pub is_null: bool,
    /// Bytes that a client sees; what is stored of an encrypted object is longer.
    pub bytes: u64,
    pub attributes: Attributes,
    pub parts: Vec<ObjectPart>,
    /// The multipart upload that this completes.
    pub upload: Option<UploadId>,
    pub payload: StoredPayload,
}

impl ObjectPut {
    /// The name of the version.
    pub fn version(&self) -> VersionId {
        version_of(self.sequence, self.is_null)
    }

    /// When the version was made.
    pub fn modified(&self) -> TimestampMs {
        modified_of(self.sequence)
    }

    /// Bytes as they are stored: more than [`ObjectPut::bytes`] if they are encrypted.
    pub fn stored_bytes(&self) -> u64 {
        self.payload.bytes()
    }
}

/// A deletion that left the versions of its key became the newest of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeleteMarkerPut {
    pub bucket: BucketId,
    pub key: Vec<u8>,
    pub sequence: u64,
    pub is_null: bool,
}

impl DeleteMarkerPut {
    /// The name of the version.
    pub fn version(&self) -> VersionId {
        version_of(self.sequence, self.is_null)
    }
}

/// The name of the version with a sequence.
pub fn version_of(sequence: u64, is_null: bool) -> VersionId {
    if is_null { VersionId::Null } else { VersionId::Numbered(sequence) }
}

/// A part of an upload was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartPut {
    pub bucket: BucketId,
    pub key: Vec<u8>,
    pub upload: UploadId,
    pub part: Part,
    pub slices: Vec<Slice>,
}

const KIND_OBJECT_PUT: u8 = 1;
const KIND_VERSION_DELETED: u8 = 2;
const KIND_BUCKET_PUT: u8 = 3;
const KIND_BUCKET_DELETED: u8 = 4;
const KIND_UPLOAD_CREATED: u8 = 5;
const KIND_PART_PUT: u8 = 6;
const KIND_UPLOAD_ABORTED: u8 = 7;
const KIND_DELETE_MARKER_PUT: u8 = 8;
const KIND_CONFIG_PUT: u8 = 9;
const KIND_CONFIG_DELETED: u8 = 10;
const KIND_EVENT_QUEUED: u8 = 11;
const KIND_EVENT_DONE: u8 = 12;
const KIND_RENAME_COMMITTED: u8 = 13;
const KIND_RENAME_DONE: u8 = 14;

/// An encoded record, ready to be placed in a batch.
#[derive(Clone, Debug)]
pub struct EncodedRecord {
    pub header: RecordHeader,
    pub meta: Vec<u8>,
    pub payload: Bytes,
}

impl EncodedRecord {
    /// Bytes in a batch, padding included.
    pub fn padded_bytes(&self) -> usize {
        self.header.record_bytes().next_multiple_of(RECORD_ALIGNMENT)
    }
}

impl Record {
    pub fn encode(&self) -> EncodedRecord {
        let mut meta = Vec::with_capacity(256);
        let mut payload = Bytes::new();
        let kind = match self {
            Self::ObjectPut(put) => {
                put.encode(&mut meta);
                if let StoredPayload::Inline(bytes) = &put.payload {
                    payload = bytes.clone();
                }
                KIND_OBJECT_PUT
            }
            Self::VersionDeleted { bucket, key, version } => {
                meta.u64(*bucket);
                meta.short_bytes(key);
                meta.u64(match version {
                    VersionId::Null => VERSION_NULL,
                    VersionId::Numbered(sequence) => *sequence,
                });
                KIND_VERSION_DELETED
            }
            Self::BucketPut(bucket) => {
                encode_bucket(bucket, &mut meta);
                KIND_BUCKET_PUT
            }
            Self::BucketDeleted { id } => {
                meta.u64(*id);
                KIND_BUCKET_DELETED
            }
            Self::ConfigPut { name, value } => {
                encode_config(name, value, &mut meta);
                KIND_CONFIG_PUT
            }
            Self::ConfigDeleted { name } => {
                meta.short_bytes(name.as_bytes());
                KIND_CONFIG_DELETED
            }
            Self::EventQueued(event) => {
                encode_event(event, &mut meta);
                payload = event.body.clone();
                KIND_EVENT_QUEUED
            }
            Self::EventDone { id, route } => {
                encode_event_id(*id, &mut meta);
                meta.u64(*route);
                KIND_EVENT_DONE
            }
            Self::RenameCommitted(rename) => {
                encode_rename(rename, &mut meta);
                KIND_RENAME_COMMITTED
            }
            Self::RenameDone { id: (bucket, to, sequence) } => {
                meta.u64(*bucket);
                meta.short_bytes(to);
                meta.u64(*sequence);
                KIND_RENAME_DONE
            }
            Self::UploadCreated { bucket, upload } => {
                meta.u64(*bucket);
                encode_upload(upload, &mut meta);
                KIND_UPLOAD_CREATED
            }
            Self::PartPut(put) => {
                meta.u64(put.bucket);
                meta.short_bytes(&put.key);
                meta.extend_from_slice(&put.upload);
                encode_part(&put.part, &mut meta);
                encode_slices(&put.slices, &mut meta);
                KIND_PART_PUT
            }
            Self::UploadAborted { bucket, key, id } => {
                meta.u64(*bucket);
                meta.short_bytes(key);
                meta.extend_from_slice(id);
                KIND_UPLOAD_ABORTED
            }
            Self::DeleteMarkerPut(put) => {
                meta.u64(put.bucket);
                meta.short_bytes(&put.key);
                meta.u64(put.sequence);
                meta.u8(u8::from(put.is_null));
                KIND_DELETE_MARKER_PUT
            }
        };
        EncodedRecord { header: RecordHeader::of(kind, &meta, &payload), meta, payload }
    }

    /// Reads a record of `kind`; checksums were checked before.
    pub fn decode(kind: u8, meta: &[u8], payload: Bytes) -> Result<Self, Malformed> {
        let mut from = Decoder::new(meta);
        let record = match kind {
            KIND_OBJECT_PUT => Self::ObjectPut(ObjectPut::decode(&mut from, payload)?),
            KIND_VERSION_DELETED => Self::VersionDeleted {
                bucket: from.u64()?,
                key: decode_key(&mut from)?,
                version: match from.u64()? {
                    VERSION_NULL => VersionId::Null,
                    sequence => VersionId::Numbered(sequence),
                },
            },
            KIND_BUCKET_PUT => Self::BucketPut(decode_bucket(&mut from)?),
            KIND_BUCKET_DELETED => Self::BucketDeleted { id: from.u64()? },
            KIND_CONFIG_PUT => {
                let (name, value) = decode_config(&mut from)?;
                Self::ConfigPut { name, value }
            }
            KIND_CONFIG_DELETED => Self::ConfigDeleted { name: from.string()? },
            KIND_EVENT_QUEUED => Self::EventQueued(decode_event(&mut from, payload)?),
            KIND_EVENT_DONE => Self::EventDone { id: decode_event_id(&mut from)?, route: from.u64()? },
            KIND_RENAME_COMMITTED => Self::RenameCommitted(decode_rename(&mut from)?),
            KIND_RENAME_DONE => Self::RenameDone { id: (from.u64()?, decode_key(&mut from)?, from.u64()?) },
            KIND_UPLOAD_CREATED => {
                Self::UploadCreated { bucket: from.u64()?, upload: decode_upload(&mut from)? }
            }
            KIND_PART_PUT => Self::PartPut(PartPut {
                bucket: from.u64()?,
                key: decode_key(&mut from)?,
                upload: from.array()?,
                part: decode_part(&mut from)?,
                slices: decode_slices(&mut from)?,
            }),
            KIND_UPLOAD_ABORTED => {
                Self::UploadAborted { bucket: from.u64()?, key: decode_key(&mut from)?, id: from.array()? }
            }
            KIND_DELETE_MARKER_PUT => Self::DeleteMarkerPut(DeleteMarkerPut {
                bucket: from.u64()?,
                key: decode_key(&mut from)?,
                sequence: from.u64()?,
                is_null: decode_bool(&mut from)?,
            }),
            _ => return Err(Malformed),
        };
        if from.is_empty() { Ok(record) } else { Err(Malformed) }
    }

    /// The bucket and key that the record is about, if it is about one.
    pub fn key(&self) -> Option<(BucketId, &[u8])> {
        match self {
            Self::ObjectPut(put) => Some((put.bucket, &put.key)),
            Self::VersionDeleted { bucket, key, .. } | Self::UploadAborted { bucket, key, .. } => {
                Some((*bucket, key))
            }
            Self::DeleteMarkerPut(put) => Some((put.bucket, &put.key)),
            Self::UploadCreated { bucket, upload } => Some((*bucket, &upload.key)),
            Self::PartPut(put) => Some((put.bucket, &put.key)),
            Self::BucketPut(_) | Self::BucketDeleted { .. } => None,
            Self::ConfigPut { .. } | Self::ConfigDeleted { .. } => None,
            Self::EventQueued(event) => Some((event.bucket, &event.key)),
            Self::EventDone { .. } => None,
            Self::RenameCommitted(rename) => Some((rename.bucket, &rename.to)),
            Self::RenameDone { id: (bucket, to, _) } => Some((*bucket, to)),
        }
    }

    /// The core that owns the record, among `cores`.
    pub fn owner(&self, cores: usize) -> usize {
        match (self, self.key()) {
            (Self::EventDone { route, .. }, _) => core_of(*route, cores),
            (_, Some((bucket, key))) => owner_of(bucket, key, cores),
            (_, None) => 0,
        }
    }
}

/// Encoded length of an object's part without a checksum.
const OBJECT_PART_BYTES_MIN: usize = 2 + 8 + 1 + 1;

/// Stands for the null version where a deletion names a version; no version has this sequence.
const VERSION_NULL: u64 = 0;

impl ObjectPut {
    fn encode(&self, out: &mut Vec<u8>) {
        out.u64(self.bucket);
        out.short_bytes(&self.key);
        out.u64(self.sequence);
        out.u8(u8::from(self.is_null));
        out.u64(self.bytes);
        encode_etag(&self.attributes.etag, out);
        encode_checksum(self.attributes.checksum.as_ref(), out);
        encode_headers(&self.attributes.headers, out);
        encode_lock(&self.attributes.lock, out);
        match &self.upload {
            Some(id) => {
                out.u8(1);
                out.extend_from_slice(id);
            }
            None => out.u8(0),
        }
        out.u32(self.parts.len() as u32);
        for part in &self.parts {
            out.u16(part.number);
            out.u64(part.bytes);
            encode_checksum(part.checksum.as_ref(), out);
            encode_note(&part.note, out);
        }
        match &self.payload {
            StoredPayload::Inline(_) => out.u8(0),
            StoredPayload::Slices(slices) => {
                out.u8(1);
                encode_slices(slices, out);
            }
        }
    }

    fn decode(from: &mut Decoder<'_>, payload: Bytes) -> Result<Self, Malformed> {
        let bucket = from.u64()?;
        let key = decode_key(from)?;
        let sequence = from.u64()?;
        let is_null = decode_bool(from)?;
        let bytes = from.u64()?;
        let attributes = Attributes {
            etag: decode_etag(from)?,
            checksum: decode_checksum(from)?,
            headers: decode_headers(from)?,
            lock: decode_lock(from)?,
        };
        let upload = match from.u8()? {
            0 => None,
            1 => Some(from.array()?),
            _ => return Err(Malformed),
        };
        let count = from.count(OBJECT_PART_BYTES_MIN)?;
        let mut parts = Vec::with_capacity(count);
        for _ in 0..count {
            parts.push(ObjectPart {
                number: from.u16()?,
                bytes: from.u64()?,
                checksum: decode_checksum(from)?,
                note: decode_note(from)?,
            });
        }
        let payload = match from.u8()? {
            0 => StoredPayload::Inline(payload),
            1 => StoredPayload::Slices(decode_slices(from)?),
            _ => return Err(Malformed),
        };
        Ok(Self { bucket, key, sequence, is_null, bytes, attributes, parts, upload, payload })
    }
}

#[cfg(test)]
mod tests;
