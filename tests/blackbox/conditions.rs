//! Conditional writes under concurrency: whatever the interleaving, one writer wins.

use std::ops::Range;
use std::sync::Barrier;

use crate::client::{Client, Request, complete_upload, target};
use crate::content::{payload, seed_of};
use crate::http::Response;
use crate::node::Node;

/// Sends all requests at the same moment, each on a connection of its own that is already open.
fn at_once(node: &Node, requests: Vec<Request>) -> Vec<Response> {
    let barrier = Barrier::new(requests.len());
    std::thread::scope(|scope| {
        let threads: Vec<_> = requests
            .into_iter()
            .map(|request| {
                scope.spawn(|| {
                    let mut client = node.client();
                    client.connection().unwrap();
                    let request = client.sign(request);
                    barrier.wait();
                    client.try_send_as_is(&request).unwrap()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// The index of the one response with status 200; all others must be S3's 412.
#[track_caller]
fn only_winner(responses: Vec<Response>) -> usize {
    only_winner_of(responses, 200, (412, "PreconditionFailed"))
}

/// The index of the one response with status `won`; all others must be the error `lost`.
#[track_caller]
fn only_winner_of(responses: Vec<Response>, won: u16, lost: (u16, &str)) -> usize {
    let winners: Vec<usize> = (0..responses.len()).filter(|index| responses[*index].status == won).collect();
    let [winner] = winners[..] else {
        panic!("winners {winners:?} of {:?}", responses.iter().map(|r| r.status).collect::<Vec<_>>())
    };
    for (index, response) in responses.into_iter().enumerate() {
        if index != winner {
            response.expect_error(lost.0, lost.1);
        }
    }
    winner
}

#[track_caller]
fn expect_payload(client: &mut Client, bucket: &str, key: &str, seed: u64) {
    let got = client.get(bucket, key).expect(200);
    assert_eq!(seed_of(&got.body), Ok(seed));
}

#[test]
fn of_a_hundred_creators_of_a_key_one_wins() {
    let node = Node::start();
    let mut client = node.client_with_bucket("race");
    for (round, length) in [1000, 1000, 200_000, 1000].into_iter().enumerate() {
        let key = format!("created once {round}");
        let requests = (0..100)
            .map(|writer| {
                Request::new("PUT", &target("race", &key))
                    .header("If-None-Match", "*")
                    .body(payload(writer, length))
            })
            .collect();
        let winner = only_winner(at_once(&node, requests));
        expect_payload(&mut client, "race", &key, winner as u64);
    }
}

#[test]
fn of_a_hundred_replacers_of_a_version_one_wins() {
    let node = Node::start();
    let mut client = node.client_with_bucket("race");
    for length in [1000, 200_000] {
        let etag =
            client.put("race", "replaced", &payload(999, 100)).expect(200).header("ETag").unwrap().to_owned();
        let requests = (0..100)
            .map(|writer| {
                Request::new("PUT", "/race/replaced").header("If-Match", &etag).body(payload(writer, length))
            })
            .collect();
        let winner = only_winner(at_once(&node, requests));
        expect_payload(&mut client, "race", "replaced", winner as u64);
    }
}

#[test]
fn of_a_hundred_deleters_of_a_version_one_wins() {
    let node = Node::start();
    let mut client = node.client_with_bucket("race");
    for condition in ["ETag", "*"] {
        let put = client.put("race", "deleted", &payload(1, 1000)).expect(200);
        let value = if condition == "*" { "*" } else { put.header("ETag").unwrap() };
        let delete = || Request::new("DELETE", "/race/deleted").header("If-Match", value);
        let responses = at_once(&node, (0..100).map(|_| delete()).collect());
        only_winner_of(responses, 204, (404, "NoSuchKey"));
        client.get("race", "deleted").expect_error(404, "NoSuchKey");
    }
}

#[test]
fn of_a_hundred_completed_uploads_of_a_key_one_wins() {
    let node = Node::start();
    let mut client = node.client_with_bucket("race");
    let uploads = |seeds: Range<u64>, client: &mut Client| -> Vec<(String, Vec<String>)> {
        seeds
            .map(|seed| {
                let upload = client.create_upload("race", "joined");
                let etag = client.put_part("race", "joined", &upload, 1, &payload(seed, 100_000));
                (upload, vec![etag])
            })
            .collect()
    };
    let creators = uploads(0..100, &mut client)
        .iter()
        .map(|(upload, etags)| complete_upload("race", "joined", upload, etags).header("If-None-Match", "*"))
        .collect();
    let winner = only_winner(at_once(&node, creators));
    expect_payload(&mut client, "race", "joined", winner as u64);

    let etag = client.head("race", "joined").expect(200).header("ETag").unwrap().to_owned();
    // Other contents than before: the same content would bring the same ETag back, for a second one to match.
    let replacers = uploads(100..200, &mut client)
        .iter()
        .map(|(upload, etags)| complete_upload("race", "joined", upload, etags).header("If-Match", &etag))
        .collect();
    let winner = only_winner(at_once(&node, replacers));
    expect_payload(&mut client, "race", "joined", 100 + winner as u64);
}

#[test]
fn of_a_hundred_copies_to_a_key_one_wins() {
    let node = Node::start();
    let mut client = node.client_with_bucket("race");
    for writer in 0..100 {
        let length = if writer % 2 == 0 { 1000 } else { 200_000 };
        client.put("race", &format!("source {writer}"), &payload(writer, length)).expect(200);
    }
    let copy = |writer: u64| {
        Request::new("PUT", "/race/copied").header("x-amz-copy-source", &format!("/race/source%20{writer}"))
    };
    let creators = (0..100).map(|writer| copy(writer).header("If-None-Match", "*")).collect();
    let winner = only_winner(at_once(&node, creators));
    expect_payload(&mut client, "race", "copied", winner as u64);

    let etag = client.head("race", "copied").expect(200).header("ETag").unwrap().to_owned();
    // The winner's own source would satisfy If-Match a second time, since a copy keeps its source's ETag.
    let others: Vec<u64> = (0..100).filter(|writer| *writer != winner as u64).collect();
    let replacers = others.iter().map(|writer| copy(*writer).header("If-Match", &etag)).collect();
    let winner = only_winner(at_once(&node, replacers));
    expect_payload(&mut client, "race", "copied", others[winner]);
}

#[test]
fn a_failed_condition_changes_nothing() {
    let node = Node::start();
    let mut client = node.client_with_bucket("race");
    client.put("race", "kept", &payload(1, 1000)).expect(200);
    let put = |name: &str, value: &str| {
        Request::new("PUT", "/race/kept").header(name, value).body(payload(2, 300_000))
    };
    client.send(put("If-None-Match", "*")).expect_error(412, "PreconditionFailed");
    client
        .send(put("If-Match", "\"00000000000000000000000000000000\""))
        .expect_error(412, "PreconditionFailed");
    expect_payload(&mut client, "race", "kept", 1);
    let absent = Request::new("PUT", "/race/absent").header("If-Match", "\"00\"").body(payload(3, 1000));
    client.send(absent).expect_error(404, "NoSuchKey");
    let delete =
        Request::new("DELETE", "/race/kept").header("If-Match", "\"00000000000000000000000000000000\"");
    client.send(delete).expect_error(412, "PreconditionFailed");
    expect_payload(&mut client, "race", "kept", 1);
}
