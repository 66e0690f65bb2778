//! A small S3 client on [`Connection`](crate::http::Connection): requests as they stand on the wire.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::ClientConfig;

use crate::http::{Connection, Response};
use crate::sign::{self, Credentials};

/// A request before it is sent; everything in it goes out as it is.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Path and query as they are sent.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn new(method: &str, target: &str) -> Self {
        Self { method: method.to_owned(), target: target.to_owned(), headers: Vec::new(), body: Vec::new() }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// The text of the head. `Content-Length` is added where there is a body, or a method that has one.
    pub fn head(&self) -> Vec<u8> {
        let mut text = format!("{} {} HTTP/1.1\r\n", self.method, self.target);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        let has_length = self.get("Content-Length").is_some() || self.get("Transfer-Encoding").is_some();
        if !has_length && (!self.body.is_empty() || self.method == "PUT" || self.method == "POST") {
            text.push_str(&format!("Content-Length: {}\r\n", self.body.len()));
        }
        text.push_str("\r\n");
        text.into_bytes()
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = self.head();
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// One connection, kept open, and the credentials to sign with.
pub struct Client {
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    connection: Option<Connection>,
    pub credentials: Credentials,
}

impl Client {
    pub fn new(address: SocketAddr, credentials: Credentials) -> Self {
        Self { address, tls: None, connection: None, credentials }
    }

    /// The same client over https, to a server that is called localhost.
    pub fn with_tls(self, config: Arc<ClientConfig>) -> Self {
        Self { tls: Some(config), ..self }
    }

    /// Ends the connection; the next request opens another.
    pub fn reconnect(&mut self) {
        self.connection = None;
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The open connection, opened if need be.
    pub fn connection(&mut self) -> io::Result<&mut Connection> {
        if self.connection.is_none() {
            self.connection = Some(match &self.tls {
                Some(config) => Connection::open_tls(self.address, "localhost", config.clone())?,
                None => Connection::open(self.address)?,
            });
        }
        Ok(self.connection.as_mut().expect("just opened"))
    }

    /// Adds `Host` and signs (SigV4).
    pub fn sign(&self, mut request: Request) -> Request {
        if request.get("Host").is_none() {
            request.headers.insert(0, ("Host".to_owned(), self.address.to_string()));
        }
        sign::v4(&mut request, &self.credentials);
        request
    }

    /// Signs, sends, receives. An error of the connection closes it.
    pub fn try_send(&mut self, request: Request) -> io::Result<Response> {
        let request = self.sign(request);
        self.try_send_as_is(&request)
    }

    pub fn try_send_as_is(&mut self, request: &Request) -> io::Result<Response> {
        let to_head = request.method == "HEAD";
        let result = (|| {
            let connection = self.connection()?;
            connection.send(&request.bytes())?;
            connection.receive(to_head)
        })();
        let closes = result.as_ref().map_or(true, |response| {
            response.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
        });
        if closes {
            self.connection = None;
        }
        result
    }

    #[track_caller]
    pub fn send(&mut self, request: Request) -> Response {
        self.try_send(request).unwrap()
    }

    #[track_caller]
    pub fn put_bucket(&mut self, bucket: &str) {
        self.send(Request::new("PUT", &format!("/{bucket}"))).expect(200);
    }

    #[track_caller]
    pub fn put(&mut self, bucket: &str, key: &str, body: &[u8]) -> Response {
        self.send(Request::new("PUT", &target(bucket, key)).body(body))
    }

    #[track_caller]
    pub fn get(&mut self, bucket: &str, key: &str) -> Response {
        self.send(Request::new("GET", &target(bucket, key)))
    }

    #[track_caller]
    pub fn head(&mut self, bucket: &str, key: &str) -> Response {
        self.send(Request::new("HEAD", &target(bucket, key)))
    }

    #[track_caller]
    pub fn delete(&mut self, bucket: &str, key: &str) -> Response {
        self.send(Request::new("DELETE", &target(bucket, key)))
    }

    /// Starts a multipart upload and returns its id.
    #[track_caller]
    pub fn create_upload(&mut self, bucket: &str, key: &str) -> String {
        let created =
            self.send(Request::new("POST", &format!("{}?uploads", target(bucket, key)))).expect(200);
        created.element("UploadId").unwrap()
    }

    /// Uploads a part and returns its ETag.
    #[track_caller]
    pub fn put_part(&mut self, bucket: &str, key: &str, upload: &str, number: usize, body: &[u8]) -> String {
        let target = format!("{}?partNumber={number}&uploadId={}", target(bucket, key), encode(upload));
        self.send(Request::new("PUT", &target).body(body)).expect(200).header("ETag").unwrap().to_owned()
    }
}

/// The request that completes an upload of the parts with these ETags.
pub fn complete_upload(bucket: &str, key: &str, upload: &str, etags: &[String]) -> Request {
    let parts: String = etags
        .iter()
        .enumerate()
        .map(|(index, etag)| {
            format!(
                "<Part><PartNumber>{}</PartNumber><ETag>{}</ETag></Part>",
                index + 1,
                etag.replace('"', "&quot;")
            )
        })
        .collect();
    let body = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
    Request::new("POST", &format!("{}?uploadId={}", target(bucket, key), encode(upload))).body(body)
}

/// Path of an object, percent-encoded as AWS signs it.
pub fn target(bucket: &str, key: &str) -> String {
    format!("/{bucket}/{}", encode(key).replace("%2F", "/"))
}

/// AWS's percent-encoding: everything but letters, digits and `-._~`.
pub fn encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => (byte as char).to_string(),
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
