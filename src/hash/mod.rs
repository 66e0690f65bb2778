//! Digests of payload while it streams: MD5 for ETags, SHA-256 for signatures, S3's additional checksums.
//!
//! A [`Hasher`] belongs to one stream and sees its bytes in order, in slices of any length; [`lanes`] computes
//! MD5 and SHA-256 of many streams together, and a [`Batcher`] brings the streams of a core together.
//! Everything that works on finished digests is beside it: [`combine`] and [`composite`] for multipart objects,
//! their [`multipart_etag`], and the base64 in which checksums travel.

mod batcher;
pub mod lanes;
mod stream;
mod text;
mod whole;

pub use batcher::{BatchedHasher, Batcher};
pub use stream::{DigestPlan, Digests, Hasher};
pub use text::{base64_decode, base64_encode, checksum_parse};
pub use whole::{combine, composite, md5, multipart_etag, sha256};
