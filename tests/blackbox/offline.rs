//! `ringcask check` and `ringcask inspect` on what a real node left: clean when it ended in order and when it
//! was killed, and damage of every kind found and named.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

use crate::client::{Request, complete_upload, target};
use crate::content::Random;
use crate::node::{Node, Options, binary};

/// Customer's key of the encrypted objects, its base64 and the base64 of its MD5.
const CUSTOMER_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const CUSTOMER_KEY_MD5: &str = "hRasmdxgYDKV3nvbahU1MA==";

/// Runs the binary on data directories.
fn run(arguments: &[&str], data: &[PathBuf]) -> Output {
    let mut command = Command::new(binary());
    command.arg(arguments[0]);
    for path in data {
        command.arg("--data").arg(path);
    }
    command.args(&arguments[1..]).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// Exit code and report of a check.
#[track_caller]
pub fn check(data: &[PathBuf], quick: bool) -> (i32, Value) {
    let arguments = if quick { &["check", "--json", "--quick"][..] } else { &["check", "--json"] };
    let output = run(arguments, data);
    let report = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    (output.status.code().unwrap(), report)
}

/// A node that [`fill`] may fill.
fn start(cores: usize, drives: usize) -> Node {
    let arguments = vec!["--sse-c-over-http".to_owned()];
    Node::start_with(Options { cores, drives, arguments, ..Options::default() })
}

/// Everything that the tools must tell apart: versions, uploads, copies, encrypted objects.
fn fill(node: &Node) {
    let mut client = node.client();
    let mut random = Random::new(4);
    let mut bytes = |length: usize| (0..length).map(|_| random.below(256) as u8).collect::<Vec<u8>>();
    for bucket in ["photos", "vault"] {
        client.put_bucket(bucket);
    }
    let versioning = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    client.send(Request::new("PUT", "/vault?versioning").body(versioning)).expect(200);
    for number in 0..300 {
        client.put("photos", &format!("small-{number}"), &bytes(300 + number)).expect(200);
    }
    for number in 0..12 {
        client.put("photos", &format!("large-{number}"), &bytes(200_000 + number)).expect(200);
        client.put("vault", &format!("doc-{}", number % 4), &bytes(90_000)).expect(200);
    }
    client.delete("vault", "doc-1").expect(204);
    let copy = Request::new("PUT", &target("photos", "copy")).header("x-amz-copy-source", "/photos/large-3");
    client.send(copy).expect(200);
    let sealed =
        Request::new("PUT", &target("vault", "sealed")).header("x-amz-server-side-encryption", "AES256");
    client.send(sealed.body(bytes(150_000))).expect(200);
    let customers = Request::new("PUT", &target("vault", "customers"))
        .header("x-amz-server-side-encryption-customer-algorithm", "AES256")
        .header("x-amz-server-side-encryption-customer-key", CUSTOMER_KEY)
        .header("x-amz-server-side-encryption-customer-key-MD5", CUSTOMER_KEY_MD5);
    client.send(customers.body(bytes(150_000))).expect(200);
    for key in ["made", "open"] {
        let upload = client.create_upload("photos", key);
        let parts = [5 * 1024 * 1024, 70_000];
        let etags: Vec<String> = (1..)
            .zip(parts)
            .map(|(number, length)| client.put_part("photos", key, &upload, number, &bytes(length)))
            .collect();
        if key == "made" {
            client.send(complete_upload("photos", key, &upload, &etags)).expect(200);
        }
    }
}

/// Names, lengths and times of change of a directory's files.
fn state(path: &Path) -> BTreeMap<String, (u64, std::time::SystemTime)> {
    let entry = |entry: fs::DirEntry| {
        let metadata = entry.metadata().unwrap();
        (entry.file_name().into_string().unwrap(), (metadata.len(), metadata.modified().unwrap()))
    };
    fs::read_dir(path).unwrap().map(|it| entry(it.unwrap())).collect()
}

fn names(path: &Path, prefix: &str) -> Vec<String> {
    state(path).into_keys().filter(|name| name.starts_with(prefix)).collect()
}

fn finding<'a>(report: &'a Value, area: &str, file: &str) -> &'a Value {
    let findings = report["findings"].as_array().unwrap();
    let is_it = |it: &&Value| it["severity"] == "damage" && it["area"] == area && it["file"] == file;
    findings.iter().find(is_it).unwrap_or_else(|| panic!("no damage of {area} in {file}: {report:#}"))
}

#[test]
fn a_node_that_runs_is_not_checked_and_one_that_ended_is_clean() {
    let mut node = start(2, 2);
    fill(&node);
    let data = [node.data(0), node.data(1)];
    let output = run(&["check"], &data);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output).contains("a node runs on"), "{}", text(&output));
    assert_eq!(run(&["inspect"], &data).status.code(), Some(2));
    assert_eq!(run(&["inspect", "--live"], &data).status.code(), Some(0));

    // Killed at any moment, what it leaves is not damaged.
    node.kill();
    let (code, report) = check(&data, true);
    assert_eq!(code, 0, "{report:#}");
    assert_eq!(check(&data[..1], true).0, 2, "a drive is missing");
    assert_eq!(check(&[data[1].clone(), data[0].clone()], true).0, 2, "their order is another");

    node.restart(3);
    assert!(node.terminate().success());
    let before = [state(&data[0]), state(&data[1])];
    let (code, report) = check(&data, false);
    assert_eq!(code, 0, "{report:#}");
    let summary = &report["summary"];
    // 300 small, 12 large, the copy, the one of parts; 3 documents that no marker hides, 2 encrypted ones.
    assert_eq!((&summary["objects"], &summary["uploads"]), (&(314 + 3 + 2).into(), &1.into()), "{report:#}");
    // 12 documents less 3 current, and the marker.
    assert_eq!((&summary["versions"], &summary["parts"]), (&10.into(), &2.into()));
    let references = summary["references"].as_u64().unwrap();
    assert_eq!(references, summary["extents"].as_u64().unwrap() + 1, "the copy shares");
    assert!(summary["dataBytesVerified"].as_u64().unwrap() > 10_000_000);
    assert_eq!([state(&data[0]), state(&data[1])], before, "checking changed something");

    // What looking costs is nothing: the node starts again.
    node.restart(2);
    let got = node.client().get("photos", "large-3");
    assert_eq!(got.expect(200).body.len(), 200_003);
}

#[test]
fn damage_of_every_kind_is_found_named_and_fails_the_check() {
    let mut node = start(1, 1);
    fill(&node);
    assert!(node.terminate().success());
    let data = [node.data(0)];
    let path = |name: &str| data[0].join(name);
    let poke = |name: &str, offset: u64, bytes: &[u8]| {
        let file = fs::File::options().read(true).write(true).open(path(name)).unwrap();
        let mut old = vec![0; bytes.len()];
        file.read_exact_at(&mut old, offset).unwrap();
        file.write_all_at(bytes, offset).unwrap();
        old
    };
    let shown = |arguments: &[&str]| {
        let output = run(arguments, &data);
        assert!(output.status.success(), "{}", text(&output));
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<Value>>()
    };

    // Payload: the extent that a copy shares, so that two objects are touched.
    let record = shown(&["inspect", "--json", "object", "photos/large-3"]);
    let stored = record[0]["facts"]["stored"].as_str().unwrap().to_owned();
    let segment = stored.split("data-").nth(1).unwrap().split(' ').next().unwrap();
    let (segment, at) =
        (format!("data-{segment}"), stored.rsplit(' ').next().unwrap().parse::<u64>().unwrap());
    let old = poke(&segment, at + 70_000, b"\x00rot\x00");
    let (code, report) = check(&data, false);
    let found = finding(&report, "data", &segment);
    assert_eq!((code, found["offset"].as_u64()), (1, Some(at + 65_536)));
    let keys: Vec<&str> =
        found["objects"].as_array().unwrap().iter().map(|it| it["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["copy", "large-3"]);
    assert_eq!(check(&data, true).0, 0, "a quick check leaves payload out");
    poke(&segment, at + 70_000, &old);

    // A record in the midst of the log.
    let record = &shown(&["inspect", "--json", "object", "photos/small-100"])[0];
    let log = Path::new(record["file"].as_str().unwrap()).file_name().unwrap().to_str().unwrap().to_owned();
    let offset = record["offset"].as_u64().unwrap();
    let old = poke(&log, offset + 60, b"\xff\xfe");
    let (code, report) = check(&data, true);
    let found = finding(&report, "log", &log);
    assert_eq!(code, 1);
    let names_it = |it: &Value| it["key"] == "small-100" && it["bucket"] == "photos";
    assert!(found["objects"].as_array().unwrap().iter().any(names_it), "{report:#}");
    let printed = run(&["check", "--quick"], &data);
    assert!(
        text(&printed).lines().all(|line| line.chars().count() <= 80 || line.contains('/')),
        "{}",
        text(&printed)
    );
    let output = run(&["inspect", "log", &log, "--hex", &offset.to_string()], &data);
    assert!(output.status.success() && text(&output).contains("··"), "{}", text(&output));
    poke(&log, offset + 60, &old);

    // Checkpoints, superblocks, lengths, and files that are gone or there twice.
    let checkpoint = names(&data[0], "checkpoint-").pop().unwrap();
    let old = poke(&checkpoint, 5000, b"\xee\xee");
    assert_eq!(finding(&check(&data, true).1, "checkpoint", &checkpoint)["offset"], 4096);
    poke(&checkpoint, 5000, &old);
    for name in ["ringcask.superblock", "ringcask.superblock.copy"] {
        let old = poke(name, 30, b"\xee");
        let (code, report) = check(&data, true);
        assert_eq!((code, finding(&report, "superblock", name)["severity"].as_str()), (1, Some("damage")));
        poke(name, 30, &old);
    }
    let length = fs::metadata(path(&log)).unwrap().len();
    for (name, area) in [(&log, "log"), (&segment, "data")] {
        let aside = path("aside");
        fs::rename(path(name), &aside).unwrap();
        let (code, report) = check(&data, true);
        assert_eq!(code, 1);
        assert!(!finding(&report, area, name)["objects"].as_array().unwrap().is_empty(), "{report:#}");
        fs::rename(&aside, path(name)).unwrap();
    }
    let file = fs::File::options().write(true).open(path(&log)).unwrap();
    file.set_len(length / 2).unwrap();
    assert_eq!(check(&data, true).0, 1);
    file.set_len(length).unwrap();
    assert_eq!(
        finding(&check(&data, true).1, "log", &log)["offset"],
        length - 4096,
        "the copy of its header"
    );
}

#[test]
fn what_is_no_data_directory_is_refused_with_its_own_exit_code() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let data = [folder.path().to_owned()];
    assert_eq!(check(&data, false).0, 2, "it is empty");
    assert_eq!(check(&[folder.path().join("missing")], false).0, 2);
    fs::write(folder.path().join("thesis.tex"), "x").unwrap();
    assert_eq!(check(&data, false).0, 2);
    // Ours by their names, and garbage: damaged, whatever is in them.
    let mut random = Random::new(9);
    for name in
        ["log-00000001", "data-00000002", "checkpoint-00000001-00000000-00000001", "ringcask.superblock"]
    {
        let bytes: Vec<u8> = (0..100_000).map(|_| random.below(256) as u8).collect();
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    let (code, report) = check(&data, false);
    assert_eq!(code, 1, "{report:#}");
    for arguments in [
        &["inspect"][..],
        &["inspect", "segments"],
        &["inspect", "superblock"],
        &["inspect", "log", "log-00000001"],
        &["inspect", "segment", "data-00000002"],
        &["inspect", "checkpoint", "checkpoint-00000001-00000000-00000001"],
        &["inspect", "object", "a/b"],
        &["inspect", "log", "log-00000001", "--hex", "50000"],
        &["inspect", "log", "../../etc/passwd"],
    ] {
        let output = run(arguments, &data);
        assert!(matches!(output.status.code(), Some(0 | 2)), "{arguments:?}: {}", text(&output));
    }
}

/// Secrets of identities, the customer's key and the wrapped keys of objects stay out of everything printed.
#[test]
fn nothing_secret_is_printed() {
    let mut node = start(1, 1);
    fill(&node);
    let admin = format!("http://{}", node.admin());
    let credentials = node.credentials().clone();
    let manage = |arguments: &[&str]| {
        let output = Command::new(binary())
            .args(arguments)
            .args(["--admin", &admin])
            .env("RINGCASK_ROOT_USER", &credentials.access_key_id)
            .env("RINGCASK_ROOT_PASSWORD", &credentials.secret_key)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", text(&output));
    };
    let secret = "a-secret-that-nobody-may-see-0123456789";
    manage(&["user", "create", "alice"]);
    manage(&["key", "create", "--user", "alice", "--id", "AKIAALICEALICEALICE1", "--secret", secret]);
    assert!(node.terminate().success());
    let data = [node.data(0)];
    let log = names(&data[0], "log-").pop().unwrap();
    let segment = names(&data[0], "data-").pop().unwrap();
    let checkpoint = names(&data[0], "checkpoint-").pop().unwrap();
    let mut printed = String::new();
    for json in [false, true] {
        for arguments in [
            &["check", "--quick"][..],
            &["inspect"],
            &["inspect", "log", &log],
            &["inspect", "segment", &segment],
            &["inspect", "checkpoint", &checkpoint],
            &["inspect", "object", "vault/customers"],
            &["inspect", "bucket", "vault"],
            &["inspect", "log", &log, "--hex", "4500"],
            &["inspect", "checkpoint", &checkpoint, "--hex", "5000"],
        ] {
            let mut arguments = arguments.to_vec();
            arguments.extend(json.then_some("--json"));
            let output = run(&arguments, &data);
            assert!(output.status.success(), "{arguments:?}: {}", text(&output));
            printed.push_str(&text(&output));
        }
    }
    let config: Vec<&str> = printed.lines().filter(|line| line.contains("config")).collect();
    assert!(config.len() > 4 && printed.contains("vault/customers"), "{config:?}");
    for hidden in [secret, CUSTOMER_KEY, "alice", "AKIAALICE", &credentials.secret_key] {
        assert!(!printed.contains(hidden), "{hidden} is printed");
    }
    // Nor as hexadecimal digits.
    let digits: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let spaced: Vec<String> = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    assert!(!printed.contains(&digits[..16]) && !printed.contains(&spaced[..8].join(" ")));
}
