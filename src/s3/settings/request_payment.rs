//! `RequestPaymentConfiguration`: who pays for requests.
//!
//! Source: AWS, PutBucketRequestPayment.

use super::document::{Document, Fields, malformed};
use crate::s3::error::{Code, S3Error};
use crate::s3::xml::{Element, XmlWriter};

/// Who pays. Nobody pays here, so that only the word exists which changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BucketOwnerPays;

impl Document for BucketOwnerPays {
    const NAME: &'static str = "requestPayment";
    const ROOT: &'static str = "RequestPaymentConfiguration";

    fn read(root: &Element) -> Result<Self, S3Error> {
        let fields = Fields::of(root, &["Payer"])?;
        match fields.word("Payer", &[("BucketOwner", true), ("Requester", false)])? {
            Some(true) => Ok(Self),
            Some(false) => Err(S3Error::new(Code::NotImplemented)
                .with_message("Requester Pays is not implemented: nothing here is charged.")
                .with_field("Header", "Payer")),
            None => Err(malformed()),
        }
    }

    fn write(&self, xml: &mut XmlWriter) {
        xml.text("Payer", "BucketOwner");
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::{assert_fixed_point, read, refusal};
    use super::*;

    #[test]
    fn only_the_owner_may_be_said_to_pay() {
        assert_eq!(read("<Payer>BucketOwner</Payer>"), Ok(BucketOwnerPays));
        assert_fixed_point(&BucketOwnerPays);
        assert_eq!(refusal::<BucketOwnerPays>("<Payer>Requester</Payer>").0, Code::NotImplemented);
        for inside in ["", "<Payer>Nobody</Payer>", "<Payer>BucketOwner</Payer><Other/>"] {
            assert_eq!(refusal::<BucketOwnerPays>(inside).0, Code::MalformedXML, "{inside}");
        }
    }
}
