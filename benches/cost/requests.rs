//! Requests made and signed ahead of time, each with the answer that must come.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::SystemTime;

use ringcask::auth::sign::{Credentials, presign_v4, sign_v4};
use ringcask::hash;
use ringcask::http::Head;

/// Seconds that presigned URLs live: longer than any run.
const PRESIGNED_SECONDS: u64 = 86_400;

/// Payload of a signed chunk, as the common clients cut it.
const CHUNK_BYTES: usize = 64 * 1024;

/// What stands before each name of a listing.
pub const KEY: &str = "<Key>";
pub const COMMON_PREFIX: &str = "<CommonPrefixes><Prefix>";

/// A request, byte for byte, and what must come back.
pub struct Request {
    pub head: Vec<u8>,
    pub body: Rc<[u8]>,
    pub expected: Expected,
    /// Bytes of the object that are moved, in either direction.
    pub payload_bytes: u64,
    /// Digest of what is asked and answered; those of all requests add up to the digest of a run.
    pub work: u64,
}

/// The answer that must come.
pub struct Expected {
    pub status: Status,
    /// `ETag` must be this, with quotes.
    pub etag: Option<String>,
    pub body: ExpectedBody,
}

#[derive(Clone, Copy)]
pub enum Status {
    Exactly(u16),
    /// Any of success.
    Success,
}

pub enum ExpectedBody {
    Empty,
    /// The answer to HEAD: a length, and no body.
    Absent {
        bytes: u64,
    },
    Exactly(Rc<[u8]>),
    /// A listing of just these names in this order, each behind `tag`.
    Listed {
        tag: &'static str,
        names: Vec<String>,
    },
}

/// A server, and how to talk to it.
pub struct Target {
    pub address: SocketAddr,
    pub access_key_id: String,
    pub secret: String,
    pub region: String,
    pub bucket: String,
    /// A web server that takes files by PUT and knows nothing of S3.
    pub is_file_server: bool,
    /// Whether `ETag` must be the MD5 of the body.
    pub etags_are_checked: bool,
}

/// Makes requests to one server.
pub struct Maker {
    target: Target,
    host: String,
    now_ms: u64,
}

/// How a request shows who sends it.
#[derive(Clone, Copy)]
pub enum Signed {
    Header,
    Query,
}

impl Maker {
    pub fn new(target: Target) -> Self {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self { host: target.address.to_string(), target, now_ms: now.as_millis() as u64 }
    }

    /// The bucket of the workloads.
    pub fn bucket(&self) -> &str {
        &self.target.bucket
    }

    pub fn create_bucket(&self, bucket: &str) -> Request {
        self.request("PUT", &format!("/{bucket}"), None, Signed::Header, Expected::status(200), None)
    }

    pub fn get(&self, key: &str, body: &Rc<[u8]>, signed: Signed) -> Request {
        let expected = Expected { body: ExpectedBody::Exactly(body.clone()), ..Expected::object(body) };
        self.request("GET", key, None, signed, expected, None)
    }

    pub fn head(&self, key: &str, body: &[u8], signed: Signed) -> Request {
        let bytes = body.len() as u64;
        let expected = Expected { body: ExpectedBody::Absent { bytes }, ..Expected::object(body) };
        self.request("HEAD", key, None, signed, expected, None)
    }

    pub fn put(&self, key: &str, body: &Rc<[u8]>) -> Request {
        self.request("PUT", key, None, Signed::Header, Expected::object(body), Some(body.clone()))
    }

    /// A PUT that asks for encryption under the node's key, after which the ETag is still the MD5.
    pub fn put_encrypted(&self, key: &str, body: &Rc<[u8]>) -> Request {
        let mut head = self.head_of("PUT", key, None);
        head.headers.push(("x-amz-server-side-encryption".to_owned(), b"AES256".to_vec()));
        sign_v4(&mut head, self.credentials(), self.now_ms, "UNSIGNED-PAYLOAD");
        self.finish(&head, body.clone(), Expected::object(body))
    }

    pub fn delete(&self, key: &str) -> Request {
        self.request("DELETE", key, None, Signed::Header, Expected::status(204), None)
    }

    /// A page of a listing: the keys after `after`.
    pub fn list(&self, bucket: &str, after: &str, keys: Vec<String>) -> Request {
        let query = format!("list-type=2&max-keys={}&start-after={}", keys.len(), after.replace('/', "%2F"));
        self.list_by(bucket, query, KEY, keys)
    }

    /// Any listing: its answer must have just these `names` behind `tag`.
    pub fn list_by(&self, bucket: &str, query: String, tag: &'static str, names: Vec<String>) -> Request {
        let expected = Expected { body: ExpectedBody::Listed { tag, names }, ..Expected::status(200) };
        self.request("GET", &format!("/{bucket}"), Some(query), Signed::Query, expected, None)
    }

    /// A PUT whose body comes in chunks that are signed one by one.
    pub fn put_signed_chunks(&self, key: &str, body: &Rc<[u8]>) -> Request {
        let mut head = self.head_of("PUT", key, None);
        head.headers.push(("content-encoding".to_owned(), b"aws-chunked".to_vec()));
        head.headers.push(("x-amz-decoded-content-length".to_owned(), body.len().to_string().into_bytes()));
        let mut signer =
            sign_v4(&mut head, self.credentials(), self.now_ms, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
        let mut framed = Vec::with_capacity(body.len() + (body.len() / CHUNK_BYTES + 2) * 100);
        for chunk in body.chunks(CHUNK_BYTES).chain([&[][..]]) {
            let signature = signer.sign_chunk(&hash::sha256(chunk));
            framed.extend_from_slice(format!("{:x};chunk-signature=", chunk.len()).as_bytes());
            framed.extend_from_slice(&signature);
            framed.extend_from_slice(b"\r\n");
            framed.extend_from_slice(chunk);
            framed.extend_from_slice(b"\r\n");
        }
        let bytes = body.len() as u64;
        Request { payload_bytes: bytes, ..self.finish(&head, framed.into(), Expected::object(body)) }
    }

    fn request(
        &self,
        method: &str,
        path: &str,
        query: Option<String>,
        signed: Signed,
        expected: Expected,
        body: Option<Rc<[u8]>>,
    ) -> Request {
        let mut head = self.head_of(method, path, query);
        match signed {
            _ if self.target.is_file_server => {}
            Signed::Query => presign_v4(&mut head, self.credentials(), self.now_ms, PRESIGNED_SECONDS),
            Signed::Header => {
                sign_v4(&mut head, self.credentials(), self.now_ms, "UNSIGNED-PAYLOAD");
            }
        }
        self.finish(&head, body.unwrap_or_default(), expected)
    }

    fn head_of(&self, method: &str, path: &str, query: Option<String>) -> Head {
        Head {
            method: method.to_owned(),
            path: path.to_owned(),
            query,
            headers: vec![("host".to_owned(), self.host.clone().into_bytes())],
            version_minor: 1,
        }
    }

    fn credentials(&self) -> Credentials<'_> {
        Credentials {
            id: &self.target.access_key_id,
            secret: &self.target.secret,
            region: &self.target.region,
        }
    }

    /// Serialises a signed head, and foresees the digest of the work: of what S3 would answer, so that it is the
    /// same at every server.
    fn finish(&self, head: &Head, body: Rc<[u8]>, mut expected: Expected) -> Request {
        let (bytes, work, payload_bytes) = serialize(head, &body, &expected);
        if self.target.is_file_server {
            expected.status = Status::Success;
        }
        if self.target.is_file_server || !self.target.etags_are_checked {
            expected.etag = None;
        }
        Request { head: bytes, body, expected, payload_bytes, work }
    }
}

impl Expected {
    fn status(status: u16) -> Self {
        Self { status: Status::Exactly(status), etag: None, body: ExpectedBody::Empty }
    }

    /// The answer about an object that was put whole.
    fn object(body: &[u8]) -> Self {
        Self { etag: Some(etag(body)), ..Self::status(200) }
    }
}

/// The head as bytes, the digest of the work, and the bytes of payload.
fn serialize(head: &Head, body: &[u8], expected: &Expected) -> (Vec<u8>, u64, u64) {
    let mut bytes = format!("{} {}", head.method, head.path).into_bytes();
    let mut work = bytes.clone();
    if let Some(query) = &head.query {
        bytes.push(b'?');
        bytes.extend_from_slice(query.as_bytes());
    }
    bytes.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in &head.headers {
        bytes.extend_from_slice(format!("{name}: ").as_bytes());
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(b"\r\n");
    }
    if head.method == "PUT" {
        bytes.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");

    if let Status::Exactly(status) = expected.status {
        work.extend_from_slice(&status.to_be_bytes());
    }
    work.extend_from_slice(expected.etag.as_deref().unwrap_or_default().as_bytes());
    let mut payload_bytes = body.len() as u64;
    match &expected.body {
        ExpectedBody::Exactly(body) => payload_bytes = body.len() as u64,
        ExpectedBody::Listed { names, .. } => work.extend_from_slice(names.join("\n").as_bytes()),
        ExpectedBody::Empty | ExpectedBody::Absent { .. } => {}
    }
    let digest = hash::sha256(&work);
    let work = digest[..8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
    (bytes, work, payload_bytes)
}

/// `ETag` of an object that was put whole.
fn etag(body: &[u8]) -> String {
    let hex: String = hash::md5(body).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("\"{hex}\"")
}

/// Bytes that look random, the same for the same seed (SplitMix64).
pub fn content(seed: u64, bytes: usize) -> Rc<[u8]> {
    let mut state = seed.wrapping_mul(0x2545_f491_4f6c_dd1d);
    let mut content = Vec::with_capacity(bytes + 8);
    while content.len() < bytes {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        content.extend_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes());
    }
    content.truncate(bytes);
    content.into()
}
