//! One question to the evaluator: what is gathered for it, and when the object itself is looked at.

use std::borrow::Cow;

use super::LIST_BUCKET;
use super::context::{DocumentFacts, RequestContext};
use crate::auth::acl::{Acl, Grant, Grantee, Permission};
use crate::auth::policy::action::Action;
use crate::auth::policy::decide::{self, Guard, ObjectAcl, is_of_object_owner};
use crate::auth::policy::{Attempt, Policy, Undecided};
use crate::auth::principal::Principal;
use crate::engine::{Headers, Object, VersionId};
use crate::io::Host;
use crate::s3::error::{Code, S3Error};
use crate::s3::object_acl;
use crate::s3::request::Request;
use crate::s3::route::Operation;
use crate::s3::service::S3Service;
use crate::s3::settings::{BucketSettings, PublicAccessBlock};
use crate::s3::tagging::TagSet;

const PUT_OBJECT_ACL: Action = Action::named("s3:PutObjectAcl");

/// What is asked of the evaluator.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub(super) principal: Option<&'a Principal>,
    pub(super) request: &'a Request,
    pub(super) operation: Operation,
    pub(super) action: Action,
    /// Empty for a bucket.
    pub(super) key: &'a str,
    /// `None`: the current one.
    pub(super) version: Option<VersionId>,
    /// The request's document; `None` if it was not received.
    pub(super) document: Option<&'a DocumentFacts>,
    /// For the question whether the sender may list the bucket and so learn that it has no such key: the key.
    pub(super) listed: Option<&'a str>,
    /// The ETag that one of many keys to delete must have.
    pub(super) etag: Option<&'a str>,
    /// Whether it is about an object that the request is to make, and not about one that is there.
    pub(super) is_of_new: bool,
}

/// What a question came to.
pub(super) enum Answer {
    Allowed(Seen),
    /// Conditions ask about the request's document.
    NeedsDocument,
}

/// What a decision was made about, if the object had to be looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Seen {
    /// It did not depend on the object.
    #[default]
    Nothing,
    /// There was no object.
    Missing,
    /// This version, by its sequence.
    Version(u64),
}

impl Seen {
    fn of<H: Host>(object: Option<&Object<H>>) -> Self {
        object.map_or(Self::Missing, |object| Self::Version(object.sequence))
    }

    /// Refuses another version, or one where there was none: the decision was not about it.
    pub fn check<H: Host>(&self, object: &Object<H>) -> Result<(), S3Error> {
        if [Self::Nothing, Self::Version(object.sequence)].contains(self) {
            return Ok(());
        }
        let message = "The object was replaced while the request was authorized. Please try again.";
        Err(S3Error::new(Code::ServiceUnavailable).with_message(message))
    }
}

impl Question<'_> {
    /// Says yes, with the object that had to be looked at, or refuses.
    pub(super) async fn ask<H: Host>(
        &self,
        service: &S3Service<H>,
        settings: &BucketSettings,
    ) -> Result<Seen, S3Error> {
        match self.ask_before_document(service, settings).await? {
            Answer::Allowed(seen) => Ok(seen),
            Answer::NeedsDocument => Err(self.denied()),
        }
    }

    /// Like [`Question::ask`], but leaves it open if the request's document has to be received first.
    pub(super) async fn ask_before_document<H: Host>(
        &self,
        service: &S3Service<H>,
        settings: &BucketSettings,
    ) -> Result<Answer, S3Error> {
        let rules = Rules::of(service, settings)?;
        match self.decide(service, settings, &rules, None) {
            Ok(true) => return Ok(Answer::Allowed(Seen::default())),
            Ok(false) => return Err(self.denied()),
            Err(Undecided) => {}
        }
        if self.is_of_new {
            let found = Found::new_of(self);
            return match self.decide(service, settings, &rules, Some(&found)) {
                Ok(true) => Ok(Answer::Allowed(Seen::default())),
                Ok(false) | Err(Undecided) => Err(self.denied()),
            };
        }
        let bucket = settings.bucket().id;
        let object = service.engine().get(bucket, self.key.as_bytes(), self.version).await?.found();
        let found = match &object {
            None => Found::default(),
            Some(object) => Found::of(&object.attributes.headers)?,
        };
        match self.decide(service, settings, &rules, Some(&found)) {
            Ok(true) => Ok(Answer::Allowed(Seen::of(object.as_ref()))),
            // Nothing is there whose ACL could allow it: who may list may know that.
            Ok(false) if object.is_none() && rules.acl.is_some() && is_of_object_owner(self.action) => {
                match self.of_listing(self.key).decide(service, settings, &rules, None) {
                    Ok(true) => Ok(Answer::Allowed(Seen::Missing)),
                    _ => Err(self.denied()),
                }
            }
            Err(Undecided) if self.document.is_none() && DocumentFacts::are_asked(self.operation) => {
                Ok(Answer::NeedsDocument)
            }
            Ok(false) | Err(Undecided) => Err(self.denied()),
        }
    }

    /// Whether the sender may list the bucket and so learn whether it has `key`. To conditions, it is a listing
    /// with that key as its prefix.
    pub(super) fn of_listing<'b>(&self, key: &'b str) -> Question<'b>
    where
        Self: 'b,
    {
        Question { action: LIST_BUCKET, key: "", version: None, listed: Some(key), ..*self }
    }

    fn decide<H: Host>(
        &self,
        service: &S3Service<H>,
        settings: &BucketSettings,
        rules: &Rules<'_>,
        found: Option<&Found>,
    ) -> Result<bool, Undecided> {
        let context = RequestContext {
            request: self.request,
            operation: self.operation,
            action: self.action,
            now: service.engine().host().now(),
            region: &service.settings().region,
            is_signed: self.principal.is_some(),
            is_about_object: !self.key.is_empty(),
            owner: Some(rules.owner),
            listed: self.listed,
            etag: self.etag,
            version: self.version,
            tags: found.map(|found| &found.tags),
            document: self.document,
        };
        let attempt = Attempt {
            principal: self.principal,
            action: self.action,
            bucket: &settings.bucket().name,
            key: self.key,
            context: &context,
        };
        let acl = match found {
            None => ObjectAcl::Unknown,
            Some(found) => found.acl.as_ref().map_or(ObjectAcl::None, ObjectAcl::Some),
        };
        decide::is_allowed(&attempt, &rules.guard(), acl)
    }

    fn denied(&self) -> S3Error {
        denied(self.action, &self.request.bucket, self.key)
    }
}

/// "Access denied", and a word for the log about what was asked.
pub(super) fn denied(action: Action, bucket: &str, key: &str) -> S3Error {
    tracing::debug!(action = action.name(), bucket, key, "access denied");
    Code::AccessDenied.into()
}

/// What a bucket says about who may do what.
struct Rules<'a> {
    owner: &'a str,
    policy: Option<&'a Policy>,
    /// `None` if ACLs are disabled.
    acl: Option<Cow<'a, Acl>>,
    block: PublicAccessBlock,
}

impl<'a> Rules<'a> {
    fn of<H: Host>(service: &'a S3Service<H>, settings: &'a BucketSettings) -> Result<Self, S3Error> {
        let owner = service.owner_account(settings);
        let acl = match (settings.is_owner_enforced()?, settings.acl()?) {
            (true, _) => None,
            (false, Some(acl)) => Some(Cow::Borrowed(acl)),
            (false, None) => {
                let canonical_id = service.owner_id(settings);
                Some(Cow::Owned(Acl::private(&canonical_id)))
            }
        };
        Ok(Self { owner, policy: settings.policy()?, acl, block: settings.public_access_block()? })
    }

    fn guard(&self) -> Guard<'_> {
        Guard {
            owner: self.owner,
            policy: self.policy,
            acl: self.acl.as_deref(),
            ignore_public_acls: self.block.ignore_public_acls,
            restrict_public_buckets: self.block.restrict_public_buckets,
        }
    }
}

/// What an object says about who may do what; nothing if there is none.
#[derive(Default)]
struct Found {
    acl: Option<Acl>,
    tags: TagSet,
}

impl Found {
    /// What is known of an object before it is made: it has no tags, and its ACL is its writer's to give.
    ///
    /// Source: AWS, "Bucket owner granting cross-account permission to upload objects": such a policy allows
    /// only `s3:PutObject`, and the upload brings an ACL.
    fn new_of(asked: &Question<'_>) -> Self {
        let is_asked = asked.action == PUT_OBJECT_ACL;
        let acl = is_asked.then(|| match asked.principal {
            Some(writer) => Acl::private(&writer.canonical_id),
            // Who does not sign may say so of an upload, although the bucket's owner will own it.
            None => Acl {
                owner: String::new(),
                grants: vec![Grant { grantee: Grantee::AllUsers, permission: Permission::WriteAcp }],
            },
        });
        Self { acl, tags: TagSet::default() }
    }

    fn of(headers: &Headers) -> Result<Self, S3Error> {
        let acl = headers.iter().find(|(name, _)| name == object_acl::STORED);
        let acl = acl.map(|(_, text)| std::str::from_utf8(text).ok().and_then(Acl::parse));
        match acl {
            // An ACL that cannot be read must not be taken for one that is not there.
            Some(None) => Err(S3Error::from(Code::InternalError)),
            acl => Ok(Self { acl: acl.flatten(), tags: TagSet::load(headers) }),
        }
    }
}
