//! DeleteObjects: up to a thousand keys and versions in one request, each with a result of its own.

use std::rc::Rc;

use crate::base::limits::{KEY_BYTES_MAX, LIST_KEYS_MAX};
use crate::engine::{Bucket, Condition, Deleted, Deletion, ETagMatch, EngineError};
use crate::http::{Response, date};
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::access::action::{BYPASS_GOVERNANCE, GET_OBJECT};
use crate::s3::body::{self, DocumentDigest, Incoming};
use crate::s3::error::{Code, S3Error};
use crate::s3::lock;
use crate::s3::notification;
use crate::s3::op::delete_object::{event_of, tolerate_missing};
use crate::s3::precondition;
use crate::s3::service::S3Service;
use crate::s3::version;
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
    let bypass_governance = lock::wants_bypass(&request);
    let mut order = Order::parse(&document, bypass_governance)?;
    for entry in &mut order.entries {
        entry.authorize(service, &request, &bucket).await;
        if let Ok(deletion) = &mut entry.deletion {
            let name = event_of(&bucket, deletion.version);
            deletion.events = notification::drafts(service, &request, &bucket, name, &entry.key, None);
        }
    }
    let deletable = order.entries.iter().filter_map(|entry| {
        let deletion = entry.deletion.as_ref().ok()?;
        Some((entry.key.as_bytes().to_vec(), deletion.clone()))
    });
    let deletions = deletable.collect();
    let mut results = service.engine().delete_many(bucket.id, deletions).await.into_iter();
    let mut xml = XmlWriter::document("DeleteResult");
    for entry in order.entries {
        let result = match &entry.deletion {
            Ok(deletion) => {
                let deleted = results.next().unwrap_or(Err(EngineError::Stopping));
                entry.judge(deleted, deletion, &request.bucket)
            }
            Err(error) => Err(error.clone()),
        };
        if let Some(note) = &request.note {
            let error_code = result.as_ref().err().map(|error| error.code.name());
            note.deletes(&entry.key, entry.version.as_deref(), error_code);
        }
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

/// One key or version of the order.
#[derive(Debug)]
struct Entry {
    key: String,
    /// As it was named.
    version: Option<String>,
    /// The ETag that the object must have, as it was named.
    etag: Option<String>,
    /// What the engine is asked; or why it is not.
    deletion: Result<Deletion, S3Error>,
}

impl Order {
    fn parse(document: &[u8], bypass_governance: bool) -> Result<Self, S3Error> {
        let delete = xml::parse(document, "Delete")?;
        let entry = |object| Entry::parse(object, bypass_governance);
        let entries: Vec<_> = delete.children_named("Object").map(entry).collect::<Result<_, S3Error>>()?;
        if entries.is_empty() || entries.len() > LIST_KEYS_MAX {
            return Err(Code::MalformedXML.into());
        }
        let is_quiet = delete.child_text("Quiet").is_some_and(|quiet| quiet.eq_ignore_ascii_case("true"));
        Ok(Self { entries, is_quiet })
    }
}

impl Entry {
    fn parse(object: &Element, bypass_governance: bool) -> Result<Self, S3Error> {
        let key = object.child_text("Key").filter(|key| !key.is_empty()).ok_or(Code::MalformedXML)?;
        let version = object.child_text("VersionId").map(str::to_owned);
        let etag = object.child_text("ETag").map(str::to_owned);
        let condition = Condition {
            matches: etag.as_ref().map(|tag| precondition::etag_match(tag.as_bytes())),
            size: parse_text(object, "Size", |text| text.parse().ok())?,
            modified_seconds: parse_text(object, "LastModifiedTime", |text| {
                let time = date::parse_http_date(text).or_else(|| date::parse_iso8601(text));
                time.map(|time| time / 1000)
            })?,
            ..Condition::default()
        };
        let deletion = match version::read(version.as_deref()) {
            _ if key.len() > KEY_BYTES_MAX => Err(Code::KeyTooLongError.into()),
            Ok(version) => Ok(Deletion { version, condition, bypass_governance, ..Deletion::default() }),
            Err(error) => Err(error),
        };
        Ok(Self { key: key.to_owned(), version, etag, deletion })
    }

    /// Refuses it if the sender may not delete it.
    async fn authorize<H: Host>(
        &mut self,
        service: &S3Service<H>,
        request: &Authorized,
        bucket: &Rc<Bucket>,
    ) {
        let Ok(deletion) = &self.deletion else { return };
        let (version, condition, key) = (deletion.version, &deletion.condition, &self.key);
        let etag = self.etag.as_deref();
        let mut allowed = request.check_deletion(service, bucket, key, version, etag).await;
        let tells_of_current = condition.size.is_some()
            || condition.modified_seconds.is_some()
            || matches!(condition.matches, Some(ETagMatch::OneOf(_)));
        let beside = [(GET_OBJECT, tells_of_current), (BYPASS_GOVERNANCE, deletion.bypass_governance)];
        for (action, is_meant) in beside {
            if is_meant && allowed.is_ok() {
                allowed = request.check(service, action, bucket, key, version).await.map(drop);
            }
        }
        if let Err(error) = allowed {
            self.deletion = Err(error);
        }
    }

    fn judge(
        &self,
        deleted: Result<Deleted, EngineError>,
        deletion: &Deletion,
        bucket: &str,
    ) -> Result<Deleted, S3Error> {
        tolerate_missing(deleted, deletion)
            .map_err(|error| precondition::refusal(error, &deletion.condition, bucket, &self.key))
    }

    fn write(&self, xml: &mut XmlWriter, result: Result<Deleted, S3Error>, is_quiet: bool) {
        if is_quiet && result.is_ok() {
            return;
        }
        xml.open(if result.is_ok() { "Deleted" } else { "Error" });
        xml.text("Key", &self.key);
        if let Some(version) = &self.version {
            xml.text("VersionId", version);
        }
        match result {
            Ok(Deleted { is_delete_marker: true, version, .. }) => {
                xml.value("DeleteMarker", true);
                if let Some(version) = version {
                    xml.text("DeleteMarkerVersionId", &version::text(version));
                }
            }
            Ok(_) => {}
            Err(error) => {
                xml.text("Code", error.code.name());
                xml.text("Message", &error.message);
            }
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
    use crate::engine::VersionId;

    fn order(objects: &str) -> Result<Order, Code> {
        let document = format!("<Delete>{objects}</Delete>");
        Order::parse(document.as_bytes(), false).map_err(|error| error.code)
    }

    #[test]
    fn an_order_names_keys_with_their_versions_and_conditions() {
        let order = order(
            "<Quiet>true</Quiet><Object><Key>a</Key><VersionId>null</VersionId></Object>\
             <Object><Key> b&amp;</Key><ETag>*</ETag><Size>5</Size>\
             <LastModifiedTime>Sun, 06 Nov 1994 08:49:37 GMT</LastModifiedTime></Object>",
        )
        .unwrap();
        assert!(order.is_quiet);
        let first = order.entries[0].deletion.as_ref().unwrap();
        assert_eq!(*first, Deletion { version: Some(VersionId::Null), ..Deletion::default() });
        let second = &order.entries[1];
        assert_eq!(second.key, " b&");
        let Deletion { version, condition, .. } = second.deletion.as_ref().unwrap();
        assert_eq!((*version, &condition.matches), (None, &Some(ETagMatch::Any)));
        assert_eq!((condition.size, condition.modified_seconds), (Some(5), Some(784_111_777)));
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
            "<Object><Key>a</Key><VersionId>null</VersionId></Object><Object><Key>{long}</Key></Object>\
             <Object><Key>b</Key><VersionId>x</VersionId></Object><Object><Key>c</Key></Object>"
        ))
        .unwrap();
        let [first, second, third, fourth] = &order.entries[..] else { panic!("four entries") };
        assert_eq!(second.deletion.as_ref().unwrap_err().code, Code::KeyTooLongError);
        assert_eq!(third.deletion.as_ref().unwrap_err().code, Code::InvalidArgument);
        let mut xml = XmlWriter::document_plain("R");
        let deletion = first.deletion.as_ref().unwrap();
        let missing = || Err(EngineError::ConditionOnMissing);
        first.write(&mut xml, first.judge(missing(), deletion, "b"), false);
        first.write(&mut xml, Ok(Deleted::default()), true);
        first.write(&mut xml, first.judge(Err(EngineError::Locked), deletion, "b"), true);
        let made = Deleted { existed: true, version: Some(VersionId::Numbered(1)), is_delete_marker: true };
        fourth.write(&mut xml, Ok(made), false);
        let document = String::from_utf8(xml.finish()).unwrap();
        assert!(document.ends_with(
            "<R><Deleted><Key>a</Key><VersionId>null</VersionId></Deleted>\
             <Error><Key>a</Key><VersionId>null</VersionId><Code>AccessDenied</Code>\
             <Message>Access Denied because object protected by object lock.</Message></Error>\
             <Deleted><Key>c</Key><DeleteMarker>true</DeleteMarker>\
             <DeleteMarkerVersionId>0000000000000001</DeleteMarkerVersionId></Deleted></R>"
        ));
    }
}
