//! What another account, and nobody in particular, may do with a bucket: on every core, as soon as a policy
//! is acknowledged.

use crate::client::{Client, Request};
use crate::identities::{credentials, manage, manage_json};
use crate::node::{Node, Options};

/// Statuses of a request that each of several connections sends: eight of them reach all four cores.
fn statuses(clients: &mut [Client], request: &Request, is_signed: bool) -> Vec<u16> {
    let mut statuses: Vec<_> = clients
        .iter_mut()
        .map(|client| match is_signed {
            true => client.send(request.clone()).status,
            false => {
                let anonymous = request.clone().header("host", "localhost");
                client.try_send_as_is(&anonymous).unwrap().status
            }
        })
        .collect();
    statuses.dedup();
    statuses
}

fn set_policy(owner: &mut Client, statements: &str) {
    let policy = format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#);
    let response = owner.send(Request::new("PUT", "/shared?policy").body(policy));
    assert_eq!(response.status, 204, "{response:?}");
}

#[test]
fn policies_open_and_close_a_bucket_on_every_core_at_once() {
    let node = Node::start_with(Options { cores: 4, ..Options::default() });
    manage(&node, &["account", "create", "acme"]);
    let key = credentials(&manage_json(&node, &["key", "create", "--account", "acme"]));
    let account = manage_json(&node, &["account", "list"])["accounts"]
        .as_array()
        .unwrap()
        .iter()
        .find(|account| account["name"] == "acme")
        .map(|account| account["id"].as_str().unwrap().to_owned())
        .unwrap();
    let mut owner = node.client_with_bucket("shared");
    assert_eq!(owner.put("shared", "key", b"text").status, 200);
    assert_eq!(owner.send(Request::new("DELETE", "/shared?publicAccessBlock")).status, 204);
    let mut others: Vec<_> = (0..8).map(|_| Client::new(node.address(), key.clone())).collect();
    let mut read = |is_signed| statuses(&mut others, &Request::new("GET", "/shared/key"), is_signed);

    assert_eq!((read(true), read(false)), (vec![403], vec![403]));
    let allow = |principal: &str| {
        format!(
            r#"{{"Effect":"Allow","Principal":{principal},"Action":"s3:GetObject",
            "Resource":"arn:aws:s3:::shared/*"}}"#
        )
    };
    set_policy(&mut owner, &allow(&format!(r#"{{"AWS":"{account}"}}"#)));
    assert_eq!((read(true), read(false)), (vec![200], vec![403]));
    set_policy(&mut owner, &allow(r#""*""#));
    assert_eq!((read(true), read(false)), (vec![200], vec![200]));
    // The tests' own address, whatever a proxy might say.
    let deny = r#"{"Effect":"Deny","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::shared/*",
        "Condition":{"IpAddress":{"aws:SourceIp":"127.0.0.0/8"}}}"#;
    set_policy(&mut owner, &[&allow(r#""*""#), deny].join(","));
    assert_eq!((read(true), read(false)), (vec![403], vec![403]));
    assert_eq!(owner.get("shared", "key").status, 403);
    assert_eq!(owner.send(Request::new("DELETE", "/shared?policy")).status, 204);
    assert_eq!((read(true), read(false)), (vec![403], vec![403]));
    assert_eq!(owner.get("shared", "key").status, 200);
}

#[test]
fn accounts_own_their_buckets_across_a_crash() {
    let mut node = Node::start();
    manage(&node, &["account", "create", "acme"]);
    let key = credentials(&manage_json(&node, &["key", "create", "--account", "acme"]));
    node.client_with_bucket("mine");
    let mut other = Client::new(node.address(), key.clone());
    other.put_bucket("theirs");
    assert_eq!(other.put("theirs", "key", b"text").status, 200);
    let taken = other.send(Request::new("PUT", "/mine"));
    assert_eq!((taken.status, taken.element("Code").as_deref()), (409, Some("BucketAlreadyExists")));
    node.kill();
    node.restart(3);
    let mut mine = node.client();
    let mut other = Client::new(node.address(), key);
    let buckets = |client: &mut Client| client.send(Request::new("GET", "/")).element("Name");
    assert_eq!(buckets(&mut mine).as_deref(), Some("mine"));
    assert_eq!(buckets(&mut other).as_deref(), Some("theirs"));
    assert_eq!(mine.get("theirs", "key").status, 403);
    assert_eq!(other.get("theirs", "key").status, 200);
}
