//! The node as an attacker meets it: raw requests against a real process, a test for each way in that was open at
//! one of the object stores people use. `docs/SECURITY.md` has the table of all of them.

mod admin;
mod digests;
mod injection;
mod limits;
mod policies;
mod retention;
mod secrets;
mod signatures;
mod smuggling;
mod spellings;

use crate::client::{Client, Request};
use crate::http::{Response, elements};
use crate::identities::{credentials, manage, manage_json};
use crate::node::{Node, Options};
use crate::sign::Credentials;

/// What most attacks are after.
const SECRET: &[u8] = b"what only the owner may read";

/// A node with the operator's bucket `box`, which holds `k`.
fn node() -> (Node, Client) {
    node_with(&[])
}

fn node_with(arguments: &[&str]) -> (Node, Client) {
    let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    let node = Node::start_with(Options { arguments, ..Options::default() });
    let mut owner = node.client_with_bucket("box");
    owner.put("box", "k", SECRET).expect(200);
    (node, owner)
}

/// The root of an account of its own, of that name.
fn stranger(node: &Node, name: &str) -> Client {
    manage(node, &["account", "create", name]);
    let key = credentials(&manage_json(node, &["key", "create", "--account", name]));
    Client::new(node.address(), key)
}

/// A user of the operator's account with one policy of its own, and a key.
fn user(node: &Node, name: &str, policy: &str) -> Client {
    let file = node.scratch().join(name);
    std::fs::write(&file, policy).unwrap();
    manage(node, &["policy", "put", name, file.to_str().unwrap()]);
    manage(node, &["user", "create", name, "--policy", name]);
    let key = credentials(&manage_json(node, &["key", "create", "--user", name]));
    Client::new(node.address(), key)
}

/// A policy document of these statements.
fn document(statements: &str) -> String {
    format!(r#"{{"Version":"2012-10-17","Statement":[{statements}]}}"#)
}

fn set_policy(owner: &mut Client, bucket: &str, statements: &str) {
    owner.send(Request::new("PUT", &format!("/{bucket}?policy")).body(document(statements))).expect(204);
}

/// Sends a request that nobody signed.
fn send_anonymous(client: &mut Client, request: Request) -> Response {
    let request = if request.get("Host").is_some() { request } else { request.header("Host", "localhost") };
    client.try_send_as_is(&request).unwrap()
}

fn keys(owner: &mut Client, bucket: &str) -> Vec<String> {
    elements(&owner.send(Request::new("GET", &format!("/{bucket}?list-type=2"))).expect(200).text(), "Key")
}

/// The same keys with another secret.
fn with_secret(credentials: &Credentials, secret: &str) -> Credentials {
    Credentials { secret_key: secret.to_owned(), ..credentials.clone() }
}

/// Status and code of a refusal; no code if there is no document.
fn outcome(response: &Response) -> (u16, String) {
    (response.status, response.element("Code").unwrap_or_default())
}

/// A form as a browser posts it, with a file.
fn form(bucket: &str, fields: &[(&str, &str)], file: &[u8]) -> Request {
    let mut body = Vec::new();
    for (name, value) in fields {
        let part = format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
        body.extend(part.into_bytes());
    }
    body.extend(b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\n");
    body.extend(file);
    body.extend(b"\r\n--b--\r\n");
    Request::new("POST", &format!("/{bucket}"))
        .header("Content-Type", "multipart/form-data; boundary=b")
        .body(body)
}
