//! Policies that every account has without making them: under the names that AWS's and MinIO's users know.
//!
//! Source: AWS, "AWS managed policies for Amazon S3"; MinIO, "Access management", for the others.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::ManagedPolicy;
use crate::auth::policy::{Kind, Policy};

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

/// All of them by name.
pub fn all() -> Rc<BTreeMap<String, Rc<ManagedPolicy>>> {
    Rc::new(
        POLICIES
            .iter()
            .map(|(name, document)| ((*name).to_owned(), Rc::new(policy(name, document))))
            .collect(),
    )
}

fn policy(name: &str, document: &str) -> ManagedPolicy {
    let policy = Policy::parse(document.as_bytes(), Kind::Identity).expect("built-in documents are policies");
    ManagedPolicy {
        account_id: String::new(),
        name: name.to_owned(),
        created: 0,
        updated: 0,
        document: document.to_owned(),
        policy: Rc::new(policy),
    }
}
