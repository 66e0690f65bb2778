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
        prop_assert_eq!(shard.list(&query), list_by_definition(&shard.objects, &query));
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
            let bytes = shard.objects.values().map(|entry| entry.bytes).sum();
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
    assert_eq!(Entry::check(index.object(1, b"k"), &absent), Ok(()));
    assert_eq!(Entry::check(index.object(1, b"k"), &any), Err(EngineError::ConditionOnMissing));
    index.apply(put(b"k", 5), location(0));
    assert_eq!(Entry::check(index.object(1, b"k"), &absent), Err(EngineError::ConditionFailed));
    assert_eq!(Entry::check(index.object(1, b"k"), &any), Ok(()));
    let size = Condition { size: Some(6), ..Condition::default() };
    assert_eq!(Entry::check(index.object(1, b"k"), &size), Err(EngineError::ConditionFailed));
}
