//! UploadPart: receives a part of an upload.

use crate::base::checksum::ChecksumAlgorithm;
use crate::base::etag::ETag;
use crate::base::limits::PARTS_MAX;
use crate::engine::{Part, Upload};
use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::body::{self, Destination, Incoming};
use crate::s3::encryption::{Answer, requests};
use crate::s3::error::S3Error;
use crate::s3::multipart::{self, UploadChecksum};
use crate::s3::request::Request;
use crate::s3::service::S3Service;

pub async fn run<H: Host, I: Incoming>(
    service: &S3Service<H>,
    mut request: Authorized,
    body: &mut I,
) -> Result<Response, S3Error> {
    let bucket = service.bucket(&request)?;
    let target = Target::read(&request)?;
    let key = request.key.clone();
    let upload = target.find(service, bucket.id, &key).await?;
    let expected = UploadChecksum::load(&upload.headers);
    expected.check_claim(claimed_algorithm(&request))?;
    let data_key = requests::of_upload(service, &bucket, &upload, &request)?;
    let engine = service.engine();
    let run = data_key.as_ref().map(|key| key.new_run(target.number, engine.host()));
    let algorithm = Some(expected.algorithm);
    let part = Some((upload.id, target.number));
    let destination = Destination { part, ..Destination::object(bucket.id) };
    let received = body::receive(service, &mut request, body, destination, algorithm, run.as_ref()).await?;
    let etag = match (&data_key, &run) {
        (Some(data_key), Some(run)) => data_key.etag(received.md5, run),
        _ => ETag::of_md5(received.md5),
    };
    let part = engine
        .put_part(
            bucket.id,
            key.as_bytes(),
            upload.id,
            target.number,
            received.payload,
            etag,
            received.checksum,
        )
        .await
        .map_err(|error| multipart::upload_error(error, &target.upload_id))?;
    let mut response = answer(&part);
    if let Some(data_key) = &data_key {
        data_key.describe(&mut response, Answer::Found);
    }
    Ok(response)
}

/// Which part of which upload a request means.
pub struct Target {
    pub upload_id: String,
    pub number: u16,
}

impl Target {
    pub fn read(request: &Request) -> Result<Self, S3Error> {
        let number = multipart::part_number(request.query("partNumber").unwrap_or_default())?;
        Ok(Self { upload_id: request.query("uploadId").unwrap_or_default().to_owned(), number })
    }

    /// The upload, before anything is received or read for it.
    pub async fn find<H: Host>(
        &self,
        service: &S3Service<H>,
        bucket: u64,
        key: &str,
    ) -> Result<Upload, S3Error> {
        let id = multipart::upload_id(&self.upload_id)?;
        let found = service.engine().upload(bucket, key.as_bytes(), id, PARTS_MAX, 1).await;
        let (upload, _) = found.map_err(|error| multipart::upload_error(error, &self.upload_id))?;
        Ok(upload)
    }
}

/// The algorithm of the checksum that comes in a header or is announced for the trailer. Whether its value
/// can be one is judged when the payload is received.
fn claimed_algorithm(request: &Request) -> Option<ChecksumAlgorithm> {
    let trailers = request.head.text("x-amz-trailer").unwrap_or_default();
    ChecksumAlgorithm::ALL.into_iter().find(|algorithm| {
        let name = algorithm.header();
        request.head.header(name).is_some()
            || trailers.split(',').any(|trailer| trailer.trim().eq_ignore_ascii_case(name))
    })
}

fn answer(part: &Part) -> Response {
    let mut response = Response::new(200);
    response.header("ETag", format!("\"{}\"", part.etag));
    if let Some(checksum) = &part.checksum {
        response.header(checksum.algorithm.header(), multipart::checksum_text(checksum, 0));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_announced_by_its_header_or_for_the_trailer() {
        let claimed = |headers: &[(&str, &str)]| {
            claimed_algorithm(&Request::for_test("PUT", "/b/k?partNumber=1&uploadId=x", headers))
        };
        assert_eq!(claimed(&[]), None);
        assert_eq!(claimed(&[("x-amz-checksum-crc32c", "x")]), Some(ChecksumAlgorithm::Crc32c));
        assert_eq!(claimed(&[("x-amz-trailer", "X-Amz-Checksum-Sha256")]), Some(ChecksumAlgorithm::Sha256));
        assert_eq!(claimed(&[("x-amz-trailer", "x-amz-meta-a")]), None);
    }
}
