//! Drives that fail under a node: what it says, what goes on, and what is there when the drive is back.
//!
//! There are two ways to fail. A drive in memory whose memory is used up: the kernel answers EIO to writes, and
//! what is there can be read. And ext4's shutdown, which answers EIO to everything, as if the drive had been
//! pulled out. Both need root: without it the tests say that they were skipped.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::client::{Client, Request};
use crate::content::{Random, payload, seed_of};
use crate::health::{ask, report};
use crate::http::Response;
use crate::identities::{command, manage_json};
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

/// A node of two cores, each with a drive of its own, one of which disappears.
struct Story {
    volumes: [Volume; 2],
    node: Node,
    acknowledged: Acknowledged,
    /// Keys whose last change may have happened or not, with what they held before.
    doubtful: BTreeMap<String, (Option<u64>, Option<u64>)>,
}

/// How the node took a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    Yes,
    No,
}

impl Story {
    fn begin() -> Option<Self> {
        let volumes = [Volume::ext4(VOLUME_BYTES)?, Volume::ext4(VOLUME_BYTES)?];
        let folders = volumes.iter().map(|volume| volume.path().join("data")).collect();
        let node = Node::start_with(Options { cores: 2, folders, ..Options::default() });
        // One connection to each core, so that both drives get payload.
        let mut clients = [node.client_with_bucket(BUCKET), node.client()];
        let mut acknowledged = Acknowledged::new();
        for (client, name) in clients.iter_mut().zip(["before/one", "before/two"]) {
            client.send(Request::new("GET", "/")).expect(200);
            store(client, &mut acknowledged, name, 30);
        }
        Some(Self { volumes, node, acknowledged, doubtful: BTreeMap::new() })
    }

    /// Sends a change as SDKs do: again while the answer is that something failed. Whose key's core has its drive,
    /// must get through; and a change that was refused until the end was not made.
    fn change(&mut self, client: &mut Client, request: &Request, key: &str, seed: Option<u64>) -> Taken {
        let before = self.acknowledged.get(key).copied().flatten();
        for _ in 0..4 {
            let response = client.send(request.clone());
            match response.status {
                200 | 204 => {
                    self.acknowledged.insert(key.to_owned(), seed);
                    self.doubtful.remove(key);
                    return Taken::Yes;
                }
                500 => {
                    response.expect_error(500, "InternalError");
                    self.doubtful.insert(key.to_owned(), (before, seed));
                }
                _ => {
                    assert!(response.text().contains("one of its drives failed"), "{}", response.text());
                    response.expect_error(503, "ServiceUnavailable");
                }
            }
        }
        Taken::No
    }

    fn put(&mut self, client: &mut Client, key: &str, seed: u64, bytes: usize) -> Taken {
        let request = Request::new("PUT", &crate::client::target(BUCKET, key)).body(payload(seed, bytes));
        self.change(client, &request, key, Some(seed))
    }

    fn delete(&mut self, client: &mut Client, key: &str) -> Taken {
        self.change(client, &Request::new("DELETE", &crate::client::target(BUCKET, key)), key, None)
    }

    /// Changes of keys whose core has its drive go on, whatever their length and whoever had the connection; the
    /// others are refused.
    fn change_everything(&mut self, clients: &mut [Client]) {
        let mut counts = [0; 2];
        for number in 0..40 {
            let key = format!("after/{number}");
            let small = self.put(&mut clients[number % 4], &key, number as u64, SMALL);
            let large = self.put(&mut clients[(number + 1) % 4], &key, 100 + number as u64, LARGE);
            assert_eq!(small, large, "{key}");
            counts[usize::from(small == Taken::Yes)] += 1;
        }
        assert!(counts.iter().all(|count| *count >= 8), "{counts:?}");
        let keys: Vec<String> = self.acknowledged.keys().cloned().collect();
        let mut deleted = 0;
        for key in keys.iter().filter(|key| key.starts_with("before/")).step_by(3) {
            deleted += usize::from(self.delete(&mut clients[0], key) == Taken::Yes);
        }
        assert!((3..20).contains(&deleted), "{deleted} of 20 deleted");
    }

    /// Reads give the right bytes or a clear error, and listings are whole.
    fn read_everything(&self, client: &mut Client) {
        let (mut right, mut failed) = (0, 0);
        for (key, seed) in &self.acknowledged {
            let response = client.get(BUCKET, key);
            match (response.status, seed) {
                (500, Some(_)) => {
                    let says = response.text();
                    assert!(says.contains("one of its drives") || says.contains("from its drive"), "{says}");
                    failed += 1;
                }
                (404, None) => drop(response.expect_error(404, "NoSuchKey")),
                _ => {
                    assert_eq!(seed_of(&response.expect(200).body).ok(), *seed, "{key}");
                    right += 1;
                }
            }
        }
        assert!(right >= 30 && failed >= 5, "{right} read, {failed} failed");
        let listed = client.send(Request::new("GET", &format!("/{BUCKET}?list-type=2"))).expect(200);
        let listed = crate::http::elements(&listed.text(), "Key");
        let there = self.acknowledged.iter().filter(|(_, seed)| seed.is_some()).map(|(key, _)| key);
        assert!(listed.iter().eq(there), "the listing differs: {listed:?}");
    }

    /// Whoever asks learns which drive it is.
    fn told(&self, lost: usize) {
        let node = &self.node;
        let health = report(node.admin(), "/health", 503);
        let failed = read_only(&health);
        assert_eq!(failed.len(), 1, "{health}");
        assert_eq!((&failed[0]["core"], &failed[0]["drive"]), (&lost.into(), &lost.into()));
        assert_eq!(failed[0]["directory"], node.data(lost).to_str().unwrap());
        assert_eq!(report(node.address(), "/minio/health/ready", 503)["cores"][0]["drive"], lost);
        let status = manage_json(node, &["status"]);
        for drive in 0..2 {
            let shown = &status["drives"][drive];
            assert_eq!(shown["state"], if drive == lost { "read-only" } else { "serving" }, "{status}");
            assert_eq!(shown["directory"], node.data(drive).to_str().unwrap());
            assert!(shown["bytesTotal"].as_u64() > shown["bytesFree"].as_u64(), "{status}");
            assert!(shown["payloadBytes"].as_u64() >= Some(LARGE as u64), "{status}");
        }
        let output = command(node, node.credentials(), &["status"]).output().unwrap();
        let shown = String::from_utf8(output.stdout).unwrap();
        let row = |line: &str| line.starts_with(&format!("{lost}  ")) && line.contains("read-only  ");
        assert!(shown.contains("Input/output error") && shown.lines().any(row), "{shown}");
        let metrics = ask(node.admin(), "GET", "/metrics").expect(200).text();
        let value = |series: &str| {
            let line = metrics.lines().find(|line| line.starts_with(series));
            line.and_then(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).unwrap_or_default()
        };
        let other = 1 - lost;
        for (core, failed) in [(lost, 1.0), (other, 0.0)] {
            assert_eq!(
                value(&format!("ringcask_failed{{core=\"{core}\",part=\"log\"}}")),
                failed,
                "{metrics}"
            );
        }
        let failures = |drive| {
            let operations = ["read", "write", "write_durable", "sync"];
            let series =
                |it| format!("ringcask_drive_failures_total{{drive=\"{drive}\",operation=\"{it}\"}}");
            operations.map(|it| value(&series(it))).iter().sum::<f64>()
        };
        assert!(failures(lost) >= 2.0 && failures(other) == 0.0, "{metrics}");
    }

    /// Without the drive a node does not start, since part of what was acknowledged would be missing; once it is
    /// back, everything is there.
    fn come_back(&mut self, lost: usize) {
        self.node.kill();
        let directory = self.node.data(lost);
        let dead = self.node.refuse(2);
        assert!(dead.contains(directory.to_str().unwrap()) && dead.contains("os error 5"), "{dead}");
        self.volumes[lost].unmount();
        let missing = self.node.refuse(2);
        assert!(missing.contains(&format!("drive {lost} of the node is not mounted")), "{missing}");
        assert!(missing.contains(&format!("{lost} is {}", directory.display())), "{missing}");
        self.volumes[lost].mount();
        self.node.restart(2);
        let mut client = self.node.client();
        for (key, (before, after)) in &self.doubtful {
            let response = client.get(BUCKET, key);
            let found = match response.status {
                404 => None,
                _ => Some(seed_of(&response.expect(200).body).unwrap()),
            };
            assert!([before, after].contains(&&found), "{key}: {found:?}");
            self.acknowledged.remove(key);
        }
        all_there(&mut client, &self.acknowledged);
        report(self.node.address(), "/minio/health/ready", 200);
        store(&mut client, &mut self.acknowledged, "again", 20);
        assert!(self.node.terminate().success());
        self.node.restart(3);
        all_there(&mut self.node.client(), &self.acknowledged);
    }
}

#[test]
fn a_drive_that_disappears_takes_only_its_own_keys_with_it() {
    for lost in [1, 0] {
        let Some(mut story) = Story::begin() else { return };
        // Connections of before, on both cores.
        let mut clients: Vec<Client> = (0..4).map(|_| story.node.client()).collect();
        for client in &mut clients {
            client.get(BUCKET, "before/one/0").expect(200);
        }
        story.volumes[lost].shut_down();
        story.change_everything(&mut clients);
        story.read_everything(&mut clients[0]);
        story.told(lost);
        // Buckets, users and policies are kept by core 0.
        let made = clients[0].send(Request::new("PUT", "/another"));
        match lost {
            0 => drop(made.expect_error(503, "ServiceUnavailable")),
            _ => drop(made.expect(200)),
        }
        drop(clients);
        story.come_back(lost);
    }
}

#[test]
fn drives_beyond_the_number_of_cores_are_named_wherever_one_looks() {
    let node = Node::start_with(Options { cores: 1, drives: 2, ..Options::default() });
    let idle = node.data(1).to_str().unwrap().to_owned();
    node.log_with(0, |log| {
        log.contains("WARN") && log.contains("2 drives for 1 of them") && log.contains(&idle)
    });
    let status = manage_json(&node, &["status"]);
    assert_eq!(
        (&status["drives"][1]["state"], &status["drives"][1]["cores"]),
        (&"no core".into(), &json!([]))
    );
    for what in ["status", "config"] {
        let shown = String::from_utf8(command(&node, node.credentials(), &[what]).output().unwrap().stdout);
        assert!(shown.unwrap().replace("\n  ", " ").contains("nothing new goes to"), "{what}");
        assert!(manage_json(&node, &[what])["notes"][0].as_str().unwrap().contains(&idle));
    }
}
