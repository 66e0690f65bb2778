//! A connection's socket with its read-ahead: bytes that were received but belong to what is read later.

use std::io;

use monoio::buf::{IoBuf, IoBufMut};
use monoio::io::{AsyncWriteRent, CancelHandle, CancelableAsyncReadRent, CancelableAsyncWriteRent};
use monoio::net::TcpStream;

use super::connections::{Membership, Wait, WireError};
use crate::base::limits::{HEAD_BYTES_MAX, RECEIVE_BUFFER_BYTES, RESTING_BUFFER_BYTES};
use crate::io::Buffer;

/// What carries the bytes of a connection; another variant carries them encrypted.
pub(super) enum Transport {
    Tcp(TcpStream),
}

impl Transport {
    async fn read<B: IoBufMut>(&mut self, buffer: B, handle: CancelHandle) -> (io::Result<usize>, B) {
        match self {
            Self::Tcp(stream) => stream.cancelable_read(buffer, handle).await,
        }
    }

    async fn write<B: IoBuf>(&mut self, buffer: B, handle: CancelHandle) -> (io::Result<usize>, B) {
        match self {
            Self::Tcp(stream) => stream.cancelable_write(buffer, handle).await,
        }
    }

    /// Tells the peer that nothing more will be sent.
    async fn end_writing(&mut self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.shutdown().await,
        }
    }
}

/// The socket, its patience, and the read-ahead.
pub(super) struct Wire {
    transport: Transport,
    pub(super) member: Membership,
    received: Vec<u8>,
    /// Where in `received` the unread bytes begin.
    start: usize,
}

impl Wire {
    pub(super) fn new(transport: Transport, member: Membership) -> Self {
        Self { transport, member, received: Vec::with_capacity(RECEIVE_BUFFER_BYTES), start: 0 }
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
            let capacity = self.received.capacity();
            let received = std::mem::take(&mut self.received);
            let (result, received) = self.receive(wait, received.slice_mut(length..capacity)).await;
            self.received = received.into_inner();
            if result != Err(WireError::Resting) {
                return result;
            }
            self.received = Vec::with_capacity(RESTING_BUFFER_BYTES);
        }
    }

    /// Receives what fits `buffer` and is there; 0 at the end. Read-ahead must have been read.
    pub(super) async fn receive<B: IoBufMut>(
        &mut self,
        wait: Wait,
        mut buffer: B,
    ) -> (Result<usize, WireError>, B) {
        loop {
            let handle = match self.member.begin(wait) {
                Ok(handle) => handle,
                Err(error) => return (Err(error), buffer),
            };
            let (result, returned) = self.transport.read(buffer, handle).await;
            if !is_interrupted(&result) {
                let received = *result.as_ref().unwrap_or(&0);
                self.member.connections.meters().bytes_received.add(received as u64);
                return (self.member.end(result), returned);
            }
            buffer = returned;
        }
    }

    /// Sends all of `buffer`.
    pub(super) async fn send<B: IoBuf>(&mut self, mut buffer: B) -> (Result<(), WireError>, B) {
        let length = buffer.bytes_init();
        let mut sent = 0;
        while sent < length {
            let handle = match self.member.begin(Wait::Peer) {
                Ok(handle) => handle,
                Err(error) => return (Err(error), buffer),
            };
            let (result, slice) = self.transport.write(buffer.slice(sent..length), handle).await;
            buffer = slice.into_inner();
            if is_interrupted(&result) {
                continue;
            }
            match self.member.end(result) {
                Ok(0) => return (Err(WireError::Closed), buffer),
                Ok(count) => {
                    self.member.connections.meters().bytes_sent.add(count as u64);
                    sent += count;
                }
                Err(error) => return (Err(error), buffer),
            }
        }
        (Ok(()), buffer)
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
        let bytes_max = self.member.connections.limits().linger_bytes_max;
        self.member.grant(|allowances| allowances.linger);
        if self.transport.end_writing().await.is_err() {
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
}

fn is_interrupted(result: &io::Result<usize>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted)
}
