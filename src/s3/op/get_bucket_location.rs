//! GetBucketLocation: the region of a bucket, which is the node's.

use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::error::S3Error;
use crate::s3::service::S3Service;
use crate::s3::xml::XmlWriter;

/// AWS, GetBucketLocation: buckets in this region have an empty location constraint.
const REGION_WITHOUT_NAME: &str = "us-east-1";

pub async fn run<H: Host>(service: &S3Service<H>, request: Authorized) -> Result<Response, S3Error> {
    service.bucket(&request)?;
    let mut xml = XmlWriter::document("LocationConstraint");
    let region = &service.settings().region;
    if region != REGION_WITHOUT_NAME {
        xml.characters(region);
    }
    Ok(super::document(xml))
}
