//! The access log as a webhook receives it: entries as lines of JSON, many in a message, each at least once.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::Sink;
use super::lane::Bell;
use crate::base::limits::{
    AUDIT_MESSAGE_BYTES_MAX, AUDIT_REFUSED_MS_MAX, EVENT_RETRY_MS_MAX, EVENT_RETRY_MS_MIN,
};
use crate::base::secret::Secret;
use crate::control::post::{self, Outcome};
use crate::control::private_file::read_token;
use crate::control::webhook;

/// The media type of lines that are JSON each.
const CONTENT_TYPE: &str = "application/x-ndjson";

/// Where the access log is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditWebhook {
    pub url: String,
    /// A file that holds what is sent as `Authorization: Bearer`.
    pub token_file: Option<PathBuf>,
}

impl AuditWebhook {
    /// # Errors
    ///
    /// Why the URL cannot be called.
    pub fn new(url: String, token_file: Option<PathBuf>) -> Result<Self, String> {
        webhook::check_url(&url).map_err(|why| format!("--audit-webhook: {why}"))?;
        Ok(Self { url, token_file })
    }
}

/// The webhook with what is needed to call it.
pub struct Hook {
    agent: ureq::Agent,
    url: String,
    token: Option<Secret>,
    /// Since when it has refused every message.
    refused_since: Option<Instant>,
}

impl Hook {
    /// # Errors
    ///
    /// One sentence for the person at the prompt.
    pub fn new(target: &AuditWebhook) -> Result<Self, String> {
        let read = |path: &PathBuf| read_token("--audit-webhook-token-file", path, "the audit webhook");
        let token = target.token_file.as_ref().map(read).transpose()?;
        Ok(Self { agent: post::agent(), url: target.url.clone(), token, refused_since: None })
    }

    /// Tries until the target takes the message or refuses it for too long; whether it took it. A node that ends
    /// tries once more.
    fn deliver(&mut self, message: &[u8], bell: &Bell) -> bool {
        let mut pause = Duration::from_millis(EVENT_RETRY_MS_MIN);
        loop {
            let is_last = bell.is_ending();
            let why = match post::post(&self.agent, &self.url, self.token.as_ref(), CONTENT_TYPE, message) {
                Outcome::Accepted => {
                    self.refused_since = None;
                    return true;
                }
                Outcome::Refused(status) => {
                    let since = *self.refused_since.get_or_insert_with(super::now);
                    if super::now() - since >= Duration::from_millis(AUDIT_REFUSED_MS_MAX) {
                        tracing::error!("entries of the access log are lost: the webhook answers {status}");
                        return false;
                    }
                    format!("it answers {status}")
                }
                Outcome::Failed(why) => {
                    self.refused_since = None;
                    why
                }
            };
            tracing::warn!("the audit webhook takes no entries yet: {why}");
            if is_last {
                return false;
            }
            bell.wait_to_retry(pause);
            pause = (pause * 2).min(Duration::from_millis(EVENT_RETRY_MS_MAX));
        }
    }
}

impl Sink for Hook {
    fn keep(&mut self, lines: &[u8], bell: &Bell) -> u64 {
        let (mut rest, mut lost) = (lines, 0);
        while !rest.is_empty() {
            let limit = rest.len().min(AUDIT_MESSAGE_BYTES_MAX);
            let end = memchr::memrchr(b'\n', &rest[..limit]).or_else(|| memchr::memchr(b'\n', rest));
            let (message, later) = rest.split_at(end.map_or(rest.len(), |end| end + 1));
            if !self.deliver(message, bell) {
                lost += super::count(message);
            }
            rest = later;
        }
        lost
    }

    fn reopen(&mut self) {}
}
