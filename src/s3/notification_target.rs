//! Where event notifications may go: webhooks that the node's configuration file declares.

use crate::base::secret::Secret;

/// A webhook, checked when the node started. Bucket notification configurations name it by its ARN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotificationTarget {
    /// Unique among the node's targets: letters, digits, '-' and '_'.
    pub name: String,
    /// `arn:ringcask:sqs:<region>:<name>:webhook`.
    pub arn: String,
    /// The whole URL as it was given, for logs and messages; it holds no credentials.
    pub url: String,
    /// Host name or address to connect to, without the brackets of an IPv6 address.
    pub host: String,
    pub port: u16,
    /// Value of the `Host` header.
    pub authority: String,
    /// Path and query of the request line; begins with '/'.
    pub path: String,
    /// Sent as `Authorization: Bearer <token>`.
    pub token: Option<Secret>,
    /// Events that may wait for this target; beyond it, events for it are dropped and counted.
    pub queue_max: usize,
}

impl NotificationTarget {
    /// The name by which bucket settings call a target.
    pub fn arn_of(region: &str, name: &str) -> String {
        format!("arn:ringcask:sqs:{region}:{name}:webhook")
    }
}
