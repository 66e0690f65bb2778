//! Versions as clients name and see them: `versionId`, `x-amz-version-id`, and what is answered when the
//! version that was asked for is a delete marker or not there.
//!
//! Source: AWS, "Working with delete markers" and "Retrieving object versions from a versioning-enabled
//! bucket".

use crate::engine::{Bucket, EngineError, Lookup, Object, VersionId, Versioning};
use crate::http::{Response, date};
use crate::io::{Host, TimestampMs};
use crate::s3::error::{Code, S3Error};
use crate::s3::request::Request;

/// The header that names the version that was read or made.
pub const HEADER: &str = "x-amz-version-id";

/// The header that says that a version is a delete marker.
pub const MARKER_HEADER: &str = "x-amz-delete-marker";

const NULL: &str = "null";

/// A version id as clients see it: `null`, or 16 hexadecimal digits.
pub fn text(version: VersionId) -> String {
    match version {
        VersionId::Null => NULL.to_owned(),
        VersionId::Numbered(sequence) => format!("{sequence:016x}"),
    }
}

/// Reads what [`text`] wrote.
pub fn parse(text: &str) -> Option<VersionId> {
    if text == NULL {
        return Some(VersionId::Null);
    }
    let is_id = text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let sequence = u64::from_str_radix(text, 16).ok().filter(|sequence| is_id && *sequence > 0)?;
    Some(VersionId::Numbered(sequence))
}

/// Reads `versionId`; what cannot be one is refused.
pub fn read(id: Option<&str>) -> Result<Option<VersionId>, S3Error> {
    match id {
        None => Ok(None),
        Some("") => {
            let message = "Version id cannot be the empty string";
            Err(S3Error::invalid_argument(message, "versionId", ""))
        }
        Some(id) => match parse(id) {
            Some(version) => Ok(Some(version)),
            None => Err(S3Error::invalid_argument("Invalid version id specified", "versionId", id)),
        },
    }
}

/// The version that a request names; `None` stands for what is current.
pub fn named(request: &Request) -> Result<Option<VersionId>, S3Error> {
    read(request.query("versionId"))
}

/// The object that a look-up of `named` found, or why there is none.
pub fn found<H: Host>(lookup: Lookup<H>, named: Option<VersionId>, key: &str) -> Result<Object<H>, S3Error> {
    match lookup {
        Lookup::Found(object) => Ok(object),
        Lookup::Missing => Err(missing(named, key)),
        Lookup::DeleteMarker { version, modified, .. } => Err(match named {
            None => hidden(version, key),
            Some(_) => marker_named(version, modified),
        }),
    }
}

/// What a key or a version that is not there is answered with.
pub fn missing(named: Option<VersionId>, key: &str) -> S3Error {
    match named {
        None => S3Error::no_such_key(key),
        Some(version) => {
            let error = S3Error::new(Code::NoSuchVersion);
            error.with_field("Key", key).with_field("VersionId", text(version))
        }
    }
}

/// The current version is a delete marker: there is no object, but the answer names the marker.
fn hidden(marker: VersionId, key: &str) -> S3Error {
    let error = S3Error::no_such_key(key);
    error.with_header(MARKER_HEADER, "true").with_header(HEADER, text(marker))
}

/// A delete marker was asked for by its id: all that can be done with it is to delete it.
fn marker_named(marker: VersionId, modified: TimestampMs) -> S3Error {
    let modified = String::from_utf8_lossy(&date::imf_fixdate(modified)).into_owned();
    method_not_allowed()
        .with_header("Last-Modified", modified)
        .with_header(MARKER_HEADER, "true")
        .with_header(HEADER, text(marker))
}

fn method_not_allowed() -> S3Error {
    S3Error::new(Code::MethodNotAllowed)
        .with_field("ResourceType", "DeleteMarker")
        .with_header("Allow", "DELETE")
}

/// What the engine says of a change of the version `named` of `key`.
pub fn refusal(error: EngineError, named: Option<VersionId>, key: &str) -> S3Error {
    match (error, named) {
        (EngineError::NoSuchObject, _) => missing(named, key),
        (EngineError::DeleteMarker, None) => S3Error::no_such_key(key).with_header(MARKER_HEADER, "true"),
        (EngineError::DeleteMarker, Some(marker)) => {
            method_not_allowed().with_header(MARKER_HEADER, "true").with_header(HEADER, text(marker))
        }
        (other, _) => other.into(),
    }
}

/// The id that answers about a version of `bucket` show: none before the bucket ever had versioning.
pub fn shown(bucket: &Bucket, version: VersionId) -> Option<VersionId> {
    (bucket.versioning != Versioning::Unversioned).then_some(version)
}

/// Writes `x-amz-version-id` if there is a version to name.
pub fn write(response: &mut Response, version: Option<VersionId>) {
    if let Some(version) = version {
        response.header(HEADER, text(version));
    }
}

/// Writes `x-amz-version-id` into the answer of a request that made an object. AWS does not name the null
/// versions that buckets with suspended versioning get.
pub fn write_made(response: &mut Response, version: Option<VersionId>) {
    write(response, version.filter(|version| *version != VersionId::Null));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_reads_what_it_writes_and_nothing_else() {
        for version in [VersionId::Null, VersionId::Numbered(1), VersionId::Numbered(u64::MAX)] {
            assert_eq!(parse(&text(version)), Some(version));
        }
        assert_eq!(text(VersionId::Numbered(0x0199_c0de_0000_0001)), "0199c0de00000001");
        for id in ["NULL", "0", "0000000000000000", "0199C0DE00000001", "+199c0de00000001", "x"] {
            let error = read(Some(id)).unwrap_err();
            assert_eq!(
                (error.code, error.message.as_ref()),
                (Code::InvalidArgument, "Invalid version id specified")
            );
        }
        assert_eq!(read(Some("")).unwrap_err().message, "Version id cannot be the empty string");
        assert_eq!(read(None), Ok(None));
    }

    #[test]
    fn a_delete_marker_hides_the_key_and_cannot_be_read_itself() {
        let marker = VersionId::Numbered(5);
        let error = hidden(marker, "k");
        assert_eq!(error.code, Code::NoSuchKey);
        assert!(error.headers.contains(&(MARKER_HEADER, "true".to_owned())));
        let error = marker_named(marker, 784_111_777_000);
        assert_eq!(error.code, Code::MethodNotAllowed);
        assert!(error.headers.contains(&("Allow", "DELETE".to_owned())));
        assert!(error.headers.contains(&("Last-Modified", "Sun, 06 Nov 1994 08:49:37 GMT".to_owned())));
        assert_eq!(missing(Some(marker), "k").code, Code::NoSuchVersion);
        assert_eq!(missing(None, "k").code, Code::NoSuchKey);
    }
}
