//! TLS under HTTP: opens and seals the records of a connection, between its socket and who reads and writes.
//!
//! The record layer is rustls's without buffers of its own: received records lie in one buffer of the
//! connection, which is large only while a body comes, and what is sealed in one of the core's, which the
//! connection has only while it sends (docs/decisions/0014-tls.md).

#[cfg(test)]
mod tests;

use std::sync::Arc;

use monoio::buf::{IoBuf, IoBufMut};
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData};
use rustls::{Error, ProtocolVersion, ServerConfig};

use super::TlsVersion;
use super::connections::{Wait, WireError};
use super::socket::Socket;
use super::wire::Room;
use crate::base::limits::{
    RECEIVE_BUFFER_BYTES, RESTING_BUFFER_BYTES, TLS_HANDSHAKE_BYTES_MAX, TLS_RECORDS_BYTES, TLS_SEALED_BYTES,
};

/// A record's head: type, version, length (RFC 8446, section 5.1).
const RECORD_HEAD_BYTES: usize = 5;

/// The type of the records that a handshake begins with.
const TYPE_HANDSHAKE: u8 = 22;

/// What one connection's TLS remembers.
pub(super) struct Session {
    protocol: Protocol,
    /// Payload that was opened when nobody had room for it: at most what was received.
    opened: Vec<u8>,
}

/// The protocol's state, with what it reads and writes.
struct Protocol {
    connection: UnbufferedServerConnection,
    received: Received,
    /// Records of the handshake, and alerts, that are to be sent.
    outgoing: Vec<u8>,
    /// The peer said that it sends nothing more.
    peer_ended: bool,
    /// The protocol failed: rustls must not be asked for anything more, which it would take for a defect.
    has_failed: bool,
}

/// Why a handshake led to no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HandshakeError {
    /// The peer is gone, too slow, or agrees to nothing; it was told.
    Failed,
    /// The peer speaks something that looks like plain HTTP.
    Plain,
}

/// What is to be sealed, and where to.
enum Seal<'a> {
    Nothing,
    Payload(&'a [u8], &'a mut [u8]),
    /// The alert `close_notify`.
    End(&'a mut [u8]),
}

/// What a step of the protocol came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// There may be another.
    Again,
    /// What is in `outgoing` must be sent.
    Send,
    /// More must be received.
    Blocked,
    /// So many bytes were sealed.
    Sealed(usize),
}

impl Session {
    /// # Errors
    ///
    /// A configuration that rustls can't use, which starting the node with it would have shown.
    pub(super) fn new(config: Arc<ServerConfig>) -> Result<Self, Error> {
        let protocol = Protocol {
            connection: UnbufferedServerConnection::new(config)?,
            received: Received::default(),
            outgoing: Vec::new(),
            peer_ended: false,
            has_failed: false,
        };
        Ok(Self { protocol, opened: Vec::new() })
    }

    /// The version that was agreed on.
    pub(super) fn version(&self) -> TlsVersion {
        match self.protocol.connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => TlsVersion::V1_3,
            _ => TlsVersion::V1_2,
        }
    }

    /// Agrees on keys with the peer.
    pub(super) async fn shake_hands(&mut self, socket: &mut Socket) -> Result<(), HandshakeError> {
        let mut received_bytes = 0;
        while self.protocol.connection.is_handshaking() {
            let step = self.step_keeping(Seal::Nothing);
            let done = match step {
                Ok(Step::Again | Step::Sealed(_)) => Ok(()),
                Ok(Step::Send) => self.flush(socket).await,
                Ok(Step::Blocked)
                    if received_bytes >= TLS_HANDSHAKE_BYTES_MAX || self.protocol.peer_ended =>
                {
                    Err(WireError::Closed)
                }
                Ok(Step::Blocked) => match self.receive_more(socket, Wait::Request, usize::MAX).await {
                    // Only the very first byte tells who does not speak TLS at all.
                    Ok(_) if received_bytes == 0 && self.protocol.received.is_plain() => {
                        return Err(HandshakeError::Plain);
                    }
                    Ok(count) => {
                        received_bytes += count;
                        Ok(())
                    }
                    Err(WireError::Resting) => Ok(()),
                    Err(error) => Err(error),
                },
                Err(error) => Err(self.fail(socket, &error).await),
            };
            done.map_err(|_| HandshakeError::Failed)?;
        }
        Ok(())
    }

    /// Appends up to `count` bytes of payload to `buffer`; 0 at the end that the peer announced.
    pub(super) async fn receive<B: Room>(
        &mut self,
        socket: &mut Socket,
        wait: Wait,
        mut buffer: B,
        count: usize,
    ) -> (Result<usize, WireError>, B) {
        let start = buffer.len();
        loop {
            let taken = self.opened.len().min(start + count - buffer.len());
            buffer.append(&self.opened[..taken]);
            self.opened.drain(..taken);
            let filled = buffer.len() - start;
            if filled == count || (self.protocol.peer_ended && self.opened.is_empty()) {
                return (Ok(filled), buffer);
            }
            let opened = &mut self.opened;
            let step = self.protocol.step(Seal::Nothing, &mut |payload| {
                let (fits, rest) = payload.split_at(payload.len().min(start + count - buffer.len()));
                buffer.append(fits);
                opened.extend_from_slice(rest);
            });
            let result = match step {
                Ok(Step::Again | Step::Sealed(_)) => Ok(()),
                Ok(Step::Send) => self.flush(socket).await,
                Ok(Step::Blocked) if buffer.len() > start => return (Ok(buffer.len() - start), buffer),
                Ok(Step::Blocked) => self.receive_more(socket, wait, count).await.map(|_| ()),
                Err(error) => Err(self.fail(socket, &error).await),
            };
            if let Err(error) = result {
                return (Err(error), buffer);
            }
        }
    }

    /// Seals and sends all of `payload`.
    pub(super) async fn send(&mut self, socket: &mut Socket, payload: &[u8]) -> Result<(), WireError> {
        for part in payload.chunks(TLS_SEALED_BYTES) {
            let mut records = socket.member.connections.take_records();
            let sealed = loop {
                match self.step_keeping(Seal::Payload(part, &mut records)) {
                    Ok(Step::Again) => {}
                    Ok(Step::Send) => self.flush(socket).await?,
                    Ok(Step::Sealed(bytes)) => break bytes,
                    Ok(Step::Blocked) => return Err(WireError::Closed),
                    Err(error) => return Err(self.fail(socket, &error).await),
                }
            };
            let (result, records) = socket.send(records.slice(..sealed), 0).await;
            socket.member.connections.give_records(records.into_inner());
            result?;
        }
        Ok(())
    }

    /// Tells the peer that nothing more will be sent, as well as it can be told.
    pub(super) async fn end(&mut self, socket: &mut Socket) {
        let mut alert = [0; 64];
        loop {
            match self.step_keeping(Seal::End(&mut alert)) {
                Ok(Step::Again | Step::Send) => {}
                Ok(Step::Sealed(bytes)) => {
                    self.protocol.outgoing.extend_from_slice(&alert[..bytes]);
                    break;
                }
                Ok(Step::Blocked) | Err(_) => break,
            }
        }
        // Who does not hear it hears the end of the connection.
        let _ = self.flush(socket).await;
    }

    /// One step, in which opened payload is kept for later.
    fn step_keeping(&mut self, seal: Seal<'_>) -> Result<Step, Error> {
        let opened = &mut self.opened;
        self.protocol.step(seal, &mut |payload| opened.extend_from_slice(payload))
    }

    async fn receive_more(
        &mut self,
        socket: &mut Socket,
        wait: Wait,
        count: usize,
    ) -> Result<usize, WireError> {
        let received = &mut self.protocol.received;
        let buffer = received.make_room(socket, wait, count).ok_or(WireError::Closed)?;
        let (result, buffer) = socket.receive(wait, buffer.slice_mut(received.end..)).await;
        received.buffer = buffer.into_inner();
        match result {
            // Without an announcement the end may be somebody else's: nobody must take it for the peer's.
            Ok(0) => Err(WireError::Closed),
            Ok(count) => {
                received.end += count;
                Ok(count)
            }
            Err(error) => Err(error),
        }
    }

    async fn flush(&mut self, socket: &mut Socket) -> Result<(), WireError> {
        socket.send(std::mem::take(&mut self.protocol.outgoing), 0).await.0
    }

    /// Tells the peer what it did wrong.
    async fn fail(&mut self, socket: &mut Socket, error: &Error) -> WireError {
        tracing::debug!("a TLS connection ends: {error}");
        self.protocol.queue_alerts();
        let _ = self.flush(socket).await;
        WireError::Closed
    }
}

impl Protocol {
    /// Handles what was received up to the next thing that is to be done outside; opened payload goes to
    /// `deliver`.
    fn step(&mut self, seal: Seal<'_>, deliver: &mut dyn FnMut(&[u8])) -> Result<Step, Error> {
        if self.has_failed {
            return Err(failure(&"a connection goes on that failed"));
        }
        let status = self.connection.process_tls_records(self.received.unopened_mut());
        let mut discard = status.discard;
        let step = match status.state {
            Err(error) => Err(error),
            Ok(ConnectionState::EncodeTlsData(mut record)) => {
                encode(&mut record, &mut self.outgoing);
                Ok(Step::Again)
            }
            Ok(ConnectionState::TransmitTlsData(records)) => {
                // They are: no step follows before.
                records.done();
                Ok(Step::Send)
            }
            Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
                match traffic.next_record() {
                    Some(Ok(record)) => {
                        discard += record.discard;
                        deliver(record.payload);
                    }
                    Some(Err(error)) => break Err(error),
                    None => break Ok(Step::Again),
                }
            },
            Ok(ConnectionState::PeerClosed) => {
                self.peer_ended = true;
                Ok(Step::Again)
            }
            Ok(ConnectionState::WriteTraffic(mut traffic)) => match seal {
                Seal::Nothing => Ok(Step::Blocked),
                Seal::Payload(payload, to) => {
                    traffic.encrypt(payload, to).map(Step::Sealed).map_err(|error| failure(&error))
                }
                Seal::End(to) => {
                    traffic.queue_close_notify(to).map(Step::Sealed).map_err(|error| failure(&error))
                }
            },
            Ok(ConnectionState::BlockedHandshake | ConnectionState::Closed) => Ok(Step::Blocked),
            // Data before the handshake can be replayed, so none is accepted.
            Ok(_) => Err(failure(&"a state that is not asked for")),
        };
        self.received.skip(discard);
        self.has_failed = step.is_err();
        step
    }

    /// Puts what is to be said after a failure with what is to be sent.
    fn queue_alerts(&mut self) {
        // Where nothing waits to be sent it would read on, which it must not any more.
        while self.connection.wants_write() {
            match self.connection.process_tls_records(self.received.unopened_mut()).state {
                Ok(ConnectionState::EncodeTlsData(mut record)) => encode(&mut record, &mut self.outgoing),
                _ => return,
            }
        }
    }
}

fn failure(what: &dyn std::fmt::Display) -> Error {
    Error::General(what.to_string())
}

fn encode(record: &mut EncodeTlsData<'_, ServerConnectionData>, outgoing: &mut Vec<u8>) {
    let start = outgoing.len();
    // Asked with no room it says how much it needs.
    if let Err(EncodeError::InsufficientSize(needed)) = record.encode(&mut []) {
        outgoing.resize(start + needed.required_size, 0);
        let written = record.encode(&mut outgoing[start..]).unwrap_or(0);
        outgoing.truncate(start + written);
    }
}

/// Received records that were not opened.
#[derive(Default)]
struct Received {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

impl Received {
    fn unopened(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    fn unopened_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.end]
    }

    fn skip(&mut self, count: usize) {
        self.start = self.end.min(self.start + count);
    }

    /// Whether this begins like a request line and not like a record.
    fn is_plain(&self) -> bool {
        self.unopened().first().is_some_and(|byte| *byte != TYPE_HANDSHAKE && byte.is_ascii_alphabetic())
    }

    /// Takes the buffer out to be received into, with room from `end` on; `None` if a record is too long for
    /// any. `count` is how much payload is asked for.
    fn make_room(&mut self, socket: &Socket, wait: Wait, count: usize) -> Option<Box<[u8]>> {
        let part = self.start..self.end;
        let bytes = if part.is_empty() {
            if count <= RESTING_BUFFER_BYTES {
                RESTING_BUFFER_BYTES
            } else if count <= RECEIVE_BUFFER_BYTES || wait == Wait::Request {
                RECEIVE_BUFFER_BYTES
            } else {
                TLS_RECORDS_BYTES
            }
        } else {
            // The rest of a record whose beginning is here.
            let record_bytes = match self.unopened() {
                [_, _, _, high, low, ..] => {
                    RECORD_HEAD_BYTES + usize::from(u16::from_be_bytes([*high, *low]))
                }
                _ => RECORD_HEAD_BYTES,
            };
            let needed = record_bytes.max(part.len() + 1);
            let small = if needed <= RECEIVE_BUFFER_BYTES { RECEIVE_BUFFER_BYTES } else { TLS_RECORDS_BYTES };
            small.max(self.buffer.len())
        };
        if part.len() >= bytes {
            return None;
        }
        let connections = &socket.member.connections;
        let mut buffer = std::mem::take(&mut self.buffer);
        if buffer.len() == bytes {
            buffer.copy_within(part.clone(), 0);
        } else {
            let other = connections.take_records_of(bytes);
            let smaller = std::mem::replace(&mut buffer, other);
            buffer[..part.len()].copy_from_slice(&smaller[part.clone()]);
            connections.give_records(smaller);
        }
        (self.start, self.end) = (0, part.len());
        Some(buffer)
    }
}
