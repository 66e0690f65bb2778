//! What GetObject and HeadObject have in common: which object, whether the client wants it at all, and
//! which part of it.

use std::ops::Range;

use crate::auth::Identity;
use crate::engine::{Object, ObjectPart, VersionId};
use crate::http::range::{self, RangeRequest};
use crate::http::{Response, date};
use crate::io::{Host, TimestampMs};
use crate::s3::access::Authorized;
use crate::s3::encryption::{Answer, Opened, requests};
use crate::s3::error::{Code, S3Error};
use crate::s3::expiration::{self, Current};
use crate::s3::metadata;
use crate::s3::multipart::{checksum_text, part_number};
use crate::s3::precondition::{Preconditions, Verdict};
use crate::s3::request::Request;
use crate::s3::service::S3Service;
use crate::s3::version;

/// A read that can go on.
pub struct Reading<H: Host> {
    pub object: Object<H>,
    /// `None` if the bucket never had versioning.
    pub version: Option<VersionId>,
    /// What it takes to read it.
    pub opened: Opened,
    pub selection: Selection,
    /// Value of `x-amz-expiration`; of the current version only.
    expiration: Option<String>,
}

/// What a read of an object came to.
pub enum Outcome<H: Host> {
    Proceed(Reading<H>),
    /// The client's copy is current: 304, complete.
    NotModified(Response),
}

/// Which bytes of an object are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    Whole,
    Range(Range<u64>),
    /// At least two, none overlapping another.
    Ranges(Vec<Range<u64>>),
    /// A part of a multipart object, by its place among the parts; of another object, all of it.
    Part {
        index: usize,
        range: Range<u64>,
    },
}

/// Looks the object up and judges the request's conditions and ranges.
pub async fn look_up<H: Host>(service: &S3Service<H>, request: &Authorized) -> Result<Outcome<H>, S3Error> {
    let bucket = service.bucket(request)?;
    let named = version::named(request)?;
    let lookup = service.engine().get(bucket.id, request.key.as_bytes(), named).await?;
    let object = version::found(lookup, named, &request.key)?;
    request.check_seen(&object)?;
    let version = version::shown(&bucket, object.version());
    let shape = Shape { bytes: object.bytes, modified: object.modified(), parts: &object.parts };
    let selection = select(request, &shape, &object.attributes.etag.to_string());
    // Of a part that is not there nothing could be decrypted, with whatever key.
    let opened = match requests::opened(service, &object, request) {
        Ok(opened) => opened,
        Err(error) => return Err(selection.err().unwrap_or(error)),
    };
    match Preconditions::of_read(request).judge(&object.attributes.etag, object.modified()) {
        Verdict::Proceed => {}
        Verdict::Failed(header) => return Err(S3Error::precondition_failed(header)),
        Verdict::NotModified => {
            let mut response = not_modified(&object);
            version::write(&mut response, version);
            return Ok(Outcome::NotModified(response));
        }
    }
    let selection = selection?;
    let expiration = match named {
        None => {
            let (bytes, headers, modified) = (object.bytes, &object.attributes.headers, object.modified());
            let current = Current { key: &request.key, bytes, headers, modified };
            expiration::of_object(service, &bucket, current)
        }
        Some(_) => None,
    };
    Ok(Outcome::Proceed(Reading { object, version, opened, selection, expiration }))
}

/// RFC 9110, section 15.4.5, names the headers of a 304.
fn not_modified<H: Host>(object: &Object<H>) -> Response {
    let mut response = Response::new(304);
    response.header("Last-Modified", date::imf_fixdate(object.modified()));
    response.header("ETag", format!("\"{}\"", object.attributes.etag));
    for (name, value) in &object.attributes.headers {
        if name == "cache-control" || name == "expires" {
            response.header(name, value);
        }
    }
    response
}

/// What a selection depends on.
struct Shape<'a> {
    bytes: u64,
    modified: TimestampMs,
    parts: &'a [ObjectPart],
}

fn select(request: &Request, shape: &Shape<'_>, etag: &str) -> Result<Selection, S3Error> {
    let header = request.head.header("range").filter(|_| is_range_current(request, shape, etag));
    match (request.query("partNumber"), header) {
        (Some(_), Some(_)) => {
            Err(S3Error::invalid_request("Cannot specify both Range header and partNumber query parameter"))
        }
        (Some(number), None) => select_part(part_number(number)?, shape),
        (None, Some(header)) => match range::parse(header, shape.bytes) {
            RangeRequest::Ignored => Ok(Selection::Whole),
            RangeRequest::Satisfiable(ranges) => Ok(merged(ranges)),
            RangeRequest::Unsatisfiable => Err(S3Error::new(Code::InvalidRange)
                .with_field("RangeRequested", String::from_utf8_lossy(header))
                .with_field("ActualObjectSize", shape.bytes)
                .with_header("Content-Range", format!("bytes */{}", shape.bytes))),
        },
        (None, None) => Ok(Selection::Whole),
    }
}

/// `If-Range`: a range of an object that has changed since would be glued to bytes of its predecessor.
fn is_range_current(request: &Request, shape: &Shape<'_>, etag: &str) -> bool {
    let Some(validator) = request.head.text("if-range").map(str::trim) else { return true };
    match date::parse_http_date(validator) {
        Some(time) => time / 1000 == shape.modified / 1000,
        None => validator.trim_matches('"') == etag,
    }
}

/// A list whose ranges overlap is merged, so that no byte is sent twice; another keeps its order.
fn merged(mut ranges: Vec<Range<u64>>) -> Selection {
    let mut sorted = ranges.clone();
    sorted.sort_unstable_by_key(|range| (range.start, range.end));
    if sorted.windows(2).any(|pair| pair[1].start < pair[0].end) {
        ranges.clear();
        for range in sorted {
            match ranges.last_mut() {
                Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
                _ => ranges.push(range),
            }
        }
    }
    if ranges.len() == 1 { Selection::Range(ranges.swap_remove(0)) } else { Selection::Ranges(ranges) }
}

fn select_part(number: u16, shape: &Shape<'_>) -> Result<Selection, S3Error> {
    if shape.parts.is_empty() && number == 1 {
        return Ok(Selection::Part { index: 0, range: 0..shape.bytes });
    }
    let mut start = 0;
    for (index, part) in shape.parts.iter().enumerate() {
        if part.number == number {
            return Ok(Selection::Part { index, range: start..start + part.bytes });
        }
        start += part.bytes;
    }
    Err(S3Error::new(Code::InvalidPart)
        .with_field("ActualPartCount", shape.parts.len().max(1))
        .with_field("PartNumberRequested", number))
}

impl<H: Host> Reading<H> {
    /// Status and headers of the response, without its body and what depends on it.
    pub fn response(&self, request: &Authorized) -> Result<Response, S3Error> {
        let status = match &self.selection {
            Selection::Whole => 200,
            // An empty object has no range that could be named.
            Selection::Part { range, .. } if range.is_empty() && self.object.bytes == 0 => 200,
            _ => 206,
        };
        let mut response = Response::new(status);
        let is_anonymous = *request.identity() == Identity::Anonymous;
        version::write(&mut response, self.version);
        expiration::write(&mut response, self.expiration.as_ref());
        metadata::describe(&mut response, &self.object, request, is_anonymous)?;
        self.describe_selection(&mut response, request);
        if let Some(data_key) = self.opened.data_key() {
            data_key.describe(&mut response, Answer::Found);
        }
        Ok(response)
    }

    fn describe_selection(&self, response: &mut Response, request: &Request) {
        let total = self.object.bytes;
        match &self.selection {
            Selection::Whole => metadata::describe_checksum(response, &self.object, request),
            Selection::Range(range) => {
                response.header("Content-Range", content_range(range, total));
            }
            Selection::Ranges(_) => {}
            Selection::Part { index, range } => {
                if !range.is_empty() {
                    response.header("Content-Range", content_range(range, total));
                }
                match self.object.parts.get(*index) {
                    Some(part) => {
                        response.header("x-amz-mp-parts-count", self.object.parts.len().to_string());
                        self.describe_part_checksum(response, part, request);
                    }
                    None => metadata::describe_checksum(response, &self.object, request),
                }
            }
        }
    }

    /// The part's own checksum, and how that of the object is made of its parts'.
    fn describe_part_checksum(&self, response: &mut Response, part: &ObjectPart, request: &Request) {
        let (true, Some(checksum)) = (metadata::is_checksum_asked(request), &part.checksum) else { return };
        response.header(checksum.algorithm.header(), checksum_text(checksum, 0));
        if let Some(object) = &self.object.attributes.checksum {
            response.header("x-amz-checksum-type", object.kind.name());
        }
    }
}

/// The value of `Content-Range` for a range that is not empty.
pub fn content_range(range: &Range<u64>, total: u64) -> String {
    format!("bytes {}-{}/{total}", range.start, range.end - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ETAG: &str = "9e107d9d372bb6826bd81d3542a419d6";

    fn selected(target: &str, headers: &[(&str, &str)], parts: &[u64]) -> Result<Selection, S3Error> {
        let parts: Vec<_> = (1..)
            .zip(parts)
            .map(|(number, bytes)| ObjectPart { number, bytes: *bytes, checksum: None, note: Vec::new() })
            .collect();
        let bytes = if parts.is_empty() { 100 } else { parts.iter().map(|part| part.bytes).sum() };
        let shape = Shape { bytes, modified: 784_111_777_999, parts: &parts };
        select(&Request::for_test("GET", target, headers), &shape, ETAG)
    }

    fn ranged(value: &str) -> Selection {
        selected("/b/k", &[("range", value)], &[]).unwrap()
    }

    #[test]
    fn ranges_are_single_several_or_ignored() {
        assert_eq!(ranged("bytes=0-9"), Selection::Range(0..10));
        assert_eq!(ranged("bytes=-1"), Selection::Range(99..100));
        assert_eq!(ranged("bytes=50-59,0-9"), Selection::Ranges(vec![50..60, 0..10]));
        assert_eq!(ranged("lines=1-2"), Selection::Whole);
        assert_eq!(selected("/b/k", &[], &[]).unwrap(), Selection::Whole);
    }

    #[test]
    fn overlapping_ranges_are_sent_once() {
        assert_eq!(ranged("bytes=5-20,0-9,15-30"), Selection::Range(0..31));
        assert_eq!(ranged("bytes=0-,0-,0-"), Selection::Range(0..100));
        assert_eq!(ranged("bytes=90-,0-9,5-14"), Selection::Ranges(vec![0..15, 90..100]));
    }

    #[test]
    fn a_range_beyond_the_object_names_both() {
        let error = selected("/b/k", &[("range", "bytes=100-")], &[]).unwrap_err();
        assert_eq!(error.code, Code::InvalidRange);
        assert_eq!(error.fields[0], ("RangeRequested", "bytes=100-".to_owned()));
        assert_eq!(error.fields[1], ("ActualObjectSize", "100".to_owned()));
    }

    #[test]
    fn a_range_of_what_has_changed_is_ignored() {
        let with = |validator: &str| {
            selected("/b/k", &[("range", "bytes=0-9"), ("if-range", validator)], &[]).unwrap()
        };
        let current = format!("\"{ETAG}\"");
        assert_eq!(with(&current), Selection::Range(0..10));
        assert_eq!(with("Sun, 06 Nov 1994 08:49:37 GMT"), Selection::Range(0..10));
        assert_eq!(with("\"other\""), Selection::Whole);
        assert_eq!(with("Sun, 06 Nov 1994 08:49:36 GMT"), Selection::Whole);
    }

    #[test]
    fn parts_are_named_by_number() {
        let part = |number, parts: &[u64]| selected(&format!("/b/k?partNumber={number}"), &[], parts);
        assert_eq!(part(2, &[10, 20, 5]).unwrap(), Selection::Part { index: 1, range: 10..30 });
        assert_eq!(part(1, &[]).unwrap(), Selection::Part { index: 0, range: 0..100 });
        assert_eq!(part(4, &[10, 20, 5]).unwrap_err().code, Code::InvalidPart);
        assert_eq!(part(2, &[]).unwrap_err().code, Code::InvalidPart);
        assert_eq!(part(0, &[]).unwrap_err().code, Code::InvalidArgument);
        let both = selected("/b/k?partNumber=1", &[("range", "bytes=0-1")], &[]);
        assert_eq!(both.unwrap_err().code, Code::InvalidRequest);
    }
}
