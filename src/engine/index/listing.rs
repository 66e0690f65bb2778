//! Pages of a shard in byte order of keys. Cost follows what is returned: a common prefix is skipped by
//! seeking past it, a marker is sought.

use std::ops::Bound;

use super::Entry;
use super::bucket::{BucketIndex, Walk};
use crate::engine::types::{ListQuery, ListedObject, Upload, UploadId, UploadQuery};
use crate::engine::version::{ListedVersion, VersionId, VersionQuery};

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
        let Some(from) = fold.start(&query.after) else {
            return ShardPage { rows: Vec::new(), more: false };
        };
        let mut rows = Vec::new();
        let mut walk = self.walk_objects(borrowed(&from));
        while let Some((key, entry)) = walk.next() {
            if !key.starts_with(&query.prefix) {
                break;
            }
            if rows.len() == query.count_max {
                return ShardPage { rows, more: true };
            }
            match fold.common_prefix(key) {
                None => rows.push(Row::Item(listed(key, &entry))),
                Some(common) => {
                    rows.push(Row::CommonPrefix(common.to_vec()));
                    let Some(next) = successor(common) else { break };
                    walk.seek(&next);
                }
            }
        }
        ShardPage { rows, more: false }
    }

    /// Versions and common prefixes of the query, at most `query.count_max` rows.
    pub fn list_versions(&self, query: &VersionQuery) -> ShardPage<ListedVersion> {
        let fold = Fold { prefix: &query.prefix, delimiter: &query.delimiter };
        let Some(mut walk) = self.versions_after(query, &fold) else {
            return ShardPage { rows: Vec::new(), more: false };
        };
        let mut rows = Vec::new();
        let mut key_before: Option<&[u8]> = None;
        while let Some((key, entry)) = walk.next() {
            if !key.starts_with(&query.prefix) {
                break;
            }
            if rows.len() == query.count_max {
                return ShardPage { rows, more: true };
            }
            if let Some(common) = fold.common_prefix(key) {
                rows.push(Row::CommonPrefix(common.to_vec()));
                let Some(next) = successor(common) else { break };
                walk.seek(&next);
                continue;
            }
            // The walk may have begun in the midst of a key's versions.
            let is_latest = key_before != Some(key)
                && (*key != *query.key_after
                    || self.newest(key).is_some_and(|newest| newest.sequence == entry.sequence));
            rows.push(Row::Item(listed_version(key, &entry, is_latest)));
            key_before = Some(key);
        }
        ShardPage { rows, more: false }
    }

    /// The versions after the query's markers; `None` if nothing can follow.
    fn versions_after(&self, query: &VersionQuery, fold: &Fold<'_>) -> Option<Walk<'_>> {
        if let Some(version) = query.version_after
            && query.key_after >= query.prefix
        {
            let key = &*query.key_after;
            let sequence = match version {
                VersionId::Numbered(sequence) => Some(sequence),
                VersionId::Null => self.version(key, version).map(|entry| entry.sequence),
            };
            return Some(match sequence {
                Some(sequence) => self.walk_after(key, sequence),
                // It was removed since the page that ended with it, and its place is not known any more:
                // rather versions twice than not at all.
                None => self.walk(Bound::Included(key)),
            });
        }
        let from = fold.start(&query.key_after)?;
        Some(self.walk(borrowed(&from)))
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
        modified: entry.modified(),
        checksum: entry.checksum.names(),
    }
}

fn listed_version(key: &[u8], entry: &Entry, is_latest: bool) -> ListedVersion {
    ListedVersion {
        key: key.to_vec(),
        version: entry.version(),
        is_latest,
        is_delete_marker: entry.is_delete_marker(),
        bytes: entry.bytes,
        etag: entry.etag,
        sequence: entry.sequence,
        checksum: entry.checksum.names(),
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
