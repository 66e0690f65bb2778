//! What versions, delete markers, locks and updates promise.

use super::*;

fn run<F: Future<Output = ()>>(test: impl FnOnce(Rc<Simulation>) -> F) {
    let simulation = Rc::new(Simulation::new(1));
    let simulation_ = simulation.clone();
    simulation.block_on(test(simulation_));
}

async fn bucket(node: &Node, versioning: Versioning) -> BucketId {
    node.core(1).create_bucket("b", versioning, BTreeMap::new()).await.unwrap().id
}

async fn turn(node: &Node, versioning: Versioning) {
    let change = BucketChange { versioning: Some(versioning), ..BucketChange::default() };
    node.core(0).set_bucket("b", change).await.unwrap();
}

async fn put_version(engine: &SimEngine, bucket: BucketId, key: &[u8], bytes: &[u8]) -> VersionId {
    put(engine, bucket, key, bytes).await.unwrap().version.expect("the bucket has versioning")
}

fn of(version: VersionId) -> Deletion {
    Deletion { version: Some(version), ..Deletion::default() }
}

async fn get_version(
    engine: &SimEngine,
    bucket: BucketId,
    key: &[u8],
    version: VersionId,
) -> Option<Vec<u8>> {
    let object = engine.get(bucket, key, Some(version)).await.unwrap().found()?;
    Some(read(&object, 0..object.bytes).await.unwrap())
}

/// Versions of a bucket as a listing in pages shows them.
async fn list(
    engine: &SimEngine,
    bucket: BucketId,
    query: VersionQuery,
) -> (Vec<ListedVersion>, Vec<Vec<u8>>) {
    let (mut versions, mut prefixes) = (Vec::new(), Vec::new());
    let mut query = query;
    loop {
        let page = engine.list_versions(bucket, query.clone()).await.unwrap();
        versions.extend(page.versions);
        prefixes.extend(page.common_prefixes);
        if !page.truncated {
            return (versions, prefixes);
        }
        (query.key_after, query.version_after) = (page.next_key, page.next_version);
    }
}

async fn names(engine: &SimEngine, bucket: BucketId, key: &[u8]) -> Vec<(VersionId, bool)> {
    let query = VersionQuery { prefix: key.to_vec(), count_max: 3, ..VersionQuery::default() };
    let (versions, _) = list(engine, bucket, query).await;
    versions.into_iter().map(|listed| (listed.version, listed.is_delete_marker)).collect()
}

#[test]
fn what_is_written_last_is_the_newest_though_the_clock_was_set_back() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 2, 1).await.unwrap();
        let id = bucket(&node, Versioning::Enabled).await;
        let first = put_version(node.core(0), id, b"k", b"first").await;
        simulation.set_back(std::time::Duration::from_secs(3600));
        let second = put_version(node.core(1), id, b"k", b"second").await;
        assert_eq!(get(node.core(0), id, b"k").await.unwrap().unwrap(), b"second");
        node.shutdown().await;
        let node = Node::start(&simulation, 3, 1).await.unwrap();
        assert_eq!(get(node.core(0), id, b"k").await.unwrap().unwrap(), b"second");
        let marker = node.core(2).delete(id, b"k", Deletion::default()).await.unwrap().version.unwrap();
        assert_eq!(get(node.core(0), id, b"k").await, Ok(None));
        let newest_first = [(marker, true), (second, false), (first, false)];
        assert_eq!(names(node.core(1), id, b"k").await, newest_first);
    });
}

#[test]
fn nothing_is_lost_in_a_versioned_bucket_until_its_version_is_deleted() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 3, 1).await.unwrap();
        let id = bucket(&node, Versioning::Enabled).await;
        let first = put_version(node.core(0), id, b"k", b"first").await;
        let second = put_version(node.core(1), id, b"k", &content(2, 100_000)).await;
        let deleted = node.core(2).delete(id, b"k", Deletion::default()).await.unwrap();
        let marker = deleted.version.unwrap();
        assert!(deleted.existed && deleted.is_delete_marker && marker > second && second > first);
        assert!(matches!(
            node.core(0).get(id, b"k", None).await.unwrap(),
            Lookup::DeleteMarker { version, is_latest: true, .. } if version == marker
        ));
        assert_eq!(list_all(node.core(0), id, 10).await, Vec::<Vec<u8>>::new());
        let usage = Usage { objects: 0, versions: 3, bytes: 100_005 };
        assert_eq!(node.core(0).usage(id).await, Ok(usage));
        assert_eq!(node.core(0).delete_bucket("b").await, Err(EngineError::BucketNotEmpty));
        node.shutdown().await;

        let node = Node::start(&simulation, 2, 1).await.unwrap();
        let engine = node.core(0);
        assert_eq!(get_version(engine, id, b"k", first).await.as_deref(), Some(&b"first"[..]));
        assert_eq!(get_version(engine, id, b"k", second).await, Some(content(2, 100_000)));
        assert_eq!(names(engine, id, b"k").await, [(marker, true), (second, false), (first, false)]);
        let undone = engine.delete(id, b"k", of(marker)).await.unwrap();
        assert_eq!(undone, Deleted { existed: true, version: Some(marker), is_delete_marker: true });
        assert_eq!(get(engine, id, b"k").await.unwrap(), Some(content(2, 100_000)));
        assert!(!engine.delete(id, b"k", of(second)).await.unwrap().is_delete_marker);
        assert_eq!(get(engine, id, b"k").await.unwrap().as_deref(), Some(&b"first"[..]));
        assert!(!engine.delete(id, b"k", of(second)).await.unwrap().existed);
        engine.delete(id, b"k", of(first)).await.unwrap();
        assert_eq!(engine.usage(id).await, Ok(Usage::default()));
        engine.delete_bucket("b").await.unwrap();
    });
}

#[test]
fn a_suspended_bucket_changes_the_null_version_and_keeps_all_others() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 2, 1).await.unwrap();
        let engine = node.core(0);
        let id = bucket(&node, Versioning::Unversioned).await;
        assert_eq!(put(engine, id, b"k", b"before").await.unwrap().version, None);
        turn(&node, Versioning::Enabled).await;
        let numbered = put_version(engine, id, b"k", b"numbered").await;
        assert_eq!(get_version(engine, id, b"k", VersionId::Null).await.as_deref(), Some(&b"before"[..]));
        turn(&node, Versioning::Suspended).await;
        for bytes in [b"third", b"forth"] {
            assert_eq!(put_version(engine, id, b"k", bytes).await, VersionId::Null);
            assert_eq!(names(engine, id, b"k").await, [(VersionId::Null, false), (numbered, false)]);
            assert_eq!(get(engine, id, b"k").await.unwrap().as_deref(), Some(&bytes[..]));
        }
        let deleted = engine.delete(id, b"k", Deletion::default()).await.unwrap();
        assert_eq!(deleted.version, Some(VersionId::Null));
        assert_eq!(names(engine, id, b"k").await, [(VersionId::Null, true), (numbered, false)]);
        turn(&node, Versioning::Enabled).await;
        let last = put_version(engine, id, b"k", b"last").await;
        let expected = [(last, false), (VersionId::Null, true), (numbered, false)];
        assert_eq!(names(engine, id, b"k").await, expected);
        assert!(engine.delete(id, b"k", of(VersionId::Null)).await.unwrap().is_delete_marker);
        engine.delete(id, b"k", of(last)).await.unwrap();
        assert_eq!(get(engine, id, b"k").await.unwrap().as_deref(), Some(&b"numbered"[..]));
    });
}

#[test]
fn conditions_look_at_what_is_current_or_at_the_named_version() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 2, 1).await.unwrap();
        let engine = node.core(0);
        let id = bucket(&node, Versioning::Enabled).await;
        let old = put_version(engine, id, b"k", b"old").await;
        let new = put_version(engine, id, b"k", b"new").await;
        let matches = |bytes: &[u8]| {
            let etag = attributes(bytes).etag;
            Condition { matches: Some(ETagMatch::OneOf(vec![etag])), ..Condition::default() }
        };
        let refused = Deletion { condition: matches(b"old"), ..Deletion::default() };
        assert_eq!(engine.delete(id, b"k", refused).await, Err(EngineError::ConditionFailed));
        let VersionId::Numbered(sequence) = new else { panic!("{new:?}") };
        let unchanged = Condition { sequence: Some(sequence), ..Condition::default() };
        let refused = Deletion { condition: unchanged.clone(), ..of(old) };
        assert_eq!(engine.delete(id, b"k", refused).await, Err(EngineError::ConditionFailed));
        assert!(engine.delete(id, b"k", Deletion { condition: matches(b"old"), ..of(old) }).await.is_ok());
        let hidden = Deletion { condition: unchanged, ..Deletion::default() };
        assert!(engine.delete(id, b"k", hidden.clone()).await.unwrap().is_delete_marker);
        assert_eq!(engine.delete(id, b"k", hidden).await, Err(EngineError::ConditionFailed));
        let unless = |condition| Deletion { condition, ..Deletion::default() };
        let any = Condition { matches: Some(ETagMatch::Any), ..Condition::default() };
        assert_eq!(engine.delete(id, b"k", unless(any)).await, Err(EngineError::ConditionOnMissing));
        assert_eq!(
            engine.delete(id, b"k", unless(matches(b"new"))).await,
            Err(EngineError::ConditionFailed),
            "a delete marker has no ETag"
        );
        let size = |bytes| Condition { size: Some(bytes), ..Condition::default() };
        assert_eq!(engine.delete(id, b"k", unless(size(3))).await, Err(EngineError::ConditionFailed));
        assert!(engine.delete(id, b"k", unless(size(0))).await.unwrap().is_delete_marker);
        let absent = Condition { absent: true, ..Condition::default() };
        let made = engine.put(id, b"k", payload(engine, b"x").await.unwrap(), attributes(b"x"), absent).await;
        assert!(made.is_ok(), "behind a delete marker there is nothing");
    });
}

#[test]
fn what_is_locked_can_neither_be_deleted_nor_replaced() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 2, 1).await.unwrap();
        let engine = node.core(1);
        let id = bucket(&node, Versioning::Enabled).await;
        let until = engine.host().now() + 1000;
        let version = put_version(engine, id, b"k", b"v").await;
        let retain = |mode, until, bypass_governance| {
            let retention = Some(Retention { mode, until });
            let update = Update::Retention { retention, bypass_governance };
            engine.update(id, b"k", Some(version), update, Condition::default())
        };
        let delete =
            |bypass_governance| engine.delete(id, b"k", Deletion { bypass_governance, ..of(version) });
        retain(RetentionMode::Governance, until, false).await.unwrap();
        assert_eq!(delete(false).await, Err(EngineError::Locked));
        assert!(
            engine.delete(id, b"k", Deletion::default()).await.unwrap().is_delete_marker,
            "it only hides"
        );
        assert_eq!(retain(RetentionMode::Governance, until - 1, false).await, Err(EngineError::Locked));
        retain(RetentionMode::Compliance, until, true).await.unwrap();
        assert_eq!(retain(RetentionMode::Governance, until, true).await, Err(EngineError::Locked));
        assert_eq!(delete(true).await, Err(EngineError::Locked));
        let hold = |on| engine.update(id, b"k", Some(version), Update::LegalHold(on), Condition::default());
        hold(true).await.unwrap();
        engine.host().sleep(std::time::Duration::from_secs(2)).await;
        assert_eq!(delete(true).await, Err(EngineError::Locked), "the hold has no end");
        hold(false).await.unwrap();
        assert!(delete(false).await.unwrap().existed);

        turn(&node, Versioning::Suspended).await;
        put(engine, id, b"null", b"v").await.unwrap();
        let held = Update::LegalHold(true);
        engine.update(id, b"null", None, held, Condition::default()).await.unwrap();
        assert_eq!(put(engine, id, b"null", b"w").await, Err(EngineError::Locked));
        assert_eq!(engine.delete(id, b"null", Deletion::default()).await, Err(EngineError::Locked));
        assert_eq!(get(engine, id, b"null").await.unwrap().as_deref(), Some(&b"v"[..]));
    });
}

#[test]
fn an_update_changes_neither_payload_nor_time_nor_place() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 3, 1).await.unwrap();
        let engine = node.core(0);
        let id = bucket(&node, Versioning::Enabled).await;
        let bytes = content(3, 300_000);
        let old = put_version(engine, id, b"k", &bytes).await;
        let new = put_version(engine, id, b"k", b"small").await;
        let before = engine.get(id, b"k", Some(old)).await.unwrap().found().unwrap();
        engine.host().sleep(std::time::Duration::from_secs(1)).await;
        for version in [Some(old), None] {
            let set = vec![("x".to_owned(), b"z".to_vec()), (":tags".to_owned(), b"t".to_vec())];
            let update = Update::Headers { set, remove: vec!["absent".to_owned()] };
            let updated = engine.update(id, b"k", version, update, Condition::default()).await.unwrap();
            assert_eq!(updated.version, Some(version.unwrap_or(new)));
        }
        node.shutdown().await;
        let node = Node::start(&simulation, 2, 1).await.unwrap();
        let engine = node.core(1);
        let after = engine.get(id, b"k", Some(old)).await.unwrap().found().unwrap();
        assert_eq!((after.sequence, after.modified()), (before.sequence, before.modified()));
        assert_eq!(read(&after, 0..after.bytes).await.unwrap(), bytes);
        let names: Vec<_> = after.attributes.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["x", ":tags"]);
        assert_eq!(super::versions::names(engine, id, b"k").await, [(new, false), (old, false)]);
        for version in [old, new] {
            engine.delete(id, b"k", of(version)).await.unwrap();
        }
        drop(after);
        engine.host().sleep(std::time::Duration::from_secs(1)).await;
        assert!(
            node.engines.iter().all(|engine| engine.inner.extents.count() == 0),
            "freed once, and wholly"
        );

        let nothing = || Update::LegalHold(false);
        let update = |key: &'static [u8]| engine.update(id, key, None, nothing(), Condition::default());
        assert_eq!(update(b"k").await, Err(EngineError::NoSuchObject));
        engine.delete(id, b"k", Deletion::default()).await.unwrap();
        assert_eq!(update(b"k").await, Err(EngineError::DeleteMarker));
        put(engine, id, b"k", b"v").await.unwrap();
        let other =
            Condition { matches: Some(ETagMatch::OneOf(vec![ETag::of_md5([9; 16])])), ..Default::default() };
        let refused = engine.update(id, b"k", None, nothing(), other).await;
        assert_eq!(refused, Err(EngineError::ConditionFailed));
    });
}

#[test]
fn a_listing_of_versions_is_the_same_for_every_page_size() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 3, 1).await.unwrap();
        let id = bucket(&node, Versioning::Unversioned).await;
        let mut keys: Vec<Vec<u8>> = (0..12).map(|n| format!("dir-{}/key-{n}", n % 3).into_bytes()).collect();
        keys.push(b"top".to_vec());
        for key in &keys {
            put(node.core(0), id, key, b"null").await.unwrap();
        }
        turn(&node, Versioning::Enabled).await;
        for round in 0..7u64 {
            for key in &keys {
                put(node.core(round as usize), id, key, &round.to_le_bytes()).await.unwrap();
            }
        }
        node.core(0).delete(id, b"top", Deletion::default()).await.unwrap();
        let query = |count_max| VersionQuery { count_max, ..VersionQuery::default() };
        let (all, _) = list(node.core(0), id, query(1000)).await;
        assert_eq!(all.len(), 13 * 8 + 1);
        let in_order = |pair: &[ListedVersion]| {
            let place = |listed: &ListedVersion| (listed.key.clone(), std::cmp::Reverse(listed.sequence));
            place(&pair[0]) < place(&pair[1]) && pair[1].is_latest == (pair[0].key != pair[1].key)
        };
        assert!(all[0].is_latest && all.windows(2).all(in_order));
        for count_max in 1..20 {
            assert_eq!(list(node.core(1), id, query(count_max)).await.0, all, "{count_max} a page");
            let folded = VersionQuery { delimiter: b"/".to_vec(), ..query(count_max) };
            let (versions, prefixes) = list(node.core(2), id, folded).await;
            assert_eq!(prefixes, [b"dir-0/", b"dir-1/", b"dir-2/"]);
            assert_eq!(versions, all[all.len() - 9..], "{count_max} a page, folded");
        }
        let after = VersionQuery { key_after: b"dir-0/key-0".to_vec(), ..query(1000) };
        assert_eq!(
            list(node.core(0), id, after.clone()).await.0,
            all[8..],
            "without a version, all are skipped"
        );
        for place in 0..8 {
            let after = VersionQuery { version_after: Some(all[place].version), ..after.clone() };
            assert_eq!(list(node.core(0), id, after).await.0, all[place + 1..]);
        }
    });
}

#[test]
fn a_completion_that_is_repeated_names_the_version_it_made() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 2, 1).await.unwrap();
        let engine = node.core(0);
        let id = bucket(&node, Versioning::Enabled).await;
        let upload = engine.create_upload(id, b"k", vec![]).await.unwrap().id;
        let etag = attributes(b"part").etag;
        let body = payload(engine, b"part").await.unwrap();
        engine.put_part(id, b"k", upload, 1, body, etag, None).await.unwrap();
        let condition = Condition::default();
        let completion = Completion {
            parts: vec![(1, etag)],
            attributes: attributes(b"part"),
            condition,
            events: Vec::new(),
        };
        let first = engine.complete_upload(id, b"k", upload, completion.clone()).await.unwrap();
        put(engine, id, b"k", b"newer").await.unwrap();
        engine.delete(id, b"k", Deletion::default()).await.unwrap();
        let again = node.core(1).complete_upload(id, b"k", upload, completion.clone()).await.unwrap();
        assert_eq!(first, again);
        assert_eq!(names(engine, id, b"k").await.len(), 3);
        engine.delete(id, b"k", of(first.version.unwrap())).await.unwrap();
        let gone = engine.complete_upload(id, b"k", upload, completion).await;
        assert_eq!(gone, Err(EngineError::NoSuchUpload));
    });
}

#[test]
fn of_many_writers_at_once_each_makes_a_version_of_its_own() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 3, 1).await.unwrap();
        let id = bucket(&node, Versioning::Enabled).await;
        let mut under_way = Vec::new();
        for number in 0..60u64 {
            let (done, result) = crate::base::local::oneshot();
            let engine = node.core(number as usize).clone();
            engine.host().clone().spawn(async move {
                done.send((number, put_version(&engine, id, b"k", &number.to_le_bytes()).await));
            });
            under_way.push(result);
        }
        let mut made = BTreeMap::new();
        for result in under_way {
            let (number, version) = result.await.unwrap();
            made.insert(version, number);
        }
        assert_eq!(made.len(), 60);
        let newest_first: Vec<_> = made.keys().rev().map(|version| (*version, false)).collect();
        assert_eq!(names(node.core(0), id, b"k").await, newest_first);
        for (version, number) in made {
            let found = get_version(node.core(1), id, b"k", version).await;
            assert_eq!(found, Some(number.to_le_bytes().to_vec()));
        }
    });
}

#[test]
fn a_scan_meets_every_version_once_and_says_since_when_it_is_not_current() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 2, 1).await.unwrap();
        let id = bucket(&node, Versioning::Enabled).await;
        for round in 0..4u64 {
            for number in 0..9u64 {
                put(node.core(0), id, &number.to_le_bytes(), &round.to_le_bytes()).await.unwrap();
            }
            node.core(0).host().sleep(std::time::Duration::from_secs(1)).await;
        }
        node.core(0).delete(id, b"gone", Deletion::default()).await.unwrap();
        let upload = node.core(0).create_upload(id, b"u", vec![]).await.unwrap();
        let (mut scanned, mut uploads) = (Vec::new(), Vec::new());
        for engine in &node.engines {
            let mut after = None;
            loop {
                let (versions, next) = engine.scan(id, after.as_ref(), 3);
                scanned.extend(versions);
                let Some(next) = next else { break };
                after = Some(next);
            }
            uploads.extend(engine.scan_uploads(id, None, 10));
        }
        assert_eq!(uploads, std::slice::from_ref(&upload));
        assert!(node.core(0).scan_uploads(id, Some((b"u".to_vec(), upload.id)), 10).is_empty());
        scanned.sort_by_key(|it| (it.key.clone(), std::cmp::Reverse(it.sequence)));
        assert_eq!(scanned.len(), 37);
        for of_key in scanned.chunk_by(|one, other| one.key == other.key) {
            for (place, version) in of_key.iter().enumerate() {
                assert_eq!(version.is_latest, place == 0);
                assert_eq!(version.is_only, of_key.len() == 1);
                assert_eq!(version.is_delete_marker, version.key == b"gone");
                assert_eq!(version.noncurrent_newer, place.saturating_sub(1) as u64);
                let since = place.checked_sub(1).map(|newer| of_key[newer].modified());
                assert_eq!(version.noncurrent_since, since);
            }
        }
    });
}

#[test]
fn versions_survive_the_cleaning_of_the_log_and_deleted_ones_stay_gone() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 2, 1).await.unwrap();
        let engine = node.core(0);
        let id = bucket(&node, Versioning::Unversioned).await;
        put(engine, id, b"early", b"null").await.unwrap();
        turn(&node, Versioning::Enabled).await;
        let early = put_version(engine, id, b"early", b"from early on").await;
        let hidden = put_version(engine, id, b"hidden", b"hidden").await;
        let marker = engine.delete(id, b"hidden", Deletion::default()).await.unwrap().version.unwrap();
        let update = Update::Headers { set: vec![("t".to_owned(), b"1".to_vec())], remove: Vec::new() };
        engine.update(id, b"early", None, update, Condition::default()).await.unwrap();
        let mut last = vec![VersionId::Null; 40];
        for round in 0..30u64 {
            for number in 0..40u64 {
                let (key, engine) = (number.to_le_bytes(), node.core(number as usize));
                let made = put_version(engine, id, &key, &content(round * 100 + number, 40_000)).await;
                engine.delete(id, &key, of(last[number as usize])).await.unwrap();
                last[number as usize] = made;
            }
            let undone = engine.delete(id, b"early", Deletion::default()).await.unwrap();
            engine.delete(id, b"early", of(undone.version.unwrap())).await.unwrap();
            for engine in &node.engines {
                engine.maintain().await.unwrap();
            }
        }
        let used: u64 = node.engines.iter().map(|engine| engine.inner.log.bytes_used()).sum();
        assert!(used < 30 << 20, "48 MB were written, {used} bytes are in use");
        let last = &last[..];
        let check = async |node: Node| {
            let engine = node.core(1);
            assert_eq!(names(engine, id, b"early").await, [(early, false), (VersionId::Null, false)]);
            assert_eq!(names(engine, id, b"hidden").await, [(marker, true), (hidden, false)]);
            let updated = engine.get(id, b"early", Some(early)).await.unwrap().found().unwrap();
            assert!(updated.attributes.headers.contains(&("t".to_owned(), b"1".to_vec())));
            for number in 0..40u64 {
                let key = number.to_le_bytes();
                assert_eq!(names(engine, id, &key).await, [(last[number as usize], false)]);
                assert_eq!(get(engine, id, &key).await, Ok(Some(content(2900 + number, 40_000))));
            }
        };
        node.shutdown().await;
        simulation.crash();
        check(Node::start(&simulation, 2, 1).await.unwrap()).await;
        // With another number of cores, and then from the log alone.
        simulation.crash();
        check(Node::start(&simulation, 3, 1).await.unwrap()).await;
        simulation.crash();
        for file in simulation.disk(0).list().unwrap() {
            if file.name.starts_with("checkpoint") {
                simulation.disk(0).remove(&file.name).await.unwrap();
            }
        }
        check(Node::start(&simulation, 1, 1).await.unwrap()).await;
    });
}
