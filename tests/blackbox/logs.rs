//! What a node writes down: its log, the access log as a file and as a webhook receives it, and slow requests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest as _, Md5};
use serde_json::Value;

use crate::client::{Client, Request};
use crate::content::payload;
use crate::health::ask;
use crate::http::{Connection, Response};
use crate::identities::{credentials, manage, manage_json};
use crate::node::{Node, Options};
use crate::receiver;
use crate::sign::Credentials;

/// Bounds every wait: only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

const BUCKET: &str = "box";

fn node_with(cores: usize, arguments: &[&str]) -> Node {
    let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
    Node::start_with(Options { cores, arguments, ..Options::default() })
}

#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The sum of a metric over its labels.
fn metric(node: &Node, name: &str) -> u64 {
    let text = ask(node.admin(), "GET", "/metrics").expect(200).text();
    let samples = text.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        (series.split('{').next() == Some(name)).then(|| value.parse::<f64>().unwrap())
    });
    samples.sum::<f64>() as u64
}

/// Entries as they stand in lines of JSON.
fn entries(text: &str) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.lines().map(parse).collect()
}

fn id_of(entry: &Value) -> String {
    entry["requestID"].as_str().unwrap_or_else(|| panic!("{entry}")).to_owned()
}

/// Entries of all files of a folder.
fn entries_in(folder: &Path) -> Vec<Value> {
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    files.flat_map(|file| entries(&fs::read_to_string(file).unwrap())).collect()
}

#[test]
fn the_level_of_the_log_changes_at_once_on_all_cores() {
    let mut node = node_with(4, &[]);
    let mut owner = node.client_with_bucket(BUCKET);
    // Connections go to the core with the fewest: eight reach all four.
    let mut clients: Vec<_> = (0..8).map(|_| node.client()).collect();
    let mut ask_for = |key: &str| {
        for client in &mut clients {
            let request = Request::new("GET", &format!("/{BUCKET}/{key}")).header("Host", "node");
            client.try_send_as_is(&request).unwrap().expect(403);
        }
    };
    ask_for("before");
    let answer = manage_json(&node, &["log-level", "debug"]);
    assert_eq!((&answer["level"], &answer["configured"]), (&"debug".into(), &"info".into()));
    ask_for("during");
    assert!(manage(&node, &["log-level", "info"]).contains("info"));
    ask_for("after");
    manage(&node, &["user", "create", "nobody"]);
    let nobody = credentials(&manage_json(&node, &["key", "create", "--user", "nobody"]));
    let mut nobody = Client::new(node.admin(), nobody);
    let set =
        |level: &str| Request::new("PUT", "/admin/v1/log-level").body(format!(r#"{{"level":"{level}"}}"#));
    for request in [Request::new("GET", "/admin/v1/log-level"), set("trace")] {
        nobody.send(request).expect(403);
    }
    let mut admin = Client::new(node.admin(), node.credentials().clone());
    admin.send(set("ringcask=loud")).expect(400);
    admin.send(set("")).expect(400);
    assert_eq!(manage_json(&node, &["log-level"])["level"], "info");
    owner.get(BUCKET, "none").expect(404);
    assert!(node.terminate().success());
    let log = node.log_whole();
    let denied =
        |key: &str| log.lines().filter(|line| line.contains("access denied") && line.contains(key)).count();
    assert_eq!((denied("before"), denied("during"), denied("after")), (0, 8, 0), "{log}");
    assert_eq!(log.matches("changed what is logged").count(), 2, "{log}");
}

#[test]
fn each_of_many_requests_is_in_the_access_log_once_over_rotations_and_renames() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("access.log");
    let arguments =
        ["--access-log", path.to_str().unwrap(), "--access-log-size", "64KiB", "--access-log-files", "100"];
    let mut node = node_with(3, &arguments);
    let id = |response: &Response| response.header("x-amz-request-id").expect("an id").to_owned();
    let mut ids = vec![id(&node.client().send(Request::new("PUT", &format!("/{BUCKET}"))).expect(200))];
    let work = |worker: usize| {
        let mut client = node.client();
        let mut ids = Vec::new();
        for number in 0..100 {
            let key = format!("{worker}/{number}");
            ids.push(id(&client.put(BUCKET, &key, b"twelve bytes").expect(200)));
            ids.push(id(&client.get(BUCKET, &key).expect(200)));
            ids.push(id(&client.get(BUCKET, "none").expect(404)));
        }
        ids
    };
    thread::scope(|scope| {
        let work = &work;
        let workers: Vec<_> = (0..8).map(|worker| scope.spawn(move || work(worker))).collect();
        let mut moved = 0;
        while !workers.iter().all(thread::ScopedJoinHandle::is_finished) {
            // As logrotate does. The node may be renaming it at this moment.
            if fs::rename(&path, folder.path().join(format!("moved.{moved}"))).is_ok() {
                moved += 1;
            }
            node.hang_up();
            thread::sleep(Duration::from_millis(30));
        }
        assert!(moved > 1);
        ids.extend(workers.into_iter().flat_map(|worker| worker.join().unwrap()));
    });
    assert_eq!(metric(&node, "ringcask_audit_dropped_total"), 0);
    assert!(node.terminate().success());
    let logged = entries_in(folder.path());
    let mut logged_ids: Vec<String> = logged.iter().map(id_of).collect();
    logged_ids.sort();
    ids.sort();
    assert_eq!(logged_ids, ids);
    for entry in logged.iter().filter(|entry| entry["operation"] == "GetObject" && entry["statusCode"] == 200)
    {
        assert_eq!((&entry["tx"], &entry["rx"], &entry["complete"]), (&12.into(), &0.into(), &true.into()));
    }
    assert!(logged.iter().filter(|entry| entry["operation"] == "PutObject").all(|entry| entry["rx"] == 12));
}

#[test]
fn the_access_log_rotates_by_itself() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("access.log");
    let arguments =
        ["--access-log", path.to_str().unwrap(), "--access-log-size", "64KiB", "--access-log-files", "2"];
    let mut node = node_with(1, &arguments);
    let mut client = node.client_with_bucket(BUCKET);
    let agent = "x".repeat(400);
    let mut last = String::new();
    for _ in 0..600 {
        let answer =
            client.send(Request::new("GET", &format!("/{BUCKET}/none")).header("User-Agent", &agent));
        last = answer.header("x-amz-request-id").unwrap().to_owned();
    }
    assert!(node.terminate().success());
    let files = ["access.log", "access.log.1", "access.log.2"].map(|name| folder.path().join(name));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), files.len());
    for file in &files {
        let bytes = fs::metadata(file).unwrap().len();
        assert!(bytes <= 64 << 10, "{}: {bytes}", file.display());
    }
    assert_eq!(id_of(entries(&fs::read_to_string(&path).unwrap()).last().unwrap()), last);
}

#[test]
fn the_access_log_says_who_did_what_and_what_came_of_it() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("access.log");
    let mut node = node_with(2, &["--access-log", path.to_str().unwrap()]);
    let mut owner = node.client_with_bucket(BUCKET);
    let enabled = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    owner.send(Request::new("PUT", &format!("/{BUCKET}?versioning")).body(enabled)).expect(200);
    let put = owner.put(BUCKET, "a b/\u{fc}\n", &payload(1, 100_000)).expect(200);
    let version = put.header("x-amz-version-id").unwrap().to_owned();
    manage(&node, &["user", "create", "alice", "--policy", "readwrite"]);
    let alice = credentials(&manage_json(&node, &["key", "create", "--user", "alice"]));
    let mut wrong = Client::new(node.address(), Credentials { secret_key: "wrong".into(), ..alice.clone() });
    let alice_id = alice.access_key_id.clone();
    let mut alice = Client::new(node.address(), alice);
    alice.get(BUCKET, "a b/\u{fc}\n").expect(200);
    wrong.get(BUCKET, "k").expect(403);
    let anonymous = Request::new("GET", &format!("/{BUCKET}/k?X-Amz-Nothing=1")).header("Host", "node");
    owner.try_send_as_is(&anonymous).unwrap().expect(403);
    let order = "<Delete><Object><Key>one</Key></Object><Object><Key>two</Key><VersionId>x</VersionId></Object>\
                 </Delete>";
    let digest = BASE64.encode(Md5::digest(order));
    alice.send(Request::new("POST", &format!("/{BUCKET}?delete")).header("Content-MD5", &digest).body(order));
    let mut broken = Connection::open(node.address()).unwrap();
    broken.send(b"GET\r\n\r\n").unwrap();
    broken.receive(false).unwrap().expect(400);
    assert!(node.terminate().success());

    let all = entries(&fs::read_to_string(&path).unwrap());
    let find = |operation: &str, status: u16| {
        let is_it = |entry: &&Value| entry["operation"] == operation && entry["statusCode"] == status;
        let found: Vec<&Value> = all.iter().filter(is_it).collect();
        assert_eq!(found.len(), 1, "{operation} {status}: {found:?}");
        found[0]
    };
    let expect = |entry: &Value, fields: &[(&str, Value)]| {
        for (name, value) in fields {
            assert_eq!(entry[*name], *value, "{name} of {entry}");
        }
    };
    let root = "arn:aws:iam::000000000000:root";
    let entry = find("PutObject", 200);
    expect(
        entry,
        &[
            ("version", "1".into()),
            ("requestID", put.header("x-amz-request-id").unwrap().into()),
            ("api", "s3".into()),
            ("bucket", BUCKET.into()),
            ("object", "a b/\u{fc}\n".into()),
            ("versionId", version.as_str().into()),
            ("method", "PUT".into()),
            ("remotehost", "127.0.0.1".into()),
            ("accessKey", node.credentials().access_key_id.as_str().into()),
            ("requester", root.into()),
            ("host", node.address().to_string().into()),
            ("rx", 100_000.into()),
            ("tx", 0.into()),
            ("complete", true.into()),
            ("tlsVersion", Value::Null),
            ("errorCode", Value::Null),
            ("requestPath", Value::Null),
        ],
    );
    assert!(entry["timeToFirstByteInNS"].as_u64() > Some(0));
    assert!(entry["timeToResponseInNS"].as_u64() >= entry["timeToFirstByteInNS"].as_u64());
    let time = entry["time"].as_str().unwrap();
    assert!(time.len() == 24 && time.ends_with('Z'), "{time}");
    expect(
        find("GetObject", 200),
        &[
            ("accessKey", alice_id.as_str().into()),
            ("requester", "arn:aws:iam::000000000000:user/alice".into()),
            ("versionId", version.as_str().into()),
            ("tx", 100_000.into()),
        ],
    );
    let refused: Vec<&Value> =
        all.iter().filter(|entry| entry["operation"] == "GetObject" && entry["statusCode"] == 403).collect();
    let claimed: BTreeMap<&str, &Value> =
        refused.iter().map(|entry| (entry["errorCode"].as_str().unwrap(), &entry["accessKey"])).collect();
    let expected = [("AccessDenied", &Value::Null), ("SignatureDoesNotMatch", &alice_id.as_str().into())];
    assert_eq!(claimed.into_iter().collect::<Vec<_>>(), expected);
    assert!(refused.iter().all(|entry| entry["requester"].is_null() && entry["object"] == "k"));
    let deletions = serde_json::json!([
        { "object": "one" }, { "object": "two", "versionId": "x", "errorCode": "InvalidArgument" },
    ]);
    expect(find("DeleteObjects", 200), &[("objects", deletions), ("rx", order.len().into())]);
    expect(find("Unknown", 400), &[("errorCode", "BadRequest".into()), ("method", "".into())]);
    expect(
        find("ringcask:CreateUser", 201),
        &[("api", "admin".into()), ("requester", root.into()), ("requestPath", "/admin/v1/users".into())],
    );
    find("ringcask:CreateAccessKey", 201);
}

/// Takes the access log on a port of its own.
struct Receiver {
    address: SocketAddr,
    /// What it answers with; 0: nothing until it is something else.
    status: Arc<AtomicU16>,
    /// Heads and bodies of what was accepted.
    accepted: Arc<Mutex<Vec<(String, String)>>>,
}

impl Receiver {
    fn start(status: u16) -> Self {
        let (status, accepted) = (Arc::new(AtomicU16::new(status)), Arc::<Mutex<Vec<_>>>::default());
        let (answer, entries) = (status.clone(), accepted.clone());
        let address = receiver::listen(move |head, body| {
            while answer.load(Ordering::SeqCst) == 0 {
                thread::sleep(Duration::from_millis(10));
            }
            let status = answer.load(Ordering::SeqCst);
            if status == 200 {
                let body = String::from_utf8(body).expect("lines of JSON");
                entries.lock().unwrap().push((head, body));
            }
            Some(status)
        });
        Self { address, status, accepted }
    }

    fn answer_with(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    fn entries(&self) -> Vec<Value> {
        self.accepted.lock().unwrap().iter().flat_map(|(_, body)| entries(body)).collect()
    }
}

#[test]
fn a_webhook_receives_every_entry_though_it_was_gone_for_a_while() {
    let receiver = Receiver::start(503);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let token = folder.path().join("token");
    fs::write(&token, "tokenofthereceiver\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&token, mode).unwrap();
    let url = format!("http://{}/audit?x=1", receiver.address);
    let token = token.to_str().unwrap();
    let mut node = node_with(2, &["--audit-webhook", &url, "--audit-webhook-token-file", token]);
    let mut client = node.client_with_bucket(BUCKET);
    let mut ids = BTreeSet::new();
    for number in 0..300 {
        if number == 100 {
            // It has refused something by now, or will have: either way all arrives.
            receiver.answer_with(200);
        }
        let put = client.put(BUCKET, &number.to_string(), b"x").expect(200);
        ids.insert(put.header("x-amz-request-id").unwrap().to_owned());
    }
    assert!(node.terminate().success());
    assert!(!node.log_whole().contains("tokenofthereceiver"));
    let heads = receiver.accepted.lock().unwrap().iter().map(|(head, _)| head.clone()).collect::<Vec<_>>();
    let head = heads[0].to_ascii_lowercase();
    assert!(head.starts_with("post /audit?x=1 http/1.1\r\n"), "{head}");
    assert!(head.contains("authorization: bearer tokenofthereceiver\r\n"), "{head}");
    assert!(head.contains("content-type: application/x-ndjson\r\n"), "{head}");
    let received: Vec<Value> = receiver.entries();
    let puts = received.iter().filter(|entry| entry["operation"] == "PutObject");
    assert_eq!(puts.map(id_of).collect::<BTreeSet<_>>(), ids);
}

#[test]
fn what_a_receiver_that_stands_still_leaves_no_room_for_is_counted_and_told() {
    let receiver = Receiver::start(0);
    let url = format!("http://{}/", receiver.address);
    let mut node = node_with(1, &["--audit-webhook", &url]);
    let mut client = node.client_with_bucket(BUCKET);
    // Each letter of the key takes six in the entry.
    let target = format!("/{BUCKET}/{}", "%01".repeat(1000));
    let mut requests = 1;
    while metric(&node, "ringcask_audit_dropped_total") == 0 {
        assert!(requests < 10_000, "the queue has no end");
        for _ in 0..100 {
            client.send(Request::new("GET", &target)).expect(404);
            requests += 1;
        }
    }
    assert!(metric(&node, "ringcask_audit_queued_bytes") > 3 << 20);
    receiver.answer_with(200);
    until("the queue is emptied", || metric(&node, "ringcask_audit_queued_bytes") == 0);
    client.send(Request::new("GET", &target)).expect(404);
    requests += 1;
    until("every request is accounted for", || {
        let [written, dropped] =
            ["written", "dropped"].map(|name| metric(&node, &format!("ringcask_audit_{name}_total")));
        written + dropped == requests
    });
    let dropped = metric(&node, "ringcask_audit_dropped_total");
    assert!(node.terminate().success());
    let (gaps, rest): (Vec<Value>, Vec<Value>) =
        receiver.entries().into_iter().partition(|entry| entry["operation"] == "EntriesDropped");
    assert_eq!(gaps.iter().map(|gap| gap["dropped"].as_u64().unwrap()).sum::<u64>(), dropped);
    // A message whose answer came too late came twice.
    let ids: BTreeSet<String> = rest.iter().map(id_of).collect();
    assert_eq!(ids.len() as u64, requests - dropped);
}

#[test]
fn a_slow_request_is_logged_with_the_time_of_its_stages() {
    let mut node = node_with(1, &["--slow-request-ms", "200", "--log-format", "json"]);
    let mut client = node.client_with_bucket(BUCKET);
    let body = payload(3, 3_000_000);
    let request = Request::new("PUT", &format!("/{BUCKET}/slow%0A"))
        .header("Expect", "100-continue")
        .header("Content-Length", &body.len().to_string())
        .body(body);
    let request = client.sign(request);
    let connection = client.connection().unwrap();
    connection.send(&request.head()).unwrap();
    connection.receive(false).unwrap().expect(100);
    // The node has begun with it.
    thread::sleep(Duration::from_millis(300));
    connection.send(&request.body).unwrap();
    let answer = connection.receive(false).unwrap().expect(200);
    let counted = metric(&node, "ringcask_slow_requests_total");
    assert!(node.terminate().success());
    let log = node.log_whole();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let slow: Vec<Value> = lines.filter(|line| line["fields"]["message"] == "slow request").collect();
    assert_eq!(slow.len() as u64, counted);
    let id = answer.header("x-amz-request-id").unwrap();
    let fields = &slow.iter().find(|line| line["fields"]["request_id"] == id).expect("its line")["fields"];
    assert_eq!((&fields["operation"], &fields["core"]), (&"PutObject".into(), &0.into()));
    assert_eq!((&fields["status"], &fields["rx"]), (&200.into(), &3_000_000.into()));
    let time = |name: &str| fields[name].as_f64().unwrap_or_else(|| panic!("{name}: {fields}"));
    assert!(time("total_ms") >= 300.0, "{fields}");
    for stage in ["receive_ms", "hash_ms", "write_ms", "sync_ms", "commit_ms"] {
        assert!(time(stage) > 0.0, "{stage}: {fields}");
    }
    assert_eq!((time("owner_ms"), time("read_ms")), (0.0, 0.0), "{fields}");
}

#[test]
fn warnings_that_repeat_are_counted_instead_of_written() {
    let mut node = node_with(1, &["--slow-request-ms", "1"]);
    let mut client = node.client_with_bucket(BUCKET);
    // To hash a megabyte takes longer than a millisecond.
    let body = payload(4, 1_000_000);
    until("something is left out", || {
        client.put(BUCKET, "k", &body).expect(200);
        metric(&node, "ringcask_log_lines_suppressed_total") > 0
    });
    let slow = metric(&node, "ringcask_slow_requests_total");
    let suppressed = metric(&node, "ringcask_log_lines_suppressed_total");
    assert!(node.terminate().success());
    let log = node.log_whole();
    let written = log.lines().filter(|line| line.contains("slow request")).count() as u64;
    assert_eq!(written + suppressed, slow, "{log}");
    let told = log.lines().filter(|line| line.contains("left out further lines")).map(|line| {
        let count = line.split("count=").nth(1).expect("a count");
        count.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    });
    assert_eq!(told.sum::<u64>(), suppressed, "{log}");
}
