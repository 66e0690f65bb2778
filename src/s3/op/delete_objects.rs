//! DeleteObjects: up to a thousand keys in one request, each with a result of its own.

use crate::base::limits::{KEY_BYTES_MAX, LIST_KEYS_MAX};
use crate::engine::{Condition, Deleted, Deletion, EngineError};
use crate::http::{Response, date};
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::body::{self, DocumentDigest, Incoming};
use crate::s3::error::{Code, S3Error};
use crate::s3::op::delete_object::tolerate_missing;
use crate::s3::precondition;
use crate::s3::service::S3Service;
use crate::s3::version::{self, Version};
use crate::s3::xml::{self, Element, XmlWriter};

pub async fn run<H: Host, I: Incoming>(
    service: &S3Service<H>,
    mut request: Authorized,
    body: &mut I,
) -> Result<Response, S3Error> {
    let bucket = service.bucket(&request)?;
    let host = service.engine().host();
    let document = body::receive_document(host, &mut request, body, DocumentDigest::Required).await?;
    if document.is_empty() {
        return Err(Code::MissingRequestBodyError.into());
    }
    let order = Order::parse(&document)?;
    let deletable = |entry: &&Entry| entry.verdict.is_ok();
    let keys = order.entries.iter().filter(deletable);
    let keys: Vec<_> = keys.map(Entry::deletion).collect();
    let mut results = service.engine().delete_many(bucket.id, keys).await.into_iter();
    let mut xml = XmlWriter::document("DeleteResult");
    for entry in order.entries {
        let result = match &entry.verdict {
            Ok(()) => entry.judge(results.next().unwrap_or(Err(EngineError::Stopping)), &request.bucket),
            Err(Refusal::Gone) => Ok(()),
            Err(Refusal::Error(error)) => Err(error.clone()),
        };
        entry.write(&mut xml, result, order.is_quiet);
    }
    Ok(super::document(xml))
}

/// What is to be deleted.
#[derive(Debug)]
struct Order {
    entries: Vec<Entry>,
    /// Only errors are reported.
    is_quiet: bool,
}

/// One key of the order.
#[derive(Debug)]
struct Entry {
    key: String,
    version: Option<String>,
    condition: Condition,
    /// Whether the engine is asked at all.
    verdict: Result<(), Refusal>,
}

#[derive(Debug)]
enum Refusal {
    /// It names a version that is not there: deleted already.
    Gone,
    Error(S3Error),
}

impl Order {
    fn parse(document: &[u8]) -> Result<Self, S3Error> {
        let delete = xml::parse(document, "Delete")?;
        let entries: Vec<_> =
            delete.children_named("Object").map(Entry::parse).collect::<Result<_, S3Error>>()?;
        if entries.is_empty() || entries.len() > LIST_KEYS_MAX {
            return Err(Code::MalformedXML.into());
        }
        let is_quiet = delete.child_text("Quiet").is_some_and(|quiet| quiet.eq_ignore_ascii_case("true"));
        Ok(Self { entries, is_quiet })
    }
}

impl Entry {
    fn parse(object: &Element) -> Result<Self, S3Error> {
        let key = object.child_text("Key").filter(|key| !key.is_empty()).ok_or(Code::MalformedXML)?;
        let version = object.child_text("VersionId").map(str::to_owned);
        let condition = Condition {
            matches: object.child_text("ETag").map(|tag| precondition::etag_match(tag.as_bytes())),
            size: parse_text(object, "Size", |text| text.parse().ok())?,
            modified_seconds: parse_text(object, "LastModifiedTime", |text| {
                let time = date::parse_http_date(text).or_else(|| date::parse_iso8601(text));
                time.map(|time| time / 1000)
            })?,
            ..Condition::default()
        };
        let verdict = match version::version(version.as_deref()) {
            _ if key.len() > KEY_BYTES_MAX => Err(Refusal::Error(Code::KeyTooLongError.into())),
            Ok(Version::Current) => Ok(()),
            Ok(Version::Unknown) => Err(Refusal::Gone),
            Err(error) => Err(Refusal::Error(error)),
        };
        Ok(Self { key: key.to_owned(), version, condition, verdict })
    }

    fn deletion(&self) -> (Vec<u8>, Deletion) {
        let deletion = Deletion { condition: self.condition.clone(), ..Deletion::default() };
        (self.key.as_bytes().to_vec(), deletion)
    }

    fn judge(&self, deleted: Result<Deleted, EngineError>, bucket: &str) -> Result<(), S3Error> {
        match tolerate_missing(deleted, &self.condition) {
            Ok(_) => Ok(()),
            Err(error) => Err(precondition::refusal(error, &self.condition, bucket, &self.key)),
        }
    }

    fn write(&self, xml: &mut XmlWriter, result: Result<(), S3Error>, is_quiet: bool) {
        if is_quiet && result.is_ok() {
            return;
        }
        xml.open(if result.is_ok() { "Deleted" } else { "Error" });
        xml.text("Key", &self.key);
        if let Some(version) = &self.version {
            xml.text("VersionId", version);
        }
        if let Err(error) = result {
            xml.text("Code", error.code.name());
            xml.text("Message", &error.message);
        }
        xml.close();
    }
}

fn parse_text<T>(
    object: &Element,
    name: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, S3Error> {
    match object.child_text(name) {
        None => Ok(None),
        Some(text) => Ok(Some(parse(text.trim()).ok_or(Code::MalformedXML)?)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ETagMatch;

    fn order(objects: &str) -> Result<Order, Code> {
        Order::parse(format!("<Delete>{objects}</Delete>").as_bytes()).map_err(|error| error.code)
    }

    #[test]
    fn an_order_names_keys_with_their_conditions() {
        let order = order(
            "<Quiet>true</Quiet><Object><Key>a</Key></Object><Object><Key> b&amp;</Key><ETag>*</ETag>\
             <Size>5</Size><LastModifiedTime>Sun, 06 Nov 1994 08:49:37 GMT</LastModifiedTime></Object>",
        )
        .unwrap();
        assert!(order.is_quiet);
        assert_eq!(order.entries[0].condition, Condition::default());
        let second = &order.entries[1];
        assert_eq!(second.key, " b&");
        assert_eq!(second.condition.matches, Some(ETagMatch::Any));
        assert_eq!((second.condition.size, second.condition.modified_seconds), (Some(5), Some(784_111_777)));
    }

    #[test]
    fn an_order_of_nothing_or_too_much_is_malformed() {
        let object = "<Object><Key>a</Key></Object>";
        assert!(order(&object.repeat(LIST_KEYS_MAX)).is_ok());
        for objects in [
            String::new(),
            object.repeat(LIST_KEYS_MAX + 1),
            "<Object/>".to_owned(),
            "<Object><Key></Key></Object>".to_owned(),
            "<Object><Key>a</Key><Size>x</Size></Object>".to_owned(),
        ] {
            assert_eq!(order(&objects).unwrap_err(), Code::MalformedXML);
        }
    }

    #[test]
    fn each_key_has_its_own_result() {
        let long = "k".repeat(KEY_BYTES_MAX + 1);
        let order = order(&format!(
            "<Object><Key>a</Key><VersionId>null</VersionId></Object><Object><Key>{long}</Key></Object>"
        ))
        .unwrap();
        let [first, second] = &order.entries[..] else { panic!("two entries") };
        let Err(Refusal::Error(error)) = &second.verdict else { panic!("a refusal") };
        assert_eq!(error.code, Code::KeyTooLongError);
        let mut xml = XmlWriter::document_plain("R");
        first.write(&mut xml, first.judge(Ok(Deleted::default()), "b"), false);
        first.write(&mut xml, Ok(()), true);
        first.write(&mut xml, first.judge(Err(EngineError::ConditionOnMissing), "b"), true);
        first.write(&mut xml, Err(Code::AccessDenied.into()), true);
        let document = String::from_utf8(xml.finish()).unwrap();
        assert!(document.ends_with(
            "<R><Deleted><Key>a</Key><VersionId>null</VersionId></Deleted>\
             <Error><Key>a</Key><VersionId>null</VersionId><Code>AccessDenied</Code>\
             <Message>Access Denied</Message></Error></R>"
        ));
    }
}
