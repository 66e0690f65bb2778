//! The headers that say when the lifecycle rules of a bucket will remove an object or abort an upload. They
//! count days of the calendar, also where a node's settings shorten the days of its rules for tests.
//!
//! Source: AWS, PutObject (`x-amz-expiration`) and CreateMultipartUpload (`x-amz-abort-date`).

use std::rc::Rc;

use crate::engine::{Bucket, Headers};
use crate::http::{Response, date};
use crate::io::{Host, TimestampMs};
use crate::s3::service::S3Service;
use crate::s3::settings::expiry::{Candidate, DayLength};
use crate::s3::settings::{Document, Lifecycle};
use crate::s3::tagging::TagSet;

/// What the rules look at of an object that is current.
#[derive(Clone, Copy, Debug)]
pub struct Current<'a> {
    pub key: &'a str,
    pub bytes: u64,
    /// That it keeps, its tags among them.
    pub headers: &'a Headers,
    pub modified: TimestampMs,
}

/// The value of `x-amz-expiration`, if a rule wants the object to expire. Rules that cannot be read say
/// nothing: the object is there all the same.
pub fn of_object<H: Host>(
    service: &S3Service<H>,
    bucket: &Rc<Bucket>,
    object: Current<'_>,
) -> Option<String> {
    let settings = service.bucket_settings(bucket);
    let lifecycle = settings.lifecycle().ok()??;
    let tags = if lifecycle.asks_for_tags() { TagSet::load(object.headers) } else { TagSet::default() };
    let has_tag = |key: &str, value: &str| tags.iter().any(|tag| tag == (key, value));
    let Current { key, bytes, modified, .. } = object;
    let candidate = Candidate { key, bytes, has_tag: &has_tag, modified };
    Some(lifecycle.expires(&candidate, DayLength::CALENDAR)?.header())
}

/// What must be remembered of an object's headers while it is being made, for [`of_object`]: nothing in a bucket
/// without rules.
pub fn remembered(bucket: &Bucket, headers: &Headers) -> Headers {
    if bucket.settings.contains_key(Lifecycle::NAME) { headers.clone() } else { Headers::new() }
}

/// Adds `x-amz-expiration`.
pub fn write(response: &mut Response, expiration: Option<&String>) {
    if let Some(expiration) = expiration {
        response.header("x-amz-expiration", expiration);
    }
}

/// Adds `x-amz-abort-date` and `x-amz-abort-rule-id`, if a rule wants unfinished uploads of that key aborted.
pub fn write_abort<H: Host>(
    service: &S3Service<H>,
    bucket: &Rc<Bucket>,
    key: &str,
    initiated: TimestampMs,
    response: &mut Response,
) {
    let settings = service.bucket_settings(bucket);
    let Ok(Some(lifecycle)) = settings.lifecycle() else { return };
    if let Some(expiry) = lifecycle.upload_aborts(key, initiated, DayLength::CALENDAR) {
        response.header("x-amz-abort-date", date::imf_fixdate(expiry.at));
        response.header("x-amz-abort-rule-id", expiry.rule);
    }
}
