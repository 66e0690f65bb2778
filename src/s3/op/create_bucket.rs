//! CreateBucket: makes a bucket, in the only region the node has.

use std::collections::BTreeMap;

use crate::engine::{EngineError, Versioning};
use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::body::{DocumentDigest, Incoming};
use crate::s3::error::{Code, S3Error};
use crate::s3::request::is_bucket_name;
use crate::s3::service::S3Service;
use crate::s3::{body, xml};

/// The region whose endpoint answers 200 to an owner who makes a bucket again.
const REGION_FORGIVING: &str = "us-east-1";

pub async fn run<H: Host, I: Incoming>(
    service: &S3Service<H>,
    mut request: Authorized,
    body: &mut I,
) -> Result<Response, S3Error> {
    let name = request.bucket.clone();
    if !is_bucket_name(&name) {
        return Err(S3Error::new(Code::InvalidBucketName).with_field("BucketName", &name));
    }
    let host = service.engine().host();
    let document = body::receive_document(host, &mut request, body, DocumentDigest::Optional).await?;
    let region = service.settings().region.as_str();
    check_configuration(&document, region)?;
    match service.engine().create_bucket(&name, Versioning::Unversioned, BTreeMap::new()).await {
        Ok(_) => {}
        // AWS keeps this of its first region: the owner may make a bucket again.
        Err(EngineError::BucketExists) if region == REGION_FORGIVING => {}
        Err(EngineError::BucketExists) => {
            return Err(S3Error::new(Code::BucketAlreadyOwnedByYou).with_field("BucketName", &name));
        }
        Err(error) => return Err(error.into()),
    }
    Ok(Response::new(200).with_header("Location", format!("/{name}")))
}

/// Reads the optional document. It may name the node's region or none; whatever else it asks for is
/// refused, so that nobody believes to have a bucket elsewhere.
fn check_configuration(document: &[u8], region: &str) -> Result<(), S3Error> {
    if document.trim_ascii().is_empty() {
        return Ok(());
    }
    let configuration = xml::parse(document, "CreateBucketConfiguration")?;
    for name in ["Location", "Bucket", "Tags"] {
        if configuration.child(name).is_some_and(|child| !child.children.is_empty()) {
            return Err(S3Error::not_implemented(name));
        }
    }
    let constraint = configuration.child_text("LocationConstraint").unwrap_or_default().trim();
    // AWS's names from before its regions were named so.
    let named = match constraint {
        "EU" => "eu-west-1",
        "US" => "us-east-1",
        other => other,
    };
    if named.is_empty() || named == region {
        return Ok(());
    }
    let (code, message) = match is_region_name(named) {
        true => (
            Code::IllegalLocationConstraintException,
            format!(
                "The {constraint} location constraint is incompatible for the region specific endpoint this \
                 request was sent to."
            ),
        ),
        false => (Code::InvalidLocationConstraint, Code::InvalidLocationConstraint.message().to_owned()),
    };
    Err(S3Error::new(code).with_message(message).with_field("LocationConstraint", constraint))
}

/// Whether AWS could name a region so: `eu-west-1`, `us-gov-east-1`.
fn is_region_name(name: &str) -> bool {
    let words: Vec<&str> = name.split('-').collect();
    let Some((number, words)) = words.split_last() else { return false };
    words.len() >= 2
        && words.iter().all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()))
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(constraint: &str, region: &str) -> Result<(), Code> {
        let document = format!(
            "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <LocationConstraint>{constraint}</LocationConstraint></CreateBucketConfiguration>"
        );
        check_configuration(document.as_bytes(), region).map_err(|error| error.code)
    }

    #[test]
    fn a_bucket_may_be_asked_for_where_the_node_is() {
        assert_eq!(check_configuration(b"", "eu-west-1"), Ok(()));
        assert_eq!(check_configuration(b"<CreateBucketConfiguration/>", "eu-west-1"), Ok(()));
        assert_eq!(check("", "us-east-1"), Ok(()));
        assert_eq!(check("us-east-1", "us-east-1"), Ok(()));
        assert_eq!(check("EU", "eu-west-1"), Ok(()));
        assert_eq!(check("my-garage", "my-garage"), Ok(()));
    }

    #[test]
    fn a_bucket_elsewhere_is_refused() {
        assert_eq!(check("eu-west-1", "us-east-1"), Err(Code::IllegalLocationConstraintException));
        assert_eq!(check("us-gov-east-1", "eu-west-1"), Err(Code::IllegalLocationConstraintException));
        for constraint in ["nowhere", "eu-west-", "-1", "EU-WEST-1", "a b"] {
            assert_eq!(check(constraint, "us-east-1"), Err(Code::InvalidLocationConstraint), "{constraint}");
        }
    }

    #[test]
    fn what_a_configuration_asks_for_beside_is_refused() {
        let tags = b"<CreateBucketConfiguration><Tags><Tag/></Tags></CreateBucketConfiguration>";
        assert_eq!(check_configuration(tags, "us-east-1").unwrap_err().code, Code::NotImplemented);
        assert_eq!(check_configuration(b"<Other/>", "us-east-1").unwrap_err().code, Code::MalformedXML);
        assert_eq!(check_configuration(b"<", "us-east-1").unwrap_err().code, Code::MalformedXML);
    }
}
