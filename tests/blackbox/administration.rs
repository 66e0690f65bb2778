//! What an operator does to a running node with commands: looks at it, drains it, has it write checkpoints; over TLS,
//! too.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::certificates::Authority;
use crate::client::{Client, Request};
use crate::content::payload;
use crate::health::{ask, report};
use crate::http::Connection;
use crate::identities::{command, credentials, manage, manage_json, refusal, refused};
use crate::node::{Node, Options};

fn status_of(client: &mut Client, method: &str, target: &str) -> u16 {
    client.send(Request::new(method, target)).status
}

#[test]
fn a_drained_node_refuses_requests_until_it_is_resumed() {
    let mut node = Node::start();
    let mut client = node.client_with_bucket("box");
    client.put("box", "k", b"before").expect(200);

    let drained = manage(&node, &["drain"]);
    assert_eq!(drained, "the node refuses all requests; under way: 0 requests, 0 of them changes\n");
    for (method, target) in [("GET", "/box/k"), ("PUT", "/box/k"), ("GET", "/"), ("DELETE", "/box/k")] {
        let response = client.send(Request::new(method, target)).expect_error(503, "ServiceUnavailable");
        assert_eq!(response.header("retry-after"), Some("1"));
        assert_eq!(response.header("connection"), Some("close"));
    }
    assert_eq!(status_of(&mut client, "HEAD", "/box/k"), 503);
    for path in ["/minio/health/ready", "/minio/health/cluster", "/minio/health/cluster/read"] {
        assert_eq!(report(node.address(), path, 503)["status"], "draining", "{path}");
    }
    ask(node.address(), "GET", "/minio/health/live").expect(200);
    assert_eq!(report(node.admin(), "/health", 503)["status"], "draining");
    assert!(manage(&node, &["status"]).contains("everything is refused until 'ringcask resume'"));

    assert_eq!(manage(&node, &["resume"]), "the node takes requests\n");
    assert_eq!(client.get("box", "k").expect(200).body, b"before");
    report(node.address(), "/minio/health/ready", 200);

    manage(&node, &["drain", "--changes"]);
    assert_eq!(client.get("box", "k").expect(200).body, b"before");
    assert_eq!(status_of(&mut client, "PUT", "/box/k"), 503);
    assert_eq!(status_of(&mut client, "DELETE", "/box/k"), 503);
    report(node.address(), "/minio/health/ready", 503);
    report(node.address(), "/minio/health/cluster/read", 200);

    // It is of this run alone.
    assert!(node.terminate().success());
    node.restart(2);
    node.client().put("box", "k", b"after").expect(200);
}

#[test]
fn draining_waits_for_what_is_under_way_which_ends_as_it_would_have() {
    let node = Node::start();
    let mut client = node.client_with_bucket("box");
    let content = payload(1, 200_000);
    let request = client.sign(Request::new("PUT", "/box/slow").body(content.clone()));
    let (head, body) = (request.head(), &request.body);
    let mut upload = Connection::open(node.address()).unwrap();
    upload.send(&head).unwrap();
    upload.send(&body[..100_000]).unwrap();
    // Without a client that waits, the upload would be met before it has begun.
    while manage_json(&node, &["drain", "--no-wait", "--changes"])["changesInFlight"] == 0 {
        manage(&node, &["resume"]);
    }
    let mut waiting = command(&node, node.credentials(), &["drain"]);
    let mut waiting = waiting.stdout(Stdio::null()).spawn().unwrap();
    assert_eq!(status_of(&mut client, "PUT", "/box/other"), 503);
    assert!(waiting.try_wait().unwrap().is_none(), "an upload is under way");
    upload.send(&body[100_000..]).unwrap();
    upload.receive(false).unwrap().expect(200);
    assert!(waiting.wait().unwrap().success());
    manage(&node, &["resume"]);
    assert_eq!(client.get("box", "slow").expect(200).body, content);
}

#[test]
fn a_checkpoint_is_written_on_every_core_when_it_is_asked_for() {
    let node = Node::start_with(Options { cores: 3, drives: 2, ..Options::default() });
    let mut client = node.client_with_bucket("box");
    for number in 0..30 {
        client.put("box", &format!("k{number}"), &payload(number, 1000)).expect(200);
    }
    let newest = |drive: usize| {
        let files = fs::read_dir(node.data(drive)).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with("checkpoint-")).collect::<Vec<_>>()
    };
    let before = (newest(0), newest(1));
    assert_eq!(manage(&node, &["checkpoint"]), "wrote a checkpoint of 3 cores\n");
    assert_ne!((newest(0), newest(1)), before);
    let progress = manage_json(&node, &["progress"]);
    for core in progress["cores"].as_array().unwrap() {
        let written = core["checkpoint"]["logBytes"].as_u64().unwrap();
        assert!(written < 100_000, "a start would read little: {core}");
    }
    let shown = manage(&node, &["progress"]);
    assert_eq!(shown.lines().filter(|line| line.starts_with("checkpoint core ")).count(), 3, "{shown}");
    assert!(shown.contains("scrub core 0 waits for its first pass"), "{shown}");
}

#[test]
fn status_shows_drives_cores_buckets_and_listeners() {
    let node = Node::start_with(Options { cores: 3, drives: 2, ..Options::default() });
    let mut client = node.client_with_bucket("box");
    client.put("box", "k", &payload(1, 1_000_000)).expect(200);
    let status = manage_json(&node, &["status"]);
    assert_eq!(status["buckets"]["objects"], 1);
    assert_eq!(status["buckets"]["bytes"], 1_000_000);
    let drives = status["drives"].as_array().unwrap();
    assert_eq!(drives.len(), 2);
    assert_eq!(drives[0]["cores"], serde_json::json!([0, 2]));
    assert_eq!(drives[1]["directory"], node.data(1).to_str().unwrap());
    let stored: u64 = drives.iter().map(|drive| drive["payloadBytes"].as_u64().unwrap()).sum();
    assert!(stored >= 1_000_000, "{status}");
    let urls: Vec<&Value> =
        status["listeners"].as_array().unwrap().iter().map(|listener| &listener["url"]).collect();
    assert_eq!(urls, [&format!("http://{}", node.address()), &format!("http://{}", node.admin())]);
    let shown = manage(&node, &["status"]);
    assert!(shown.contains("1 bucket with 1 object, 977 KiB\n"), "{shown}");
}

/// What a command shows on a terminal; `None` where there is no `script` to make one.
fn on_a_terminal(node: &Node, columns: usize, arguments: &[&str]) -> Option<String> {
    let command = command(node, node.credentials(), arguments);
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let line: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let mut script = Command::new("script");
    script.args(["-qec", &format!("stty cols {columns} rows 24; exec {}", line.join(" ")), "/dev/null"]);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    let output = script.stdin(Stdio::null()).output().ok()?;
    let shown = String::from_utf8(output.stdout).unwrap().replace('\r', "");
    // Of `doctor`, 1 and 2 say what it found.
    let is_answered = output.status.success() || arguments[0] == "doctor" && output.status.code() < Some(3);
    assert!(is_answered && !shown.contains("ringcask: "), "{arguments:?}: {:?}\n{shown}", output.status);
    Some(shown)
}

#[test]
fn every_screen_fits_its_terminal_and_leaves_nothing_out() {
    let node = Node::start_with(Options { cores: 3, drives: 2, ..Options::default() });
    let (bucket, user) = ("b".repeat(63), "u".repeat(64));
    node.client_with_bucket(&bucket);
    manage(&node, &["quota", "set", &bucket, "500GiB"]);
    manage_json(&node, &["user", "create", &user, "--policy", "readwrite"]);
    manage_json(&node, &["key", "create", "--user", &user]);
    manage_json(&node, &["kms", "create", &"k".repeat(200)]);
    let directory = node.data(0).to_str().unwrap().to_owned();
    let screens = [
        (&["status"][..], directory.as_str()),
        (&["bucket", "list"], &bucket),
        (&["user", "list"], &user),
        (&["key", "list"], &user),
        (&["kms", "list"], "aws/sse-s3"),
        (&["progress"], "Checkpoint: "),
        (&["config"], &directory),
        (&["doctor", "--all", "--data", &directory], &directory),
    ];
    for (columns, (arguments, shows)) in
        [80, 60].into_iter().flat_map(|it| screens.map(|screen| (it, screen)))
    {
        let Some(screen) = on_a_terminal(&node, columns, arguments) else {
            eprintln!("left out: there is no script here");
            return;
        };
        // A word that can be pasted is left whole.
        let is_wide = |line: &&str| line.chars().count() > columns && line.trim().contains(' ');
        let wide: Vec<&str> = screen.lines().filter(is_wide).collect();
        assert!(wide.is_empty(), "{arguments:?} on {columns} columns: {wide:#?}");
        // In how many lines whatever.
        let letters = |text: &str| text.replace([' ', '\n'], "");
        let begins = shows.chars().take(10).collect::<String>();
        assert!(letters(&screen).contains(&letters(&begins)), "{arguments:?}: no {shows} in\n{screen}");
        assert!(!screen.contains('…'), "{arguments:?}: {screen}");
    }
    // For other programs, a row is a line.
    let listed = manage(&node, &["bucket", "list"]);
    assert!(listed.lines().any(|line| line.starts_with(&bucket) && line.ends_with("500 GiB")), "{listed}");
    assert!(manage(&node, &["status"]).contains(&directory));
}

#[test]
fn config_shows_every_setting_with_its_origin_and_no_secret() {
    let node = Node::start_with(Options {
        arguments: vec!["--region".to_owned(), "eu-central-1".to_owned()],
        ..Options::default()
    });
    let config = manage_json(&node, &["config"]);
    let settings = config["settings"].as_array().unwrap();
    let found = |name: &str| settings.iter().find(|setting| setting["name"] == name).unwrap();
    assert_eq!(
        (&found("region")["value"], &found("region")["from"]),
        (&"eu-central-1".into(), &"--region".into())
    );
    assert_eq!(found("arena")["origin"], "default");
    assert_eq!(found("arena")["value"], "64MiB");
    assert_eq!(found("root-password")["from"], "RINGCASK_ROOT_PASSWORD");
    let shown = manage(&node, &["config"]) + &config.to_string();
    assert!(!shown.contains(&node.credentials().secret_key), "{shown}");
}

#[test]
fn a_misspelt_variable_is_no_setting_without_effect() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = std::process::Command::new(crate::node::binary());
    command.env_clear().env("RINGCASK_LISEN", "127.0.0.1:0").arg("--data").arg(folder.path());
    let message = refusal(&command.output().unwrap());
    assert_eq!(message, "unknown environment variable RINGCASK_LISEN; did you mean RINGCASK_LISTEN?");
}

#[test]
fn only_the_operator_administers_the_node() {
    let node = Node::start();
    manage(&node, &["account", "create", "tenant"]);
    let tenant = credentials(&manage_json(&node, &["key", "create", "--account", "tenant"]));
    for arguments in [
        &["drain"][..],
        &["resume"],
        &["checkpoint"],
        &["progress"],
        &["status"],
        &["config"],
        &["bucket", "list"],
        &["quota", "set", "box", "1GiB"],
        &["quota", "show", "box"],
        &["quota", "clear", "box"],
    ] {
        let why = refused(&node, &tenant, arguments);
        assert!(why.contains("(AccessDenied)"), "{arguments:?}: {why}");
    }
}

#[test]
fn the_admin_listener_serves_tls_to_commands_that_trust_its_certificate() {
    let authority = Authority::new();
    let mut arguments = authority.issue("node").arguments();
    arguments.push("--admin-tls".to_owned());
    let options = Options { arguments, authority: Some(authority.bundle()), ..Options::default() };
    let node = Node::start_with(options);
    let url = format!("https://{}", node.admin());
    let run = |arguments: &[&str]| {
        let mut command = command(&node, node.credentials(), arguments);
        command.env("RINGCASK_ADMIN", &url).output().unwrap()
    };
    let bundle = authority.bundle();
    let answer = run(&["status", "--json", "--ca", bundle.to_str().unwrap()]);
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    let status: Value = serde_json::from_slice(&answer.stdout).unwrap();
    let certificate = &status["certificates"][0];
    assert!(certificate["names"].to_string().contains("localhost"), "{status}");
    // Whom nobody vouches for is not talked to.
    let others = Authority::new();
    let other = others.bundle();
    assert!(
        refusal(&run(&["status", "--ca", other.to_str().unwrap()])).contains("cannot reach the admin API")
    );
    // And nobody is answered in plain.
    let plain = command(&node, node.credentials(), &["status"]).output().unwrap();
    let refused = refusal(&plain);
    assert!(refused.contains("speaks HTTPS"), "{refused}");
}
