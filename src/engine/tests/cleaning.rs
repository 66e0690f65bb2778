//! Cleaning of the log comes to an end.

use super::*;

#[test]
fn cleaning_ends_though_a_log_of_small_batches_is_mostly_padding() {
    // One put after the other makes a batch of one block for each. Nothing of that is dead, but most of the
    // log is of no record.
    let simulation = Simulation::new(1);
    let story = async {
        let options = Options { log_segment_bytes: 32 << 10, checkpoint_log_bytes: 32 << 10, ..small() };
        let node = Node::start_with(&simulation, 1, 1, options).await.unwrap();
        let created = node.core(0).create_bucket("b", Versioning::Unversioned, BTreeMap::new());
        let bucket = created.await.unwrap().id;
        for number in 0..100u64 {
            put(node.core(0), bucket, &number.to_le_bytes(), b"value").await.unwrap();
        }
        for _ in 0..2 {
            checkpoint::write(node.core(0)).await.unwrap();
        }
        node.core(0).maintain().await.unwrap();
        let written = node.core(0).inner.log.bytes_written();
        node.core(0).maintain().await.unwrap();
        assert_eq!(node.core(0).inner.log.bytes_written(), written, "what a pass left is moved again");
        for number in 0..100u64 {
            assert_eq!(get(node.core(0), bucket, &number.to_le_bytes()).await, Ok(Some(b"value".to_vec())));
        }
    };
    simulation.block_on_for(story, 1_000_000).expect("cleaning goes on for ever");
}
