//! One file for each operation (operations that differ only in what they name share one).
//!
//! Every operation is a function `run(service, request, body)` that consumes an
//! [`Authorized`](crate::s3::access::Authorized) request and answers a response or an error.

pub mod abort_multipart_upload;
pub mod bucket_settings;
pub mod complete_multipart_upload;
pub mod copy_object;
pub mod create_bucket;
pub mod create_multipart_upload;
pub mod delete_bucket;
pub mod delete_object;
pub mod delete_objects;
pub mod get_bucket_location;
pub mod get_object;
pub mod get_object_attributes;
pub mod head_bucket;
pub mod head_object;
pub mod list_buckets;
pub mod list_multipart_uploads;
pub mod list_object_versions;
pub mod list_objects;
pub mod list_objects_v2;
pub mod list_parts;
pub mod object_settings;
pub mod post_object;
pub mod put_object;
pub mod upload_part;
pub mod upload_part_copy;

use crate::http::Response;
use crate::s3::xml::XmlWriter;

/// A response whose body is an XML document.
pub fn document(xml: XmlWriter) -> Response {
    Response::new(200).with_header("Content-Type", "application/xml").with_body(xml.finish())
}
