//! GetBucketNotificationConfiguration and PutBucketNotificationConfiguration.

use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::body::{DocumentDigest, Incoming};
use crate::s3::error::S3Error;
use crate::s3::notification;
use crate::s3::op::setting::{self, Change};
use crate::s3::route::Operation;
use crate::s3::service::S3Service;
use crate::s3::settings::{Document, Notification};

pub async fn run<H: Host, I: Incoming>(
    service: &S3Service<H>,
    mut request: Authorized,
    body: &mut I,
) -> Result<Response, S3Error> {
    let bucket = service.bucket(&request)?;
    if request.operation() == Operation::GetBucketNotificationConfiguration {
        let stored = bucket.settings.get(Notification::NAME).cloned();
        return Ok(super::document_bytes(stored.unwrap_or_else(|| Notification::default().render())));
    }
    let document = setting::receive(service, &mut request, body, DocumentDigest::Optional).await?;
    let notification = Notification::parse(&document)?;
    let targets = &service.settings().notification_targets;
    notification.check_targets(targets.iter().map(|target| target.arn.as_str()))?;
    let change = match notification.configurations.is_empty() {
        true => Change::delete(Notification::NAME),
        false => Change::put(Notification::NAME, notification.render()),
    };
    setting::change(service, &bucket, change).await?;
    notification::announce(service, &request, &bucket, &notification);
    Ok(Response::new(200))
}
