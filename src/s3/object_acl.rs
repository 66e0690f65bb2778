//! ACLs of objects: whose an object is, which ACL its writer gives it, and where it is kept.
//!
//! Source: AWS, "Controlling ownership of objects and disabling ACLs for your bucket".

use crate::auth::acl::Acl;
use crate::auth::principal::Accounts;
use crate::engine::Headers;
use crate::s3::error::{Code, S3Error};
use crate::s3::request::Request;
use crate::s3::settings::acl::{self, AclOwner};
use crate::s3::settings::{BucketSettings, ObjectOwnership};

/// Where an object keeps its ACL among its headers; no header of HTTP can have this name. Without it, the
/// object belongs to the owner of its bucket, who alone may do anything with it.
pub const STORED: &str = ":acl";

const CANNED: &str = "x-amz-acl";
const FULL_CONTROL: &str = "bucket-owner-full-control";

/// The bucket that an object is in, as far as its ACL goes.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub settings: &'a BucketSettings,
    /// Canonical id of the bucket's owner.
    pub owner: &'a str,
    pub accounts: &'a dyn Accounts,
}

impl Place<'_> {
    /// The ACL of an object that `writer` (a canonical id) makes with that request.
    pub fn acl_of_new(&self, request: &Request, writer: &str) -> Result<Acl, S3Error> {
        let is_full_control = request.header(CANNED)? == Some(FULL_CONTROL);
        let ownership = self.settings.ownership()?;
        if ownership == ObjectOwnership::BucketOwnerEnforced {
            if !self.says_private_unasked(request, writer)? {
                self.check_disabled(request)?;
            }
            return Ok(Acl::private(self.owner));
        }
        let owner = match ownership {
            ObjectOwnership::BucketOwnerPreferred if is_full_control => self.owner,
            _ => writer,
        };
        match acl::of_headers(request, self.owned_by(owner), self.accounts)? {
            Some(acl) => self.checked(acl),
            None => Ok(Acl::private(owner)),
        }
    }

    /// The ACL that a request gives to an object that has `current`: by headers, or by its document.
    pub fn acl_of_put(&self, request: &Request, document: &[u8], current: &Acl) -> Result<Acl, S3Error> {
        let is_enforced = self.settings.is_owner_enforced()?;
        if is_enforced && document.is_empty() {
            self.check_disabled(request)?;
        }
        let owner = current.owner.as_str();
        let acl = match (acl::of_headers(request, self.owned_by(owner), self.accounts)?, document.is_empty())
        {
            (Some(acl), true) => acl,
            (Some(_), false) => return Err(Code::UnexpectedContent.into()),
            (None, false) => acl::of_document(document, owner, self.accounts)?,
            (None, true) => {
                let error = S3Error::new(Code::MissingSecurityHeader);
                return Err(error.with_field("MissingHeaderName", CANNED));
            }
        };
        if is_enforced && acl != Acl::private(self.owner) {
            return Err(Code::AccessControlListNotSupported.into());
        }
        self.checked(acl)
    }

    /// The ACL of an object with these headers. Where ACLs are disabled, everything is the bucket's owner's.
    pub fn acl_of(&self, headers: &Headers) -> Result<Acl, S3Error> {
        let stored = headers.iter().find(|(name, _)| name == STORED);
        match stored {
            Some((_, text)) if !self.settings.is_owner_enforced()? => {
                let acl = std::str::from_utf8(text).ok().and_then(Acl::parse);
                // An ACL that cannot be read must not be taken for one that is not there.
                acl.ok_or_else(|| Code::InternalError.into())
            }
            _ => Ok(Acl::private(self.owner)),
        }
    }

    /// The header that keeps an ACL; `None` if the object needs none.
    pub fn stored(&self, acl: &Acl) -> Option<(String, Vec<u8>)> {
        let is_default = *acl == Acl::private(self.owner);
        (!is_default).then(|| (STORED.to_owned(), acl.to_string().into_bytes()))
    }

    fn owned_by<'a>(&'a self, owner: &'a str) -> AclOwner<'a> {
        AclOwner { id: owner, bucket_owner: Some(self.owner) }
    }

    /// Refuses an ACL that the bucket's public access block does not admit.
    fn checked(&self, acl: Acl) -> Result<Acl, S3Error> {
        let is_blocked = acl.is_public() && self.settings.public_access_block()?.block_public_acls;
        if is_blocked { Err(Code::AccessDenied.into()) } else { Ok(acl) }
    }

    /// Whether an upload's only word about ACLs is `private`, from the bucket's own account and into a bucket
    /// whose maker did not say that ACLs are disabled. Clients from before AWS disabled them send it with every
    /// upload (rclone until 1.60, Cyberduck), and it is the case.
    fn says_private_unasked(&self, request: &Request, writer: &str) -> Result<bool, S3Error> {
        let is_private = request.header(CANNED)? == Some("private") && !acl::has_grants(request);
        Ok(is_private && writer == self.owner && self.settings.is_ownership_default())
    }

    /// Where ACLs are disabled, a request may only say what is the case.
    fn check_disabled(&self, request: &Request) -> Result<(), S3Error> {
        let says_so = request.header(CANNED)? == Some(FULL_CONTROL);
        if acl::has_headers(request) && !says_so {
            return Err(Code::AccessControlListNotSupported.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::acl::{CannedAcl, Permission};
    use crate::engine::{Bucket, Versioning};
    use crate::s3::settings::{Document, PublicAccessBlock};
    use std::rc::Rc;

    const OWNER: &str = "bucket-owner";
    const WRITER: &str = "writer";

    struct Known;

    impl Accounts for Known {
        fn canonical_id(&self, _account_id: &str) -> Option<String> {
            None
        }

        fn account_id(&self, canonical_id: &str) -> Option<String> {
            [OWNER, WRITER].contains(&canonical_id).then(|| "1".to_owned())
        }

        fn canonical_id_of_email(&self, _email: &str) -> Option<String> {
            None
        }

        fn has_user(&self, _arn: &str) -> bool {
            false
        }
    }

    fn settings(ownership: ObjectOwnership, block: PublicAccessBlock) -> BucketSettings {
        let settings = [
            (ObjectOwnership::NAME.to_owned(), ownership.render()),
            (PublicAccessBlock::NAME.to_owned(), block.render()),
        ];
        BucketSettings::new(Rc::new(Bucket {
            id: 1,
            name: "b".to_owned(),
            created: 0,
            versioning: Versioning::Unversioned,
            settings: settings.into(),
        }))
    }

    fn of_new(ownership: ObjectOwnership, headers: &[(&str, &str)]) -> Result<Acl, Code> {
        let settings = settings(ownership, PublicAccessBlock::default());
        let place = Place { settings: &settings, owner: OWNER, accounts: &Known };
        let request = Request::for_test("PUT", "/b/k", headers);
        place.acl_of_new(&request, WRITER).map_err(|error| error.code)
    }

    #[test]
    fn ownership_decides_whose_a_new_object_is() {
        use ObjectOwnership::{BucketOwnerEnforced, BucketOwnerPreferred, ObjectWriter};
        let full_control = [(CANNED, FULL_CONTROL)];
        let shared = CannedAcl::BucketOwnerFullControl.expand(WRITER, Some(OWNER));
        for (ownership, headers, acl) in [
            (ObjectWriter, &[][..], Acl::private(WRITER)),
            (ObjectWriter, &full_control, shared),
            (BucketOwnerPreferred, &[], Acl::private(WRITER)),
            (BucketOwnerPreferred, &full_control, Acl::private(OWNER)),
            (BucketOwnerEnforced, &[], Acl::private(OWNER)),
            (BucketOwnerEnforced, &full_control, Acl::private(OWNER)),
        ] {
            assert_eq!(of_new(ownership, headers), Ok(acl), "{ownership:?} {headers:?}");
        }
        for headers in [(CANNED, "private"), (CANNED, "public-read"), ("x-amz-grant-read", "id=writer")] {
            assert_eq!(of_new(BucketOwnerEnforced, &[headers]), Err(Code::AccessControlListNotSupported));
        }
        assert_eq!(of_new(ObjectWriter, &[(CANNED, "public")]), Err(Code::InvalidArgument));
        let granted = of_new(ObjectWriter, &[("x-amz-grant-read", "id=\"bucket-owner\"")]).unwrap();
        assert_eq!((granted.owner.as_str(), granted.grants[0].permission), (WRITER, Permission::Read));
    }

    #[test]
    fn public_acls_can_be_blocked() {
        let settings = settings(ObjectOwnership::ObjectWriter, PublicAccessBlock::ALL);
        let place = Place { settings: &settings, owner: OWNER, accounts: &Known };
        let with = |value| {
            let request = Request::for_test("PUT", "/b/k?acl", &[(CANNED, value)]);
            let new = place.acl_of_new(&request, WRITER).map(drop);
            assert_eq!(new, place.acl_of_put(&request, b"", &Acl::private(OWNER)).map(drop));
            new.map_err(|error| error.code)
        };
        assert_eq!(with("public-read"), Err(Code::AccessDenied));
        assert_eq!(with("authenticated-read"), Err(Code::AccessDenied));
        assert_eq!(with("private"), Ok(()));
    }

    #[test]
    fn only_what_differs_from_the_buckets_owner_is_kept() {
        let settings = settings(ObjectOwnership::ObjectWriter, PublicAccessBlock::default());
        let place = Place { settings: &settings, owner: OWNER, accounts: &Known };
        assert_eq!(place.stored(&Acl::private(OWNER)), None);
        for acl in [Acl::private(WRITER), CannedAcl::PublicRead.expand(OWNER, Some(OWNER))] {
            let headers: Headers = place.stored(&acl).into_iter().collect();
            assert_eq!(place.acl_of(&headers), Ok(acl));
        }
        assert_eq!(place.acl_of(&Headers::new()), Ok(Acl::private(OWNER)));
        let damaged = vec![(STORED.to_owned(), b"x;y".to_vec())];
        assert_eq!(place.acl_of(&damaged).unwrap_err().code, Code::InternalError);
    }

    #[test]
    fn where_acls_are_disabled_only_what_is_the_case_can_be_put() {
        let settings = settings(ObjectOwnership::BucketOwnerEnforced, PublicAccessBlock::default());
        let place = Place { settings: &settings, owner: OWNER, accounts: &Known };
        let current = Acl::private(OWNER);
        let put = |headers: &[(&str, &str)], document: &[u8]| {
            let request = Request::for_test("PUT", "/b/k?acl", headers);
            place.acl_of_put(&request, document, &current).map(drop).map_err(|error| error.code)
        };
        assert_eq!(put(&[(CANNED, FULL_CONTROL)], b""), Ok(()));
        assert_eq!(put(&[(CANNED, "private")], b""), Err(Code::AccessControlListNotSupported));
        let own = acl::document(&current, &|_| None).finish();
        assert_eq!(put(&[], &own), Ok(()));
        let public = acl::document(&CannedAcl::PublicRead.expand(OWNER, None), &|_| None).finish();
        assert_eq!(put(&[], &public), Err(Code::AccessControlListNotSupported));
        assert_eq!(put(&[], b""), Err(Code::MissingSecurityHeader));
    }
}
