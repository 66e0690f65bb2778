//! One walk over what a core owns of the buckets that have lifecycle rules.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use crate::base::limits::{LIFECYCLE_STEP_ENTRIES, LIFECYCLE_STEP_PAUSE_MS};
use crate::engine::{Bucket, BucketId, Condition, Deletion, EngineError, ScannedVersion, Versioning};
use crate::io::{Host, TimestampMs};
use crate::s3::notification::{self, event::EventName};
use crate::s3::service::S3Service;
use crate::s3::settings::expiry::{Candidate, DayLength};
use crate::s3::settings::{BucketSettings, Document, Lifecycle};
use crate::s3::tagging::TagSet;

/// What a pass did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Done {
    /// Current objects that are gone or hidden behind a delete marker.
    pub expired: u64,
    /// Versions that were not current, removed.
    pub noncurrent: u64,
    pub delete_markers: u64,
    pub uploads: u64,
    /// Versions that a retention or a legal hold keeps.
    pub locked: u64,
}

impl Done {
    /// Whether nothing has changed; what is locked stays so for many passes.
    pub fn is_nothing(&self) -> bool {
        Self { locked: 0, ..*self } == Self::default()
    }
}

impl fmt::Display for Done {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            out,
            "expired {} objects, removed {} noncurrent versions and {} delete markers, aborted {} uploads; {} \
             versions are locked",
            self.expired, self.noncurrent, self.delete_markers, self.uploads, self.locked
        )
    }
}

/// Looks once at everything that this core owns of buckets with rules.
///
/// # Errors
///
/// The engine's, if it makes no sense to go on now. What concerns one version or upload alone is left for the
/// next pass.
pub async fn run<H: Host>(
    service: &S3Service<H>,
    day: DayLength,
    is_ending: &dyn Fn() -> bool,
) -> Result<Done, EngineError> {
    let mut done = Done::default();
    for bucket in service.engine().buckets() {
        if !bucket.settings.contains_key(Lifecycle::NAME) {
            continue;
        }
        let mut walk = Walk { service, id: bucket.id, name: &bucket.name, day, is_ending, done: &mut done };
        let walked = match walk.versions().await {
            Ok(()) => walk.uploads().await,
            failed => failed,
        };
        match walked {
            // The bucket went while it was walked.
            Ok(()) | Err(EngineError::NoSuchBucket) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// The walk over one bucket.
struct Walk<'a, H: Host> {
    service: &'a S3Service<H>,
    id: BucketId,
    name: &'a str,
    day: DayLength,
    is_ending: &'a dyn Fn() -> bool,
    done: &'a mut Done,
}

impl<H: Host> Walk<'_, H> {
    /// The settings as they are now; `None` if the bucket is gone, or the node ends.
    fn settings(&self) -> Option<Rc<BucketSettings>> {
        let bucket = self.service.engine().bucket(self.name).filter(|bucket| bucket.id == self.id)?;
        (!(self.is_ending)()).then(|| self.service.bucket_settings(&bucket))
    }

    async fn versions(&mut self) -> Result<(), EngineError> {
        let engine = self.service.engine();
        let mut after = None;
        while let Some(settings) = self.settings() {
            // Rules that cannot be read remove nothing.
            let Ok(Some(rules)) = settings.lifecycle() else { break };
            if !rules.removes_versions() {
                break;
            }
            let (versions, next) = engine.scan(self.id, after.as_ref(), LIFECYCLE_STEP_ENTRIES);
            self.remove(settings.bucket(), rules, versions).await?;
            if next.is_none() {
                break;
            }
            after = next;
            self.pause().await;
        }
        Ok(())
    }

    /// Removes those of the versions that are due.
    async fn remove(
        &mut self,
        bucket: &Rc<Bucket>,
        rules: &Lifecycle,
        versions: Vec<ScannedVersion>,
    ) -> Result<(), EngineError> {
        let mut due = Vec::new();
        for version in versions {
            if self.is_due(rules, &version).await? {
                due.push(version);
            }
        }
        if due.is_empty() {
            return Ok(());
        }
        let deletions = due.iter().map(|version| {
            let mut deletion = deletion(version);
            let name = match (deletion.version, bucket.versioning) {
                (None, Versioning::Enabled | Versioning::Suspended) => {
                    EventName::LifecycleExpirationDeleteMarkerCreated
                }
                _ => EventName::LifecycleExpirationDelete,
            };
            let key = String::from_utf8_lossy(&version.key);
            deletion.events = notification::drafts_of_lifecycle(self.service, bucket, name, &key);
            (version.key.clone(), deletion)
        });
        let results = self.service.engine().delete_many(self.id, deletions.collect()).await;
        for (version, result) in due.iter().zip(results) {
            match result {
                Ok(_) if version.is_delete_marker => self.done.delete_markers += 1,
                Ok(_) if version.is_latest => self.done.expired += 1,
                Ok(_) => self.done.noncurrent += 1,
                Err(EngineError::Locked) => self.done.locked += 1,
                // Somebody was faster.
                Err(EngineError::ConditionFailed | EngineError::ConditionOnMissing) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether a rule wants the version gone now. The object itself is read only if its tags decide.
    async fn is_due(&self, rules: &Lifecycle, version: &ScannedVersion) -> Result<bool, EngineError> {
        let now = self.service.engine().host().now();
        let judge = |has_tag: &dyn Fn(&str, &str) -> bool| judge(rules, version, has_tag, self.day, now);
        if judge(&|_, _| false) {
            return Ok(true);
        }
        if version.is_delete_marker || !judge(&|_, _| true) {
            return Ok(false);
        }
        let lookup = self.service.engine().get(self.id, &version.key, Some(version.version)).await;
        let object = match lookup {
            Ok(lookup) => lookup.found(),
            Err(EngineError::Corrupt(what)) => {
                tracing::warn!("lifecycle: an object's tags cannot be read: {what}");
                None
            }
            Err(error) => return Err(error),
        };
        let Some(object) = object else { return Ok(false) };
        let tags = TagSet::load(&object.attributes.headers);
        Ok(judge(&|key, value| tags.iter().any(|tag| tag == (key, value))))
    }

    async fn uploads(&mut self) -> Result<(), EngineError> {
        let engine = self.service.engine();
        let mut after = None;
        while let Some(settings) = self.settings() {
            let Ok(Some(rules)) = settings.lifecycle() else { break };
            if !rules.aborts_uploads() {
                break;
            }
            let uploads = engine.scan_uploads(self.id, after.take(), LIFECYCLE_STEP_ENTRIES);
            let Some(last) = uploads.last() else { break };
            after = Some((last.key.clone(), last.id));
            let now = engine.host().now();
            for upload in &uploads {
                let Ok(key) = std::str::from_utf8(&upload.key) else { continue };
                let expiry = rules.upload_aborts(key, upload.initiated, self.day);
                if expiry.is_none_or(|expiry| expiry.at > now) {
                    continue;
                }
                match engine.abort_upload(self.id, &upload.key, upload.id).await {
                    Ok(()) => self.done.uploads += 1,
                    // It was completed or aborted meanwhile.
                    Err(EngineError::NoSuchUpload) => {}
                    Err(error) => return Err(error),
                }
            }
            self.pause().await;
        }
        Ok(())
    }

    /// Leaves the core to requests.
    async fn pause(&self) {
        let host = self.service.engine().host();
        host.sleep(Duration::from_millis(LIFECYCLE_STEP_PAUSE_MS)).await;
    }
}

/// Removes the version, or hides it if it is current and the bucket has versioning; only as it was seen.
fn deletion(version: &ScannedVersion) -> Deletion {
    let is_current = version.is_latest && !version.is_delete_marker;
    Deletion {
        version: (!is_current).then_some(version.version),
        condition: Condition { sequence: Some(version.sequence), ..Condition::default() },
        only_replaced: !version.is_latest,
        ..Deletion::default()
    }
}

/// Whether a rule wants the version gone at `now`.
fn judge(
    lifecycle: &Lifecycle,
    version: &ScannedVersion,
    has_tag: &dyn Fn(&str, &str) -> bool,
    day: DayLength,
    now: TimestampMs,
) -> bool {
    // All keys came through the protocol, which has them in UTF-8.
    let Ok(key) = std::str::from_utf8(&version.key) else { return false };
    let candidate = Candidate { key, bytes: version.bytes, has_tag, modified: version.modified() };
    let expiry = match version.noncurrent_since {
        Some(since) => lifecycle.noncurrent_expires(&candidate, since, version.noncurrent_newer, day),
        None if !version.is_delete_marker => lifecycle.expires(&candidate, day),
        None if version.is_only => lifecycle.delete_marker_expires(key, version.modified(), day),
        None => None,
    };
    expiry.is_some_and(|expiry| expiry.at <= now)
}
