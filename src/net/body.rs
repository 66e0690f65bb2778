//! Request bodies: decoded of their transfer framing, received straight into the reader's buffers.

use std::time::Duration;

use monoio::time::Instant;

use super::connections::{Wait, WireError};
use super::wire::Wire;
use crate::base::stages::{self, Stage};
use crate::http::BodyFraming;
use crate::http::chunked::ChunkedDecoder;
use crate::io::{Buffer, Run, Scatter, Scattered};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// The body of the request at hand, decoded of its transfer framing (Content-Length or chunked).
pub struct Body {
    pub(super) wire: Wire,
    rest: Rest,
    /// The client waits for `100 Continue`, which was not sent.
    expects_continue: bool,
    failure: Option<BodyError>,
    /// Bytes that were read, without framing.
    received: u64,
    /// From the first bytes of the request's head to its last.
    head_took: Duration,
}

/// What is still to be read.
enum Rest {
    Length { total: u64, remaining: u64 },
    Chunked(ChunkedDecoder),
}

/// Why a body could not be read on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyError {
    /// The connection ended before the body did.
    Incomplete,
    /// The client sent nothing, or next to nothing, for too long.
    TimedOut,
    /// The chunked framing is not HTTP.
    Malformed,
}

/// What is to be done about a body that its reader is done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remainder {
    /// Nothing: the next request follows.
    None,
    /// So many bytes come before the next request.
    Bytes(u64),
    /// It is too long or its end is unknown: no request can follow.
    Unknown,
}

impl Body {
    pub(super) fn new(wire: Wire) -> Self {
        let rest = Rest::Length { total: 0, remaining: 0 };
        Self { wire, rest, expects_continue: false, failure: None, received: 0, head_took: Duration::ZERO }
    }

    /// Begins the body of a request whose head was just taken from the wire.
    pub(super) fn begin(&mut self, framing: BodyFraming, expects_continue: bool, head_took: Duration) {
        self.rest = match framing {
            BodyFraming::None => Rest::Length { total: 0, remaining: 0 },
            BodyFraming::Length(total) => Rest::Length { total, remaining: total },
            BodyFraming::Chunked => Rest::Chunked(ChunkedDecoder::default()),
        };
        self.expects_continue = expects_continue;
        self.failure = None;
        (self.received, self.head_took) = (0, head_took);
        self.wire.member().grant(|allowances| allowances.body);
    }

    /// From the first bytes of the request's head to its last, and what was made of it.
    pub fn head_took(&self) -> Duration {
        self.head_took
    }

    /// Bytes that were read, without framing.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Bytes declared by `Content-Length`; `None` for chunked transfer coding. 0 if there is no body.
    pub fn length(&self) -> Option<u64> {
        match self.rest {
            Rest::Length { total, .. } => Some(total),
            Rest::Chunked(_) => None,
        }
    }

    /// Appends what comes next to `buffer`, at most `limit` bytes and what its spare room allows (both must
    /// be above 0); `Ok(0)` at the end of the body. The first call sends `100 Continue` if the client waits
    /// for it. Bytes go straight from the socket to the buffer. After an error there is nothing more to
    /// read.
    pub async fn read(&mut self, mut buffer: Buffer, limit: usize) -> (Result<usize, BodyError>, Buffer) {
        if let Some(failure) = self.failure {
            return (Err(failure), buffer);
        }
        let start = buffer.len();
        let result = loop {
            let want = match &self.rest {
                Rest::Length { remaining, .. } => usize::try_from(*remaining).unwrap_or(usize::MAX),
                Rest::Chunked(decoder) => decoder.want(),
            };
            if want == 0 {
                break Ok(0);
            }
            let room = limit.min(buffer.spare());
            assert!(room > 0, "a body is read into an empty space");
            let result;
            (result, buffer) = self.receive(buffer, want.min(room)).await;
            match result.and_then(|count| self.decode(&mut buffer, start, count)) {
                // Framing alone: the payload is still to come.
                Ok(0) => {}
                result => break result,
            }
        };
        if result.is_err() {
            buffer.set_len(start);
        }
        self.failure = result.err();
        self.received += result.unwrap_or(0) as u64;
        (result, buffer)
    }

    /// Whether [`Self::read_runs`] can come next.
    pub fn can_read_runs(&self) -> bool {
        let is_begun = !self.expects_continue && self.failure.is_none();
        is_begun && matches!(self.rest, Rest::Length { remaining: 1.., .. }) && self.wire.can_scatter()
    }

    /// Receives what is there of `runs`, payload behind what `buffer` holds: how much, and where it lies. To be called
    /// only where [`Self::can_read_runs`]. After an error there is nothing more to read.
    pub async fn read_runs(
        &mut self,
        buffer: Buffer,
        mut runs: Vec<Run>,
    ) -> (Result<Scattered, BodyError>, Buffer) {
        let Rest::Length { remaining, .. } = self.rest else {
            return (Err(BodyError::Malformed), buffer);
        };
        limit_runs(&mut runs, usize::try_from(remaining).unwrap_or(usize::MAX));
        let scatter = Scatter::new(buffer, runs);
        self.wire.turn(scatter.capacity()).await;
        let began = stages::is_looked_at().then(Instant::now);
        let (result, scatter) = self.wire.receive_scattered(Wait::Peer, scatter).await;
        let result = received(began, result);
        let (buffer, scattered) = scatter.into_parts();
        if let (Rest::Length { remaining, .. }, Ok(count)) = (&mut self.rest, &result) {
            *remaining -= *count as u64;
            self.received += *count as u64;
        }
        self.failure = result.err();
        (result.map(|_| scattered), buffer)
    }

    /// Takes back the last bytes that [`Self::read_runs`] gave: they come again.
    pub fn put_back(&mut self, bytes: &[u8]) {
        if let Rest::Length { remaining, .. } = &mut self.rest {
            *remaining += bytes.len() as u64;
            self.received -= bytes.len() as u64;
            self.wire.put_back(bytes);
        }
    }

    /// Appends up to `count` raw bytes of the body to `buffer`; at least one.
    async fn receive(&mut self, mut buffer: Buffer, count: usize) -> (Result<usize, BodyError>, Buffer) {
        let ahead = self.wire.take(&mut buffer, count);
        if ahead > 0 {
            // A client that sends without waiting needs no invitation.
            self.expects_continue = false;
            return (Ok(ahead), buffer);
        }
        if std::mem::take(&mut self.expects_continue) {
            let (sent, _) = self.wire.send(CONTINUE, 0).await;
            if let Err(error) = sent {
                return (Err(body_error(error)), buffer);
            }
        }
        self.wire.turn(count).await;
        let began = stages::is_looked_at().then(Instant::now);
        let (result, buffer) = self.wire.receive(Wait::Peer, buffer, count).await;
        (received(began, result), buffer)
    }

    /// Takes the framing out of the `count` raw bytes at `start`; returns how much payload there is.
    fn decode(&mut self, buffer: &mut Buffer, start: usize, count: usize) -> Result<usize, BodyError> {
        match &mut self.rest {
            Rest::Length { remaining, .. } => {
                *remaining -= count as u64;
                Ok(count)
            }
            Rest::Chunked(decoder) => {
                let decoded = decoder.decode(&mut buffer[start..]).map_err(|_| BodyError::Malformed)?;
                if decoded.consumed < count {
                    self.wire.put_back(&buffer[start + decoded.consumed..]);
                }
                buffer.set_len(start + decoded.payload);
                Ok(decoded.payload)
            }
        }
    }

    /// What the reader left. Chunks that have been received are read for their end; nothing is awaited.
    pub(super) fn remainder(&mut self) -> Remainder {
        if self.failure.is_some() {
            return Remainder::Unknown;
        }
        let waits = self.expects_continue && self.wire.unread().is_empty();
        match &mut self.rest {
            Rest::Length { remaining: 0, .. } => Remainder::None,
            _ if waits => Remainder::Unknown,
            Rest::Length { remaining, .. } => {
                let within = *remaining <= self.wire.member().connections.limits().drain_bytes_max;
                if within { Remainder::Bytes(*remaining) } else { Remainder::Unknown }
            }
            Rest::Chunked(decoder) => match decoder.decode(self.wire.unread_mut()) {
                Ok(decoded) if decoder.is_done() => {
                    self.wire.skip(decoded.consumed);
                    Remainder::None
                }
                _ => Remainder::Unknown,
            },
        }
    }
}

/// What a receive that began at `began` means to the body.
fn received(began: Option<Instant>, result: Result<usize, WireError>) -> Result<usize, BodyError> {
    if let Some(began) = began {
        stages::add(Stage::Receive, began.elapsed());
    }
    match result {
        Ok(0) => Err(BodyError::Incomplete),
        Ok(count) => Ok(count),
        Err(error) => Err(body_error(error)),
    }
}

/// Cuts `runs` off after `bytes` of payload and framing.
fn limit_runs(runs: &mut Vec<Run>, mut bytes: usize) {
    for run in runs.iter_mut() {
        run.payload = run.payload.min(bytes);
        bytes -= run.payload;
        run.framing = run.framing.min(bytes);
        bytes -= run.framing;
    }
    runs.retain(|run| run.payload + run.framing > 0);
}

fn body_error(error: WireError) -> BodyError {
    match error {
        WireError::TimedOut => BodyError::TimedOut,
        WireError::Closed | WireError::Resting | WireError::Stopped => BodyError::Incomplete,
    }
}
