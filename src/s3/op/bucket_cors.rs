//! Get-, Put- and DeleteBucketCors; and what the rules are for: the answer to a browser's preflight request,
//! which nobody signs, and the headers that let a page read any other answer.

use crate::base::limits::CORS_BYTES_MAX;
use crate::http::{Head, Response};
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::body::{DocumentDigest, Incoming};
use crate::s3::error::{Code, S3Error};
use crate::s3::op::setting::{self, Change};
use crate::s3::request::Request;
use crate::s3::route::Operation;
use crate::s3::service::S3Service;
use crate::s3::settings::cors::{self, CorsRequest};
use crate::s3::settings::{Cors, Document};

pub async fn run<H: Host, I: Incoming>(
    service: &S3Service<H>,
    mut request: Authorized,
    body: &mut I,
) -> Result<Response, S3Error> {
    match request.operation() {
        Operation::PutBucketCors => {}
        Operation::DeleteBucketCors => return setting::delete(service, &request, Cors::NAME).await,
        _ => return setting::answer::<Cors>(&*service.bucket(&request)?, Code::NoSuchCORSConfiguration),
    }
    let bucket = service.bucket(&request)?;
    let document = setting::receive(service, &mut request, body, DocumentDigest::Required).await?;
    if document.len() > CORS_BYTES_MAX {
        return Err(Code::MaxMessageLengthExceeded.into());
    }
    let cors = Cors::parse(&document)?;
    setting::change(service, &bucket, Change::put(Cors::NAME, cors.render())).await?;
    Ok(Response::new(200))
}

/// Answers an OPTIONS request: whether a page may do what it is about to do.
pub fn preflight<H: Host>(service: &S3Service<H>, request: &Request) -> Result<Response, S3Error> {
    let Some(origin) = request.header("origin")? else {
        let message = "Insufficient information. Origin request header needed.";
        return Err(S3Error::new(Code::BadRequest).with_message(message));
    };
    let method = request.header("access-control-request-method")?;
    let Some(method) = method.filter(|method| cors::METHODS.contains(method)) else {
        let message = format!("Invalid Access-Control-Request-Method: {}", method.unwrap_or("null"));
        return Err(S3Error::new(Code::BadRequest).with_message(message));
    };
    let forbidden = |message: &'static str| {
        S3Error::new(Code::AccessForbidden)
            .with_message(message)
            .with_field("Method", method)
            .with_field("ResourceType", request.level().resource_type())
    };
    let Some(bucket) = service.engine().bucket(&request.bucket) else {
        return Err(forbidden("CORSResponse: Bucket not found"));
    };
    let settings = service.bucket_settings(&bucket);
    let Some(rules) = settings.cors()? else { return Err(forbidden(Code::AccessForbidden.message())) };
    let headers = request.header("access-control-request-headers")?;
    let Some(grant) = rules.grant(CorsRequest { origin, method, headers }) else {
        return Err(forbidden(
            "CORSResponse: This CORS request is not allowed. This is usually because the evalution of Origin, \
             request method / Access-Control-Request-Method or Access-Control-Request-Headers are not \
             whitelisted by the resource's CORS spec.",
        ));
    };
    let mut response = Response::new(200);
    grant.write(&mut response);
    cors::write_vary(&mut response);
    Ok(response)
}

/// Adds to an answer what lets the page of another origin read it, if the bucket has rules.
pub fn write_headers<H: Host>(service: &S3Service<H>, head: &Head, response: &mut Response) {
    let Some(origin) = head.text("origin") else { return };
    let Ok(request) = Request::new(head.clone(), &service.settings().domains) else { return };
    let Some(bucket) = service.engine().bucket(&request.bucket) else { return };
    let settings = service.bucket_settings(&bucket);
    let Ok(Some(rules)) = settings.cors() else { return };
    let method = head.text("access-control-request-method").unwrap_or(&head.method);
    let headers = head.text("access-control-request-headers");
    if let Some(grant) = rules.grant(CorsRequest { origin, method, headers }) {
        grant.write(response);
    }
    cors::write_vary(response);
}
