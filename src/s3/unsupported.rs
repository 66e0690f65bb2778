//! Headers that ask for what this node does not do. They are refused, never ignored: a client that asked
//! for encryption or a lock must not believe that it got it.

use crate::s3::append;
use crate::s3::error::S3Error;
use crate::s3::request::Request;
use crate::s3::route::{Level, Operation, route};

/// A header, or all headers that begin so, with the values that ask for nothing.
struct Row {
    name: &'static str,
    is_prefix: bool,
    harmless: &'static [&'static str],
}

const fn header(name: &'static str, harmless: &'static [&'static str]) -> Row {
    Row { name, is_prefix: false, harmless }
}

const fn prefix(name: &'static str) -> Row {
    Row { name, is_prefix: true, harmless: &[] }
}

/// The canned ACLs of AWS that are no harmless values; what is neither is a mistake of the client.
const CANNED_ACLS: [&str; 5] =
    ["public-read", "public-read-write", "authenticated-read", "aws-exec-read", "log-delivery-write"];

/// A feature that comes to exist removes its row.
const TABLE: &[Row] = &[
    // All canned ACLs under which only the owner of the bucket may do anything.
    header("x-amz-acl", &["private", "bucket-owner-read", "bucket-owner-full-control"]),
    prefix("x-amz-grant-"),
];

/// Refuses a request that carries such a header. Buckets have ACLs, objects don't.
pub fn check(request: &Request) -> Result<(), S3Error> {
    if request.head.header(append::HEADER).is_some() && route(request) != Ok(Operation::PutObject) {
        return Err(S3Error::not_implemented(append::HEADER));
    }
    let is_acl = |name: &str| name == "x-amz-acl" || name.starts_with("x-amz-grant-");
    for (name, value) in &request.head.headers {
        if request.level() == Level::Bucket && is_acl(name) {
            continue;
        }
        let row = TABLE
            .iter()
            .find(|row| if row.is_prefix { name.starts_with(row.name) } else { name == row.name });
        if let Some(row) = row
            && !row.harmless.iter().any(|harmless| harmless.as_bytes() == value.as_slice())
        {
            return Err(refusal(name, value));
        }
    }
    Ok(())
}

fn refusal(name: &str, value: &[u8]) -> S3Error {
    let value = String::from_utf8_lossy(value);
    if name == "x-amz-acl" && !CANNED_ACLS.contains(&value.as_ref()) {
        return S3Error::invalid_argument("Invalid canned ACL.", name, value);
    }
    S3Error::not_implemented(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::error::Code;

    #[test]
    fn what_is_not_done_is_refused_and_named() {
        for (name, value) in [("x-amz-acl", "public-read"), ("x-amz-grant-read", "id=x")] {
            let error = check(&Request::for_test("PUT", "/b/k", &[(name, value)])).unwrap_err();
            assert_eq!(error.code, Code::NotImplemented);
            assert_eq!(error.fields, [("Header", name.to_owned())]);
        }
        let append = [(append::HEADER, "0")];
        assert!(check(&Request::for_test("PUT", "/b/k", &append)).is_ok());
        assert!(check(&Request::for_test("PUT", "/b/k?partNumber=1&uploadId=u", &append)).is_err());
        let error = check(&Request::for_test("PUT", "/b/k", &[("x-amz-acl", "public-ready")])).unwrap_err();
        assert_eq!(error.code, Code::InvalidArgument);
    }

    #[test]
    fn what_asks_for_nothing_passes() {
        for (name, value) in [
            ("x-amz-acl", "private"),
            ("x-amz-request-payer", "requester"),
            ("x-amz-tagging", "a=b"),
            ("x-amz-object-lock-mode", "GOVERNANCE"),
        ] {
            assert_eq!(check(&Request::for_test("PUT", "/b/k", &[(name, value)])), Ok(()));
        }
    }
}
