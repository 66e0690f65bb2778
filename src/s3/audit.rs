//! What is written down of each request: who did what, and what came of it.
//!
//! `docs/LOGS.md` describes each field. Names are those of MinIO's audit log where it has the field.

use std::net::IpAddr;

use serde::Serialize;

/// Takes entries to where they are kept. It never waits: what finds no room is counted.
pub trait Audit {
    fn record(&self, entry: &Entry<'_>);
}

/// Which of the node's interfaces was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    S3,
    Admin,
}

/// One request. Nothing in it is secret: no query, no headers but those named here.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry<'a> {
    /// Of the form of entries: a field that changes its meaning makes another.
    pub version: &'static str,
    /// When the request's head had come, in ISO 8601.
    pub time: String,
    #[serde(rename = "requestID")]
    pub request_id: &'a str,
    pub api: Api,
    pub operation: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub bucket: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub object: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_id: Option<&'a str>,
    /// What DeleteObjects was to delete.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    pub objects: &'a [Deletion],
    /// Those of them that found no room here.
    #[serde(skip_serializing_if = "is_zero")]
    pub objects_omitted: usize,
    pub method: &'a str,
    /// Without query; only where no bucket was understood.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_path: Option<&'a str>,
    pub status_code: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<&'a str>,
    pub remotehost: IpAddr,
    pub remote_port: u16,
    /// As the request claims it; believed if the signature was right.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key: Option<&'a str>,
    /// ARN of whoever signed the request, once that is known to be true.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requester: Option<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub host: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub user_agent: &'a str,
    #[serde(rename = "tlsVersion", skip_serializing_if = "Option::is_none")]
    pub tls: Option<&'a str>,
    /// Bytes of the request's body.
    pub rx: u64,
    /// Bytes of the answer's body.
    pub tx: u64,
    #[serde(rename = "timeToFirstByteInNS")]
    pub first_byte_ns: u64,
    #[serde(rename = "timeToResponseInNS")]
    pub whole_ns: u64,
    /// Whether the answer was sent to its end.
    pub complete: bool,
    pub core: usize,
}

/// One of the versions that DeleteObjects was to delete.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deletion {
    pub object: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<&'static str>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a function of a reference")]
fn is_zero(count: &usize) -> bool {
    *count == 0
}
