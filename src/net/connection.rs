//! One connection from its first byte to its last.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use monoio::net::TcpStream;
use monoio::time::Instant;
use rustls::ServerConfig;

use super::body::{Body, Remainder};
use super::connections::{Connections, Wait, WireError};
use super::send::{self, Context};
use super::tls::HandshakeError;
use super::wire::Wire;
use super::{Peer, Refusal, Service};
use crate::http::response::Persistence;
use crate::http::{Exchange, Framing, Head, HeadError, HeadParser, Response};

/// Serves a connection to its end: answers its requests, one after the other, with `service`. With `tls` it
/// begins with a handshake.
pub async fn serve_connection<S: Service>(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    service: Rc<S>,
    connections: Connections,
) {
    let Some(mut connection) = Connection::open(stream, peer, tls, service, connections).await else {
        return;
    };
    loop {
        match connection.serve_request().await {
            Outcome::Next => {}
            Outcome::Done => return connection.body.wire.end_tls().await,
            Outcome::Cut => return,
        }
    }
}

/// Tells a client that there are too many connections, without waiting for a request, and ends the
/// connection.
pub async fn refuse_connection<S: Service>(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<Arc<ServerConfig>>,
    service: Rc<S>,
    connections: Connections,
) {
    connections.meters().refused.increment();
    if let Some(mut connection) = Connection::open(stream, peer, tls, service, connections).await {
        connection.refuse(Refusal::TooManyConnections).await;
    }
}

struct Connection<S> {
    service: Rc<S>,
    peer: Peer,
    body: Body,
    parser: HeadParser,
}

/// Whether another request can follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Next,
    Done,
    /// The last answer broke off: nothing may look as if it had ended.
    Cut,
}

/// Why there is no next request.
enum NoRequest {
    /// Nothing to say: the peer or the node ended the connection.
    Ended,
    Refused(Refusal),
}

impl<S: Service> Connection<S> {
    /// A connection whose requests can be read; `None` if it came to none.
    async fn open(
        stream: TcpStream,
        peer: SocketAddr,
        tls: Option<Arc<ServerConfig>>,
        service: Rc<S>,
        connections: Connections,
    ) -> Option<Self> {
        // It fails only if the peer is gone, which the first receive will tell.
        let _ = stream.set_nodelay(true);
        let body = Body::new(Wire::new(stream, connections.join()));
        let peer = Peer { address: peer, tls: None };
        let mut this = Self { service, peer, body, parser: HeadParser::default() };
        let Some(config) = tls else { return Some(this) };
        match this.body.wire.begin_tls(config).await {
            Ok(()) => {
                this.peer.tls = this.body.wire.tls_version();
                Some(this)
            }
            Err(HandshakeError::Plain) => {
                let why = "This port speaks HTTPS, and the request came in plain HTTP.";
                this.refuse(Refusal::BadRequest { why }).await;
                None
            }
            Err(HandshakeError::Failed) => None,
        }
    }

    async fn serve_request(&mut self) -> Outcome {
        let (head, framing, head_took) = match self.read_head().await {
            Ok(request) => request,
            Err(NoRequest::Ended) => return Outcome::Done,
            Err(NoRequest::Refused(refusal)) => {
                self.refuse(refusal).await;
                return Outcome::Done;
            }
        };
        let head_only = head.method == "HEAD";
        let modern = head.version_minor >= 1;
        self.body.begin(framing.body, framing.expects_continue, head_took);
        // What an operation keeps while it waits is tens of kilobytes: a connection without a request must not
        // hold room for it.
        let response = Box::pin(self.service.call(head, &mut self.body, self.peer)).await;

        let remainder = self.body.remainder();
        let draining = self.body.wire.member().connections.is_draining();
        let close_first = response.close || draining || remainder == Remainder::Unknown;
        let persistence = match (framing.keep_alive && !close_first, modern) {
            (false, _) => Persistence::Close,
            (true, true) => Persistence::Implied,
            (true, false) => Persistence::KeepAlive,
        };
        if self.send(response, head_only, persistence).await.is_err() {
            return Outcome::Cut;
        }
        self.settle(persistence, close_first, remainder).await
    }

    /// Sends a response, and tells whoever wants to know what became of it.
    async fn send(
        &mut self,
        mut response: Response,
        head_only: bool,
        persistence: Persistence,
    ) -> Result<(), send::Cut> {
        let ended = response.ended.take();
        let sent = Cell::new(0);
        let context = Context { sent: &sent, head_only, persistence, now: self.service.now() };
        let result = send::respond(&mut self.body.wire, response, context).await;
        if let Some(ended) = ended {
            ended.ended(Exchange {
                bytes_received: self.body.received(),
                bytes_sent: sent.get(),
                is_whole: result.is_ok(),
            });
        }
        result
    }

    /// Deals with what is left of the request after its response.
    async fn settle(&mut self, persistence: Persistence, close_first: bool, remainder: Remainder) -> Outcome {
        let wire = &mut self.body.wire;
        match (persistence, remainder) {
            // The client said that it closes, and has sent all it wanted to.
            (Persistence::Close, Remainder::None) if !close_first => Outcome::Done,
            (Persistence::Close, _) => {
                wire.linger().await;
                Outcome::Done
            }
            (_, Remainder::Bytes(count)) => {
                wire.member().grant(|allowances| allowances.body);
                if wire.discard(count).await.is_ok() { Outcome::Next } else { Outcome::Done }
            }
            (_, Remainder::None | Remainder::Unknown) => Outcome::Next,
        }
    }

    /// Waits for the next head; also says how long the rest of it took from its first bytes on.
    async fn read_head(&mut self) -> Result<(Head, Framing, Duration), NoRequest> {
        let wire = &mut self.body.wire;
        let mut begun = !wire.unread().is_empty();
        let mut first_parse = None;
        wire.member().grant(|allowances| if begun { allowances.head } else { allowances.idle });
        loop {
            // The clock is read only where there is something to parse.
            let parse_began = begun.then(Instant::now);
            first_parse = first_parse.or(parse_began);
            if let Some(parse_began) = parse_began
                && let Some((head, consumed)) = self.parser.parse(wire.unread()).map_err(refused)?
            {
                wire.skip(consumed);
                let framing = Framing::of(&head).map_err(refused)?;
                let parsed = Instant::now();
                wire.member().connections.meters().parsing.observe_duration(parsed - parse_began);
                return Ok((head, framing, parsed - first_parse.unwrap_or(parse_began)));
            }
            let wait = if begun { Wait::Peer } else { Wait::Request };
            match wire.fill(wait).await {
                Ok(0) => return Err(NoRequest::Ended),
                Ok(_) if !begun => {
                    begun = true;
                    wire.member().grant(|allowances| allowances.head);
                }
                Ok(_) => {}
                Err(WireError::TimedOut) if begun => return Err(NoRequest::Refused(Refusal::TimedOut)),
                Err(_) => return Err(NoRequest::Ended),
            }
        }
    }

    /// Answers what is not a request, and ends the connection.
    async fn refuse(&mut self, refusal: Refusal) {
        let response = self.service.refuse(refusal, self.peer);
        if self.send(response, false, Persistence::Close).await.is_ok() {
            self.body.wire.linger().await;
        }
    }
}

fn refused(error: HeadError) -> NoRequest {
    NoRequest::Refused(match error {
        HeadError::Malformed(why) => Refusal::BadRequest { why },
        HeadError::TooLarge => Refusal::HeadTooLarge,
        HeadError::VersionUnsupported => Refusal::VersionUnsupported,
        HeadError::TransferCodingUnsupported => Refusal::TransferCodingUnsupported,
    })
}
