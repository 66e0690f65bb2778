//! Clients that vanish in the midst of what they do, by the thousand: nothing of them stays.

use std::io::Read;
use std::net::TcpStream;
use std::time::Duration;

use crate::client::{Client, Request, target};
use crate::connections::{number, raise_descriptors};
use crate::content::{Random, payload, seed_of};
use crate::node::Node;
use crate::process::Usage;

const BUCKET: &str = "vanishing";
const LARGE_BYTES: usize = 8 << 20;

/// What a client is in the midst of.
#[derive(Clone, Copy, Debug)]
enum Midst {
    Head,
    SmallBody,
    Body,
    AwsChunked,
    Chunked,
    Part,
    Download,
}

const MIDSTS: [Midst; 7] = [
    Midst::Head,
    Midst::SmallBody,
    Midst::Body,
    Midst::AwsChunked,
    Midst::Chunked,
    Midst::Part,
    Midst::Download,
];

/// How a client goes.
#[derive(Clone, Copy, Debug)]
enum Exit {
    /// Its process dies with bytes unread, or its machine gives up: RST.
    Reset,
    /// It closes: FIN, and RST for whatever still comes.
    Close,
    /// It ends sending only, and waits for what the node does about it.
    HalfClose,
}

#[test]
fn clients_that_vanish_by_the_thousand_leave_nothing_behind() {
    let count = number("RINGCASK_VANISHING", 1_400);
    raise_descriptors();
    let node = Node::start();
    let mut client = node.client_with_bucket(BUCKET);
    client.put(BUCKET, "large", &payload(1, LARGE_BYTES)).expect(200);
    client.put(BUCKET, "small", &payload(2, 1_000)).expect(200);
    let upload = client.create_upload(BUCKET, "never completed");
    drop(client);

    // What comes once (threads' stacks, caches, pools of buffers) comes in the first half.
    vanish(&node, &upload, 0..count / 2);
    let before = settled(&node);
    vanish(&node, &upload, count / 2..count);
    let after = settled(&node);
    eprintln!("{count} clients vanished: {before:?}, then {after:?}");
    assert_eq!(after.descriptors, before.descriptors);
    assert_eq!(after.payload_bytes, before.payload_bytes);
    assert_eq!(after.buffers_held, before.buffers_held);
    let grown = after.resident_bytes.saturating_sub(before.resident_bytes);
    assert!(grown < 24 << 20, "{grown} bytes of memory more after {} clients", count - count / 2);
    check_served(&node);
}

/// What the node uses once it has noticed who is gone. Waits for it: up to a minute, as the node does for clients.
fn settled(node: &Node) -> Usage {
    let mut last = Usage::of(node);
    let mut equal = 0;
    for _ in 0..600 {
        std::thread::sleep(Duration::from_millis(100));
        let usage = Usage::of(node);
        let same = (usage.descriptors, usage.payload_bytes, usage.buffers_held)
            == (last.descriptors, last.payload_bytes, last.buffers_held);
        equal = if same && usage.payload_bytes <= 2 * LARGE_BYTES as u64 { equal + 1 } else { 0 };
        if equal == 20 {
            return usage;
        }
        last = usage;
    }
    panic!("the node never settles: {last:?}");
}

fn vanish(node: &Node, upload: &str, clients: std::ops::Range<usize>) {
    const THREADS: usize = 8;
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let clients = clients.clone().filter(move |client| client % THREADS == thread);
            scope.spawn(move || {
                for client in clients {
                    let mut random = Random::new(client as u64 + 1);
                    let midst = MIDSTS[random.below(MIDSTS.len())];
                    let exit = [Exit::Reset, Exit::Close, Exit::HalfClose][random.below(3)];
                    // The node may notice first, and then sending fails.
                    let _ = vanish_once(node.client(), upload, midst, exit, &mut random);
                }
            });
        }
    });
}

fn vanish_once(
    mut client: Client,
    upload: &str,
    midst: Midst,
    exit: Exit,
    random: &mut Random,
) -> std::io::Result<()> {
    let key = target(BUCKET, &format!("never there {}", random.below(1_000)));
    let (head, body) = match midst {
        Midst::Head => {
            let head = client.sign(Request::new("GET", &target(BUCKET, "small"))).bytes();
            let cut = random.below(head.len());
            (head[..cut].to_vec(), Vec::new())
        }
        Midst::SmallBody => whole(&client, Request::new("PUT", &key).body(payload(3, 60_000))),
        Midst::Body => whole(&client, Request::new("PUT", &key).body(payload(4, 1_500_000))),
        Midst::Part => {
            let part = format!("{}?partNumber=1&uploadId={upload}", target(BUCKET, "never completed"));
            whole(&client, Request::new("PUT", &part).body(payload(5, 1_500_000)))
        }
        Midst::AwsChunked => aws_chunked(&client, &key),
        Midst::Chunked => {
            let request = Request::new("PUT", &key)
                .header("Transfer-Encoding", "chunked")
                .header("x-amz-content-sha256", "UNSIGNED-PAYLOAD");
            let mut body = format!("{:x}\r\n", 2_000_000).into_bytes();
            body.extend(payload(6, 1_500_000));
            (client.sign(request).head(), body)
        }
        Midst::Download => (client.sign(Request::new("GET", &target(BUCKET, "large"))).bytes(), Vec::new()),
    };
    let cut = if body.is_empty() { 0 } else { random.below(body.len()) };
    let connection = client.connection()?;
    connection.send(&head)?;
    connection.send(&body[..cut])?;
    let mut stream = connection.stream();
    if matches!(midst, Midst::Download) {
        let mut some = vec![0; random.below(1 << 20)];
        stream.read_exact(&mut some)?;
    }
    go(&mut stream, exit)
}

fn whole(client: &Client, request: Request) -> (Vec<u8>, Vec<u8>) {
    let request = client.sign(request);
    (request.head(), request.body)
}

/// A body in signed chunks, as SDKs send it over plain HTTP.
fn aws_chunked(client: &Client, key: &str) -> (Vec<u8>, Vec<u8>) {
    let data = payload(7, 1_000_000);
    let mut request = Request::new("PUT", key)
        .header("Host", "ringcask")
        .header("Content-Encoding", "aws-chunked")
        .header("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
        .header("x-amz-decoded-content-length", &data.len().to_string());
    let mut chunks = crate::sign::v4(&mut request, &client.credentials);
    let mut body: Vec<u8> = data.chunks(64 * 1024).flat_map(|data| chunks.chunk(data)).collect();
    body.extend(chunks.chunk(&[]));
    // The signature does not cover it.
    let request = request.header("Content-Length", &body.len().to_string());
    (request.head(), body)
}

fn go(stream: &mut TcpStream, exit: Exit) -> std::io::Result<()> {
    match exit {
        Exit::Reset => rustix::net::sockopt::set_socket_linger(stream, Some(Duration::ZERO))?,
        Exit::Close => {}
        Exit::HalfClose => {
            stream.shutdown(std::net::Shutdown::Write)?;
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest)?;
        }
    }
    Ok(())
}

/// Reads and writes of all kinds still work, on every core.
fn check_served(node: &Node) {
    for number in 0..8 {
        let mut client = node.client();
        assert_eq!(seed_of(&client.get(BUCKET, "large").expect(200).body), Ok(1));
        let key = format!("after {number}");
        client.put(BUCKET, &key, &payload(number, 700_000)).expect(200);
        assert_eq!(seed_of(&client.get(BUCKET, &key).expect(200).body), Ok(number));
        client.delete(BUCKET, &key).expect(204);
    }
    let listed = node.client().send(Request::new("GET", &format!("/{BUCKET}?list-type=2"))).expect(200);
    let keys = crate::http::elements(&listed.text(), "Key");
    assert_eq!(keys, ["large", "small"], "a body that was cut became an object");
}
