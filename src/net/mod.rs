//! Connections: reading requests, timeouts, writing responses. Knows no S3.

use std::future::Future;
use std::net::SocketAddr;

use crate::http::{Head, Response};
use crate::io::Buffer;

/// What answers requests.
pub trait Service: 'static {
    /// Answers one request. It may read the body or not; what it leaves unread is drained within a bound or
    /// the connection closes.
    fn call(&self, head: Head, body: &mut Body, peer: SocketAddr) -> impl Future<Output = Response>;
}

/// The body of the request at hand, decoded of its transfer framing (Content-Length or chunked).
pub struct Body {}

/// Why a body could not be read on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BodyError {
    /// The connection ended before the body did.
    Incomplete,
    /// The client sent nothing for too long.
    TimedOut,
    /// The chunked framing is not HTTP.
    Malformed,
}

#[allow(unused_variables, clippy::unused_async)]
impl Body {
    /// Bytes declared by `Content-Length`; `None` for chunked transfer coding. 0 if there is no body.
    pub fn length(&self) -> Option<u64> {
        unimplemented!()
    }

    /// Appends what comes next to `buffer`, at most `limit` bytes and what its spare room allows (both must
    /// be above 0); `Ok(0)` at the end of the body. The first call sends `100 Continue` if the client waits
    /// for it. Bytes go straight from the socket to the buffer.
    pub async fn read(&mut self, buffer: Buffer, limit: usize) -> (Result<usize, BodyError>, Buffer) {
        unimplemented!()
    }
}
