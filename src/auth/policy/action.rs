//! The actions that policies can name, and sets of them.
//!
//! Source: AWS, "Actions, resources, and condition keys for Amazon S3" of the Service Authorization
//! Reference. Actions of S3 features that nobody can use here are known too, because policies written for
//! AWS name them; those of access points, jobs and the like, whose resources cannot exist here, are not.

use crate::auth::policy::glob;

/// What an action is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// An account or the node: no resource but `*`.
    Account,
    Bucket,
    Object,
}

/// An action: a row of the table below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Action(u8);

/// Actions of S3 by scope, then those of the node's own administration.
const ACTIONS: &[(Scope, &[&str])] = &[
    (
        Scope::Account,
        &["s3:GetAccountPublicAccessBlock", "s3:ListAllMyBuckets", "s3:PutAccountPublicAccessBlock"],
    ),
    (
        Scope::Bucket,
        &[
            "s3:CreateBucket",
            "s3:CreateBucketMetadataTableConfiguration",
            "s3:DeleteBucket",
            "s3:DeleteBucketMetadataTableConfiguration",
            "s3:DeleteBucketPolicy",
            "s3:DeleteBucketWebsite",
            "s3:GetAccelerateConfiguration",
            "s3:GetAnalyticsConfiguration",
            "s3:GetBucketAbac",
            "s3:GetBucketAcl",
            "s3:GetBucketCORS",
            "s3:GetBucketLocation",
            "s3:GetBucketLogging",
            "s3:GetBucketMetadataTableConfiguration",
            "s3:GetBucketNotification",
            "s3:GetBucketObjectLockConfiguration",
            "s3:GetBucketOwnershipControls",
            "s3:GetBucketPolicy",
            "s3:GetBucketPolicyStatus",
            "s3:GetBucketPublicAccessBlock",
            "s3:GetBucketRequestPayment",
            "s3:GetBucketTagging",
            "s3:GetBucketVersioning",
            "s3:GetBucketWebsite",
            "s3:GetEncryptionConfiguration",
            "s3:GetIntelligentTieringConfiguration",
            "s3:GetInventoryConfiguration",
            "s3:GetLifecycleConfiguration",
            "s3:GetMetricsConfiguration",
            "s3:GetReplicationConfiguration",
            "s3:ListBucket",
            "s3:ListBucketMultipartUploads",
            "s3:ListBucketVersions",
            "s3:PutAccelerateConfiguration",
            "s3:PutAnalyticsConfiguration",
            "s3:PutBucketAbac",
            "s3:PutBucketAcl",
            "s3:PutBucketCORS",
            "s3:PutBucketLogging",
            "s3:PutBucketNotification",
            "s3:PutBucketObjectLockConfiguration",
            "s3:PutBucketOwnershipControls",
            "s3:PutBucketPolicy",
            "s3:PutBucketPublicAccessBlock",
            "s3:PutBucketRequestPayment",
            "s3:PutBucketTagging",
            "s3:PutBucketVersioning",
            "s3:PutBucketWebsite",
            "s3:PutEncryptionConfiguration",
            "s3:PutIntelligentTieringConfiguration",
            "s3:PutInventoryConfiguration",
            "s3:PutLifecycleConfiguration",
            "s3:PutMetricsConfiguration",
            "s3:PutReplicationConfiguration",
            "s3:UpdateBucketMetadataAnnotationTableConfiguration",
            "s3:UpdateBucketMetadataInventoryTableConfiguration",
            "s3:UpdateBucketMetadataJournalTableConfiguration",
            "s3express:CreateSession",
        ],
    ),
    (
        Scope::Object,
        &[
            "s3:AbortMultipartUpload",
            "s3:BypassGovernanceRetention",
            "s3:DeleteObject",
            "s3:DeleteObjectAnnotation",
            "s3:DeleteObjectTagging",
            "s3:DeleteObjectVersion",
            "s3:DeleteObjectVersionTagging",
            "s3:GetObject",
            "s3:GetObjectAcl",
            "s3:GetObjectAnnotation",
            "s3:GetObjectAttributes",
            "s3:GetObjectLegalHold",
            "s3:GetObjectRetention",
            "s3:GetObjectTagging",
            "s3:GetObjectTorrent",
            "s3:GetObjectVersion",
            "s3:GetObjectVersionAcl",
            "s3:GetObjectVersionAttributes",
            "s3:GetObjectVersionForReplication",
            "s3:GetObjectVersionTagging",
            "s3:GetObjectVersionTorrent",
            "s3:InitiateReplication",
            "s3:ListMultipartUploadParts",
            "s3:ListObjectAnnotations",
            "s3:ObjectOwnerOverrideToBucketOwner",
            "s3:PutObject",
            "s3:PutObjectAcl",
            "s3:PutObjectAnnotation",
            "s3:PutObjectLegalHold",
            "s3:PutObjectRetention",
            "s3:PutObjectTagging",
            "s3:PutObjectVersionAcl",
            "s3:PutObjectVersionTagging",
            "s3:RenameObject",
            "s3:ReplicateDelete",
            "s3:ReplicateObject",
            "s3:ReplicateTags",
            "s3:RestoreObject",
            "s3:UpdateObjectEncryption",
        ],
    ),
    (
        Scope::Account,
        &[
            "ringcask:AddUserToGroup",
            "ringcask:AttachGroupPolicy",
            "ringcask:AttachUserPolicy",
            "ringcask:CreateAccessKey",
            "ringcask:CreateAccount",
            "ringcask:CreateGroup",
            "ringcask:CreateKmsKey",
            "ringcask:CreatePolicy",
            "ringcask:CreateUser",
            "ringcask:DeleteAccessKey",
            "ringcask:DeleteAccount",
            "ringcask:DeleteGroup",
            "ringcask:DeleteKmsKey",
            "ringcask:DeletePolicy",
            "ringcask:DeleteUser",
            "ringcask:DetachGroupPolicy",
            "ringcask:DetachUserPolicy",
            "ringcask:Drain",
            "ringcask:GetAccount",
            "ringcask:GetBucketQuota",
            "ringcask:GetConfiguration",
            "ringcask:GetGroup",
            "ringcask:GetHealth",
            "ringcask:GetKmsKey",
            "ringcask:GetLogLevel",
            "ringcask:GetPolicy",
            "ringcask:GetUser",
            "ringcask:ListAccessKeys",
            "ringcask:ListAccounts",
            "ringcask:ListBuckets",
            "ringcask:ListGroups",
            "ringcask:ListKmsKeys",
            "ringcask:ListPolicies",
            "ringcask:ListUsers",
            "ringcask:RemoveUserFromGroup",
            "ringcask:SetBucketQuota",
            "ringcask:UpdateAccessKey",
            "ringcask:UpdateKmsKey",
            "ringcask:UpdateLogLevel",
            "ringcask:WriteCheckpoint",
        ],
    ),
];

const COUNT: usize = {
    let mut count = 0;
    let mut group = 0;
    while group < ACTIONS.len() {
        count += ACTIONS[group].1.len();
        group += 1;
    }
    count
};

const WORDS: usize = COUNT.div_ceil(64);

/// The rows of all groups, one after the other.
const ROWS: [(Scope, &str); COUNT] = {
    let mut rows = [(Scope::Account, ""); COUNT];
    let (mut group, mut at) = (0, 0);
    while group < ACTIONS.len() {
        let (scope, names) = ACTIONS[group];
        let mut index = 0;
        while index < names.len() {
            rows[at] = (scope, names[index]);
            at += 1;
            index += 1;
        }
        group += 1;
    }
    rows
};

const _: () = assert!(COUNT <= u8::MAX as usize);

impl Action {
    /// The action of that name, exactly as AWS writes it.
    ///
    /// # Panics
    /// If there is none: meant for constants, where the compiler finds that out.
    pub const fn named(name: &str) -> Self {
        let mut index = 0;
        while index < COUNT {
            if is_same(ROWS[index].1.as_bytes(), name.as_bytes()) {
                return Self(index as u8);
            }
            index += 1;
        }
        panic!("no such action");
    }

    /// All actions.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..COUNT as u8).map(Self)
    }

    /// As AWS writes it: `s3:GetObject`.
    pub fn name(self) -> &'static str {
        ROWS[usize::from(self.0)].1
    }

    pub fn scope(self) -> Scope {
        ROWS[usize::from(self.0)].0
    }
}

/// Equality of bytes, in constants too.
const fn is_same(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let mut index = 0;
    while index < left.len() {
        if left[index] != right[index] {
            return false;
        }
        index += 1;
    }
    true
}

/// A set of actions: what a statement's patterns come down to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ActionSet([u64; WORDS]);

impl ActionSet {
    /// The actions whose names match `pattern`, in any case; `*` and `?` are wildcards.
    pub fn matching(pattern: &str) -> Self {
        let pattern = glob::Glob::new(&pattern.to_ascii_lowercase());
        let mut set = Self::default();
        for action in Action::all() {
            if pattern.matches(&action.name().to_ascii_lowercase()) {
                set.insert(action);
            }
        }
        set
    }

    pub fn insert(&mut self, action: Action) {
        self.0[usize::from(action.0) / 64] |= 1 << (action.0 % 64);
    }

    pub fn contains(&self, action: Action) -> bool {
        self.0[usize::from(action.0) / 64] & 1 << (action.0 % 64) != 0
    }

    pub fn extend(&mut self, other: Self) {
        for (word, other) in self.0.iter_mut().zip(other.0) {
            *word |= other;
        }
    }

    /// The actions that are not in it.
    pub fn complement(self) -> Self {
        let mut set = Self::default();
        Action::all().filter(|action| !self.contains(*action)).for_each(|action| set.insert(action));
        set
    }

    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    pub fn iter(&self) -> impl Iterator<Item = Action> {
        Action::all().filter(|action| self.contains(*action))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_action_stands_once_and_is_found_by_its_name() {
        for (index, action) in Action::all().enumerate() {
            assert_eq!(Action::named(action.name()), action);
            assert_eq!(usize::from(action.0), index);
        }
    }

    #[test]
    fn patterns_stand_for_the_actions_they_match_in_any_case() {
        let names =
            |pattern: &str| -> Vec<_> { ActionSet::matching(pattern).iter().map(Action::name).collect() };
        assert_eq!(names("S3:getobject"), ["s3:GetObject"]);
        assert_eq!(names("s3:GetObject?cl"), ["s3:GetObjectAcl"]);
        assert_eq!(
            names("s3:*Retention"),
            ["s3:BypassGovernanceRetention", "s3:GetObjectRetention", "s3:PutObjectRetention"]
        );
        assert_eq!(names("*").len(), COUNT);
        assert!(names("s3:GetObjects").is_empty());
        assert!(names("iam:*").is_empty());
    }
}
