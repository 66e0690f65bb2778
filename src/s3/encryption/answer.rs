//! What responses say about encryption.

use super::{Encryption, Scheme};
use crate::hash::base64_encode;
use crate::http::Response;

/// Which answer it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Of an operation that made an object or an upload: it repeats the encryption context.
    Made,
    /// Of any other.
    Found,
}

/// How an object is encrypted, as far as responses tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    pub kept: Encryption,
    /// Digest of the customer's key that the request brought.
    pub customer_md5: Option<[u8; 16]>,
}

impl Notice {
    /// Writes the headers that say how the object is encrypted.
    pub fn describe(&self, response: &mut Response, answer: Answer) {
        describe(response, &self.kept, self.customer_md5, answer);
    }
}

pub(super) fn describe(
    response: &mut Response,
    encryption: &Encryption,
    customer_md5: Option<[u8; 16]>,
    answer: Answer,
) {
    match &encryption.scheme {
        Scheme::Managed => {
            response.header("x-amz-server-side-encryption", "AES256");
        }
        Scheme::Named { key_id, context, is_bucket_key } => {
            response.header("x-amz-server-side-encryption", "aws:kms");
            response.header("x-amz-server-side-encryption-aws-kms-key-id", key_id);
            if *is_bucket_key {
                response.header("x-amz-server-side-encryption-bucket-key-enabled", "true");
            }
            if answer == Answer::Made && !context.is_empty() {
                let context = base64_encode(context.as_bytes());
                response.header("x-amz-server-side-encryption-context", context);
            }
        }
        Scheme::Customer => {
            response.header("x-amz-server-side-encryption-customer-algorithm", "AES256");
            if let Some(md5) = customer_md5 {
                let md5 = base64_encode(&md5);
                response.header("x-amz-server-side-encryption-customer-key-MD5", md5);
            }
        }
    }
}
