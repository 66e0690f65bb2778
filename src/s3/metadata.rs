//! Headers that an object keeps: read from the request that writes it, written into those that read it.
//!
//! Source: AWS, "Working with object metadata".

use crate::base::limits::USER_METADATA_BYTES_MAX;
use crate::engine::{Headers, Object};
use crate::http::{Response, date};
use crate::io::Host;
use crate::s3::error::{Code, S3Error};
use crate::s3::lock;
use crate::s3::multipart::checksum_text;
use crate::s3::request::Request;
use crate::s3::tagging::TagSet;

/// User metadata begin so.
pub const USER_PREFIX: &str = "x-amz-meta-";

const CONTENT_TYPE_DEFAULT: &[u8] = b"binary/octet-stream";
const REDIRECT: &str = "x-amz-website-redirect-location";

/// System headers that are kept as they are sent, by the name they are answered with.
const KEPT: [(&str, &str); 6] = [
    ("cache-control", "Cache-Control"),
    ("content-disposition", "Content-Disposition"),
    ("content-encoding", "Content-Encoding"),
    ("content-language", "Content-Language"),
    ("content-type", "Content-Type"),
    ("expires", "Expires"),
];

/// Query parameters that replace a header of a GET's response.
const OVERRIDES: [(&str, &str); 6] = [
    ("response-cache-control", "cache-control"),
    ("response-content-disposition", "content-disposition"),
    ("response-content-encoding", "content-encoding"),
    ("response-content-language", "content-language"),
    ("response-content-type", "content-type"),
    ("response-expires", "expires"),
];

/// What the object that `request` writes is to keep.
pub fn of_request(request: &Request) -> Result<Headers, S3Error> {
    check_storage_class(request)?;
    let mut headers = Headers::new();
    for (name, _) in KEPT {
        let value = request.head.header(name);
        match (name, value) {
            ("content-type", None | Some(b"")) => {
                headers.push((name.to_owned(), CONTENT_TYPE_DEFAULT.to_vec()));
            }
            ("content-encoding", Some(value)) => {
                let value = without_aws_chunked(value);
                if !value.is_empty() {
                    headers.push((name.to_owned(), value));
                }
            }
            (_, Some(value)) => headers.push((name.to_owned(), value.to_vec())),
            (_, None) => {}
        }
    }
    headers.extend(redirect(request)?);
    add_user_metadata(request, &mut headers)?;
    Ok(headers)
}

/// What a copy keeps of its source: all but the redirect, which only the copy's request can set, and what is
/// kept beside headers (tags, ACL), which have rules of their own.
pub fn of_source(source: &Headers, request: &Request) -> Result<Headers, S3Error> {
    check_storage_class(request)?;
    let mut headers: Headers =
        source.iter().filter(|(name, _)| is_header(name) && name != REDIRECT).cloned().collect();
    headers.extend(redirect(request)?);
    Ok(headers)
}

/// There is one storage class.
fn check_storage_class(request: &Request) -> Result<(), S3Error> {
    match request.head.header("x-amz-storage-class") {
        None | Some(b"STANDARD") => Ok(()),
        Some(class) => Err(S3Error::new(Code::InvalidStorageClass)
            .with_field("StorageClassRequested", String::from_utf8_lossy(class))),
    }
}

/// Drops the coding that describes the request's framing, not the object. A list without it stays as it is
/// written.
fn without_aws_chunked(value: &[u8]) -> Vec<u8> {
    let codings: Vec<_> = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii).collect();
    let is_framing = |coding: &&[u8]| coding.eq_ignore_ascii_case(b"aws-chunked");
    if !codings.iter().any(is_framing) {
        return value.to_vec();
    }
    let kept: Vec<_> = codings.into_iter().filter(|coding| !is_framing(coding)).collect();
    kept.join(&b","[..])
}

fn redirect(request: &Request) -> Result<Option<(String, Vec<u8>)>, S3Error> {
    match request.header(REDIRECT)? {
        None => Ok(None),
        Some(to) if ["/", "http://", "https://"].iter().any(|start| to.starts_with(start)) => {
            Ok(Some((REDIRECT.to_owned(), to.as_bytes().to_vec())))
        }
        Some(_) => Err(Code::InvalidRedirectLocation.into()),
    }
}

/// Collects `x-amz-meta-*`; repeated names become one list, as HTTP has it.
fn add_user_metadata(request: &Request, headers: &mut Headers) -> Result<(), S3Error> {
    let first = headers.len();
    let mut bytes = 0;
    for (name, value) in &request.head.headers {
        let Some(short) = name.strip_prefix(USER_PREFIX) else { continue };
        bytes += value.len();
        match headers[first..].iter_mut().find(|(have, _)| have == name) {
            Some((_, list)) => {
                list.push(b',');
                list.extend_from_slice(value);
            }
            None => {
                bytes += short.len();
                headers.push((name.clone(), value.clone()));
            }
        }
    }
    if bytes > USER_METADATA_BYTES_MAX {
        return Err(S3Error::new(Code::MetadataTooLarge)
            .with_field("Size", bytes)
            .with_field("MaxSizeAllowed", USER_METADATA_BYTES_MAX));
    }
    Ok(())
}

/// Writes the headers that describe an object, for GET and HEAD of it or of a part of it.
pub fn describe<H: Host>(
    response: &mut Response,
    object: &Object<H>,
    request: &Request,
    is_anonymous: bool,
) -> Result<(), S3Error> {
    response.header("Last-Modified", date::imf_fixdate(object.modified()));
    response.header("ETag", format!("\"{}\"", object.attributes.etag));
    response.header("Accept-Ranges", "bytes");
    write_kept(response, &object.attributes.headers, request, is_anonymous)?;
    let tags = TagSet::load(&object.attributes.headers);
    if !tags.is_empty() {
        response.header("x-amz-tagging-count", tags.len().to_string());
    }
    lock::describe(response, &object.attributes.lock);
    Ok(())
}

/// Writes an object's checksum if the request asks for it.
pub fn describe_checksum<H: Host>(response: &mut Response, object: &Object<H>, request: &Request) {
    if let (true, Some(checksum)) = (is_checksum_asked(request), &object.attributes.checksum) {
        response.header(checksum.algorithm.header(), checksum_text(checksum, object.parts.len()));
        response.header("x-amz-checksum-type", checksum.kind.name());
    }
}

/// Whether a read asks for checksums.
pub fn is_checksum_asked(request: &Request) -> bool {
    request.head.header("x-amz-checksum-mode").is_some_and(|mode| mode.eq_ignore_ascii_case(b"ENABLED"))
}

fn write_kept(
    response: &mut Response,
    headers: &Headers,
    request: &Request,
    is_anonymous: bool,
) -> Result<(), S3Error> {
    let overrides: Vec<_> =
        OVERRIDES.iter().filter_map(|(parameter, name)| Some((*name, request.query(parameter)?))).collect();
    if is_anonymous && !overrides.is_empty() {
        let message = "Request specific response headers cannot be used for anonymous GET requests.";
        return Err(S3Error::invalid_request(message));
    }
    for (name, value) in headers.iter().filter(|(name, _)| is_header(name)) {
        if !overrides.iter().any(|(overridden, _)| overridden == name) {
            response.header(shown(name), value);
        }
    }
    for (name, value) in overrides {
        response.header(shown(name), value);
    }
    Ok(())
}

/// What objects keep beside headers has names that no header of HTTP can have.
fn is_header(name: &str) -> bool {
    !name.starts_with(':')
}

/// The spelling of a kept header in responses.
fn shown(name: &str) -> &str {
    KEPT.iter().find(|(kept, _)| *kept == name).map_or(name, |(_, shown)| shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(headers: &[(&str, &str)]) -> Result<Vec<(String, String)>, Code> {
        let headers = of_request(&Request::for_test("PUT", "/b/k", headers)).map_err(|error| error.code)?;
        Ok(headers.into_iter().map(|(name, value)| (name, String::from_utf8(value).unwrap())).collect())
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn an_object_without_a_type_is_a_stream_of_bytes() {
        assert_eq!(kept(&[]).unwrap(), pairs(&[("content-type", "binary/octet-stream")]));
        assert_eq!(kept(&[("content-type", "")]).unwrap(), pairs(&[("content-type", "binary/octet-stream")]));
    }

    #[test]
    fn the_framing_is_no_part_of_the_object() {
        let encoding = |value| {
            let kept = kept(&[("content-type", "a/b"), ("content-encoding", value)]).unwrap();
            kept.into_iter().find(|(name, _)| name == "content-encoding").map(|(_, value)| value)
        };
        assert_eq!(encoding("aws-chunked"), None);
        assert_eq!(encoding("aws-chunked, gzip"), Some("gzip".to_owned()));
        assert_eq!(encoding("gzip,AWS-Chunked"), Some("gzip".to_owned()));
        assert_eq!(encoding("aws-chunked, aws-chunked"), None);
        assert_eq!(encoding("deflate, aws-chunked, gzip"), Some("deflate,gzip".to_owned()));
        assert_eq!(encoding("gzip, br"), Some("gzip, br".to_owned()));
    }

    #[test]
    fn user_metadata_are_joined_and_bounded() {
        let headers =
            [("content-type", "a/b"), ("x-amz-meta-a", "1"), ("x-amz-meta-b", "ü"), ("x-amz-meta-a", "2")];
        let expected = [("content-type", "a/b"), ("x-amz-meta-a", "1,2"), ("x-amz-meta-b", "ü")];
        assert_eq!(kept(&headers).unwrap(), pairs(&expected));
        let value = "v".repeat(USER_METADATA_BYTES_MAX - 1);
        assert!(kept(&[("x-amz-meta-a", value.as_str())]).is_ok());
        assert_eq!(kept(&[("x-amz-meta-ab", value.as_str())]), Err(Code::MetadataTooLarge));
    }

    #[test]
    fn there_is_one_storage_class_and_redirects_go_somewhere() {
        assert!(kept(&[("x-amz-storage-class", "STANDARD")]).is_ok());
        assert_eq!(kept(&[("x-amz-storage-class", "GLACIER")]), Err(Code::InvalidStorageClass));
        assert!(kept(&[(REDIRECT, "/other")]).is_ok());
        assert_eq!(kept(&[(REDIRECT, "other")]), Err(Code::InvalidRedirectLocation));
    }

    #[test]
    fn a_copy_takes_all_but_the_redirect_of_its_source() {
        let source = vec![
            ("x-amz-meta-a".to_owned(), b"1".to_vec()),
            (REDIRECT.to_owned(), b"/x".to_vec()),
            (":tags".to_owned(), b"a=b".to_vec()),
        ];
        let headers = of_source(&source, &Request::for_test("PUT", "/b/k", &[])).unwrap();
        assert_eq!(headers, source[..1]);
    }

    #[test]
    fn a_response_is_overridden_for_those_who_signed() {
        let request = Request::for_test("GET", "/b/k?response-content-type=text/x&response-expires=0", &[]);
        let headers = vec![
            ("content-type".to_owned(), b"a/b".to_vec()),
            ("x-amz-meta-a".to_owned(), b"1".to_vec()),
            (":tags".to_owned(), b"a=b".to_vec()),
        ];
        let mut response = Response::new(200);
        write_kept(&mut response, &headers, &request, false).unwrap();
        assert_eq!(
            String::from_utf8(response.headers).unwrap(),
            "x-amz-meta-a: 1\r\nContent-Type: text/x\r\nExpires: 0\r\n"
        );
        let refusal = write_kept(&mut Response::new(200), &headers, &request, true).unwrap_err();
        assert_eq!(refusal.code, Code::InvalidRequest);
    }
}
