//! The settings of a bucket that cannot be set: their GETs answer what AWS answers for a bucket that never
//! set them.

use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::error::{Code, S3Error};
use crate::s3::route::Operation;
use crate::s3::service::S3Service;
use crate::s3::xml::XmlWriter;

pub async fn run<H: Host>(service: &S3Service<H>, request: Authorized) -> Result<Response, S3Error> {
    let bucket = service.bucket(&request)?;
    match answer(request.operation()) {
        Ok(xml) => Ok(super::document(xml)),
        Err(error) => Err(error.with_field("BucketName", &bucket.name)),
    }
}

/// The answer for an untouched bucket.
fn answer(operation: Operation) -> Result<XmlWriter, S3Error> {
    match operation {
        Operation::GetBucketReplication => Err(Code::ReplicationConfigurationNotFoundError.into()),
        Operation::GetBucketWebsite => Err(Code::NoSuchWebsiteConfiguration.into()),
        Operation::GetBucketAccelerateConfiguration => Ok(XmlWriter::document("AccelerateConfiguration")),
        Operation::GetBucketLogging => Ok(XmlWriter::document("BucketLoggingStatus")),
        other => Err(S3Error::not_implemented(other.name())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::route::{Level, Support, TABLE};

    #[test]
    fn every_setting_of_the_table_that_cannot_be_set_has_an_answer() {
        for row in TABLE.iter().filter(|row| row.support == Support::Fixed && row.level == Level::Bucket) {
            let code = answer(row.operation).err().map(|error| error.code);
            assert_ne!(code, Some(Code::NotImplemented), "{}", row.operation.name());
        }
    }
}
