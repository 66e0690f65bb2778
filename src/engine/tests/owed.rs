//! Events and renames, without crashes in the middle.

use super::*;
use crate::base::limits::{EVENT_BODY_BYTES_MAX, EVENTS_PER_CHANGE_MAX};
use crate::io::Disk;
use crate::io::sim::Faults;

fn run<F: Future<Output = ()>>(test: impl FnOnce(Rc<Simulation>) -> F) {
    let simulation = Rc::new(Simulation::new(1));
    let simulation_ = simulation.clone();
    simulation.block_on(test(simulation_));
}

async fn bucket(node: &Node, versioning: Versioning) -> BucketId {
    node.core(0).create_bucket("b", versioning, BTreeMap::new()).await.unwrap().id
}

async fn put_telling(
    engine: &SimEngine,
    bucket: BucketId,
    key: &[u8],
    bodies: &[&[u8]],
) -> Result<Committed, EngineError> {
    let events = bodies.iter().map(|body| EventDraft { body: body.to_vec() }).collect();
    let payload = payload(engine, b"content").await?;
    engine.put_with_events(bucket, key, payload, attributes(b"content"), Condition::default(), events).await
}

async fn events_of(node: &Node) -> Vec<Event> {
    let mut events = Vec::new();
    for engine in &node.engines {
        for id in engine.events_due(None, usize::MAX) {
            events.push(engine.event(id).await.unwrap().unwrap());
        }
    }
    events.sort_by_key(|event| event.id);
    events
}

#[test]
fn events_say_what_happened_in_the_order_of_the_changes_of_a_key() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 3, 1).await.unwrap();
        let id = bucket(&node, Versioning::Enabled).await;
        let woken: Vec<_> = node.engines.iter().map(|engine| engine.event_queued()).collect();
        let made = put_telling(node.core(1), id, b"k", &[b"first", b"for another"]).await.unwrap();
        let draft = || vec![EventDraft { body: b"later".to_vec() }];
        let update = Update::Headers { set: vec![("n".to_string(), vec![])], remove: vec![] };
        let condition = Condition::default;
        node.core(2).update_with_events(id, b"k", None, update, condition(), draft()).await.unwrap();
        let deletion = |version| Deletion { version, events: draft(), ..Deletion::default() };
        let hidden = node.core(0).delete(id, b"k", deletion(None)).await.unwrap();
        node.core(1).delete(id, b"k", deletion(made.version)).await.unwrap();
        let gone = node.core(1).delete(id, b"k", deletion(made.version)).await.unwrap();
        assert!(!gone.existed, "nothing is told of what was not there");
        let events = events_of(&node).await;
        let told: Vec<_> =
            events.iter().map(|event| (event.change, event.version, &event.body[..])).collect();
        let expected = [
            (EventChange::Created, made.version, &b"first"[..]),
            (EventChange::Created, made.version, b"for another"),
            (EventChange::Updated, made.version, b"later"),
            (EventChange::MarkerCreated, hidden.version, b"later"),
            (EventChange::Removed, made.version, b"later"),
        ];
        assert_eq!(told, expected);
        assert!(events.iter().all(|event| event.key == b"k" && event.bucket == id));
        let owner = node.core(0).owner(id, b"k");
        woken.into_iter().nth(owner).unwrap().await;
        let ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
        node.core(owner).events_done(&[ids[3], ids[0], ids[0]]).await.unwrap();
        assert_eq!(node.core(owner).event(ids[0]).await, Ok(None));
        assert_eq!(node.core(owner).events_due(Some(ids[1]), 5), [ids[2], ids[4]]);
        assert_eq!(node.core(owner).events_count(), 3);
    });
}

#[test]
fn a_change_that_fails_has_no_event() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 2, 1).await.unwrap();
        let id = bucket(&node, Versioning::Unversioned).await;
        let events = || vec![EventDraft { body: b"x".to_vec() }];
        let condition = Condition { matches: Some(ETagMatch::Any), ..Condition::default() };
        let body = payload(node.core(0), b"content").await.unwrap();
        let refused =
            node.core(0).put_with_events(id, b"k", body, attributes(b""), condition, events()).await;
        assert_eq!(refused, Err(EngineError::ConditionOnMissing));
        let deletion = Deletion { events: events(), ..Deletion::default() };
        assert!(!node.core(1).delete(id, b"k", deletion).await.unwrap().existed);
        assert_eq!(events_of(&node).await, []);
    });
}

#[test]
fn a_full_queue_neither_delays_nor_refuses_a_change() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 1, 1).await.unwrap();
        let id = bucket(&node, Versioning::Unversioned).await;
        let (core, body) = (node.core(0), vec![7; EVENT_BODY_BYTES_MAX]);
        let room = (core.inner.options.log_segment_bytes as usize).div_ceil(EVENT_BODY_BYTES_MAX);
        for number in 0..room + 20 {
            put_telling(core, id, format!("key-{number}").as_bytes(), &[&body]).await.unwrap();
        }
        let (kept, dropped) = (core.events_count(), core.events_dropped());
        assert!(kept <= room && kept + dropped as usize == room + 20, "{kept} kept, {dropped} dropped");
        let ids = core.events_due(None, usize::MAX);
        core.events_done(&ids).await.unwrap();
        assert_eq!(core.events_count(), 0);
        put_telling(core, id, b"k", &[&body, &[0; EVENT_BODY_BYTES_MAX + 1]]).await.unwrap();
        assert_eq!((core.events_count(), core.events_dropped()), (1, dropped + 1), "one body is too long");
        let many = vec![&b"x"[..]; EVENTS_PER_CHANGE_MAX + 1];
        put_telling(core, id, b"k", &many).await.unwrap();
        assert_eq!(core.events_dropped(), dropped + 2);
    });
}

#[test]
fn the_events_of_a_bucket_outlive_it() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 2, 1).await.unwrap();
        let id = bucket(&node, Versioning::Unversioned).await;
        put(node.core(0), id, b"k", b"content").await.unwrap();
        let events = vec![EventDraft { body: b"the last one is gone".to_vec() }];
        node.core(0).delete(id, b"k", Deletion { events, ..Deletion::default() }).await.unwrap();
        node.core(0).delete_bucket("b").await.unwrap();
        simulation.crash();
        let node = Node::start(&simulation, 3, 1).await.unwrap();
        assert_eq!(events_of(&node).await[0].body, b"the last one is gone"[..]);
    });
}

#[test]
fn a_rename_moves_an_object_with_all_that_is_stored_about_it() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 3, 1).await.unwrap();
        let id = bucket(&node, Versioning::Unversioned).await;
        for size in [0, 5000, 3_000_000] {
            let bytes = content(9, size);
            put(node.core(0), id, b"there", b"replaced").await.unwrap();
            put(node.core(1), id, b"from", &bytes).await.unwrap();
            let condition = Condition::default;
            let renamed = node.core(2).rename(id, b"from", b"there", condition(), condition(), vec![]).await;
            assert_eq!(renamed.unwrap().etag, attributes(&bytes).etag);
            assert_eq!(get(node.core(0), id, b"from").await.unwrap(), None);
            let object = node.core(1).get(id, b"there", None).await.unwrap().found().unwrap();
            assert_eq!(object.attributes, attributes(&bytes));
            assert_eq!(read(&object, 0..object.bytes).await.unwrap(), bytes);
        }
        node.core(0).host().sleep(std::time::Duration::from_secs(2)).await;
        super::histories::audit(&simulation, 1, &node);
    });
}

#[test]
fn a_rename_happens_only_under_its_conditions() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 3, 1).await.unwrap();
        let id = bucket(&node, Versioning::Unversioned).await;
        put(node.core(0), id, b"a", b"first").await.unwrap();
        put(node.core(0), id, b"b", b"second").await.unwrap();
        let any = Condition::default;
        let absent = || Condition { absent: true, ..any() };
        let matches = |bytes: &[u8]| Condition {
            matches: Some(ETagMatch::OneOf(vec![attributes(bytes).etag])),
            ..any()
        };
        for (from, to, condition, source_condition, refused) in [
            (b"a", b"b", absent(), any(), EngineError::ConditionFailed),
            (b"a", b"b", matches(b"other"), any(), EngineError::ConditionFailed),
            (b"a", b"c", matches(b"first"), any(), EngineError::ConditionOnMissing),
            (b"a", b"c", any(), matches(b"other"), EngineError::ConditionFailed),
            (b"x", b"c", any(), any(), EngineError::NoSuchObject),
            (b"a", b"a", any(), any(), EngineError::Busy),
        ] {
            let result = node.core(1).rename(id, from, to, condition, source_condition, vec![]).await;
            assert_eq!(result, Err(refused));
        }
        assert_eq!(get(node.core(0), id, b"a").await.unwrap().as_deref(), Some(&b"first"[..]));
        // A rename that was refused leaves nothing that stands in the way of the next.
        let done = node.core(0).rename(id, b"a", b"b", matches(b"second"), matches(b"first"), vec![]).await;
        done.unwrap();
        assert_eq!(get(node.core(0), id, b"b").await.unwrap().as_deref(), Some(&b"first"[..]));
        let versioned = BucketChange { versioning: Some(Versioning::Enabled), ..BucketChange::default() };
        node.core(0).set_bucket("b", versioned).await.unwrap();
        let refused = node.core(0).rename(id, b"b", b"c", any(), any(), vec![]).await;
        assert_eq!(refused, Err(EngineError::Changed));
    });
}

#[test]
fn renames_that_chase_each_other_end_and_lose_nothing() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 4, 1).await.unwrap();
        let id = bucket(&node, Versioning::Unversioned).await;
        let keys: Vec<Vec<u8>> = (0..5).map(|number| format!("key-{number}").into_bytes()).collect();
        put(node.core(0), id, &keys[0], b"one").await.unwrap();
        put(node.core(0), id, &keys[1], b"other").await.unwrap();
        let mut under_way = Vec::new();
        for number in 0..200 {
            let (done, result) = crate::base::local::oneshot();
            let engine = node.core(number).clone();
            let (from, to) = (keys[number % 5].clone(), keys[(number * 7 + number / 5 + 1) % 5].clone());
            let absent = Condition { absent: true, ..Condition::default() };
            engine.host().clone().spawn(async move {
                done.send(engine.rename(id, &from, &to, absent, Condition::default(), vec![]).await)
            });
            under_way.push(result);
        }
        let mut renamed = 0;
        for result in under_way {
            match result.await.unwrap() {
                Ok(_) => renamed += 1,
                Err(EngineError::NoSuchObject | EngineError::ConditionFailed | EngineError::Busy) => {}
                Err(error) => panic!("{error}"),
            }
        }
        assert!(renamed > 0);
        let mut left = Vec::new();
        for key in &keys {
            left.extend(get(node.core(1), id, key).await.unwrap());
        }
        left.sort();
        assert_eq!(left, [b"one".to_vec(), b"other".to_vec()]);
    });
}

#[test]
fn a_rename_that_finds_no_room_for_its_end_ends_when_there_is_room() {
    // It was answered as one that did not happen, and left the object under both keys, the old one busy.
    for filler in 0..12 {
        run(|simulation| async move {
            let options = Options { log_segment_bytes: 32 << 10, ..small() };
            let node = Node::start_with(&simulation, 1, 1, options).await.unwrap();
            let (engine, id) = (node.core(0), bucket(&node, Versioning::Unversioned).await);
            // Three blocks of the log: a segment has six, and the next one is made when this is half full.
            let bytes = content(1, 10_000);
            put(engine, id, b"from", &bytes).await.unwrap();
            for _ in 0..filler {
                put(engine, id, b"filler", b"x").await.unwrap();
            }
            let space = simulation.disk(0).space().unwrap();
            let capacity_bytes = space.bytes_total - space.bytes_free;
            simulation.set_faults(Faults { capacity_bytes, ..Faults::default() });
            let (done, renamed) = crate::base::local::oneshot();
            let renaming = engine.clone();
            engine.host().spawn(async move {
                let condition = Condition::default;
                done.send(renaming.rename(id, b"from", b"to", condition(), condition(), vec![]).await);
            });
            engine.host().sleep(std::time::Duration::from_secs(10)).await;
            simulation.set_faults(Faults::default());
            let is_renamed = match renamed.await.unwrap() {
                Ok(_) => true,
                Err(EngineError::Full) => false,
                Err(error) => panic!("{error}"),
            };
            let expected = |is_there: bool| Ok(is_there.then(|| bytes.clone()));
            assert!(get(engine, id, b"to").await == expected(is_renamed), "the new key, filler {filler}");
            assert!(get(engine, id, b"from").await == expected(!is_renamed), "the old key, filler {filler}");
            put(engine, id, b"from", b"again").await.unwrap();
        });
    }
}
