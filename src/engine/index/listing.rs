//! Pages of a shard in byte order of keys. Cost follows what is returned: a common prefix is skipped by
//! seeking past it, a marker is sought.

use std::ops::Bound;

use super::{BucketIndex, Entry};
use crate::engine::types::{ListQuery, ListedObject, Upload, UploadId, UploadQuery};

/// A row of a shard's page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Row<T> {
    Item(T),
    CommonPrefix(Vec<u8>),
}

/// A run of rows in order, and whether the shard has more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardPage<T> {
    pub rows: Vec<Row<T>>,
    pub more: bool,
}

impl BucketIndex {
    /// Objects and common prefixes of the query, at most `query.count_max` rows.
    pub fn list(&self, query: &ListQuery) -> ShardPage<ListedObject> {
        let fold = Fold { prefix: &query.prefix, delimiter: &query.delimiter };
        let Some(mut from) = fold.start(&query.after) else {
            return ShardPage { rows: Vec::new(), more: false };
        };
        let mut rows = Vec::new();
        loop {
            let bound = (borrowed(&from), Bound::Unbounded);
            let mut seek = None;
            for (key, entry) in self.objects.range::<[u8], _>(bound) {
                if !key.starts_with(&query.prefix) {
                    break;
                }
                if rows.len() == query.count_max {
                    return ShardPage { rows, more: true };
                }
                match fold.common_prefix(key) {
                    None => rows.push(Row::Item(listed(key, entry))),
                    Some(common) => {
                        rows.push(Row::CommonPrefix(common.to_vec()));
                        seek = successor(common).map(Bound::Included);
                        break;
                    }
                }
            }
            match seek {
                Some(next) => from = next,
                None => return ShardPage { rows, more: false },
            }
        }
    }

    /// Uploads in progress and common prefixes of the query, at most `query.count_max` rows.
    pub fn list_uploads(&self, query: &UploadQuery) -> ShardPage<Upload> {
        let fold = Fold { prefix: &query.prefix, delimiter: &query.delimiter };
        let start = match query.upload_after {
            Some(id) if query.key_after >= query.prefix => {
                Some(Bound::Excluded((query.key_after.clone(), id)))
            }
            _ => fold.start(&query.key_after).map(upload_bound),
        };
        let Some(mut from) = start else { return ShardPage { rows: Vec::new(), more: false } };
        let mut rows = Vec::new();
        loop {
            let mut seek = None;
            for ((key, _), entry) in self.uploads.range((from.clone(), Bound::Unbounded)) {
                if !key.starts_with(&query.prefix) {
                    break;
                }
                if rows.len() == query.count_max {
                    return ShardPage { rows, more: true };
                }
                match fold.common_prefix(key) {
                    None => rows.push(Row::Item(entry.upload.clone())),
                    Some(common) => {
                        rows.push(Row::CommonPrefix(common.to_vec()));
                        seek = successor(common).map(|next| Bound::Included((next, UploadId::default())));
                        break;
                    }
                }
            }
            match seek {
                Some(next) => from = next,
                None => return ShardPage { rows, more: false },
            }
        }
    }
}

fn upload_bound(bound: Bound<Vec<u8>>) -> Bound<(Vec<u8>, UploadId)> {
    match bound {
        Bound::Included(key) => Bound::Included((key, UploadId::default())),
        Bound::Excluded(key) => Bound::Excluded((key, [0xff; 16])),
        Bound::Unbounded => Bound::Unbounded,
    }
}

fn borrowed(bound: &Bound<Vec<u8>>) -> Bound<&[u8]> {
    match bound {
        Bound::Included(key) => Bound::Included(key),
        Bound::Excluded(key) => Bound::Excluded(key),
        Bound::Unbounded => Bound::Unbounded,
    }
}

pub(super) fn listed(key: &[u8], entry: &Entry) -> ListedObject {
    ListedObject {
        key: key.to_vec(),
        bytes: entry.bytes,
        etag: entry.etag,
        modified: entry.modified,
        checksum: entry.checksum_names(),
    }
}

/// Folding of keys into common prefixes.
pub(super) struct Fold<'a> {
    pub(super) prefix: &'a [u8],
    pub(super) delimiter: &'a [u8],
}

impl Fold<'_> {
    /// Where a page after `after` begins; `None` if nothing can follow.
    fn start(&self, after: &[u8]) -> Option<Bound<Vec<u8>>> {
        if after < self.prefix {
            return Some(Bound::Included(self.prefix.to_vec()));
        }
        if after.starts_with(self.prefix) && self.common_prefix(after) == Some(after) {
            return successor(after).map(Bound::Included);
        }
        // An empty marker excludes nothing: keys are never empty.
        Some(Bound::Excluded(after.to_vec()))
    }

    /// The common prefix that `key`, which has the query's prefix, is folded into.
    pub(super) fn common_prefix<'k>(&self, key: &'k [u8]) -> Option<&'k [u8]> {
        if self.delimiter.is_empty() {
            return None;
        }
        let rest = &key[self.prefix.len()..];
        let position = rest.windows(self.delimiter.len()).position(|window| window == self.delimiter)?;
        Some(&key[..self.prefix.len() + position + self.delimiter.len()])
    }
}

/// The least key after all keys that start with `prefix`; `None` if there is none.
fn successor(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut next = prefix[..=last].to_vec();
    next[last] += 1;
    Some(next)
}
