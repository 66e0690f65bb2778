//! RenameObject: moves an object to another key of its bucket at once, however large it is.
//!
//! Source: AWS, "Renaming objects in directory buckets" and RenameObject of the Amazon S3 API Reference.

use crate::auth::policy::action::Action;
use crate::base::limits::{CLIENT_TOKEN_BYTES_MAX, KEY_BYTES_MAX};
use crate::engine::{Condition, EngineError, Object, Update, Versioning};
use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::error::{Code, S3Error};
use crate::s3::notification::event::EventName;
use crate::s3::notification::{self, About};
use crate::s3::precondition::{self, Preconditions, Verdict};
use crate::s3::request::{Request, decode};
use crate::s3::service::S3Service;

const GET_OBJECT: Action = Action::named("s3:GetObject");
const DELETE_OBJECT: Action = Action::named("s3:DeleteObject");

const SOURCE: &str = "x-amz-rename-source";
const TOKEN: &str = "x-amz-client-token";

/// Where an object keeps the request that renamed it, so that the request may be repeated.
const STORED: &str = ":renamed";

pub async fn run<H: Host>(service: &S3Service<H>, request: Authorized) -> Result<Response, S3Error> {
    let bucket = service.bucket(&request)?;
    let source = source(&request)?;
    let token = Token::of(&request, &source)?;
    if bucket.versioning != Versioning::Unversioned {
        let message = "Renaming objects of buckets with versioning is not supported.";
        return Err(S3Error::invalid_request(message));
    }
    let readable = request.check(service, GET_OBJECT, &bucket, &source, None).await?;
    let removable = request.check(service, DELETE_OBJECT, &bucket, &source, None).await?;
    let engine = service.engine();
    let (from, to) = (source.as_bytes(), request.key.as_bytes());
    let there = engine.get(bucket.id, to, None).await?.found();
    if let (Some(token), Some(there)) = (&token, &there)
        && token.is_done(there)?
    {
        return Ok(Response::new(200));
    }
    let condition = destination(&request, there.as_ref())?;
    let object = engine.get(bucket.id, from, None).await?.found();
    let Some(object) = object else {
        request.check_missing(service, &bucket, &source).await?;
        return Err(S3Error::no_such_key(&source));
    };
    readable.check(&object)?;
    removable.check(&object)?;
    let conditions = Preconditions::of_rename_source(&request);
    if let Verdict::Failed(header) = conditions.judge(&object.attributes.etag, object.modified()) {
        return Err(S3Error::precondition_failed(header));
    }
    let same = Condition { sequence: Some(object.sequence), ..Condition::default() };
    if let Some(token) = token {
        // The object takes the note along: it stands at the new key from the same moment as the object.
        let update = Update::Headers { set: vec![token.stored()], remove: vec![STORED.to_owned()] };
        let updated = engine.update(bucket.id, from, None, update, same.clone()).await;
        updated.map_err(|error| refusal(error, &request, &condition, &source))?;
    }
    let about = About { bytes: object.bytes, etag: object.attributes.etag };
    let name = EventName::ObjectCreatedCopy;
    let events = notification::drafts(service, &request, &bucket, name, &request.key, Some(about));
    let renamed = engine.rename(bucket.id, from, to, condition.clone(), same, events).await;
    renamed.map_err(|error| refusal(error, &request, &condition, &source))?;
    Ok(Response::new(200))
}

/// The key that the object has now: percent-encoded, with or without a slash before it.
fn source(request: &Request) -> Result<String, S3Error> {
    let text = request.header(SOURCE)?.unwrap_or_default();
    let invalid = |message: &'static str| S3Error::invalid_argument(message, SOURCE, text);
    let key = decode(text).map_err(|_| invalid("The rename source must be URL encoded."))?;
    let key = key.strip_prefix('/').unwrap_or(&key);
    if key.is_empty() {
        return Err(invalid("The rename source must be the key of an object of the same bucket."));
    }
    if key.len() > KEY_BYTES_MAX {
        return Err(S3Error::new(Code::KeyTooLongError)
            .with_field("Size", key.len())
            .with_field("MaxSizeAllowed", KEY_BYTES_MAX));
    }
    if key.ends_with('/') || request.key.ends_with('/') {
        return Err(S3Error::invalid_request("Objects whose keys end with a slash cannot be renamed."));
    }
    if key == request.key {
        return Err(S3Error::invalid_request("The source and the destination of a rename must differ."));
    }
    Ok(key.to_owned())
}

/// The condition on what the new key holds. One on a time, which the engine does not know, is judged here, and
/// then nothing else may come to be there.
fn destination<H: Host>(request: &Request, there: Option<&Object<H>>) -> Result<Condition, S3Error> {
    let conditions = Preconditions::of_destination(request);
    if conditions.is_timeless() {
        let condition = precondition::of_write(request)?;
        precondition::judge_write(&condition, there)
            .map_err(|error| precondition::refusal(error, &condition, &request.bucket, &request.key))?;
        return Ok(condition);
    }
    match there {
        None if request.head.header("if-modified-since").is_some() => {
            Err(S3Error::precondition_failed("If-Modified-Since"))
        }
        None if request.head.header("if-match").is_some() => Err(S3Error::no_such_key(&request.key)),
        None => Ok(Condition { absent: true, ..Condition::default() }),
        Some(there) => match conditions.judge(&there.attributes.etag, there.modified()) {
            Verdict::Failed(header) => Err(S3Error::precondition_failed(header)),
            Verdict::Proceed | Verdict::NotModified => {
                Ok(Condition { sequence: Some(there.sequence), ..Condition::default() })
            }
        },
    }
}

fn refusal(error: EngineError, request: &Request, condition: &Condition, source: &str) -> S3Error {
    let is_asked = condition.absent || !condition.differs.is_empty() || condition.matches.is_some();
    match error {
        EngineError::NoSuchObject => S3Error::no_such_key(source),
        // Somebody else was faster at one of the two keys.
        EngineError::ConditionFailed | EngineError::ConditionOnMissing | EngineError::Busy if !is_asked => {
            Code::ConditionalRequestConflict.into()
        }
        other => precondition::refusal(other, condition, &request.bucket, &request.key),
    }
}

/// What makes a rename repeatable: a text of the client's, and what it was sent with.
struct Token {
    text: String,
    /// Token, source and destination, each on a line: none of the first two lines' texts can hold another.
    note: Vec<u8>,
}

impl Token {
    fn of(request: &Request, source: &str) -> Result<Option<Self>, S3Error> {
        let Some(text) = request.header(TOKEN)? else { return Ok(None) };
        let is_valid = (1..=CLIENT_TOKEN_BYTES_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !is_valid {
            let message = "A client token has 1 to 64 printable characters of ASCII.";
            return Err(S3Error::invalid_argument(message, TOKEN, text));
        }
        let note = Self::note(text, source, &request.key);
        Ok(Some(Self { text: text.to_owned(), note }))
    }

    /// Lengths before the texts keep them apart, whatever keys hold.
    fn note(text: &str, source: &str, destination: &str) -> Vec<u8> {
        format!("{text}\n{}\n{source}{destination}", source.len()).into_bytes()
    }

    fn stored(self) -> (String, Vec<u8>) {
        (STORED.to_owned(), self.note)
    }

    /// Whether the object at the destination came there by this very request.
    fn is_done<H: Host>(&self, there: &Object<H>) -> Result<bool, S3Error> {
        let headers = &there.attributes.headers;
        let Some((_, note)) = headers.iter().find(|(name, _)| name == STORED) else { return Ok(false) };
        if *note == self.note {
            return Ok(true);
        }
        let start = format!("{}\n", self.text).into_bytes();
        if note.starts_with(&start) { Err(Code::IdempotencyParameterMismatch.into()) } else { Ok(false) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> Result<String, Code> {
        let request = Request::for_test("PUT", "/b/to?renameObject", &[(SOURCE, text)]);
        source(&request).map_err(|error| error.code)
    }

    #[test]
    fn a_source_is_a_key_of_the_bucket() {
        assert_eq!(named("a/b%20c"), Ok("a/b c".to_owned()));
        assert_eq!(named("/a"), Ok("a".to_owned()));
        assert_eq!(named("//a"), Ok("/a".to_owned()));
        for text in ["", "/", "%zz", "%ff"] {
            assert_eq!(named(text), Err(Code::InvalidArgument), "{text}");
        }
        for text in ["a/", "to"] {
            assert_eq!(named(text), Err(Code::InvalidRequest), "{text}");
        }
        assert_eq!(named(&"k".repeat(KEY_BYTES_MAX + 1)), Err(Code::KeyTooLongError));
    }

    #[test]
    fn a_token_is_short_and_printable() {
        let of = |text: &str| {
            let request = Request::for_test("PUT", "/b/to?renameObject", &[(TOKEN, text)]);
            Token::of(&request, "from").map(|token| token.map(|token| token.note)).map_err(|error| error.code)
        };
        assert_eq!(of("t-1"), Ok(Some(b"t-1\n4\nfromto".to_vec())));
        for text in ["", "a b", &"t".repeat(CLIENT_TOKEN_BYTES_MAX + 1), "ü"] {
            assert_eq!(of(text), Err(Code::InvalidArgument), "{text}");
        }
        assert_ne!(Token::note("t", "ab", "c"), Token::note("t", "a", "bc"));
    }
}
