//! TLS on the listener: both versions, every form of payload, certificates by name and renewed under load, and
//! peers that don't shake hands.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::version::{TLS12, TLS13};

use crate::certificates::{Authority, trust};
use crate::client::{Client, Request};
use crate::content::{Random, payload};
use crate::digests::checksums;
use crate::http::Connection;
use crate::node::{Node, Options, binary};
use crate::tools;

const BUCKET: &str = "box";

/// Bounds every wait: only a hang reaches it.
const PATIENCE: Duration = Duration::from_secs(60);

/// A node with a certificate of `authority`, and a plain listener beside.
fn node_of(authority: &Authority) -> Node {
    let mut arguments = authority.issue("node").arguments();
    arguments.extend(["--listen-http", "127.0.0.1:0"].map(str::to_owned));
    Node::start_with(Options { arguments, authority: Some(authority.bundle()), ..Options::default() })
}

fn client_of(node: &Node, config: Arc<ClientConfig>) -> Client {
    node.client().with_tls(config)
}

/// The certificate that a client gets who asks for `name`.
fn certificate_for(node: &Node, name: &str, config: Arc<ClientConfig>) -> Vec<u8> {
    let mut connection = Connection::open_tls(node.address(), name, config).unwrap();
    connection.tls().peer_certificates().unwrap()[0].to_vec()
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn objects_of_all_sizes_go_to_and_fro_in_both_versions() {
    let authority = Authority::new();
    let node = node_of(&authority);
    for (version, name) in [(&TLS12, "1.2"), (&TLS13, "1.3")] {
        let mut client = client_of(&node, trust(&authority.bundle(), &[version]));
        let bucket = format!("version-{name}");
        client.put_bucket(&bucket);
        for (seed, length) in
            [24, 100, 8_000, 16_383, 16_384, 16_385, 65_536, 65_537, 300_000, 3_000_000, 20_000_000]
                .iter()
                .enumerate()
        {
            let body = payload(seed as u64, *length);
            client.put(&bucket, "k", &body).expect(200);
            assert!(client.get(&bucket, "k").expect(200).body == body, "{name}: {length} bytes");
        }
        let range = Request::new("GET", &format!("/{bucket}/k")).header("Range", "bytes=9999990-10000009");
        assert_eq!(client.send(range).expect(206).body, payload(10, 20_000_000)[9_999_990..10_000_010]);
        let negotiated = client.connection().unwrap().tls().protocol_version().unwrap();
        assert_eq!(format!("{negotiated:?}"), format!("TLSv{}", name.replace('.', "_")));
    }
}

#[test]
fn every_unsigned_form_of_payload_is_checked_and_stored() {
    let authority = Authority::new();
    let node = node_of(&authority);
    let mut client = client_of(&node, authority.client());
    client.put_bucket(BUCKET);
    for length in [1000, 300_000] {
        let (body, other) = (payload(1, length), payload(2, length));
        for ((name, right), (_, wrong)) in checksums(&body).into_iter().zip(checksums(&other)) {
            let in_header = |value: &str| {
                Request::new("PUT", "/box/k")
                    .header("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
                    .header(name, value)
                    .body(body.clone())
            };
            let in_trailer = |value: &str| {
                let mut framed = Vec::new();
                for data in body.chunks(70_000) {
                    framed.extend(format!("{:x}\r\n", data.len()).into_bytes());
                    framed.extend(data);
                    framed.extend(b"\r\n");
                }
                framed.extend(format!("0\r\n{name}:{value}\r\n\r\n").into_bytes());
                Request::new("PUT", "/box/k")
                    .header("Content-Encoding", "aws-chunked")
                    .header("x-amz-decoded-content-length", &body.len().to_string())
                    .header("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")
                    .header("x-amz-trailer", name)
                    .body(framed)
            };
            client.send(in_header(&wrong)).expect_error(400, "BadDigest");
            client.send(in_trailer(&wrong)).expect_error(400, "BadDigest");
            assert_eq!(client.get(BUCKET, "k").status, 404);
            for request in [in_header(&right), in_trailer(&right)] {
                client.send(request).expect(200);
                assert!(client.get(BUCKET, "k").expect(200).body == body, "{name}");
                client.delete(BUCKET, "k").expect(204);
            }
        }
    }
}

fn round_trip(script: &str, arguments: &[&str]) {
    let authority = Authority::new();
    println!("{}", tools::python(script, arguments, &node_of(&authority)));
}

#[test]
fn boto3_round_trips_over_https() {
    round_trip("round_trip_boto3.py", &[]);
}

#[test]
fn awscli_round_trips_over_https() {
    round_trip("round_trip_awscli.py", &[]);
}

#[test]
fn rclone_round_trips_over_https() {
    round_trip("round_trip_rclone.py", &[]);
}

#[test]
fn s3cmd_round_trips_over_https() {
    round_trip("round_trip_s3cmd.py", &["4"]);
}

#[test]
fn s5cmd_round_trips_over_https() {
    round_trip("round_trip_s5cmd.py", &[]);
}

#[test]
fn minio_py_round_trips_over_https() {
    round_trip("round_trip_minio.py", &[]);
}

#[test]
fn mc_round_trips_over_https() {
    tools::programs();
    round_trip("round_trip_mc.py", &[]);
}

/// MinIO's Go client, which sends trailing checksums without signatures over https.
#[test]
fn a_load_generator_meets_no_errors_over_https() {
    let authority = Authority::new();
    let node = node_of(&authority);
    for size in ["10000", "1000000"] {
        let mut command = tools::command("load", &node);
        command.args(["-seconds", "3", "-size", size, "put", "get", "multipart"]);
        println!("{}", tools::run(command));
    }
}

#[test]
fn certificates_are_renewed_under_load_and_no_request_notices() {
    let authority = Authority::new();
    let node = node_of(&authority);
    let config = authority.client();
    client_of(&node, config.clone()).put_bucket(BUCKET);
    let (over, requests) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for number in 0..4_u64 {
            let (over, requests, config, node) = (&over, &requests, config.clone(), &node);
            scope.spawn(move || {
                let mut client = client_of(node, config);
                let mut turn = 0;
                while !over.load(Ordering::Relaxed) {
                    let body = payload(number * 1000 + turn, 200_000);
                    client.put(BUCKET, &format!("k{number}"), &body).expect(200);
                    assert!(client.get(BUCKET, &format!("k{number}")).expect(200).body == body);
                    requests.fetch_add(1, Ordering::Relaxed);
                    turn += 1;
                    // Two keep their connection, two open new ones.
                    if number % 2 == 0 {
                        client.reconnect();
                    }
                }
            });
        }
        for _ in 0..5 {
            let before = certificate_for(&node, "localhost", config.clone());
            authority.issue("node");
            node.hang_up();
            until("the new certificate is served", || {
                certificate_for(&node, "localhost", config.clone()) != before
            });
            let done = requests.load(Ordering::Relaxed);
            until("requests go on", || requests.load(Ordering::Relaxed) > done + 4);
        }
        over.store(true, Ordering::Relaxed);
    });
}

/// An upload of which half has come, and a download of which the client has read nothing yet.
#[test]
fn requests_under_way_end_under_the_certificate_they_began_with() {
    let authority = Authority::new();
    let node = node_of(&authority);
    let config = authority.client();
    let mut client = client_of(&node, config.clone());
    client.put_bucket(BUCKET);
    let body = payload(5, 20_000_000);
    client.put(BUCKET, "there", &body).expect(200);
    let mut under_way = [(); 4].map(|()| client_of(&node, config.clone()));
    let upload = Request::new("PUT", "/box/new").body(body.clone());
    let uploads = under_way.iter().map(|client| client.sign(upload.clone()).bytes()).collect::<Vec<_>>();
    for (number, client) in under_way.iter_mut().enumerate() {
        let download = client.sign(Request::new("GET", "/box/there")).bytes();
        let connection = client.connection().unwrap();
        let half = &uploads[number][..uploads[number].len() / 2];
        connection.send(if number % 2 == 0 { half } else { &download }).unwrap();
    }
    for _ in 0..2 {
        let before = certificate_for(&node, "localhost", config.clone());
        authority.issue("node");
        node.hang_up();
        until("the new certificate is served", || {
            certificate_for(&node, "localhost", config.clone()) != before
        });
    }
    for (number, client) in under_way.iter_mut().enumerate() {
        let connection = client.connection().unwrap();
        if number % 2 == 0 {
            connection.send(&uploads[number][uploads[number].len() / 2..]).unwrap();
        }
        let answer = connection.receive(false).unwrap().expect(200);
        assert!(number % 2 == 0 || answer.body == body);
        // The connection goes on, too.
        assert!(client.get(BUCKET, "new").expect(200).body == body);
    }
}

#[test]
fn a_renewal_that_went_wrong_changes_nothing() {
    let authority = Authority::new();
    let node = node_of(&authority);
    let config = authority.client();
    let before = certificate_for(&node, "localhost", config.clone());
    let broken = |node: &Node| node.log_whole().matches("the certificates in use stay in use").count();

    fs::write(authority.folder().join("node.crt"), "cut sho").unwrap();
    node.hang_up();
    until("garbage is told", || broken(&node) == 1);
    authority.issue("other");
    fs::copy(authority.folder().join("other.crt"), authority.folder().join("node.crt")).unwrap();
    node.hang_up();
    until("a key that does not belong to it is told", || broken(&node) == 2);
    authority.issue_for("node", &["localhost"], -1);
    node.hang_up();
    until("one that expired is told", || broken(&node) == 3);
    assert_eq!(certificate_for(&node, "localhost", config.clone()), before);

    authority.issue("node");
    node.hang_up();
    until("a good one is served", || certificate_for(&node, "localhost", config.clone()) != before);
}

#[test]
fn each_name_gets_its_certificate_from_a_directory() {
    let authority = Authority::new();
    let folder = authority.folder().join("certificates");
    fs::create_dir(&folder).unwrap();
    for (stem, names) in
        [("a", &["a.example", "127.0.0.1"][..]), ("b", &["b.example", "*.b.example"]), ("c", &["localhost"])]
    {
        let pair = authority.issue_for(stem, names, 90);
        fs::rename(&pair.certificate, folder.join(format!("{stem}.crt"))).unwrap();
        fs::rename(&pair.key, folder.join(format!("{stem}.key"))).unwrap();
    }
    let arguments = vec!["--tls-certificate".to_owned(), folder.to_str().unwrap().to_owned()];
    let node = Node::start_with(Options { arguments, ..Options::default() });
    let config = authority.client();
    // Each client checks the name itself.
    let of = |name: &str| certificate_for(&node, name, config.clone());
    assert_eq!(of("b.example"), of("bucket.b.example"));
    assert_ne!(of("b.example"), of("a.example"));
    assert_ne!(of("localhost"), of("a.example"));
    assert_eq!(of("127.0.0.1"), of("a.example"), "without a name, the first");
    let error = Connection::open_tls(node.address(), "elsewhere.example", config.clone()).err().unwrap();
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[test]
fn plain_http_on_the_tls_port_is_told_so_and_beside_it_is_served() {
    let authority = Authority::new();
    let node = node_of(&authority);
    let mut astray = Connection::open(node.address()).unwrap();
    astray.send(b"GET /box HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let refusal = astray.receive(false).unwrap().expect_error(400, "BadRequest");
    assert!(refusal.text().contains("HTTPS"), "{}", refusal.text());
    assert!(astray.is_closed());

    let mut plain = Client::new(node.plain(), node.credentials().clone());
    plain.put_bucket(BUCKET);
    plain.put(BUCKET, "k", b"plain").expect(200);
    assert_eq!(client_of(&node, authority.client()).get(BUCKET, "k").expect(200).body, b"plain");
    let error = Connection::open_tls(node.plain(), "localhost", authority.client()).err();
    assert!(error.is_some(), "the plain listener speaks no TLS");
}

#[test]
fn policies_and_addresses_know_what_a_request_came_by() {
    let authority = Authority::new();
    let node = node_of(&authority);
    let mut secure = client_of(&node, authority.client());
    let mut plain = Client::new(node.plain(), node.credentials().clone());
    secure.put_bucket(BUCKET);
    secure.put(BUCKET, "k", b"x").expect(200);
    for (client, scheme) in [(&mut secure, "https"), (&mut plain, "http")] {
        let started = client.send(Request::new("POST", "/box/parts?uploads")).expect(200);
        let upload = started.element("UploadId").unwrap();
        let part = Request::new("PUT", &format!("/box/parts?partNumber=1&uploadId={upload}")).body("part");
        let etag = client.send(part).expect(200).header("etag").unwrap().to_owned();
        let parts = format!(
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{etag}</ETag></Part>\
             </CompleteMultipartUpload>"
        );
        let end = Request::new("POST", &format!("/box/parts?uploadId={upload}")).body(parts);
        let location = client.send(end).expect(200).element("Location").unwrap();
        assert!(location.starts_with(&format!("{scheme}://127.0.0.1:")), "{location}");
    }
    for (condition, refused) in [
        (r#""Bool":{"aws:SecureTransport":"false"}"#, &mut plain),
        (r#""NumericEquals":{"s3:TlsVersion":"1.3"}"#, &mut secure),
    ] {
        let policy = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Deny","Principal":"*","Action":"s3:GetObject",
            "Resource":"arn:aws:s3:::box/*","Condition":{{{condition}}}}}]}}"#
        );
        let mut owner = client_of(&node, authority.client());
        owner.send(Request::new("PUT", "/box?policy").body(policy)).expect(204);
        refused.get(BUCKET, "k").expect_error(403, "AccessDenied");
        let old = trust(&authority.bundle(), &[&TLS12]);
        client_of(&node, old).get(BUCKET, "k").expect(200);
    }
}

#[test]
fn customers_keys_come_over_tls_unless_the_node_is_told_otherwise() {
    const KEY: &str = "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
    const MD5: &str = "KYvwGXoFFJ42a2u2GDWhwQ==";
    let with_key = |request: Request| {
        request
            .header("x-amz-server-side-encryption-customer-algorithm", "AES256")
            .header("x-amz-server-side-encryption-customer-key", KEY)
            .header("x-amz-server-side-encryption-customer-key-MD5", MD5)
    };
    let authority = Authority::new();
    let node = node_of(&authority);
    let mut secure = client_of(&node, authority.client());
    secure.put_bucket(BUCKET);
    secure.send(with_key(Request::new("PUT", "/box/k").body("sealed"))).expect(200);
    let mut plain = Client::new(node.plain(), node.credentials().clone());
    let refusal = plain.send(with_key(Request::new("GET", "/box/k"))).expect_error(400, "InvalidRequest");
    assert!(refusal.text().contains("must be made over a secure connection."), "{}", refusal.text());
    plain.send(with_key(Request::new("PUT", "/box/other").body("x"))).expect_error(400, "InvalidRequest");
    assert_eq!(secure.get(BUCKET, "other").status, 404);
    assert_eq!(secure.send(with_key(Request::new("GET", "/box/k"))).expect(200).body, b"sealed");

    // As behind a proxy that ends TLS.
    let arguments = vec!["--sse-c-over-http".to_owned()];
    let trusting = Node::start_with(Options { arguments, ..Options::default() });
    let mut plain = trusting.client_with_bucket(BUCKET);
    plain.send(with_key(Request::new("PUT", "/box/k").body("sealed"))).expect(200);
    assert_eq!(plain.send(with_key(Request::new("GET", "/box/k"))).expect(200).body, b"sealed");
}

#[test]
fn who_ends_its_side_gets_its_answer_and_the_end_of_the_other() {
    let authority = Authority::new();
    let node = node_of(&authority);
    let mut client = client_of(&node, authority.client());
    client.put_bucket(BUCKET);
    let body = payload(3, 500_000);
    client.put(BUCKET, "k", &body).expect(200);
    let request = client.sign(Request::new("GET", "/box/k"));
    let connection = client.connection().unwrap();
    connection.tls().send_close_notify();
    // What follows the announced end is not read.
    connection.send(b"").unwrap();
    assert!(connection.is_closed(), "the node answers the end with its own");

    client.reconnect();
    let connection = client.connection().unwrap();
    connection.send(&request.bytes()).unwrap();
    connection.tls().send_close_notify();
    connection.send(b"").unwrap();
    connection.finish_sending().unwrap();
    assert!(connection.receive(false).unwrap().expect(200).body == body);
    // rustls takes an end without an announcement for an error.
    let mut rest = Vec::new();
    let mut socket = connection.stream();
    let end = rustls::Stream::new(connection.tls(), &mut socket).read_to_end(&mut rest);
    assert_eq!(end.unwrap(), 0);
}

#[test]
fn a_body_that_is_cut_off_stores_nothing() {
    let authority = Authority::new();
    let node = node_of(&authority);
    let mut client = client_of(&node, authority.client());
    client.put_bucket(BUCKET);
    for is_announced in [false, true] {
        let request = client.sign(Request::new("PUT", "/box/k").body(payload(1, 300_000)));
        client.reconnect();
        let connection = client.connection().unwrap();
        let bytes = request.bytes();
        connection.send(&bytes[..bytes.len() - 1]).unwrap();
        if is_announced {
            connection.tls().send_close_notify();
            connection.send(b"").unwrap();
            connection.receive(false).unwrap().expect_error(400, "IncompleteBody");
        } else {
            connection.finish_sending().unwrap();
            let _ = connection.receive(false);
        }
        client.reconnect();
        assert_eq!(client.get(BUCKET, "k").status, 404);
    }
}

/// What comes instead of a handshake: noise, records that lie about their length, a beginning and no more.
#[test]
fn garbage_instead_of_handshakes_leaves_nothing_behind() {
    let authority = Authority::new();
    let node = node_of(&authority);
    let mut client = client_of(&node, authority.client());
    client.put_bucket(BUCKET);
    client.reconnect();
    let mut random = Random::new(6);
    let mut noise = |length: usize| (0..length).map(|_| random.below(256) as u8).collect::<Vec<u8>>();
    let throw = |bytes: &[u8], waits: bool| {
        let mut stream = TcpStream::connect(node.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // The node may have had enough before all is sent.
        let _ = stream.write_all(bytes);
        if waits {
            let mut answer = Vec::new();
            let _ = stream.take(1 << 20).read_to_end(&mut answer);
        }
    };
    let mut round = |count: usize| {
        for turn in 0..count {
            let mut bytes = noise(turn * 37 % 3000);
            // Noise alone, a record of noise, one that is too long, a huge ClientHello that never ends, half a head.
            match turn % 5 {
                0 => bytes.insert(0, 0x80),
                1 => {
                    let length = u16::try_from(bytes.len()).unwrap().to_be_bytes();
                    bytes.splice(..0, [22, 3, 1, length[0], length[1]]);
                }
                2 => drop(bytes.splice(..0, [22, 3, 3, 0xff, 0xff])),
                3 => {
                    bytes.clear();
                    for _ in 0..8 {
                        bytes.extend([22, 3, 1, 0x40, 0, 1, 0, 0xff, 0xff]);
                        bytes.extend(noise(0x4000 - 4));
                    }
                }
                _ => bytes = vec![22, 3, 1],
            }
            throw(&bytes, turn % 5 < 2);
        }
    };
    // The node's own: files that it opens as it goes, and its clients'.
    let before = node.process().descriptors() + 8;
    round(100);
    until("their sockets are closed", || node.process().descriptors() <= before);
    let resident = node.process().resident_bytes();
    round(400);
    until("their sockets are closed", || node.process().descriptors() <= before);
    let grown = node.process().resident_bytes().saturating_sub(resident);
    assert!(grown < 16 << 20, "{grown} bytes more");
    client.put(BUCKET, "k", b"alive").expect(200);
}

#[test]
fn handshakes_that_never_end_are_cut() {
    let authority = Authority::new();
    let node = node_of(&authority);
    let mut silent = TcpStream::connect(node.address()).unwrap();
    let mut halting = TcpStream::connect(node.address()).unwrap();
    halting.write_all(&[22, 3, 1, 2, 0, 1, 0]).unwrap();
    for stream in [&mut silent, &mut halting] {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).unwrap();
        assert!(rest.is_empty());
    }
}

/// They count from their first byte: whoever fills a node with them is told so like anybody else.
#[test]
fn handshakes_count_against_the_limit_of_connections() {
    let authority = Authority::new();
    let arguments = authority.issue("node").arguments();
    // Room for few connections.
    let limits = vec!["-n 250".to_owned()];
    let node = Node::start_with(Options { cores: 1, arguments, limits, ..Options::default() });
    let log = node.log_whole();
    let places = log.split_once("allows ").unwrap().1.split(' ').next().unwrap().parse().unwrap();
    let waiting: Vec<_> = (0..places).map(|_| TcpStream::connect(node.address()).unwrap()).collect();
    let mut beyond = Connection::open_tls(node.address(), "localhost", authority.client()).unwrap();
    beyond.receive(false).unwrap().expect_error(503, "SlowDown");
    drop(waiting);
    until("their places come back", || {
        let listed = client_of(&node, authority.client()).try_send(Request::new("GET", "/"));
        listed.is_ok_and(|response| response.status == 200)
    });
}

/// How a start is refused with these options.
fn refusal(authority: &Authority, arguments: &[String]) -> String {
    let output = Command::new(binary())
        .args(["--listen", "127.0.0.1:0", "--admin-listen", "off", "--cores", "1", "--data"])
        .arg(authority.folder().join("data"))
        .args(arguments)
        .output()
        .unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_start_with_files_that_cannot_work_says_why() {
    let authority = Authority::new();
    let good = authority.issue("good");
    let other = authority.issue("other");
    let old = authority.issue_for("old", &["localhost"], -2);
    let [option, certificate, key_option, _] = <[String; 4]>::try_from(good.arguments()).unwrap();
    let other_key = other.key.to_str().unwrap().to_owned();
    let missing = authority.folder().join("missing").to_str().unwrap().to_owned();
    for (arguments, said) in [
        (
            vec![option.clone(), certificate.clone(), key_option.clone(), other_key],
            "is not the key of the certificate",
        ),
        (old.arguments(), "expired at"),
        (vec![option.clone(), certificate.clone()], "has no --tls-key"),
        (vec![option.clone(), missing, key_option.clone(), certificate.clone()], "cannot read"),
        (vec![option, certificate.clone(), key_option, certificate], "holds no private key"),
        (vec!["--tls-self-signed".to_owned(), "--tls-key".to_owned(), "k".to_owned()], "--tls-certificate"),
    ] {
        let text = refusal(&authority, &arguments);
        assert!(text.contains(said), "{said}: {text}");
        assert!(!text.contains("BEGIN"), "{text}");
    }
}

#[test]
fn a_certificate_that_the_node_made_works_for_who_trusts_it_and_stays() {
    let arguments = vec!["--tls-self-signed".to_owned()];
    let mut node = Node::start_with(Options { arguments, ..Options::default() });
    let file = node.data(0).join("ringcask.self-signed.crt");
    let config = trust(&file, rustls::DEFAULT_VERSIONS);
    client_of(&node, config.clone()).put_bucket(BUCKET);
    assert!(node.log_whole().contains("sha256="), "its fingerprint is told");
    node.terminate();
    node.restart(2);
    client_of(&node, config).put(BUCKET, "k", b"still trusted").expect(200);
}
