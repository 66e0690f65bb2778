//! Thousands of connections: held, served, refused beyond the limit, and gone without a word.

use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::client::{Client, Request, target};
use crate::content::{HEADER_BYTES, payload, seed_of};
use crate::http::Connection;
use crate::node::{Node, Options};

const BUCKET: &str = "connections";

/// A number from the environment, for long runs.
pub fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

/// As many descriptors as the machine allows.
pub fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }).unwrap();
}

#[test]
fn two_thousand_connections_are_served_and_cost_little_while_they_rest() {
    let count = number("RINGCASK_CONNECTIONS", 2_000);
    raise_descriptors();
    let node =
        Node::start_with(Options { arguments: vec!["--cache".into(), "1MiB".into()], ..Options::default() });
    let process = node.process();
    let mut first = node.client_with_bucket(BUCKET);
    first.put(BUCKET, "known", &payload(7, 3_000)).expect(200);
    first.put(BUCKET, "large", &payload(8, 300_000)).expect(200);
    let before = process.resident_bytes();

    let mut clients: Vec<Client> = (0..count).map(|_| node.client()).collect();
    for client in &mut clients {
        client.connection().unwrap();
    }
    eprintln!("open: {} bytes each", process.resident_bytes().saturating_sub(before) / count as u64);
    for round in 0..2 {
        // All requests are under way before the first answer is read.
        for (index, client) in clients.iter_mut().enumerate() {
            let request = match index % 3 {
                0 => Request::new("GET", &target(BUCKET, "known")),
                1 => Request::new("GET", &target(BUCKET, "large")).header("Range", "bytes=100000-200000"),
                _ => {
                    let body = payload(index as u64, HEADER_BYTES + 500);
                    Request::new("PUT", &target(BUCKET, &format!("key {index}"))).body(body)
                }
            };
            let request = client.sign(request);
            client.connection().unwrap().send(&request.bytes()).unwrap();
        }
        for (index, client) in clients.iter_mut().enumerate() {
            let response = client.connection().unwrap().receive(false).unwrap();
            match index % 3 {
                0 => assert_eq!(seed_of(&response.expect(200).body), Ok(7)),
                1 => assert_eq!(response.expect(206).body, payload(8, 300_000)[100_000..=200_000]),
                _ => drop(response.expect(200)),
            }
        }
        eprintln!(
            "round {round}: {} bytes each",
            process.resident_bytes().saturating_sub(before) / count as u64
        );
    }
    std::thread::sleep(Duration::from_secs(8));
    for number in 0..200 {
        first.put(BUCKET, &format!("more {number}"), &payload(number, 5_000)).expect(200);
    }
    std::thread::sleep(Duration::from_secs(2));
    let rested = process.resident_bytes().saturating_sub(before) / count as u64;
    eprintln!("{count} connections at rest: {rested} bytes of memory each");
    assert!(rested < 24 * 1024, "{rested} bytes of memory for each connection at rest");
    for client in clients.iter_mut().step_by(97) {
        assert_eq!(seed_of(&client.get(BUCKET, "known").expect(200).body), Ok(7));
    }
}

/// The limit of a core itself, with descriptors for all of them.
#[test]
fn as_many_connections_as_a_core_takes_are_held_and_one_more_is_refused() {
    const CONNECTIONS_PER_CORE_MAX: usize = 8192;
    raise_descriptors();
    if getrlimit(Resource::Nofile).current.is_some_and(|limit| limit < 2 * CONNECTIONS_PER_CORE_MAX as u64) {
        eprintln!("skipped: this machine allows too few open files");
        return;
    }
    let node = Node::start_with(Options { cores: 1, ..Options::default() });
    let mut first = node.client_with_bucket(BUCKET);
    let mut held: Vec<Connection> =
        (1..CONNECTIONS_PER_CORE_MAX).map(|_| Connection::open(node.address()).unwrap()).collect();
    // Accepted in order: this one comes when all others have.
    let mut beyond = Connection::open(node.address()).unwrap();
    beyond.receive(false).unwrap().expect_error(503, "SlowDown");
    assert!(beyond.is_closed());
    first.put(BUCKET, "known", &payload(1, 100_000)).expect(200);
    let last = held.last_mut().unwrap();
    last.send(&first.sign(Request::new("GET", &target(BUCKET, "known"))).bytes()).unwrap();
    assert_eq!(seed_of(&last.receive(false).unwrap().expect(200).body), Ok(1));
    drop((held, beyond));
    let deadline = Instant::now() + Duration::from_secs(60);
    while node.client().try_send(Request::new("GET", "/")).map_or(503, |response| response.status) != 200 {
        assert!(Instant::now() < deadline, "places do not come back");
    }
}
