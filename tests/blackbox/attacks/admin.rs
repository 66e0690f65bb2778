//! The admin API and what the node calls by itself: nothing without authority, nothing on somebody's word.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use time::OffsetDateTime;

use super::{node, node_with, outcome, send_anonymous, stranger, user};
use crate::client::{Client, Request};
use crate::identities::{manage, manage_json};
use crate::sign::{self, Scope};

/// Every path of the admin API, with a body that would do something.
const PATHS: &[(&str, &str, &str)] = &[
    ("GET", "accounts", ""),
    ("POST", "accounts", r#"{"name":"evil"}"#),
    ("GET", "accounts/acme", ""),
    ("DELETE", "accounts/acme", ""),
    ("GET", "users", ""),
    ("POST", "users", r#"{"name":"evil","policies":["consoleAdmin"]}"#),
    ("GET", "users/mallory", ""),
    ("DELETE", "users/mallory", ""),
    ("PUT", "users/mallory/policies/consoleAdmin", ""),
    ("DELETE", "users/mallory/policies/mallory", ""),
    ("GET", "groups", ""),
    ("POST", "groups", r#"{"name":"evil","policies":["consoleAdmin"]}"#),
    ("GET", "groups/staff", ""),
    ("DELETE", "groups/staff", ""),
    ("PUT", "groups/staff/members/mallory", ""),
    ("DELETE", "groups/staff/members/mallory", ""),
    ("PUT", "groups/staff/policies/consoleAdmin", ""),
    ("DELETE", "groups/staff/policies/readonly", ""),
    ("GET", "policies", ""),
    ("GET", "policies/mallory", ""),
    (
        "PUT",
        "policies/mallory",
        r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#,
    ),
    ("DELETE", "policies/mallory", ""),
    ("GET", "keys", ""),
    ("POST", "keys", "{}"),
    ("POST", "keys", r#"{"user":"mallory"}"#),
    ("PUT", "keys/{id}", r#"{"active":false}"#),
    ("POST", "keys/{id}/rotate", "{}"),
    ("DELETE", "keys/{id}", ""),
    ("GET", "kms/keys", ""),
    ("POST", "kms/keys", r#"{"name":"evil"}"#),
    ("GET", "kms/keys/team", ""),
    ("POST", "kms/keys/team/rotate", ""),
];

#[test]
fn no_admin_path_is_open_to_who_has_no_authority() {
    let (node, _owner) = node();
    manage(&node, &["kms", "create", "team"]);
    manage(&node, &["group", "create", "staff", "--policy", "readonly"]);
    let everything_of_s3 = super::document(r#"{"Effect":"Allow","Action":"s3:*","Resource":"*"}"#);
    let mallory = user(&node, "mallory", &everything_of_s3).credentials;
    let stranger = stranger(&node, "acme").credentials;
    let state = || {
        ["account", "user", "group", "policy", "key", "kms"].map(|area| manage_json(&node, &[area, "list"]))
    };
    let before = state();
    let own = node.credentials().clone();
    let paths = || {
        PATHS.iter().map(|(method, path, body)| {
            let path = path.replace("{id}", &own.access_key_id);
            Request::new(method, &format!("/admin/v1/{path}")).body(*body)
        })
    };
    for request in paths() {
        let what = format!("{} {}", request.method, request.target);
        let mut admin = Client::new(node.admin(), own.clone());
        let host = node.admin().to_string();
        let anonymous = request.clone().header("Host", &host);
        let answer = admin.try_send_as_is(&anonymous).unwrap();
        assert_eq!(answer.status, 403, "{what}, signed by nobody: {}", answer.text());
        // The digest of the body stands in these, too: it does not make up for what they leave open.
        let digest = sign::hex(&<sha2::Sha256 as sha2::Digest>::digest(&request.body));
        let anonymous = anonymous.header("x-amz-content-sha256", &digest);
        let mut url = anonymous.clone();
        sign::presign_v4(&mut url, &own, &Scope::at(OffsetDateTime::now_utc(), "us-east-1"), "60");
        assert_eq!(admin.try_send_as_is(&url).unwrap().status, 400, "{what}, presigned");
        let mut old = anonymous.clone();
        sign::v2(&mut old, &own, "");
        assert_eq!(admin.try_send_as_is(&old).unwrap().status, 400, "{what}, version 2");
        let unsigned = request.clone().header("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
        assert_eq!(admin.send(unsigned).status, 400, "{what}, body not signed");
        let mut forger = Client::new(node.admin(), super::with_secret(&own, "a guess"));
        assert_eq!(forger.send(request.clone()).status, 403, "{what}, forged");
        let mut mallory = Client::new(node.admin(), mallory.clone());
        let answer = mallory.send(request.clone());
        assert_eq!(answer.status, 403, "{what}, without leave: {}", answer.text());
        // The root of another account has its own identities, and no others.
        let elsewhere =
            Request { target: format!("{}?account=000000000000", request.target), ..request.clone() };
        let mut stranger = Client::new(node.admin(), stranger.clone());
        let answer = stranger.send(elsewhere);
        assert!([403, 404].contains(&answer.status), "{what}, of another account: {}", answer.text());
        // Through the listener that everybody reaches, these are names of buckets and keys.
        let mut public = node.client();
        let answer = public.send(request);
        assert!(
            [400, 404, 405, 411].contains(&answer.status),
            "{what}, at the S3 listener: {}",
            answer.text()
        );
    }
    assert_eq!(state(), before);
    // Spellings of the paths lead nowhere else.
    let mut admin = Client::new(node.admin(), own);
    for target in [
        "/admin/v1//users",
        "/admin/v1/../v1/users",
        "/admin//v1/users",
        "/ADMIN/v1/users",
        "/users",
        "/debug/pprof",
        "/metrics/",
    ] {
        assert_eq!(admin.send(Request::new("GET", target)).status, 404, "{target}");
    }
}

#[test]
fn no_diagnostics_are_public() {
    let (node, mut owner) = node();
    for path in ["live", "ready", "cluster", "cluster/read"] {
        let probe = Request::new("GET", &format!("/minio/health/{path}"));
        let text = send_anonymous(&mut owner, probe).expect(200).text();
        let data = node.data(0).to_string_lossy().into_owned();
        assert!(!text.contains(&data) && !text.contains("box"), "{path}: {text}");
    }
    for path in [
        "/health",
        "/metrics",
        "/minio/v2/metrics/cluster",
        "/minio/prometheus/metrics",
        "/minio/bootstrap/v1/verify",
        "/minio/admin/v3/info",
        "/minio/health/../admin",
        "/minio/health/live/",
        "/rustfs/admin/v3/info",
        "/profile/cpu",
        "/debug/pprof/heap",
        "/server-status",
        "/.env",
    ] {
        for method in ["GET", "POST"] {
            let answer = send_anonymous(&mut owner, Request::new(method, path));
            assert!([400, 403, 404, 405, 411].contains(&answer.status), "{method} {path}: {}", answer.text());
        }
    }
}

/// A server that counts its visitors, and answers each with `answer`.
fn trap(answer: String) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let visitors = Arc::new(AtomicUsize::new(0));
    let count = visitors.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            count.fetch_add(1, Ordering::SeqCst);
            let _ = stream.read(&mut [0; 8192]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    (address, visitors)
}

#[test]
fn no_request_makes_the_node_call_an_address() {
    let (inner, visitors) =
        trap("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned());
    let redirect = format!(
        "HTTP/1.1 302 Found\r\nLocation: http://{inner}/latest/meta-data\r\nContent-Length: 0\r\n\
         Connection: close\r\n\r\n"
    );
    let (declared, calls) = trap(redirect);
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let configuration = folder.path().join("ringcask.toml");
    std::fs::write(&configuration, format!("[[webhook]]\nname = 'main'\nurl = 'http://{declared}/'\n"))
        .unwrap();
    let (node, mut owner) = node_with(&["--config", configuration.to_str().unwrap()]);
    let notify = |target: &str| {
        let body = format!(
            "<NotificationConfiguration><QueueConfiguration><Queue>{target}</Queue>\
             <Event>s3:ObjectCreated:*</Event></QueueConfiguration></NotificationConfiguration>"
        );
        Request::new("PUT", "/box?notification").body(body)
    };
    for target in [
        format!("http://{inner}/"),
        format!("{inner}"),
        format!("arn:aws:sns:us-east-1:000000000000:http://{inner}/"),
        format!("arn:ringcask:sqs:us-east-1:http://{inner}/:webhook"),
        format!("arn:ringcask:sqs:us-east-1:main@{inner}:webhook"),
        "arn:ringcask:sqs:us-east-1:other:webhook".to_owned(),
        "arn:ringcask:sqs:us-east-1:main:webhook/../x".to_owned(),
        "http://169.254.169.254/latest/meta-data".to_owned(),
    ] {
        for skip in ["true", "false"] {
            let answer = owner.send(notify(&target).header("x-amz-skip-destination-validation", skip));
            assert_eq!(outcome(&answer), (400, "InvalidArgument".to_owned()), "{target}");
        }
    }
    // Whatever else looks like an address in a request.
    for request in [
        Request::new("PUT", "/box/copy").header("x-amz-copy-source", &format!("http://{inner}/box/k")),
        Request::new("PUT", "/box/site")
            .header("x-amz-website-redirect-location", &format!("http://{inner}/"))
            .body("x"),
        Request::new("GET", "/box/k").header("Referer", &format!("http://{inner}/")),
        Request::new("GET", "/box/k").header("X-Forwarded-Host", &inner.to_string()),
        Request::new("PUT", "/box?replication").body(format!("<a>http://{inner}/</a>")),
        Request::new("PUT", "/box?logging").body(format!("<a>http://{inner}/</a>")),
    ] {
        let _ = owner.send(request);
    }
    let mut absolute = owner.sign(Request::new("GET", "/box/k").header("Host", &inner.to_string()));
    absolute.target = format!("http://{inner}/box/k");
    let _ = owner.try_send_as_is(&absolute);
    // The declared target is called, and what it says about elsewhere is not followed.
    owner.send(notify("arn:ringcask:sqs:us-east-1:main:webhook")).expect(200);
    owner.put("box", "told", b"x").expect(200);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while calls.load(Ordering::SeqCst) < 3 && visitors.load(Ordering::SeqCst) == 0 {
        assert!(std::time::Instant::now() < deadline, "the webhook is called again and again");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(visitors.load(Ordering::SeqCst), 0, "{}", node.log());
}
