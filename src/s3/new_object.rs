//! What the request that writes an object gives it beside payload and metadata: tags, an ACL, a lock.

use crate::engine::{Bucket, Headers};
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::error::S3Error;
use crate::s3::lock::LockWish;
use crate::s3::service::S3Service;
use crate::s3::tagging::TagSet;

/// The wishes of PutObject, CopyObject and CreateMultipartUpload for the object to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewObject {
    /// `None` if the request does not speak of tags.
    pub tags: Option<TagSet>,
    pub lock: LockWish,
}

impl NewObject {
    /// Reads the headers and asks whether the sender may wish that.
    pub async fn read<H: Host>(
        service: &S3Service<H>,
        request: &Authorized,
        _bucket: &Bucket,
    ) -> Result<Self, S3Error> {
        let tags = TagSet::of_header(request)?;
        let lock = LockWish::read(request, service.engine().host().now())?;
        Ok(Self { tags, lock })
    }

    /// Puts all but the lock among the headers that the object keeps.
    pub fn store(&self, headers: &mut Headers) {
        if let Some(tags) = &self.tags {
            tags.store(headers);
        }
    }
}
