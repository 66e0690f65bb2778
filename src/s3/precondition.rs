//! Conditional requests: what must hold of an object for it to be read, copied, replaced or deleted.
//!
//! Source: RFC 9110 section 13 for the headers and their precedence; AWS, "Add preconditions to S3
//! operations with conditional requests", for what S3 makes of them.

use crate::base::etag::ETag;
use crate::engine::{Condition, ETagMatch, EngineError, Object};
use crate::http::date;
use crate::io::{Host, TimestampMs};
use crate::s3::error::S3Error;
use crate::s3::request::Request;

/// Conditions on reading an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preconditions {
    if_match: Option<ETagMatch>,
    if_none_match: Option<ETagMatch>,
    /// Seconds since the Unix epoch.
    if_modified_since: Option<u64>,
    /// Seconds since the Unix epoch.
    if_unmodified_since: Option<u64>,
    names: &'static Names,
}

/// The headers that carry the conditions; they name the condition that failed.
#[derive(Debug, PartialEq, Eq)]
struct Names {
    if_match: [&'static str; 2],
    if_none_match: [&'static str; 2],
    if_modified_since: [&'static str; 2],
    if_unmodified_since: [&'static str; 2],
}

static READ: Names = Names {
    if_match: ["if-match", "If-Match"],
    if_none_match: ["if-none-match", "If-None-Match"],
    if_modified_since: ["if-modified-since", "If-Modified-Since"],
    if_unmodified_since: ["if-unmodified-since", "If-Unmodified-Since"],
};

static COPY_SOURCE: Names = Names {
    if_match: ["x-amz-copy-source-if-match"; 2],
    if_none_match: ["x-amz-copy-source-if-none-match"; 2],
    if_modified_since: ["x-amz-copy-source-if-modified-since"; 2],
    if_unmodified_since: ["x-amz-copy-source-if-unmodified-since"; 2],
};

static RENAME_SOURCE: Names = Names {
    if_match: ["x-amz-rename-source-if-match"; 2],
    if_none_match: ["x-amz-rename-source-if-none-match"; 2],
    if_modified_since: ["x-amz-rename-source-if-modified-since"; 2],
    if_unmodified_since: ["x-amz-rename-source-if-unmodified-since"; 2],
};

/// Of a destination: the names of reads, without 304.
static DESTINATION: Names = Names {
    if_match: ["if-match", "If-Match"],
    if_none_match: ["if-none-match", "If-None-Match"],
    if_modified_since: ["if-modified-since", "If-Modified-Since"],
    if_unmodified_since: ["if-unmodified-since", "If-Unmodified-Since"],
};

impl Default for &'static Names {
    fn default() -> Self {
        &READ
    }
}

/// What the conditions of a read say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Proceed,
    /// The client has it already: 304.
    NotModified,
    /// 412, for this header.
    Failed(&'static str),
}

impl Preconditions {
    /// Of GetObject and HeadObject.
    pub fn of_read(request: &Request) -> Self {
        Self::named(request, &READ)
    }

    /// Of the source of CopyObject and UploadPartCopy.
    pub fn of_copy_source(request: &Request) -> Self {
        Self::named(request, &COPY_SOURCE)
    }

    /// Of the source of RenameObject.
    pub fn of_rename_source(request: &Request) -> Self {
        Self::named(request, &RENAME_SOURCE)
    }

    /// Of the destination of RenameObject, which may also be about time.
    pub fn of_destination(request: &Request) -> Self {
        Self::named(request, &DESTINATION)
    }

    /// Whether nothing is asked of the time.
    pub fn is_timeless(&self) -> bool {
        self.if_modified_since.is_none() && self.if_unmodified_since.is_none()
    }

    fn named(request: &Request, names: &'static Names) -> Self {
        let tags = |name: [&str; 2]| request.head.header(name[0]).map(etag_match);
        // A date that is none is ignored, as RFC 9110 asks.
        let seconds = |name: [&str; 2]| request.head.text(name[0]).and_then(http_date_seconds);
        Self {
            if_match: tags(names.if_match),
            if_none_match: tags(names.if_none_match),
            if_modified_since: seconds(names.if_modified_since),
            if_unmodified_since: seconds(names.if_unmodified_since),
            names,
        }
    }

    /// Judges the object that is there. A condition on the ETag silences the one on the time.
    pub fn judge(&self, etag: &ETag, modified: TimestampMs) -> Verdict {
        let modified = modified / 1000;
        if let Some(tags) = &self.if_match {
            if !holds(tags, etag) {
                return Verdict::Failed(self.names.if_match[1]);
            }
        } else if self.if_unmodified_since.is_some_and(|since| modified > since) {
            return Verdict::Failed(self.names.if_unmodified_since[1]);
        }
        if let Some(tags) = &self.if_none_match {
            if holds(tags, etag) {
                return self.not_modified(self.names.if_none_match[1]);
            }
        } else if self.if_modified_since.is_some_and(|since| modified <= since) {
            return self.not_modified(self.names.if_modified_since[1]);
        }
        Verdict::Proceed
    }

    /// A copy has no 304: its condition failed.
    fn not_modified(&self, header: &'static str) -> Verdict {
        if std::ptr::eq(self.names, &READ) { Verdict::NotModified } else { Verdict::Failed(header) }
    }
}

fn http_date_seconds(text: &str) -> Option<u64> {
    date::parse_http_date(text).map(|time| time / 1000)
}

fn holds(tags: &ETagMatch, etag: &ETag) -> bool {
    match tags {
        ETagMatch::Any => true,
        ETagMatch::OneOf(tags) => tags.contains(etag),
    }
}

/// Reads a list of ETags or `*`. What is no ETag of ours matches nothing.
pub fn etag_match(value: &[u8]) -> ETagMatch {
    let text = String::from_utf8_lossy(value);
    match text.trim() {
        "*" => ETagMatch::Any,
        list => ETagMatch::OneOf(list.split(',').filter_map(ETag::parse).collect()),
    }
}

/// Conditions on replacing an object: PutObject, CopyObject's destination, CompleteMultipartUpload.
pub fn of_write(request: &Request) -> Result<Condition, S3Error> {
    let unlike = request.head.header("if-none-match");
    let matches = request.head.header("if-match");
    for (name, shown) in [READ.if_modified_since, READ.if_unmodified_since].map(|[name, shown]| (name, shown))
    {
        if request.head.header(name).is_some() {
            return Err(S3Error::not_implemented(shown));
        }
    }
    if unlike.is_some() && matches.is_some() {
        return Err(S3Error::not_implemented("If-Match,If-None-Match")
            .with_field("AdditionalMessage", "Multiple conditional request headers present in the request"));
    }
    let (absent, differs) = match unlike.map(etag_match) {
        None => (false, Vec::new()),
        Some(ETagMatch::Any) => (true, Vec::new()),
        Some(ETagMatch::OneOf(etags)) => (false, etags),
    };
    Ok(Condition { absent, differs, matches: matches.map(etag_match), ..Condition::default() })
}

/// Conditions on deleting an object.
pub fn of_delete(request: &Request) -> Result<Condition, S3Error> {
    let mut condition =
        Condition { matches: request.head.header("if-match").map(etag_match), ..Condition::default() };
    if let Some(text) = request.header("x-amz-if-match-size")? {
        let size = text
            .parse()
            .map_err(|_| S3Error::invalid_argument("Invalid size condition.", "x-amz-if-match-size", text))?;
        condition.size = Some(size);
    }
    if let Some(text) = request.header("x-amz-if-match-last-modified-time")? {
        let seconds = http_date_seconds(text).ok_or_else(|| {
            let message = "Invalid last modified time condition.";
            S3Error::invalid_argument(message, "x-amz-if-match-last-modified-time", text)
        })?;
        condition.modified_seconds = Some(seconds);
    }
    Ok(condition)
}

/// Judges the condition of a write by what is there now, as the key's owner will judge it at the end.
pub fn judge_write<H: Host>(condition: &Condition, found: Option<&Object<H>>) -> Result<(), EngineError> {
    match (found, &condition.matches) {
        (Some(_), _) if condition.absent => Err(EngineError::ConditionFailed),
        (Some(object), _) if condition.differs.contains(&object.attributes.etag) => {
            Err(EngineError::ConditionFailed)
        }
        (None, Some(_)) => Err(EngineError::ConditionOnMissing),
        (Some(object), Some(tags)) if !holds(tags, &object.attributes.etag) => {
            Err(EngineError::ConditionFailed)
        }
        _ => Ok(()),
    }
}

/// What the engine says of a conditional change of `key`, with the header that did not hold.
pub fn refusal(error: EngineError, condition: &Condition, bucket: &str, key: &str) -> S3Error {
    match error {
        EngineError::NoSuchBucket => S3Error::no_such_bucket(bucket),
        EngineError::ConditionOnMissing => S3Error::no_such_key(key),
        EngineError::ConditionFailed => S3Error::precondition_failed(failed_header(condition)),
        other => other.into(),
    }
}

fn failed_header(condition: &Condition) -> &'static str {
    if condition.absent || !condition.differs.is_empty() {
        "If-None-Match"
    } else if condition.matches.is_some() {
        "If-Match"
    } else if condition.size.is_some() {
        "x-amz-if-match-size"
    } else {
        "x-amz-if-match-last-modified-time"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::error::Code;

    const TAG: &str = "\"9e107d9d372bb6826bd81d3542a419d6\"";
    const OTHER: &str = "\"00000000000000000000000000000000\"";
    /// The object was changed at this second.
    const AT: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
    const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";

    fn judged(headers: &[(&str, &str)]) -> Verdict {
        let request = Request::for_test("GET", "/b/k", headers);
        Preconditions::of_read(&request).judge(&ETag::parse(TAG).unwrap(), 784_111_777_999)
    }

    #[test]
    fn each_condition_of_a_read_is_judged_by_itself() {
        let failed = Verdict::Failed;
        for (name, value, verdict) in [
            ("if-match", TAG, Verdict::Proceed),
            ("if-match", "9e107d9d372bb6826bd81d3542a419d6", Verdict::Proceed),
            ("if-match", "*", Verdict::Proceed),
            ("if-match", OTHER, failed("If-Match")),
            ("if-match", "garbage", failed("If-Match")),
            ("if-none-match", OTHER, Verdict::Proceed),
            ("if-none-match", TAG, Verdict::NotModified),
            ("if-none-match", "*", Verdict::NotModified),
            ("if-modified-since", BEFORE, Verdict::Proceed),
            ("if-modified-since", AT, Verdict::NotModified),
            ("if-modified-since", "yesterday", Verdict::Proceed),
            ("if-unmodified-since", AT, Verdict::Proceed),
            ("if-unmodified-since", BEFORE, failed("If-Unmodified-Since")),
        ] {
            assert_eq!(judged(&[(name, value)]), verdict, "{name}: {value}");
        }
    }

    #[test]
    fn a_condition_on_the_etag_silences_the_one_on_the_time() {
        assert_eq!(judged(&[("if-match", TAG), ("if-unmodified-since", BEFORE)]), Verdict::Proceed);
        assert_eq!(judged(&[("if-none-match", TAG), ("if-modified-since", BEFORE)]), Verdict::NotModified);
        assert_eq!(judged(&[("if-none-match", OTHER), ("if-modified-since", AT)]), Verdict::Proceed);
        let list = format!("{OTHER}, {TAG}");
        assert_eq!(judged(&[("if-none-match", list.as_str())]), Verdict::NotModified);
    }

    #[test]
    fn a_copy_has_no_304() {
        let request = Request::for_test("PUT", "/b/k", &[("x-amz-copy-source-if-none-match", TAG)]);
        let verdict = Preconditions::of_copy_source(&request).judge(&ETag::parse(TAG).unwrap(), 0);
        assert_eq!(verdict, Verdict::Failed("x-amz-copy-source-if-none-match"));
    }

    #[test]
    fn a_write_takes_stars_and_etags_but_one_condition() {
        let of = |headers: &[(&str, &str)]| of_write(&Request::for_test("PUT", "/b/k", headers));
        assert_eq!(of(&[]), Ok(Condition::default()));
        assert!(of(&[("if-none-match", "*")]).unwrap().absent);
        assert_eq!(of(&[("if-match", "*")]).unwrap().matches, Some(ETagMatch::Any));
        let differs = |value| of(&[("if-none-match", value)]).unwrap().differs;
        let list = format!("{OTHER}, {TAG}");
        assert_eq!(differs(&list), [ETag::parse(OTHER).unwrap(), ETag::parse(TAG).unwrap()]);
        assert_eq!((differs("*"), differs("garbage")), (Vec::new(), Vec::new()));
        for headers in [&[("if-none-match", "*"), ("if-match", TAG)][..], &[("if-modified-since", AT)]] {
            assert_eq!(of(headers).unwrap_err().code, Code::NotImplemented);
        }
    }

    #[test]
    fn a_delete_may_name_size_and_time() {
        let headers = [("x-amz-if-match-size", "5"), ("x-amz-if-match-last-modified-time", AT)];
        let condition = of_delete(&Request::for_test("DELETE", "/b/k", &headers)).unwrap();
        assert_eq!((condition.size, condition.modified_seconds), (Some(5), Some(784_111_777)));
        let request = Request::for_test("DELETE", "/b/k", &[("x-amz-if-match-size", "x")]);
        assert_eq!(of_delete(&request).unwrap_err().code, Code::InvalidArgument);
    }

    #[test]
    fn what_the_engine_refuses_names_the_header() {
        let absent = Condition { absent: true, ..Condition::default() };
        let error = refusal(EngineError::ConditionFailed, &absent, "b", "k");
        assert_eq!(error.fields, [("Condition", "If-None-Match".to_owned())]);
        let differs = Condition { differs: vec![ETag::parse(TAG).unwrap()], ..Condition::default() };
        assert_eq!(refusal(EngineError::ConditionFailed, &differs, "b", "k").fields, error.fields);
        assert_eq!(refusal(EngineError::ConditionOnMissing, &absent, "b", "k").code, Code::NoSuchKey);
    }
}
