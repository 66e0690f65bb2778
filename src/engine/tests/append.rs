//! Appending: payload grows by reference, on the condition that nobody else changed the object.

use proptest::prelude::*;

use super::*;

async fn append(engine: &SimEngine, bucket: BucketId, bytes: &[u8]) -> Result<Committed, EngineError> {
    let object = engine.get(bucket, b"k", None).await?.found().expect("it was put");
    let payload = object.followed_by(payload(engine, bytes).await?).await?;
    let condition = Condition { sequence: Some(object.sequence), ..Condition::default() };
    engine.put(bucket, b"k", payload, attributes(bytes), condition).await
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn what_is_appended_stands_behind_what_was_there(
        pieces in prop::collection::vec(
            prop::sample::select(&[0usize, 1, 5_000, 40_000, 65_536, 65_537, 300_000]), 1..7),
    ) {
        let simulation = Simulation::new(5);
        let found = simulation.block_on(async {
            let node = Node::start(&simulation, 3, 2).await.unwrap();
            let created = node.core(0).create_bucket("b", Versioning::Unversioned, BTreeMap::new());
            let bucket = created.await.unwrap().id;
            put(node.core(0), bucket, b"k", b"").await.unwrap();
            for (number, bytes) in pieces.iter().enumerate() {
                append(node.core(number), bucket, &content(number as u64, *bytes)).await.unwrap();
            }
            node.shutdown().await;
            let node = Node::start(&simulation, 3, 2).await.unwrap();
            let usage = node.core(0).usage(bucket).await.unwrap();
            (get(node.core(1), bucket, b"k").await.unwrap().unwrap(), usage)
        });
        let expected: Vec<u8> =
            pieces.iter().enumerate().flat_map(|(number, bytes)| content(number as u64, *bytes)).collect();
        prop_assert_eq!(found.1.bytes, expected.len() as u64);
        prop_assert!(found.0 == expected);
    }
}

#[test]
fn of_many_appends_to_one_state_one_wins_and_the_others_leave_nothing() {
    let simulation = Simulation::new(6);
    simulation.block_on(async {
        let node = Node::start(&simulation, 3, 1).await.unwrap();
        let created = node.core(0).create_bucket("b", Versioning::Unversioned, BTreeMap::new());
        let bucket = created.await.unwrap().id;
        put(node.core(0), bucket, b"k", &content(99, 100_000)).await.unwrap();
        let mut under_way = Vec::new();
        for number in 0..12 {
            let (done, result) = crate::base::local::oneshot();
            let engine = node.core(number).clone();
            engine.host().clone().spawn(async move {
                done.send(append(&engine, bucket, &content(number as u64, 100_000)).await);
            });
            under_way.push(result);
        }
        let mut winners = Vec::new();
        for (number, result) in under_way.into_iter().enumerate() {
            match result.await.unwrap() {
                Ok(_) => winners.push(number as u64),
                Err(error) => assert_eq!(error, EngineError::ConditionFailed),
            }
        }
        let found = get(node.core(1), bucket, b"k").await.unwrap().unwrap();
        let pieces = std::iter::once(99).chain(winners.iter().copied());
        let expected: Vec<u8> = pieces.flat_map(|seed| content(seed, 100_000)).collect();
        assert!(!winners.is_empty() && found == expected, "winners {winners:?}");
    });
}
