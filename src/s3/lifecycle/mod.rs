//! Carries out the lifecycle rules of buckets, in the background: each core for the keys that it owns.
//!
//! What the rules say is in [`settings::expiry`](super::settings::expiry); here is who asks them, when, and what
//! is done about it. A pass walks the versions and the uploads of each bucket that has rules in small steps with
//! pauses between them. Whatever it removes, it removes only if nothing has changed since it looked.

pub mod pass;

use std::time::Duration;

use crate::base::limits::LIFECYCLE_CLOCK_PAUSE_MS;
use crate::engine::EngineError;
use crate::io::Host;
use crate::s3::service::S3Service;
use crate::s3::settings::expiry::DayLength;

/// Passes over the buckets as often as the length of a day asks for, until the node ends.
pub async fn run<H: Host>(service: &S3Service<H>, is_ending: impl Fn() -> bool) {
    let host = service.engine().host().clone();
    let day = DayLength(service.settings().lifecycle_day_ms);
    let mut next = day.first_pass(host.now());
    while !is_ending() {
        if host.now() >= next {
            match pass::run(service, day, &is_ending).await {
                Ok(done) if done.is_nothing() => {}
                Ok(done) => tracing::info!("lifecycle: {done}"),
                Err(EngineError::Stopping) => return,
                Err(error) => tracing::error!("lifecycle: the rules of buckets wait: {error}"),
            }
            next = day.next_pass(host.now());
        }
        // The clock may be set meanwhile, so it is looked at again and again.
        let pause = next.saturating_sub(host.now()).clamp(1, LIFECYCLE_CLOCK_PAUSE_MS);
        host.sleep(Duration::from_millis(pause)).await;
    }
}
