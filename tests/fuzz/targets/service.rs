//! The whole protocol: requests to a node of one core on a simulated machine. Whatever is asked is answered with
//! a well-formed response, the same however the bodies arrive in pieces, and nobody without a key gets anything.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use ringcask::auth::directory::{AccessKey, Directory, Identities, Operator, User};
use ringcask::auth::sign::{Credentials, sign_v4};
use ringcask::base::secret::Secret;
use ringcask::crypt::{Key, MasterKey};
use ringcask::engine::{Engine, Mesh, Message, Options, Reply, prepare};
use ringcask::hash;
use ringcask::http::{BodyFraming, Framing, Head, ResponseBody};
use ringcask::io::sim::{SimHost, Simulation};
use ringcask::io::{Buffer, Host};
use ringcask::net::{BodyError, Peer};
use ringcask::s3::body::Incoming;
use ringcask::s3::service::{S3Service, Settings};
use ringcask::s3::{NewBuckets, xml};

use super::{Random, request};

const PEER: Peer =
    Peer { address: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 50_000), tls: None };
const REQUESTS_MAX: usize = 8;

/// What is there before the first request: a bucket, one with versions, and an object in each.
const SETUP: [&str; 4] = [
    "PUT /bucket\nx-as: root\n\n",
    "PUT /locked\nx-as: root\nx-amz-bucket-object-lock-enabled: true\n\n",
    "PUT /bucket/a/b\nx-as: root\ncontent-type: text/plain\nx-amz-tagging: k=v\n\ncontent",
    "PUT /locked/a\nx-as: root\n\nfirst",
];

/// Requests, with lines `====` between them: method and target, headers, an empty line, the body. A header
/// `x-as` says who signs; `{uploadId}` and `{versionId}` stand for the last ones that an answer named.
pub fn run(data: &[u8]) {
    let requests: Vec<&[u8]> = split(data, b"\n====\n").into_iter().take(REQUESTS_MAX).collect();
    // What cannot be read at all is not worth a machine.
    if !requests.iter().any(|request| parse(request, "", "").is_some()) {
        return;
    }
    let whole = Node::start().answer_all(&requests, || usize::MAX);
    let mut random = Random::of(data);
    let pieces = Node::start().answer_all(&requests, || random.piece());
    for ((request, whole), pieces) in requests.iter().zip(&whole).zip(&pieces) {
        let request = String::from_utf8_lossy(request);
        assert_eq!(whole.summary(), pieces.summary(), "in pieces {request} is answered otherwise");
    }
    let mut is_anybody_known = false;
    for answer in whole.iter().flatten() {
        is_anybody_known |= answer.is_signed;
        assert!(is_anybody_known || answer.status >= 400, "nobody signed anything, and got {answer:?}");
    }
}

fn split<'a>(data: &'a [u8], separator: &[u8]) -> Vec<&'a [u8]> {
    let (mut parts, mut rest) = (Vec::new(), data);
    while let Some(at) = rest.windows(separator.len()).position(|window| window == separator) {
        parts.push(&rest[..at]);
        rest = &rest[at + separator.len()..];
    }
    parts.push(rest);
    parts
}

#[derive(Debug)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// Whether somebody with a key asked.
    is_signed: bool,
}

trait Summary {
    fn summary(&self) -> Option<(u16, Vec<u8>)>;
}

impl Summary for Option<Answer> {
    /// What does not depend on when things happened: the status, and the code of an error or an object's bytes.
    fn summary(&self) -> Option<(u16, Vec<u8>)> {
        let answer = self.as_ref()?;
        let is_document = answer.body.starts_with(b"<?xml");
        let body = match xml::parse(&answer.body, "Error") {
            Ok(error) => error.child_text("Code").unwrap_or_default().as_bytes().to_vec(),
            Err(_) if is_document => Vec::new(),
            Err(_) => answer.body.clone(),
        };
        Some((answer.status, body))
    }
}

/// Head and body of a request, and who signs it.
fn parse(text: &[u8], upload: &str, version: &str) -> Option<(Head, Vec<u8>, Option<String>)> {
    let (mut head, body) = match text.windows(2).position(|pair| pair == b"\n\n") {
        Some(end) => (text[..end].to_vec(), text[end + 2..].to_vec()),
        None => (text.to_vec(), Vec::new()),
    };
    for (name, value) in [("{uploadId}", upload), ("{versionId}", version)] {
        if let Some(at) = head.windows(name.len()).position(|window| window == name.as_bytes()) {
            head.splice(at..at + name.len(), value.bytes());
        }
    }
    let mut head = request::head(&head)?;
    let who = head.text("x-as").map(str::to_owned);
    head.headers.retain(|(name, _)| name != "x-as");
    Some((head, body, who))
}

struct Node {
    service: S3Service<SimHost>,
    simulation: Simulation,
}

impl Node {
    fn start() -> Self {
        let simulation = Simulation::new(1);
        let host = simulation.host_with_arena(1, 4 << 20);
        let options = Options {
            log_segment_bytes: 1 << 20,
            data_segment_bytes: 4 << 20,
            checkpoint_log_bytes: 1 << 20,
            cache_bytes: 64 << 10,
            ..Options::default()
        };
        let engine = simulation.block_on(async {
            let shared = prepare(&host, 1, false).await.expect("an empty drive");
            let engine = Engine::new(host.clone(), Rc::new(Alone), shared, options);
            engine.recover().await.expect("an empty drive");
            engine
        });
        let settings = Settings {
            domains: vec!["s3.example.com".to_owned()],
            new_buckets: NewBuckets::Acl,
            sse_c_over_http: true,
            ..Settings::default()
        };
        let people = People::new(&settings);
        let master = Arc::new(MasterKey::new(Key::new([42; 32])));
        let service = S3Service::new(engine, settings, people).with_master_key(master);
        let node = Self { service, simulation };
        for answer in node.answer_all(&SETUP.map(str::as_bytes), || usize::MAX) {
            assert_eq!(answer.expect("a request").status, 200);
        }
        node
    }

    fn answer_all(&self, requests: &[&[u8]], mut piece: impl FnMut() -> usize) -> Vec<Option<Answer>> {
        let (mut upload, mut version) = (String::new(), String::new());
        let mut answers = Vec::new();
        for text in requests {
            let Some((head, body, who)) = parse(text, &upload, &version) else {
                answers.push(None);
                continue;
            };
            let answer = self.answer(head, body, who.as_deref(), &mut piece);
            let named = |name: &str| answer.headers.iter().find(|(have, _)| have == name);
            if let Some((_, value)) = named("x-amz-version-id") {
                version = value.clone();
            }
            if let Ok(made) = xml::parse(&answer.body, "InitiateMultipartUploadResult") {
                upload = made.child_text("UploadId").unwrap_or_default().to_owned();
            }
            answers.push(Some(answer));
        }
        answers
    }

    fn answer(
        &self,
        mut head: Head,
        mut body: Vec<u8>,
        who: Option<&str>,
        piece: &mut dyn FnMut() -> usize,
    ) -> Answer {
        let now = self.service.engine().host().now();
        if let Some(id) = who {
            let payload = head.text("x-amz-content-sha256").unwrap_or("UNSIGNED-PAYLOAD").to_owned();
            let credentials = Credentials { id, secret: "secret", region: "us-east-1" };
            let mut chunks = sign_v4(&mut head, credentials, now, &payload);
            if payload.starts_with("STREAMING-AWS4-HMAC") {
                body = framed(&body, &mut chunks, payload.ends_with("TRAILER"));
            }
        }
        let has_length =
            ["content-length", "transfer-encoding"].iter().any(|name| head.header(name).is_some());
        if !has_length && (!body.is_empty() || matches!(head.method.as_str(), "PUT" | "POST")) {
            head.headers.push(("content-length".to_owned(), body.len().to_string().into_bytes()));
        }
        let is_form = head.header("content-type").is_some_and(|value| value.starts_with(b"multipart/"));
        let is_signed = who.is_some() || is_form;
        let is_head = head.method == "HEAD";
        let announced = match Framing::of(&head).map(|framing| framing.body) {
            Ok(BodyFraming::Length(bytes)) => Some(bytes),
            Ok(BodyFraming::Chunked) => None,
            _ => Some(0),
        };
        let is_whole = announced.is_none_or(|bytes| bytes <= body.len() as u64);
        body.truncate(announced.and_then(|bytes| bytes.try_into().ok()).unwrap_or(usize::MAX));
        let mut body = Pieces { rest: &body, is_whole, piece };
        self.simulation.block_on(async {
            let response = self.service.respond(head, &mut body, PEER).await;
            let mut body = Vec::new();
            match response.body {
                ResponseBody::Empty | ResponseBody::Absent { .. } => {}
                ResponseBody::Bytes(bytes) => body.extend_from_slice(&bytes),
                ResponseBody::Stream { bytes, mut source } => {
                    while let Some(chunk) = source.next().await {
                        body.extend_from_slice(&chunk.expect("a drive that reads"));
                    }
                    assert_eq!(body.len() as u64, bytes, "the announced length");
                }
            }
            let answer =
                Answer { status: response.status, headers: lines(&response.headers), body, is_signed };
            assert!((200..600).contains(&answer.status));
            assert!(!is_head || answer.body.is_empty(), "a HEAD has no body");
            if answer.body.starts_with(b"<?xml") {
                let root = answer.body.split(|byte| *byte == b'<').nth(2).unwrap_or_default();
                let root = root.split(|byte| b" >/".contains(byte)).next().unwrap_or_default();
                let root = std::str::from_utf8(root).expect("a name");
                assert!(xml::parse(&answer.body, root).is_ok(), "{}", String::from_utf8_lossy(&answer.body));
            }
            answer
        })
    }
}

/// The lines of a response's head. Nothing that a client sent may make one of them.
fn lines(headers: &[u8]) -> Vec<(String, String)> {
    let text = headers.strip_suffix(b"\r\n").unwrap_or(headers);
    let mut lines = Vec::new();
    for line in split(text, b"\r\n").into_iter().filter(|line| !line.is_empty()) {
        let colon = line.iter().position(|byte| *byte == b':').expect("a header has a colon");
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        assert!(name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-'), "{line:?}");
        assert!(!value.iter().any(|byte| b"\r\n\0".contains(byte)), "{line:?}");
        let value = String::from_utf8_lossy(value).trim().to_owned();
        lines.push((String::from_utf8_lossy(name).to_ascii_lowercase(), value));
    }
    lines
}

/// A body in two signed chunks.
fn framed(body: &[u8], chunks: &mut ringcask::auth::ChunkSigner, has_trailer: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let (first, second) = body.split_at(body.len() / 2);
    for chunk in [first, second, b""] {
        if chunk.is_empty() && !out.is_empty() && !body.is_empty() && chunk.as_ptr() == second.as_ptr() {
            continue;
        }
        let signature = chunks.sign_chunk(&hash::sha256(chunk));
        let signature = String::from_utf8_lossy(&signature).into_owned();
        out.extend_from_slice(format!("{:x};chunk-signature={signature}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        if chunk.is_empty() {
            break;
        }
        out.extend_from_slice(b"\r\n");
    }
    if has_trailer {
        let signature = chunks.sign_trailer(&[]);
        let signature = String::from_utf8_lossy(&signature).into_owned();
        out.extend_from_slice(format!("x-amz-trailer-signature:{signature}\r\n").as_bytes());
    }
    out.extend_from_slice(b"\r\n");
    out
}

struct Pieces<'a> {
    rest: &'a [u8],
    /// Whether the connection lives until the body ends.
    is_whole: bool,
    piece: &'a mut dyn FnMut() -> usize,
}

impl Incoming for Pieces<'_> {
    async fn read(&mut self, mut buffer: Buffer, limit: usize) -> (Result<usize, BodyError>, Buffer) {
        let most = limit.min((self.piece)());
        let count = buffer.append(&self.rest[..self.rest.len().min(most)]);
        self.rest = &self.rest[count..];
        let result = if count == 0 && !self.is_whole { Err(BodyError::Incomplete) } else { Ok(count) };
        (result, buffer)
    }
}

struct Alone;

impl Mesh for Alone {
    fn cores(&self) -> usize {
        1
    }

    fn me(&self) -> usize {
        0
    }

    fn call(&self, _: usize, _: Message) -> Pin<Box<dyn Future<Output = Reply>>> {
        Box::pin(async { Reply::stopping() })
    }
}

/// The operator `root`, a user `reader` that may read, and a user `plain` that may nothing.
struct People(Rc<Directory>);

impl People {
    fn new(settings: &Settings) -> Rc<Self> {
        let operator = Operator {
            account_id: settings.account_id.clone(),
            canonical_id: settings.owner_id.clone(),
            name: settings.owner_name.clone(),
            access_key_id: "root".to_owned(),
            secret: Secret::new("secret"),
        };
        let seal = |_: &[u8], secret: &[u8]| secret.to_vec();
        let open = |_: &[u8], sealed: &[u8]| String::from_utf8(sealed.to_vec()).ok().map(Secret::new);
        let users = [("plain", None), ("reader", Some("AmazonS3ReadOnlyAccess"))].map(|(name, policy)| {
            let key = AccessKey {
                id: name.to_owned(),
                secret: Secret::new("secret"),
                is_active: true,
                created: 0,
                rotated: None,
            };
            let user = User {
                account_id: settings.account_id.clone(),
                name: name.to_owned(),
                id: format!("AIDA{name}"),
                created: 0,
                groups: Vec::new(),
                policies: policy.into_iter().map(str::to_owned).collect(),
                keys: vec![key],
            };
            (User::entry_name(&user.account_id, name), Arc::from(user.encode(&seal)))
        });
        let users = users.iter().map(|(name, value)| (name, value));
        let directory = Directory::build(None, &operator, users, &open).expect("entries as they are written");
        Rc::new(Self(Rc::new(directory)))
    }
}

impl Identities for People {
    fn directory(&self) -> Rc<Directory> {
        self.0.clone()
    }
}
