//! What the request that writes an object gives it beside payload and metadata: tags, an ACL, a lock.

use std::rc::Rc;

use crate::engine::{Bucket, Headers};
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::error::S3Error;
use crate::s3::lock::LockWish;
use crate::s3::object_acl::Place;
use crate::s3::service::S3Service;
use crate::s3::tagging::TagSet;

/// The wishes of PutObject, CopyObject and CreateMultipartUpload for the object to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NewObject {
    /// `None` if the request does not speak of tags.
    pub tags: Option<TagSet>,
    pub lock: LockWish,
    /// The ACL as the object keeps it; `None` if the object is the bucket owner's alone.
    acl: Option<(String, Vec<u8>)>,
}

impl NewObject {
    /// Reads the headers. Whether the sender may wish that was asked before.
    pub fn read<H: Host>(
        service: &S3Service<H>,
        request: &Authorized,
        bucket: &Rc<Bucket>,
    ) -> Result<Self, S3Error> {
        let tags = TagSet::of_header(request)?;
        let lock = LockWish::read(request, service.engine().host().now())?;
        let (settings, accounts) = (service.bucket_settings(bucket), service.accounts());
        let owner = service.owner_id(&settings);
        let place = Place { settings: &settings, owner: &owner, accounts: &accounts };
        // What nobody signed is the bucket owner's.
        let writer = request.principal().map_or(owner.as_str(), |principal| &principal.canonical_id);
        let acl = place.stored(&place.acl_of_new(request, writer)?);
        Ok(Self { tags, lock, acl })
    }

    /// Puts all but the lock among the headers that the object keeps.
    pub fn store(&self, headers: &mut Headers) {
        if let Some(tags) = &self.tags {
            tags.store(headers);
        }
        headers.extend(self.acl.clone());
    }
}
