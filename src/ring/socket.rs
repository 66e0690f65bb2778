//! Sockets on their way out of a core's runtime.

use std::net::TcpStream;
use std::os::fd::{FromRawFd, IntoRawFd};

/// Takes a socket out of the runtime that accepted it, so that another core's may have it. No operation may
/// be under way on it.
pub fn into_std(stream: monoio::net::TcpStream) -> TcpStream {
    let descriptor = stream.into_raw_fd();
    // SAFETY: `into_raw_fd` gave up the only owner of this open descriptor; it is owned here from now on.
    unsafe { TcpStream::from_raw_fd(descriptor) }
}
