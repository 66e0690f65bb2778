//! GetObject: an object, a range or a part of it, or several ranges as `multipart/byteranges`.

use std::collections::VecDeque;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use crate::base::limits::BUFFER_WAIT_MS_MAX;
use crate::base::local::within;
use crate::engine::{EngineError, Object};
use crate::http::{Response, ResponseBody, Source, SourceError};
use crate::io::{Chunk, Host};
use crate::s3::access::Authorized;
use crate::s3::encryption::{Opened, PlainReader};
use crate::s3::error::{Code, S3Error};
use crate::s3::read::{self, Outcome, Reading, Selection, content_range};
use crate::s3::service::S3Service;

pub async fn run<H: Host>(service: &S3Service<H>, request: Authorized) -> Result<Response, S3Error> {
    let reading = match read::look_up(service, &request).await? {
        Outcome::Proceed(reading) => reading,
        Outcome::NotModified(response) => return Ok(response),
    };
    let mut response = reading.response(&request)?;
    let content = Content::of(service, &reading, &mut response);
    let bytes = content.bytes();
    if bytes == 0 {
        return Ok(response);
    }
    let Reading { object, opened, .. } = reading;
    let mut source = ObjectSource { object, opened, pieces: content.pieces, reader: None, first: None };
    // The first run is read before the status is sent, so that a failure can still be an error response. So can
    // be that no buffer comes free.
    let host = service.engine().host();
    let first = if host.pool().is_exhausted() {
        let pause = host.sleep(Duration::from_millis(BUFFER_WAIT_MS_MAX));
        within(source.pull(), pause).await.ok_or(S3Error::new(Code::SlowDown))?
    } else {
        source.pull().await
    };
    response.body = match first.transpose()? {
        Some(Chunk::Bytes(whole)) if whole.len() as u64 == bytes => ResponseBody::Bytes(whole),
        first => {
            source.first = first;
            ResponseBody::Stream { bytes, source: Box::new(source) }
        }
    };
    Ok(response)
}

/// A response body as a sequence of pieces.
#[derive(Debug, PartialEq, Eq)]
pub struct Content {
    pieces: VecDeque<Piece>,
}

#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(Bytes),
    Range(Range<u64>),
}

impl Content {
    /// What a read sends. For several ranges, `response` gets another `Content-Type`, and the object's own
    /// moves into each part.
    pub fn of<H: Host>(service: &S3Service<H>, reading: &Reading<H>, response: &mut Response) -> Self {
        let one = |range: Range<u64>| Self { pieces: [Piece::Range(range)].into() };
        match &reading.selection {
            Selection::Whole => one(0..reading.object.bytes),
            Selection::Range(range) | Selection::Part { range, .. } => one(range.clone()),
            Selection::Ranges(ranges) => {
                let boundary = boundary(service.engine().host());
                let content_type = replace_content_type(response, &boundary);
                Self::of_ranges(ranges, reading.object.bytes, &content_type, &boundary)
            }
        }
    }

    fn of_ranges(ranges: &[Range<u64>], total: u64, content_type: &[u8], boundary: &str) -> Self {
        let mut pieces = VecDeque::with_capacity(ranges.len() * 2 + 1);
        for range in ranges {
            let mut text = format!("\r\n--{boundary}\r\nContent-Type: ").into_bytes();
            text.extend_from_slice(content_type);
            text.extend_from_slice(b"\r\nContent-Range: ");
            text.extend_from_slice(content_range(range, total).as_bytes());
            text.extend_from_slice(b"\r\n\r\n");
            pieces.push_back(Piece::Text(text.into()));
            pieces.push_back(Piece::Range(range.clone()));
        }
        pieces.push_back(Piece::Text(format!("\r\n--{boundary}--\r\n").into()));
        Self { pieces }
    }

    /// Length of the body.
    pub fn bytes(&self) -> u64 {
        let bytes = |piece: &Piece| match piece {
            Piece::Text(text) => text.len() as u64,
            Piece::Range(range) => range.end - range.start,
        };
        self.pieces.iter().map(bytes).sum()
    }
}

/// Separates the parts of a `multipart/byteranges` body (RFC 9110, section 14.6). It is drawn for each
/// response, so that no stored object can hold it.
fn boundary<H: Host>(host: &H) -> String {
    let mut bytes = [0; 16];
    host.random(&mut bytes);
    format!("{:032x}", u128::from_be_bytes(bytes))
}

/// Puts the type of a body of several ranges in place of the object's, which it returns.
fn replace_content_type(response: &mut Response, boundary: &str) -> Vec<u8> {
    const NAME: &[u8] = b"Content-Type: ";
    let headers = std::mem::take(&mut response.headers);
    let mut content_type = Vec::new();
    for line in headers.split_inclusive(|byte| *byte == b'\n') {
        match line.strip_prefix(NAME) {
            Some(value) => content_type = value.trim_ascii_end().to_vec(),
            None => response.headers.extend_from_slice(line),
        }
    }
    response.header("Content-Type", format!("multipart/byteranges; boundary={boundary}"));
    content_type
}

/// Reads the pieces of a body one after the other.
struct ObjectSource<H: Host> {
    object: Object<H>,
    opened: Opened,
    pieces: VecDeque<Piece>,
    /// Of the range at hand.
    reader: Option<PlainReader<H>>,
    /// What was read ahead of the response.
    first: Option<Chunk>,
}

impl<H: Host> ObjectSource<H> {
    async fn pull(&mut self) -> Option<Result<Chunk, EngineError>> {
        loop {
            if let Some(reader) = &mut self.reader {
                if let Some(chunk) = reader.next().await {
                    return Some(chunk);
                }
                self.reader = None;
            }
            match self.pieces.pop_front()? {
                Piece::Text(text) => return Some(Ok(Chunk::Bytes(text))),
                Piece::Range(range) => self.reader = Some(self.opened.reader(&self.object, range)),
            }
        }
    }
}

impl<H: Host> Source for ObjectSource<H> {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Option<Result<Chunk, SourceError>>> + '_>> {
        Box::pin(async move {
            if let Some(chunk) = self.first.take() {
                return Some(Ok(chunk));
            }
            Some(self.pull().await?.map_err(|error| SourceError(error.to_string())))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_ranges_become_parts_with_their_own_headers() {
        let boundary = "0123";
        let mut response =
            Response::new(206).with_header("ETag", "x").with_header("Content-Type", "text/plain");
        let content_type = replace_content_type(&mut response, boundary);
        assert_eq!(
            String::from_utf8(response.headers).unwrap(),
            format!("ETag: x\r\nContent-Type: multipart/byteranges; boundary={boundary}\r\n")
        );
        let content = Content::of_ranges(&[50..60, 0..1], 100, &content_type, boundary);
        let mut body = String::new();
        for piece in &content.pieces {
            match piece {
                Piece::Text(text) => body.push_str(std::str::from_utf8(text).unwrap()),
                Piece::Range(range) => body.push_str(&"x".repeat((range.end - range.start) as usize)),
            }
        }
        assert_eq!(
            body,
            format!(
                "\r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 50-59/100\r\n\r\n\
                 xxxxxxxxxx\r\n--{boundary}\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-0/100\
                 \r\n\r\nx\r\n--{boundary}--\r\n"
            )
        );
        assert_eq!(content.bytes(), body.len() as u64);
    }
}
