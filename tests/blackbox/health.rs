//! What probes see of a node that is well. What they see of one that is not: `failed_drive.rs`.

use std::net::SocketAddr;

use serde_json::Value;

use crate::client::{Client, Request};
use crate::http::{Connection, Response};
use crate::identities::{manage, manage_json};
use crate::node::{Node, Options};

/// Sends a request as it is, without a signature.
pub fn ask(address: SocketAddr, method: &str, target: &str) -> Response {
    ask_host(address, method, target, "node")
}

fn ask_host(address: SocketAddr, method: &str, target: &str, host: &str) -> Response {
    let mut connection = Connection::open(address).unwrap();
    connection.send(format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n\r\n").as_bytes()).unwrap();
    connection.receive(method == "HEAD").unwrap()
}

/// The answer to a probe as JSON.
pub fn report(address: SocketAddr, target: &str, status: u16) -> Value {
    serde_json::from_slice(&ask(address, "GET", target).expect(status).body).unwrap()
}

#[test]
fn probes_of_minios_tools_are_answered_without_a_signature_on_both_listeners() {
    let node = Node::start();
    for address in [node.address(), node.admin()] {
        for path in ["live", "ready", "cluster", "cluster/read", "ready?verify"] {
            let path = format!("/minio/health/{path}");
            assert_eq!(report(address, &path, 200)["status"], "serving", "{path}");
            let head = ask(address, "HEAD", &path).expect(200);
            assert_ne!(head.header("content-length"), Some("0"), "{path}");
        }
        // May this node be taken away? There is no other one.
        ask(address, "GET", "/minio/health/cluster?maintenance=true").expect(412);
    }
}

#[test]
fn the_admin_listener_tells_how_each_core_is() {
    let node = Node::start_with(Options { cores: 3, drives: 2, ..Options::default() });
    let health = report(node.admin(), "/health", 200);
    assert_eq!(health["status"], "serving");
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    let cores = health["cores"].as_array().unwrap();
    assert_eq!(cores.len(), 3);
    for (number, core) in cores.iter().enumerate() {
        assert_eq!((&core["core"], &core["drive"]), (&number.into(), &(number % 2).into()), "{core}");
        assert_eq!(core["directory"], node.data(number % 2).to_str().unwrap());
        assert_eq!((&core["state"], &core["full"]), (&"serving".into(), &false.into()), "{core}");
        assert_eq!(core["failures"].as_array().unwrap().len(), 0);
        assert!(core["bytesFree"].as_u64() <= core["bytesTotal"].as_u64());
    }
    let shown = manage(&node, &["status"]);
    assert_eq!(shown.lines().filter(|line| line.contains("serving")).count(), 6, "{shown}");
    assert_eq!(manage_json(&node, &["status"])["status"], "serving");
    // Everything else there still wants a signature, and the S3 listener does not know the path.
    ask(node.admin(), "GET", "/admin/v1/health").expect(403);
    ask(node.admin(), "POST", "/health").expect(403);
    ask(node.address(), "GET", "/health").expect(404);
}

#[test]
fn a_bucket_called_minio_works_for_whoever_signs_or_names_it_by_host() {
    let arguments = ["--domain", "s3.example.com", "--new-buckets", "acl"].map(str::to_owned).to_vec();
    let node = Node::start_with(Options { arguments, ..Options::default() });
    let mut client: Client = node.client_with_bucket("minio");
    client.put("minio", "health/live", b"mine").expect(200);
    assert_eq!(client.get("minio", "health/live").expect(200).body, b"mine");
    assert_eq!(report(node.address(), "/minio/health/live", 200)["status"], "serving");
    // The path of a host that is a bucket is a key, even if it looks like a probe.
    client.put_bucket("photos");
    let put = Request::new("PUT", "/photos/minio/health/live").header("x-amz-acl", "public-read");
    client.send(put.body("a photo")).expect(200);
    let found = ask_host(node.address(), "GET", "/minio/health/live", "photos.s3.example.com").expect(200);
    assert_eq!(found.body, b"a photo");
    // What cannot be written without a signature still cannot.
    ask(node.address(), "PUT", "/minio/health/live").expect(403);
}
