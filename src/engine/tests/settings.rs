//! Settings of buckets: what every core agrees on, however it came about.

use super::*;

fn run<F: Future<Output = ()>>(test: impl FnOnce(Rc<Simulation>) -> F) {
    let simulation = Rc::new(Simulation::new(1));
    let simulation_ = simulation.clone();
    simulation.block_on(test(simulation_));
}

async fn create(node: &Node) -> Rc<Bucket> {
    node.core(1).create_bucket("b", Versioning::Unversioned, BTreeMap::new()).await.unwrap()
}

/// A change of one setting.
fn setting(name: &str, value: Option<&str>) -> BucketChange {
    let value = value.map(|value| value.as_bytes().to_vec());
    BucketChange { settings: [(name.to_string(), value)].into(), ..BucketChange::default() }
}

#[test]
fn every_core_uses_new_settings_once_they_are_acknowledged_and_after_a_crash() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 3, 1).await.unwrap();
        let made = create(&node).await;
        let versioned = BucketChange { versioning: Some(Versioning::Enabled), ..setting("acl", Some("x")) };
        let set = node.core(2).set_bucket("b", versioned).await.unwrap();
        assert_eq!((set.id, set.created, set.versioning), (made.id, made.created, Versioning::Enabled));
        assert_eq!(set.settings["acl"], b"x");
        for engine in &node.engines {
            assert_eq!(engine.bucket("b").as_ref(), Some(&set));
        }
        let set = node.core(0).set_bucket("b", setting("acl", None)).await.unwrap();
        assert!(set.settings.is_empty() && set.versioning == Versioning::Enabled);
        simulation.crash();
        let node = Node::start(&simulation, 2, 1).await.unwrap();
        for engine in &node.engines {
            assert_eq!(engine.bucket("b").as_ref(), Some(&set));
        }
    });
}

#[test]
fn concurrent_changes_of_different_settings_do_not_undo_each_other() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 3, 1).await.unwrap();
        create(&node).await;
        let mut under_way = Vec::new();
        for number in 0..30 {
            let (done, result) = crate::base::local::oneshot();
            let engine = node.core(number).clone();
            engine.host().clone().spawn(async move {
                let change = setting(&format!("setting-{number}"), Some("value"));
                done.send(engine.set_bucket("b", change).await.map(drop));
            });
            under_way.push(result);
        }
        for result in under_way {
            result.await.unwrap().unwrap();
        }
        for engine in &node.engines {
            assert_eq!(engine.bucket("b").unwrap().settings.len(), 30);
        }
    });
}

#[test]
fn a_change_whose_expectation_does_not_hold_changes_nothing() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 2, 1).await.unwrap();
        create(&node).await;
        let before = node.core(0).set_bucket("b", setting("object-lock", Some("on"))).await.unwrap();
        let suspend = BucketChange {
            versioning: Some(Versioning::Suspended),
            expected: BucketExpectation {
                settings: [("object-lock".to_string(), None)].into(),
                ..BucketExpectation::default()
            },
            ..BucketChange::default()
        };
        assert_eq!(node.core(1).set_bucket("b", suspend).await, Err(EngineError::Changed));
        let other =
            BucketExpectation { versioning: Some(Versioning::Enabled), ..BucketExpectation::default() };
        let change = BucketChange { expected: other, ..setting("acl", Some("x")) };
        assert_eq!(node.core(0).set_bucket("b", change).await, Err(EngineError::Changed));
        assert_eq!(node.core(1).bucket("b"), Some(before));
        let gone = node.core(1).set_bucket("c", setting("acl", None)).await;
        assert_eq!(gone, Err(EngineError::NoSuchBucket));
    });
}

#[test]
fn settings_that_would_not_fit_a_record_are_refused() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 2, 1).await.unwrap();
        create(&node).await;
        let large = "x".repeat(crate::base::limits::BUCKET_SETTINGS_BYTES_MAX / 2);
        node.core(1).set_bucket("b", setting("one", Some(&large))).await.unwrap();
        let refused = node.core(1).set_bucket("b", setting("two", Some(&large))).await;
        assert!(matches!(refused, Err(EngineError::LimitExceeded(_))), "{refused:?}");
        assert_eq!(node.core(0).bucket("b").unwrap().settings.len(), 1);
    });
}
