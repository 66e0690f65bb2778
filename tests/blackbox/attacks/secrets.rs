//! Secrets: at the most talkative level of the log, through every way to authenticate, none is written down.

use std::io::{Read, Write};
use std::net::TcpListener;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use time::OffsetDateTime;

use super::{node_with, stranger, with_secret};
use crate::client::{Client, Request};
use crate::identities::{credentials, manage, manage_json};
use crate::sign::{self, Scope};

#[test]
fn no_secret_is_in_the_log_or_in_an_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let configuration = folder.path().join("ringcask.toml");
    let token = "tokenofthewebhook0123456789";
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::fs::write(&configuration, format!("[[webhook]]\nname = 'main'\nurl = '{url}'\ntoken = '{token}'\n"))
        .unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
    });
    let access_log = folder.path().join("access.log");
    let (mut node, mut owner) = node_with(&[
        "--log-level",
        "trace",
        "--config",
        configuration.to_str().unwrap(),
        "--access-log",
        access_log.to_str().unwrap(),
        "--slow-request-ms",
        "1",
        "--sse-c-over-http",
    ]);
    let notify = "<NotificationConfiguration><QueueConfiguration><Queue>arn:ringcask:sqs:us-east-1:main:webhook\
        </Queue><Event>s3:ObjectCreated:*</Event></QueueConfiguration></NotificationConfiguration>";
    owner.send(Request::new("PUT", "/box?notification").body(notify)).expect(200);

    let customer_key = [0x5a; 32];
    let customer_key_text = STANDARD.encode(customer_key);
    let customer_key_digest = STANDARD.encode(<md5::Md5 as md5::Digest>::digest(customer_key));
    let sse_c = |request: Request, key: &str| {
        request
            .header("x-amz-server-side-encryption-customer-algorithm", "AES256")
            .header("x-amz-server-side-encryption-customer-key", key)
            .header("x-amz-server-side-encryption-customer-key-MD5", &customer_key_digest)
    };
    let session = "sessiontoken0123456789";
    let mut answers = Vec::new();
    let wrong_key = STANDARD.encode([0x5b; 32]);
    for request in [
        sse_c(Request::new("PUT", "/box/c").body("x"), &customer_key_text),
        // To hash so much takes longer than a millisecond.
        sse_c(Request::new("PUT", "/box/slow").body(vec![b'x'; 2_000_000]), &customer_key_text),
        Request::new("GET", "/box/k").header("x-amz-security-token", session),
        Request::new("GET", &format!("/box/k?X-Amz-Security-Token={session}")),
        sse_c(Request::new("GET", "/box/c"), &customer_key_text),
        sse_c(Request::new("GET", "/box/c"), &wrong_key),
        sse_c(Request::new("GET", "/box/c"), "nonsense"),
        Request::new("GET", "/box/c"),
        Request::new("PUT", "/box/s").header("x-amz-server-side-encryption", "AES256").body("x"),
        Request::new("GET", "/box/s"),
        Request::new("GET", "/box?notification"),
        Request::new("GET", "/box/none"),
    ] {
        answers.push(owner.send(request));
    }
    // Right and wrong, in every scheme.
    let own = node.credentials().clone();
    let host = node.address().to_string();
    let guess = "guessedsecret0123456789";
    for credentials in [own.clone(), with_secret(&own, guess)] {
        let scope = Scope::at(OffsetDateTime::now_utc(), "us-east-1");
        let get = || Request::new("GET", "/box/k").header("Host", &host);
        let (mut v4, mut url, mut v2, mut old_url) = (get(), get(), get(), get());
        sign::v4(&mut v4, &credentials);
        sign::presign_v4(&mut url, &credentials, &scope, "60");
        sign::v2(&mut v2, &credentials, "");
        sign::presign_v2(&mut old_url, &credentials, "", 4_000_000_000);
        for request in [v4, url, v2, old_url] {
            answers.push(owner.try_send_as_is(&request).unwrap());
        }
        let mut admin = Client::new(node.admin(), credentials);
        answers.push(admin.send(Request::new("GET", "/admin/v1/whoami")));
        let body = format!(r#"{{"user":"{guess}","secretAccessKey":"short","{guess}x":1}}"#);
        answers.push(admin.send(Request::new("POST", "/admin/v1/keys").body(body)));
    }
    let mut stranger = stranger(&node, "acme");
    answers.push(stranger.get("box", "k"));
    let id = stranger.credentials.access_key_id.clone();
    let rotated = credentials(&manage_json(&node, &["key", "rotate", &id]));
    answers.push(stranger.get("box", "k"));
    manage(&node, &["kms", "create", "team"]);
    manage(&node, &["kms", "rotate", "team"]);
    answers.push(
        owner.send(
            Request::new("PUT", "/box/kms")
                .header("x-amz-server-side-encryption", "aws:kms")
                .header("x-amz-server-side-encryption-aws-kms-key-id", "team")
                .body("x"),
        ),
    );
    let master = std::fs::read_to_string(node.data(0).join("ringcask.master-key")).unwrap();
    assert!(node.terminate().success());
    let log = node.log_whole();
    assert!(log.contains("an event is not delivered yet"), "the webhook was tried: {log}");
    assert!(log.contains("DEBUG") || log.contains("TRACE"), "the log is talkative: {log}");
    assert!(log.contains("slow request"), "slow requests were there: {log}");
    let entries = std::fs::read_to_string(&access_log).unwrap();
    for what in ["\"GetObject\"", "\"Whoami\"", "ringcask:CreateAccessKey", "SignatureDoesNotMatch"] {
        assert!(entries.contains(what), "the access log is whole: {what} is not in {entries}");
    }

    let mut secrets = vec![
        ("the root's secret", own.secret_key.clone()),
        ("a secret that was made", stranger.credentials.secret_key.clone()),
        ("a secret that was rotated", rotated.secret_key),
        ("the webhook's token", token.to_owned()),
        ("the node's master key", master.trim().to_owned()),
    ];
    for (what, secret) in &secrets {
        assert!(!secret.is_empty(), "{what}");
        for answer in &answers {
            assert!(!answer.text().contains(secret.as_str()), "{what} is in an answer: {}", answer.text());
        }
    }
    // These were sent by the client itself, and may come back to it; they must not stay.
    secrets.push(("a customer's key", customer_key_text));
    secrets.push(("a customer's key in hexadecimal", "5a".repeat(32)));
    secrets.push(("a customer's key as a list", "90, 90, 90, 90".to_owned()));
    secrets.push(("another customer's key", wrong_key));
    secrets.push(("a secret that was guessed", guess.to_owned()));
    secrets.push(("a session's token", session.to_owned()));
    for (what, secret) in &secrets {
        assert!(!log.contains(secret.as_str()), "{what} is in the log");
        assert!(!entries.contains(secret.as_str()), "{what} is in the access log");
    }
    for signature in ["Signature=", "AWS4-HMAC-SHA256", "AWSAccessKeyId"] {
        assert!(!log.contains(signature), "{signature} is in the log");
        assert!(!entries.contains(signature), "{signature} is in the access log");
    }
}
