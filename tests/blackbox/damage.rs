//! Bit rot, cut files and lost files under a node: damage is an error that names file and offset, never wrong
//! bytes, and what is not damaged is served.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::client::{Client, Request, target};
use crate::content::{HEADER_BYTES, payload, seed_of};
use crate::health::report;
use crate::identities::manage;
use crate::node::{Node, Options};

const BUCKET: &str = "rot";
const SMALL: usize = 5_000;
const LARGE: usize = 1_500_000;

/// Seeds and lengths by key.
type Stored = BTreeMap<String, (u64, usize)>;

fn store(client: &mut Client, stored: &mut Stored, name: &str, count: u64, bytes: usize) {
    for number in 0..count {
        let (key, seed) = (format!("{name}/{number:02}"), number + bytes as u64 * 1000);
        client.put(BUCKET, &key, &payload(seed, bytes)).expect(200);
        stored.insert(key, (seed, bytes));
    }
}

#[track_caller]
fn all_there(client: &mut Client, stored: &Stored) {
    for (key, (seed, _)) in stored {
        assert_eq!(seed_of(&client.get(BUCKET, key).expect(200).body), Ok(*seed), "{key}");
    }
}

/// The node's files of a kind, in order.
fn files(node: &Node, kind: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(node.data(0)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> =
        entries.filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(kind)).collect();
    files.sort();
    files
}

/// Where bytes of an object's payload lie: those from `at` on.
fn find(node: &Node, stored: &Stored, key: &str, at: usize) -> (PathBuf, u64) {
    let (seed, bytes) = stored[key];
    let kind = if bytes == SMALL { "log-" } else { "data-" };
    let found = find_bytes(node, kind, &payload(seed, bytes)[at..at + 32]);
    found.unwrap_or_else(|| panic!("the payload of {key} is in no file"))
}

fn find_bytes(node: &Node, kind: &str, wanted: &[u8]) -> Option<(PathBuf, u64)> {
    files(node, kind).into_iter().find_map(|path| {
        let offset = memchr::memmem::find(&fs::read(&path).unwrap(), wanted)?;
        Some((path, offset as u64))
    })
}

/// Flips one bit at rest.
fn flip(path: &Path, offset: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 0x10], offset).unwrap();
    file.sync_all().unwrap();
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// Does something to a file of a stopped node.
type Ruin = fn(&Path);

#[test]
fn a_flipped_bit_of_a_large_object_is_an_error_that_names_it_and_nothing_else_suffers() {
    let mut node = Node::start();
    let mut client = node.client_with_bucket(BUCKET);
    let mut stored = Stored::new();
    store(&mut client, &mut stored, "large", 6, LARGE);
    drop(client);
    node.kill();
    let (path, offset) = find(&node, &stored, "large/02", LARGE / 2);
    flip(&path, offset);
    let before = node.log_whole().len();
    node.restart(2);
    let mut client = node.client();

    // The whole: begun, and cut where the damage is. A range: refused, if the damage is in what is verified
    // for it; else served.
    let (seed, _) = stored.remove("large/02").unwrap();
    let whole = payload(seed, LARGE);
    let broken = client.try_send(Request::new("GET", &target(BUCKET, "large/02")));
    assert_eq!(broken.err().map(|error| error.kind()), Some(ErrorKind::UnexpectedEof));
    let range = |from: usize, to: usize| {
        Request::new("GET", &target(BUCKET, "large/02")).header("Range", &format!("bytes={from}-{to}"))
    };
    client.send(range(LARGE / 2, LARGE / 2 + 10)).expect_error(500, "InternalError");
    assert_eq!(client.send(range(0, 99_999)).expect(206).body, whole[..100_000]);
    assert_eq!(client.send(range(LARGE - 99_999, LARGE)).expect(206).body, whole[LARGE - 99_999..]);
    node.log_with(before, |said| {
        let mut lines = said.lines().filter(|line| line.contains(name(&path)) && line.contains("offset"));
        lines.any(|line| line.contains("rot/large/02"))
    });
    // Health names the place to anybody, and the object to the operator alone.
    let health = report(node.admin(), "/health", 200).to_string();
    assert!(health.contains(name(&path)) && !health.contains("large/02"), "{health}");
    let shown = manage(&node, &["status"]);
    assert!(shown.contains(name(&path)) && shown.contains("rot/large/02"), "{shown}");

    // A copy shares the damage; what is put over it does not.
    let copy = Request::new("PUT", &target(BUCKET, "copy")).header("x-amz-copy-source", "/rot/large/02");
    client.send(copy).expect(200);
    assert!(client.try_send(Request::new("GET", &target(BUCKET, "copy"))).is_err());
    client.head(BUCKET, "large/02").expect(200);
    client.put(BUCKET, "large/02", &whole).expect(200);
    stored.insert("large/02".to_owned(), (seed, LARGE));
    client.delete(BUCKET, "copy").expect(204);
    all_there(&mut client, &stored);
    report(node.address(), "/minio/health/ready", 200);
}

#[test]
fn a_flipped_bit_of_a_small_object_is_an_error_that_names_it_and_nothing_else_suffers() {
    let mut node = Node::start();
    let mut client = node.client_with_bucket(BUCKET);
    let mut stored = Stored::new();
    store(&mut client, &mut stored, "small", 30, SMALL);
    drop(client);
    // With a checkpoint, a start does not read that part of the log.
    assert!(node.terminate().success());
    let mut damaged = Vec::new();
    for key in ["small/03", "small/17", "small/29"] {
        let (path, offset) = find(&node, &stored, key, HEADER_BYTES + 700);
        flip(&path, offset);
        damaged.push((key, path));
    }
    let before = node.log_whole().len();
    node.restart(2);
    let mut client = node.client();
    for (key, path) in damaged {
        client.get(BUCKET, key).expect_error(500, "InternalError");
        let (seed, _) = stored.remove(key).unwrap();
        node.log_with(before, |said| {
            said.lines().any(|line| line.contains(name(&path)) && line.contains("offset"))
        });
        client.put(BUCKET, key, &payload(seed, SMALL)).expect(200);
        stored.insert(key.to_owned(), (seed, SMALL));
    }
    all_there(&mut client, &stored);
}

#[test]
fn damaged_cut_and_missing_checkpoints_cost_time_only() {
    let mut node = Node::start();
    let mut client = node.client_with_bucket(BUCKET);
    let mut stored = Stored::new();
    store(&mut client, &mut stored, "small", 200, 300);
    store(&mut client, &mut stored, "large", 2, LARGE);
    client.delete(BUCKET, "small/07").expect(204);
    stored.remove("small/07");
    drop(client);
    let ruin: [(&str, Ruin); 3] = [
        ("damaged", |path| flip(path, fs::metadata(path).unwrap().len() / 2 + 100)),
        ("cut", |path| {
            let file = File::options().write(true).open(path).unwrap();
            file.set_len(fs::metadata(path).unwrap().len() / 2).unwrap();
        }),
        ("missing", |path| fs::remove_file(path).unwrap()),
    ];
    for (how, ruin) in ruin {
        assert!(node.terminate().success());
        let checkpoints = files(&node, "checkpoint-");
        assert!(checkpoints.len() >= 2, "{how}: {checkpoints:?}");
        checkpoints.iter().for_each(|path| ruin(path));
        let before = node.log_whole().len();
        node.restart(2);
        if how != "missing" {
            node.log_with(before, |said| said.contains("checkpoint-"));
        }
        let mut client = node.client();
        all_there(&mut client, &stored);
        client.get(BUCKET, "small/07").expect_error(404, "NoSuchKey");
    }
}

#[test]
fn damage_in_the_log_costs_what_it_hit_and_stops_a_start_only_if_nobody_knows_what_that_was() {
    let mut node = Node::start_with(Options { cores: 1, ..Options::default() });
    let mut client = node.client_with_bucket(BUCKET);
    let mut stored = Stored::new();
    store(&mut client, &mut stored, "small", 40, SMALL);
    drop(client);
    // Without a checkpoint, what stands in the log is all there is.
    node.kill();
    for path in files(&node, "checkpoint-") {
        fs::remove_file(path).unwrap();
    }
    // What a record says of its object: the start is refused, since it might have been any change.
    let (path, offset) = find_bytes(&node, "log-", b"small/20").expect("a key stands in the log");
    flip(&path, offset);
    let why = node.refuse(1);
    assert!(why.contains(name(&path)) && why.contains("offset"), "{why}");
    // Nothing was made worse by looking.
    flip(&path, offset);
    // Payload of one object, and that of the last one, which could be a torn tail as well.
    let mut lost = Vec::new();
    for key in ["small/20", "small/39"] {
        let (path, offset) = find(&node, &stored, key, HEADER_BYTES + 100);
        flip(&path, offset);
        lost.push((key, stored.remove(key).unwrap().0));
    }
    node.restart(1);
    let mut client = node.client();
    client.get(BUCKET, "small/20").expect_error(500, "InternalError");
    let last = client.get(BUCKET, "small/39");
    assert!([404, 500].contains(&last.status), "{} {}", last.status, last.text());
    all_there(&mut client, &stored);
    for (key, seed) in lost {
        client.put(BUCKET, key, &payload(seed, SMALL)).expect(200);
        stored.insert(key.to_owned(), (seed, SMALL));
    }
    assert!(node.terminate().success());
    node.restart(2);
    all_there(&mut node.client(), &stored);
}

#[test]
fn a_lost_data_segment_takes_its_own_objects_and_a_lost_superblock_nothing() {
    let mut node = Node::start();
    let mut client = node.client_with_bucket(BUCKET);
    let mut stored = Stored::new();
    store(&mut client, &mut stored, "large", 3, LARGE);
    store(&mut client, &mut stored, "small", 5, SMALL);
    drop(client);
    assert!(node.terminate().success());
    let (lost, _) = find(&node, &stored, "large/01", 100);
    fs::remove_file(&lost).unwrap();
    fs::remove_file(node.data(0).join("ringcask.superblock")).unwrap();
    node.restart(2);
    let mut client = node.client();
    let mut missing = 0;
    for (key, (seed, _)) in &stored {
        let response = client.get(BUCKET, key);
        match response.status {
            200 => assert_eq!(seed_of(&response.body), Ok(*seed), "{key}"),
            _ => {
                assert!(key.starts_with("large"), "{key}");
                response.expect_error(500, "InternalError");
                missing += 1;
            }
        }
    }
    assert!(missing >= 1);
    node.log_with(0, |said| said.contains(name(&lost)));
    // It can be deleted and written anew.
    client.delete(BUCKET, "large/01").expect(204);
    client.put(BUCKET, "large/01", &payload(1, LARGE)).expect(200);
    assert_eq!(seed_of(&client.get(BUCKET, "large/01").expect(200).body), Ok(1));
    drop(client);
    assert!(node.terminate().success());
    for superblock in files(&node, "ringcask.superblock") {
        fs::remove_file(superblock).unwrap();
    }
    let why = node.refuse(2);
    assert!(why.contains("not ours") || why.contains("superblock"), "{why}");
}

#[test]
fn a_cut_log_is_no_reason_to_forget_what_was_acknowledged() {
    let mut node = Node::start_with(Options { cores: 1, ..Options::default() });
    let mut client = node.client_with_bucket(BUCKET);
    let mut stored = Stored::new();
    store(&mut client, &mut stored, "small", 40, SMALL);
    drop(client);
    node.kill();
    // Somebody cut the file in the midst of what is acknowledged.
    let (path, offset) = find(&node, &stored, "small/20", HEADER_BYTES + 100);
    let whole = fs::read(&path).unwrap();
    File::options().write(true).open(&path).unwrap().set_len(offset / 4096 * 4096).unwrap();
    let why = node.refuse(1);
    assert!(why.contains(name(&path)), "{why}");
    // The rest of it comes back from somewhere.
    fs::write(&path, whole).unwrap();
    node.restart(1);
    all_there(&mut node.client(), &stored);
}
