//! Who may do what. A request becomes an [`Authorized`] value here and nowhere else, and every operation
//! takes one: no operation can be reached by a request that nobody allowed.
//!
//! [`S3Service::authorize`] asks the evaluator of `auth/policy` with what this layer knows: `action` says
//! which actions a request means, `context` what it says about condition keys. An object is looked up only
//! if neither its bucket's owner nor policies decide: for its ACL, or for its tags.

pub mod action;
mod context;
mod question;

use std::ops::Deref;
use std::rc::Rc;

use crate::auth::policy::Attempt;
use crate::auth::policy::action::Action;
use crate::auth::policy::decide::{self, is_of_object_owner};
use crate::auth::principal::Principal;
use crate::auth::{AuthError, Authentication, Identity, PayloadPromise};
use crate::engine::{Bucket, Object, VersionId};
use crate::io::Host;
use crate::s3::body::{self, DocumentDigest, Incoming};
use crate::s3::error::S3Error;
use crate::s3::request::Request;
use crate::s3::route::{Level, Operation};
use crate::s3::service::S3Service;
use crate::s3::settings::BucketSettings;
use crate::s3::version;
use context::{DocumentFacts, RequestContext};
pub use question::Seen;
use question::{Answer, Question};

/// A request that may be carried out.
#[derive(Debug)]
pub struct Authorized {
    request: Request,
    identity: Identity,
    principal: Option<Rc<Principal>>,
    operation: Operation,
    payload: PayloadPromise,
    bucket: Option<Rc<Bucket>>,
    seen: Seen,
    hides_missing: bool,
    /// The document, if the decision depended on it.
    document: Option<Vec<u8>>,
}

impl Authorized {
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// On whose behalf the request is made; `None` if nobody signed it.
    pub fn principal(&self) -> Option<&Principal> {
        self.principal.as_deref()
    }

    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// The bucket that it may be carried out on, as it was when that was decided. `NoSuchBucket` if the
    /// operation is about no existing bucket.
    pub fn bucket(&self) -> Result<&Rc<Bucket>, S3Error> {
        self.bucket.as_ref().ok_or_else(|| S3Error::no_such_bucket(&self.request.bucket))
    }

    /// Whether its sender must not learn that a key holds nothing: who may not list the bucket is told
    /// "access denied" instead.
    ///
    /// Source: AWS, GetObject, "Permissions".
    pub fn hides_missing(&self) -> bool {
        self.hides_missing
    }

    /// What the signature promises about the payload; a second call finds nothing promised.
    pub fn take_payload_promise(&mut self) -> PayloadPromise {
        std::mem::replace(&mut self.payload, PayloadPromise::Unsigned)
    }

    /// The request's document, if the decision depended on it: it cannot be received again.
    pub fn take_document(&mut self) -> Option<Vec<u8>> {
        self.document.take()
    }

    /// Whether the decision was made about an object as it was then.
    pub fn has_seen(&self) -> bool {
        self.seen != Seen::Nothing
    }

    /// Refuses to read an object that took the place of the one that the decision was made about.
    pub fn check_seen<H: Host>(&self, object: &Object<H>) -> Result<(), S3Error> {
        self.seen.check(object)
    }

    /// Whether the sender may do something else that the operation comes down to: read a copy's source,
    /// delete one of many keys, bypass a retention. `version` is `None` for the current one.
    pub async fn check<H: Host>(
        &self,
        service: &S3Service<H>,
        action: Action,
        bucket: &Rc<Bucket>,
        key: &str,
        version: Option<VersionId>,
    ) -> Result<Seen, S3Error> {
        let settings = service.bucket_settings(bucket);
        if service.is_plainly_the_owners(self.principal(), action, &settings)? {
            return Ok(Seen::default());
        }
        let action = action::of_version(action, version.is_some());
        Question { action, key, version, ..self.question(None)? }.ask(service, &settings).await
    }

    /// Whether the sender may delete one of many keys; `etag` is what its object must have.
    pub async fn check_deletion<H: Host>(
        &self,
        service: &S3Service<H>,
        bucket: &Rc<Bucket>,
        key: &str,
        version: Option<VersionId>,
        etag: Option<&str>,
    ) -> Result<(), S3Error> {
        let settings = service.bucket_settings(bucket);
        if service.is_plainly_the_owners(self.principal(), action::DELETE_OBJECT, &settings)? {
            return Ok(());
        }
        let action = action::of_version(action::DELETE_OBJECT, version.is_some());
        Question { action, key, version, etag, ..self.question(None)? }
            .ask(service, &settings)
            .await
            .map(drop)
    }

    /// The question that the request is first of all.
    fn question<'a>(&'a self, document: Option<&'a DocumentFacts>) -> Result<Question<'a>, S3Error> {
        Ok(Question {
            principal: self.principal(),
            request: &self.request,
            operation: self.operation,
            action: action::primary(self.operation, &self.request),
            key: &self.request.key,
            version: version::named(&self.request)?,
            document,
            listed: None,
            etag: None,
            is_of_new: false,
        })
    }

    /// Whether the sender may list a bucket, and so learn that `key` in it holds nothing.
    pub async fn check_missing<H: Host>(
        &self,
        service: &S3Service<H>,
        bucket: &Rc<Bucket>,
        key: &str,
    ) -> Result<(), S3Error> {
        let settings = service.bucket_settings(bucket);
        if service.is_plainly_the_owners(self.principal(), LIST_BUCKET, &settings)? {
            return Ok(());
        }
        self.question(None)?.of_listing(key).ask(service, &settings).await.map(drop)
    }

    /// A request of the node's operator, for tests of what follows authorization.
    #[cfg(test)]
    pub fn for_test(request: Request, operation: Operation, payload: PayloadPromise) -> Self {
        let identity = Identity::AccessKey { id: "root".to_owned() };
        Self {
            request,
            identity,
            principal: None,
            operation,
            payload,
            bucket: None,
            seen: Seen::default(),
            hides_missing: false,
            document: None,
        }
    }
}

impl Deref for Authorized {
    type Target = Request;

    fn deref(&self) -> &Request {
        &self.request
    }
}

const LIST_BUCKET: Action = Action::named("s3:ListBucket");

impl<H: Host> S3Service<H> {
    /// Asks whether the sender may do what the request means.
    ///
    /// The payload is only touched if a condition asks about a document.
    pub async fn authorize<I: Incoming>(
        &self,
        request: Request,
        operation: Operation,
        authentication: Authentication,
        body: &mut I,
    ) -> Result<Authorized, S3Error> {
        let Authentication { identity, payload } = authentication;
        let principal = match &identity {
            Identity::Anonymous => None,
            Identity::AccessKey { id } => {
                let principal = self.directory().principal(id);
                Some(principal.ok_or_else(|| AuthError::InvalidAccessKeyId { id: id.clone() })?)
            }
        };
        let mut authorized = Authorized {
            request,
            identity,
            principal,
            operation,
            payload,
            bucket: None,
            seen: Seen::default(),
            hides_missing: false,
            document: None,
        };
        if operation == Operation::CreateBucket || operation.row().level == Level::Service {
            self.authorize_without_bucket(&authorized)?;
            return Ok(authorized);
        }
        let bucket = self.bucket_named(&authorized.request.bucket)?;
        let settings = self.bucket_settings(&bucket);
        self.check_owner(&authorized.request, "x-amz-expected-bucket-owner", &settings)?;
        authorized.bucket = Some(bucket);
        let action = operation.row().action;
        // Each of many keys is asked about when it is known.
        if operation == Operation::DeleteObjects {
            self.check_order(&authorized, &settings)?;
        } else if !self.is_plainly_the_owners(authorized.principal(), action, &settings)? {
            self.ask_all(&mut authorized, &settings, body).await?;
        }
        Ok(authorized)
    }

    /// Asks about every action that a request means on its bucket, and notes what its operation must know of
    /// the answers.
    async fn ask_all<I: Incoming>(
        &self,
        authorized: &mut Authorized,
        settings: &BucketSettings,
        body: &mut I,
    ) -> Result<(), S3Error> {
        let operation = authorized.operation;
        let mut facts = None;
        let seen = match authorized.question(None)?.ask_before_document(self, settings).await? {
            Answer::Allowed(seen) => seen,
            Answer::NeedsDocument => {
                let host = self.engine().host();
                let digest = DocumentDigest::Optional;
                let document = body::receive_document(host, authorized, body, digest).await?;
                facts = Some(DocumentFacts::of(operation, &document)?);
                authorized.document = Some(document);
                authorized.question(facts.as_ref())?.ask(self, settings).await?
            }
        };
        let asked = authorized.question(facts.as_ref())?;
        for action in action::beside(operation, &authorized.request) {
            let is_of_new = action::makes_object(operation) && action != action::GET_OBJECT;
            Question { action, is_of_new, ..asked }.ask(self, settings).await?;
        }
        let is_read = matches!(authorized.request.head.method.as_str(), "GET" | "HEAD");
        let hides_missing = is_read && operation.row().level == Level::Object && {
            asked.of_listing(&authorized.request.key).ask(self, settings).await.is_err()
        };
        authorized.seen = seen;
        authorized.hides_missing = hides_missing;
        Ok(())
    }

    /// Refuses an order to delete many keys whose sender nothing could allow any of them: it would be received and
    /// read for nobody.
    fn check_order(&self, authorized: &Authorized, settings: &BucketSettings) -> Result<(), S3Error> {
        let may_be_open = settings.policy()?.is_some() || !settings.is_owner_enforced()?;
        if authorized.principal.is_some() || may_be_open {
            return Ok(());
        }
        Err(question::denied(action::DELETE_OBJECT, &authorized.request.bucket, ""))
    }

    /// The usual case, decided without a look at anything else: the root of the bucket's owner, no policy
    /// that could deny, and nothing that could be another account's.
    fn is_plainly_the_owners(
        &self,
        principal: Option<&Principal>,
        action: Action,
        settings: &BucketSettings,
    ) -> Result<bool, S3Error> {
        let Some(principal) = principal else { return Ok(false) };
        Ok(principal.is_root()
            && principal.account_id == self.owner_account(settings)
            && settings.policy()?.is_none()
            && (!is_of_object_owner(action) || settings.is_owner_enforced()?))
    }

    fn authorize_without_bucket(&self, authorized: &Authorized) -> Result<(), S3Error> {
        let (operation, request) = (authorized.operation, &authorized.request);
        let context = |action| RequestContext {
            request,
            operation,
            action,
            now: self.engine().host().now(),
            region: &self.settings().region,
            owner: authorized.principal.as_ref().map(|principal| principal.account_id.as_str()),
            is_signed: authorized.principal.is_some(),
            is_about_object: false,
            listed: None,
            etag: None,
            version: None,
            tags: None,
            document: None,
        };
        let actions = std::iter::once(action::primary(operation, request));
        for action in actions.chain(action::beside(operation, request)) {
            let context = context(action);
            let attempt = Attempt {
                principal: authorized.principal.as_deref(),
                action,
                bucket: &request.bucket,
                key: "",
                context: &context,
            };
            if decide::is_allowed_without_bucket(&attempt) != Ok(true) {
                return Err(question::denied(action, &request.bucket, ""));
            }
        }
        Ok(())
    }
}
