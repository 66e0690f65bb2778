//! Event notifications on a simulated node: what is queued with which change, and how the queue is brought to a
//! target that takes its time, refuses, or is gone.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use serde_json::Value;

use super::harness::Node;
use crate::base::limits::EVENTS_UNDER_WAY_PER_CORE_MAX;
use crate::base::local::Signal;
use crate::engine::EventId;
use crate::hash;
use crate::io::Host;
use crate::s3::lifecycle::pass;
use crate::s3::notification::{Admission, Courier, Settled, delivery};
use crate::s3::notification_target::NotificationTarget;
use crate::s3::service::{NewBuckets, Settings};
use crate::s3::settings::expiry::DayLength;

/// A target in memory that accepts what comes, up to a number of messages.
struct Post {
    messages: RefCell<Vec<Value>>,
    settled: RefCell<Vec<Settled>>,
    /// Messages that it still accepts; others stay under way.
    accepts: Cell<usize>,
    waiting: Cell<usize>,
    waiting_max: usize,
    refuses: bool,
    /// A target that accepts nothing.
    stuck: Option<&'static str>,
    work: Signal,
}

impl Post {
    fn new(accepts: usize) -> Rc<Self> {
        Rc::new(Self::with(accepts, usize::MAX, false))
    }

    fn with(accepts: usize, waiting_max: usize, refuses: bool) -> Self {
        Self {
            messages: RefCell::default(),
            settled: RefCell::default(),
            accepts: Cell::new(accepts),
            waiting: Cell::new(0),
            waiting_max,
            refuses,
            stuck: None,
            work: Signal::default(),
        }
    }

    fn keys(&self) -> Vec<String> {
        let messages = self.messages.borrow();
        let key = |message: &Value| Some(message["Records"][0]["s3"]["object"]["key"].as_str()?.to_owned());
        messages.iter().filter_map(key).collect()
    }
}

impl Courier for Post {
    fn admit(&self, target: &str) -> Admission {
        if ![arn("main"), arn("other")].iter().any(|known| known == target) {
            return Admission::Unknown;
        }
        if self.waiting.get() == self.waiting_max {
            return Admission::Full;
        }
        self.waiting.set(self.waiting.get() + 1);
        Admission::Admitted
    }

    fn dismiss(&self, _target: &str) {
        self.waiting.set(self.waiting.get() - 1);
    }

    fn offer(&self, target: &str, event: Option<EventId>, message: Vec<u8>) -> bool {
        self.messages.borrow_mut().push(serde_json::from_slice(&message).unwrap());
        let Some(event) = event else { return true };
        let is_stuck = self.stuck.is_some_and(|stuck| target == arn(stuck));
        if self.accepts.get() > 0 && !is_stuck {
            self.accepts.set(self.accepts.get() - 1);
            self.settled.borrow_mut().push(Settled { event, is_accepted: !self.refuses });
            self.work.raise();
        }
        true
    }

    fn settled(&self) -> Vec<Settled> {
        self.settled.take()
    }
}

fn arn(name: &str) -> String {
    NotificationTarget::arn_of("us-east-1", name)
}

fn node() -> Node {
    let target = |name: &str| NotificationTarget {
        name: name.to_owned(),
        arn: arn(name),
        url: "http://localhost/".to_owned(),
        host: "localhost".to_owned(),
        port: 80,
        authority: "localhost".to_owned(),
        path: "/".to_owned(),
        token: None,
        queue_max: 1,
    };
    let (new_buckets, notification_targets) = (NewBuckets::Acl, vec![target("main"), target("other")]);
    Node::with_settings("bkt", Settings { new_buckets, notification_targets, ..Settings::default() })
}

#[track_caller]
fn ask_for(node: &Node, events: &[&str]) {
    let events: String = events.iter().map(|event| format!("<Event>{event}</Event>")).collect();
    let document = format!(
        "<NotificationConfiguration><QueueConfiguration><Id>all</Id><Queue>{}</Queue>{events}\
         </QueueConfiguration></NotificationConfiguration>",
        arn("main")
    );
    assert_eq!(node.send("PUT", "/bkt?notification", &[], document.as_bytes()).status, 200);
}

const ALL: [&str; 5] = [
    "s3:ObjectCreated:*",
    "s3:ObjectRemoved:*",
    "s3:ObjectTagging:*",
    "s3:ObjectAcl:Put",
    "s3:LifecycleExpiration:*",
];

/// Delivers for a while, then ends as a node does.
fn deliver(node: &Node, post: &Rc<Post>) {
    let engine = node.service().engine().clone();
    let (host, is_ending) = (engine.host().clone(), Rc::new(Cell::new(false)));
    node.block_on(async {
        let (end, work, pause) = (is_ending.clone(), post.work.clone(), host.sleep(Duration::from_secs(60)));
        // Whoever does not answer by then has lost its connection.
        let lost = post.clone();
        host.spawn(async move {
            pause.await;
            end.set(true);
            lost.accepts.set(0);
            work.raise();
        });
        let courier: Rc<dyn Courier> = post.clone();
        let run = delivery::run(engine.clone(), courier, post.work.clone(), move || is_ending.get());
        let (done, ended) = crate::base::local::oneshot();
        host.spawn(async move {
            run.await;
            done.send(());
        });
        host.sleep(Duration::from_secs(120)).await;
        drop(ended);
    });
}

/// Names of the events, with their keys.
fn told(post: &Post) -> Vec<String> {
    let messages = post.messages.borrow();
    let text = |record: &Value| {
        let key = record["s3"]["object"]["key"].as_str().unwrap();
        format!("{} {key}", record["eventName"].as_str().unwrap())
    };
    messages.iter().map(|message| text(&message["Records"][0])).collect()
}

#[test]
fn every_change_of_a_bucket_that_asks_is_told_in_order() {
    let node = node();
    ask_for(&node, &ALL);
    let put = node.send("PUT", "/bkt/a%20b", &[], b"xyz");
    node.send("PUT", "/bkt/copy", &[("x-amz-copy-source", "bkt/a%20b")], b"");
    let tags = b"<Tagging><TagSet><Tag><Key>k</Key><Value>v</Value></Tag></TagSet></Tagging>";
    assert_eq!(node.send("PUT", "/bkt/copy?tagging", &[], tags).status, 200);
    assert_eq!(node.send("DELETE", "/bkt/copy?tagging", &[], b"").status, 204);
    assert_eq!(node.send("PUT", "/bkt/copy?acl", &[("x-amz-acl", "public-read")], b"").status, 200);
    let begun = node.send("POST", "/bkt/parts?uploads", &[], b"").document("InitiateMultipartUploadResult");
    let id = begun.child_text("UploadId").unwrap().to_owned();
    let part = node.send("PUT", &format!("/bkt/parts?partNumber=1&uploadId={id}"), &[], b"part");
    let etag = part.header("etag").unwrap().replace('"', "");
    let parts = format!(
        "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>\
         </CompleteMultipartUpload>"
    );
    let completed = node.send("POST", &format!("/bkt/parts?uploadId={id}"), &[], parts.as_bytes());
    assert_eq!(completed.status, 200, "{completed:?}");
    node.send("DELETE", "/bkt/a%20b", &[], b"");
    let order = b"<Delete><Object><Key>copy</Key></Object><Object><Key>never</Key></Object></Delete>";
    let digest = hash::base64_encode(&hash::md5(order));
    assert_eq!(node.send("POST", "/bkt?delete", &[("content-md5", &digest)], order).status, 200);
    let post = Post::new(usize::MAX);
    deliver(&node, &post);
    assert_eq!(
        told(&post),
        [
            "ObjectCreated:Put a+b",
            "ObjectCreated:Copy copy",
            "ObjectTagging:Put copy",
            "ObjectTagging:Delete copy",
            "ObjectAcl:Put copy",
            "ObjectCreated:CompleteMultipartUpload parts",
            "ObjectRemoved:Delete a+b",
            "ObjectRemoved:Delete copy",
        ]
    );
    let messages = post.messages.borrow();
    let record = &messages[0]["Records"][0];
    assert_eq!(record["responseElements"]["x-amz-request-id"], put.header("x-amz-request-id").unwrap());
    assert_eq!(record["s3"]["object"]["eTag"], put.header("etag").unwrap().replace('"', ""));
    assert_eq!(record["s3"]["object"]["size"], 3);
    assert_eq!(record["requestParameters"]["sourceIPAddress"], "192.0.2.1");
    assert_eq!(messages[5]["Records"][0]["s3"]["object"]["size"], 4);
    assert_eq!(node.service().engine().events_count(), 0);
    assert_eq!(post.waiting.get(), 0);
}

#[test]
fn versions_markers_and_lifecycle_rules_are_told_of() {
    let node = node();
    let enabled = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    assert_eq!(node.send("PUT", "/bkt?versioning", &[], enabled).status, 200);
    let rule = b"<LifecycleConfiguration><Rule><ID>r</ID><Status>Enabled</Status><Filter/>\
                 <Expiration><Date>1970-01-01</Date></Expiration></Rule></LifecycleConfiguration>";
    let digest = hash::base64_encode(&hash::md5(rule));
    assert_eq!(node.send("PUT", "/bkt?lifecycle", &[("content-md5", &digest)], rule).status, 200);
    ask_for(&node, &ALL);
    let put = node.send("PUT", "/bkt/k", &[], b"");
    let version = put.header("x-amz-version-id").unwrap().to_owned();
    let deleted = node.send("DELETE", "/bkt/k", &[], b"");
    node.send("DELETE", &format!("/bkt/k?versionId={version}"), &[], b"");
    let pass = || node.block_on(pass::run(node.service(), DayLength::CALENDAR, &|| false)).unwrap();
    pass();
    node.send("PUT", "/bkt/due", &[], b"");
    pass();
    let post = Post::new(usize::MAX);
    deliver(&node, &post);
    assert_eq!(
        told(&post),
        [
            "ObjectCreated:Put k",
            "ObjectRemoved:DeleteMarkerCreated k",
            "ObjectRemoved:Delete k",
            "LifecycleExpiration:Delete k",
            "ObjectCreated:Put due",
            "LifecycleExpiration:DeleteMarkerCreated due",
        ]
    );
    let messages = post.messages.borrow();
    let versions: Vec<_> =
        messages.iter().map(|message| &message["Records"][0]["s3"]["object"]["versionId"]).collect();
    assert_eq!(versions[0], &Value::from(version.as_str()));
    assert_eq!(versions[1], &Value::from(deleted.header("x-amz-version-id").unwrap()));
    assert_eq!(versions[2], versions[0]);
    assert_eq!(messages[5]["Records"][0]["userIdentity"]["principalId"], "s3.amazonaws.com");
    assert_eq!(messages[5]["Records"][0]["eventVersion"], "2.3");
    let of_k: Vec<&str> = [0, 1, 2, 3]
        .map(|at: usize| messages[at]["Records"][0]["s3"]["object"]["sequencer"].as_str().unwrap())
        .to_vec();
    assert!(of_k.is_sorted(), "{of_k:?}");
}

#[test]
fn forms_and_appends_are_told_of() {
    let node = node();
    ask_for(&node, &["s3:ObjectCreated:*"]);
    assert_eq!(node.send("PUT", "/bkt?acl", &[("x-amz-acl", "public-read-write")], b"").status, 200);
    let form = b"--b\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nposted\r\n\
                 --b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"f\"\r\n\r\nxyz\r\n--b--\r\n";
    let headers = [("content-type", "multipart/form-data; boundary=b")];
    assert_eq!(node.send_unsigned("POST", "/bkt", &headers, form).status, 204);
    node.send("PUT", "/bkt/log", &[("x-amz-write-offset-bytes", "0")], b"one");
    node.send("PUT", "/bkt/log", &[("x-amz-write-offset-bytes", "3")], b"two");
    let post = Post::new(usize::MAX);
    deliver(&node, &post);
    assert_eq!(told(&post), ["ObjectCreated:Post posted", "ObjectCreated:Put log", "ObjectCreated:Put log"]);
    let messages = post.messages.borrow();
    assert_eq!(messages[0]["Records"][0]["userIdentity"]["principalId"], "Anonymous");
    assert_eq!(messages[0]["Records"][0]["s3"]["object"]["size"], 3);
    assert_eq!(messages[2]["Records"][0]["s3"]["object"]["size"], 6);
}

#[test]
fn nothing_is_queued_for_what_nobody_asked_for() {
    let node = node();
    node.send("PUT", "/bkt/before", &[], b"");
    ask_for(&node, &["s3:ObjectRemoved:Delete"]);
    node.send("PUT", "/bkt/k", &[], b"");
    assert_eq!(node.service().engine().events_count(), 0);
    // A change that does not happen is not told of.
    node.send("DELETE", "/bkt/k", &[("if-match", "\"0123\"")], b"");
    node.send("DELETE", "/bkt/never", &[], b"");
    assert_eq!(node.service().engine().events_count(), 0);
    node.send("DELETE", "/bkt/k", &[], b"");
    assert_eq!(node.service().engine().events_count(), 1);
}

#[test]
fn what_was_not_accepted_is_told_again_after_the_power_went() {
    let node = node();
    ask_for(&node, &ALL);
    let keys: Vec<String> = (0..3 * EVENTS_UNDER_WAY_PER_CORE_MAX).map(|key| format!("{key:03}")).collect();
    for key in &keys {
        node.send("PUT", &format!("/bkt/{key}"), &[], b"");
    }
    let post = Post::new(5);
    deliver(&node, &post);
    assert_eq!(post.keys()[..], keys[..5 + EVENTS_UNDER_WAY_PER_CORE_MAX], "no more than may be under way");
    let node = node.restart();
    assert_eq!(node.service().engine().events_count(), keys.len() - 5);
    let post = Post::new(usize::MAX);
    deliver(&node, &post);
    assert_eq!(post.keys(), keys[5..]);
    let node = node.restart();
    assert_eq!(node.service().engine().events_count(), 0);
}

#[test]
fn a_target_that_accepts_nothing_holds_no_other_back() {
    let node = node();
    let rule = |name: &str| {
        format!(
            "<QueueConfiguration><Queue>{}</Queue><Event>s3:ObjectCreated:*</Event><Filter><S3Key><FilterRule>\
             <Name>prefix</Name><Value>{name}/</Value></FilterRule></S3Key></Filter></QueueConfiguration>",
            arn(name)
        )
    };
    let document =
        format!("<NotificationConfiguration>{}{}</NotificationConfiguration>", rule("main"), rule("other"));
    assert_eq!(node.send("PUT", "/bkt?notification", &[], document.as_bytes()).status, 200);
    let count = 2 * EVENTS_UNDER_WAY_PER_CORE_MAX;
    for number in 0..count {
        node.send("PUT", &format!("/bkt/main/{number}"), &[], b"");
        node.send("PUT", &format!("/bkt/other/{number}"), &[], b"");
    }
    let post = Rc::new(Post { stuck: Some("main"), ..Post::with(usize::MAX, usize::MAX, false) });
    deliver(&node, &post);
    let told = post.keys();
    let of = |name: &str| told.iter().filter(|key| key.starts_with(name)).count();
    assert_eq!((of("main/"), of("other/")), (EVENTS_UNDER_WAY_PER_CORE_MAX, count));
    assert_eq!(node.service().engine().events_count(), count, "what was not accepted stays");
}

#[test]
fn events_beyond_what_a_target_may_owe_are_dropped_and_so_are_refused_ones() {
    let node = node();
    ask_for(&node, &ALL);
    for key in ["a", "b", "c"] {
        node.send("PUT", &format!("/bkt/{key}"), &[], b"");
    }
    let slow = Rc::new(Post::with(0, 2, false));
    deliver(&node, &slow);
    assert_eq!(slow.keys(), ["a", "b"]);
    assert_eq!(node.service().engine().events_count(), 2);
    let refusing = Rc::new(Post::with(usize::MAX, 2, true));
    deliver(&node, &refusing);
    assert_eq!(refusing.keys(), ["a", "b"]);
    assert_eq!((node.service().engine().events_count(), refusing.waiting.get()), (0, 0));
}
