//! Bounds of connections, as a value so that tests can shorten them.

use std::time::Duration;

use crate::base::limits;

/// Bounds of a core's connections; the defaults are those of [`crate::base::limits`].
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Precision of the timeouts.
    pub tick: Duration,
    pub head_timeout: Duration,
    pub idle_timeout: Duration,
    pub body_timeout: Duration,
    pub send_timeout: Duration,
    pub linger_timeout: Duration,
    pub linger_bytes_max: u64,
    pub progress_bytes_min: u64,
    pub drain_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tick: Duration::from_millis(limits::CONNECTION_TICK_MS),
            head_timeout: Duration::from_millis(limits::HEAD_TIMEOUT_MS),
            idle_timeout: Duration::from_millis(limits::IDLE_TIMEOUT_MS),
            body_timeout: Duration::from_millis(limits::BODY_TIMEOUT_MS),
            send_timeout: Duration::from_millis(limits::SEND_TIMEOUT_MS),
            linger_timeout: Duration::from_millis(limits::LINGER_TIMEOUT_MS),
            linger_bytes_max: limits::LINGER_BYTES_MAX,
            progress_bytes_min: limits::PROGRESS_BYTES_MIN,
            drain_bytes_max: limits::DRAIN_BYTES_MAX,
        }
    }
}
