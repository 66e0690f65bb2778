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

fn entries(list: &[(&str, Option<&str>)]) -> BTreeMap<String, Option<Vec<u8>>> {
    list.iter()
        .map(|(name, value)| (name.to_string(), value.map(|value| value.as_bytes().to_vec())))
        .collect()
}

fn config_of(engine: &SimEngine) -> Vec<(String, Vec<u8>)> {
    engine.config().entries.iter().map(|(name, value)| (name.clone(), value.to_vec())).collect()
}

#[test]
fn every_core_uses_a_new_configuration_once_it_is_acknowledged_and_after_a_crash() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 3, 1).await.unwrap();
        assert!(node.core(1).config().entries.is_empty());
        let revisions: Vec<u64> = node.engines.iter().map(|engine| engine.config().revision).collect();
        let entries = entries(&[("user/a", Some("1")), ("user/b", Some("2")), ("never/there", None)]);
        let change = ConfigChange { entries, ..ConfigChange::default() };
        node.core(2).change_config(change.clone()).await.unwrap();
        node.core(1).set_config("user/b", None).await.unwrap();
        let kept = vec![("user/a".to_string(), b"1".to_vec())];
        for (engine, before) in node.engines.iter().zip(revisions) {
            assert_eq!(config_of(engine), kept);
            assert_eq!(engine.config().revision, before + 2);
        }
        // What changes nothing is not worth a new revision.
        node.core(0).set_config("user/a", Some(b"1".to_vec())).await.unwrap();
        let before = node.core(0).config();
        simulation.crash();
        let node = Node::start(&simulation, 2, 1).await.unwrap();
        for engine in &node.engines {
            assert_eq!(config_of(engine), kept);
        }
        assert_eq!(before.entries, node.core(1).config().entries, "who holds a state keeps it");
    });
}

#[test]
fn of_changes_that_expect_the_same_value_one_wins() {
    run(|simulation| async move {
        let node = Node::start(&simulation, 4, 1).await.unwrap();
        let mut under_way = Vec::new();
        for number in 0..40 {
            let (done, result) = crate::base::local::oneshot();
            let engine = node.core(number).clone();
            engine.host().clone().spawn(async move {
                let value = number.to_string();
                let entries = entries(&[("user/a", Some(&value)), (&format!("key/{number}"), Some("k"))]);
                let expected = self::entries(&[("user/a", None)]);
                done.send(engine.change_config(ConfigChange { entries, expected }).await);
            });
            under_way.push(result);
        }
        let mut winners = Vec::new();
        for (number, result) in under_way.into_iter().enumerate() {
            match result.await.unwrap() {
                Ok(()) => winners.push(number.to_string()),
                Err(error) => assert_eq!(error, EngineError::Changed),
            }
        }
        let [winner] = winners.as_slice() else { panic!("{winners:?} have won") };
        let all =
            vec![(format!("key/{winner}"), b"k".to_vec()), ("user/a".to_string(), winner.clone().into())];
        assert_eq!(config_of(node.core(3)), all);
    });
}

#[test]
fn a_configuration_is_bounded() {
    use crate::base::limits::{CONFIG_NAME_BYTES_MAX, CONFIG_VALUE_BYTES_MAX};
    run(|simulation| async move {
        let node = Node::start(&simulation, 2, 1).await.unwrap();
        let value = |bytes| Some(vec![7; bytes]);
        node.core(1).set_config("v", value(CONFIG_VALUE_BYTES_MAX)).await.unwrap();
        let name = "n".repeat(CONFIG_NAME_BYTES_MAX);
        node.core(0).set_config(&name, value(0)).await.unwrap();
        let many = (0..8).map(|number| (number.to_string(), value(CONFIG_VALUE_BYTES_MAX))).collect();
        let many = ConfigChange { entries: many, ..ConfigChange::default() };
        for refused in [
            node.core(1).set_config("w", value(CONFIG_VALUE_BYTES_MAX + 1)).await,
            node.core(1).set_config(&format!("{name}n"), value(1)).await,
            node.core(1).set_config("", value(1)).await,
            node.core(0).change_config(many).await,
        ] {
            assert!(matches!(refused, Err(EngineError::LimitExceeded(_))), "{refused:?}");
        }
        assert_eq!(node.core(1).config().entries.len(), 2);
    });
}

#[test]
fn settings_and_configuration_outlive_checkpoints_cleaning_and_other_numbers_of_cores() {
    run(|simulation| async move {
        let mut expected = BTreeMap::new();
        for (round, cores) in [2, 3, 1, 2].into_iter().enumerate() {
            let node = Node::start(&simulation, cores, 2).await.unwrap();
            for engine in &node.engines {
                assert_eq!(config_of(engine), expected.clone().into_iter().collect::<Vec<_>>());
            }
            if round == 0 {
                create(&node).await;
            }
            for number in 0..60 {
                let name = format!("entry-{}", number % 7);
                let value = (number % 5 != 4).then(|| content(number + 100 * round as u64, 100_000));
                match &value {
                    Some(value) => drop(expected.insert(name.clone(), value.clone())),
                    None => drop(expected.remove(&name)),
                }
                node.core(number as usize).set_config(&name, value).await.unwrap();
                node.core(1).set_bucket("b", setting("n", Some(&number.to_string()))).await.unwrap();
            }
            for engine in node.engines.iter().chain(&node.engines) {
                engine.maintain().await.unwrap();
            }
            let cleaned = !files_exist(&simulation, 1);
            assert!(round == 0 || cleaned, "the first segment is cleaned away");
            simulation.crash();
        }
        let node = Node::start(&simulation, 2, 2).await.unwrap();
        assert_eq!(node.core(1).bucket("b").unwrap().settings["n"], b"59");
        assert_eq!(config_of(node.core(0)), expected.into_iter().collect::<Vec<_>>());
    });
}

fn files_exist(simulation: &Simulation, segment: format::SegmentId) -> bool {
    let name = FileName::Log(segment).to_string();
    (0..2).any(|drive| simulation.disk(drive).list().unwrap().iter().any(|file| file.name == name))
}
