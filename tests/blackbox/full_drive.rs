//! A drive that is full: new objects are refused clearly, everything else goes on, nothing is bricked.
//!
//! The drives are small file systems of their own, which needs root: without it the tests say that they were
//! skipped.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::client::{Client, Request, complete_upload};
use crate::content::{payload, seed_of};
use crate::health::report;
use crate::http::Response;
use crate::node::{Node, Options};
use crate::volume::Volume;

const VOLUME_BYTES: u64 = 224 << 20;

/// Within this, what was deleted must make room: generous, because the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// So many keys in a row are surely of all cores.
const REFUSED_IN_A_ROW: usize = 20;

const BUCKET: &str = "full";

fn node_on(volume: &Volume, cores: usize) -> Node {
    let folders = vec![volume.path().join("data")];
    Node::start_with(Options { cores, folders, ..Options::default() })
}

/// What was stored: the seed of each key.
type Stored = BTreeMap<String, u64>;

fn put(client: &mut Client, key: &str, seed: u64, bytes: usize) -> Response {
    client.put(BUCKET, key, &payload(seed, bytes))
}

/// Stores objects until every core refuses them, which must be for want of room. Gives how many were stored.
fn fill(client: &mut Client, stored: &mut Stored, name: &str, bytes: usize) -> usize {
    let (mut count, mut refused) = (0, 0);
    for number in 0.. {
        let (key, seed) = (format!("{name}/{number:05}"), (bytes + number) as u64);
        let response = put(client, &key, seed, bytes);
        if response.status == 200 {
            stored.insert(key, seed);
            (count, refused) = (count + 1, 0);
        } else {
            refused_for_room(response);
            refused += 1;
        }
        if refused == REFUSED_IN_A_ROW {
            return count;
        }
        assert!((count * bytes) as u64 <= VOLUME_BYTES, "more was stored than there is room for");
    }
    unreachable!("the drive has an end")
}

/// S3 has no code for a full drive. 507 says what it is, and SDKs do not try it again and again as they do
/// with 500 and 503.
#[track_caller]
fn refused_for_room(response: Response) {
    response.expect_error(507, "InsufficientStorage");
}

/// Reads and lists all objects.
#[track_caller]
fn all_there(client: &mut Client, stored: &Stored) {
    one_in(1, client, stored);
}

/// Reads one in seven objects, which is enough where only the room has changed, and lists all.
#[track_caller]
fn there(client: &mut Client, stored: &Stored) {
    one_in(7, client, stored);
}

#[track_caller]
fn one_in(step: usize, client: &mut Client, stored: &Stored) {
    for (key, seed) in stored.iter().step_by(step) {
        assert_eq!(seed_of(&client.get(BUCKET, key).expect(200).body), Ok(*seed), "{key}");
    }
    let listed =
        client.send(Request::new("GET", &format!("/{BUCKET}?list-type=2&max-keys=1000"))).expect(200);
    let listed = crate::http::elements(&listed.text(), "Key");
    let expected: Vec<&String> = stored.keys().take(1000).collect();
    assert!(listed.iter().eq(expected), "the listing differs");
}

/// Tries until it succeeds: what was deleted is freed in the background.
#[track_caller]
fn put_soon(client: &mut Client, stored: &mut Stored, key: &str, bytes: usize) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let response = put(client, key, 1, bytes);
        if response.status == 200 {
            stored.insert(key.to_owned(), 1);
            return;
        }
        refused_for_room(response);
        assert!(Instant::now() < deadline, "what was deleted made no room within {PATIENCE:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn delete(client: &mut Client, stored: &mut Stored, wanted: impl Fn(usize) -> bool) {
    let keys: Vec<String> = stored.keys().cloned().collect();
    for (_, key) in keys.into_iter().enumerate().filter(|(number, _)| wanted(*number)) {
        client.delete(BUCKET, &key).expect(204);
        stored.remove(&key);
    }
}

/// Takes the room that is left away, as another program would.
fn occupy(volume: &Volume) -> File {
    let balloon = File::create(volume.path().join("balloon")).unwrap();
    let mut length = 0;
    let mut step = VOLUME_BYTES;
    while step >= 4096 {
        let mode = rustix::fs::FallocateFlags::empty();
        match rustix::fs::fallocate(balloon.as_fd(), mode, length, step) {
            Ok(()) => length += step,
            Err(_) => step /= 2,
        }
    }
    assert!(volume.bytes_free() < 64 << 10, "{} bytes are still free", volume.bytes_free());
    balloon
}

fn release(volume: &Volume, balloon: File) {
    drop(balloon);
    std::fs::remove_file(volume.path().join("balloon")).unwrap();
}

#[test]
fn a_full_drive_refuses_objects_clearly_and_goes_on_with_everything_else() {
    let Some(volume) = Volume::ext4(VOLUME_BYTES) else { return };
    let mut node = node_on(&volume, 2);
    let mut client = node.client_with_bucket(BUCKET);
    client.put_bucket("versions");
    let versioning = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    client.send(Request::new("PUT", "/versions?versioning").body(versioning)).expect(200);
    client.put("versions", "kept", &payload(1, 100)).expect(200);
    let upload = client.create_upload(BUCKET, "in parts");
    let part = client.put_part(BUCKET, "in parts", &upload, 1, &payload(77, 3_000_000));

    let mut stored = Stored::new();
    let large = fill(&mut client, &mut stored, "large", 1_000_000);
    let small = fill(&mut client, &mut stored, "small", 20_000);
    eprintln!("{large} large and {small} small objects fit {} MiB", VOLUME_BYTES >> 20);
    assert!(large > 100, "{large}");
    refused_for_room(client.send(Request::new("PUT", "/another")));
    refused_for_room(client.send(Request::new("POST", &format!("/{BUCKET}/x?uploads"))));
    let at = format!("/{BUCKET}/in%20parts?partNumber=2&uploadId={upload}");
    refused_for_room(client.send(Request::new("PUT", &at).body(payload(78, 6_000_000))));

    // It is no failure: reads and deletions are wanted here.
    assert_eq!(report(node.address(), "/minio/health/ready", 200)["status"], "serving");
    assert_eq!(report(node.admin(), "/health", 200)["cores"][0]["full"], true);
    there(&mut client, &stored);
    // What makes room, or is about it, is taken.
    client.delete("versions", "kept").expect(204).header("x-amz-delete-marker").expect("a delete marker");
    let rule = "<LifecycleConfiguration><Rule><ID>r</ID><Status>Enabled</Status><Filter/><Expiration><Days>1</Days>\
                </Expiration></Rule></LifecycleConfiguration>";
    let put_rule = Request::new("PUT", "/versions?lifecycle").header("Content-MD5", &md5(rule)).body(rule);
    client.send(put_rule).expect(200);
    delete(&mut client, &mut stored, |number| number % 3 == 0);
    put_soon(&mut client, &mut stored, "again", 1_000_000);
    put_soon(&mut client, &mut stored, "again, small", 20_000);
    there(&mut client, &stored);

    // Full again, it ends in order and is killed, and comes back with another number of cores.
    fill(&mut client, &mut stored, "refilled", 1_000_000);
    fill(&mut client, &mut stored, "refilled, small", 20_000);
    drop(client);
    assert!(node.terminate().success());
    node.restart(2);
    node.kill();
    node.restart(1);
    let mut client = node.client();
    all_there(&mut client, &stored);

    // Without objects, there is as much room as in the beginning.
    delete(&mut client, &mut stored, |_| true);
    put_soon(&mut client, &mut stored, "room", 1_000_000);
    client.send(complete_upload(BUCKET, "in parts", &upload, &[part])).expect(200);
    assert_eq!(seed_of(&client.get(BUCKET, "in parts").expect(200).body), Ok(77));
    client.delete(BUCKET, "in parts").expect(204);
    for number in 0..large * 3 / 4 {
        put_soon(&mut client, &mut stored, &format!("anew/{number}"), 1_000_000);
    }
    there(&mut client, &stored);
}

fn md5(body: &str) -> String {
    use base64::Engine as _;
    use md5::Digest as _;
    base64::engine::general_purpose::STANDARD.encode(md5::Md5::digest(body))
}

#[test]
fn a_drive_that_another_program_fills_bricks_nothing() {
    let Some(volume) = Volume::ext4(VOLUME_BYTES) else { return };
    let mut node = node_on(&volume, 2);
    let mut client = node.client_with_bucket(BUCKET);
    let mut stored = Stored::new();
    for number in 0..40 {
        let (key, bytes) = (format!("{number}"), if number % 2 == 0 { 30_000 } else { 900_000 });
        put(&mut client, &key, number, bytes).expect(200);
        stored.insert(key, number);
    }
    let balloon = occupy(&volume);

    // Not one block is left to anybody, the node's reserve included.
    refused_for_room(put_until_refused(&mut client, &mut stored, 900_000));
    refused_for_room(put_until_refused(&mut client, &mut stored, 30_000));
    there(&mut client, &stored);
    report(node.address(), "/minio/health/ready", 200);

    // Nor does it keep a node from starting, whichever way it ended, nor from reading.
    node.kill();
    node.restart(2);
    there(&mut node.client(), &stored);
    node.terminate();
    node.restart(3);
    let mut client = node.client();
    there(&mut client, &stored);
    refused_for_room(put_until_refused(&mut client, &mut stored, 900_000));
    refused_for_room(put_until_refused(&mut client, &mut stored, 30_000));

    // Once the other program is done, everything goes on without a restart.
    release(&volume, balloon);
    put_soon(&mut client, &mut stored, "large again", 900_000);
    for number in 0..20 {
        put_soon(&mut client, &mut stored, &format!("small again/{number}"), 30_000);
    }
    delete(&mut client, &mut stored, |number| number % 4 == 0);
    there(&mut client, &stored);
    assert!(node.terminate().success());
    node.restart(2);
    all_there(&mut node.client(), &stored);
}

/// What is answered once all cores refuse; what still fits is stored.
fn put_until_refused(client: &mut Client, stored: &mut Stored, bytes: usize) -> Response {
    let mut refused = 0;
    for number in 0..1000 {
        let key = format!("squeezed/{bytes}/{number}");
        let response = put(client, &key, number, bytes);
        match response.status {
            200 => drop(stored.insert(key, number)),
            _ if refused == REFUSED_IN_A_ROW => return response,
            _ => refused += 1,
        }
    }
    panic!("a full drive has room for a thousand objects");
}
