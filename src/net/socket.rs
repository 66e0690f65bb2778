//! A connection's socket: what it receives and sends takes the peer's patience, and a drain can cut it.

use std::io;

use monoio::buf::{IoBuf, IoBufMut};
use monoio::io::{AsyncWriteRent, CancelableAsyncReadRent, CancelableAsyncWriteRent};
use monoio::net::TcpStream;

use super::connections::{Membership, Wait, WireError};
use crate::io::Scatter;

/// The socket and its patience.
pub(super) struct Socket {
    stream: TcpStream,
    pub(super) member: Membership,
}

impl Socket {
    pub(super) fn new(stream: TcpStream, member: Membership) -> Self {
        Self { stream, member }
    }

    /// Receives what fits `buffer` and is there; 0 at the end.
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
            let (result, returned) = self.stream.cancelable_read(buffer, handle).await;
            if !is_interrupted(&result) {
                return (self.received(result), returned);
            }
            buffer = returned;
        }
    }

    /// Receives what is there of the runs; 0 at the end.
    pub(super) async fn receive_scattered(
        &mut self,
        wait: Wait,
        mut scatter: Scatter,
    ) -> (Result<usize, WireError>, Scatter) {
        loop {
            let handle = match self.member.begin(wait) {
                Ok(handle) => handle,
                Err(error) => return (Err(error), scatter),
            };
            let (result, returned) = self.stream.cancelable_readv(scatter, handle).await;
            if !is_interrupted(&result) {
                return (self.received(result), returned);
            }
            scatter = returned;
        }
    }

    /// Counts what was received.
    fn received(&self, result: io::Result<usize>) -> Result<usize, WireError> {
        let count = *result.as_ref().unwrap_or(&0);
        self.member.connections.meters().bytes_received.add(count as u64);
        self.member.end(result)
    }

    /// Sends all of `buffer` from `start` on.
    pub(super) async fn send<B: IoBuf>(&mut self, mut buffer: B, start: usize) -> (Result<(), WireError>, B) {
        let length = buffer.bytes_init();
        let mut sent = start;
        while sent < length {
            let handle = match self.member.begin(Wait::Peer) {
                Ok(handle) => handle,
                Err(error) => return (Err(error), buffer),
            };
            let (result, slice) = self.stream.cancelable_write(buffer.slice(sent..length), handle).await;
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

    /// Tells the peer that nothing more will be sent.
    pub(super) async fn end_writing(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }
}

fn is_interrupted(result: &io::Result<usize>) -> bool {
    result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted)
}
