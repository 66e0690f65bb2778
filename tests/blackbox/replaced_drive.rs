//! `ringcask replace-drive` on real directories: what it says and refuses, and what the node serves afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

use crate::client::{Client, Request, target};
use crate::content::{payload, seed_of};
use crate::http::elements;
use crate::node::{Node, Options, binary};
use crate::offline::check;

const BUCKET: &str = "replaced";

/// Lengths of objects: in the log, and in extents.
const SMALL: usize = 3_000;
const LARGE: usize = 300_000;

fn replace(data: &[PathBuf], lost: usize, arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.arg("replace-drive");
    for path in data {
        command.arg("--data").arg(path);
    }
    command.arg("--lost").arg(&data[lost]).args(arguments).output().unwrap()
}

#[track_caller]
fn refused(data: &[PathBuf], lost: usize, why: &str) {
    let output = replace(data, lost, &["--yes"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(2) && said.contains(why), "{:?}: {said}", output.status);
}

/// Objects on both cores, over a connection to each, so that both drives get payload; with the seed of each.
fn fill(node: &Node) -> BTreeMap<String, u64> {
    let mut stored = BTreeMap::new();
    let mut clients = [node.client(), node.client()];
    for number in 0..40 {
        let client = &mut clients[number as usize % 2];
        let bytes = if number % 4 < 2 { SMALL } else { LARGE };
        let key = format!("key/{number:02}");
        client.put(BUCKET, &key, &payload(number, bytes)).expect(200);
        stored.insert(key, number);
    }
    stored
}

fn listed(client: &mut Client) -> Vec<String> {
    let listed = client.send(Request::new("GET", &format!("/{BUCKET}?list-type=2"))).expect(200);
    elements(&listed.text(), "Key")
}

#[test]
fn a_node_starts_without_a_drive_once_its_operator_has_given_it_up() {
    let mut node = Node::start_with(Options { cores: 2, drives: 2, ..Options::default() });
    node.client_with_bucket(BUCKET);
    let stored = fill(&node);
    let data = [node.data(0), node.data(1)];
    refused(&data, 1, "in use by another node");
    assert!(node.terminate().success());
    refused(&data, 1, "it is not lost");

    // The drive is gone: there is not even its mount point.
    let away = node.scratch().join("away");
    fs::rename(&data[1], &away).unwrap();
    fs::create_dir(&data[1]).unwrap();
    assert!(node.refuse(2).contains("drive 1 of the node is not mounted"));
    fs::remove_dir_all(&data[1]).unwrap();
    refused(&[data[1].clone(), data[0].clone()], 0, "in place 1");
    refused(&data[1..], 0, "none of the other drives belongs to a node");

    // It says what is lost, and does nothing without a yes.
    let asked = replace(&data, 1, &[]);
    let said = String::from_utf8(asked.stdout).unwrap();
    assert_eq!(asked.status.code(), Some(1), "{said}");
    assert!(said.contains("LOST: all keys of 1 of 2 cores (number 1)"), "{said}");
    assert!(said.contains("nothing was changed") && said.lines().all(|line| line.len() <= 80), "{said}");
    assert!(node.refuse(2).contains("drive 1 of the node is not mounted"));
    let told: Value = serde_json::from_slice(&replace(&data, 1, &["--json"]).stdout).unwrap();
    let of_key = |it: &Value| it["key"].as_str().unwrap().to_owned();
    let damaged: Vec<String> = told["damaged"].as_array().unwrap().iter().map(of_key).collect();
    assert!(damaged.iter().all(|key| said.contains(&format!("    {BUCKET}/{key}\n"))), "{said}");
    assert!(damaged.len() >= 3, "{told}");

    let done = replace(&data, 1, &["--yes"]);
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    refused(&data, 1, "it is not lost");
    node.restart(2);
    let mut client = node.client();
    let left = listed(&mut client);
    assert_eq!(left.len() as u64, told["objectsLeft"].as_u64().unwrap());
    assert!((8..36).contains(&left.len()), "{left:?}");
    for (key, seed) in &stored {
        let response = client.get(BUCKET, key);
        match (left.contains(key), damaged.contains(key)) {
            (false, _) => drop(response.expect_error(404, "NoSuchKey")),
            (true, true) => drop(response.expect_error(500, "InternalError")),
            (true, false) => assert_eq!(seed_of(&response.expect(200).body), Ok(*seed), "{key}"),
        }
    }
    // What is damaged cannot be copied as if it were there; it can be put again, and deleted.
    let copy = Request::new("PUT", &target(BUCKET, "copy"))
        .header("x-amz-copy-source", &format!("/{}", target(BUCKET, &damaged[0]).trim_start_matches('/')));
    client.send(copy).expect_error(500, "InternalError");
    for (number, key) in damaged.iter().enumerate() {
        match number % 2 {
            0 => drop(client.put(BUCKET, key, &payload(stored[key], LARGE)).expect(200)),
            _ => drop(client.delete(BUCKET, key).expect(204)),
        }
    }
    let again = fill(&node);
    for (key, seed) in &again {
        assert_eq!(seed_of(&client.get(BUCKET, key).expect(200).body), Ok(*seed), "{key}");
    }
    drop(client);
    assert!(node.terminate().success());
    let (code, report) = check(&data, false);
    assert_eq!(code, 0, "{report:#}");

    // Whoever finds the drive again cannot bring it back beside what was written since.
    fs::rename(&data[1], node.scratch().join("new")).unwrap();
    fs::rename(&away, &data[1]).unwrap();
    assert!(node.refuse(2).contains("it is an older copy"));
    fs::rename(&data[1], &away).unwrap();
    fs::rename(node.scratch().join("new"), &data[1]).unwrap();
    node.restart(3);
    assert_eq!(listed(&mut node.client()), again.keys().cloned().collect::<Vec<_>>());
}
