//! A node whose master key is lost for good: nothing happens without being told, and then what was never encrypted is
//! served, users are there, and what is lost says so.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::client::{Client, Request, target};
use crate::content::payload;
use crate::identities::{command, credentials, manage, manage_json};
use crate::node::{Node, Options};
use crate::sign::Credentials;

const CUSTOMER_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const CUSTOMER_KEY_MD5: &str = "hRasmdxgYDKV3nvbahU1MA==";

/// Base64 of another master key than the one that the first start made.
const NEW_MASTER_KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";

const DEFAULT_ENCRYPTION: &str = "<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault>\
    <SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>team</KMSMasterKeyID></ApplyServerSideEncryptionByDefault>\
    </Rule></ServerSideEncryptionConfiguration>";

fn put(key: &str) -> Request {
    Request::new("PUT", &target("box", key)).body(payload(1, 200_000))
}

fn under_nodes_key(request: Request) -> Request {
    request.header("x-amz-server-side-encryption", "AES256")
}

fn under_named_key(request: Request) -> Request {
    request
        .header("x-amz-server-side-encryption", "aws:kms")
        .header("x-amz-server-side-encryption-aws-kms-key-id", "team")
}

fn under_customers_key(request: Request) -> Request {
    request
        .header("x-amz-server-side-encryption-customer-algorithm", "AES256")
        .header("x-amz-server-side-encryption-customer-key", CUSTOMER_KEY)
        .header("x-amz-server-side-encryption-customer-key-MD5", CUSTOMER_KEY_MD5)
}

/// Stores objects of every kind of encryption, and begins an upload, whose id it returns.
fn fill(node: &Node) -> String {
    let mut client = node.client_with_bucket("box");
    manage(node, &["kms", "create", "team"]);
    client.send(put("plain")).expect(200);
    client.put("box", "small", b"small").expect(200);
    for request in [
        under_nodes_key(put("of-node")),
        under_named_key(put("of-team")),
        under_customers_key(put("of-customer")),
    ] {
        client.send(request).expect(200);
    }
    client.put_bucket("sealed");
    client.send(Request::new("PUT", "/sealed?encryption").body(DEFAULT_ENCRYPTION)).expect(200);
    client.put("sealed", "before", b"before").expect(200);
    let begun = client.send(under_nodes_key(Request::new("POST", "/box/upload?uploads"))).expect(200);
    begun.element("UploadId").unwrap()
}

fn store_master_key(path: &Path) {
    fs::write(path, NEW_MASTER_KEY).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// What is served after the loss, and what is answered of the rest.
fn check_what_is_left(node: &Node, upload: &str) {
    let mut client = node.client();
    assert_eq!(client.get("box", "plain").expect(200).body, payload(1, 200_000));
    assert_eq!(client.get("box", "small").expect(200).body, b"small");
    let customers = under_customers_key(Request::new("GET", "/box/of-customer"));
    assert_eq!(client.send(customers).expect(200).body, payload(1, 200_000));
    for (bucket, key) in [("box", "of-node"), ("box", "of-team"), ("sealed", "before")] {
        let refusal = client.get(bucket, key).expect_error(400, "KMS.NotFoundException");
        assert!(refusal.text().contains("lost with the node's master key"), "{}", refusal.text());
        client.head(bucket, key).expect(400);
        let copy = Request::new("PUT", "/box/copy").header("x-amz-copy-source", &target(bucket, key));
        client.send(copy).expect_error(400, "KMS.NotFoundException");
    }
    let part = format!("/box/upload?partNumber=1&uploadId={upload}");
    client.send(Request::new("PUT", &part).body("part")).expect_error(400, "KMS.NotFoundException");
    let listing = client.send(Request::new("GET", "/box?list-type=2")).expect(200).text();
    assert!(listing.contains("of-node") && listing.contains("of-team"), "{listing}");
}

/// Gives a user back a key whose secret its clients still have.
fn bring_along(node: &Node, user: &str, key: &Credentials) {
    let mut create =
        command(node, node.credentials(), &["key", "create", "--user", user, "--id", &key.access_key_id]);
    let output = create.env("RINGCASK_NEW_SECRET", &key.secret_key).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_node_whose_master_key_is_lost_serves_what_was_not_encrypted_once_it_is_told_to_forget_the_rest() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = folder.path().join("ringcask.toml");
    let settle = |line: &str| fs::write(&file, format!("sse-c-over-http = true\n{line}\n")).unwrap();
    settle("");
    let arguments = vec!["--config".to_owned(), file.to_str().unwrap().to_owned()];
    let mut node = Node::start_with(Options { cores: 3, drives: 2, arguments, ..Options::default() });
    let upload = fill(&node);
    manage(&node, &["user", "create", "alice", "--policy", "readwrite"]);
    let alice = credentials(&manage_json(&node, &["key", "create", "--user", "alice"]));
    manage(&node, &["account", "create", "tenant"]);
    let tenant = credentials(&manage_json(&node, &["key", "create", "--account", "tenant"]));
    assert!(node.terminate().success());

    // Neither without a key nor with another one, nor with the name of a key that is not the lost one.
    let master_key = node.data(0).join("ringcask.master-key");
    fs::remove_file(&master_key).unwrap();
    assert!(node.refuse(3).contains("put the copy back there"));
    store_master_key(&master_key);
    let refusal = node.refuse(3);
    assert!(refusal.contains("if it is lost for good, docs/IDENTITIES.md has what can be done"), "{refusal}");
    let (_, rest) = refusal.split_once("it has the fingerprint ").unwrap();
    let fingerprint = &rest[..16];
    settle("forget-master-key = '0123456789abcdef'");
    assert!(node.refuse(3).contains("sealed with another master key"));
    settle("forget-master-key = 'yes'");
    assert!(node.refuse(3).contains("'yes' is no fingerprint"));

    settle(&format!("forget-master-key = '{fingerprint}'"));
    let said = node.log_whole().len();
    node.restart(2);
    let log = node.log_with(said, |text| text.contains("'identity/user/000000000000/alice' loses"));
    assert!(log.contains(&alice.access_key_id) && log.contains(&tenant.access_key_id), "{log}");
    assert!(log.contains("2 access keys of 2 users and accounts"), "{log}");
    check_what_is_left(&node, &upload);
    let mut by_alice = Client::new(node.address(), alice.clone());
    by_alice.get("box", "small").expect_error(403, "InvalidAccessKeyId");

    // Users are there with what they may do, and encryption goes on under other keys.
    bring_along(&node, "alice", &alice);
    by_alice.get("box", "small").expect(200);
    let mut client = node.client();
    for request in [under_nodes_key(put("node-again")), under_named_key(put("team-again"))] {
        client.send(request).expect(200);
    }
    client.put("sealed", "after", b"after").expect(200);
    client.delete("box", "of-team").expect(204);
    client.send(under_named_key(put("of-team"))).expect(200);
    client.delete("box", "of-team").expect(204);
    client
        .send(Request::new("PUT", "/box/of-team").header("x-amz-copy-source", "/box/team-again"))
        .expect(200);

    // The setting was forgotten in its place: it does nothing any more.
    assert!(node.terminate().success());
    let said = node.log_whole().len();
    node.restart(3);
    node.log_with(said, |text| text.contains("nothing was given up; leave the setting out"));
    by_alice = Client::new(node.address(), alice);
    by_alice.get("box", "small").expect(200);
    let mut client = node.client();
    for key in ["node-again", "team-again", "of-team"] {
        assert_eq!(client.get("box", key).expect(200).body, payload(1, 200_000), "{key}");
    }
    assert_eq!(client.get("sealed", "after").expect(200).body, b"after");
    client.get("box", "of-node").expect_error(400, "KMS.NotFoundException");
}
