//! Connections: reading requests, timeouts, writing responses. Knows no S3.
//!
//! [`serve_connection`] runs one connection to its end with a [`Service`] that answers its requests. A core's
//! connections share a [`Connections`], which counts them, cuts those that are out of patience and drains
//! them when the node stops. The runtime must have its timer enabled.

mod body;
mod connection;
mod connections;
mod limits;
mod meters;
mod send;
mod socket;
#[cfg(test)]
mod tests;
mod tls;
mod wire;

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use crate::http::{Head, Response};
use crate::io::TimestampMs;

pub use body::{Body, BodyError};
pub use connection::{refuse_connection, serve_connection};
pub use connections::Connections;
pub use limits::Limits;
pub use meters::ConnectionCounts;

/// What answers requests.
pub trait Service: 'static {
    /// Answers one request. It may read the body or not; what it leaves unread is drained within a bound or
    /// the connection closes. A chunked body counts as read only after [`Body::read`] returned 0.
    fn call(&self, head: Head, body: &mut Body, peer: Peer) -> impl Future<Output = Response>;

    /// Words the answer to what never became a request. The connection closes after it.
    fn refuse(&self, refusal: Refusal, peer: Peer) -> Response;

    /// Wall clock, for `Date`.
    fn now(&self) -> TimestampMs;
}

/// Gives large transfers of a core their turns, so that they do not delay small requests.
pub trait Bulk {
    /// Waits until so many bytes may be copied to or from a socket.
    fn turn(&self, bytes: usize) -> Pin<Box<dyn Future<Output = ()>>>;
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Of the socket: behind a proxy, the proxy's.
    pub address: SocketAddr,
    /// What protects the connection; `None` if nothing does.
    pub tls: Option<TlsVersion>,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    V1_2,
    V1_3,
}

impl TlsVersion {
    /// As policies compare it.
    pub fn number(self) -> &'static str {
        match self {
            Self::V1_2 => "1.2",
            Self::V1_3 => "1.3",
        }
    }
}

/// Why a connection is answered without a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The head is not HTTP, or could be read in two ways.
    BadRequest { why: &'static str },
    /// The head is beyond [`crate::base::limits::HEAD_BYTES_MAX`] or
    /// [`crate::base::limits::HEADERS_MAX`].
    HeadTooLarge,
    /// Neither HTTP/1.1 nor HTTP/1.0.
    VersionUnsupported,
    /// A `Transfer-Encoding` other than `chunked`.
    TransferCodingUnsupported,
    /// The head did not arrive in time.
    TimedOut,
    /// There are as many connections as there may be: [`refuse_connection`].
    TooManyConnections,
}
