//! CreateBucket: makes a bucket, in the only region the node has, with what it shall have from the start.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::auth::acl::Acl;
use crate::auth::policy::action::Action;
use crate::engine::{Bucket, EngineError, Versioning};
use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::body::{DocumentDigest, Incoming};
use crate::s3::error::{Code, S3Error};
use crate::s3::op::setting::{self, Change};
use crate::s3::request::{Request, is_bucket_name};
use crate::s3::service::{NewBuckets, S3Service};
use crate::s3::settings::acl::{self, AclOwner};
use crate::s3::settings::document::Fields;
use crate::s3::settings::tagging::BucketTags;
use crate::s3::settings::{
    Document, OWNER, OWNERSHIP_DEFAULT, ObjectLock, ObjectOwnership, PublicAccessBlock,
};
use crate::s3::tagging::{TagSet, Tagged};
use crate::s3::{body, xml};

/// The region whose endpoint answers 200 to an owner who makes a bucket again.
const REGION_FORGIVING: &str = "us-east-1";

const PUT_BUCKET_ACL: Action = Action::named("s3:PutBucketAcl");

pub async fn run<H: Host, I: Incoming>(
    service: &S3Service<H>,
    mut request: Authorized,
    body: &mut I,
) -> Result<Response, S3Error> {
    let name = request.bucket.clone();
    if !is_bucket_name(&name) {
        return Err(S3Error::new(Code::InvalidBucketName).with_field("BucketName", &name));
    }
    let host = service.engine().host();
    let document = body::receive_document(host, &mut request, body, DocumentDigest::Optional).await?;
    let tags = check_configuration(&document, &service.settings().region)?;
    // Nobody unsigned gets here.
    let owner = request.principal().ok_or(Code::AccessDenied)?;
    let acl_owner = AclOwner { id: &owner.canonical_id, bucket_owner: None };
    let acl = acl::of_headers(&request, acl_owner, &service.accounts())?;
    let mut wish = Wish::read(&request, service.settings().new_buckets)?;
    if let Some(bucket) = service.engine().bucket(&name) {
        return again(service, &request, &bucket, acl).await;
    }
    if let Some(acl) = acl.filter(|acl| !acl.is_private()) {
        wish.grant(&acl)?;
    }
    wish.set(OWNER, owner.account_id.clone().into_bytes());
    if let Some(tags) = tags {
        wish.set(BucketTags::NAME, BucketTags(tags).render());
    }
    match service.engine().create_bucket(&name, wish.versioning, wish.settings).await {
        Ok(_) => Ok(made(&name)),
        Err(EngineError::BucketExists) => match service.engine().bucket(&name) {
            Some(bucket) => again(service, &request, &bucket, None).await,
            None => Err(Code::OperationAborted.into()),
        },
        Err(error) => Err(error.into()),
    }
}

fn made(name: &str) -> Response {
    Response::new(200).with_header("Location", format!("/{name}"))
}

/// Answers whoever makes a bucket that exists. AWS's first region lets its owner do so, which changes nothing
/// but the ACL: that becomes what is asked for now, unless the bucket's policy denies that.
async fn again<H: Host>(
    service: &S3Service<H>,
    request: &Authorized,
    bucket: &Rc<Bucket>,
    acl: Option<Acl>,
) -> Result<Response, S3Error> {
    let settings = service.bucket_settings(bucket);
    let account = request.principal().map(|principal| principal.account_id.as_str());
    if account != Some(service.owner_account(&settings)) {
        return Err(S3Error::new(Code::BucketAlreadyExists).with_field("BucketName", &bucket.name));
    }
    if service.settings().region != REGION_FORGIVING {
        return Err(S3Error::new(Code::BucketAlreadyOwnedByYou).with_field("BucketName", &bucket.name));
    }
    let acl = acl.filter(|acl| !acl.is_private());
    if acl.as_ref() != settings.acl()? && !settings.is_owner_enforced()? {
        request.check(service, PUT_BUCKET_ACL, bucket, "", None).await?;
        if acl.as_ref().is_some_and(Acl::is_public) && settings.public_access_block()?.block_public_acls {
            return Err(Code::InvalidBucketAclWithBlockPublicAccessError.into());
        }
        let change = match acl {
            Some(acl) => Change::put(acl::NAME, acl.to_string().into_bytes()),
            None => Change::delete(acl::NAME),
        };
        let judged_by = [ObjectOwnership::NAME, PublicAccessBlock::NAME];
        setting::change(service, bucket, change.while_unchanged(bucket, &judged_by)).await?;
    }
    Ok(made(&bucket.name))
}

/// What a bucket is to be made with.
struct Wish {
    versioning: Versioning,
    ownership: ObjectOwnership,
    public_access_block: PublicAccessBlock,
    settings: BTreeMap<String, Vec<u8>>,
}

impl Wish {
    /// Reads the headers beside those of ACLs.
    fn read(request: &Request, new_buckets: NewBuckets) -> Result<Self, S3Error> {
        let mut wish = Self {
            versioning: Versioning::Unversioned,
            ownership: ObjectOwnership::ObjectWriter,
            public_access_block: PublicAccessBlock::default(),
            settings: BTreeMap::new(),
        };
        let mut ownership =
            request.header("x-amz-object-ownership")?.map(ObjectOwnership::of_header).transpose()?;
        if new_buckets == NewBuckets::Aws {
            if ownership.is_none() {
                ownership = Some(ObjectOwnership::BucketOwnerEnforced);
                wish.set(OWNERSHIP_DEFAULT, Vec::new());
            }
            wish.public_access_block = PublicAccessBlock::ALL;
            wish.set(PublicAccessBlock::NAME, PublicAccessBlock::ALL.render());
        }
        if let Some(ownership) = ownership {
            wish.ownership = ownership;
            wish.set(ObjectOwnership::NAME, ownership.render());
        }
        const LOCK_HEADER: &str = "x-amz-bucket-object-lock-enabled";
        match request.header(LOCK_HEADER)?.map(str::to_ascii_lowercase).as_deref() {
            None | Some("false") => {}
            Some("true") => {
                wish.versioning = Versioning::Enabled;
                wish.set(ObjectLock::NAME, ObjectLock::default().render());
            }
            Some(other) => {
                let message = "The value must be true or false.";
                return Err(S3Error::invalid_argument(message, LOCK_HEADER, other));
            }
        }
        Ok(wish)
    }

    /// Adds an ACL that grants something, unless the bucket would not heed it.
    fn grant(&mut self, acl: &Acl) -> Result<(), S3Error> {
        if self.ownership == ObjectOwnership::BucketOwnerEnforced {
            return Err(Code::InvalidBucketAclWithObjectOwnership.into());
        }
        if self.public_access_block.block_public_acls && acl.is_public() {
            return Err(Code::InvalidBucketAclWithBlockPublicAccessError.into());
        }
        self.set(acl::NAME, acl.to_string().into_bytes());
        Ok(())
    }

    fn set(&mut self, name: &str, value: Vec<u8>) {
        self.settings.insert(name.to_owned(), value);
    }
}

/// Reads the optional document, and the tags in it. It may name the node's region or none; whatever else it
/// asks for is refused, so that nobody believes to have a bucket elsewhere.
fn check_configuration(document: &[u8], region: &str) -> Result<Option<TagSet>, S3Error> {
    if document.trim_ascii().is_empty() {
        return Ok(None);
    }
    let configuration = xml::parse(document, "CreateBucketConfiguration")?;
    let fields = Fields::of(&configuration, &["LocationConstraint", "Location", "Bucket", "Tags"])?;
    for name in ["Location", "Bucket"] {
        if fields.once(name)?.is_some_and(|child| !child.children.is_empty()) {
            return Err(S3Error::not_implemented(name));
        }
    }
    check_constraint(fields.text("LocationConstraint")?.unwrap_or_default().trim(), region)?;
    let tags = fields.once("Tags")?.map(|tags| TagSet::of_set(tags, Tagged::Bucket)).transpose()?;
    Ok(tags.filter(|tags| !tags.is_empty()))
}

fn check_constraint(constraint: &str, region: &str) -> Result<(), S3Error> {
    // AWS's names from before its regions were named so.
    let named = match constraint {
        "EU" => "eu-west-1",
        "US" => "us-east-1",
        other => other,
    };
    if named.is_empty() || named == region {
        return Ok(());
    }
    let (code, message) = match is_region_name(named) {
        true => (
            Code::IllegalLocationConstraintException,
            format!(
                "The {constraint} location constraint is incompatible for the region specific endpoint this \
                 request was sent to."
            ),
        ),
        false => (Code::InvalidLocationConstraint, Code::InvalidLocationConstraint.message().to_owned()),
    };
    Err(S3Error::new(code).with_message(message).with_field("LocationConstraint", constraint))
}

/// Whether AWS could name a region so: `eu-west-1`, `us-gov-east-1`.
fn is_region_name(name: &str) -> bool {
    let words: Vec<&str> = name.split('-').collect();
    let Some((number, words)) = words.split_last() else { return false };
    words.len() >= 2
        && words.iter().all(|word| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase()))
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(constraint: &str, region: &str) -> Result<(), Code> {
        let document = format!(
            "<CreateBucketConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">\
             <LocationConstraint>{constraint}</LocationConstraint></CreateBucketConfiguration>"
        );
        check_configuration(document.as_bytes(), region).map(drop).map_err(|error| error.code)
    }

    #[test]
    fn a_bucket_may_be_asked_for_where_the_node_is() {
        assert_eq!(check_configuration(b"", "eu-west-1"), Ok(None));
        assert_eq!(check_configuration(b"<CreateBucketConfiguration/>", "eu-west-1"), Ok(None));
        assert_eq!(check("", "us-east-1"), Ok(()));
        assert_eq!(check("us-east-1", "us-east-1"), Ok(()));
        assert_eq!(check("EU", "eu-west-1"), Ok(()));
        assert_eq!(check("my-garage", "my-garage"), Ok(()));
    }

    #[test]
    fn a_bucket_elsewhere_is_refused() {
        assert_eq!(check("eu-west-1", "us-east-1"), Err(Code::IllegalLocationConstraintException));
        assert_eq!(check("us-gov-east-1", "eu-west-1"), Err(Code::IllegalLocationConstraintException));
        for constraint in ["nowhere", "eu-west-", "-1", "EU-WEST-1", "a b"] {
            assert_eq!(check(constraint, "us-east-1"), Err(Code::InvalidLocationConstraint), "{constraint}");
        }
    }

    #[test]
    fn what_a_configuration_asks_for_beside_is_refused() {
        let code = |inside: &str| {
            let document = format!("<CreateBucketConfiguration>{inside}</CreateBucketConfiguration>");
            check_configuration(document.as_bytes(), "us-east-1").unwrap_err().code
        };
        assert_eq!(code("<Bucket><Type>Directory</Type></Bucket>"), Code::NotImplemented);
        assert_eq!(code("<Tags><Tag/></Tags>"), Code::MalformedXML);
        assert_eq!(code("<Other/>"), Code::MalformedXML);
        assert_eq!(check_configuration(b"<Other/>", "us-east-1").unwrap_err().code, Code::MalformedXML);
        assert_eq!(check_configuration(b"<", "us-east-1").unwrap_err().code, Code::MalformedXML);
    }
}
