//! CreateMultipartUpload: begins an upload and remembers what its object shall be.

use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::encryption::{Answer, Place, requests};
use crate::s3::error::S3Error;
use crate::s3::expiration;
use crate::s3::initiator;
use crate::s3::metadata;
use crate::s3::multipart::{self, UploadChecksum};
use crate::s3::new_object::NewObject;
use crate::s3::service::S3Service;
use crate::s3::xml::XmlWriter;

pub async fn run<H: Host>(service: &S3Service<H>, request: Authorized) -> Result<Response, S3Error> {
    let bucket = service.bucket(&request)?;
    let checksum = UploadChecksum::choose(
        request.header("x-amz-checksum-algorithm")?,
        request.header("x-amz-checksum-type")?,
    )?;
    let mut headers = metadata::of_request(&request)?;
    checksum.store(&mut headers);
    let new = NewObject::read(service, &request, &bucket)?;
    new.store(&mut headers);
    initiator::store(request.principal(), &mut headers);
    // Whether it can be granted is known now; how long the bucket's default lasts only when the object is made.
    new.lock.grant(service.object_lock(&bucket)?, service.engine().host().now())?;
    new.lock.store(&mut headers);
    let place = Place { bucket: bucket.id };
    let target = requests::target(service, &bucket, &|name| request.head.header(name))?;
    let data_key = requests::data_key(service, target, place)?;
    if let Some(data_key) = &data_key {
        data_key.kept.store(&mut headers);
    }
    let upload = service.engine().create_upload(bucket.id, request.key.as_bytes(), headers).await?;

    let mut xml = XmlWriter::document("InitiateMultipartUploadResult");
    xml.text("Bucket", &bucket.name);
    xml.text("Key", &request.key);
    xml.text("UploadId", &multipart::upload_id_text(&upload.id));
    let mut response = super::document(xml);
    if checksum.requested {
        response.header("x-amz-checksum-algorithm", checksum.algorithm.name());
        response.header("x-amz-checksum-type", checksum.kind.name());
    }
    if let Some(data_key) = &data_key {
        data_key.describe(&mut response, Answer::Made);
    }
    expiration::write_abort(service, &bucket, &request.key, upload.initiated, &mut response);
    Ok(response)
}
