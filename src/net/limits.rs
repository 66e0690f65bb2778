//! Bounds of connections, as a value so that tests can shorten them.

use std::time::Duration;

use crate::base::limits;

/// Bounds of a core's connections; the defaults are those of [`crate::base::limits`].
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Precision of the timeouts.
    pub tick: Duration,
    pub handshake_timeout: Duration,
    pub head_timeout: Duration,
    pub idle_timeout: Duration,
    pub body_timeout: Duration,
    pub send_timeout: Duration,
    pub linger_timeout: Duration,
    pub linger_bytes_max: u64,
    pub progress_bytes_min: u64,
    pub drain_bytes_max: u64,
    /// When a connection without a request gives its buffer back.
    pub rest_after: Duration,
    /// What a client must move in each tick while requests wait for buffers, and for how many ticks it may fail
    /// to.
    pub crowded_bytes_per_tick_min: u64,
    pub crowded_ticks: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tick: Duration::from_millis(limits::CONNECTION_TICK_MS),
            handshake_timeout: Duration::from_millis(limits::TLS_HANDSHAKE_TIMEOUT_MS),
            head_timeout: Duration::from_millis(limits::HEAD_TIMEOUT_MS),
            idle_timeout: Duration::from_millis(limits::IDLE_TIMEOUT_MS),
            body_timeout: Duration::from_millis(limits::BODY_TIMEOUT_MS),
            send_timeout: Duration::from_millis(limits::SEND_TIMEOUT_MS),
            linger_timeout: Duration::from_millis(limits::LINGER_TIMEOUT_MS),
            linger_bytes_max: limits::LINGER_BYTES_MAX,
            progress_bytes_min: limits::PROGRESS_BYTES_MIN,
            drain_bytes_max: limits::DRAIN_BYTES_MAX,
            rest_after: Duration::from_millis(limits::REST_AFTER_MS),
            crowded_bytes_per_tick_min: limits::CROWDED_BYTES_PER_SECOND_MIN * limits::CONNECTION_TICK_MS
                / 1000,
            crowded_ticks: limits::CROWDED_SECONDS * 1000 / limits::CONNECTION_TICK_MS,
        }
    }
}
