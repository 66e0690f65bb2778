//! The index against definitions.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::listing::{Fold, Row, ShardPage, listed};
use super::*;
use crate::engine::types::{Attributes, ListQuery, ListedObject};
use bytes::Bytes;

fn location(offset: u32) -> Location {
    Location { segment: 1, offset, length: 10 }
}

fn put(key: &[u8], bytes: u64) -> Record {
    let attributes = Attributes {
        etag: ETag::of_md5([0; 16]),
        checksum: None,
        headers: Vec::new(),
        lock: Default::default(),
    };
    Record::ObjectPut(ObjectPut {
        bucket: 1,
        key: key.to_vec(),
        sequence: 0,
        is_null: true,
        bytes,
        attributes,
        parts: Vec::new(),
        upload: None,
        payload: StoredPayload::Inline(Bytes::new()),
    })
}

/// A page by the definition, without seeking.
fn list_by_definition(objects: &BTreeMap<Box<[u8]>, Entry>, query: &ListQuery) -> ShardPage<ListedObject> {
    let fold = Fold { prefix: &query.prefix, delimiter: &query.delimiter };
    let mut rows: Vec<Row<ListedObject>> = Vec::new();
    for (key, entry) in objects {
        if !key.starts_with(&query.prefix) || **key <= *query.after {
            continue;
        }
        let row = match fold.common_prefix(key) {
            Some(common) if common == query.after => continue,
            Some(common) => Row::CommonPrefix(common.to_vec()),
            None => Row::Item(listed(key, entry)),
        };
        if rows.last() != Some(&row) {
            rows.push(row);
        }
    }
    let more = rows.len() > query.count_max;
    rows.truncate(query.count_max);
    ShardPage { rows, more }
}

/// Short keys over few letters, so that prefixes, delimiters and markers meet; 0xff tests the successor.
fn key() -> impl Strategy<Value = Vec<u8>> {
    let letter = prop_oneof![Just(b'a'), Just(b'b'), Just(b'/'), Just(0xff)];
    proptest::collection::vec(letter, 0..5)
}

proptest! {
    #[test]
    fn a_page_found_by_seeking_is_the_page_of_the_definition(
        keys in proptest::collection::btree_set(key(), 0..40),
        prefix in key(), delimiter in proptest::collection::vec(prop_oneof![Just(b'/'), Just(b'a')], 0..3),
        after in key(), count_max in 0..8usize,
    ) {
        let mut index = Index::default();
        for key in keys.iter().filter(|key| !key.is_empty()) {
            index.apply(put(key, 1), location(0));
        }
        let query = ListQuery { prefix, delimiter, after, count_max };
        let shard = index.buckets.entry(1).or_default();
        let objects = shard.walk_objects(std::ops::Bound::Unbounded);
        let objects = objects.map(|(key, entry)| (key.into(), entry)).collect();
        prop_assert_eq!(shard.list(&query), list_by_definition(&objects, &query));
    }

    #[test]
    fn usage_is_what_a_count_says(steps in proptest::collection::vec((key(), any::<bool>(), 0..100u64), 0..60)) {
        let mut index = Index::default();
        for (step, (key, remove, bytes)) in steps.into_iter().enumerate() {
            if remove {
                index.apply(Record::VersionDeleted { bucket: 1, key, version: VersionId::Null }, location(0));
            } else {
                index.apply(put(&key, bytes), location(step as u32));
            }
            let shard = index.buckets.entry(1).or_default();
            let bytes = shard.entries().map(|entry| entry.bytes).sum();
            prop_assert_eq!(shard.usage(), Usage { objects: shard.objects.len() as u64, versions: 0, bytes });
            let live = 10 * shard.objects.len() as u64;
            prop_assert_eq!(index.live_log_bytes(), live);
        }
    }
}

#[test]
fn conditions_are_decided_on_what_is_there() {
    let mut index = Index::default();
    let absent = Condition { absent: true, ..Condition::default() };
    let any = Condition { matches: Some(ETagMatch::Any), ..Condition::default() };
    assert_eq!(Entry::check(index.object(1, b"k").as_ref(), &absent), Ok(()));
    assert_eq!(Entry::check(index.object(1, b"k").as_ref(), &any), Err(EngineError::ConditionOnMissing));
    index.apply(put(b"k", 5), location(0));
    assert_eq!(Entry::check(index.object(1, b"k").as_ref(), &absent), Err(EngineError::ConditionFailed));
    assert_eq!(Entry::check(index.object(1, b"k").as_ref(), &any), Ok(()));
    let size = Condition { size: Some(6), ..Condition::default() };
    assert_eq!(Entry::check(index.object(1, b"k").as_ref(), &size), Err(EngineError::ConditionFailed));
    let differs = |etag| Condition { differs: vec![etag], ..Condition::default() };
    let etag = index.object(1, b"k").unwrap().etag;
    assert_eq!(
        Entry::check(index.object(1, b"k").as_ref(), &differs(etag)),
        Err(EngineError::ConditionFailed)
    );
    assert_eq!(Entry::check(index.object(1, b"k").as_ref(), &differs(ETag::of_md5([9; 16]))), Ok(()));
    assert_eq!(Entry::check(None, &differs(etag)), Ok(()));
}

/// A change of a key's versions, as the index is told of it.
#[derive(Clone, Debug)]
enum Step {
    Put { key: u8, sequence: u64, is_null: bool },
    Marker { key: u8, sequence: u64, is_null: bool },
    Delete { key: u8, version: VersionId },
}

fn step() -> impl Strategy<Value = Step> {
    let version = prop_oneof![Just(VersionId::Null), (1..9u64).prop_map(VersionId::Numbered)];
    // Sequences of null versions are others than those of numbered ones, as the owner of a key gives them.
    let made = (0..3u8, 1..9u64, any::<bool>()).prop_map(|(key, sequence, is_null)| {
        (key, if is_null { sequence + 100 * (sequence % 2) + 10 } else { sequence }, is_null)
    });
    prop_oneof![
        4 => made.clone().prop_map(|(key, sequence, is_null)| Step::Put { key, sequence, is_null }),
        2 => made.prop_map(|(key, sequence, is_null)| Step::Marker { key, sequence, is_null }),
        3 => (0..3u8, version).prop_map(|(key, version)| Step::Delete { key, version }),
    ]
}

fn put_version(key: u8, sequence: u64, is_null: bool) -> Record {
    let Record::ObjectPut(put) = put(&[key], sequence) else { unreachable!("put() makes no other record") };
    Record::ObjectPut(ObjectPut { sequence, is_null, ..put })
}

/// Versions by key and then newest first: name, and whether it is a delete marker.
type Versions = BTreeMap<(u8, std::cmp::Reverse<u64>), (bool, bool)>;

fn apply_by_definition(versions: &mut Versions, step: &Step) {
    match *step {
        Step::Put { key, sequence, is_null } | Step::Marker { key, sequence, is_null } => {
            if is_null {
                versions.retain(|(other, _), (is_null, _)| *other != key || !*is_null);
            }
            let is_marker = matches!(step, Step::Marker { .. });
            versions.insert((key, std::cmp::Reverse(sequence)), (is_null, is_marker));
        }
        Step::Delete { key, version: VersionId::Null } => {
            versions.retain(|(other, _), (is_null, _)| *other != key || !*is_null);
        }
        Step::Delete { key, version: VersionId::Numbered(sequence) } => {
            versions.remove(&(key, std::cmp::Reverse(sequence)));
        }
    }
}

fn check_versions(index: &mut Index, versions: &Versions) -> Result<(), TestCaseError> {
    let live = 10 * versions.len() as u64;
    prop_assert_eq!(index.live_log_bytes(), live);
    let shard = index.buckets.entry(1).or_default();
    let all: Versions = shard
        .walk(std::ops::Bound::Unbounded)
        .map(|(key, entry)| {
            let place = (key[0], std::cmp::Reverse(entry.sequence));
            (place, (entry.is_null(), entry.is_delete_marker()))
        })
        .collect();
    prop_assert_eq!(&all, versions);
    let mut newest: BTreeMap<u8, (u64, bool)> = BTreeMap::new();
    for ((key, sequence), (_, is_marker)) in versions {
        newest.entry(*key).or_insert((sequence.0, *is_marker));
    }
    let current = newest.iter().filter(|(_, (_, is_marker))| !is_marker);
    let current: Vec<_> = current.map(|(key, (sequence, _))| (*key, *sequence)).collect();
    let objects = shard.walk_objects(std::ops::Bound::Unbounded);
    let objects = objects.map(|(key, entry)| (key[0], entry.sequence));
    prop_assert_eq!(objects.collect::<Vec<_>>(), &*current);
    for ((key, sequence), (is_null, _)) in versions {
        let found = shard.version(&[*key], crate::engine::format::record::version_of(sequence.0, *is_null));
        prop_assert_eq!(found.map(|entry| entry.sequence), Some(sequence.0));
        let after: Vec<_> =
            shard.walk_after(&[*key], sequence.0).map(|(key, it)| (key[0], it.sequence)).collect();
        let from = (std::ops::Bound::Excluded((*key, *sequence)), std::ops::Bound::Unbounded);
        let expected: Vec<_> = versions.range(from).map(|((key, sequence), _)| (*key, sequence.0)).collect();
        prop_assert_eq!(after, expected);
    }
    let bytes = shard.walk(std::ops::Bound::Unbounded).map(|(_, entry)| entry.bytes).sum();
    let objects = current.len() as u64;
    prop_assert_eq!(shard.usage(), Usage { objects, versions: versions.len() as u64 - objects, bytes });
    Ok(())
}

proptest! {
    #[test]
    fn versions_are_where_the_definition_has_them(steps in proptest::collection::vec(step(), 0..40)) {
        let (mut index, mut versions) = (Index::default(), Versions::new());
        for (number, step) in steps.iter().enumerate() {
            let record = match *step {
                Step::Put { key, sequence, is_null } => put_version(key, sequence, is_null),
                Step::Marker { key, sequence, is_null } => {
                    Record::DeleteMarkerPut(DeleteMarkerPut { bucket: 1, key: vec![key], sequence, is_null })
                }
                Step::Delete { key, version } => Record::VersionDeleted { bucket: 1, key: vec![key], version },
            };
            index.apply(record, location(number as u32));
            apply_by_definition(&mut versions, step);
            check_versions(&mut index, &versions)?;
        }
    }
}
