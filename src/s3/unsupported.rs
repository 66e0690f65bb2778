//! Requests that ask for what this node does not do there. They are refused, never ignored: a client must not
//! believe that it got what it asked for.

use crate::http::Head;
use crate::s3::append;
use crate::s3::error::S3Error;
use crate::s3::request::Request;
use crate::s3::route::{Operation, route};

/// Refuses a request that wants to append by anything but PutObject.
pub fn check(request: &Request) -> Result<(), S3Error> {
    if request.head.header(append::HEADER).is_some() && route(request) != Ok(Operation::PutObject) {
        return Err(S3Error::not_implemented(append::HEADER));
    }
    Ok(())
}

/// With what the paths of MinIO's admin API begin.
pub const MINIO_ADMIN_PATH: &str = "/minio/admin/";

/// What its clients are told.
pub const MINIO_ADMIN_MESSAGE: &str = "MinIO's admin API is not served. The command ringcask administers this node: \
                                       ringcask status, ringcask user, ringcask quota.";

/// Whether a request that no signature is good for is one to MinIO's admin API, whose clients sign for no region. Any
/// other may be about a bucket called minio.
pub fn is_of_minio_admin(head: &Head) -> bool {
    let credential = head.header("authorization").unwrap_or_default();
    head.path.starts_with(MINIO_ADMIN_PATH)
        && credential.windows(REGION_NONE.len()).any(|part| part == REGION_NONE)
}

/// The end of a scope without a region.
const REGION_NONE: &[u8] = b"//s3/aws4_request";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minios_admin_api_is_told_from_a_bucket_called_minio() {
        let is_it = |path: &str, scope: &str| {
            let signed =
                format!("AWS4-HMAC-SHA256 Credential=k/20260101/{scope}, SignedHeaders=host, Signature=0");
            is_of_minio_admin(&Request::for_test("PUT", path, &[("authorization", &signed)]).head)
        };
        assert!(is_it("/minio/admin/v3/set-bucket-quota?bucket=b", "/s3/aws4_request"));
        assert!(!is_it("/minio/admin/v3/set-bucket-quota?bucket=b", "eu-west-1/s3/aws4_request"));
        assert!(!is_it("/minio/admins", "/s3/aws4_request"));
    }

    #[test]
    fn only_put_object_appends() {
        let append = [(append::HEADER, "0")];
        assert!(check(&Request::for_test("PUT", "/b/k", &append)).is_ok());
        assert!(check(&Request::for_test("PUT", "/b/k?partNumber=1&uploadId=u", &append)).is_err());
    }
}
