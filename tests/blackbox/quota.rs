//! Quotas of buckets, with many clients at once, over all that makes a bucket grow.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::client::{Client, Request, complete_upload, target};
use crate::content::payload;
use crate::identities::{manage, manage_json};
use crate::node::{Node, Options};

const CODE: &str = "XMinioAdminBucketQuotaExceeded";

fn held(node: &Node, bucket: &str) -> u64 {
    manage_json(node, &["quota", "show", bucket])["heldBytes"].as_u64().unwrap()
}

/// Puts an object; whether there was room.
fn fits(client: &mut Client, bucket: &str, key: &str, bytes: usize) -> bool {
    let response = client.put(bucket, key, &vec![b'x'; bytes]);
    match response.status {
        200 => true,
        400 => {
            assert_eq!(response.element("Code").as_deref(), Some(CODE));
            false
        }
        other => panic!("{other}"),
    }
}

#[test]
fn of_many_clients_at_once_as_many_get_room_as_the_quota_has() {
    let node = Node::start_with(Options { cores: 4, ..Options::default() });
    node.client_with_bucket("box");
    manage(&node, &["quota", "set", "box", "1MB"]);
    let stored = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for client in 0..16 {
            let (node, stored) = (&node, &stored);
            scope.spawn(move || {
                // Each on a connection of its own, small objects and large ones.
                let mut connection = node.client();
                for number in 0..6 {
                    let bytes = if number % 2 == 0 { 30_000 } else { 100_000 };
                    if fits(&mut connection, "box", &format!("{client}/{number}"), bytes) {
                        stored.fetch_add(bytes, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    let stored = stored.into_inner() as u64;
    assert_eq!(held(&node, "box"), stored);
    assert!(stored <= 1_000_000 && stored > 1_000_000 - 30_000, "{stored}");
    let left = 1_000_000 - stored as usize;
    assert!(!fits(&mut node.client(), "box", "last", left + 1));
    assert!(fits(&mut node.client(), "box", "last", left));
    node.client().delete("box", "last").expect(204);
    assert!(fits(&mut node.client(), "box", "again", left));
}

#[test]
fn copies_appends_parts_and_old_versions_count_and_a_restart_forgets_nothing() {
    let mut node = Node::start();
    let mut client = node.client_with_bucket("box");
    manage(&node, &["quota", "set", "box", "300000"]);
    client.put("box", "source", &payload(1, 100_000)).expect(200);
    let copy = |to: &str| Request::new("PUT", &target("box", to)).header("x-amz-copy-source", "/box/source");
    client.send(copy("copy")).expect(200);
    client.send(copy("copy")).expect(200);
    let append = |offset: &str, bytes: usize| {
        let request =
            Request::new("PUT", &target("box", "source")).header("x-amz-write-offset-bytes", offset);
        request.body(payload(2, bytes))
    };
    client.send(append("100000", 60_000)).expect(200);
    assert_eq!(client.send(append("160000", 40_001)).expect(400).element("Code").as_deref(), Some(CODE));
    let upload = client.create_upload("box", "u");
    let etag = client.put_part("box", "u", &upload, 1, &payload(3, 40_000));
    assert_eq!(held(&node, "box"), 300_000);
    assert!(!fits(&mut client, "box", "more", 1));
    client.send(complete_upload("box", "u", &upload, &[etag])).expect(200);
    // A HEAD or an empty object needs no room, and neither does what gets smaller.
    assert!(fits(&mut client, "box", "empty", 0));
    assert!(fits(&mut client, "box", "u", 39_999));

    assert!(node.terminate().success());
    node.restart(3);
    let mut client = node.client();
    assert_eq!(held(&node, "box"), 299_999);
    assert!(!fits(&mut client, "box", "more", 2));
    assert!(fits(&mut client, "box", "more", 1));
    let shown = manage(&node, &["quota", "show", "box"]);
    assert!(shown.starts_with("box holds 293 KiB of 293 KiB, 0 B left"), "{shown}");
    assert!(manage(&node, &["bucket", "list"]).contains("293 KiB"));
    let cleared = manage(&node, &["quota", "clear", "box"]);
    assert!(cleared.contains("has no quota"), "{cleared}");
    assert!(fits(&mut client, "box", "more", 400_000));
}

#[test]
fn a_large_upload_that_cannot_fit_is_refused_before_it_is_sent() {
    let node = Node::start();
    let mut client = node.client_with_bucket("box");
    manage(&node, &["quota", "set", "box", "1MiB"]);
    let request = Request::new("PUT", "/box/large").header("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
    let request = client.sign(request.header("content-length", "2000000"));
    // Only the head goes out.
    let connection = client.connection().unwrap();
    connection.send(&request.head()).unwrap();
    let response = connection.receive(false).unwrap().expect(400);
    assert_eq!(response.element("Code").as_deref(), Some(CODE));
}
