//! `PublicAccessBlockConfiguration`: what a bucket does against ACLs and policies that let everybody in.
//!
//! Source: AWS, "Blocking public access to your Amazon S3 storage".

use super::document::{Document, Fields};
use crate::s3::error::S3Error;
use crate::s3::xml::{Element, XmlWriter};

/// The four switches. A bucket without the setting has them all off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PublicAccessBlock {
    /// ACLs that let everybody in are refused when they are put.
    pub block_public_acls: bool,
    /// ACLs that let everybody in have no effect.
    pub ignore_public_acls: bool,
    /// Policies that let everybody in are refused when they are put.
    pub block_public_policy: bool,
    /// A policy that lets everybody in lets only the owner's account in.
    pub restrict_public_buckets: bool,
}

impl PublicAccessBlock {
    /// All four: what AWS gives new buckets.
    pub const ALL: Self = Self {
        block_public_acls: true,
        ignore_public_acls: true,
        block_public_policy: true,
        restrict_public_buckets: true,
    };
}

const NAMES: [&str; 4] =
    ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"];

impl Document for PublicAccessBlock {
    const NAME: &'static str = "publicAccessBlock";
    const ROOT: &'static str = "PublicAccessBlockConfiguration";

    fn read(root: &Element) -> Result<Self, S3Error> {
        let fields = Fields::of(root, &NAMES)?;
        let mut switches = [false; 4];
        for (switch, name) in switches.iter_mut().zip(NAMES) {
            *switch = fields.truth(name)?.unwrap_or_default();
        }
        let [block_public_acls, ignore_public_acls, block_public_policy, restrict_public_buckets] = switches;
        Ok(Self { block_public_acls, ignore_public_acls, block_public_policy, restrict_public_buckets })
    }

    fn write(&self, xml: &mut XmlWriter) {
        let switches = [
            self.block_public_acls,
            self.ignore_public_acls,
            self.block_public_policy,
            self.restrict_public_buckets,
        ];
        for (name, switch) in NAMES.into_iter().zip(switches) {
            xml.value(name, switch);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::document::tests::{assert_fixed_point, read, refusal};
    use super::*;
    use crate::s3::error::Code;
    use proptest::prelude::*;

    #[test]
    fn switches_are_off_unless_they_are_on() {
        assert_eq!(read(""), Ok(PublicAccessBlock::default()));
        let inside = "<BlockPublicAcls>true</BlockPublicAcls><RestrictPublicBuckets>TRUE</RestrictPublicBuckets>\
                      <IgnorePublicAcls>false</IgnorePublicAcls>";
        let expected = PublicAccessBlock {
            block_public_acls: true,
            restrict_public_buckets: true,
            ..PublicAccessBlock::default()
        };
        assert_eq!(read(inside), Ok(expected));
    }

    #[test]
    fn other_switches_and_words_are_malformed() {
        for inside in [
            "<BlockPublicAcls>yes</BlockPublicAcls>",
            "<BlockPublicAcls/>",
            "<BlockPublicAcl>true</BlockPublicAcl>",
            "<BlockPublicAcls>true</BlockPublicAcls><BlockPublicAcls>true</BlockPublicAcls>",
        ] {
            assert_eq!(refusal::<PublicAccessBlock>(inside).0, Code::MalformedXML, "{inside}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(switches in any::<[bool; 4]>()) {
            let [block_public_acls, ignore_public_acls, block_public_policy, restrict_public_buckets] = switches;
            let block = PublicAccessBlock {
                block_public_acls, ignore_public_acls, block_public_policy, restrict_public_buckets,
            };
            prop_assert_eq!(PublicAccessBlock::parse(&block.render()), Ok(block));
            assert_fixed_point(&block);
        }
    }
}
