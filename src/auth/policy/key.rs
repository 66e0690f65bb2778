//! The condition keys that can be evaluated here, and the actions that each belongs to.
//!
//! Source: AWS, "Actions, resources, and condition keys for Amazon S3" and "AWS global condition context
//! keys". A key that AWS knows and this table does not (`aws:SourceVpce`, `aws:PrincipalOrgID`, …) is about
//! things that don't exist here: a policy with it is refused.

use std::sync::LazyLock;

use crate::auth::policy::action::{Action, ActionSet};

macro_rules! keys {
    ($($name:ident $text:literal [$($action:literal),*];)*) => {
        /// Name of a condition key.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum KeyName {
            $($name,)*
        }

        /// Name, text (with a slash at its end if a tag's key follows) and patterns of the actions whose
        /// requests have it.
        const KEYS: &[(KeyName, &str, &[&str])] = &[$((KeyName::$name, $text, &[$($action),*]),)*];
    };
}

keys! {
    CurrentTime "aws:CurrentTime" ["*"];
    EpochTime "aws:EpochTime" ["*"];
    PrincipalAccount "aws:PrincipalAccount" ["*"];
    PrincipalArn "aws:PrincipalArn" ["*"];
    PrincipalIsAwsService "aws:PrincipalIsAWSService" ["*"];
    PrincipalType "aws:PrincipalType" ["*"];
    Referer "aws:Referer" ["*"];
    RequestedRegion "aws:RequestedRegion" ["*"];
    ResourceAccount "aws:ResourceAccount" ["*"];
    SecureTransport "aws:SecureTransport" ["*"];
    SourceIp "aws:SourceIp" ["*"];
    UserAgent "aws:UserAgent" ["*"];
    UserId "aws:userid" ["*"];
    UserName "aws:username" ["*"];
    ViaAwsService "aws:ViaAWSService" ["*"];
    AuthType "s3:authType" ["s3:*"];
    ContentSha256 "s3:x-amz-content-sha256" ["s3:*"];
    CopySource "s3:x-amz-copy-source" ["s3:PutObject"];
    Delimiter "s3:delimiter" ["s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads"];
    ExistingObjectTag "s3:ExistingObjectTag/" [
        "s3:GetObject", "s3:GetObjectAcl", "s3:GetObjectAttributes", "s3:GetObjectTagging",
        "s3:GetObjectVersion", "s3:GetObjectVersionAcl", "s3:GetObjectVersionAttributes",
        "s3:GetObjectVersionTagging", "s3:PutObjectAcl", "s3:PutObjectTagging", "s3:PutObjectVersionAcl",
        "s3:PutObjectVersionTagging", "s3:DeleteObjectTagging", "s3:DeleteObjectVersionTagging"
    ];
    GrantFullControl "s3:x-amz-grant-full-control" ["s3:CreateBucket", "s3:PutObject", "s3:Put*Acl"];
    GrantRead "s3:x-amz-grant-read" ["s3:CreateBucket", "s3:PutObject", "s3:Put*Acl"];
    GrantReadAcp "s3:x-amz-grant-read-acp" ["s3:CreateBucket", "s3:PutObject", "s3:Put*Acl"];
    GrantWrite "s3:x-amz-grant-write" ["s3:CreateBucket", "s3:PutObject", "s3:Put*Acl"];
    GrantWriteAcp "s3:x-amz-grant-write-acp" ["s3:CreateBucket", "s3:PutObject", "s3:Put*Acl"];
    IfMatch "s3:if-match" ["s3:PutObject", "s3:DeleteObject"];
    IfNoneMatch "s3:if-none-match" ["s3:PutObject"];
    LocationConstraint "s3:LocationConstraint" ["s3:CreateBucket"];
    MaxKeys "s3:max-keys" ["s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads"];
    MetadataDirective "s3:x-amz-metadata-directive" ["s3:PutObject"];
    ObjectAcl "s3:x-amz-acl" ["s3:CreateBucket", "s3:PutObject", "s3:Put*Acl"];
    ObjectCreationOperation "s3:ObjectCreationOperation" ["s3:PutObject"];
    ObjectLockLegalHold "s3:object-lock-legal-hold" [
        "s3:PutObject", "s3:PutObjectLegalHold", "s3:BypassGovernanceRetention"
    ];
    ObjectLockMode "s3:object-lock-mode" [
        "s3:PutObject", "s3:PutObjectRetention", "s3:BypassGovernanceRetention"
    ];
    ObjectLockRemainingDays "s3:object-lock-remaining-retention-days" [
        "s3:PutObject", "s3:PutObjectRetention", "s3:BypassGovernanceRetention"
    ];
    ObjectLockUntil "s3:object-lock-retain-until-date" [
        "s3:PutObject", "s3:PutObjectRetention", "s3:BypassGovernanceRetention"
    ];
    Prefix "s3:prefix" ["s3:ListBucket", "s3:ListBucketVersions", "s3:ListBucketMultipartUploads"];
    RequestObjectTag "s3:RequestObjectTag/" ["s3:PutObject", "s3:PutObjectTagging", "s3:PutObjectVersionTagging"];
    RequestObjectTagKeys "s3:RequestObjectTagKeys" [
        "s3:PutObject", "s3:PutObjectTagging", "s3:PutObjectVersionTagging"
    ];
    S3ResourceAccount "s3:ResourceAccount" ["s3:*"];
    ServerSideEncryption "s3:x-amz-server-side-encryption" ["s3:PutObject"];
    ServerSideEncryptionCustomerAlgorithm "s3:x-amz-server-side-encryption-customer-algorithm" [
        "s3:PutObject", "s3:GetObject", "s3:GetObjectVersion"
    ];
    ServerSideEncryptionKeyId "s3:x-amz-server-side-encryption-aws-kms-key-id" ["s3:PutObject"];
    SignatureAge "s3:signatureAge" ["s3:*"];
    SignatureVersion "s3:signatureversion" ["s3:*"];
    StorageClass "s3:x-amz-storage-class" ["s3:PutObject"];
    TlsVersion "s3:TlsVersion" ["s3:*"];
    VersionId "s3:VersionId" ["s3:*Version", "s3:*Version*Acl", "s3:*Version*Tagging", "s3:*Version*Attributes",
        "s3:PutObjectRetention", "s3:PutObjectLegalHold", "s3:GetObjectRetention", "s3:GetObjectLegalHold"];
    WebsiteRedirectLocation "s3:x-amz-website-redirect-location" ["s3:PutObject"];
}

/// The actions of each row, worked out once: every condition of every request asks.
static ACTIONS: LazyLock<Vec<ActionSet>> = LazyLock::new(|| {
    let row = |(_, _, patterns): &(KeyName, &str, &[&str])| {
        let mut actions = ActionSet::default();
        for pattern in *patterns {
            actions.extend(ActionSet::matching(pattern));
        }
        actions
    };
    KEYS.iter().map(row).collect()
});

/// A condition key as a policy names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConditionKey {
    pub name: KeyName,
    /// Key of the tag after the slash; empty for keys without.
    pub tag: String,
}

impl ConditionKey {
    /// Finds a key by its text, which AWS compares without regard to case; the tag's key has its case.
    pub fn parse(text: &str) -> Option<Self> {
        KEYS.iter().find_map(|(name, known, _)| {
            let (head, tag) = text.split_at_checked(known.len())?;
            let is_tagged = known.ends_with('/');
            (head.eq_ignore_ascii_case(known) && tag.is_empty() != is_tagged)
                .then(|| Self { name: *name, tag: tag.to_owned() })
        })
    }

    /// The actions whose requests can have this key.
    pub fn actions(&self) -> ActionSet {
        // The names are numbered in the order of the rows.
        ACTIONS[self.name as usize]
    }

    /// Whether requests of that action can have this key.
    pub fn applies_to(&self, action: Action) -> bool {
        self.actions().contains(action)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_found_in_any_case_and_tags_keep_theirs() {
        let parse = |text: &str| ConditionKey::parse(text).map(|key| (key.name, key.tag));
        assert_eq!(parse("AWS:sourceip"), Some((KeyName::SourceIp, String::new())));
        assert_eq!(parse("s3:existingobjecttag/Team"), Some((KeyName::ExistingObjectTag, "Team".to_owned())));
        for unknown in
            ["", "aws:SourceIp/x", "s3:ExistingObjectTag/", "aws:SourceVpce", "prefix", "s3:préfix"]
        {
            assert_eq!(parse(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn every_key_belongs_to_some_action() {
        for (name, text, patterns) in KEYS {
            let key = ConditionKey { name: *name, tag: String::new() };
            assert!(!key.actions().is_empty(), "{text}");
            for pattern in *patterns {
                assert!(!ActionSet::matching(pattern).is_empty(), "{text}: {pattern}");
            }
        }
        assert!(ConditionKey::parse("s3:prefix").unwrap().applies_to(Action::named("s3:ListBucket")));
        assert!(!ConditionKey::parse("s3:prefix").unwrap().applies_to(Action::named("s3:GetObject")));
        assert!(
            ConditionKey::parse("s3:VersionId").unwrap().applies_to(Action::named("s3:GetObjectVersion"))
        );
    }
}
