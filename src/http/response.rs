//! Responses: a status, a block of header lines and a body of known length.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

use super::date::IMF_FIXDATE_BYTES;
use crate::io::Chunk;

/// A response on its way to the connection, which adds `Date`, `Content-Length` and `Connection`.
pub struct Response {
    pub status: u16,
    /// Serialised header lines, each ended by CR LF.
    pub headers: Vec<u8>,
    pub body: ResponseBody,
    /// Close the connection after this response.
    pub close: bool,
    /// Who wants to know when the connection is done with it.
    pub ended: Option<Box<dyn Ended>>,
}

/// Hears of the end of a response. One that is dropped unheard was never sent.
pub trait Ended {
    fn ended(self: Box<Self>, exchange: Exchange);
}

/// What a connection knows of a request and its response when both are over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exchange {
    /// Bytes of the request's body that were received, without its transfer framing.
    pub bytes_received: u64,
    /// Bytes of the response's body that were sent.
    pub bytes_sent: u64,
    /// Whether the response was sent to its end.
    pub is_whole: bool,
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
    fn next(&mut self) -> SourceFuture<'_>;
}

/// What [`Source::next`] returns.
pub type SourceFuture<'a> = Pin<Box<dyn Future<Output = Option<Result<Chunk, SourceError>>> + 'a>>;

/// A body could not be produced to its end; the text is for the log.
#[derive(Debug)]
pub struct SourceError(pub String);

impl Response {
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: ResponseBody::Empty, close: false, ended: None }
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

/// What becomes of the connection after a response, as its head says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persistence {
    /// Nothing to say: HTTP/1.1 goes on.
    Implied,
    /// HTTP/1.0 goes on because the client asked for it.
    KeepAlive,
    Close,
}

impl Response {
    /// The value of `Content-Length`; `None` where the status forbids the header (RFC 9110, section 8.6) or,
    /// for 304, nothing is known.
    pub fn content_length(&self) -> Option<u64> {
        match (&self.body, self.status) {
            (_, 100..200 | 204) | (ResponseBody::Empty, 304) => None,
            (ResponseBody::Empty, _) => Some(0),
            (ResponseBody::Absent { bytes } | ResponseBody::Stream { bytes, .. }, _) => Some(*bytes),
            (ResponseBody::Bytes(bytes), _) => Some(bytes.len() as u64),
        }
    }

    /// Whether a response with this status may carry a body at all (RFC 9110, section 6.4.1).
    pub fn may_have_body(&self) -> bool {
        !matches!(self.status, 100..200 | 204 | 304)
    }

    /// Appends the head: status line, the connection's headers, the response's own, the empty line.
    pub fn write_head(&self, out: &mut Vec<u8>, date: &[u8; IMF_FIXDATE_BYTES], persistence: Persistence) {
        let reason = reason(self.status);
        out.reserve(reason.len() + self.headers.len() + 160);
        out.extend_from_slice(b"HTTP/1.1 ");
        write_number(out, u64::from(self.status));
        out.push(b' ');
        out.extend_from_slice(reason.as_bytes());
        out.extend_from_slice(b"\r\nDate: ");
        out.extend_from_slice(date);
        out.extend_from_slice(b"\r\nServer: ringcask\r\n");
        if let Some(length) = self.content_length() {
            out.extend_from_slice(b"Content-Length: ");
            write_number(out, length);
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(match persistence {
            Persistence::Implied => b"",
            Persistence::KeepAlive => b"Connection: keep-alive\r\n",
            Persistence::Close => b"Connection: close\r\n",
        });
        out.extend_from_slice(&self.headers);
        out.extend_from_slice(b"\r\n");
    }
}

/// Appends a number in decimal digits, without allocating.
fn write_number(out: &mut Vec<u8>, mut number: u64) {
    // 2^64 has twenty digits.
    let mut digits = [0; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[start..]);
}

/// The reason phrase of a status that S3 uses (RFC 9110, section 15); empty for others.
fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(response: &Response, persistence: Persistence) -> String {
        let mut out = Vec::new();
        response.write_head(&mut out, b"Sun, 06 Nov 1994 08:49:37 GMT", persistence);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_head_says_length_date_and_what_becomes_of_the_connection() {
        let response = Response::new(200).with_header("ETag", "\"x\"").with_body("hello");
        let text = head(&response, Persistence::Implied);
        assert_eq!(
            text,
            "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: ringcask\r\n\
             Content-Length: 5\r\nETag: \"x\"\r\n\r\n"
        );
        assert!(head(&response, Persistence::Close).contains("\r\nConnection: close\r\n"));
        assert!(head(&response, Persistence::KeepAlive).contains("\r\nConnection: keep-alive\r\n"));
    }

    #[test]
    fn statuses_without_a_body_have_no_length() {
        assert!(!head(&Response::new(204), Persistence::Implied).contains("Length"));
        assert!(!head(&Response::new(304), Persistence::Implied).contains("Length"));
        assert!(head(&Response::new(403), Persistence::Implied).contains("Content-Length: 0\r\n"));
        let absent = Response { body: ResponseBody::Absent { bytes: u64::MAX }, ..Response::new(200) };
        assert!(head(&absent, Persistence::Implied).contains("Content-Length: 18446744073709551615\r\n"));
    }

    #[test]
    fn a_value_never_forges_a_line() {
        let response = Response::new(200).with_header("x-amz-meta-a", "b\r\nSet-Cookie: c\0");
        assert!(head(&response, Persistence::Implied).contains("x-amz-meta-a: b  Set-Cookie: c \r\n\r\n"));
    }
}
