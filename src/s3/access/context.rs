//! What a request says about condition keys.
//!
//! Source: AWS, "Bucket policy examples using condition keys" and "Actions, resources, and condition keys for
//! Amazon S3".

use std::borrow::Cow;

use crate::auth::policy::action::Action;
use crate::auth::policy::key::{ConditionKey, KeyName};
use crate::auth::policy::{Context, Undecided, Value};
use crate::engine::VersionId;
use crate::http::date;
use crate::io::TimestampMs;
use crate::net::TlsVersion;
use crate::s3::access::action::{makes_object, primary};
use crate::s3::copy_source::CopySource;
use crate::s3::error::S3Error;
use crate::s3::request::Request;
use crate::s3::route::Operation;
use crate::s3::tagging::{TagSet, Tagged};
use crate::s3::version;
use crate::s3::xml::{self, Element};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// What conditions can ask of a request's document.
#[derive(Debug, Default)]
pub(super) struct DocumentFacts {
    tags: TagSet,
    lock_mode: Option<String>,
    lock_until: Option<String>,
    legal_hold: Option<String>,
}

impl DocumentFacts {
    /// Whether conditions can ask about the document of that operation.
    pub(super) fn are_asked(operation: Operation) -> bool {
        matches!(
            operation,
            Operation::PutObjectTagging | Operation::PutObjectRetention | Operation::PutObjectLegalHold
        )
    }

    pub(super) fn of(operation: Operation, document: &[u8]) -> Result<Self, S3Error> {
        let text = |element: &Element, name: &str| element.child_text(name).map(str::to_owned);
        Ok(match operation {
            Operation::PutObjectTagging => {
                Self { tags: TagSet::of_document(document, Tagged::Object)?, ..Self::default() }
            }
            Operation::PutObjectRetention => {
                let retention = xml::parse(document, "Retention")?;
                let (lock_mode, lock_until) = (text(&retention, "Mode"), text(&retention, "RetainUntilDate"));
                Self { lock_mode, lock_until, ..Self::default() }
            }
            Operation::PutObjectLegalHold => {
                let legal_hold = xml::parse(document, "LegalHold")?;
                Self { legal_hold: text(&legal_hold, "Status"), ..Self::default() }
            }
            _ => Self::default(),
        })
    }
}

/// A request as conditions see it.
pub(super) struct RequestContext<'a> {
    pub(super) request: &'a Request,
    pub(super) operation: Operation,
    /// What is asked about; a request can mean several actions.
    pub(super) action: Action,
    pub(super) now: TimestampMs,
    pub(super) region: &'a str,
    pub(super) is_signed: bool,
    /// Whether the question is about an object.
    pub(super) is_about_object: bool,
    /// Id of the account that owns the resource.
    pub(super) owner: Option<&'a str>,
    /// The key of which is asked whether the sender could find it by listing; `None` for other questions.
    pub(super) listed: Option<&'a str>,
    /// The ETag that one of many keys to delete must have, if that is asked about.
    pub(super) etag: Option<&'a str>,
    /// The version that is asked about, if one is named.
    pub(super) version: Option<VersionId>,
    /// Tags of the object that is asked about; `None` if it was not looked up.
    pub(super) tags: Option<&'a TagSet>,
    /// The request's document; `None` if it was not received.
    pub(super) document: Option<&'a DocumentFacts>,
}

impl Context for RequestContext<'_> {
    fn value(&self, key: &ConditionKey) -> Result<Value<'_>, Undecided> {
        if !self.has(key) {
            return Ok(Value::Absent);
        }
        let head = &self.request.head;
        let text = |text: String| Value::One(Cow::Owned(text));
        Ok(match key.name {
            KeyName::CurrentTime => text(date::iso8601(self.now)),
            KeyName::EpochTime => text((self.now / 1000).to_string()),
            KeyName::SourceIp => text(self.request.peer.to_canonical().to_string()),
            // Of the connection to this node; what a proxy before it spoke, it cannot know.
            KeyName::SecureTransport => text(self.request.tls.is_some().to_string()),
            KeyName::TlsVersion => Value::optional(self.request.tls.map(TlsVersion::number)),
            KeyName::RequestedRegion => Value::optional(Some(self.region)),
            KeyName::ResourceAccount | KeyName::S3ResourceAccount => Value::optional(self.owner),
            KeyName::AuthType => Value::optional(self.signature().map(|(kind, _)| kind)),
            KeyName::SignatureVersion => Value::optional(self.signature().map(|(_, version)| version)),
            KeyName::SignatureAge => self.signature_age().map_or(Value::Absent, text),
            KeyName::CopySource => match CopySource::of(self.request) {
                Ok(source) => text(format!("{}/{}", source.bucket, source.key)),
                Err(_) => Value::Absent,
            },
            KeyName::Prefix => Value::optional(self.listed.or_else(|| self.request.query("prefix"))),
            KeyName::Delimiter | KeyName::MaxKeys if self.listed.is_some() => Value::Absent,
            KeyName::Delimiter => Value::optional(self.request.query("delimiter")),
            KeyName::MaxKeys => {
                let of_uploads = self.request.query("max-uploads");
                let count = self.request.query("max-keys").or(of_uploads);
                // As the operation understands it: `+5` and `005` are five to both.
                match count.and_then(|count| count.parse::<i32>().ok()) {
                    Some(number) => text(number.to_string()),
                    None => Value::optional(count),
                }
            }
            KeyName::VersionId => self.version.map_or(Value::Absent, |version| text(version::text(version))),
            // The only region that a request for a bucket can name and have.
            KeyName::LocationConstraint => {
                let has_document = head.text("content-length").is_some_and(|length| length != "0");
                Value::optional(has_document.then_some(self.region))
            }
            KeyName::ObjectCreationOperation => {
                let is_creation = matches!(
                    self.operation,
                    Operation::PutObject
                        | Operation::PostObject
                        | Operation::CopyObject
                        | Operation::CompleteMultipartUpload
                        | Operation::RenameObject
                );
                Value::optional(Some(if is_creation { "true" } else { "false" }))
            }
            KeyName::ExistingObjectTag => match self.tags {
                None if self.is_about_object => return Err(Undecided),
                None => Value::Absent,
                Some(tags) => tag(tags, &key.tag),
            },
            KeyName::RequestObjectTag => {
                match self.request_tags()?.iter().find(|(found, _)| *found == key.tag) {
                    None => Value::Absent,
                    Some((_, value)) => text(value.to_owned()),
                }
            }
            KeyName::RequestObjectTagKeys => match self.request_tags()? {
                tags if tags.is_empty() => Value::Absent,
                tags => Value::Many(tags.iter().map(|(key, _)| Cow::Owned(key.to_owned())).collect()),
            },
            KeyName::ObjectLockRemainingDays => {
                let until = self.lock("x-amz-object-lock-retain-until-date", |facts| &facts.lock_until)?;
                match until.and_then(date::parse_iso8601) {
                    None => Value::Absent,
                    Some(until) => text(until.saturating_sub(self.now).div_ceil(DAY_MS).to_string()),
                }
            }
            KeyName::ObjectLockUntil => {
                Value::optional(self.lock("x-amz-object-lock-retain-until-date", |facts| &facts.lock_until)?)
            }
            KeyName::ObjectLockMode => {
                Value::optional(self.lock("x-amz-object-lock-mode", |facts| &facts.lock_mode)?)
            }
            KeyName::ObjectLockLegalHold => {
                Value::optional(self.lock("x-amz-object-lock-legal-hold", |facts| &facts.legal_hold)?)
            }
            KeyName::Referer => Value::optional(head.text("referer")),
            KeyName::UserAgent => Value::optional(head.text("user-agent")),
            // There it is each key that has an ETag, and the header says nothing.
            KeyName::IfMatch if self.operation == Operation::DeleteObjects => Value::optional(self.etag),
            KeyName::IfMatch => Value::optional(head.text("if-match")),
            KeyName::IfNoneMatch => Value::optional(head.text("if-none-match")),
            KeyName::ContentSha256 => Value::optional(head.text("x-amz-content-sha256")),
            KeyName::MetadataDirective => Value::optional(head.text("x-amz-metadata-directive")),
            KeyName::ObjectAcl => Value::optional(head.text("x-amz-acl")),
            KeyName::GrantFullControl => Value::optional(head.text("x-amz-grant-full-control")),
            KeyName::GrantRead => Value::optional(head.text("x-amz-grant-read")),
            KeyName::GrantReadAcp => Value::optional(head.text("x-amz-grant-read-acp")),
            KeyName::GrantWrite => Value::optional(head.text("x-amz-grant-write")),
            KeyName::GrantWriteAcp => Value::optional(head.text("x-amz-grant-write-acp")),
            KeyName::ServerSideEncryption => Value::optional(head.text("x-amz-server-side-encryption")),
            KeyName::ServerSideEncryptionKeyId => {
                Value::optional(head.text("x-amz-server-side-encryption-aws-kms-key-id"))
            }
            KeyName::ServerSideEncryptionCustomerAlgorithm => {
                Value::optional(head.text("x-amz-server-side-encryption-customer-algorithm"))
            }
            KeyName::StorageClass => Value::optional(head.text("x-amz-storage-class")),
            KeyName::WebsiteRedirectLocation => Value::optional(head.text("x-amz-website-redirect-location")),
            // The evaluator knows the principal.
            KeyName::PrincipalAccount
            | KeyName::PrincipalArn
            | KeyName::PrincipalIsAwsService
            | KeyName::PrincipalType
            | KeyName::UserId
            | KeyName::UserName
            | KeyName::ViaAwsService => Value::Absent,
        })
    }
}

impl RequestContext<'_> {
    /// Whether requests for what is asked, or for what the request is first of all, have the key at all. What a
    /// request says without meaning (a `prefix` of an object, say) must not fulfil conditions.
    fn has(&self, key: &ConditionKey) -> bool {
        (key.applies_to(self.action) || key.applies_to(primary(self.operation, self.request)))
            && self.heeds(key.name)
    }

    /// Whether the operation heeds what the key stands for. Several operations come down to `s3:PutObject`, and
    /// not all of them copy something or give an object what their headers say.
    fn heeds(&self, name: KeyName) -> bool {
        match name {
            KeyName::CopySource => {
                matches!(self.operation, Operation::CopyObject | Operation::UploadPartCopy)
            }
            KeyName::MetadataDirective => self.operation == Operation::CopyObject,
            // The object keeps what it has.
            KeyName::ObjectAcl
            | KeyName::GrantFullControl
            | KeyName::GrantRead
            | KeyName::GrantReadAcp
            | KeyName::GrantWrite
            | KeyName::GrantWriteAcp
            | KeyName::RequestObjectTag
            | KeyName::RequestObjectTagKeys
            | KeyName::ServerSideEncryption
            | KeyName::ServerSideEncryptionCustomerAlgorithm
            | KeyName::ServerSideEncryptionKeyId
            | KeyName::StorageClass
            | KeyName::WebsiteRedirectLocation => self.operation != Operation::RenameObject,
            _ => true,
        }
    }

    /// Where the signature stands and its version, as AWS words them; `None` if there is none.
    fn signature(&self) -> Option<(&'static str, &'static str)> {
        const V4: &str = "AWS4-HMAC-SHA256";
        const V2: &str = "AWS";
        let request = self.request;
        if self.operation == Operation::PostObject {
            return self.is_signed.then_some(("POST", V4));
        }
        match request.head.header("authorization") {
            Some(value) if value.starts_with(b"AWS4-") => Some(("REST-HEADER", V4)),
            Some(_) => Some(("REST-HEADER", V2)),
            None if request.query("X-Amz-Algorithm").is_some() => Some(("REST-QUERY-STRING", V4)),
            None if request.query("Signature").is_some() => Some(("REST-QUERY-STRING", V2)),
            None => None,
        }
    }

    /// Milliseconds since a presigned URL was signed; nothing else is signed for later.
    fn signature_age(&self) -> Option<String> {
        self.request.query("X-Amz-Algorithm").filter(|_| self.is_signed)?;
        let signed = date::parse_basic(self.request.query("X-Amz-Date")?)?;
        Some(self.now.saturating_sub(signed).to_string())
    }

    /// Tags that the request gives, in its header or its document.
    fn request_tags(&self) -> Result<Cow<'_, TagSet>, Undecided> {
        if self.operation == Operation::PutObjectTagging {
            return self.document.map(|facts| Cow::Borrowed(&facts.tags)).ok_or(Undecided);
        }
        // A copy with the tags of its source ignores the header.
        let directive = self.request.head.header("x-amz-tagging-directive");
        if self.operation == Operation::CopyObject && directive != Some(b"REPLACE") {
            return Ok(Cow::Owned(TagSet::default()));
        }
        match TagSet::of_header(self.request) {
            Ok(tags) => Ok(Cow::Owned(tags.unwrap_or_default())),
            // The request will be refused for it; until then nothing follows from it.
            Err(_) => Err(Undecided),
        }
    }

    /// What the request says about a lock, in a header or its document.
    fn lock(
        &self,
        header: &str,
        of_document: impl Fn(&DocumentFacts) -> &Option<String>,
    ) -> Result<Option<&str>, Undecided> {
        match self.operation {
            Operation::PutObjectRetention | Operation::PutObjectLegalHold => {
                self.document.map(|facts| of_document(facts).as_deref()).ok_or(Undecided)
            }
            operation if makes_object(operation) => Ok(self.request.head.text(header)),
            _ => Ok(None),
        }
    }
}

fn tag<'a>(tags: &'a TagSet, key: &str) -> Value<'a> {
    Value::optional(tags.iter().find(|(found, _)| *found == key).map(|(_, value)| value))
}
