//! What a node shows of itself to clients, all of it.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::model::key_of;
use super::resolve_uploads::pair_names;
use super::steps::*;
use super::*;

/// A version as it was found.
#[derive(Clone, Debug)]
pub struct SeenVersion {
    pub version: VersionId,
    pub is_marker: bool,
    pub bytes: Vec<u8>,
    pub lock: Lock,
    pub tag: u16,
    pub parts: Vec<(u16, u64)>,
}

/// Parts of an upload as they were found: number, length and ETag.
pub type SeenParts = Vec<(u16, u64, ETag)>;

/// All that was found.
#[derive(Default)]
pub struct Seen {
    pub buckets: [Option<Rc<Bucket>>; SLOTS],
    pub keys: BTreeMap<Name, Vec<SeenVersion>>,
    pub uploads: BTreeMap<(Name, UploadId), SeenParts>,
    /// Events by their number.
    pub events: BTreeMap<u32, Event>,
    pub pairs: BTreeMap<u8, Vec<u8>>,
    pub bytes_read: u64,
}

/// Looks at everything. Listings of all kinds must agree with each other and with what is read.
pub async fn see(node: &Node) -> Seen {
    let mut seen = Seen::default();
    for (slot, name) in SLOT_NAMES.into_iter().enumerate() {
        let bucket = node.core(0).bucket(name);
        for engine in &node.engines {
            assert_eq!(engine.bucket(name), bucket, "cores disagree about a bucket");
        }
        let Some(bucket) = bucket else { continue };
        seen.buckets[slot] = Some(bucket.clone());
        see_versions(node, slot, bucket.id, &mut seen).await;
        see_objects(node, slot, bucket.id, &seen).await;
        see_scans(node, slot, bucket.id, &seen);
        see_uploads(node, slot, bucket.id, &mut seen).await;
    }
    for engine in &node.engines {
        let known: Vec<_> = engine.buckets().iter().map(|bucket| bucket.name.clone()).collect();
        let seen = seen.buckets.iter().flatten().count();
        assert_eq!(known.len(), seen, "a bucket came from nowhere: {known:?}");
    }
    see_events(node, &mut seen).await;
    see_pairs(node, &mut seen);
    seen
}

fn name_of(slot: usize, key: &[u8]) -> Name {
    let number = (0..KEYS[slot].max(9)).find(|number| key_of((slot, *number)) == key);
    (slot, number.unwrap_or_else(|| panic!("{} came from nowhere", String::from_utf8_lossy(key))))
}

async fn see_versions(node: &Node, slot: usize, bucket: BucketId, seen: &mut Seen) {
    let mut query = VersionQuery { count_max: 7, ..VersionQuery::default() };
    loop {
        let page = node.core(0).list_versions(bucket, query.clone()).await.expect("a listing");
        for listed in page.versions {
            let name = name_of(slot, &listed.key);
            let found = see_version(node.core(1), bucket, &listed).await;
            seen.bytes_read += found.bytes.len() as u64;
            let of_key = seen.keys.entry(name).or_default();
            assert_eq!(listed.is_latest, of_key.is_empty(), "{listed:?}");
            of_key.push(found);
        }
        if !page.truncated {
            return;
        }
        (query.key_after, query.version_after) = (page.next_key, page.next_version);
    }
}

pub async fn see_version(engine: &SimEngine, bucket: BucketId, listed: &ListedVersion) -> SeenVersion {
    let version = listed.version;
    match engine.get(bucket, &listed.key, Some(version)).await.expect("a look-up") {
        Lookup::Found(object) => {
            assert!(!listed.is_delete_marker && listed.bytes == object.bytes, "{listed:?}");
            let bytes = match read(&object, 0..object.bytes).await {
                Ok(bytes) => bytes,
                Err(error) => panic!("{listed:?} cannot be read: {error}"),
            };
            assert_eq!(object.attributes.etag, attributes(&bytes).etag, "{listed:?} is not what was stored");
            assert_eq!(object.attributes.etag, listed.etag, "{listed:?}");
            let tag = object.attributes.headers.iter().find(|(name, _)| name == ":tag");
            let tag =
                tag.map_or(0, |(_, value)| str::from_utf8(value).expect("digits").parse().expect("one"));
            let parts = object.parts.iter().map(|part| (part.number, part.bytes)).collect();
            SeenVersion { version, is_marker: false, bytes, lock: object.attributes.lock, tag, parts }
        }
        Lookup::DeleteMarker { version: found, is_latest, .. } => {
            assert!(listed.is_delete_marker && found == version, "{listed:?}");
            assert_eq!(is_latest, listed.is_latest, "{listed:?}");
            let (bytes, parts) = (Vec::new(), Vec::new());
            SeenVersion { version, is_marker: true, bytes, lock: Lock::default(), tag: 0, parts }
        }
        Lookup::Missing => panic!("{listed:?} is listed and not there"),
    }
}

/// Objects under their common prefixes and one by one, and the bucket's usage.
async fn see_objects(node: &Node, slot: usize, bucket: BucketId, seen: &Seen) {
    let of_slot = seen.keys.range((slot, 0)..(slot + 1, 0));
    let current = of_slot.clone().filter(|(_, versions)| !versions[0].is_marker);
    let mut expected: Vec<Vec<u8>> = current.map(|(name, _)| key_of(*name)).collect();
    expected.sort();
    assert_eq!(list_all(node.core(2), bucket, 5).await, expected, "objects that are listed");
    let query =
        ListQuery { prefix: b"a/".to_vec(), delimiter: b"/".to_vec(), count_max: 100, ..Default::default() };
    let page = node.core(0).list(bucket, query).await.expect("a listing");
    let folded = expected.iter().any(|key| key.starts_with(b"a/b/"));
    let direct = expected.iter().filter(|key| key.starts_with(b"a/") && !key.starts_with(b"a/b/")).count();
    assert_eq!((page.common_prefixes.len(), page.objects.len()), (folded.into(), direct), "under a prefix");
    let mut usage = Usage::default();
    for (_, versions) in of_slot {
        usage.objects += u64::from(!versions[0].is_marker);
        usage.versions += versions.len() as u64 - u64::from(!versions[0].is_marker);
        usage.bytes += versions.iter().map(|version| version.bytes.len() as u64).sum::<u64>();
    }
    assert_eq!(node.core(1).usage(bucket).await, Ok(usage), "usage of {}", SLOT_NAMES[slot]);
}

/// What lifecycle rules would see.
fn see_scans(node: &Node, slot: usize, bucket: BucketId, seen: &Seen) {
    let mut scanned: BTreeMap<Name, Vec<ScannedVersion>> = BTreeMap::new();
    for engine in &node.engines {
        let mut after = None;
        loop {
            let (versions, next) = engine.scan(bucket, after.as_ref(), 6);
            for version in versions {
                scanned.entry(name_of(slot, &version.key)).or_default().push(version);
            }
            match next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
    }
    let of_slot: Vec<_> = seen.keys.range((slot, 0)..(slot + 1, 0)).collect();
    assert_eq!(scanned.len(), of_slot.len(), "keys that scans see");
    for (name, versions) in of_slot {
        let found: Vec<_> =
            scanned[name].iter().map(|it| (it.version, it.is_delete_marker, it.bytes as usize)).collect();
        let expected: Vec<_> = versions.iter().map(|it| (it.version, it.is_marker, it.bytes.len())).collect();
        assert_eq!(found, expected, "what a scan sees of {name:?}");
    }
}

async fn see_uploads(node: &Node, slot: usize, bucket: BucketId, seen: &mut Seen) {
    let mut query = UploadQuery { count_max: 3, ..UploadQuery::default() };
    loop {
        let page = node.core(1).list_uploads(bucket, query.clone()).await.expect("a listing");
        for upload in page.uploads {
            let found = node.core(2).upload(bucket, &upload.key, upload.id, 0, 100).await;
            let (again, parts) = found.expect("an upload that is listed");
            assert_eq!(again, upload);
            let parts = parts.into_iter().map(|part| (part.number, part.bytes, part.etag)).collect();
            seen.uploads.insert((name_of(slot, &upload.key), upload.id), parts);
        }
        if !page.truncated {
            return;
        }
        (query.key_after, query.upload_after) = (page.next_key, page.next_upload);
    }
}

async fn see_events(node: &Node, seen: &mut Seen) {
    for (core, engine) in node.engines.iter().enumerate() {
        let mut after = None;
        loop {
            let page = engine.events_due(after, 3);
            let Some(last) = page.last() else { break };
            assert!(page.is_sorted() && after.is_none_or(|after| after < page[0]), "events out of order");
            after = Some(*last);
            for id in page {
                let event = engine.event(id).await.expect("a look-up").expect("it was listed");
                assert_eq!(event.id, id);
                assert_eq!(
                    owner_of(event.bucket, &event.key, node.engines.len()),
                    core,
                    "another core's event"
                );
                let number = event.body.first_chunk().expect("a number stands first");
                let old = seen.events.insert(u32::from_le_bytes(*number), event);
                assert!(old.is_none(), "an event is there twice: {old:?}");
            }
        }
        assert_eq!(engine.events_dropped(), 0);
    }
}

fn see_pairs(node: &Node, seen: &mut Seen) {
    for number in 0..3 {
        let of = |engine: &SimEngine| {
            let config = engine.config();
            pair_names(number).map(|name| config.entries.get(&name).map(|value| value.to_vec()))
        };
        let [left, right] = of(node.core(0));
        assert!(left == right, "half a change of pair {number}");
        for engine in &node.engines {
            assert!(of(engine) == [left.clone(), right.clone()], "cores disagree about pair {number}");
        }
        left.map(|value| seen.pairs.insert(number, value));
    }
}
