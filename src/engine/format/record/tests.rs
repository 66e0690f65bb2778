//! Records read what they write, and survive what they did not.

use super::*;
use crate::base::checksum::{Checksum, ChecksumAlgorithm, ChecksumKind};
use crate::base::etag::ETag;
use crate::engine::events::EventChange;
use crate::engine::format::ExtentId;
use crate::engine::types::Headers;
use crate::engine::version::{Lock, Retention, RetentionMode, Versioning};
use proptest::prelude::*;

fn checksum() -> impl Strategy<Value = Option<Checksum>> {
    proptest::option::of((0..5usize, any::<bool>(), any::<u8>()).prop_map(|(algorithm, full, fill)| {
        let algorithm = ChecksumAlgorithm::ALL[algorithm];
        let kind = if full { ChecksumKind::FullObject } else { ChecksumKind::Composite };
        Checksum { algorithm, kind, value: vec![fill; algorithm.length()] }
    }))
}

fn slices() -> impl Strategy<Value = Vec<Slice>> {
    proptest::collection::vec((any::<u32>(), 0..u32::MAX / 2, 1..1000u32, 0..1000u32), 1..5).prop_map(
        |list| {
            list.into_iter()
                .map(|(segment, block, length, start)| Slice {
                    extent: ExtentId { segment, block },
                    extent_bytes: start + length,
                    start,
                    length,
                })
                .collect()
        },
    )
}

fn headers() -> impl Strategy<Value = Headers> {
    proptest::collection::vec(("[a-z-]{1,9}", proptest::collection::vec(any::<u8>(), 0..9)), 0..4)
}

fn lock() -> impl Strategy<Value = Lock> {
    let mode = prop_oneof![Just(RetentionMode::Governance), Just(RetentionMode::Compliance)];
    let retention = (mode, any::<u64>()).prop_map(|(mode, until)| Retention { mode, until });
    (proptest::option::of(retention), any::<bool>())
        .prop_map(|(retention, legal_hold)| Lock { retention, legal_hold })
}

fn etag() -> impl Strategy<Value = ETag> {
    (any::<[u8; 16]>(), any::<u16>()).prop_map(|(digest, parts)| ETag { digest, parts })
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..40)
}

fn record() -> impl Strategy<Value = Record> {
    let payload = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..100).prop_map(|bytes| StoredPayload::Inline(bytes.into())),
        slices().prop_map(StoredPayload::Slices),
    ];
    let put =
        (key(), any::<[u64; 3]>(), etag(), checksum(), headers(), lock(), any::<Option<UploadId>>(), payload);
    let put =
        put.prop_map(|(key, [bucket, sequence, bytes], etag, checksum, headers, lock, upload, payload)| {
            let parts =
                vec![ObjectPart { number: 3, bytes: 7, checksum: checksum.clone(), note: vec![1, 2] }];
            let attributes = Attributes { etag, checksum, headers, lock };
            Record::ObjectPut(ObjectPut {
                bucket,
                key,
                sequence,
                is_null: sequence % 2 == 0,
                bytes,
                attributes,
                parts,
                upload,
                payload,
            })
        });
    let part = (key(), any::<UploadId>(), etag(), checksum(), slices());
    let part = part.prop_map(|(key, upload, etag, checksum, slices)| {
        let part = Part { number: 9, bytes: 8, etag, checksum, modified: 5, note: vec![3] };
        Record::PartPut(PartPut { bucket: 4, key, upload, part, slices })
    });
    let upload = (key(), any::<UploadId>(), headers()).prop_map(|(key, id, headers)| Record::UploadCreated {
        bucket: 4,
        upload: Upload { key, id, initiated: 6, headers },
    });
    let version = prop_oneof![Just(VersionId::Null), (1..u64::MAX).prop_map(VersionId::Numbered)];
    let deleted =
        (key(), version).prop_map(|(key, version)| Record::VersionDeleted { bucket: 1, key, version });
    let marker = (key(), any::<u64>(), any::<bool>()).prop_map(|(key, sequence, is_null)| {
        Record::DeleteMarkerPut(DeleteMarkerPut { bucket: 3, key, sequence, is_null })
    });
    let aborted =
        (key(), any::<UploadId>()).prop_map(|(key, id)| Record::UploadAborted { bucket: 2, key, id });
    let bucket = "[a-z]{3,9}".prop_map(|name| {
        let settings = [(name.clone(), name.clone().into_bytes())].into();
        Record::BucketPut(Bucket { id: 8, name, created: 9, versioning: Versioning::Suspended, settings })
    });
    let gone = any::<u64>().prop_map(|id| Record::BucketDeleted { id });
    let config = ("[a-z/]{1,9}", proptest::collection::vec(any::<u8>(), 0..9))
        .prop_map(|(name, value)| Record::ConfigPut { name, value: value.into() });
    let config_gone = "[a-z/]{1,9}".prop_map(|name| Record::ConfigDeleted { name });
    let event = (key(), any::<[u64; 3]>(), 1..5u8, any::<Option<u64>>(), any::<Vec<u8>>());
    let event = event.prop_map(|(key, [sequence, unique, bucket], change, version, body)| {
        Record::EventQueued(Event {
            id: EventId { sequence, unique },
            bucket,
            key,
            change: EventChange::from_code(change).expect("one of four"),
            version: version.map(|it| if it % 2 == 0 { VersionId::Null } else { VersionId::Numbered(it) }),
            body: body.into(),
        })
    });
    let event_done = any::<[u64; 3]>()
        .prop_map(|[sequence, unique, route]| Record::EventDone { id: EventId { sequence, unique }, route });
    let rename =
        (key(), key(), any::<[u64; 3]>()).prop_map(|(to, from, [bucket, sequence, from_sequence])| {
            Record::RenameCommitted(Rename { bucket, to, sequence, from, from_sequence })
        });
    let rename_done = key().prop_map(|to| Record::RenameDone { id: (4, to, 5) });
    let owed = prop_oneof![event, event_done, rename, rename_done];
    prop_oneof![owed, put, part, upload, deleted, marker, aborted, bucket, gone, config, config_gone]
}

proptest! {
    #[test]
    fn a_record_reads_what_it_writes(record in record()) {
        let encoded = record.encode();
        let header = RecordHeader::decode(&encoded.header.encode()).unwrap();
        prop_assert!(header.check_meta(&encoded.meta) && header.check_payload(&encoded.payload));
        prop_assert_eq!(Record::decode(header.kind, &encoded.meta, encoded.payload), Ok(record));
    }

    #[test]
    fn arbitrary_bytes_never_panic(kind in any::<u8>(), meta in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Record::decode(kind, &meta, Bytes::new());
        let _ = RecordHeader::decode(&meta);
    }

    #[test]
    fn a_damaged_record_never_panics(record in record(), position in any::<usize>(), bit in 0..8u8) {
        let mut encoded = record.encode();
        let position = position % encoded.meta.len();
        encoded.meta[position] ^= 1u8 << bit;
        prop_assert!(!encoded.header.check_meta(&encoded.meta));
        let _ = Record::decode(encoded.header.kind, &encoded.meta, encoded.payload);
    }
}
