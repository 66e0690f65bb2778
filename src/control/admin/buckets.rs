//! Buckets as the node's operator sees them: what they hold, and how much they may hold.

use serde::Deserialize;
use serde_json::{Value, json};

use super::AdminService;
use super::call::Call;
use super::error::AdminError;
use super::view::{json_response, moment};
use crate::auth::policy::action::Action;
use crate::engine::{Bucket, BucketChange, EngineError, QUOTA_SETTING};
use crate::http::Response;
use crate::io::Host;
use crate::s3::error::S3Error;
use crate::s3::settings::OWNER;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct NewQuota {
    quota_bytes: u64,
}

type Answer = Result<Response, AdminError>;

pub async fn run<H: Host>(service: &AdminService<H>, call: &Call<'_>, path: &[&str]) -> Answer {
    match (call.method, path) {
        ("GET", []) => {
            call.allow_operator(const { Action::named("ringcask:ListBuckets") })?;
            let mut buckets = Vec::new();
            for bucket in service.engine.buckets() {
                match view(service, &bucket).await {
                    Ok(bucket) => buckets.push(bucket),
                    // Deleted while the list was made.
                    Err(_) if service.engine.bucket(&bucket.name).is_none() => {}
                    Err(error) => return Err(error.into()),
                }
            }
            Ok(json_response(200, &json!({ "buckets": buckets })))
        }
        ("GET", [name]) => {
            call.allow_operator(const { Action::named("ringcask:GetBucketQuota") })?;
            let bucket = service.engine.bucket(name).ok_or_else(|| S3Error::no_such_bucket(name))?;
            Ok(json_response(200, &view(service, &bucket).await?))
        }
        ("PUT", [name, "quota"]) => {
            call.allow_operator(const { Action::named("ringcask:SetBucketQuota") })?;
            let quota: NewQuota = call.read()?;
            set_quota(service, call, name, Some(quota.quota_bytes)).await
        }
        ("DELETE", [name, "quota"]) => {
            call.allow_operator(const { Action::named("ringcask:SetBucketQuota") })?;
            set_quota(service, call, name, None).await
        }
        _ => Err(AdminError::no_such_route()),
    }
}

/// When it returns, every core holds the bucket to its quota.
async fn set_quota<H: Host>(
    service: &AdminService<H>,
    call: &Call<'_>,
    name: &str,
    quota_bytes: Option<u64>,
) -> Answer {
    let value = quota_bytes.map(|bytes| bytes.to_string().into_bytes());
    let settings = [(QUOTA_SETTING.to_owned(), value)].into();
    let change = BucketChange { settings, ..BucketChange::default() };
    let bucket = service.engine.set_bucket(name, change).await.map_err(|error| match error {
        EngineError::NoSuchBucket => S3Error::no_such_bucket(name),
        other => other.into(),
    })?;
    let (by, from) = (&call.principal.arn, call.peer.address);
    match quota_bytes {
        Some(bytes) => tracing::info!(by, %from, "set the quota of bucket {name} to {bytes} bytes"),
        None => tracing::info!(by, %from, "took the quota of bucket {name} away"),
    }
    Ok(json_response(200, &view(service, &bucket).await?))
}

async fn view<H: Host>(service: &AdminService<H>, bucket: &Bucket) -> Result<Value, EngineError> {
    let usage = service.engine.usage(bucket.id).await?;
    let quota = service.engine.quota_use(bucket).await?;
    let owner = bucket.settings.get(OWNER).map(|owner| String::from_utf8_lossy(owner).into_owned());
    Ok(json!({
        "name": bucket.name,
        "account": owner,
        "created": moment(bucket.created),
        "objects": usage.objects,
        "versions": usage.versions,
        "bytes": usage.bytes,
        "heldBytes": quota.held_bytes,
        "quotaBytes": quota.quota_bytes,
    }))
}
