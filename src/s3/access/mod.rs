//! Who may do what. A request becomes an [`Authorized`] value here and nowhere else, and every operation
//! takes one: no operation can be reached by a request that nobody allowed.

use std::ops::Deref;

use crate::auth::{Authentication, Identity, PayloadPromise};
use crate::s3::error::{Code, S3Error};
use crate::s3::request::Request;
use crate::s3::route::Operation;

/// A request that may be carried out.
#[derive(Debug)]
pub struct Authorized {
    request: Request,
    identity: Identity,
    operation: Operation,
    payload: PayloadPromise,
}

impl Authorized {
    /// Asks whether the sender may do what the request means.
    pub fn new(
        request: Request,
        operation: Operation,
        authentication: Authentication,
    ) -> Result<Self, S3Error> {
        let Authentication { identity, payload } = authentication;
        let asked = Question {
            identity: &identity,
            action: operation.row().action,
            bucket: &request.bucket,
            key: &request.key,
        };
        if !asked.is_allowed() {
            return Err(Code::AccessDenied.into());
        }
        Ok(Self { request, identity, operation, payload })
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    pub fn operation(&self) -> Operation {
        self.operation
    }

    /// What the signature promises about the payload; a second call finds nothing promised.
    pub fn take_payload_promise(&mut self) -> PayloadPromise {
        std::mem::replace(&mut self.payload, PayloadPromise::Unsigned)
    }

    /// Whether the sender may read an object that a copy names as its source.
    pub fn check_copy_source(&self, bucket: &str, key: &str) -> Result<(), S3Error> {
        let asked = Question { identity: &self.identity, action: "s3:GetObject", bucket, key };
        if asked.is_allowed() { Ok(()) } else { Err(Code::AccessDenied.into()) }
    }
}

impl Deref for Authorized {
    type Target = Request;

    fn deref(&self) -> &Request {
        &self.request
    }
}

/// What is asked of policy.
struct Question<'a> {
    identity: &'a Identity,
    /// As in policies: `s3:GetObject`.
    action: &'a str,
    /// Empty for the service.
    bucket: &'a str,
    /// Empty for a bucket.
    key: &'a str,
}

impl Question<'_> {
    /// The holder of an access key may do everything, others nothing.
    fn is_allowed(&self) -> bool {
        let allowed = matches!(self.identity, Identity::AccessKey { .. });
        if !allowed {
            tracing::debug!(action = self.action, bucket = self.bucket, key = self.key, "access denied");
        }
        allowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_without_a_key_gets_through() {
        let ask = |identity| {
            let request = Request::for_test("GET", "/b/k", &[]);
            let authentication = Authentication { identity, payload: PayloadPromise::Unsigned };
            Authorized::new(request, Operation::GetObject, authentication)
        };
        assert_eq!(ask(Identity::Anonymous).unwrap_err().code, Code::AccessDenied);
        assert!(ask(Identity::AccessKey { id: "root".to_owned() }).is_ok());
    }
}
