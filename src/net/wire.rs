//! A connection's socket with its read-ahead: bytes that were received but belong to what is read later.

use std::ops::Deref;
use std::sync::Arc;

use monoio::buf::{IoBuf, IoBufMut};
use monoio::net::TcpStream;
use rustls::ServerConfig;

use super::TlsVersion;
use super::connections::{Membership, Wait, WireError};
use super::socket::Socket;
use super::tls::{HandshakeError, Session};
use crate::base::limits::{HEAD_BYTES_MAX, RECEIVE_BUFFER_BYTES, RESTING_BUFFER_BYTES};
use crate::io::{Buffer, Scatter};

/// What is received into: memory that the kernel fills in place, or that opened payload is copied to.
pub(super) trait Room: IoBuf + IoBufMut + Deref<Target = [u8]> {
    /// Puts `bytes` behind what is there; the caller knows that they fit.
    fn append(&mut self, bytes: &[u8]);
}

impl Room for Vec<u8> {
    fn append(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl Room for Buffer {
    fn append(&mut self, bytes: &[u8]) {
        Buffer::append(self, bytes);
    }
}

/// The socket, what opens and seals its bytes if it carries TLS, and the read-ahead.
pub(super) struct Wire {
    socket: Socket,
    tls: Option<Box<Session>>,
    received: Vec<u8>,
    /// Where in `received` the unread bytes begin.
    start: usize,
}

impl Wire {
    pub(super) fn new(stream: TcpStream, member: Membership) -> Self {
        let socket = Socket::new(stream, member);
        Self { socket, tls: None, received: Vec::with_capacity(RECEIVE_BUFFER_BYTES), start: 0 }
    }

    /// Has everything that follows travel in TLS, once the peer agreed to how.
    pub(super) async fn begin_tls(&mut self, config: Arc<ServerConfig>) -> Result<(), HandshakeError> {
        let mut session = Session::new(config).map_err(|error| {
            tracing::error!("the TLS configuration cannot be used: {error}");
            HandshakeError::Failed
        })?;
        self.member().grant(|allowances| allowances.handshake);
        session.shake_hands(&mut self.socket).await?;
        self.tls = Some(Box::new(session));
        Ok(())
    }

    /// The version of TLS that protects the connection, if one does.
    pub(super) fn tls_version(&self) -> Option<TlsVersion> {
        self.tls.as_ref().map(|session| session.version())
    }

    /// The connection's place among the others.
    pub(super) fn member(&self) -> &Membership {
        &self.socket.member
    }

    /// Waits until so many bytes may be copied to or from the socket.
    pub(super) async fn turn(&self, bytes: usize) {
        self.member().connections.turn(bytes).await;
    }

    /// Received bytes that nobody has read.
    pub(super) fn unread(&self) -> &[u8] {
        &self.received[self.start..]
    }

    pub(super) fn unread_mut(&mut self) -> &mut [u8] {
        &mut self.received[self.start..]
    }

    /// Counts the first `count` unread bytes as read.
    pub(super) fn skip(&mut self, count: usize) {
        self.start += count;
        if self.start == self.received.len() {
            self.received.clear();
            self.start = 0;
        }
    }

    /// Moves up to `count` unread bytes behind what `buffer` holds; returns how many there were.
    pub(super) fn take(&mut self, buffer: &mut Buffer, count: usize) -> usize {
        let available = self.unread().len().min(count);
        let taken = buffer.append(&self.unread()[..available]);
        self.skip(taken);
        taken
    }

    /// Makes `bytes` the first unread ones: received with what was before them, but not part of it.
    pub(super) fn put_back(&mut self, bytes: &[u8]) {
        self.received.splice(..self.start, bytes.iter().copied());
        self.start = 0;
    }

    /// Receives more read-ahead, which grows to [`HEAD_BYTES_MAX`]; returns how much, 0 at the end.
    pub(super) async fn fill(&mut self, wait: Wait) -> Result<usize, WireError> {
        if self.received.is_empty() && self.received.capacity() > RECEIVE_BUFFER_BYTES {
            self.received = Vec::with_capacity(RECEIVE_BUFFER_BYTES);
        }
        if self.start > 0 {
            self.received.drain(..self.start);
            self.start = 0;
        }
        loop {
            let length = self.received.len();
            if length == self.received.capacity() {
                self.received.reserve_exact(length.clamp(RECEIVE_BUFFER_BYTES, HEAD_BYTES_MAX));
            }
            let room = self.received.capacity() - length;
            let received = std::mem::take(&mut self.received);
            let (result, received) = self.receive(wait, received, room).await;
            self.received = received;
            if result != Err(WireError::Resting) {
                return result;
            }
            self.received = Vec::with_capacity(RESTING_BUFFER_BYTES);
        }
    }

    /// Appends up to `count` bytes that are there to `buffer`, which has room for them; 0 at the end. Read-ahead
    /// must have been read.
    pub(super) async fn receive<B: Room>(
        &mut self,
        wait: Wait,
        buffer: B,
        count: usize,
    ) -> (Result<usize, WireError>, B) {
        if let Some(session) = &mut self.tls {
            return session.receive(&mut self.socket, wait, buffer, count).await;
        }
        let start = buffer.len();
        let (result, slice) = self.socket.receive(wait, buffer.slice_mut(start..start + count)).await;
        (result, slice.into_inner())
    }

    /// Whether [`Self::receive_scattered`] can come next: nothing was read ahead, and nothing is to be opened.
    pub(super) fn can_scatter(&self) -> bool {
        self.tls.is_none() && self.unread().is_empty()
    }

    /// Receives what is there of the runs; 0 at the end.
    pub(super) async fn receive_scattered(
        &mut self,
        wait: Wait,
        scatter: Scatter,
    ) -> (Result<usize, WireError>, Scatter) {
        self.socket.receive_scattered(wait, scatter).await
    }

    /// Sends all of `buffer` from `start` on.
    pub(super) async fn send<B>(&mut self, buffer: B, start: usize) -> (Result<(), WireError>, B)
    where
        B: IoBuf + Deref<Target = [u8]>,
    {
        self.turn(buffer.len().saturating_sub(start)).await;
        match &mut self.tls {
            Some(session) => (session.send(&mut self.socket, &buffer[start..]).await, buffer),
            None => self.socket.send(buffer, start).await,
        }
    }

    /// Receives and drops `count` bytes.
    pub(super) async fn discard(&mut self, mut count: u64) -> Result<(), WireError> {
        while count > 0 {
            if self.unread().is_empty() && self.fill(Wait::Peer).await? == 0 {
                return Err(WireError::Closed);
            }
            let available = self.unread().len() as u64;
            let skipped = available.min(count);
            // Not above the length of a slice.
            self.skip(skipped as usize);
            count -= skipped;
        }
        Ok(())
    }

    /// Ends the connection so that the peer gets to read what was sent: says that nothing more comes, and
    /// drops what the peer still sends until it ends too, within the limits. Closing with unread bytes would
    /// reset the connection, and the peer's system would throw away what it had received.
    pub(super) async fn linger(&mut self) {
        let bytes_max = self.member().connections.limits().linger_bytes_max;
        self.member().grant(|allowances| allowances.linger);
        self.end_tls().await;
        if self.socket.end_writing().await.is_err() {
            return;
        }
        self.received = Vec::with_capacity(HEAD_BYTES_MAX);
        self.start = 0;
        let mut dropped = 0;
        while dropped < bytes_max {
            match self.fill(Wait::Peer).await {
                Ok(count) if count > 0 => dropped += count as u64,
                _ => return,
            }
            // Not `skip`, which would let `fill` shrink the buffer.
            self.start = self.received.len();
        }
    }

    /// Says in TLS that nothing more comes, so that the peer can tell the end from one that somebody between
    /// made. What it still sends is dropped unopened.
    pub(super) async fn end_tls(&mut self) {
        if let Some(mut session) = self.tls.take() {
            session.end(&mut self.socket).await;
        }
    }
}
