//! Errors of the admin API: a status, a code and a sentence, as JSON.

use serde_json::json;

use super::view::json_response;
use crate::auth::AuthError;
use crate::auth::directory::change::{Refusal, RefusalKind};
use crate::engine::EngineError;
use crate::http::Response;
use crate::s3::error::{Code, S3Error};
use crate::s3::unsupported;

/// Why a request got nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminError {
    status: u16,
    /// AWS's name: of IAM's API where it is about identities, else of S3's.
    code: &'static str,
    message: String,
    /// The region to sign for, if that is what is wrong.
    region: Option<String>,
}

impl AdminError {
    fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), region: None }
    }

    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, "InvalidInput", message)
    }

    pub fn no_such_route() -> Self {
        Self::new(404, "NoSuchRoute", "the admin API has no such path and method")
    }

    /// Metrics were asked for without the token that they need.
    pub fn no_token() -> Self {
        let message = "send the token of --metrics-token-file: Authorization: Bearer TOKEN";
        Self::new(401, Code::AccessDenied.name(), message)
    }

    /// A client of MinIO's admin API has come here.
    pub fn minio() -> Self {
        Self::new(501, Code::NotImplemented.name(), unsupported::MINIO_ADMIN_MESSAGE)
    }

    /// The answer, in the form that clients of MinIO's admin API read.
    pub fn response_for_minio(&self) -> Response {
        json_response(self.status, &json!({ "Code": self.code, "Message": self.message }))
    }

    pub fn code(&self) -> &'static str {
        self.code
    }

    pub fn response(&self) -> Response {
        let mut error = json!({ "code": self.code, "message": self.message });
        if let Some(region) = &self.region {
            error["region"] = json!(region);
        }
        json_response(self.status, &json!({ "error": error }))
    }
}

impl From<Refusal> for AdminError {
    fn from(refusal: Refusal) -> Self {
        let (status, code) = match refusal.kind {
            RefusalKind::Invalid => (400, "InvalidInput"),
            RefusalKind::Malformed => (400, "MalformedPolicyDocument"),
            RefusalKind::NotFound => (404, "NoSuchEntity"),
            RefusalKind::Exists => (409, "EntityAlreadyExists"),
            RefusalKind::InUse => (409, "DeleteConflict"),
            RefusalKind::Limit => (409, "LimitExceeded"),
        };
        Self::new(status, code, refusal.message)
    }
}

impl From<S3Error> for AdminError {
    fn from(error: S3Error) -> Self {
        let region = error.fields.into_iter().find(|(name, _)| *name == "Region").map(|(_, value)| value);
        Self { region, ..Self::new(error.code.status(), error.code.name(), error.message) }
    }
}

impl From<AuthError> for AdminError {
    fn from(error: AuthError) -> Self {
        S3Error::from(error).into()
    }
}

impl From<EngineError> for AdminError {
    fn from(error: EngineError) -> Self {
        S3Error::from(error).into()
    }
}
