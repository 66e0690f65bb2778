//! `ServerSideEncryptionConfiguration`: how objects are encrypted that come without a wish of their own.
//!
//! Source: AWS, PutBucketEncryption.

use super::document::{Document, Fields, malformed};
use crate::s3::error::{Code, S3Error};
use crate::s3::xml::{Element, XmlWriter};

/// The default encryption of a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DefaultEncryption {
    pub algorithm: DefaultAlgorithm,
    /// Whether objects under a named key share keys that are made for the bucket; `None` if it was not said.
    pub bucket_key_enabled: Option<bool>,
}

/// With which keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DefaultAlgorithm {
    /// SSE-S3, with the node's own key.
    Aes256,
    /// SSE-KMS, with a named key or with the one that is used if none is named.
    Kms { key_id: Option<String> },
}

const APPLY: &str = "ApplyServerSideEncryptionByDefault";

/// What an algorithm's word stands for.
#[derive(Clone, Copy)]
enum Word {
    Aes256,
    Kms,
    KmsTwice,
}

impl Document for DefaultEncryption {
    const NAME: &'static str = "encryption";
    const ROOT: &'static str = "ServerSideEncryptionConfiguration";

    fn read(root: &Element) -> Result<Self, S3Error> {
        let rule = Fields::of(root, &["Rule"])?.required("Rule")?;
        let fields = Fields::of(rule, &[APPLY, "BucketKeyEnabled", "BlockedEncryptionTypes"])?;
        if let Some(blocked) = fields.once("BlockedEncryptionTypes")? {
            check_blocked(blocked)?;
        }
        let algorithm = match fields.once(APPLY)? {
            Some(apply) => DefaultAlgorithm::read(apply)?,
            None => DefaultAlgorithm::Aes256,
        };
        Ok(Self { algorithm, bucket_key_enabled: fields.truth("BucketKeyEnabled")? })
    }

    fn write(&self, xml: &mut XmlWriter) {
        xml.open("Rule");
        xml.open(APPLY);
        match &self.algorithm {
            DefaultAlgorithm::Aes256 => xml.text("SSEAlgorithm", "AES256"),
            DefaultAlgorithm::Kms { key_id } => {
                xml.text("SSEAlgorithm", "aws:kms");
                if let Some(key_id) = key_id {
                    xml.text("KMSMasterKeyID", key_id);
                }
            }
        }
        xml.close();
        if let Some(enabled) = self.bucket_key_enabled {
            xml.value("BucketKeyEnabled", enabled);
        }
        xml.close();
    }
}

impl DefaultAlgorithm {
    fn read(apply: &Element) -> Result<Self, S3Error> {
        let fields = Fields::of(apply, &["SSEAlgorithm", "KMSMasterKeyID"])?;
        let words = [("AES256", Word::Aes256), ("aws:kms", Word::Kms), ("aws:kms:dsse", Word::KmsTwice)];
        let key_id = fields.text("KMSMasterKeyID")?.map(str::trim).filter(|id| !id.is_empty());
        match fields.word("SSEAlgorithm", &words)?.ok_or_else(malformed)? {
            Word::Aes256 => match key_id {
                None => Ok(Self::Aes256),
                Some(key_id) => Err(S3Error::invalid_argument(
                    "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or \
                     aws:kms:dsse",
                    "ApplyServerSideEncryptionByDefault",
                    key_id,
                )),
            },
            Word::Kms => Ok(Self::Kms { key_id: key_id.map(str::to_owned) }),
            Word::KmsTwice => Err(S3Error::new(Code::NotImplemented)
                .with_message("Encryption of objects in two layers is not implemented.")
                .with_field("Header", "aws:kms:dsse")),
        }
    }
}

/// Refuses to block a kind of encryption: nothing here would heed it.
fn check_blocked(blocked: &Element) -> Result<(), S3Error> {
    for kind in Fields::of(blocked, &["EncryptionType"])?.texts("EncryptionType")? {
        match kind.as_str() {
            "NONE" => {}
            "SSE-C" => {
                return Err(S3Error::new(Code::NotImplemented)
                    .with_message("Blocking kinds of encryption is not implemented.")
                    .with_field("Header", "BlockedEncryptionTypes"));
            }
            _ => return Err(malformed()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::{assert_fixed_point, read, refusal};
    use super::*;

    fn rule(apply: &str, more: &str) -> String {
        format!("<Rule><{APPLY}>{apply}</{APPLY}>{more}</Rule>")
    }

    #[test]
    fn a_default_names_an_algorithm_and_perhaps_a_key() {
        let aes: DefaultEncryption = read(&rule("<SSEAlgorithm>AES256</SSEAlgorithm>", "")).unwrap();
        assert_eq!(aes, DefaultEncryption { algorithm: DefaultAlgorithm::Aes256, bucket_key_enabled: None });
        let apply = "<SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>a-key</KMSMasterKeyID>";
        let kms: DefaultEncryption = read(&rule(apply, "<BucketKeyEnabled>true</BucketKeyEnabled>")).unwrap();
        let algorithm = DefaultAlgorithm::Kms { key_id: Some("a-key".to_owned()) };
        assert_eq!(kms, DefaultEncryption { algorithm, bucket_key_enabled: Some(true) });
        let unnamed: DefaultEncryption = read(&rule("<SSEAlgorithm>aws:kms</SSEAlgorithm>", "")).unwrap();
        assert_eq!(unnamed.algorithm, DefaultAlgorithm::Kms { key_id: None });
        for encryption in [aes, kms, unnamed] {
            assert_fixed_point(&encryption);
        }
    }

    #[test]
    fn what_cannot_be_done_is_refused() {
        let code = |inside: &str| refusal::<DefaultEncryption>(inside).0;
        assert_eq!(code(""), Code::MalformedXML);
        assert_eq!(code(&rule("", "")), Code::MalformedXML);
        assert_eq!(code(&rule("<SSEAlgorithm>aes256</SSEAlgorithm>", "")), Code::MalformedXML);
        let aes = "<SSEAlgorithm>AES256</SSEAlgorithm>";
        assert_eq!(code(&rule(aes, "").repeat(2)), Code::MalformedXML);
        assert_eq!(
            code(&rule(&format!("{aes}<KMSMasterKeyID>k</KMSMasterKeyID>"), "")),
            Code::InvalidArgument
        );
        assert_eq!(code(&rule("<SSEAlgorithm>aws:kms:dsse</SSEAlgorithm>", "")), Code::NotImplemented);
        let blocked = |kind: &str| {
            format!(
                "<BlockedEncryptionTypes><EncryptionType>{kind}</EncryptionType></BlockedEncryptionTypes>"
            )
        };
        assert_eq!(code(&rule(aes, &blocked("SSE-C"))), Code::NotImplemented);
        assert_eq!(code(&rule(aes, &blocked("SSE-X"))), Code::MalformedXML);
        assert!(read::<DefaultEncryption>(&rule(aes, &blocked("NONE"))).is_ok());
    }
}
