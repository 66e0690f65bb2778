//! The settings of a bucket that cannot be set: their GETs answer what AWS answers for a bucket that never
//! set them.

use crate::http::Response;
use crate::io::Host;
use crate::s3::access::Authorized;
use crate::s3::error::{Code, S3Error};
use crate::s3::listing;
use crate::s3::route::Operation;
use crate::s3::service::{S3Service, Settings};
use crate::s3::xml::XmlWriter;

pub async fn run<H: Host>(service: &S3Service<H>, request: Authorized) -> Result<Response, S3Error> {
    let bucket = service.bucket(&request)?;
    match answer(request.operation(), service.settings()) {
        Ok(xml) => Ok(super::document(xml)),
        Err(error) => Err(error.with_field("BucketName", &bucket.name)),
    }
}

/// The answer for an untouched bucket.
///
/// Two differ from AWS because they would not be true: nothing is encrypted by default, so no default
/// encryption is announced.
fn answer(operation: Operation, settings: &Settings) -> Result<XmlWriter, S3Error> {
    let absent = |code: Code| Err(S3Error::new(code));
    match operation {
        Operation::GetBucketCors => absent(Code::NoSuchCORSConfiguration),
        Operation::GetBucketEncryption => absent(Code::ServerSideEncryptionConfigurationNotFoundError),
        Operation::GetBucketLifecycleConfiguration => absent(Code::NoSuchLifecycleConfiguration),
        Operation::GetBucketPolicy | Operation::GetBucketPolicyStatus => absent(Code::NoSuchBucketPolicy),
        Operation::GetBucketReplication => absent(Code::ReplicationConfigurationNotFoundError),
        Operation::GetBucketTagging => absent(Code::NoSuchTagSet),
        Operation::GetBucketWebsite => absent(Code::NoSuchWebsiteConfiguration),
        Operation::GetObjectLockConfiguration => absent(Code::ObjectLockConfigurationNotFoundError),
        Operation::GetBucketAcl => Ok(acl(settings)),
        Operation::GetBucketAccelerateConfiguration => Ok(XmlWriter::document("AccelerateConfiguration")),
        Operation::GetBucketLogging => Ok(XmlWriter::document("BucketLoggingStatus")),
        Operation::GetBucketNotificationConfiguration => Ok(XmlWriter::document("NotificationConfiguration")),
        Operation::GetBucketOwnershipControls => Ok(ownership_controls()),
        Operation::GetBucketRequestPayment => Ok(request_payment()),
        Operation::GetBucketVersioning => Ok(XmlWriter::document("VersioningConfiguration")),
        Operation::GetPublicAccessBlock => Ok(public_access_block()),
        other => Err(S3Error::not_implemented(other.name())),
    }
}

/// The owner may do everything, others nothing: of buckets and of objects.
pub fn acl(settings: &Settings) -> XmlWriter {
    let mut xml = XmlWriter::document("AccessControlPolicy");
    listing::owner(&mut xml, "Owner", settings);
    xml.open("AccessControlList");
    xml.open("Grant");
    xml.open_typed("Grantee", "CanonicalUser");
    xml.text("ID", &settings.owner_id);
    xml.text("DisplayName", &settings.owner_name);
    xml.close();
    xml.text("Permission", "FULL_CONTROL");
    xml
}

/// ACLs are disabled: the default of buckets made since April 2023.
fn ownership_controls() -> XmlWriter {
    let mut xml = XmlWriter::document("OwnershipControls");
    xml.open("Rule");
    xml.text("ObjectOwnership", "BucketOwnerEnforced");
    xml
}

fn request_payment() -> XmlWriter {
    let mut xml = XmlWriter::document("RequestPaymentConfiguration");
    xml.text("Payer", "BucketOwner");
    xml
}

/// The default of buckets made since April 2023, and true: nobody without credentials gets in.
fn public_access_block() -> XmlWriter {
    let mut xml = XmlWriter::document("PublicAccessBlockConfiguration");
    for name in ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"] {
        xml.text(name, "true");
    }
    xml
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::s3::route::{Level, Support, TABLE};
    use crate::s3::xml;

    fn document(operation: Operation, root: &str) -> xml::Element {
        let document = answer(operation, &Settings::default()).ok().unwrap().finish();
        xml::parse(&document, root).unwrap()
    }

    #[test]
    fn an_untouched_bucket_has_the_settings_of_aws() {
        let acl = document(Operation::GetBucketAcl, "AccessControlPolicy");
        let grant = acl.child("AccessControlList").unwrap().child("Grant").unwrap();
        assert_eq!(grant.child("Grantee").unwrap().kind.as_deref(), Some("CanonicalUser"));
        assert_eq!(grant.child_text("Permission"), Some("FULL_CONTROL"));
        assert_eq!(
            acl.child("Owner").unwrap().child_text("ID"),
            grant.child("Grantee").unwrap().child_text("ID")
        );

        let versioning = document(Operation::GetBucketVersioning, "VersioningConfiguration");
        assert!(versioning.children.is_empty());
        let payment = document(Operation::GetBucketRequestPayment, "RequestPaymentConfiguration");
        assert_eq!(payment.child_text("Payer"), Some("BucketOwner"));
        let block = document(Operation::GetPublicAccessBlock, "PublicAccessBlockConfiguration");
        assert!(block.children.len() == 4 && block.children.iter().all(|child| child.text == "true"));
        let missing = answer(Operation::GetBucketLifecycleConfiguration, &Settings::default());
        assert_eq!(missing.err().unwrap().code, Code::NoSuchLifecycleConfiguration);
    }

    #[test]
    fn every_setting_of_the_table_that_is_served_has_an_answer() {
        for row in TABLE.iter().filter(|row| row.support == Support::Fixed && row.level == Level::Bucket) {
            let code = answer(row.operation, &Settings::default()).err().map(|error| error.code);
            assert_ne!(code, Some(Code::NotImplemented), "{}", row.operation.name());
        }
    }
}
