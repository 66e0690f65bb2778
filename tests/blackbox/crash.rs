//! SIGKILL in the midst of work: what was acknowledged is there, what was not is there whole or not at all.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::client::{Client, Request, complete_upload, target};
use crate::content::{HEADER_BYTES, Random, payload, seed_of};
use crate::http::elements;
use crate::node::{Node, Options};

const BUCKET: &str = "crash";
const WRITERS: usize = 200;
const KEYS_PER_WRITER: usize = 6;

/// What a key held: the seed of its payload, or nothing.
type Content = Option<u64>;

/// What one writer knows of its keys. Nobody else touches them, so it knows all there is to know.
#[derive(Default)]
struct Knowledge {
    acknowledged: BTreeMap<String, Content>,
    /// Sent, and not answered when the node died: it may have happened or not.
    unanswered: Option<(String, Content)>,
}

#[test]
fn acknowledged_writes_survive_being_killed() {
    let seed = 20_260_801;
    let mut random = Random::new(seed);
    let mut node = Node::start_with(Options { cores: 2, ..Options::default() });
    node.client().put_bucket(BUCKET);
    let writers: Vec<Mutex<Knowledge>> = (0..WRITERS).map(|_| Mutex::default()).collect();
    for (round, cores) in [2, 1, 3, 2, 4].into_iter().enumerate() {
        let enough = 300 + random.below(1500);
        write_until_killed(&mut node, &writers, seed + round as u64, enough);
        node.restart(cores);
        eprintln!("round {round}: killed after {enough} acknowledged writes, now with {cores} cores");
        let mut held = 0;
        let mut client = node.client();
        for writer in &writers {
            held += settle(&mut writer.lock().unwrap(), &mut client);
        }
        assert!(held > 100, "only {held} objects were there to check");
        compare_with_listing(&writers, &mut node.client());
    }
    // A clean stop and start changes nothing either.
    assert!(node.terminate().success());
    node.restart(2);
    compare_with_listing(&writers, &mut node.client());
}

/// Lets all writers work, and kills the node once `enough` writes were acknowledged.
fn write_until_killed(node: &mut Node, writers: &[Mutex<Knowledge>], seed: u64, enough: usize) {
    let acknowledged = AtomicUsize::new(0);
    let killed = AtomicBool::new(false);
    let clients: Vec<Client> = writers.iter().map(|_| node.client()).collect();
    std::thread::scope(|scope| {
        let (acknowledged, killed) = (&acknowledged, &killed);
        for (number, (writer, mut client)) in writers.iter().zip(clients).enumerate() {
            scope.spawn(move || {
                let mut random = Random::new(seed * 1_000 + number as u64);
                let mut knowledge = writer.lock().unwrap();
                while write_once(number, &mut knowledge, &mut client, &mut random) {
                    acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                // Only the kill may end a writer; whatever else did is a failure to tell.
                assert!(killed.load(Ordering::Relaxed), "writer {number} failed before the node was killed");
            });
        }
        while acknowledged.load(Ordering::Relaxed) < enough {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        killed.store(true, Ordering::Relaxed);
        node.kill();
    });
}

/// One random write; false if the node no longer answers.
fn write_once(writer: usize, knowledge: &mut Knowledge, client: &mut Client, random: &mut Random) -> bool {
    let key = format!("writer {writer:03}/key {}", random.below(KEYS_PER_WRITER));
    let seed = random.next();
    let (content, answered) = match random.below(20) {
        0..=3 => {
            knowledge.unanswered = Some((key.clone(), None));
            (None, client.try_send(Request::new("DELETE", &target(BUCKET, &key))).map(|r| r.expect(204)))
        }
        4 => {
            knowledge.unanswered = Some((key.clone(), Some(seed)));
            (Some(seed), write_in_parts(&key, seed, client))
        }
        choice => {
            let length = match choice {
                5..=14 => HEADER_BYTES + random.below(8_000),
                15 | 16 => HEADER_BYTES + random.below(70_000),
                _ => 100_000 + random.below(1_500_000),
            };
            knowledge.unanswered = Some((key.clone(), Some(seed)));
            let request = Request::new("PUT", &target(BUCKET, &key)).body(payload(seed, length));
            (Some(seed), client.try_send(request).map(|r| r.expect(200)))
        }
    };
    if answered.is_err() {
        return false;
    }
    knowledge.unanswered = None;
    knowledge.acknowledged.insert(key, content);
    true
}

/// A multipart upload of two parts, the first of S3's least size.
fn write_in_parts(key: &str, seed: u64, client: &mut Client) -> std::io::Result<crate::http::Response> {
    let whole = payload(seed, 5 * 1024 * 1024 + 12_345);
    let created =
        client.try_send(Request::new("POST", &format!("{}?uploads", target(BUCKET, key))))?.expect(200);
    let upload = created.element("UploadId").unwrap();
    let mut etags = Vec::new();
    for (index, part) in whole.chunks(5 * 1024 * 1024).enumerate() {
        let at = format!("{}?partNumber={}&uploadId={upload}", target(BUCKET, key), index + 1);
        let answer = client.try_send(Request::new("PUT", &at).body(part))?.expect(200);
        etags.push(answer.header("ETag").unwrap().to_owned());
    }
    client.try_send(complete_upload(BUCKET, key, &upload, &etags)).map(|answer| answer.expect(200))
}

/// Reads all of a writer's keys, and resolves what was not answered. Gives how many hold something.
fn settle(knowledge: &mut Knowledge, client: &mut Client) -> usize {
    let unanswered = knowledge.unanswered.take();
    if let Some((key, _)) = &unanswered {
        knowledge.acknowledged.entry(key.clone()).or_insert(None);
    }
    for (key, acknowledged) in &mut knowledge.acknowledged {
        let response = client.get(BUCKET, key);
        let found = match response.status {
            404 => None,
            200 => Some(seed_of(&response.body).unwrap_or_else(|why| panic!("{key:?} is damaged: {why}"))),
            status => panic!("{key:?}: {status} {}", response.text()),
        };
        let perhaps = unanswered.as_ref().filter(|(other, _)| other == key).map(|(_, content)| *content);
        assert!(
            found == *acknowledged || Some(found) == perhaps,
            "{key:?} holds {found:?}; acknowledged is {acknowledged:?}, unanswered {perhaps:?}"
        );
        *acknowledged = found;
    }
    knowledge.acknowledged.values().flatten().count()
}

/// The listing shows exactly the keys that hold something.
fn compare_with_listing(writers: &[Mutex<Knowledge>], client: &mut Client) {
    let mut expected = Vec::new();
    for writer in writers {
        let knowledge = writer.lock().unwrap();
        let held = knowledge.acknowledged.iter().filter(|(_, content)| content.is_some());
        expected.extend(held.map(|(key, _)| key.clone()));
    }
    expected.sort();
    let mut listed = Vec::new();
    let mut after = String::new();
    loop {
        let query = format!("/{BUCKET}?list-type=2&start-after={}", crate::client::encode(&after));
        let page = client.send(Request::new("GET", &query)).expect(200);
        listed.extend(elements(&page.text(), "Key"));
        if page.element("IsTruncated").as_deref() != Some("true") {
            break;
        }
        after = listed.last().unwrap().clone();
    }
    assert_eq!(listed, expected);
}
