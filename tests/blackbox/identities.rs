//! Accounts, users and access keys as an administrator makes them with commands, and clients use them.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::client::{Client, Request};
use crate::node::{Node, Options, binary};
use crate::sign::Credentials;

const POLICY: &str = r#"{"Version":"2012-10-17",
 "Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;

/// A command for the node's administration on somebody's behalf, with nothing of this process's environment.
pub fn command(node: &Node, who: &Credentials, arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("RINGCASK_") || name.starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    command
        .args(arguments)
        .env("RINGCASK_ADMIN", format!("http://{}", node.admin()))
        .env("AWS_ACCESS_KEY_ID", &who.access_key_id)
        .env("AWS_SECRET_ACCESS_KEY", &who.secret_key)
        .stdin(Stdio::null());
    command
}

/// What a command prints that must succeed.
#[track_caller]
pub fn manage(node: &Node, arguments: &[&str]) -> String {
    let output = command(node, node.credentials(), arguments).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {text}{errors}");
    assert!(errors.is_empty(), "{errors}");
    // Tables are cut to a terminal alone.
    let is_table = arguments == ["status"] || arguments.contains(&"list");
    for line in text.lines().filter(|_| !is_table) {
        assert!(line.chars().count() <= 80, "{arguments:?} prints a line of more than 80 columns: {line}");
    }
    text
}

#[track_caller]
pub fn manage_json(node: &Node, arguments: &[&str]) -> Value {
    let output = command(node, node.credentials(), arguments).arg("--json").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The one line in which a command is refused.
#[track_caller]
pub fn refusal(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    errors.trim().strip_prefix("ringcask: ").unwrap().to_owned()
}

#[track_caller]
pub fn refused(node: &Node, who: &Credentials, arguments: &[&str]) -> String {
    refusal(&command(node, who, arguments).output().unwrap())
}

/// Credentials of a key that a command has made or rotated.
pub fn credentials(answer: &Value) -> Credentials {
    let text = |name: &str| answer[name].as_str().unwrap().to_owned();
    Credentials {
        access_key_id: text("accessKeyId"),
        secret_key: text("secretAccessKey"),
        region: "us-east-1".to_owned(),
    }
}

/// A user who may use S3, and a key of theirs.
fn user(node: &Node, name: &str) -> Credentials {
    manage(node, &["user", "create", name, "--policy", "readwrite"]);
    credentials(&manage_json(node, &["key", "create", "--user", name]))
}

/// The code of the error that a request is answered with, or nothing.
fn refused_with(client: &mut Client) -> Option<String> {
    let response = client.send(Request::new("GET", "/"));
    (response.status != 200).then(|| response.element("Code").unwrap_or_default())
}

#[test]
fn a_key_works_on_every_core_as_soon_as_it_is_made_and_stops_on_open_connections() {
    let node = Node::start_with(Options { cores: 4, ..Options::default() });
    let key = user(&node, "alice");
    // Connections go to the core with the fewest, so eight reach all four.
    let mut clients: Vec<_> = (0..8).map(|_| Client::new(node.address(), key.clone())).collect();
    let mut all = |expected: Option<&str>| {
        for client in &mut clients {
            assert_eq!(refused_with(client).as_deref(), expected);
        }
    };
    let id = key.access_key_id.as_str();
    all(None);
    manage(&node, &["key", "deactivate", id]);
    all(Some("InvalidAccessKeyId"));
    manage(&node, &["key", "activate", id]);
    all(None);
    let rotated = credentials(&manage_json(&node, &["key", "rotate", id]));
    all(Some("SignatureDoesNotMatch"));
    assert_eq!(refused_with(&mut Client::new(node.address(), rotated)), None);
    manage(&node, &["key", "delete", id]);
    all(Some("InvalidAccessKeyId"));
}

#[test]
fn a_user_has_several_keys_and_all_end_with_the_user() {
    let node = Node::start();
    let first = user(&node, "alice");
    let second = credentials(&manage_json(&node, &["key", "create", "--user", "alice"]));
    for key in [&first, &second] {
        assert_eq!(refused_with(&mut Client::new(node.address(), key.clone())), None);
    }
    manage(&node, &["user", "delete", "alice"]);
    for key in [&first, &second] {
        let code = refused_with(&mut Client::new(node.address(), key.clone()));
        assert_eq!(code.as_deref(), Some("InvalidAccessKeyId"));
    }
}

#[test]
fn identities_outlive_a_crash_and_another_number_of_cores() {
    let mut node = Node::start();
    manage(&node, &["account", "create", "acme", "--email", "ops@acme.example"]);
    let root = credentials(&manage_json(&node, &["key", "create", "--account", "acme"]));
    let alice = user(&node, "alice");
    manage(&node, &["group", "create", "staff", "--policy", "readonly"]);
    manage(&node, &["group", "add", "staff", "alice"]);
    let lists = |node: &Node| {
        ["account", "user", "group", "policy", "key"].map(|area| manage_json(node, &[area, "list"]))
    };
    let before = lists(&node);
    for cores in [3, 1] {
        node.kill();
        node.restart(cores);
        assert_eq!(lists(&node), before);
        for key in [&root, &alice] {
            assert_eq!(refused_with(&mut Client::new(node.address(), key.clone())), None);
        }
    }
}

#[test]
fn an_account_manages_itself_and_nothing_else() {
    let node = Node::start();
    manage(&node, &["account", "create", "acme"]);
    manage(&node, &["account", "create", "other"]);
    let root = credentials(&manage_json(&node, &["key", "create", "--account", "acme"]));
    for arguments in [
        &["account", "list"][..],
        &["account", "create", "third"],
        &["account", "delete", "other"],
        &["user", "list", "--account", "other"],
        &["key", "create", "--account", "other"],
    ] {
        let error = refused(&node, &root, arguments);
        assert!(error.ends_with("(AccessDenied)"), "{arguments:?}: {error}");
    }
    let output = command(&node, &root, &["user", "create", "bob"]).output().unwrap();
    assert!(output.status.success());
    assert_eq!(manage_json(&node, &["user", "list", "--account", "acme"])["users"][0]["name"], "bob");
    assert_eq!(manage_json(&node, &["user", "list"])["users"], Value::Array(Vec::new()));
    let bob = credentials(&manage_json(&node, &["key", "create", "--account", "acme", "--user", "bob"]));
    assert!(refused(&node, &bob, &["user", "list"]).ends_with("(AccessDenied)"));
    let output = command(&node, &bob, &["whoami", "--json"]).output().unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap()["user"], "bob");
}

#[test]
fn accounts_own_their_buckets_and_users_get_what_policies_allow() {
    let node = Node::start();
    manage(&node, &["account", "create", "acme"]);
    let root = credentials(&manage_json(&node, &["key", "create", "--account", "acme"]));
    let mut acme = Client::new(node.address(), root.clone());
    acme.put_bucket("theirs");
    acme.put("theirs", "key", b"value").expect(200);
    assert!(
        refused(&node, node.credentials(), &["account", "delete", "acme"]).contains("still has 1 bucket")
    );

    let mut operator = node.client_with_bucket("ours");
    operator.get("theirs", "key").expect_error(403, "AccessDenied");
    operator.send(Request::new("PUT", "/theirs")).expect_error(409, "BucketAlreadyExists");
    let buckets = |client: &mut Client| {
        crate::http::elements(&client.send(Request::new("GET", "/")).expect(200).text(), "Name")
    };
    assert_eq!(
        (buckets(&mut operator), buckets(&mut acme)),
        (vec!["ours".to_owned()], vec!["theirs".to_owned()])
    );

    // A user of acme begins with nothing; a policy of its group counts from the next request on.
    for arguments in [&["user", "create", "bob"][..], &["group", "create", "readers"]] {
        manage(&node, &[arguments, &["--account", "acme"]].concat());
    }
    let key = ["key", "create", "--account", "acme", "--user", "bob"];
    let mut bob = Client::new(node.address(), credentials(&manage_json(&node, &key)));
    bob.get("theirs", "key").expect_error(403, "AccessDenied");
    manage(&node, &["group", "add", "readers", "bob", "--account", "acme"]);
    manage(&node, &["group", "policy", "attach", "readers", "readonly", "--account", "acme"]);
    assert_eq!(bob.get("theirs", "key").expect(200).body, b"value");
    bob.put("theirs", "key", b"other").expect_error(403, "AccessDenied");
    manage(&node, &["group", "remove", "readers", "bob", "--account", "acme"]);
    bob.get("theirs", "key").expect_error(403, "AccessDenied");

    acme.delete("theirs", "key").expect(204);
    acme.send(Request::new("DELETE", "/theirs")).expect(204);
    manage(&node, &["user", "delete", "bob", "--account", "acme"]);
    manage(&node, &["group", "policy", "detach", "readers", "readonly", "--account", "acme"]);
    manage(&node, &["group", "delete", "readers", "--account", "acme"]);
    manage(&node, &["account", "delete", "acme"]);
    assert_eq!(refused_with(&mut acme).as_deref(), Some("InvalidAccessKeyId"));
}

#[test]
fn what_is_in_use_is_not_deleted() {
    let node = Node::start();
    manage(&node, &["user", "create", "alice"]);
    let mut put = command(&node, node.credentials(), &["policy", "put", "mine", "-"]);
    let mut child = put.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(POLICY.as_bytes()).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(manage(&node, &["policy", "get", "mine"]).trim(), POLICY);
    manage(&node, &["user", "policy", "attach", "alice", "mine"]);
    let root = node.credentials();
    let error = refused(&node, root, &["policy", "delete", "mine"]);
    assert_eq!(error, "policy 'mine' is attached to user 'alice' (DeleteConflict)");
    manage(&node, &["user", "policy", "detach", "alice", "mine"]);
    manage(&node, &["policy", "delete", "mine"]);

    manage(&node, &["group", "create", "staff"]);
    manage(&node, &["group", "add", "staff", "alice"]);
    assert!(refused(&node, root, &["group", "delete", "staff"]).contains("has members"));
    manage(&node, &["group", "remove", "staff", "alice"]);
    manage(&node, &["group", "delete", "staff"]);

    manage(&node, &["account", "create", "acme"]);
    manage(&node, &["user", "create", "bob", "--account", "acme"]);
    assert!(refused(&node, root, &["account", "delete", "acme"]).contains("still has 1 user"));
    manage(&node, &["user", "delete", "bob", "--account", "acme"]);
    manage(&node, &["account", "delete", "acme"]);
    assert!(refused(&node, root, &["account", "delete", "acme"]).ends_with("(NoSuchEntity)"));
    assert!(refused(&node, root, &["user", "create", "alice"]).ends_with("(EntityAlreadyExists)"));
}

#[test]
fn a_key_that_clients_have_already_is_brought_along() {
    let node = Node::start();
    manage(&node, &["user", "create", "backup", "--policy", "readwrite"]);
    let arguments = ["key", "create", "--user", "backup", "--id", "minio-user", "--secret-stdin", "--json"];
    let mut create = command(&node, node.credentials(), &arguments);
    let mut child = create.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"minio-secret\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    let key = credentials(&serde_json::from_slice(&output.stdout).unwrap());
    assert_eq!((key.access_key_id.as_str(), key.secret_key.as_str()), ("minio-user", "minio-secret"));
    assert_eq!(refused_with(&mut Client::new(node.address(), key)), None);

    let mut rotate = command(&node, node.credentials(), &["key", "rotate", "minio-user", "--json"]);
    let output = rotate.env("RINGCASK_NEW_SECRET", "another secret").output().unwrap();
    let key = credentials(&serde_json::from_slice(&output.stdout).unwrap());
    assert_eq!(key.secret_key, "another secret");
    assert_eq!(refused_with(&mut Client::new(node.address(), key)), None);
}

#[test]
fn secrets_are_shown_once_and_stand_in_no_list_and_no_log() {
    let arguments = vec!["--log-level".to_owned(), "debug".to_owned()];
    let mut node = Node::start_with(Options { arguments, ..Options::default() });
    let key = user(&node, "alice");
    let shown = manage(&node, &["key", "rotate", &key.access_key_id]);
    let secret = shown.lines().find_map(|line| line.strip_prefix("export AWS_SECRET_ACCESS_KEY=")).unwrap();
    for area in ["account", "user", "group", "policy", "key"] {
        for text in [manage(&node, &[area, "list"]), manage_json(&node, &[area, "list"]).to_string()] {
            assert!(!text.contains(&key.secret_key) && !text.contains(secret), "{text}");
        }
    }
    assert!(node.terminate().success());
    let log = node.log_whole();
    assert!(log.contains("identity/user/"), "changes are logged: {log}");
    for secret in [&key.secret_key, secret, node.credentials().secret_key.as_str()] {
        assert!(!log.contains(secret), "a secret is in the log");
    }
}

#[test]
fn encryption_keys_are_made_listed_and_rotated() {
    let mut node = Node::start();
    assert_eq!(manage(&node, &["kms", "create", "team/a"]), "made encryption key team/a\n");
    manage(&node, &["kms", "rotate", "team/a"]);
    let before = manage_json(&node, &["kms", "list"]);
    let key = before["keys"].as_array().unwrap().iter().find(|key| key["name"] == "team/a").unwrap();
    assert_eq!(key["version"], 2);
    assert!(manage(&node, &["kms", "list"]).contains("team/a"));
    let error = refused(&node, node.credentials(), &["kms", "create", "team/a"]);
    assert!(error.ends_with("(EntityAlreadyExists)"), "{error}");
    node.kill();
    node.restart(3);
    assert_eq!(manage_json(&node, &["kms", "list"]), before);
}

#[test]
fn the_two_listeners_have_nothing_in_common() {
    let node = Node::start();
    let mut s3 = node.client();
    s3.send(Request::new("GET", "/admin/v1/whoami")).expect_error(404, "NoSuchBucket");
    s3.send(Request::new("POST", "/admin/v1/users").body(r#"{"name":"x"}"#));
    assert_eq!(manage_json(&node, &["user", "list"])["users"], Value::Array(Vec::new()));

    let mut admin = Client::new(node.admin(), node.credentials().clone());
    for (method, target) in [("GET", "/"), ("PUT", "/bucket"), ("GET", "/bucket/key")] {
        let answer: Value =
            serde_json::from_slice(&admin.send(Request::new(method, target)).expect(404).body).unwrap();
        assert_eq!(answer["error"]["code"], "NoSuchRoute", "{method} {target}");
    }
    let anonymous = Request::new("GET", "/admin/v1/whoami").header("Host", "node");
    let answer = admin.try_send_as_is(&anonymous).unwrap().expect(403);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert!(answer.text().contains("AccessDenied"));
}

#[test]
fn commands_say_what_is_wrong_in_one_line() {
    let node = Node::start();
    let nobody = Credentials { access_key_id: "NOBODY".to_owned(), ..node.credentials().clone() };
    assert!(refused(&node, &nobody, &["whoami"]).ends_with("(InvalidAccessKeyId)"));
    // The S3 listener is no admin API.
    let elsewhere = format!("http://{}", node.address());
    let error = refused(&node, node.credentials(), &["whoami", "--admin", &elsewhere]);
    assert!(error.contains("is it an admin API?"), "{error}");
    let error = refused(&node, node.credentials(), &["whoami", "--admin", "ftp://h"]);
    assert!(error.contains("--admin"), "{error}");
    let error = refused(&node, node.credentials(), &["policy", "put", "p", "/does/not/exist"]);
    assert!(error.contains("/does/not/exist"), "{error}");

    // Without credentials in the environment, those of the node's data directory are taken.
    let mut bare = command(&node, node.credentials(), &["whoami"]);
    bare.env_remove("AWS_ACCESS_KEY_ID").current_dir(node.scratch());
    assert!(refusal(&bare.output().unwrap()).contains("no credentials"));

    // The node says for which region to sign.
    let mut abroad = command(&node, node.credentials(), &["whoami"]);
    assert!(abroad.env("AWS_REGION", "eu-west-1").output().unwrap().status.success());
}
