//! One file for each operation (operations that differ only in what they name share one).
//!
//! Every operation is a function `run(service, request, body)` that consumes an
//! [`Authorized`](crate::s3::access::Authorized) request and answers a response or an error.

pub mod abort_multipart_upload;
pub mod bucket_acl;
pub mod bucket_cors;
pub mod bucket_encryption;
pub mod bucket_lifecycle;
pub mod bucket_notification;
pub mod bucket_ownership_controls;
pub mod bucket_policy;
pub mod bucket_request_payment;
pub mod bucket_settings;
pub mod bucket_tagging;
pub mod bucket_versioning;
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
pub mod object_acl;
pub mod object_lock;
pub mod object_lock_configuration;
pub mod object_tagging;
pub mod post_object;
pub mod public_access_block;
pub mod put_object;
pub mod rename_object;
pub mod setting;
pub mod upload_part;
pub mod upload_part_copy;

use crate::http::Response;
use crate::s3::xml::XmlWriter;

/// A response whose body is an XML document.
pub fn document(xml: XmlWriter) -> Response {
    document_bytes(xml.finish())
}

/// As [`document`], of a document that is written already.
pub fn document_bytes(document: Vec<u8>) -> Response {
    Response::new(200).with_header("Content-Type", "application/xml").with_body(document)
}
