//! Event notifications as a webhook receives them: all of them, in the order of each key's changes, whatever goes
//! down in between.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use md5::{Digest as _, Md5};
use serde_json::Value;

use crate::client::{Client, Request, complete_upload, target};
use crate::node::{Node, Options};
use crate::receiver;

/// Bounds every wait: only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

const BUCKET: &str = "told";

/// A webhook on a port of its own.
struct Receiver {
    address: SocketAddr,
    messages: mpsc::Receiver<Message>,
    /// What it answers with; 0 closes the connection without an answer.
    status: Arc<Mutex<u16>>,
}

/// A request of a node.
struct Message {
    head: String,
    body: Value,
    /// What it was answered with.
    status: u16,
}

impl Receiver {
    fn start() -> Self {
        let (sender, messages) = mpsc::channel();
        let status = Arc::new(Mutex::new(200));
        let answer = status.clone();
        let address = receiver::listen(move |head, body| {
            let status = *answer.lock().unwrap();
            let body = serde_json::from_slice(&body).expect("messages are JSON");
            sender.send(Message { head, body, status }).ok()?;
            (status != 0).then_some(status)
        });
        Self { address, messages, status }
    }

    fn answer_with(&self, status: u16) {
        *self.status.lock().unwrap() = status;
    }

    /// The next message, whatever it was answered with.
    #[track_caller]
    fn next(&self) -> Message {
        self.messages.recv_timeout(PATIENCE).expect("a message")
    }

    /// The record of the next message that was accepted.
    #[track_caller]
    fn next_record(&self) -> Value {
        loop {
            let message = self.next();
            if message.status == 200 {
                assert_eq!(message.body["Records"].as_array().expect("an event").len(), 1);
                return message.body["Records"][0].clone();
            }
        }
    }

    #[track_caller]
    fn expect(&self, name: &str, key: &str) -> Value {
        let record = self.next_record();
        assert_eq!((&record["eventName"], &record["s3"]["object"]["key"]), (&name.into(), &key.into()));
        record
    }
}

/// A node that has the receiver as its target, and a bucket that tells everything.
fn node(receiver: &Receiver, cores: usize) -> (Node, tempfile::TempDir) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let path = folder.path().join("ringcask.toml");
    let address = receiver.address;
    let text = format!("[[webhook]]\nname = 'main'\nurl = 'http://{address}/hook?x=1'\ntoken = 'secret'\n");
    std::fs::write(&path, text).unwrap();
    let arguments =
        ["--config", path.to_str().unwrap(), "--new-buckets", "acl", "--lifecycle-day-seconds", "1"];
    let arguments = arguments.map(str::to_owned);
    let node = Node::start_with(Options { cores, arguments: arguments.to_vec(), ..Options::default() });
    let mut client = node.client_with_bucket(BUCKET);
    client.send(Request::new("PUT", &format!("/{BUCKET}?notification")).body(configuration())).expect(200);
    (node, folder)
}

fn configuration() -> String {
    let events =
        ["ObjectCreated:*", "ObjectRemoved:*", "ObjectTagging:*", "ObjectAcl:Put", "LifecycleExpiration:*"]
            .map(|event| format!("<Event>s3:{event}</Event>"));
    format!(
        "<NotificationConfiguration><QueueConfiguration><Id>all</Id>\
         <Queue>arn:ringcask:sqs:us-east-1:main:webhook</Queue>{}</QueueConfiguration>\
         </NotificationConfiguration>",
        events.concat()
    )
}

fn test_event(receiver: &Receiver) -> Message {
    let message = receiver.next();
    assert_eq!((&message.body["Event"], &message.body["Bucket"]), (&"s3:TestEvent".into(), &BUCKET.into()));
    message
}

#[test]
fn a_webhook_hears_of_every_kind_of_change() {
    let receiver = Receiver::start();
    let (node, _folder) = node(&receiver, 2);
    let mut client = node.client();
    let message = test_event(&receiver);
    assert!(message.head.starts_with("POST /hook?x=1 HTTP/1.1\r\n"), "{}", message.head);
    let head = message.head.to_ascii_lowercase();
    assert!(head.contains("authorization: bearer secret\r\n"), "{head}");
    assert!(head.contains("content-type: application/json\r\n"), "{head}");

    let put = client.put(BUCKET, "a b/ü", b"xyz").expect(200);
    let record = receiver.expect("ObjectCreated:Put", "a+b/%C3%BC");
    assert_eq!(record["s3"]["configurationId"], "all");
    assert_eq!(record["s3"]["bucket"]["name"], BUCKET);
    assert_eq!(record["s3"]["object"]["size"], 3);
    assert_eq!(record["responseElements"]["x-amz-request-id"], put.header("x-amz-request-id").unwrap());
    assert_eq!(record["requestParameters"]["sourceIPAddress"], "127.0.0.1");

    let copy = Request::new("PUT", &target(BUCKET, "copy")).header("x-amz-copy-source", "told/a%20b/%C3%BC");
    client.send(copy).expect(200);
    receiver.expect("ObjectCreated:Copy", "copy");
    let tags = "<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>";
    client.send(Request::new("PUT", "/told/copy?tagging").body(tags)).expect(200);
    receiver.expect("ObjectTagging:Put", "copy");
    client.send(Request::new("DELETE", "/told/copy?tagging")).expect(204);
    receiver.expect("ObjectTagging:Delete", "copy");
    client.send(Request::new("PUT", "/told/copy?acl").header("x-amz-acl", "public-read")).expect(200);
    receiver.expect("ObjectAcl:Put", "copy");
    let upload = client.create_upload(BUCKET, "parts");
    let etag = client.put_part(BUCKET, "parts", &upload, 1, b"part");
    client.send(complete_upload(BUCKET, "parts", &upload, &[etag])).expect(200);
    receiver.expect("ObjectCreated:CompleteMultipartUpload", "parts");
    client.delete(BUCKET, "copy").expect(204);
    receiver.expect("ObjectRemoved:Delete", "copy");
    client.put(BUCKET, "due/soon", b"").expect(200);
    receiver.expect("ObjectCreated:Put", "due/soon");
    let rule = "<LifecycleConfiguration><Rule><Status>Enabled</Status><Filter><Prefix>due/</Prefix></Filter>\
                <Expiration><Days>1</Days></Expiration></Rule></LifecycleConfiguration>";
    let digest = BASE64.encode(Md5::digest(rule));
    let put = Request::new("PUT", "/told?lifecycle").header("Content-MD5", &digest).body(rule);
    client.send(put).expect(200);
    receiver.expect("LifecycleExpiration:Delete", "due/soon");
    client.get(BUCKET, "due/soon").expect(404);
    let enabled = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    client.send(Request::new("PUT", "/told?versioning").body(enabled)).expect(200);
    let deleted = client.delete(BUCKET, "parts").expect(204);
    let record = receiver.expect("ObjectRemoved:DeleteMarkerCreated", "parts");
    assert_eq!(record["s3"]["object"]["versionId"], deleted.header("x-amz-version-id").unwrap());
}

#[test]
fn a_target_that_is_gone_or_refuses_gets_its_events_when_it_is_back() {
    let receiver = Receiver::start();
    let (mut node, _folder) = node(&receiver, 2);
    test_event(&receiver);
    let mut client = node.client();
    for status in [0, 500, 404, 307] {
        receiver.answer_with(status);
        let key = status.to_string();
        let begun = Instant::now();
        client.put(BUCKET, &key, b"").expect(200);
        assert!(begun.elapsed() < PATIENCE, "a write does not wait for a target");
        // It was tried and failed.
        assert_eq!(receiver.next().status, status);
        receiver.answer_with(200);
        receiver.expect("ObjectCreated:Put", &key);
    }
    // What was accepted stays so over a stop in order.
    assert!(node.terminate().success());
    node.restart(3);
    node.client().put(BUCKET, "after", b"").expect(200);
    receiver.expect("ObjectCreated:Put", "after");
}

#[test]
fn no_event_is_lost_when_the_node_is_killed_and_each_key_keeps_its_order() {
    let receiver = Receiver::start();
    let (mut node, _folder) = node(&receiver, 2);
    test_event(&receiver);
    let mut acknowledged: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (round, cores) in [3, 1, 2].into_iter().enumerate() {
        // Some are delivered and some are not when the node dies.
        receiver.answer_with(if round == 1 { 503 } else { 200 });
        write(&mut node.client(), round, &mut acknowledged);
        node.kill();
        receiver.answer_with(200);
        node.restart(cores);
    }
    let mut heard: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    let is_all_there = |heard: &BTreeMap<String, Vec<(String, String)>>| {
        acknowledged.iter().all(|(key, etags)| {
            let heard = heard.get(key).map(Vec::as_slice).unwrap_or_default();
            etags.iter().all(|etag| heard.iter().any(|(_, have)| have == etag))
        })
    };
    while !is_all_there(&heard) {
        let record = receiver.next_record();
        let object = &record["s3"]["object"];
        let text = |name: &str| object[name].as_str().unwrap_or_default().to_owned();
        heard.entry(text("key")).or_default().push((text("sequencer"), text("eTag")));
    }
    for (key, etags) in acknowledged {
        let mut heard = heard.remove(&key).unwrap();
        // Events may come twice, and after a crash again from an earlier one on; their sequencers order them.
        heard.sort();
        heard.dedup();
        let heard: Vec<String> = heard.into_iter().map(|(_, etag)| etag).collect();
        assert_eq!(heard, etags, "{key}");
    }
}

/// Writes some keys again and again; their ETags in the order of the writes.
fn write(client: &mut Client, round: usize, acknowledged: &mut BTreeMap<String, Vec<String>>) {
    for number in 0..120 {
        let key = format!("key{}", number % 7);
        let put = client.put(BUCKET, &key, format!("{round} {number}").as_bytes()).expect(200);
        let etag = put.header("etag").unwrap().trim_matches('"').to_owned();
        acknowledged.entry(key).or_default().push(etag);
    }
}
