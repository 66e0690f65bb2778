//! HTTP/1.1 as bytes and types: request heads, body framing, responses, and the encodings S3 puts on top
//! (`aws-chunked`, percent-encoded keys, three ways to write a date). No I/O, no clock.

pub mod aws_chunked;
pub mod chunked;
pub mod date;
pub mod form;
pub mod framing;
pub mod head;
pub mod percent;
pub mod query;
pub mod range;
pub mod response;

pub use framing::{BodyFraming, Framing};
pub use head::{Head, HeadError, HeadParser};
pub use query::Query;
pub use response::{Ended, Exchange, Response, ResponseBody, Source, SourceError, SourceFuture};
