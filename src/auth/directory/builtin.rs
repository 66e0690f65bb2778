//! Policies that every account has without making them: under the names that AWS's and MinIO's users know.
//!
//! Source: AWS, "AWS managed policies for Amazon S3"; MinIO, "Access management", for the others.

use super::ManagedPolicy;

/// A document that allows actions on everything.
macro_rules! allow {
    ($actions:literal) => {
        concat!(
            "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Allow\",\"Action\":[",
            $actions,
            "],\"Resource\":\"*\"}]}"
        )
    };
}
/// Names and documents.
const POLICIES: &[(&str, &str)] = &[
    ("AmazonS3FullAccess", allow!("\"s3:*\"")),
    ("AmazonS3ReadOnlyAccess", allow!("\"s3:Get*\",\"s3:List*\"")),
    ("consoleAdmin", allow!("\"s3:*\",\"ringcask:*\"")),
    ("readonly", allow!("\"s3:GetBucketLocation\",\"s3:GetObject\"")),
    ("readwrite", allow!("\"s3:*\"")),
    ("writeonly", allow!("\"s3:PutObject\"")),
];

/// A built-in policy.
pub fn policy(name: &str) -> Option<ManagedPolicy> {
    all().find(|policy| policy.name == name)
}

/// All of them in order of their names.
pub fn all() -> impl Iterator<Item = ManagedPolicy> {
    POLICIES.iter().map(|(name, document)| ManagedPolicy {
        account_id: String::new(),
        name: (*name).to_owned(),
        created: 0,
        updated: 0,
        document: (*document).to_owned(),
    })
}
