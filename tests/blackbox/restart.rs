//! Stopping and starting again: what was stored is there, whatever the number of cores.

use crate::content::{payload, seed_of};
use crate::node::{Node, Options};

#[test]
fn everything_is_there_after_a_stop_and_a_start_with_other_cores() {
    let mut node = Node::start_with(Options { cores: 2, drives: 2, ..Options::default() });
    let mut client = node.client_with_bucket("kept");
    let lengths = [24, 4096, 65_536, 65_537, 1_000_000, 9_000_000];
    for (seed, length) in lengths.into_iter().enumerate() {
        client.put("kept", &format!("{length}"), &payload(seed as u64, length)).expect(200);
    }
    for cores in [1, 4, 2] {
        drop(client);
        assert!(node.terminate().success(), "SIGTERM ends a node with 0");
        node.restart(cores);
        client = node.client();
        for (seed, length) in lengths.into_iter().enumerate() {
            let got = client.get("kept", &format!("{length}")).expect(200);
            assert_eq!(seed_of(&got.body), Ok(seed as u64), "{length} bytes with {cores} cores");
        }
    }
}
