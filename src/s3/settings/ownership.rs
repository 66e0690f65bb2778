//! `OwnershipControls`: who owns the objects of a bucket, and whether ACLs mean anything in it.
//!
//! Source: AWS, "Controlling ownership of objects and disabling ACLs for your bucket".

use super::document::{Document, Fields, malformed};
use crate::s3::error::S3Error;
use crate::s3::xml::{Element, XmlWriter};

/// Who owns the objects that others write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectOwnership {
    /// The owner of the bucket, always; ACLs are disabled.
    BucketOwnerEnforced,
    /// The owner of the bucket if the writer grants them full control, else the writer.
    BucketOwnerPreferred,
    /// The writer. Also of buckets without the setting.
    ObjectWriter,
}

const WORDS: [(&str, ObjectOwnership); 3] = [
    ("BucketOwnerEnforced", ObjectOwnership::BucketOwnerEnforced),
    ("BucketOwnerPreferred", ObjectOwnership::BucketOwnerPreferred),
    ("ObjectWriter", ObjectOwnership::ObjectWriter),
];

impl ObjectOwnership {
    /// Its word in documents and headers.
    pub fn name(self) -> &'static str {
        WORDS[self as usize].0
    }

    /// Reads `x-amz-object-ownership`.
    pub fn of_header(value: &str) -> Result<Self, S3Error> {
        let meant = WORDS.iter().find(|(word, _)| *word == value);
        meant.map(|(_, ownership)| *ownership).ok_or_else(|| {
            let message = format!("Invalid x-amz-object-ownership header: {value}");
            S3Error::invalid_argument(message, "x-amz-object-ownership", value)
        })
    }
}

impl Document for ObjectOwnership {
    const NAME: &'static str = "ownershipControls";
    const ROOT: &'static str = "OwnershipControls";

    fn read(root: &Element) -> Result<Self, S3Error> {
        let rule = Fields::of(root, &["Rule"])?.required("Rule")?;
        let fields = Fields::of(rule, &["ObjectOwnership"])?;
        fields.word("ObjectOwnership", &WORDS)?.ok_or_else(malformed)
    }

    fn write(&self, xml: &mut XmlWriter) {
        xml.open("Rule");
        xml.text("ObjectOwnership", self.name());
        xml.close();
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::{assert_fixed_point, read, refusal};
    use super::*;
    use crate::s3::error::Code;

    #[test]
    fn each_ownership_reads_what_it_writes() {
        for (word, ownership) in WORDS {
            assert_eq!(ownership.name(), word);
            assert_eq!(ObjectOwnership::of_header(word), Ok(ownership));
            let inside = format!("<Rule><ObjectOwnership>{word}</ObjectOwnership></Rule>");
            assert_eq!(read::<ObjectOwnership>(&inside), Ok(ownership));
            assert_fixed_point(&ownership);
        }
    }

    #[test]
    fn there_is_one_rule_and_it_has_one_of_three_words() {
        let rule = "<Rule><ObjectOwnership>ObjectWriter</ObjectOwnership></Rule>";
        for inside in [
            String::new(),
            rule.repeat(2),
            "<Rule/>".to_owned(),
            rule.replace("ObjectWriter", "objectwriter"),
            rule.replace("Rule", "Rules"),
        ] {
            assert_eq!(refusal::<ObjectOwnership>(&inside).0, Code::MalformedXML, "{inside}");
        }
        assert_eq!(ObjectOwnership::of_header("x").unwrap_err().code, Code::InvalidArgument);
    }
}
