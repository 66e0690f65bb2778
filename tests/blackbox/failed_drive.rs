//! Drives that fail under a node: what it says, what goes on, and what is there when the drive is back.
//!
//! There are two ways to fail. A drive in memory whose memory is used up: the kernel answers EIO to writes, and
//! what is there can be read. And ext4's shutdown, which answers EIO to everything, as if the drive had been
//! pulled out. Both need root: without it the tests say that they were skipped.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::client::{Client, Request};
use crate::content::{Random, payload, seed_of};
use crate::health::{ask, report};
use crate::http::Response;
use crate::node::{Node, Options};
use crate::volume::Volume;

const BUCKET: &str = "drives";
const VOLUME_BYTES: u64 = 320 << 20;

/// What was acknowledged: the seed of each key, or nothing.
type Acknowledged = BTreeMap<String, Option<u64>>;

/// Lengths of objects: in the log, and in extents.
const SMALL: usize = 3_000;
const LARGE: usize = 400_000;

fn put(client: &mut Client, key: &str, seed: u64, bytes: usize) -> Response {
    client.put(BUCKET, key, &payload(seed, bytes))
}

fn store(client: &mut Client, acknowledged: &mut Acknowledged, name: &str, count: u64) {
    for number in 0..count {
        let key = format!("{name}/{number}");
        let bytes = if number % 2 == 0 { SMALL } else { LARGE };
        put(client, &key, number, bytes).expect(200);
        acknowledged.insert(key, Some(number));
    }
}

#[track_caller]
fn read(client: &mut Client, key: &str, seed: Option<u64>) {
    let response = client.get(BUCKET, key);
    match seed {
        Some(seed) => assert_eq!(seed_of(&response.expect(200).body), Ok(seed), "{key}"),
        None => drop(response.expect_error(404, "NoSuchKey")),
    }
}

#[track_caller]
fn all_there(client: &mut Client, acknowledged: &Acknowledged) {
    for (key, seed) in acknowledged {
        read(client, key, *seed);
    }
}

/// Tries changes until each core has refused some after a failure. What was not acknowledged is in doubt, and
/// nothing is acknowledged after the failure.
fn change_until_refused(client: &mut Client, acknowledged: &mut Acknowledged) -> Vec<String> {
    let mut doubtful = Vec::new();
    let mut random = Random::new(5);
    let mut refused = 0;
    for number in 0..2000 {
        let key = format!("while it fails/{number}");
        let bytes = if random.below(3) == 0 { LARGE } else { SMALL };
        let response = put(client, &key, number, bytes);
        match response.status {
            200 => {
                acknowledged.insert(key, Some(number));
                refused = 0;
            }
            // The write that failed: nobody knows whether it happened.
            500 => {
                response.expect_error(500, "InternalError");
                doubtful.push(key);
            }
            // Refused before anything was done.
            _ => {
                response.expect_error(503, "ServiceUnavailable");
                acknowledged.insert(key, None);
                refused += 1;
            }
        }
        if refused == 40 {
            return doubtful;
        }
    }
    panic!("the node never refused");
}

/// Reports of the cores that are read-only.
fn read_only(health: &Value) -> Vec<&Value> {
    health["cores"].as_array().unwrap().iter().filter(|core| core["state"] == "read-only").collect()
}

#[test]
fn a_drive_that_fails_writes_makes_its_cores_read_only_and_loses_nothing_acknowledged() {
    let Some(volume) = Volume::ext4_in_memory(VOLUME_BYTES) else { return };
    let folders = vec![volume.path().join("data")];
    let mut node = Node::start_with(Options { cores: 2, folders, ..Options::default() });
    let mut client = node.client_with_bucket(BUCKET);
    let mut acknowledged = Acknowledged::new();
    store(&mut client, &mut acknowledged, "before", 60);

    volume.fail_writes();
    let doubtful = change_until_refused(&mut client, &mut acknowledged);

    // Reads go on; nothing is acknowledged any more, by whichever connection.
    all_there(&mut client, &acknowledged);
    for number in 0..20 {
        let mut client = node.client();
        let refused = put(&mut client, &format!("before/{number}"), 9, SMALL);
        assert!([500, 503].contains(&refused.status), "{}", refused.status);
        let refused = client.delete(BUCKET, &format!("before/{number}"));
        assert!([500, 503].contains(&refused.status), "{}", refused.status);
    }
    all_there(&mut client, &acknowledged);

    // It says so, and what failed; the S3 listener without names of files.
    let health = report(node.admin(), "/health", 503);
    assert_eq!(health["status"], "read-only");
    for core in read_only(&health) {
        let reasons = core["failures"].to_string();
        assert!(reasons.contains("os error 5"), "{reasons}");
        assert!(reasons.contains("log-") || reasons.contains("data-"), "{reasons}");
        assert_eq!(core["directory"], volume.path().join("data").to_str().unwrap());
    }
    assert_eq!(read_only(&health).len(), 2, "{health}");
    for path in ["/minio/health/ready", "/minio/health/cluster"] {
        let probe = ask(node.address(), "GET", path).expect(503).text();
        assert!(probe.contains("read-only") && probe.contains("\"core\":1"), "{probe}");
        assert!(!probe.contains("log-") && !probe.contains(volume.path().to_str().unwrap()), "{probe}");
    }
    report(node.address(), "/minio/health/cluster/read", 200);
    report(node.address(), "/minio/health/live", 200);

    // The drive is repaired: everything that was acknowledged is there, and changes are taken again.
    drop(client);
    node.kill();
    volume.unmount();
    volume.repair();
    volume.mount();
    node.restart(2);
    let mut client = node.client();
    all_there(&mut client, &acknowledged);
    for key in doubtful {
        let response = client.get(BUCKET, &key);
        assert!(
            response.status == 404 || seed_of(&response.expect(200).body).is_ok(),
            "{key} is there in part"
        );
    }
    report(node.address(), "/minio/health/ready", 200);
    store(&mut client, &mut acknowledged, "after", 20);
    assert!(node.terminate().success());
    node.restart(1);
    all_there(&mut node.client(), &acknowledged);
}

#[test]
fn a_drive_that_disappears_takes_only_its_own_cores_with_it() {
    let Some(first) = Volume::ext4(VOLUME_BYTES) else { return };
    let second = Volume::ext4(VOLUME_BYTES).expect("root may mount");
    let folders = vec![first.path().join("data"), second.path().join("data")];
    let mut node = Node::start_with(Options { cores: 2, folders, ..Options::default() });
    let mut client = node.client_with_bucket(BUCKET);
    let mut acknowledged = Acknowledged::new();
    store(&mut client, &mut acknowledged, "before", 60);

    second.shut_down();
    // Keys of the core whose drive is there: small ones, since large ones lie where their connection was served.
    let (mut taken, mut refused) = (0, 0);
    for number in 0..60 {
        let key = format!("after/{number}");
        let response = put(&mut client, &key, number, SMALL);
        match response.status {
            200 => {
                acknowledged.insert(key, Some(number));
                taken += 1;
            }
            500 => drop(response.expect_error(500, "InternalError")),
            _ => {
                response.expect_error(503, "ServiceUnavailable");
                refused += 1;
            }
        }
    }
    assert!(taken >= 10 && refused >= 10, "{taken} taken, {refused} refused");
    // Reads give the right bytes or a clear error, and those of the drive that is there go on.
    let (mut right, mut failed) = (0, 0);
    for (key, seed) in &acknowledged {
        let response = client.get(BUCKET, key);
        match response.status {
            200 => {
                assert_eq!(seed_of(&response.body).ok(), *seed, "{key}");
                right += 1;
            }
            _ => {
                response.expect_error(500, "InternalError");
                failed += 1;
            }
        }
    }
    assert!(right > failed, "{right} read, {failed} failed");
    let listed = client.send(Request::new("GET", &format!("/{BUCKET}?list-type=2"))).expect(200);
    assert!(listed.element("KeyCount").unwrap().parse::<usize>().unwrap() >= acknowledged.len());
    let health = report(node.admin(), "/health", 503);
    let failed = read_only(&health);
    assert_eq!(failed.len(), 1, "{health}");
    assert_eq!((&failed[0]["core"], &failed[0]["drive"]), (&1.into(), &1.into()));
    assert_eq!(report(node.address(), "/minio/health/ready", 503)["cores"][0]["drive"], 1);

    // Without it, a node does not start: part of what was acknowledged would be missing.
    drop(client);
    node.kill();
    second.unmount();
    let why = node.refuse(2);
    assert!(why.contains("drive 1") || why.contains("drives"), "{why}");
    second.mount();
    node.restart(2);
    let mut client = node.client();
    all_there(&mut client, &acknowledged);
    store(&mut client, &mut acknowledged, "again", 20);
    all_there(&mut client, &acknowledged);
}
