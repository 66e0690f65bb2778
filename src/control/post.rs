//! Posts messages to webhooks: those of event notifications, and that of the access log.
//!
//! Only settings of the node name URLs; no request can, and redirects are not followed.

use std::time::Duration;

use crate::base::limits::{EVENT_TIMEOUT_MS, WEBHOOK_ANSWER_BYTES_MAX};
use crate::base::secret::Secret;

/// What came of one attempt.
pub enum Outcome {
    Accepted,
    /// The target does not want this message: status 4xx.
    Refused(u16),
    /// The target is not there, or not well.
    Failed(String),
}

/// A client with connections of its own.
pub fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(Duration::from_millis(EVENT_TIMEOUT_MS)))
        .max_redirects(0)
        .http_status_as_error(false)
        // A variable of the environment must not send messages elsewhere.
        .proxy(None)
        .user_agent(concat!("ringcask/", env!("CARGO_PKG_VERSION")))
        .build();
    ureq::Agent::new_with_config(config)
}

/// Tries once.
pub fn post(
    agent: &ureq::Agent,
    url: &str,
    token: Option<&Secret>,
    content_type: &str,
    message: &[u8],
) -> Outcome {
    let mut request = agent.post(url).header("Content-Type", content_type);
    if let Some(token) = token {
        request = request.header("Authorization", format!("Bearer {}", token.reveal()));
    }
    let mut response = match request.send(message) {
        Ok(response) => response,
        Err(error) => return Outcome::Failed(error.to_string()),
    };
    let status = response.status().as_u16();
    // Read to its end, so that the connection can be used again; what it says is of no interest.
    let answer = response.body_mut().with_config().limit(WEBHOOK_ANSWER_BYTES_MAX).read_to_vec();
    drop(answer);
    match status {
        200..=299 => Outcome::Accepted,
        // RFC 9110, section 15.5.9, and RFC 6585, section 4: try again.
        408 | 429 => Outcome::Failed(format!("it answers {status}")),
        400..=499 => Outcome::Refused(status),
        _ => Outcome::Failed(format!("it answers {status}")),
    }
}
