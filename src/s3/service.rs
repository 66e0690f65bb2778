//! The path of a request: understood, routed, authenticated, allowed, carried out, answered.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::auth::directory::{Directory, Identities};
use crate::auth::policy::action::Action;
use crate::auth::principal::Accounts as _;
use crate::auth::{self, Identity, SigningKeys};
use crate::base::stages::Stages;
use crate::crypt::MasterKey;
use crate::engine::{Bucket, Engine, Lookup};
use crate::hash::Batcher;
use crate::http::{Head, Response, ResponseBody};
use crate::io::{Host, TimestampMs};
use crate::net::{Body, Peer, Refusal, Service};
use crate::s3::access::Authorized;
use crate::s3::accounts::{KnownAccounts, Owner};
use crate::s3::audit::Api;
use crate::s3::body::Incoming;
use crate::s3::copy_source::{CopySource, Source};
use crate::s3::encryption::{self, Vault};
use crate::s3::error::{Code, S3Error};
use crate::s3::form;
use crate::s3::journal::{Journal, Note};
use crate::s3::meters::{Kind, Meters};
use crate::s3::notification::Courier;
use crate::s3::notification_target::NotificationTarget;
use crate::s3::op;
use crate::s3::precondition::{Preconditions, Verdict};
use crate::s3::request::{Request, is_bucket_name};
use crate::s3::route::{Operation, Support, route};
use crate::s3::settings::{BucketSettings, ObjectLock, SettingsCache};
use crate::s3::unsupported;
use crate::s3::version;

const GET_OBJECT: Action = Action::named("s3:GetObject");

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// What the protocol needs to know of the node.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The region that signatures and GetBucketLocation name.
    pub region: String,
    /// Domains under which buckets are host names.
    pub domains: Vec<String>,
    /// Canonical user id of the owner of all buckets and objects.
    pub owner_id: String,
    /// Display name of that owner.
    pub owner_name: String,
    /// Account id of that owner: twelve digits.
    pub account_id: String,
    /// What a bucket has that was made without saying otherwise.
    pub new_buckets: NewBuckets,
    /// Whether customers' keys may come over connections without TLS.
    pub sse_c_over_http: bool,
    /// Length of a day of lifecycle rules in milliseconds; 86,400,000 but in tests.
    pub lifecycle_day_ms: u64,
    /// Where event notifications may go.
    pub notification_targets: Vec<NotificationTarget>,
}

/// What a bucket has that was made without saying otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NewBuckets {
    /// As AWS makes them since April 2023: object ownership BucketOwnerEnforced (ACLs are off), and all four
    /// settings of the public access block on.
    #[default]
    Aws,
    /// As AWS made them before: ACLs count, and nothing blocks public access.
    Acl,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            region: "us-east-1".to_owned(),
            domains: Vec::new(),
            owner_id: "75aa57f09aa0c8caeab4f8c24e99d10f8e7faeebf76c078efc7c6caea54ba06a".to_owned(),
            owner_name: "root".to_owned(),
            account_id: "000000000000".to_owned(),
            new_buckets: NewBuckets::default(),
            sse_c_over_http: false,
            lifecycle_day_ms: DAY_MS,
            notification_targets: Vec::new(),
        }
    }
}

/// Speaks S3 for one core's engine.
pub struct S3Service<H: Host> {
    engine: Engine<H>,
    /// Of the core's uploads.
    batcher: Batcher<H>,
    settings: Settings,
    identities: Rc<dyn Identities>,
    master: Option<Arc<MasterKey>>,
    courier: Option<Rc<dyn Courier>>,
    journal: Option<Rc<Journal>>,
    signing_keys: SigningKeys,
    bucket_settings: SettingsCache,
    meters: Rc<Meters>,
    host_id: String,
    request_id_last: Cell<u64>,
}

impl<H: Host> S3Service<H> {
    pub fn new(engine: Engine<H>, settings: Settings, identities: Rc<dyn Identities>) -> Self {
        let mut seed = [0; 56];
        engine.host().random(&mut seed);
        let (first, rest) = seed.split_at(8);
        let first = first.iter().fold(0, |id, byte| id << 8 | u64::from(*byte));
        let host_id = STANDARD.encode(rest);
        Self {
            batcher: Batcher::new(engine.host().clone()),
            engine,
            settings,
            identities,
            master: None,
            courier: None,
            journal: None,
            signing_keys: SigningKeys::new(),
            bucket_settings: SettingsCache::default(),
            meters: Rc::default(),
            host_id,
            request_id_last: Cell::new(first),
        }
    }

    /// The same service with the key that guards the keys of encrypted objects.
    pub fn with_master_key(mut self, master: Arc<MasterKey>) -> Self {
        self.master = Some(master);
        self
    }

    /// The same service with somebody who takes messages to targets of event notifications.
    pub fn with_courier(mut self, courier: Rc<dyn Courier>) -> Self {
        self.courier = Some(courier);
        self
    }

    /// The same service with a journal of its requests.
    pub fn with_journal(mut self, journal: Option<Rc<Journal>>) -> Self {
        self.journal = journal;
        self
    }

    /// What it writes down of its requests, if anything.
    pub fn journal(&self) -> Option<&Journal> {
        self.journal.as_deref()
    }

    /// Who takes messages to targets of event notifications; queued events are not sent here.
    pub fn courier(&self) -> Option<&dyn Courier> {
        self.courier.as_deref()
    }

    /// What answers say as `x-amz-id-2`.
    pub fn host_id(&self) -> &str {
        &self.host_id
    }

    /// The named keys of encryption as they are now.
    pub fn vault(&self) -> Result<Vault, S3Error> {
        let master = self.master.clone().ok_or_else(|| {
            let message = "This node has no master key, under which objects could be encrypted.";
            S3Error::not_implemented("x-amz-server-side-encryption").with_message(message)
        })?;
        Ok(Vault::new(master, self.engine.config()))
    }

    pub fn engine(&self) -> &Engine<H> {
        &self.engine
    }

    /// What its requests have come to.
    pub fn meters(&self) -> &Meters {
        &self.meters
    }

    /// What hashes the payload of this core's uploads.
    pub fn batcher(&self) -> &Batcher<H> {
        &self.batcher
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What a request is authenticated with; `virtual_bucket` is the bucket that its host names.
    pub fn context<'a>(
        &'a self,
        directory: &'a Directory,
        virtual_bucket: Option<&'a str>,
    ) -> auth::Context<'a> {
        auth::Context {
            region: &self.settings.region,
            now: self.engine.host().now(),
            keys: directory,
            signing_keys: &self.signing_keys,
            virtual_bucket,
        }
    }

    /// The bucket that a request is allowed to use.
    pub fn bucket(&self, request: &Authorized) -> Result<Rc<Bucket>, S3Error> {
        request.bucket().cloned()
    }

    /// A bucket by name: that of a copy's source.
    pub fn bucket_named(&self, name: &str) -> Result<Rc<Bucket>, S3Error> {
        self.engine.bucket(name).ok_or_else(|| {
            if is_bucket_name(name) {
                S3Error::no_such_bucket(name)
            } else {
                S3Error::new(Code::InvalidBucketName).with_field("BucketName", name)
            }
        })
    }

    /// The settings of a bucket, which the core reads once for as long as they stay.
    pub fn bucket_settings(&self, bucket: &Rc<Bucket>) -> Rc<BucketSettings> {
        self.bucket_settings.of(bucket)
    }

    /// The accounts that documents and headers may name.
    pub fn accounts(&self) -> KnownAccounts {
        KnownAccounts(self.directory())
    }

    /// Who there is, now.
    pub fn directory(&self) -> Rc<Directory> {
        self.identities.directory()
    }

    /// Id of the account that owns a bucket.
    pub fn owner_account<'a>(&'a self, settings: &'a BucketSettings) -> &'a str {
        settings.owner().unwrap_or(&self.settings.account_id)
    }

    /// Who owns a bucket, as listings show it.
    pub fn owner(&self, bucket: &Rc<Bucket>) -> Owner {
        self.accounts().owner(self.owner_account(&self.bucket_settings(bucket)))
    }

    /// Canonical id of a bucket's owner.
    pub fn owner_id(&self, settings: &BucketSettings) -> String {
        self.directory().canonical_id(self.owner_account(settings)).unwrap_or_default()
    }

    /// How versions of a bucket's objects are locked; `None` if they cannot be.
    pub fn object_lock(&self, bucket: &Rc<Bucket>) -> Result<Option<ObjectLock>, S3Error> {
        Ok(self.bucket_settings(bucket).object_lock()?.copied())
    }

    /// Refuses a request that expects the bucket of another account.
    pub fn check_owner(
        &self,
        request: &Request,
        header: &str,
        settings: &BucketSettings,
    ) -> Result<(), S3Error> {
        match request.header(header)? {
            Some(expected) if expected != self.owner_account(settings) => Err(Code::AccessDenied.into()),
            _ => Ok(()),
        }
    }

    /// Refuses a customer's key that everybody on the way could read.
    pub(super) fn check_keys_are_safe(&self, request: &Request) -> Result<(), S3Error> {
        let is_safe = request.tls.is_some() || self.settings.sse_c_over_http;
        if is_safe || !encryption::brings_key(&|name| request.head.header(name)) {
            return Ok(());
        }
        Err(S3Error::invalid_request(
            "Requests specifying Server Side Encryption with Customer provided keys must be made over a secure \
             connection.",
        ))
    }

    /// The object that a copy reads, once its conditions hold.
    pub async fn copy_source(&self, request: &Authorized) -> Result<Source<H>, S3Error> {
        let source = CopySource::of(request)?;
        let bucket = self.bucket_named(&source.bucket)?;
        self.check_owner(request, "x-amz-source-expected-bucket-owner", &self.bucket_settings(&bucket))?;
        let seen = request.check(self, GET_OBJECT, &bucket, &source.key, source.version).await?;
        let lookup = self.engine.get(bucket.id, source.key.as_bytes(), source.version).await?;
        if let (Lookup::DeleteMarker { .. }, Some(_)) = (&lookup, source.version) {
            return Err(S3Error::invalid_request(
                "The source of a copy request may not specifically refer to a delete marker by version id.",
            ));
        }
        let object = match version::found(lookup, source.version, &source.key) {
            Err(error) if error.tells_missing() => {
                request.check_missing(self, &bucket, &source.key).await?;
                return Err(error);
            }
            found => found?,
        };
        seen.check(&object)?;
        let conditions = Preconditions::of_copy_source(request);
        match conditions.judge(&object.attributes.etag, object.modified()) {
            Verdict::Failed(header) => Err(S3Error::precondition_failed(header)),
            Verdict::Proceed | Verdict::NotModified => {
                let version = version::shown(&bucket, object.version());
                Ok(Source { name: source, object, version })
            }
        }
    }

    async fn answer<I: Incoming>(
        &self,
        head: Head,
        body: &mut I,
        peer: Peer,
        (request_id, note): (&str, Option<Rc<Note>>),
        kind: &Cell<Kind>,
    ) -> Result<Response, S3Error> {
        let mut request = Request::new(head, &self.settings.domains)?;
        request_id.clone_into(&mut request.id);
        request.peer = peer.address.ip();
        request.tls = peer.tls;
        if let Some(note) = &note {
            note.about(&request.bucket, &request.key, request.query("versionId"));
        }
        request.note = note;
        if request.head.method == "OPTIONS" {
            kind.set(Kind::Preflight);
            return op::bucket_cors::preflight(self, &request);
        }
        self.check_keys_are_safe(&request)?;
        if op::post_object::is_form(&request) {
            kind.set(Kind::Operation(Operation::PostObject));
            return op::post_object::run(self, request, body).await;
        }
        let directory = self.directory();
        let virtual_bucket = request.is_virtual_hosted.then_some(request.bucket.as_str());
        let context = self.context(&directory, virtual_bucket);
        let authentication = auth::authenticate(&request.head, &context);
        // Routed all the same: refused signatures are counted with what they asked for.
        let operation = route(&request).inspect(|operation| kind.set(Kind::Operation(*operation)));
        let authentication =
            authentication.map_err(|error| match unsupported::is_of_minio_admin(&request.head) {
                true => S3Error::new(Code::NotImplemented).with_message(unsupported::MINIO_ADMIN_MESSAGE),
                false => error.into(),
            });
        let (authentication, operation) = (authentication?, operation?);
        self.note_sender(&request, &authentication.identity);
        let request = self.authorize(request, operation, authentication, body).await?;
        if operation.row().support == Support::Absent {
            return Err(S3Error::not_implemented(operation.name()));
        }
        unsupported::check(&request)?;
        let hides_missing = request.hides_missing();
        match self.run(request, body).await {
            Err(error) if hides_missing && error.tells_missing() => Err(Code::AccessDenied.into()),
            answer => answer,
        }
    }

    /// Takes note of who has signed a request.
    pub(super) fn note_sender(&self, request: &Request, identity: &Identity) {
        if let (Some(note), Identity::AccessKey { id }) = (&request.note, identity) {
            let principal = self.directory().principal(id);
            note.signed(id, principal.as_ref().map(|principal| principal.arn.as_str()));
        }
    }

    /// Carries out what is allowed.
    pub(super) async fn run<I: Incoming>(
        &self,
        request: Authorized,
        body: &mut I,
    ) -> Result<Response, S3Error> {
        if request.operation().row().support == Support::Fixed {
            return op::bucket_settings::run(self, request).await;
        }
        match request.operation() {
            Operation::GetBucketAcl | Operation::PutBucketAcl => {
                op::bucket_acl::run(self, request, body).await
            }
            Operation::GetBucketCors | Operation::PutBucketCors | Operation::DeleteBucketCors => {
                op::bucket_cors::run(self, request, body).await
            }
            Operation::GetBucketEncryption
            | Operation::PutBucketEncryption
            | Operation::DeleteBucketEncryption => op::bucket_encryption::run(self, request, body).await,
            Operation::GetBucketLifecycleConfiguration
            | Operation::PutBucketLifecycleConfiguration
            | Operation::DeleteBucketLifecycle => op::bucket_lifecycle::run(self, request, body).await,
            Operation::GetBucketNotificationConfiguration | Operation::PutBucketNotificationConfiguration => {
                op::bucket_notification::run(self, request, body).await
            }
            Operation::GetBucketOwnershipControls
            | Operation::PutBucketOwnershipControls
            | Operation::DeleteBucketOwnershipControls => {
                op::bucket_ownership_controls::run(self, request, body).await
            }
            Operation::GetBucketPolicy
            | Operation::GetBucketPolicyStatus
            | Operation::PutBucketPolicy
            | Operation::DeleteBucketPolicy => op::bucket_policy::run(self, request, body).await,
            Operation::GetBucketRequestPayment | Operation::PutBucketRequestPayment => {
                op::bucket_request_payment::run(self, request, body).await
            }
            Operation::GetBucketTagging | Operation::PutBucketTagging | Operation::DeleteBucketTagging => {
                op::bucket_tagging::run(self, request, body).await
            }
            Operation::GetBucketVersioning | Operation::PutBucketVersioning => {
                op::bucket_versioning::run(self, request, body).await
            }
            Operation::GetObjectLockConfiguration | Operation::PutObjectLockConfiguration => {
                op::object_lock_configuration::run(self, request, body).await
            }
            Operation::GetPublicAccessBlock
            | Operation::PutPublicAccessBlock
            | Operation::DeletePublicAccessBlock => op::public_access_block::run(self, request, body).await,
            Operation::ListBuckets => op::list_buckets::run(self, request).await,
            Operation::CreateBucket => op::create_bucket::run(self, request, body).await,
            Operation::HeadBucket => op::head_bucket::run(self, request).await,
            Operation::DeleteBucket => op::delete_bucket::run(self, request).await,
            Operation::GetBucketLocation => op::get_bucket_location::run(self, request).await,
            Operation::ListObjects => op::list_objects::run(self, request).await,
            Operation::ListObjectsV2 => op::list_objects_v2::run(self, request).await,
            Operation::ListObjectVersions => op::list_object_versions::run(self, request).await,
            Operation::GetObjectAttributes => op::get_object_attributes::run(self, request).await,
            Operation::AbortMultipartUpload => op::abort_multipart_upload::run(self, request).await,
            Operation::CreateMultipartUpload => op::create_multipart_upload::run(self, request).await,
            Operation::UploadPart => op::upload_part::run(self, request, body).await,
            Operation::UploadPartCopy => op::upload_part_copy::run(self, request).await,
            Operation::CompleteMultipartUpload => {
                op::complete_multipart_upload::run(self, request, body).await
            }
            Operation::ListParts => op::list_parts::run(self, request).await,
            Operation::ListMultipartUploads => op::list_multipart_uploads::run(self, request).await,
            Operation::PutObject => op::put_object::run(self, request, body).await,
            Operation::PostObject => Err(form::not_a_form()),
            Operation::GetObject => op::get_object::run(self, request).await,
            Operation::HeadObject => op::head_object::run(self, request).await,
            Operation::RenameObject => op::rename_object::run(self, request).await,
            Operation::CopyObject => op::copy_object::run(self, request).await,
            Operation::DeleteObject => op::delete_object::run(self, request).await,
            Operation::GetObjectAcl => op::object_acl::get(self, request).await,
            Operation::PutObjectAcl => op::object_acl::put(self, request, body).await,
            Operation::GetObjectTagging => op::object_tagging::get(self, request).await,
            Operation::PutObjectTagging => op::object_tagging::put(self, request, body).await,
            Operation::DeleteObjectTagging => op::object_tagging::delete(self, request).await,
            Operation::GetObjectRetention => op::object_lock::get_retention(self, request).await,
            Operation::PutObjectRetention => op::object_lock::put_retention(self, request, body).await,
            Operation::GetObjectLegalHold => op::object_lock::get_legal_hold(self, request).await,
            Operation::PutObjectLegalHold => op::object_lock::put_legal_hold(self, request, body).await,
            Operation::DeleteObjects => op::delete_objects::run(self, request, body).await,
            operation => Err(S3Error::not_implemented(operation.name())),
        }
    }

    /// Unique over the life of the node and unlikely to repeat after it.
    fn request_id(&self) -> String {
        // The odd constant steps through all 64-bit numbers in an order that looks random.
        let id = self.request_id_last.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.request_id_last.set(id);
        format!("{id:016X}")
    }

    /// Answers a request whatever becomes of it. For those without a connection: tests and fuzz targets.
    pub async fn respond<I: Incoming>(&self, head: Head, body: &mut I, peer: Peer) -> Response {
        let began = self.engine.host().monotonic();
        let kind = Cell::new(Kind::Unknown);
        let request_id = self.request_id();
        let journal = self.journal.as_ref().map(|journal| {
            let host = self.engine.host();
            journal.begin(host, (Api::S3, &request_id), &head, peer, body.head_took())
        });
        let note = journal.as_ref().map(|begun| begun.note().clone());
        let stages = note.as_ref().and_then(|note| note.stages().cloned());
        let is_head = head.method == "HEAD";
        let path = head.path.clone();
        let cross_origin =
            head.header("origin").is_some_and(|_| head.method != "OPTIONS").then(|| head.clone());
        let mut error_code = None;
        let answer = pin!(self.answer(head, body, peer, (&request_id, note), &kind));
        let mut response = match polled_within(stages, answer).await {
            Ok(response) => response,
            Err(error) => {
                error_code = Some(error.code.name());
                self.meters.error(error.code);
                if error.code.status() >= 500 && error.code != Code::NotImplemented {
                    tracing::warn!(request_id, code = error.code.name(), "{}", error.message);
                }
                let mut response = error.response(&path, &request_id, &self.host_id);
                if is_head {
                    response.body = ResponseBody::Empty;
                }
                response
            }
        };
        if let Some(head) = cross_origin {
            op::bucket_cors::write_headers(self, &head, &mut response);
        }
        response.header("x-amz-request-id", &request_id).header("x-amz-id-2", &self.host_id);
        self.meters.answered(kind.get(), &mut response, self.engine.host(), began);
        if let Some(begun) = journal {
            begun.answered(kind.get().name(), error_code, &mut response);
        }
        response
    }
}

/// A future at its place on the stack, polled with these stages as the current ones.
async fn polled_within<F: Future>(stages: Option<Rc<Stages>>, mut future: Pin<&mut F>) -> F::Output {
    poll_fn(|context| {
        let _current = stages.as_ref().map(Stages::enter);
        future.as_mut().poll(context)
    })
    .await
}

impl<H: Host> S3Service<H> {
    /// Words the answer to a request that is not taken at the moment, whatever it asks. The connection is to close
    /// after it.
    pub fn turn_away(&self, head: &Head, peer: Peer) -> Response {
        let error = S3Error::new(Code::ServiceUnavailable)
            .with_message("The node takes no requests like this one at the moment. Please try again.")
            .with_header("Retry-After", "1");
        let mut response = self.answer_unread(&error, head, peer);
        response.close = true;
        if head.method == "HEAD" {
            response.body = ResponseBody::Empty;
        }
        response
    }

    /// The answer to what was never looked at as a request.
    fn answer_unread(&self, error: &S3Error, head: &Head, peer: Peer) -> Response {
        self.meters.error(error.code);
        let request_id = self.request_id();
        let mut response = error.response("", &request_id, &self.host_id);
        response.header("x-amz-request-id", &request_id).header("x-amz-id-2", &self.host_id);
        if let Some(journal) = &self.journal {
            let begun = journal.begin(self.engine.host(), (Api::S3, &request_id), head, peer, Duration::ZERO);
            begun.answered(Kind::Unknown.name(), Some(error.code.name()), &mut response);
        }
        response
    }
}

impl<H: Host> Service for S3Service<H> {
    async fn call(&self, head: Head, body: &mut Body, peer: Peer) -> Response {
        self.respond(head, body, peer).await
    }

    fn refuse(&self, refusal: Refusal, peer: Peer) -> Response {
        let error = match refusal {
            Refusal::BadRequest { why } => S3Error::new(Code::BadRequest).with_message(why),
            Refusal::HeadTooLarge => Code::RequestHeaderSectionTooLarge.into(),
            Refusal::VersionUnsupported => Code::HttpVersionNotSupported.into(),
            Refusal::TransferCodingUnsupported => S3Error::not_implemented("Transfer-Encoding"),
            Refusal::TimedOut => Code::RequestTimeout.into(),
            Refusal::TooManyConnections => Code::SlowDown.into(),
        };
        self.answer_unread(&error, &Head::default(), peer)
    }

    fn now(&self) -> TimestampMs {
        self.engine.host().now()
    }
}
