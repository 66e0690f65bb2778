//! Requests that ask for what this node does not do there. They are refused, never ignored: a client must not
//! believe that it got what it asked for.

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_put_object_appends() {
        let append = [(append::HEADER, "0")];
        assert!(check(&Request::for_test("PUT", "/b/k", &append)).is_ok());
        assert!(check(&Request::for_test("PUT", "/b/k?partNumber=1&uploadId=u", &append)).is_err());
    }
}
