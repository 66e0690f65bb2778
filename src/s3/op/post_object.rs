//! PostObject: a file that a browser's form uploads, on behalf of whoever signed the form's policy.
//!
//! Source: AWS, "POST Object" of the Amazon S3 API Reference.

use crate::auth::{PostPolicy, authenticate_form};
use crate::base::limits::KEY_BYTES_MAX;
use crate::http::form::Form;
use crate::http::{Response, percent};
use crate::io::Host;
use crate::s3::body::Incoming;
use crate::s3::error::{Code, S3Error};
use crate::s3::form::{self, FormFile};
use crate::s3::op::put_object::{self, Stored};
use crate::s3::request::Request;
use crate::s3::route::{Level, Operation, route};
use crate::s3::service::S3Service;
use crate::s3::tagging::{self, TagSet, Tagged};
use crate::s3::unsupported;
use crate::s3::xml::XmlWriter;

/// Fields that mean the header of the same name, beside those that begin with `x-amz-`.
const HEADERS: [&str; 9] = [
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-md5",
    "content-type",
    "expires",
    "if-match",
    "if-none-match",
];

/// Headers of the request itself that stay what they are.
const OWN_HEADERS: [&str; 3] = ["host", "if-match", "if-none-match"];

/// Whether a request posts a form: its signature, if it has one, is in the form.
pub fn is_form(request: &Request) -> bool {
    let is_multipart =
        |value: &[u8]| value.get(..10).is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/"));
    request.head.method == "POST"
        && request.level() == Level::Bucket
        && route(request) == Ok(Operation::PostObject)
        && request.head.header("content-type").is_some_and(is_multipart)
}

/// Carries out a POST that is a form. Everything that its fields can tell is judged before the file is
/// received.
pub async fn run<H: Host, I: Incoming>(
    service: &S3Service<H>,
    mut request: Request,
    body: &mut I,
) -> Result<Response, S3Error> {
    check_credentials(&request)?;
    let (form, mut file) = form::receive(&request.head, body).await?;
    let virtual_bucket = request.is_virtual_hosted.then_some(request.bucket.as_str());
    let authentication = authenticate_form(&form, &service.context(&service.directory(), virtual_bucket))?;
    service.note_sender(&request, &authentication.identity);
    request.key = key(&form)?;
    if let Some(note) = &request.note {
        note.about(&request.bucket, &request.key, None);
    }
    check_policy(service, &request, &form, &mut file)?;
    if form.file.is_none() {
        let message = "POST requires exactly one file upload per request.";
        return Err(S3Error::invalid_argument(message, "file", 0));
    }
    let after = After::of(&form);
    set_headers(&mut request, &form)?;
    service.check_keys_are_safe(&request)?;
    let mut request = service.authorize(request, Operation::PostObject, authentication, &mut file).await?;
    unsupported::check(&request)?;
    let stored = put_object::store(service, &mut request, &mut file).await;
    let stored = stored.map_err(|error| file.take_failure().unwrap_or(error))?;
    Ok(after.answer(&request, &stored))
}

/// Credentials beside those of the form would leave open who posts it.
fn check_credentials(request: &Request) -> Result<(), S3Error> {
    let in_query = ["X-Amz-Algorithm", "X-Amz-Signature", "X-Amz-Credential", "Signature", "AWSAccessKeyId"];
    let elsewhere = request.head.header("authorization").is_some()
        || in_query.iter().any(|name| request.query(name).is_some());
    if elsewhere {
        let message = "A form is authenticated by its own fields only, not by headers or query parameters.";
        return Err(S3Error::invalid_argument(message, "Authorization", ""));
    }
    Ok(())
}

/// The key that the form names; `${filename}` in it is the name of the file, without its path.
fn key(form: &Form) -> Result<String, S3Error> {
    let Some(template) = form.field("key") else {
        let message = "Bucket POST must contain a field named 'key'.  If it is specified, please check the \
                       order of the fields.";
        return Err(S3Error::invalid_argument(message, "key", ""));
    };
    let path = form.file.as_ref().and_then(|file| file.name.as_deref()).unwrap_or_default();
    let name = path.rsplit(['/', '\\']).next().unwrap_or_default();
    let key = template.replace("${filename}", name);
    if key.is_empty() {
        let message = "User key must have a length greater than 0.";
        return Err(S3Error::invalid_argument(message, "key", ""));
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(S3Error::new(Code::KeyTooLongError)
            .with_field("Size", key.len())
            .with_field("MaxSizeAllowed", KEY_BYTES_MAX));
    }
    Ok(key)
}

/// A form without a policy was not signed either: who may post it is a matter of the bucket.
fn check_policy<H: Host, I: Incoming>(
    service: &S3Service<H>,
    request: &Request,
    form: &Form,
    file: &mut FormFile<'_, I>,
) -> Result<(), S3Error> {
    let Some(policy) = form.field("policy") else { return Ok(()) };
    let policy = PostPolicy::parse(policy)?;
    policy.check(service.engine().host().now(), &request.bucket, &request.key, &form.fields)?;
    file.limit(policy.bytes());
    Ok(())
}

/// Replaces the request's headers by those that the form's fields mean.
fn set_headers(request: &mut Request, form: &Form) -> Result<(), S3Error> {
    let mut headers = std::mem::take(&mut request.head.headers);
    headers.retain(|(name, _)| OWN_HEADERS.contains(&name.as_str()));
    // The length of the file is known at its end, as with any body of chunks.
    headers.push(("transfer-encoding".to_owned(), b"chunked".to_vec()));
    for field in &form.fields {
        let name = field.name.to_ascii_lowercase();
        let value = field.value.as_bytes().to_vec();
        match name.as_str() {
            "acl" => headers.push(("x-amz-acl".to_owned(), value)),
            "tagging" => {
                let tags = TagSet::of_document(&value, Tagged::Object)?;
                let text = tags.stored().map(|(_, text)| text).unwrap_or_default();
                headers.push((tagging::HEADER.to_owned(), text));
            }
            "x-amz-algorithm"
            | "x-amz-credential"
            | "x-amz-date"
            | "x-amz-signature"
            | "x-amz-security-token" => {}
            _ if name.starts_with("x-amz-") => {
                if !is_token(&name) {
                    let message = "The name of a field that begins with x-amz- must be the name of a header.";
                    return Err(S3Error::invalid_argument(message, &name, ""));
                }
                headers.push((name, value));
            }
            _ if HEADERS.contains(&name.as_str()) => {
                headers.retain(|(have, _)| *have != name);
                headers.push((name, value));
            }
            _ => {}
        }
    }
    request.head.headers = headers;
    Ok(())
}

/// What the browser gets to see after the upload.
#[derive(Clone, Debug, PartialEq, Eq)]
enum After {
    Redirect(String),
    Status(u16),
}

impl After {
    /// A redirect that is no address and a status that is none of the three are as if they were not there.
    fn of(form: &Form) -> Self {
        let redirect = form.field("success_action_redirect").or_else(|| form.field("redirect"));
        match (redirect.filter(|url| is_web_address(url)), form.field("success_action_status")) {
            (Some(url), _) => Self::Redirect(url.to_owned()),
            (None, Some("200")) => Self::Status(200),
            (None, Some("201")) => Self::Status(201),
            (None, _) => Self::Status(204),
        }
    }

    fn answer(self, request: &Request, stored: &Stored) -> Response {
        let etag = format!("\"{}\"", stored.etag);
        let location = put_object::location(request);
        match self {
            Self::Redirect(url) => {
                let query = [("bucket", &request.bucket), ("key", &request.key), ("etag", &etag)]
                    .map(|(name, value)| format!("{name}={}", percent::encode(value.as_bytes())))
                    .join("&");
                let (address, fragment) = match url.split_once('#') {
                    Some((address, fragment)) => (address, format!("#{fragment}")),
                    None => (url.as_str(), String::new()),
                };
                let joint = if address.contains('?') { '&' } else { '?' };
                let target = format!("{address}{joint}{query}{fragment}");
                stored.describe(Response::new(303)).with_header("Location", target)
            }
            Self::Status(201) => {
                let mut xml = XmlWriter::document_plain("PostResponse");
                xml.text("Location", &location);
                xml.text("Bucket", &request.bucket);
                xml.text("Key", &request.key);
                xml.text("ETag", &etag);
                stored
                    .describe(Response::new(201))
                    .with_header("Location", location)
                    .with_header("Content-Type", "application/xml")
                    .with_body(xml.finish())
            }
            Self::Status(status) => stored.describe(Response::new(status)).with_header("Location", location),
        }
    }
}

fn is_web_address(url: &str) -> bool {
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.starts_with(['/', '?', '#']))
        && url.chars().all(|character| !character.is_control() && character != ' ')
}

/// Whether a text can be the name of a header: RFC 9110, section 5.6.2. The head's parser takes care of those
/// of headers, and an answer repeats them as they are.
fn is_token(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::etag::ETag;
    use crate::http::ResponseBody;
    use crate::http::form::{Field, File};

    fn form(fields: &[(&str, &str)], file: Option<&str>) -> Form {
        let own = |(name, value): &(&str, &str)| Field { name: (*name).into(), value: (*value).into() };
        let file = Some(File { name: file.map(str::to_owned) });
        Form { fields: fields.iter().map(own).collect(), file }
    }

    #[test]
    fn a_file_name_goes_into_the_key_without_its_path() {
        let of = |template, file| key(&form(&[("kEy", template)], file));
        assert_eq!(of("a/${filename}", Some("x.txt")), Ok("a/x.txt".to_owned()));
        assert_eq!(of("${filename}-${filename}", Some("C:\\d\\x/y.txt")), Ok("y.txt-y.txt".to_owned()));
        assert_eq!(of("a/${filename}", None), Ok("a/".to_owned()));
        assert_eq!(of("${filename}", Some("")).unwrap_err().code, Code::InvalidArgument);
        let long = "k".repeat(KEY_BYTES_MAX + 1);
        assert_eq!(of(&long, None).unwrap_err().code, Code::KeyTooLongError);
        assert_eq!(key(&form(&[], Some("x"))).unwrap_err().code, Code::InvalidArgument);
    }

    #[test]
    fn fields_become_headers_and_the_requests_own_do_not_pass() {
        let mut request = Request::for_test(
            "POST",
            "/b",
            &[("host", "h"), ("x-amz-acl", "public-read"), ("if-none-match", "*"), ("content-length", "9")],
        );
        let tagging = "<Tagging><TagSet><Tag><Key>a b</Key><Value>1+2</Value></Tag></TagSet></Tagging>";
        let fields = [
            ("Content-Type", "a/b"),
            ("aCl", "private"),
            ("tagging", tagging),
            ("x-amz-meta-n", "v"),
            ("x-amz-date", "d"),
            ("submit", "Upload"),
            ("content-length", "1"),
        ];
        set_headers(&mut request, &form(&fields, None)).unwrap();
        let headers = &request.head.headers;
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| (name.as_str(), std::str::from_utf8(value).unwrap()))
            .collect();
        let expected = [
            ("host", "h"),
            ("if-none-match", "*"),
            ("transfer-encoding", "chunked"),
            ("content-type", "a/b"),
            ("x-amz-acl", "private"),
            ("x-amz-tagging", "a%20b=1%2B2"),
            ("x-amz-meta-n", "v"),
        ];
        assert_eq!(headers, expected);
        assert!(set_headers(&mut request, &form(&[("tagging", "a=b")], None)).is_err());
        for name in ["x-amz-meta-a\nSet-Cookie: b", "x-amz-meta-a\rb", "x-amz-meta-a: b", "x-amz-meta-a b"] {
            let refusal = set_headers(&mut request, &form(&[(name, "v")], None)).unwrap_err();
            assert_eq!(refusal.code, Code::InvalidArgument, "{name:?}");
        }
    }

    #[test]
    fn what_follows_an_upload_is_asked_for() {
        let of = |fields: &[(&str, &str)]| After::of(&form(fields, None));
        assert_eq!(of(&[]), After::Status(204));
        assert_eq!(of(&[("success_action_status", "201")]), After::Status(201));
        assert_eq!(of(&[("success_action_status", "404")]), After::Status(204));
        let redirect = "https://example.com/done";
        assert_eq!(of(&[("redirect", redirect)]), After::Redirect(redirect.to_owned()));
        for url in ["/done", "http://", "http:///x", "javascript:x", "http://h/ \r\nSet-Cookie: x"] {
            assert_eq!(of(&[("success_action_redirect", url)]), After::Status(204), "{url}");
        }
    }

    #[test]
    fn a_redirect_tells_what_was_stored() {
        let etag = ETag::of_md5([0xab; 16]);
        let (encryption, expiration) = (None, None);
        let stored = Stored { etag, checksum: None, bytes: 1, version: None, encryption, expiration };
        let mut request = Request::for_test("POST", "/b", &[("host", "h")]);
        request.key = "a b".to_owned();
        let to = |url: &str| {
            let response = After::Redirect(url.to_owned()).answer(&request, &stored);
            assert_eq!(response.status, 303);
            let headers = String::from_utf8(response.headers).unwrap();
            let (_, location) = headers.split_once("Location: ").unwrap();
            location.trim_end().to_owned()
        };
        let query = format!("bucket=b&key=a%20b&etag=%22{}%22", "ab".repeat(16));
        assert_eq!(to("http://h/x"), format!("http://h/x?{query}"));
        assert_eq!(to("http://h/x?y=1#z"), format!("http://h/x?y=1&{query}#z"));
        let ResponseBody::Bytes(body) = After::Status(201).answer(&request, &stored).body else {
            panic!("201 has a document")
        };
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(
            text.contains("<Location>http://h/b/a%20b</Location><Bucket>b</Bucket><Key>a b</Key>"),
            "{text}"
        );
    }
}
