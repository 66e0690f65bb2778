//! The admin service on the simulated host: what it answers, and to whom.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::AdminService;
use crate::auth::Keys;
use crate::auth::directory::{Identities, Operator};
use crate::auth::sign::{Credentials, presign_v2, presign_v4, sign_v2, sign_v4};
use crate::base::secret::Secret;
use crate::control::drain::Drain;
use crate::control::health::Health;
use crate::control::identities::LiveIdentities;
use crate::crypt::{Key, MasterKey};
use crate::engine::{self, Engine, Mesh, Message, Reply, Versioning, prepare};
use crate::http::{Head, ResponseBody};
use crate::io::sim::{SimHost, Simulation};
use crate::io::{Buffer, Host};
use crate::net::{BodyError, Peer};
use crate::s3::body::Incoming;
use crate::s3::encryption::vault::{KeyError, Vault};

const ROOT: Credentials<'_> = Credentials { id: "rootkey", secret: "rootsecret", region: "us-east-1" };

/// A mesh of one core.
struct Alone;

impl Mesh for Alone {
    fn cores(&self) -> usize {
        1
    }

    fn me(&self) -> usize {
        0
    }

    fn call(&self, _: usize, _: Message) -> Pin<Box<dyn Future<Output = Reply>>> {
        unreachable!("there is no other core")
    }
}

/// A body as it arrives: all at once.
struct Bytes<'a>(&'a [u8]);

impl Incoming for Bytes<'_> {
    async fn read(&mut self, mut buffer: Buffer, limit: usize) -> (Result<usize, BodyError>, Buffer) {
        let count = self.0.len().min(limit);
        let (now, later) = self.0.split_at(count);
        let appended = buffer.append(now);
        assert_eq!(appended, count);
        self.0 = later;
        (Ok(count), buffer)
    }
}

struct Node {
    simulation: Simulation,
    identities: Rc<LiveIdentities<SimHost>>,
    engine: Engine<SimHost>,
    service: AdminService<SimHost>,
}

fn operator() -> Operator {
    Operator {
        account_id: "000000000000".to_owned(),
        canonical_id: "a".repeat(64),
        name: "root".to_owned(),
        access_key_id: ROOT.id.to_owned(),
        secret: Secret::new(ROOT.secret),
    }
}

fn master(byte: u8) -> Arc<MasterKey> {
    Arc::new(MasterKey::new(Key::new([byte; 32])))
}

impl Node {
    fn new() -> Self {
        let simulation = Simulation::new(1);
        let host = simulation.host(1);
        let options = engine::Options {
            log_segment_bytes: 4 << 20,
            data_segment_bytes: 16 << 20,
            ..engine::Options::default()
        };
        let engine = simulation.block_on(async {
            let shared = prepare(&host, 1, false).await.unwrap();
            let engine = Engine::new(host.clone(), Rc::new(Alone), shared, options);
            engine.recover().await.unwrap();
            engine
        });
        let identities = LiveIdentities::new(engine.clone(), operator(), master(1));
        identities.check(None).unwrap();
        simulation.block_on(async { identities.settle(None).await.unwrap() });
        let health = Health::new(engine.clone(), vec!["/drive".into()], Drain::new(1), || false);
        let service = AdminService::new(engine.clone(), identities.clone(), ROOT.region.to_owned(), health);
        Self { simulation, identities, engine, service }
    }

    fn head(&self, method: &str, target: &str) -> Head {
        let (path, query) = match target.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (target, None),
        };
        let headers = vec![("host".to_owned(), b"node:9001".to_vec())];
        Head {
            method: method.to_owned(),
            path: format!("/admin/v1/{path}"),
            query,
            headers,
            version_minor: 1,
        }
    }

    fn send(&self, head: Head, body: &[u8]) -> (u16, Value) {
        let peer = Peer { address: "127.0.0.1:5000".parse().unwrap(), tls: None };
        let response =
            self.simulation.block_on(async { self.service.respond(head, &mut Bytes(body), peer).await });
        let body = match response.body {
            ResponseBody::Bytes(body) => serde_json::from_slice(&body).unwrap(),
            _ => Value::Null,
        };
        (response.status, body)
    }

    fn ask_with(&self, who: Credentials<'_>, method: &str, target: &str, body: &[u8]) -> (u16, Value) {
        let mut head = self.head(method, target);
        let digest: String = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
        sign_v4(&mut head, who, self.engine.host().now(), &digest);
        self.send(head, body)
    }

    fn ask_as(&self, who: &Given, method: &str, target: &str, body: &Value) -> (u16, Value) {
        let who = Credentials { id: &who.id, secret: &who.secret, region: ROOT.region };
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.ask_with(who, method, target, body.as_bytes())
    }

    /// As root; it must succeed.
    #[track_caller]
    fn ask(&self, method: &str, target: &str, body: &Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, answer) = self.ask_with(ROOT, method, target, body.as_bytes());
        assert!((200..300).contains(&status), "{status} {answer}");
        answer
    }

    /// A new access key of a user, or of the root of an account.
    fn key(&self, account: &str, user: Option<&str>) -> Given {
        let answer = self.ask("POST", &format!("keys?account={account}"), &json!({ "user": user }));
        let text = |name: &str| answer[name].as_str().unwrap().to_owned();
        Given { id: text("accessKeyId"), secret: text("secretAccessKey") }
    }
}

#[derive(Clone)]
struct Given {
    id: String,
    secret: String,
}

fn code(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["error"]["code"].as_str().unwrap_or_default())
}

#[test]
fn nobody_gets_in_without_a_signature_over_the_body() {
    let node = Node::new();
    let head = node.head("GET", "whoami");
    assert_eq!(code(&node.send(head, b"")), (403, "AccessDenied"));

    let mut head = node.head("GET", "whoami");
    presign_v4(&mut head, ROOT, node.engine.host().now(), 60);
    assert_eq!(code(&node.send(head, b"")), (400, "InvalidInput"));

    // The body's digest does not make up for what the other ways of signing leave open.
    let empty: String = Sha256::digest(b"").iter().map(|byte| format!("{byte:02x}")).collect();
    let now = node.engine.host().now();
    for sign in [
        (|head, now| presign_v4(head, ROOT, now, 60)) as fn(&mut Head, u64),
        |head, now| presign_v2(head, ROOT, now / 1000 + 60, None),
        |head, now| sign_v2(head, ROOT, now, None),
    ] {
        let mut head = node.head("GET", "whoami");
        head.headers.push(("x-amz-content-sha256".to_owned(), empty.clone().into_bytes()));
        sign(&mut head, now);
        assert_eq!(code(&node.send(head, b"")), (400, "InvalidInput"));
    }

    let mut head = node.head("POST", "users");
    sign_v4(&mut head, ROOT, node.engine.host().now(), "UNSIGNED-PAYLOAD");
    assert_eq!(code(&node.send(head, br#"{"name":"u"}"#)), (400, "InvalidInput"));

    let mut head = node.head("POST", "users");
    let digest: String = Sha256::digest(br#"{"name":"u"}"#).iter().map(|b| format!("{b:02x}")).collect();
    sign_v4(&mut head, ROOT, node.engine.host().now(), &digest);
    assert_eq!(code(&node.send(head, br#"{"name":"v"}"#)), (400, "XAmzContentSHA256Mismatch"));

    let wrong = Credentials { secret: "another", ..ROOT };
    assert_eq!(code(&node.ask_with(wrong, "GET", "whoami", b"")), (403, "SignatureDoesNotMatch"));
    let elsewhere = Credentials { region: "eu-west-1", ..ROOT };
    let answer = node.ask_with(elsewhere, "GET", "whoami", b"");
    assert_eq!((answer.0, answer.1["error"]["region"].as_str()), (400, Some("us-east-1")));
    assert_eq!(node.ask("GET", "users", &Value::Null)["users"], json!([]));
}

#[test]
fn the_root_makes_an_account_with_users_and_keys() {
    let node = Node::new();
    let account = node.ask("POST", "accounts", &json!({ "name": "tenant", "email": "t@example.com" }));
    assert_eq!(account["canonicalId"].as_str().unwrap().len(), 64);
    let id = account["id"].as_str().unwrap();
    let root = node.key("tenant", None);
    assert_eq!(node.identities.secret(&root.id), Some(root.secret.clone()));
    let me = node.ask_as(&root, "GET", "whoami", &Value::Null).1;
    assert_eq!(me["arn"], format!("arn:aws:iam::{id}:root"));

    let new = json!({ "name": "alice", "policies": ["readwrite"] });
    assert_eq!(node.ask_as(&root, "POST", "users", &new).0, 201);
    let alice = node.ask_as(&root, "POST", "keys", &json!({ "user": "alice" })).1;
    assert_eq!(alice["user"], "alice");
    let keys = node.ask_as(&root, "GET", "keys", &Value::Null).1;
    assert_eq!(keys["keys"].as_array().unwrap().len(), 2);
    assert!(!keys.to_string().contains(alice["secretAccessKey"].as_str().unwrap()));
    let stored = node.engine.config();
    for value in stored.entries.values() {
        let text = String::from_utf8_lossy(value);
        assert!(!text.contains(&root.secret), "a secret is stored in clear");
    }
}

#[test]
fn an_account_sees_and_changes_nothing_of_others() {
    let node = Node::new();
    node.ask("POST", "accounts", &json!({ "name": "a" }));
    node.ask("POST", "accounts", &json!({ "name": "b" }));
    node.ask("POST", "users?account=b", &json!({ "name": "bob" }));
    let [a, b] = ["a", "b"].map(|account| node.key(account, None));
    let bob = node.key("b", Some("bob"));
    let refused = [
        ("GET", "accounts"),
        ("POST", "accounts"),
        ("GET", "accounts/b"),
        ("DELETE", "accounts/b"),
        ("GET", "users?account=b"),
        ("GET", "users?account=nobody"),
        ("DELETE", "users/bob?account=b"),
        ("POST", "keys?account=b"),
        ("POST", "users?account=000000000000"),
    ];
    for (method, target) in refused {
        let answer = node.ask_as(&a, method, target, &json!({ "name": "x" }));
        assert_eq!(code(&answer), (403, "AccessDenied"), "{method} {target}");
    }
    for (method, target) in
        [("DELETE", format!("keys/{}", bob.id)), ("POST", format!("keys/{}/rotate", b.id))]
    {
        assert_eq!(code(&node.ask_as(&a, method, &target, &Value::Null)), (404, "NoSuchEntity"));
    }
    assert_eq!(node.ask_as(&a, "GET", "users", &Value::Null).1["users"], json!([]));
    assert_eq!(node.ask_as(&b, "GET", "users", &Value::Null).1["users"].as_array().unwrap().len(), 1);
    assert_eq!(node.ask_as(&a, "GET", "users?account=a", &Value::Null).0, 200);
}

#[test]
fn users_do_what_their_policies_allow_and_never_get_their_roots_keys() {
    let node = Node::new();
    node.ask("POST", "users", &json!({ "name": "u" }));
    let user = node.key("root", Some("u"));
    assert_eq!(code(&node.ask_as(&user, "GET", "users", &Value::Null)), (403, "AccessDenied"));
    assert_eq!(node.ask_as(&user, "GET", "whoami", &Value::Null).1["user"], "u");

    node.ask("PUT", "users/u/policies/consoleAdmin", &Value::Null);
    assert_eq!(node.ask_as(&user, "GET", "users", &Value::Null).0, 200);
    assert_eq!(node.ask_as(&user, "POST", "accounts", &json!({ "name": "t" })).0, 201);
    assert_eq!(node.ask_as(&user, "POST", "keys?account=t", &Value::Null).0, 201);
    assert_eq!(code(&node.ask_as(&user, "POST", "keys", &Value::Null)), (403, "AccessDenied"));
    let second = node.key("root", None);
    let rotate = format!("keys/{}/rotate", second.id);
    assert_eq!(code(&node.ask_as(&user, "POST", &rotate, &Value::Null)), (403, "AccessDenied"));

    let document = json!({ "Version": "2012-10-17", "Statement": [
        { "Effect": "Deny", "Action": "ringcask:ListUsers", "Resource": "*",
          "Condition": { "IpAddress": { "aws:SourceIp": "127.0.0.0/8" } } } ] });
    node.ask("PUT", "policies/no-lists", &document);
    node.ask("PUT", "users/u/policies/no-lists", &Value::Null);
    assert_eq!(code(&node.ask_as(&user, "GET", "users", &Value::Null)), (403, "AccessDenied"));
    assert_eq!(node.ask_as(&user, "GET", "groups", &Value::Null).0, 200);
    node.ask("DELETE", "users/u/policies/no-lists", &Value::Null);
    assert_eq!(node.ask_as(&user, "GET", "users", &Value::Null).0, 200);
}

#[test]
fn a_key_stops_the_moment_it_is_changed() {
    let node = Node::new();
    node.ask("POST", "users", &json!({ "name": "u", "policies": ["consoleAdmin"] }));
    let key = node.key("root", Some("u"));
    let asks = |key: &Given| code(&node.ask_as(key, "GET", "whoami", &Value::Null)).0;
    assert_eq!(asks(&key), 200);
    let path = format!("keys/{}", key.id);
    node.ask("PUT", &path, &json!({ "active": false }));
    assert_eq!(asks(&key), 403);
    node.ask("PUT", &path, &json!({ "active": true }));
    assert_eq!(asks(&key), 200);
    let rotated = node.ask("POST", &format!("{path}/rotate"), &json!({ "secretAccessKey": "brought along" }));
    assert_eq!(rotated["accessKeyId"].as_str(), Some(key.id.as_str()));
    assert_eq!(asks(&key), 403);
    assert_eq!(asks(&Given { secret: "brought along".to_owned(), ..key.clone() }), 200);
    node.ask("DELETE", &path, &Value::Null);
    assert_eq!(asks(&key), 403);
}

#[test]
fn keys_are_brought_along_as_minio_users_have_them() {
    let node = Node::new();
    node.ask("POST", "users", &json!({ "name": "u" }));
    let wish = json!({ "user": "u", "accessKeyId": "minio", "secretAccessKey": "minio123" });
    assert_eq!(node.ask("POST", "keys", &wish)["secretAccessKey"], "minio123");
    assert_eq!(node.identities.secret("minio").as_deref(), Some("minio123"));
    let answer = node.ask_with(ROOT, "POST", "keys", wish.to_string().as_bytes());
    assert_eq!(code(&answer), (409, "EntityAlreadyExists"));
}

#[test]
fn an_account_that_owns_buckets_stays() {
    let node = Node::new();
    let account = node.ask("POST", "accounts", &json!({ "name": "tenant" }));
    let owner = account["id"].as_str().unwrap().as_bytes().to_vec();
    node.simulation.block_on(async {
        let settings = [("owner".to_owned(), owner)].into();
        node.engine.create_bucket("theirs", Versioning::Unversioned, settings).await.unwrap();
    });
    let answer = node.ask_with(ROOT, "DELETE", "accounts/tenant", b"");
    assert_eq!(code(&answer), (409, "DeleteConflict"));
    assert!(answer.1["error"]["message"].as_str().unwrap().contains("1 bucket"), "{answer:?}");
    node.simulation.block_on(async { node.engine.delete_bucket("theirs").await.unwrap() });
    node.ask("DELETE", "accounts/tenant", &Value::Null);
    assert_eq!(code(&node.ask_with(ROOT, "DELETE", "accounts/tenant", b"")), (404, "NoSuchEntity"));
}

#[test]
fn what_is_no_request_is_refused_and_quotes_no_secret() {
    let node = Node::new();
    for (method, target) in [("GET", ""), ("PUT", "users"), ("GET", "users/a/b/c"), ("POST", "whoami")] {
        assert_eq!(
            code(&node.ask_with(ROOT, method, target, b"")),
            (404, "NoSuchRoute"),
            "{method} {target}"
        );
    }
    for body in [&b"[]"[..], b"{", b"\xff", br#"{"name":1}"#, br#"{"name":"a","nmae":"b"}"#, b"{}"] {
        let answer = node.ask_with(ROOT, "POST", "users", body);
        assert_eq!(code(&answer), (400, "InvalidInput"), "{answer:?}");
    }
    let body = br#"{"user":"u","accessKeyId":["topsecret"],"secretAccessKey":"topsecret"}"#;
    let answer = node.ask_with(ROOT, "POST", "keys", body);
    assert!(!answer.1.to_string().contains("topsecret"), "{answer:?}");
    let answer = node.ask_with(ROOT, "PUT", "policies/p", br#"{"Statement":[]}"#);
    assert_eq!(code(&answer), (400, "MalformedPolicyDocument"));
    let long = vec![b' '; crate::base::limits::ADMIN_BODY_BYTES_MAX + 1];
    assert_eq!(code(&node.ask_with(ROOT, "PUT", "policies/p", &long)), (400, "EntityTooLarge"));
    assert_eq!(code(&node.ask_with(ROOT, "GET", "users/%ff", b"")), (400, "InvalidInput"));
}

#[test]
fn a_start_with_another_master_key_is_refused() {
    let node = Node::new();
    node.ask("POST", "users", &json!({ "name": "u" }));
    node.key("root", Some("u"));
    let again = |key| LiveIdentities::new(node.engine.clone(), operator(), master(key)).check(None);
    assert_eq!(again(1), Ok(()));
    let error = again(2).unwrap_err();
    assert!(error.contains("another master key") && error.contains("--master-key-file"), "{error}");
}

#[test]
fn a_lost_master_key_is_forgotten_by_its_fingerprint_alone() {
    let node = Node::new();
    node.ask("POST", "users", &json!({ "name": "u" }));
    let key = node.key("root", Some("u"));
    node.ask("POST", "kms/keys", &json!({ "name": "team" }));
    let fingerprint = |byte: u8| {
        let bytes = master(byte).fingerprint();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    let start = |byte, forgotten: Option<String>| {
        let forgotten = forgotten.as_deref();
        let identities = LiveIdentities::new(node.engine.clone(), operator(), master(byte));
        identities.check(forgotten)?;
        node.simulation.block_on(async { identities.settle(forgotten).await })?;
        Ok::<_, String>(identities)
    };
    let before = node.engine.config();
    assert!(start(2, None).err().unwrap().contains("another master key"));
    assert!(start(2, Some(fingerprint(3))).err().unwrap().contains("another master key"));
    assert!(start(2, Some(fingerprint(2))).err().unwrap().contains("not lost"));
    assert!(start(1, Some(fingerprint(1))).err().unwrap().contains("not lost"));
    // The right key is there after all.
    start(1, Some(fingerprint(3))).unwrap();
    assert_eq!(node.engine.config().entries, before.entries);

    let after = start(2, Some(fingerprint(1))).unwrap().directory();
    assert!(after.user("000000000000", "u").is_some() && after.key(&key.id).is_none());
    let vault = |byte| Vault::new(master(byte), node.engine.config());
    assert_eq!(vault(2).newest("team").unwrap().0, 2);
    assert_eq!(vault(2).version("team", 1).err(), Some(KeyError::GivenUp));
    // The setting may stay where it is; the lost key is of no more use.
    let before = node.engine.config();
    start(2, Some(fingerprint(1))).unwrap();
    start(2, None).unwrap();
    assert_eq!(node.engine.config().entries, before.entries);
    assert!(start(1, None).err().unwrap().contains("another master key"));
}

#[test]
fn only_the_operator_makes_and_sees_encryption_keys() {
    let node = Node::new();
    node.ask("POST", "accounts", &json!({ "name": "tenant" }));
    let tenant = node.key("tenant", None);
    assert_eq!(node.ask("POST", "kms/keys", &json!({ "name": "team/a" }))["version"], 1);
    assert_eq!(node.ask("POST", "kms/keys/team%2Fa/rotate", &Value::Null)["version"], 2);
    assert_eq!(node.ask("GET", "kms/keys/team%2Fa", &Value::Null)["version"], 2);
    let keys = node.ask("GET", "kms/keys", &Value::Null);
    let names: Vec<_> = keys["keys"].as_array().unwrap().iter().map(|key| &key["name"]).collect();
    assert!(names.contains(&&json!("team/a")), "{names:?}");
    for (method, target) in [("GET", "kms/keys"), ("POST", "kms/keys"), ("POST", "kms/keys/team%2Fa/rotate")]
    {
        let answer = node.ask_as(&tenant, method, target, &json!({ "name": "x" }));
        assert_eq!(code(&answer), (403, "AccessDenied"), "{method} {target}");
    }
    for (name, status, expected) in [
        ("team/a", 409, "EntityAlreadyExists"),
        ("aws/own", 400, "InvalidInput"),
        ("a b", 400, "InvalidInput"),
    ] {
        let body = json!({ "name": name }).to_string();
        let answer = node.ask_with(ROOT, "POST", "kms/keys", body.as_bytes());
        assert_eq!(code(&answer), (status, expected), "{name}");
    }
    assert_eq!(code(&node.ask_with(ROOT, "POST", "kms/keys/none/rotate", b"")), (404, "NoSuchEntity"));
}
