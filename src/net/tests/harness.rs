//! Both ends of connections in one runtime, and a service that does what its path says.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt};
use monoio::net::{TcpListener, TcpStream};

use super::super::{Body, BodyError, Connections, Limits, Peer, Refusal, Service};
use crate::base::local::Signal;
use crate::http::{Head, Response, ResponseBody, Source, SourceError, SourceFuture};
use crate::io::{Buffer, Chunk, Pool, TimestampMs};

/// Length of the chunks of streamed answers.
pub const CHUNK_BYTES: usize = 100_000;

/// A test that takes longer hangs.
const HANG: Duration = Duration::from_secs(60);

/// Runs `test` against a server with these limits; then every connection must end.
pub fn run<F: Future<Output = ()>>(limits: Limits, test: impl FnOnce(Server) -> F) {
    run_with(Connections::new(limits), test);
}

fn run_with<F: Future<Output = ()>>(connections: Connections, test: impl FnOnce(Server) -> F) {
    let builder = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().enable_timer();
    let mut runtime = builder.build().expect("an io_uring");
    runtime.block_on(async {
        let server = Server::start(connections);
        monoio::time::timeout(HANG, test(server.clone())).await.expect("the test hangs");
        assert_eq!(server.connections.drain(HANG).await, 0);
    });
}

/// As [`run`], for connections that look after the buffers of `pool`.
pub fn run_sharing<F: Future<Output = ()>>(limits: Limits, pool: Pool, test: impl FnOnce(Server) -> F) {
    run_with(Connections::sharing(limits, pool), test);
}

/// Limits whose times pass quickly.
pub fn impatient() -> Limits {
    let moment = Duration::from_millis(30);
    Limits {
        tick: Duration::from_millis(3),
        head_timeout: moment,
        idle_timeout: moment,
        body_timeout: moment,
        send_timeout: moment,
        linger_timeout: moment,
        ..Limits::default()
    }
}

#[derive(Clone)]
pub struct Server {
    pub connections: Connections,
    pub service: Rc<Toy>,
    listener: Rc<TcpListener>,
}

impl Server {
    fn start(connections: Connections) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        Self { connections, service: Rc::default(), listener: Rc::new(listener) }
    }

    /// A connection that the server serves.
    pub async fn connect(&self) -> Client {
        let (client, stream, peer) = self.socket_pair().await;
        let (service, connections) = (self.service.clone(), self.connections.clone());
        monoio::spawn(super::super::serve_connection(stream, peer, None, service, connections));
        client
    }

    /// A connection that the server refuses.
    pub async fn connect_in_vain(&self) -> Client {
        let (client, stream, peer) = self.socket_pair().await;
        let (service, connections) = (self.service.clone(), self.connections.clone());
        monoio::spawn(super::super::refuse_connection(stream, peer, None, service, connections));
        client
    }

    async fn socket_pair(&self) -> (Client, TcpStream, SocketAddr) {
        let address = self.listener.local_addr().unwrap();
        let (client, accepted) = monoio::join!(TcpStream::connect_addr(address), self.listener.accept());
        let (stream, peer) = accepted.unwrap();
        (Client { stream: client.unwrap(), received: Vec::new() }, stream, peer)
    }

    /// Sends `bytes` on a connection of their own; returns all that comes back until the server ends it.
    pub async fn exchange(&self, bytes: impl Into<Vec<u8>>) -> Vec<u8> {
        let mut client = self.connect().await;
        client.send(bytes).await;
        client.rest().await
    }

    /// Waits until no connection is left, without asking for it.
    pub async fn deserted(&self) {
        while self.connections.active() > 0 {
            monoio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

/// The other end of a connection.
pub struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

/// A response as a client sees it.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: String,
    pub body: Vec<u8>,
}

impl Client {
    /// Sends all of `bytes`; false if the server does not take them.
    pub async fn send(&mut self, bytes: impl Into<Vec<u8>>) -> bool {
        self.stream.write_all(bytes.into()).await.0.is_ok()
    }

    pub async fn end_sending(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Receives something; false at the end.
    async fn receive(&mut self) -> bool {
        let (result, bytes) = self.stream.read(Vec::with_capacity(64 * 1024)).await;
        self.received.extend_from_slice(&bytes);
        result.is_ok_and(|count| count > 0)
    }

    /// The head of the next response, which may be an interim one.
    pub async fn head(&mut self) -> (u16, String) {
        loop {
            if let Some(end) = self.received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head = String::from_utf8(self.received.drain(..end + 4).collect()).unwrap();
                let status = head.strip_prefix("HTTP/1.1 ").unwrap()[..3].parse().unwrap();
                return (status, head.to_ascii_lowercase());
            }
            assert!(self.receive().await, "the connection ended before a response: {:?}", self.received);
        }
    }

    /// The next response, with the body that its head announces.
    pub async fn answer(&mut self) -> Answer {
        let (status, headers) = self.head().await;
        let (_, length) = headers.split_once("content-length: ").unwrap();
        let length: usize = length.split('\r').next().unwrap().parse().unwrap();
        while self.received.len() < length {
            assert!(self.receive().await, "the connection ended within a body");
        }
        Answer { status, headers, body: self.received.drain(..length).collect() }
    }

    /// Everything until the connection ends.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.receive().await {}
        std::mem::take(&mut self.received)
    }
}

/// Answers by path.
#[derive(Default)]
pub struct Toy {
    pub calls: Cell<usize>,
    pub body_errors: RefCell<Vec<BodyError>>,
    /// Lets `/wait` go on.
    pub go: Signal,
    /// Raised when `/wait` waits.
    pub waiting: Signal,
}

impl Service for Toy {
    async fn call(&self, head: Head, body: &mut Body, _peer: Peer) -> Response {
        self.calls.set(self.calls.get() + 1);
        let size = head.query.as_deref().and_then(|query| query.parse().ok()).unwrap_or(0);
        match head.path.as_str() {
            "/echo" => self.echo(body, size).await,
            "/length" => Response::new(200).with_body(format!("{:?}", body.length())),
            "/refuse" => Response::new(403).with_body("refused"),
            "/wait" => {
                let go = self.go.wait();
                self.waiting.raise();
                go.await;
                Response::new(200).with_body("waited")
            }
            "/bytes" => Response::new(200).with_body(pattern(0, size)),
            "/stream" => stream(size, size, None),
            "/short" => stream(size, size - 1, None),
            "/long" => stream(size, size + 1, None),
            "/broken" => stream(size, size, Some(size / 2)),
            "/empty" => Response::new(204),
            "/absent" => Response { body: ResponseBody::Absent { bytes: size as u64 }, ..Response::new(200) },
            _ => Response::new(404),
        }
    }

    fn refuse(&self, refusal: Refusal, _peer: Peer) -> Response {
        let status = match refusal {
            Refusal::BadRequest { .. } | Refusal::TimedOut => 400,
            Refusal::HeadTooLarge => 431,
            Refusal::VersionUnsupported => 505,
            Refusal::TransferCodingUnsupported => 501,
            Refusal::TooManyConnections => 503,
        };
        Response::new(status).with_body(format!("{refusal:?}"))
    }

    fn now(&self) -> TimestampMs {
        784_111_777_000
    }
}

impl Toy {
    /// Reads the body, `size` bytes at a time (0: as many as there is room for), and sends it back.
    async fn echo(&self, body: &mut Body, size: usize) -> Response {
        let limit = if size == 0 { usize::MAX } else { size };
        let mut echo = Vec::new();
        let mut buffer = Buffer::heap(256 * 1024);
        loop {
            let result;
            (result, buffer) = body.read(buffer, limit).await;
            match result {
                Ok(0) => return Response::new(200).with_body(echo),
                Ok(count) => {
                    assert!(count <= limit);
                    assert_eq!(count, buffer.len());
                    echo.extend_from_slice(&buffer);
                    buffer.clear();
                }
                Err(error) => {
                    self.body_errors.borrow_mut().push(error);
                    return Response::new(400).with_body(format!("{error:?}"));
                }
            }
        }
    }
}

/// `length` bytes in which each place looks different, from `start`.
pub fn pattern(start: usize, length: usize) -> Vec<u8> {
    (start..start + length).map(|place| (place % 251) as u8).collect()
}

fn stream(announced: usize, length: usize, fails_at: Option<usize>) -> Response {
    let source = Box::new(Pattern { place: 0, length, fails_at });
    Response { body: ResponseBody::Stream { bytes: announced as u64, source }, ..Response::new(200) }
}

/// A source of [`pattern`], in pool-like buffers and shared bytes by turns.
struct Pattern {
    place: usize,
    length: usize,
    fails_at: Option<usize>,
}

impl Source for Pattern {
    fn next(&mut self) -> SourceFuture<'_> {
        Box::pin(async move {
            crate::base::local::yield_now().await;
            if self.fails_at.is_some_and(|place| self.place >= place) {
                return Some(Err(SourceError("the drive is gone".to_owned())));
            }
            let count = (self.length - self.place).min(CHUNK_BYTES);
            if count == 0 {
                return None;
            }
            let bytes = pattern(self.place, count);
            let in_buffer = self.place.is_multiple_of(2 * CHUNK_BYTES);
            self.place += count;
            Some(Ok(if in_buffer {
                let mut buffer = Buffer::heap(CHUNK_BYTES + 3);
                buffer.append(b"...");
                buffer.append(&bytes);
                Chunk::Buffer(buffer, 3..3 + count)
            } else {
                Chunk::Bytes(Bytes::from(bytes))
            }))
        })
    }
}
