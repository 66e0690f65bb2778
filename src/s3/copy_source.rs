//! `x-amz-copy-source`: the object that CopyObject and UploadPartCopy read.

use crate::engine::{Object, VersionId};
use crate::http::Response;
use crate::io::Host;
use crate::s3::error::{Code, S3Error};
use crate::s3::request::{Request, decode};
use crate::s3::version;

const HEADER: &str = "x-amz-copy-source";

/// The source of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopySource {
    pub bucket: String,
    pub key: String,
    /// `None`: the current one.
    pub version: Option<VersionId>,
}

/// What a copy reads.
pub struct Source<H: Host> {
    pub name: CopySource,
    pub object: Object<H>,
    /// `None` if its bucket never had versioning.
    pub version: Option<VersionId>,
}

impl<H: Host> Source<H> {
    /// Names the version that was copied in an answer.
    pub fn describe(&self, response: &mut Response) {
        if let Some(version) = self.version {
            response.header("x-amz-copy-source-version-id", version::text(version));
        }
    }
}

impl CopySource {
    /// Reads the header: `bucket/key`, percent-encoded, with or without a slash before it, and perhaps
    /// `?versionId=…` after it.
    pub fn of(request: &Request) -> Result<Self, S3Error> {
        let value = request.header(HEADER)?.unwrap_or_default();
        let (path, id) = match value.rsplit_once("?versionId=") {
            Some((path, id)) => (path, Some(id)),
            None => (value, None),
        };
        if path.starts_with("arn:") {
            return Err(S3Error::not_implemented(HEADER));
        }
        let path = decode(path).map_err(|_| invalid(value))?;
        let path = path.strip_prefix('/').unwrap_or(&path);
        match path.split_once('/') {
            Some((bucket, key)) if !bucket.is_empty() && !key.is_empty() => {
                let version = version::read(id)?;
                Ok(Self { bucket: bucket.to_owned(), key: key.to_owned(), version })
            }
            _ => Err(invalid(value)),
        }
    }
}

fn invalid(value: &str) -> S3Error {
    let message = "Copy Source must mention the source bucket and key: sourcebucket/sourcekey";
    S3Error::new(Code::InvalidArgument)
        .with_message(message)
        .with_field("ArgumentName", HEADER)
        .with_field("ArgumentValue", value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(value: &str) -> Result<(String, String), Code> {
        let request = Request::for_test("PUT", "/b/k", &[(HEADER, value)]);
        CopySource::of(&request).map(|source| (source.bucket, source.key)).map_err(|error| error.code)
    }

    #[test]
    fn a_source_is_read_in_every_form_clients_send() {
        for (value, bucket, key) in [
            ("b/k", "b", "k"),
            ("/b/k/l", "b", "k/l"),
            ("%2Fb%2Fk", "b", "k"),
            ("b/a%20b+c%2Bd", "b", "a b+c+d"),
            ("b/k%3FversionId=x", "b", "k?versionId=x"),
            ("b//k", "b", "/k"),
        ] {
            assert_eq!(source(value), Ok((bucket.to_owned(), key.to_owned())), "{value}");
        }
    }

    #[test]
    fn a_source_may_name_a_version() {
        for (value, version) in [
            ("b/k", None),
            ("b/k?versionId=null", Some(VersionId::Null)),
            ("b/k?versionId=0000000000000010", Some(VersionId::Numbered(16))),
        ] {
            let request = Request::for_test("PUT", "/b/k", &[(HEADER, value)]);
            assert_eq!(CopySource::of(&request).unwrap().version, version, "{value}");
        }
    }

    #[test]
    fn a_source_that_names_no_object_is_refused() {
        for value in ["", "b", "b/", "/", "//k", "b/%ff"] {
            assert_eq!(source(value), Err(Code::InvalidArgument), "{value}");
        }
        assert_eq!(source("b/k?versionId=x"), Err(Code::InvalidArgument));
        assert_eq!(source("b/k?versionId="), Err(Code::InvalidArgument));
        assert_eq!(source("arn:aws:s3:us-east-1:1:accesspoint/a/object/k"), Err(Code::NotImplemented));
    }
}
