//! The load: one thread, one epoll, some connections with one request each under way.
//!
//! It is cheap, so that the server is what limits: requests are sent as they were prepared, and answers are
//! compared with what is expected while they come in.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::requests::{ExpectedBody, Request, Status};

/// Bytes that one receive takes at most.
const RECEIVE_BYTES: usize = 256 * 1024;

/// Bytes that one send takes at most, as clients send: the kernel copies them without letting another thread go first,
/// also one that measures latencies.
const SEND_BYTES_MAX: usize = 64 * 1024;

/// Longest head of an answer.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Longest body of an answer that is kept to be looked at: a page of 1,000 short keys, with room to spare.
const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A length that nothing has: the body comes in chunks, and ends with an empty one.
const IN_CHUNKS: usize = usize::MAX;

/// An answer that takes longer never comes.
const PATIENCE: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };

/// What came of some requests.
#[derive(Default)]
pub struct Outcome {
    /// Digest of what was asked and answered.
    pub work: u64,
    /// From the first byte that is sent to the last one that comes, of each request.
    pub latencies: Vec<Duration>,
}

pub struct Client {
    address: SocketAddr,
}

impl Client {
    pub fn new(address: SocketAddr) -> Self {
        Self { address }
    }

    pub fn connect(&self, count: usize) -> Result<Vec<Connection>, String> {
        (0..count)
            .map(|_| Connection::new(self.address).map_err(|error| format!("connect: {error}")))
            .collect()
    }

    /// Sends all requests over `connections` new connections. Returns the digest of what was done.
    pub fn run(&self, connections: usize, requests: &[Request]) -> Result<u64, String> {
        Ok(self.run_on(self.connect(connections.min(requests.len()))?, requests)?.work)
    }

    /// As [`Client::run`], over connections that are open already; each takes the next request when its last
    /// one was answered.
    pub fn run_on(&self, connections: Vec<Connection>, requests: &[Request]) -> Result<Outcome, String> {
        let mut outcome = Outcome { work: 0, latencies: Vec::with_capacity(requests.len()) };
        Self::drive(connections, requests.iter(), |done, latency| {
            outcome.work = outcome.work.wrapping_add(done.work);
            outcome.latencies.push(latency);
        })?;
        Ok(outcome)
    }

    /// Sends the requests over and over until `stop` is set, over new connections. Returns how many bytes of
    /// payload were moved.
    pub fn run_until(
        &self,
        connections: usize,
        requests: &[Request],
        stop: &AtomicBool,
    ) -> Result<u64, String> {
        let mut bytes = 0;
        let again = requests.iter().cycle().take_while(|_| !stop.load(Ordering::Relaxed));
        Self::drive(self.connect(connections)?, again, |done, _| bytes += done.payload_bytes)?;
        Ok(bytes)
    }

    fn drive<'r>(
        mut connections: Vec<Connection>,
        mut waiting: impl Iterator<Item = &'r Request>,
        mut done: impl FnMut(&Request, Duration),
    ) -> Result<(), String> {
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(|error| format!("epoll: {error}"))?;
        let mut busy = 0;
        let mut current: Vec<Option<&Request>> = Vec::with_capacity(connections.len());
        for (index, connection) in connections.iter_mut().enumerate() {
            let data = EventData::new_u64(index as u64);
            epoll::add(&epoll, &connection.stream, data, EventFlags::IN | EventFlags::OUT | EventFlags::ET)
                .map_err(|error| format!("epoll: {error}"))?;
            let first = waiting.next();
            if let Some(request) = first {
                connection.begin(request)?;
                busy += 1;
            }
            current.push(first);
        }
        let mut received = vec![0; RECEIVE_BYTES];
        let mut events = Vec::with_capacity(connections.len().max(1));
        while busy > 0 {
            events.clear();
            match epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), Some(&PATIENCE)) {
                Ok(0) => return Err("an answer does not come".to_owned()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(format!("epoll: {error}")),
            }
            for event in &events {
                let index = event.data.u64() as usize;
                let connection = &mut connections[index];
                while let Some(request) = current[index] {
                    if !connection.advance(request, &mut received)? {
                        break;
                    }
                    done(request, connection.begun.elapsed());
                    current[index] = waiting.next();
                    match current[index] {
                        Some(next) => connection.begin(next)?,
                        None => busy -= 1,
                    }
                }
            }
        }
        Ok(())
    }
}

/// A connection with at most one request under way.
pub struct Connection {
    stream: TcpStream,
    /// When the request began to be sent.
    begun: Instant,
    /// Bytes of the request that were sent, head and body.
    sent: usize,
    /// The answer's head as far as it came.
    head: Vec<u8>,
    /// Length of the answer's body, [`IN_CHUNKS`] if it comes so; known once the head was read.
    body_bytes: Option<usize>,
    body_received: usize,
    /// The body, if it cannot be compared as it comes.
    kept: Vec<u8>,
}

impl Connection {
    fn new(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream,
            begun: Instant::now(),
            sent: 0,
            head: Vec::new(),
            body_bytes: None,
            body_received: 0,
            kept: Vec::new(),
        })
    }

    /// Sends a request and waits for its answer.
    pub fn exchange(&mut self, request: &Request) -> Result<(), String> {
        let mut received = [0; HEAD_BYTES_MAX];
        self.begin(request)?;
        while !self.advance(request, &mut received)? {
            let flags = if self.sent < request.head.len() + request.body.len() {
                PollFlags::IN | PollFlags::OUT
            } else {
                PollFlags::IN
            };
            match poll(&mut [PollFd::new(&self.stream, flags)], Some(&PATIENCE)) {
                Ok(0) => return Err("an answer does not come".to_owned()),
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(format!("poll: {error}")),
            }
        }
        Ok(())
    }

    /// Starts to send a request.
    fn begin(&mut self, request: &Request) -> Result<(), String> {
        self.begun = Instant::now();
        self.sent = 0;
        self.head.clear();
        self.body_bytes = None;
        self.body_received = 0;
        self.kept.clear();
        self.send(request)
    }

    /// Sends what the socket takes.
    fn send(&mut self, request: &Request) -> Result<(), String> {
        let total = request.head.len() + request.body.len();
        while self.sent < total {
            let head = request.head.get(self.sent..).unwrap_or_default();
            let body = &request.body[self.sent.saturating_sub(request.head.len())..];
            let body = &body[..body.len().min(SEND_BYTES_MAX)];
            match self.stream.write_vectored(&[IoSlice::new(head), IoSlice::new(body)]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The answer that may be there already says why.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
                Err(error) => return Err(format!("send: {error}")),
            }
        }
        Ok(())
    }

    /// Sends and receives what can be. Whether the answer is complete; if it is, it is right.
    fn advance(&mut self, request: &Request, received: &mut [u8]) -> Result<bool, String> {
        self.send(request)?;
        loop {
            match self.stream.read(received) {
                Ok(0) => return Err("the server closed a connection".to_owned()),
                Ok(count) => {
                    if self.take(request, &received[..count])? {
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(format!("receive: {error}")),
            }
        }
    }

    /// Takes bytes of the answer.
    fn take(&mut self, request: &Request, mut bytes: &[u8]) -> Result<bool, String> {
        if self.body_bytes.is_none() {
            let before = self.head.len();
            self.head.extend_from_slice(bytes);
            let Some(end) = find(&self.head, b"\r\n\r\n").map(|at| at + 4) else {
                if self.head.len() > HEAD_BYTES_MAX {
                    return Err("the head of an answer does not end".to_owned());
                }
                return Ok(false);
            };
            bytes = &bytes[end - before..];
            self.head.truncate(end);
            self.body_bytes = Some(self.check_head(request)?);
        }
        let is_right = match &request.expected.body {
            ExpectedBody::Exactly(body) => {
                body.get(self.body_received..self.body_received + bytes.len()) == Some(bytes)
            }
            _ => {
                self.kept.extend_from_slice(bytes);
                self.kept.len() <= KEPT_BYTES_MAX
            }
        };
        self.body_received += bytes.len();
        if !is_right || Some(self.body_received) > self.body_bytes {
            return Err(format!("a wrong body answers {}", first_line(&request.head)));
        }
        if self.body_bytes == Some(IN_CHUNKS) {
            let Some(body) = joined(&self.kept) else { return Ok(false) };
            self.kept = body;
        } else if Some(self.body_received) < self.body_bytes {
            return Ok(false);
        }
        if let ExpectedBody::Listed { tag, names } = &request.expected.body {
            check_listing(&self.kept, tag, names)?;
        }
        if self.sent < request.head.len() + request.body.len() {
            return Err(format!("an answer came before the end of {}", first_line(&request.head)));
        }
        Ok(true)
    }

    /// Checks the answer's head; returns how long a body follows.
    fn check_head(&self, request: &Request) -> Result<usize, String> {
        let expected = &request.expected;
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut answer = httparse::Response::new(&mut headers);
        answer.parse(&self.head).map_err(|error| format!("an answer that is not HTTP: {error}"))?;
        let header = |name: &str| {
            let found = answer.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
            found.map(|header| String::from_utf8_lossy(header.value))
        };
        let wrong = |what: &str| {
            let head = String::from_utf8_lossy(&self.head);
            Err(format!("a wrong {what} answers {}:\n{head}", first_line(&request.head)))
        };
        let is_expected = match expected.status {
            Status::Exactly(status) => answer.code == Some(status),
            Status::Success => answer.code.is_some_and(|code| (200..300).contains(&code)),
        };
        if !is_expected {
            return wrong("status");
        }
        if expected.etag.is_some() && header("etag").as_deref() != expected.etag.as_deref() {
            return wrong("ETag");
        }
        let length = header("content-length").map(|text| text.parse::<usize>());
        match (&expected.body, length) {
            (ExpectedBody::Absent { bytes }, Some(Ok(length))) if length as u64 == *bytes => Ok(0),
            (ExpectedBody::Empty, None | Some(Ok(0))) => Ok(0),
            (ExpectedBody::Exactly(body), Some(Ok(length))) if length == body.len() => Ok(length),
            (ExpectedBody::Listed { .. }, Some(Ok(length))) if length > 0 => Ok(length),
            (ExpectedBody::Listed { .. }, None)
                if header("transfer-encoding").as_deref() == Some("chunked") =>
            {
                Ok(IN_CHUNKS)
            }
            _ => wrong("length"),
        }
    }
}

/// Checks that a listing has just these names behind `tag`.
fn check_listing(listing: &[u8], tag: &str, names: &[String]) -> Result<(), String> {
    let text = String::from_utf8_lossy(listing);
    let listed = text.split(tag).skip(1).map(|rest| rest.split("</").next().unwrap_or_default());
    if listed.eq(names.iter().map(String::as_str)) { Ok(()) } else { Err("a wrong listing".to_owned()) }
}

/// The body that came in chunks, if it is whole.
fn joined(mut chunks: &[u8]) -> Option<Vec<u8>> {
    if !chunks.ends_with(b"0\r\n\r\n") {
        return None;
    }
    let mut body = Vec::with_capacity(chunks.len());
    loop {
        let end = find(chunks, b"\r\n")?;
        let bytes = usize::from_str_radix(std::str::from_utf8(&chunks[..end]).ok()?, 16).ok()?;
        if bytes == 0 {
            return Some(body);
        }
        let rest = &chunks[end + 2..];
        body.extend_from_slice(rest.get(..bytes)?);
        chunks = rest.get(bytes + 2..)?;
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

fn first_line(head: &[u8]) -> String {
    let end = find(head, b"\r\n").unwrap_or(head.len());
    String::from_utf8_lossy(&head[..end]).into_owned()
}
