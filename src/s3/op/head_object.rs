//! HeadObject: the headers of GetObject.

use crate::http::{Response, ResponseBody};
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::error::S3Error;
use crate::s3::op::get_object::Content;
use crate::s3::read::{self, Outcome};
use crate::s3::service::S3Service;

pub async fn run<H: Host>(service: &S3Service<H>, request: Authorized) -> Result<Response, S3Error> {
    let reading = match read::look_up(service, &request).await? {
        Outcome::Proceed(reading) => reading,
        Outcome::NotModified(response) => return Ok(response),
    };
    let mut response = reading.response(&request)?;
    let content = Content::of(service, &reading, &mut response);
    response.body = ResponseBody::Absent { bytes: content.bytes() };
    Ok(response)
}
