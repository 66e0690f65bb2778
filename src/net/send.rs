//! Writing responses: head and first payload in one write, long payload straight from its buffers.

use std::cell::Cell;

use super::connections::WireError;
use super::wire::Wire;
use crate::base::limits::RESPONSE_COPY_BYTES_MAX;
use crate::http::response::Persistence;
use crate::http::{Response, ResponseBody, Source};
use crate::io::{Chunk, TimestampMs};

/// Why a response was not sent to its end. The connection must be cut: the peer would take what follows for
/// the rest of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut;

impl From<WireError> for Cut {
    fn from(_: WireError) -> Self {
        Self
    }
}

/// What the connection knows of the response beside itself.
pub(super) struct Context<'a> {
    /// Bytes of the body that were sent so far.
    pub(super) sent: &'a Cell<u64>,
    /// The request was a HEAD: no body is sent, whatever the response has.
    pub(super) head_only: bool,
    pub(super) persistence: Persistence,
    pub(super) now: TimestampMs,
}

/// Sends a response.
pub(super) async fn respond(wire: &mut Wire, response: Response, context: Context<'_>) -> Result<(), Cut> {
    let connections = wire.member().connections.clone();
    wire.member().grant(|allowances| allowances.send);
    let mut out = connections.take_buffer();
    response.write_head(&mut out, &connections.date(context.now), context.persistence);
    let bodiless = context.head_only || !response.may_have_body();
    match response.body {
        ResponseBody::Empty => send_buffer(wire, out).await,
        ResponseBody::Absent { bytes: 0 } => send_buffer(wire, out).await,
        _ if bodiless => send_buffer(wire, out).await,
        // Announced, but not there: only right for HEAD.
        ResponseBody::Absent { .. } => {
            tracing::error!("a response without its body was about to be sent");
            Err(Cut)
        }
        ResponseBody::Bytes(bytes) => {
            let length = bytes.len() as u64;
            let rest = append(&mut out, Chunk::Bytes(bytes));
            send_parts(wire, Some(out), rest).await?;
            context.sent.set(length);
            Ok(())
        }
        ResponseBody::Stream { bytes, mut source } => {
            let mut pull = Pull { source: source.as_mut(), remaining: bytes };
            send_stream(wire, out, &mut pull, context.sent).await
        }
    }
}

/// Sends a streamed body; while one chunk is sent the next is pulled.
async fn send_stream(
    wire: &mut Wire,
    mut out: Vec<u8>,
    pull: &mut Pull<'_>,
    total: &Cell<u64>,
) -> Result<(), Cut> {
    let first = pull.next().await?;
    let mut bytes = first.as_ref().map_or(0, |first| first.len());
    let mut chunk = first.and_then(|first| append(&mut out, first));
    let mut out = Some(out);
    while out.is_some() || chunk.is_some() {
        let (sent, next) = monoio::join!(send_parts(wire, out.take(), chunk.take()), pull.next());
        sent?;
        total.set(total.get() + bytes as u64);
        let next = next?;
        bytes = next.as_ref().map_or(0, |next| next.len());
        chunk = next.map(|next| Part { chunk: next, start: 0 });
    }
    Ok(())
}

/// A chunk of which the first bytes were already dealt with.
struct Part {
    chunk: Chunk,
    start: usize,
}

/// Copies the start of a chunk behind the head; returns the rest, if there is one.
fn append(out: &mut Vec<u8>, chunk: Chunk) -> Option<Part> {
    let start = chunk.len().min(RESPONSE_COPY_BYTES_MAX);
    out.extend_from_slice(&chunk[..start]);
    (start < chunk.len()).then_some(Part { chunk, start })
}

async fn send_parts(wire: &mut Wire, out: Option<Vec<u8>>, part: Option<Part>) -> Result<(), Cut> {
    if let Some(out) = out {
        send_buffer(wire, out).await?;
    }
    if let Some(Part { chunk, start }) = part {
        wire.send(chunk, start).await.0?;
    }
    Ok(())
}

/// Sends a buffer of [`super::Connections::take_buffer`] and gives it back.
async fn send_buffer(wire: &mut Wire, out: Vec<u8>) -> Result<(), Cut> {
    let (sent, out) = wire.send(out, 0).await;
    wire.member().connections.give_buffer(out);
    Ok(sent?)
}

/// A source held to what it promised; it is not asked for more than was announced.
struct Pull<'a> {
    source: &'a mut dyn Source,
    remaining: u64,
}

impl Pull<'_> {
    /// The next chunk, never empty; `None` when all has come.
    async fn next(&mut self) -> Result<Option<Chunk>, Cut> {
        while self.remaining > 0 {
            let chunk = match self.source.next().await {
                Some(Ok(chunk)) => chunk,
                Some(Err(error)) => {
                    tracing::warn!(error = error.0, "a response breaks off");
                    return Err(Cut);
                }
                None => {
                    tracing::error!(missing = self.remaining, "a response is shorter than announced");
                    return Err(Cut);
                }
            };
            let Some(remaining) = self.remaining.checked_sub(chunk.len() as u64) else {
                tracing::error!("a response is longer than announced");
                return Err(Cut);
            };
            self.remaining = remaining;
            if !chunk.is_empty() {
                return Ok(Some(chunk));
            }
        }
        Ok(None)
    }
}
