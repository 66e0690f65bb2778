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

pub async fn run<H: Host>(service: &S3Service<H>, request: Authorized) -> Result<Response, S3Error> {
    let bucket = service.bucket(&request)?;
    let named = version::named(&request)?;
    let lookup = service.engine().get(bucket.id, request.key.as_bytes(), named).await?;
    version::found(lookup, named, &request.key)?;
    match request.operation() {
        Operation::GetObjectAcl => Ok(super::document(bucket_settings::acl(&service.owner(&bucket)))),
        other => Err(S3Error::not_implemented(other.name())),
    }
}
