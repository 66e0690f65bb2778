//! The drawings of `docs/FORMAT.md`, byte by byte: whoever moves a field learns it here.

use bytes::Bytes;

use super::checkpoint::*;
use super::record::*;
use super::segment::*;
use super::superblock::Superblock;
use super::{ExtentId, Location, Slice};
use crate::base::checksum::{Checksum, ChecksumAlgorithm, ChecksumKind};
use crate::base::etag::ETag;
use crate::base::limits::BLOCK_BYTES;
use crate::engine::events::{Event, EventChange, EventId};
use crate::engine::index::{
    ChecksumCode, Entry, EntryFlags, EntryPayload, EventEntry, PartEntry, UploadEntry,
};
use crate::engine::log::LogPosition;
use crate::engine::rename::Rename;
use crate::engine::types::{Attributes, Bucket, ObjectPart, Part, Upload};
use crate::engine::version::{Lock, Retention, RetentionMode, VersionId, Versioning};

const NODE: [u8; 16] = *b"0123456789abcdef";

/// Bytes of a drawing, appended field by field.
#[derive(Default)]
struct Drawing(Vec<u8>);

impl Drawing {
    /// The next field, which must begin at `offset`.
    fn at(mut self, offset: usize, field: impl AsRef<[u8]>) -> Self {
        assert_eq!(self.0.len(), offset, "the drawing has a gap or an overlap");
        self.0.extend_from_slice(field.as_ref());
        self
    }

    /// The next field of a structure without fixed offsets.
    fn then(mut self, field: impl AsRef<[u8]>) -> Self {
        self.0.extend_from_slice(field.as_ref());
        self
    }

    /// The checksum of everything so far.
    fn crc_at(self, offset: usize) -> Self {
        let crc = crc32c::crc32c(&self.0);
        self.at(offset, crc.to_le_bytes())
    }

    fn zeros_to(mut self, length: usize) -> Vec<u8> {
        self.0.resize(length, 0);
        self.0
    }
}

fn u8(value: u8) -> [u8; 1] {
    [value]
}

fn u16(value: u16) -> [u8; 2] {
    value.to_le_bytes()
}

fn u32(value: u32) -> [u8; 4] {
    value.to_le_bytes()
}

fn u64(value: u64) -> [u8; 8] {
    value.to_le_bytes()
}

#[test]
fn the_superblock_is_drawn() {
    let losses_before = 6;
    let superblock =
        Superblock { node: NODE, drive: 1, drives: 2, epoch: 3, generation: 4, cores: 5, losses_before };
    let drawn = Drawing::default()
        .at(0, b"RINGCASK")
        .at(8, u32(3))
        .at(12, NODE)
        .at(28, u32(1))
        .at(32, u32(2))
        .at(36, u64(3))
        .at(44, u32(4))
        .at(48, u32(5))
        .at(52, u32(6))
        .crc_at(56)
        .zeros_to(BLOCK_BYTES);
    assert_eq!(superblock.encode(), drawn);
}

#[test]
fn the_header_of_a_segment_is_drawn() {
    for (kind, magic) in [(SegmentKind::Log, b"RLOG"), (SegmentKind::Data, b"RDAT")] {
        let header =
            SegmentHeader { kind, id: 1, node: NODE, generation: 2, shard: 3, epoch: 4, nonce: 5, bytes: 6 };
        let drawn = Drawing::default()
            .at(0, magic)
            .at(4, u32(1))
            .at(8, NODE)
            .at(24, u32(2))
            .at(28, u32(3))
            .at(32, u64(4))
            .at(40, u64(5))
            .at(48, u64(6))
            .crc_at(56)
            .zeros_to(BLOCK_BYTES);
        assert_eq!(header.encode(), drawn);
    }
}

#[test]
fn the_header_of_a_batch_is_drawn() {
    let header = BatchHeader {
        segment: 1,
        nonce: 2,
        sequence: 3,
        previous_segment: 4,
        previous_offset: 5,
        bytes: 600,
        records: 7,
        digest: 8,
    };
    let drawn = Drawing::default()
        .at(0, b"RBCH")
        .at(4, u32(1))
        .at(8, u64(2))
        .at(16, u64(3))
        .at(24, u32(4))
        .at(28, u32(5))
        .at(32, u32(600))
        .at(36, u32(7))
        .at(40, u32(8))
        .crc_at(44);
    assert_eq!(header.encode(), *drawn.0);
    assert_eq!(BATCH_HEADER_BYTES, 48);
    assert!(BATCH_HEADER_BYTES.is_multiple_of(RECORD_ALIGNMENT), "the first record follows at once");
}

#[test]
fn the_header_of_a_record_is_drawn() {
    let (meta, payload) = (b"meta", b"payload");
    let covered = Drawing::default().at(0, u32(4)).at(4, u32(7)).at(8, u8(9)).zeros_to(16);
    let payload_crc = u32(crc32c::crc32c(payload));
    let meta_crc = crc32c::crc32c(&[&payload_crc[..], &covered, meta].concat());
    let drawn = Drawing::default().at(0, u32(meta_crc)).at(4, payload_crc).at(8, covered);
    assert_eq!(RecordHeader::of(9, meta, payload).encode(), *drawn.0);
    assert_eq!(RECORD_HEADER_BYTES, 24);
}

#[test]
fn the_checksum_block_of_an_extent_is_drawn() {
    let extent = ExtentId { segment: 1, block: 2 };
    let trailer = ExtentTrailer { extent, payload_bytes: 70_000, checksums: vec![3, 4] };
    let mut drawn = Drawing::default()
        .at(0, b"REXT")
        .at(4, u32(0))
        .at(8, u32(1))
        .at(12, u32(2))
        .at(16, u32(70_000))
        .at(20, u32(2))
        .at(24, [0; 40])
        .at(64, u32(3))
        .at(68, u32(4))
        .zeros_to(BLOCK_BYTES);
    let crc = crc32c::crc32c(&drawn);
    drawn[4..8].copy_from_slice(&u32(crc));
    assert_eq!(trailer.encode(), drawn);
}

#[test]
fn a_checkpoint_is_drawn() {
    let position =
        LogPosition { segment: 5, offset: 6, sequence: 7, previous_segment: 8, previous_offset: 9 };
    let header = CheckpointHeader {
        node: NODE,
        generation: 1,
        shard: 2,
        cores: 3,
        sequence: 4,
        position,
        chunks: 10,
        entries: 11,
    };
    let drawn = Drawing::default()
        .at(0, b"RCKP")
        .at(4, NODE)
        .at(20, u32(1))
        .at(24, u32(2))
        .at(28, u32(3))
        .at(32, u32(4))
        .at(36, u32(5))
        .at(40, u32(6))
        .at(44, u64(7))
        .at(52, u32(8))
        .at(56, u32(9))
        .at(60, u32(10))
        .at(64, u64(11))
        .at(72, u32(0))
        .crc_at(76)
        .zeros_to(BLOCK_BYTES);
    assert_eq!(header.encode(), drawn);

    let covered = [&NODE[..], &u32(1), &u32(2), &u32(4), &u32(10), b"entries"].concat();
    let crc = crc32c::crc32c(&covered);
    let drawn = Drawing::default()
        .at(0, b"RCHK")
        .at(4, u32(crc))
        .at(8, u32(7))
        .at(12, u32(10))
        .at(16, b"entries")
        .zeros_to(BLOCK_BYTES);
    assert_eq!(encode_chunk(&header, 10, b"entries"), drawn);
    assert_eq!(CHUNK_HEADER_BYTES, 16);
}

/// The parts that records and checkpoints are made of, each with its drawing.
mod parts {
    use super::*;

    pub fn etag() -> (ETag, Vec<u8>) {
        let drawn = Drawing::default().at(0, NODE).at(16, u16(2));
        (ETag { digest: NODE, parts: 2 }, drawn.0)
    }

    pub fn checksum() -> (Checksum, Vec<u8>) {
        let algorithm = ChecksumAlgorithm::Crc64Nvme;
        let checksum = Checksum { algorithm, kind: ChecksumKind::FullObject, value: b"checksum".to_vec() };
        (checksum, Drawing::default().at(0, u8(3)).at(1, u8(1)).at(2, b"checksum").0)
    }

    pub fn headers() -> (Vec<(String, Vec<u8>)>, Vec<u8>) {
        let drawn = Drawing::default().then(u32(1)).then(u16(4)).then(b"name").then(u32(5)).then(b"value");
        (vec![("name".into(), b"value".to_vec())], drawn.0)
    }

    pub fn slices() -> (Vec<Slice>, Vec<u8>) {
        let extent = ExtentId { segment: 1, block: 2 };
        let slice = Slice { extent, extent_bytes: 300, start: 4, length: 5 };
        let drawn = Drawing::default().at(0, u32(1)).at(4, u32(1)).at(8, u32(2));
        let drawn = drawn.at(12, u32(300)).at(16, u32(4)).at(20, u32(5));
        (vec![slice], drawn.0)
    }

    pub fn part() -> (Part, Vec<u8>) {
        let (etag, drawn_etag) = etag();
        let part = Part { number: 6, bytes: 5, etag, checksum: None, modified: 7, note: b"n".to_vec() };
        let drawn = Drawing::default().at(0, u16(6)).at(2, u64(5)).at(10, drawn_etag);
        (part, drawn.at(28, u8(0)).at(29, u64(7)).at(37, u8(1)).at(38, b"n").0)
    }

    pub fn upload() -> (Upload, Vec<u8>) {
        let (headers, drawn_headers) = headers();
        let drawn = Drawing::default().then(u16(3)).then(b"key").then(NODE).then(u64(8)).then(drawn_headers);
        (Upload { key: b"key".to_vec(), id: NODE, initiated: 8, headers }, drawn.0)
    }

    pub fn bucket() -> (Bucket, Vec<u8>) {
        let settings = [("name".to_owned(), b"value".to_vec())].into();
        let drawn = Drawing::default().then(u64(9)).then(u16(6)).then(b"bucket").then(u64(10));
        let drawn = drawn.then(u8(1)).then(headers().1);
        let versioning = Versioning::Enabled;
        (Bucket { id: 9, name: "bucket".into(), created: 10, versioning, settings }, drawn.0)
    }

    pub fn rename() -> (Rename, Vec<u8>) {
        let drawn = Drawing::default().at(0, u64(9)).at(8, u16(3)).at(10, b"key").at(13, u64(7));
        let drawn = drawn.at(21, u16(3)).at(23, b"old").at(26, u64(8)).0;
        let (to, from) = (b"key".to_vec(), b"old".to_vec());
        (Rename { bucket: 9, to, sequence: 7, from, from_sequence: 8 }, drawn)
    }

    pub fn location() -> (Location, Vec<u8>) {
        let drawn = Drawing::default().at(0, u32(11)).at(4, u32(12)).at(8, u32(13));
        (Location { segment: 11, offset: 12, length: 13 }, drawn.0)
    }
}

fn assert_drawn(record: &Record, kind: u8, drawn: Drawing) {
    let encoded = record.encode();
    assert_eq!((encoded.header.kind, encoded.meta), (kind, drawn.0), "{record:?}");
}

#[test]
fn the_record_of_an_object_is_drawn() {
    let (etag, drawn_etag) = parts::etag();
    let (checksum, drawn_checksum) = parts::checksum();
    let (headers, drawn_headers) = parts::headers();
    let (slices, drawn_slices) = parts::slices();
    let lock =
        Lock { retention: Some(Retention { mode: RetentionMode::Compliance, until: 13 }), legal_hold: true };
    let attributes = Attributes { etag, checksum: Some(checksum.clone()), headers, lock };
    let put = ObjectPut {
        bucket: 9,
        key: b"key".to_vec(),
        sequence: 12,
        is_null: true,
        bytes: 5,
        attributes,
        parts: vec![ObjectPart { number: 6, bytes: 5, checksum: Some(checksum), note: b"n".to_vec() }],
        upload: Some(NODE),
        payload: StoredPayload::Slices(slices),
    };
    let begin = || Drawing::default().at(0, u64(9)).at(8, u16(3)).at(10, b"key").then(u64(12)).then(u8(1));
    let drawn = begin().then(u64(5)).then(&drawn_etag).then(&drawn_checksum).then(&drawn_headers);
    let drawn = drawn.then(u8(0x82)).then(u64(13)).then(u8(1)).then(NODE);
    let drawn = drawn.then(u32(1)).then(u16(6)).then(u64(5)).then(drawn_checksum).then(u8(1)).then(b"n");
    assert_drawn(&Record::ObjectPut(put.clone()), 1, drawn.then(u8(1)).then(drawn_slices));

    let attributes = Attributes { etag, checksum: None, headers: Vec::new(), lock: Lock::default() };
    let payload = StoredPayload::Inline(Bytes::from_static(b"bytes"));
    let small = ObjectPut { attributes, parts: Vec::new(), upload: None, payload, ..put };
    let drawn = begin().then(u64(5)).then(drawn_etag).then(u8(0)).then(u32(0)).then(u8(0));
    let drawn = drawn.then(u8(0)).then(u32(0)).then(u8(0));
    assert_eq!(Record::ObjectPut(small.clone()).encode().payload, b"bytes"[..]);
    assert_drawn(&Record::ObjectPut(small), 1, drawn);
}

#[test]
fn the_other_records_are_drawn() {
    let key = b"key".to_vec();
    let begin = || Drawing::default().at(0, u64(9)).at(8, u16(3)).at(10, b"key");
    for (version, drawn) in [(VersionId::Null, u64(0)), (VersionId::Numbered(5), u64(5))] {
        let record = Record::VersionDeleted { bucket: 9, key: key.clone(), version };
        assert_drawn(&record, 2, begin().then(drawn));
    }
    let marker = DeleteMarkerPut { bucket: 9, key: key.clone(), sequence: 12, is_null: true };
    assert_drawn(&Record::DeleteMarkerPut(marker), 8, begin().then(u64(12)).then(u8(1)));
    let (bucket, drawn) = parts::bucket();
    assert_drawn(&Record::BucketPut(bucket), 3, Drawing::default().then(drawn));
    assert_drawn(&Record::BucketDeleted { id: 9 }, 4, Drawing::default().at(0, u64(9)));
    let config = Record::ConfigPut { name: "name".into(), value: b"value"[..].into() };
    let drawn = || Drawing::default().at(0, u16(4)).at(2, b"name");
    assert_drawn(&config, 9, drawn().at(6, u32(5)).at(10, b"value"));
    assert_drawn(&Record::ConfigDeleted { name: "name".into() }, 10, drawn());
    assert_drawn(&Record::EventDone { id: EventId { sequence: 1, unique: 2 }, route: 3 }, 12, {
        Drawing::default().at(0, u64(1)).at(8, u64(2)).at(16, u64(3))
    });
    let (rename, drawn) = parts::rename();
    assert_drawn(&Record::RenameDone { id: rename.id() }, 14, begin().then(u64(7)));
    assert_drawn(&Record::RenameCommitted(rename), 13, Drawing::default().then(drawn));
    let (upload, drawn) = parts::upload();
    let record = Record::UploadCreated { bucket: 9, upload };
    assert_drawn(&record, 5, Drawing::default().at(0, u64(9)).then(drawn));
    let ((part, drawn_part), (slices, drawn_slices)) = (parts::part(), parts::slices());
    let record = Record::PartPut(PartPut { bucket: 9, key: key.clone(), upload: NODE, part, slices });
    assert_drawn(&record, 6, begin().then(NODE).then(drawn_part).then(drawn_slices));
    assert_drawn(&Record::UploadAborted { bucket: 9, key, id: NODE }, 7, begin().then(NODE));
}

#[test]
fn the_record_of_an_event_is_drawn() {
    for (version, drawn_version) in [
        (None, u8(0).to_vec()),
        (Some(VersionId::Null), u8(1).to_vec()),
        (Some(VersionId::Numbered(5)), [&u8(2)[..], &u64(5)].concat()),
    ] {
        let event = Event {
            id: EventId { sequence: 1, unique: 2 },
            bucket: 9,
            key: b"key".to_vec(),
            change: EventChange::Removed,
            version,
            body: Bytes::from_static(b"body"),
        };
        let drawn = Drawing::default().at(0, u64(1)).at(8, u64(2)).at(16, u64(9)).at(24, u16(3));
        let drawn = drawn.at(26, b"key").then(u8(3)).then(drawn_version);
        assert_eq!(Record::EventQueued(event.clone()).encode().payload, b"body"[..]);
        assert_drawn(&Record::EventQueued(event), 11, drawn);
    }
}

#[test]
fn the_entries_of_a_checkpoint_are_drawn() {
    let (location, drawn_location) = parts::location();
    let mut out = Vec::new();
    let (bucket, drawn) = parts::bucket();
    encode_bucket_entry(&bucket, location, &mut out);
    assert_eq!(out, Drawing::default().at(0, u8(1)).at(1, &drawn_location).at(13, drawn).0);

    let ((etag, drawn_etag), (slices, drawn_slices)) = (parts::etag(), parts::slices());
    let begin = || Drawing::default().at(0, u8(2)).at(1, u64(9)).at(9, u16(3)).at(11, b"key");
    let begin = || begin().then(u64(5)).then(u64(12)).then(u8(5)).then(&drawn_etag).then(u8(0x13));
    for (payload, drawn) in [
        (EntryPayload::Inline, u8(0).to_vec()),
        (EntryPayload::of_slices(slices.clone()), [&u8(1)[..], &drawn_slices].concat()),
    ] {
        let entry = Entry {
            bytes: 5,
            sequence: 12,
            etag,
            checksum: ChecksumCode(0x13),
            flags: EntryFlags::new(true, false, true),
            location,
            payload,
        };
        let mut out = Vec::new();
        encode_object_entry(9, b"key", &entry, &mut out);
        assert_eq!(out, begin().then(&drawn_location).then(drawn).0);
    }

    let mut out = Vec::new();
    encode_config_entry("name", b"value", location, &mut out);
    let mut event = Vec::new();
    encode_event_entry(EventId { sequence: 1, unique: 2 }, EventEntry { route: 3, location }, &mut event);
    let drawn = Drawing::default().at(0, u8(5)).at(1, &drawn_location).at(13, u64(1)).at(21, u64(2));
    assert_eq!(event, drawn.at(29, u64(3)).0);
    let (mut entry, (rename, drawn_rename)) = (Vec::new(), parts::rename());
    encode_rename_entry(&rename, location, &mut entry);
    assert_eq!(entry, Drawing::default().at(0, u8(6)).at(1, &drawn_location).at(13, drawn_rename).0);
    let drawn = Drawing::default().at(0, u8(4)).at(1, &drawn_location).at(13, u16(4)).at(15, b"name");
    assert_eq!(out, drawn.at(19, u32(5)).at(23, b"value").0);

    let ((upload, drawn_upload), (part, drawn_part)) = (parts::upload(), parts::part());
    let entry =
        UploadEntry { upload, location, parts: [(part.number, PartEntry { part, slices, location })].into() };
    let mut out = Vec::new();
    encode_upload_entry(9, &entry, &mut out);
    let drawn = Drawing::default().at(0, u8(3)).at(1, u64(9)).at(9, &drawn_location).at(21, drawn_upload);
    let drawn = drawn.then(u32(1)).then(drawn_location).then(drawn_part).then(drawn_slices);
    assert_eq!(out, drawn.0);
}

/// A count says how many elements follow; readers refuse counts that the rest of the record can't hold.
#[test]
fn an_object_of_many_parts_without_bytes_and_checksums_can_be_read() {
    let part = |number| ObjectPart { number, bytes: 0, checksum: None, note: Vec::new() };
    let record = Record::ObjectPut(ObjectPut {
        bucket: 9,
        key: b"key".to_vec(),
        sequence: 12,
        is_null: false,
        bytes: 0,
        attributes: Attributes {
            etag: parts::etag().0,
            checksum: None,
            headers: Vec::new(),
            lock: Lock::default(),
        },
        parts: (1..=100).map(part).collect(),
        upload: Some(NODE),
        payload: StoredPayload::Slices(Vec::new()),
    });
    let encoded = record.encode();
    assert_eq!(Record::decode(encoded.header.kind, &encoded.meta, encoded.payload), Ok(record));
}
