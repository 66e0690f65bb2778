//! The settings of an object that cannot be set: their GETs answer what AWS answers for an object that never
//! had them.

use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::error::S3Error;
use crate::s3::op::bucket_settings;
use crate::s3::route::Operation;
use crate::s3::service::S3Service;
use crate::s3::version;
use crate::s3::xml::XmlWriter;

pub async fn run<H: Host>(service: &S3Service<H>, request: Authorized) -> Result<Response, S3Error> {
    let bucket = service.bucket(&request)?;
    version::check_read(&request)?;
    if service.engine().get(bucket.id, request.key.as_bytes(), None).await?.found().is_none() {
        return Err(S3Error::no_such_key(&request.key));
    }
    match request.operation() {
        Operation::GetObjectAcl => Ok(super::document(bucket_settings::acl(service.settings()))),
        Operation::GetObjectTagging => {
            let mut xml = XmlWriter::document("Tagging");
            xml.empty("TagSet");
            Ok(super::document(xml))
        }
        Operation::GetObjectLegalHold | Operation::GetObjectRetention => {
            Err(S3Error::invalid_request("Bucket is missing Object Lock Configuration"))
        }
        other => Err(S3Error::not_implemented(other.name())),
    }
}
