//! What runs out: buffers that slow clients hold, descriptors, memory. The node slows down, refuses or ends, and
//! loses nothing that it acknowledged.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use md5::{Digest, Md5};
use rustix::net::{AddressFamily, SocketType, sockopt};

use crate::client::{Client, Request, target};
use crate::connections::{number, raise_descriptors};
use crate::content::{payload, seed_of};
use crate::http::{Connection, Response};
use crate::node::{Node, Options, binary};
use crate::process::Usage;

const BUCKET: &str = "exhaustion";

/// Larger than what the kernel keeps of a response between a client that does not read and the node.
const LARGE_BYTES: usize = 32 << 20;

fn small_arena() -> Options {
    Options { cores: 1, arguments: vec!["--arena".into(), "8MiB".into()], ..Options::default() }
}

/// A connection whose client hardly has room for what comes.
fn narrow(address: SocketAddr) -> TcpStream {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    sockopt::set_socket_recv_buffer_size(&socket, 4096).unwrap();
    rustix::net::connect(&socket, &address).unwrap();
    TcpStream::from(socket)
}

/// Clients that take, and send, a few bytes now and then: as many as it takes to hold all buffers of a core.
/// Each begins again when it is cut. Gives how often that was.
fn trickle(node: &Node, readers: usize, writers: usize, work: impl FnOnce()) -> usize {
    let done = AtomicBool::new(false);
    let cut = AtomicUsize::new(0);
    let download = node.client().sign(Request::new("GET", &target(BUCKET, "large"))).bytes();
    let upload = Request::new("PUT", &target(BUCKET, "never")).body(payload(9, 1 << 20));
    let upload = node.client().sign(upload).bytes();
    std::thread::scope(|scope| {
        for is_reader in (0..readers).map(|_| true).chain((0..writers).map(|_| false)) {
            let (done, cut, download, upload) = (&done, &cut, &download, &upload);
            scope.spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    let stream = narrow(node.address());
                    let ended = match is_reader {
                        true => read_slowly(stream, download, done),
                        false => write_slowly(stream, upload, done),
                    };
                    if ended.is_err() {
                        cut.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        // A panic of the work must not leave the others at theirs.
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Ordering::Relaxed);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    cut.into_inner()
}

/// Fast enough for the 30-second rule: 2 KiB a second.
fn read_slowly(mut stream: TcpStream, request: &[u8], done: &AtomicBool) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(request)?;
    let mut some = [0; 512];
    while !done.load(Ordering::Relaxed) {
        stream.read_exact(&mut some)?;
        std::thread::sleep(Duration::from_millis(250));
    }
    Ok(())
}

fn write_slowly(mut stream: TcpStream, request: &[u8], done: &AtomicBool) -> std::io::Result<()> {
    let (head, body) = request.split_at(request.len() - (1 << 20));
    stream.write_all(head)?;
    for some in body.chunks(512) {
        if done.load(Ordering::Relaxed) {
            return Ok(());
        }
        stream.write_all(some)?;
        std::thread::sleep(Duration::from_millis(250));
    }
    Ok(())
}

#[test]
fn slow_clients_that_hold_all_buffers_do_not_keep_others_from_being_served() {
    let clients = number("RINGCASK_SLOW_CLIENTS", 60);
    raise_descriptors();
    let node = Node::start_with(small_arena());
    let mut client = node.client_with_bucket(BUCKET);
    client.put(BUCKET, "large", &payload(1, LARGE_BYTES)).expect(200);
    client.put(BUCKET, "small", &payload(2, 2_000)).expect(200);
    let at_rest = Usage::of(&node).buffers_held;
    let cut = trickle(&node, clients / 2, clients / 2, || {
        // An 8 MiB arena has 24 large buffers; the log keeps one.
        let deadline = Instant::now() + Duration::from_secs(60);
        while Usage::of(&node).buffers_held < 24 {
            assert!(Instant::now() < deadline, "the slow clients hold too little: {:?}", Usage::of(&node));
            std::thread::sleep(Duration::from_millis(50));
        }
        for round in 0..number("RINGCASK_SLOW_ROUNDS", 3) as u64 {
            served(|client| client.get(BUCKET, "small"), &node, 200);
            served(|client| client.put(BUCKET, "tiny", &payload(round, 3_000)), &node, 200);
            served(|client| client.put(BUCKET, "new", &payload(round, 2_000_000)), &node, 200);
            let new = served(|client| client.get(BUCKET, "new"), &node, 200);
            assert_eq!(seed_of(&new.body), Ok(round));
            served(|client| client.delete(BUCKET, "new"), &node, 204);
        }
    });
    eprintln!("{clients} slow clients, of which {cut} noticed that they were cut while others were served");
    // Were all buffers held?
    node.log_with(0, |said| said.contains("the slowest clients are cut"));
    // All of it comes back.
    let deadline = Instant::now() + Duration::from_secs(60);
    while Usage::of(&node).buffers_held > at_rest {
        assert!(Instant::now() < deadline, "buffers leaked: {:?}", Usage::of(&node));
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Tries until the node no longer says that it is busy, as SDKs do.
#[track_caller]
fn served(mut request: impl FnMut(&mut Client) -> Response, node: &Node, status: u16) -> Response {
    for _ in 0..20 {
        let response = request(&mut node.client());
        if response.status != 503 {
            return response.expect(status);
        }
        assert_eq!(response.element("Code").as_deref(), Some("SlowDown"), "{}", response.text());
    }
    panic!("the node stays busy");
}

#[test]
fn connections_beyond_the_descriptors_are_refused_and_files_are_still_opened() {
    raise_descriptors();
    let limits = vec!["-n 320".to_owned()];
    let node = Node::start_with(Options { cores: 1, limits, ..Options::default() });
    let mut first = node.client_with_bucket(BUCKET);
    first.put(BUCKET, "known", &payload(1, 500_000)).expect(200);

    let (mut held, mut told, mut closed) = (Vec::new(), Vec::new(), 0);
    for _ in 0..200 {
        let mut connection = Connection::open(node.address()).unwrap();
        connection.stream().set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        match connection.receive(false) {
            Ok(response) => {
                response.expect_error(503, "SlowDown");
                told.push(connection);
            }
            // Nothing comes: it waits for a request.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => held.push(connection),
            Err(_) => closed += 1,
        }
    }
    eprintln!("{} connections held, {} told to slow down, {closed} closed", held.len(), told.len());
    assert!(held.len() >= 80 && !told.is_empty() && closed > 0);
    assert!(node.process().descriptors() <= 320);
    // Who is connected is served, from segments that must be opened.
    first.put(BUCKET, "another", &payload(2, 3_000_000)).expect(200);
    assert_eq!(seed_of(&first.get(BUCKET, "another").expect(200).body), Ok(2));
    drop((held, told));
    let deadline = Instant::now() + Duration::from_secs(60);
    while node.client().try_send(Request::new("GET", &target(BUCKET, "known"))).map_or(0, |it| it.status)
        != 200
    {
        assert!(Instant::now() < deadline, "places do not come back");
    }
}

#[test]
fn a_node_without_descriptors_loses_nothing_does_not_spin_and_recovers() {
    let mut node = Node::start_with(Options { cores: 1, ..Options::default() });
    node.client_with_bucket(BUCKET).put(BUCKET, "before", &payload(1, 400_000)).expect(200);
    // Nothing is at hand after a start: reading must open files.
    assert!(node.terminate().success());
    node.restart(1);
    let process = node.process();
    let mut client = node.client();
    client.connection().unwrap();
    client.head(BUCKET, "before").expect(200);
    let before = process.limit_descriptors(Some(3));

    // No descriptor for a connection, or for a file.
    let mut waiting = Connection::open(node.address()).unwrap();
    let ticks = process.cpu_ticks();
    let answer = client.get(BUCKET, "before");
    assert!(answer.status == 200 || answer.status == 503, "{}", answer.text());
    let mut acknowledged = Vec::new();
    for number in 0..40 {
        let key = format!("key {number}");
        let answer = client.put(BUCKET, &key, &payload(number, 300_000));
        match answer.status {
            200 => acknowledged.push((key, number)),
            503 => drop(answer.expect_error(503, "SlowDown")),
            other => panic!("{other}: {}", answer.text()),
        }
    }
    std::thread::sleep(Duration::from_secs(2));
    let ticks = process.cpu_ticks() - ticks;
    assert!(ticks < 300, "{ticks} hundredths of a second of CPU time for little");

    process.limit_descriptors(before);
    waiting.send(&client.sign(Request::new("GET", &target(BUCKET, "before"))).bytes()).unwrap();
    assert_eq!(seed_of(&waiting.receive(false).unwrap().expect(200).body), Ok(1));
    client.put(BUCKET, "after", &payload(2, 2_000_000)).expect(200);
    acknowledged.extend([("before".to_owned(), 1), ("after".to_owned(), 2)]);
    for restarts in [false, true] {
        if restarts {
            node.kill();
            node.restart(1);
        }
        let mut client = node.client();
        for (key, seed) in &acknowledged {
            assert_eq!(seed_of(&client.get(BUCKET, key).expect(200).body), Ok(*seed), "{key}");
        }
    }
}

#[test]
fn a_node_without_memory_ends_or_refuses_and_loses_nothing() {
    let arguments = ["--arena", "8MiB", "--cache", "1MiB"].map(str::to_owned).to_vec();
    let limits = vec!["-d 64000".to_owned()];
    let mut node = Node::start_with(Options { cores: 2, arguments, limits, ..Options::default() });
    node.client().put_bucket(BUCKET);
    let mut acknowledged: Vec<(String, u64)> = Vec::new();
    let mut ends = 0;
    for round in 0..number("RINGCASK_MEMORY_ROUNDS", 3) as u64 {
        let written = write_until_refused(&node, round);
        let ended = ends_or_serves(&mut node);
        eprintln!("round {round}: {} writes acknowledged, the node has ended: {ended}", written.len());
        ends += usize::from(ended);
        acknowledged.extend(written);
        node.kill();
        node.restart(2);
        let mut client = node.client();
        for (key, seed) in &acknowledged {
            assert_eq!(seed_of(&client.get(BUCKET, key).expect(200).body), Ok(*seed), "{key}");
        }
    }
    eprintln!("{} writes were acknowledged and are there; the node ended {ends} times", acknowledged.len());
    assert!(ends == 0 || node.log_whole().contains("memory"), "it does not say why it ended");
}

/// Whether a node that broke connections has ended by itself; else it must serve.
fn ends_or_serves(node: &mut Node) -> bool {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if node.has_ended() {
            return true;
        }
        let listed = node.client().try_send(Request::new("GET", &format!("/{BUCKET}")));
        if listed.is_ok_and(|listed| listed.status == 200) {
            return false;
        }
        assert!(Instant::now() < deadline, "the node neither ends nor serves");
    }
}

/// Writes from many connections until the node is gone or has answered enough; what was acknowledged.
fn write_until_refused(node: &Node, round: u64) -> Vec<(String, u64)> {
    let acknowledged = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for writer in 0..48 {
            let acknowledged = &acknowledged;
            scope.spawn(move || {
                let mut client = node.client();
                if writer % 3 == 0 {
                    return fill_memory(&mut client);
                }
                for number in 0..6_u64 {
                    let seed = (round << 32) | (writer << 16) | number;
                    let key = format!("round {round}/writer {writer}/{number}");
                    let length = if number % 3 == 0 { 400_000 } else { 20_000 };
                    let request = Request::new("PUT", &target(BUCKET, &key)).body(payload(seed, length));
                    // A node that ended, or refuses, acknowledges nothing.
                    match client.try_send(request) {
                        Ok(response) if response.status == 200 => {
                            acknowledged.lock().unwrap().push((key, seed))
                        }
                        Ok(response) => assert!(response.status >= 500, "{}", response.text()),
                        Err(_) => return,
                    }
                }
            });
        }
    });
    acknowledged.into_inner().unwrap()
}

/// Long documents, which the node must hold whole.
fn fill_memory(client: &mut Client) {
    let objects: String =
        (0..1000).map(|number| format!("<Object><Key>{number}{}</Key></Object>", "k".repeat(1000))).collect();
    let document = format!("<Delete>{objects}</Delete>").into_bytes();
    let digest = STANDARD.encode(Md5::digest(&document));
    for _ in 0..6 {
        let request = Request::new("POST", &format!("/{BUCKET}?delete")).header("Content-MD5", &digest);
        match client.try_send(request.body(document.clone())) {
            Ok(response) => assert!(response.status == 200 || response.status >= 500, "{}", response.text()),
            Err(_) => return,
        }
    }
}

#[test]
fn a_start_without_memory_or_descriptors_says_so_and_ends() {
    for (limit, said) in [("-v 60000", "memory"), ("-n 60", "open files"), ("-n 20", "open files")] {
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let ended = Command::new("sh")
            .arg("-c")
            .arg(format!("ulimit {limit} && exec \"$0\" --cores 2 --listen 127.0.0.1:0 --data \"$1\""))
            .arg(binary())
            .arg(folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&ended.stderr);
        assert!(!ended.status.success(), "ulimit {limit}: it started\n{text}");
        assert!(text.contains(said), "ulimit {limit}: {:?}\n{text}", ended.status);
        assert!(!text.contains("defect"), "ulimit {limit}: {text}");
    }
}

#[test]
fn a_node_that_may_lock_no_memory_serves_all_the_same() {
    let node = Node::start_with(Options { limits: vec!["-l 64".to_owned()], ..Options::default() });
    let mut client = node.client_with_bucket(BUCKET);
    client.put(BUCKET, "key", &payload(1, 3_000_000)).expect(200);
    assert_eq!(seed_of(&client.get(BUCKET, "key").expect(200).body), Ok(1));
}
