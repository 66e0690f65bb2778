//! `Tagging`: names and values that people give to buckets.
//!
//! Source: AWS, PutBucketTagging.

use super::document::{Document, Fields};
use crate::s3::error::S3Error;
use crate::s3::tagging::{TagSet, Tagged};
use crate::s3::xml::{Element, XmlWriter};

/// The tags of a bucket.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BucketTags(pub TagSet);

impl Document for BucketTags {
    const NAME: &'static str = "tagging";
    const ROOT: &'static str = "Tagging";

    fn read(root: &Element) -> Result<Self, S3Error> {
        let set = Fields::of(root, &["TagSet"])?.required("TagSet")?;
        TagSet::of_set(set, Tagged::Bucket).map(Self)
    }

    fn write(&self, xml: &mut XmlWriter) {
        self.0.write(xml);
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::{assert_fixed_point, read, refusal};
    use super::*;
    use crate::s3::error::Code;

    #[test]
    fn tags_of_buckets_read_what_they_write() {
        let tag = |key: &str| format!("<Tag><Key>{key}</Key><Value>v</Value></Tag>");
        let set = |tags: &str| format!("<TagSet>{tags}</TagSet>");
        let tags: BucketTags = read(&set(&(tag("b") + &tag("a")))).unwrap();
        assert_eq!(tags.0.len(), 2);
        assert_fixed_point(&tags);
        let fifty: String = (0..50).map(|number| tag(&number.to_string())).collect();
        assert!(read::<BucketTags>(&set(&fifty)).is_ok());
        assert_eq!(refusal::<BucketTags>(&set(&(fifty + &tag("x")))).0, Code::InvalidTag);
        assert_eq!(refusal::<BucketTags>("").0, Code::MalformedXML);
        assert_eq!(refusal::<BucketTags>(&(set("") + &set(""))).0, Code::MalformedXML);
    }
}
