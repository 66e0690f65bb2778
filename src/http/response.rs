//! Responses: a status, a block of header lines and a body of known length.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

use crate::io::Chunk;

/// A response on its way to the connection, which adds `Date`, `Content-Length` and `Connection`.
pub struct Response {
    pub status: u16,
    /// Serialised header lines, each ended by CR LF.
    pub headers: Vec<u8>,
    pub body: ResponseBody,
    /// Close the connection after this response.
    pub close: bool,
}

/// The payload of a response.
pub enum ResponseBody {
    /// No body; `Content-Length: 0` is sent unless the status forbids it (1xx, 204, 304).
    Empty,
    /// No body is sent, but its length is: the answer to HEAD.
    Absent {
        bytes: u64,
    },
    Bytes(Bytes),
    /// `bytes` in all, pulled from `source`.
    Stream {
        bytes: u64,
        source: Box<dyn Source>,
    },
}

/// Where a streamed body comes from.
pub trait Source {
    /// The next run of bytes; `None` at the end. After an error the connection is cut, so that the client
    /// sees that the body is incomplete.
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Option<Result<Chunk, SourceError>>> + '_>>;
}

/// A body could not be produced to its end; the text is for the log.
#[derive(Debug)]
pub struct SourceError(pub String);

impl Response {
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: ResponseBody::Empty, close: false }
    }

    /// Appends a header line. CR, LF and NUL in the value become spaces: a stored value never forges a line.
    pub fn header(&mut self, name: &str, value: impl AsRef<[u8]>) -> &mut Self {
        self.headers.extend_from_slice(name.as_bytes());
        self.headers.extend_from_slice(b": ");
        let clean =
            value.as_ref().iter().map(|byte| if matches!(byte, b'\r' | b'\n' | 0) { b' ' } else { *byte });
        self.headers.extend(clean);
        self.headers.extend_from_slice(b"\r\n");
        self
    }

    pub fn with_header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.header(name, value);
        self
    }

    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = ResponseBody::Bytes(body.into());
        self
    }
}
