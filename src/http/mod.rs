//! HTTP/1.1 as bytes and types: request heads, body framing, responses. No I/O, no clock.

pub mod head;
pub mod response;

pub use head::Head;
pub use response::{Response, ResponseBody, Source};
