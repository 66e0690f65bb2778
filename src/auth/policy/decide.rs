//! The one decision: identity policies, the bucket's policy and ACLs together.
//!
//! Source: AWS, "How Amazon S3 authorizes a request" and "Policy evaluation logic". In short:
//!
//! - An explicit denial, wherever it stands, beats everything, but for the owner's root and the bucket's
//!   policy itself: who locked himself out can still take the policy away.
//! - The root of the account that owns a bucket may do everything with it.
//! - A user of that account needs its own policies, the bucket's policy or a grant to a public group.
//! - Other accounts need the bucket's policy or a grant, and their users their own policies as well.
//! - An object that another account owns is only what its own ACL makes of it; but the bucket's owner may
//!   delete it, and may deny it to anyone.

use crate::auth::acl::{Acl, Permission};
use crate::auth::policy::Policy;
use crate::auth::policy::action::{Action, Scope};
use crate::auth::policy::{Attempt, Undecided, Verdict};
use crate::auth::principal::Principal;

/// What a bucket says about who may do what.
#[derive(Clone, Copy, Debug)]
pub struct Guard<'a> {
    /// Account id of the bucket's owner.
    pub owner: &'a str,
    pub policy: Option<&'a Policy>,
    /// `None` if ACLs are disabled (`BucketOwnerEnforced`).
    pub acl: Option<&'a Acl>,
    /// Public grants count for nothing.
    pub ignore_public_acls: bool,
    /// A public policy lets in only the owner's account.
    pub restrict_public_buckets: bool,
}

/// What is known of the object that an attempt is about.
#[derive(Clone, Copy, Debug)]
pub enum ObjectAcl<'a> {
    /// Not looked up.
    Unknown,
    /// There is none (or none yet), or it is the bucket owner's and has no ACL of its own.
    None,
    Some(&'a Acl),
}

const POLICY_ACTIONS: [Action; 3] = [
    Action::named("s3:GetBucketPolicy"),
    Action::named("s3:PutBucketPolicy"),
    Action::named("s3:DeleteBucketPolicy"),
];

/// Whether an attempt that is not about an existing bucket is allowed: only identity policies count, and
/// nobody without a signature gets in.
pub fn is_allowed_without_bucket(attempt: &Attempt<'_>) -> Result<bool, Undecided> {
    Ok(match attempt.principal {
        None => false,
        Some(principal) => identity(principal, attempt)? == Verdict::Allowed,
    })
}

/// Whether an attempt on a bucket, or on an object in it, is allowed.
pub fn is_allowed(
    attempt: &Attempt<'_>,
    guard: &Guard<'_>,
    object: ObjectAcl<'_>,
) -> Result<bool, Undecided> {
    let principal = attempt.principal;
    let is_owner = principal.is_some_and(|principal| principal.account_id == guard.owner);
    let is_root = principal.is_some_and(Principal::is_root);
    if is_owner && is_root && POLICY_ACTIONS.contains(&attempt.action) {
        return Ok(true);
    }
    let identity = match principal {
        None => Verdict::Silent,
        Some(principal) => identity(principal, attempt)?,
    };
    let mut resource = match guard.policy {
        None => Verdict::Silent,
        Some(policy) => policy.judge(attempt)?,
    };
    if identity == Verdict::Denied || resource == Verdict::Denied {
        return Ok(false);
    }
    if !is_owner && guard.restrict_public_buckets && guard.policy.is_some_and(Policy::is_public) {
        resource = Verdict::Silent;
    }
    // Of users of other accounts their own account wants to know, too.
    let is_sent = principal.is_none() || identity == Verdict::Allowed;
    let grants = Grants { attempt, guard };
    if let Some(acl) = grants.foreign_acl(object)? {
        return Ok(is_sent && grants.allow_object(acl));
    }
    if is_owner {
        return Ok(identity == Verdict::Allowed
            || resource == Verdict::Allowed
            || grants.allow(object, Grants::to_public)?);
    }
    let reach = if principal.is_none() { Verdict::Allowed } else { Verdict::AllowedToAccount };
    Ok(is_sent && (resource >= reach || grants.allow(object, Grants::to_sender)?))
}

/// What the policies of the principal say. The root's own account allows it everything.
fn identity(principal: &Principal, attempt: &Attempt<'_>) -> Result<Verdict, Undecided> {
    let mut verdict = if principal.is_root() { Verdict::Allowed } else { Verdict::Silent };
    for policy in &principal.policies {
        verdict = verdict.max(policy.judge(attempt)?);
    }
    Ok(verdict)
}

/// What the ACLs of bucket and object grant.
struct Grants<'a> {
    attempt: &'a Attempt<'a>,
    guard: &'a Guard<'a>,
}

impl<'a> Grants<'a> {
    /// The ACL of an object that another account owns, if the attempt is about what belongs to the object's
    /// owner.
    fn foreign_acl(&self, object: ObjectAcl<'a>) -> Result<Option<&'a Acl>, Undecided> {
        let Some(bucket_acl) = self.guard.acl else { return Ok(None) };
        if !is_of_object_owner(self.attempt.action) {
            return Ok(None);
        }
        match object {
            ObjectAcl::Unknown => Err(Undecided),
            ObjectAcl::None => Ok(None),
            ObjectAcl::Some(acl) => Ok((acl.owner != bucket_acl.owner).then_some(acl)),
        }
    }

    fn allow_object(&self, acl: &Acl) -> bool {
        let Some((_, permission)) = permission_for(self.attempt.action) else {
            // Tags and the like have no permission of their own: they are the owner's.
            return self.is_account(&acl.owner);
        };
        let is_acp = matches!(permission, Permission::ReadAcp | Permission::WriteAcp);
        is_acp && self.is_account(&acl.owner) || self.to_sender(acl, permission)
    }

    fn is_account(&self, canonical_id: &str) -> bool {
        self.attempt.principal.is_some_and(|principal| principal.canonical_id == canonical_id)
    }

    /// Whether the ACL that is asked for the action grants it in the sense of `grants`.
    fn allow(
        &self,
        object: ObjectAcl<'_>,
        grants: impl Fn(&Self, &Acl, Permission) -> bool,
    ) -> Result<bool, Undecided> {
        let Some(bucket_acl) = self.guard.acl else { return Ok(false) };
        match permission_for(self.attempt.action) {
            None => Ok(false),
            Some((Scope::Object, permission)) => match object {
                ObjectAcl::Unknown => Err(Undecided),
                ObjectAcl::None => Ok(false),
                ObjectAcl::Some(acl) => Ok(grants(self, acl, permission)),
            },
            Some((_, permission)) => Ok(grants(self, bucket_acl, permission)),
        }
    }

    /// Grants to the sender's account or to a group that it is in.
    fn to_sender(&self, acl: &Acl, permission: Permission) -> bool {
        match self.guard.ignore_public_acls {
            true => acl.allows_without_public(self.attempt.principal, permission),
            false => acl.allows(self.attempt.principal, permission),
        }
    }

    /// Grants to groups: one to an account is nothing to its users, whom the account's own policies rule.
    fn to_public(&self, acl: &Acl, permission: Permission) -> bool {
        !self.guard.ignore_public_acls && acl.allows_public(permission)
    }
}

/// Whether an action is about what an object's owner rules, should that be another account than the bucket's.
pub fn is_of_object_owner(action: Action) -> bool {
    const ACTIONS: [Action; 18] = [
        Action::named("s3:DeleteObjectTagging"),
        Action::named("s3:DeleteObjectVersionTagging"),
        Action::named("s3:GetObject"),
        Action::named("s3:GetObjectAcl"),
        Action::named("s3:GetObjectAttributes"),
        Action::named("s3:GetObjectTagging"),
        Action::named("s3:GetObjectTorrent"),
        Action::named("s3:GetObjectVersion"),
        Action::named("s3:GetObjectVersionAcl"),
        Action::named("s3:GetObjectVersionAttributes"),
        Action::named("s3:GetObjectVersionTagging"),
        Action::named("s3:GetObjectVersionTorrent"),
        Action::named("s3:PutObjectAcl"),
        Action::named("s3:PutObjectTagging"),
        Action::named("s3:PutObjectVersionAcl"),
        Action::named("s3:PutObjectVersionTagging"),
        Action::named("s3:RestoreObject"),
        Action::named("s3:UpdateObjectEncryption"),
    ];
    ACTIONS.contains(&action)
}

/// The permission that stands for an action, and whether the bucket's ACL has it or the object's.
///
/// Source: AWS, "Mapping of ACL permissions and access policy permissions".
fn permission_for(action: Action) -> Option<(Scope, Permission)> {
    const MAPPING: [(&str, Scope, Permission); 17] = [
        ("s3:ListBucket", Scope::Bucket, Permission::Read),
        ("s3:ListBucketVersions", Scope::Bucket, Permission::Read),
        ("s3:ListBucketMultipartUploads", Scope::Bucket, Permission::Read),
        ("s3:PutObject", Scope::Bucket, Permission::Write),
        ("s3:DeleteObject", Scope::Bucket, Permission::Write),
        ("s3:AbortMultipartUpload", Scope::Bucket, Permission::Write),
        ("s3:ListMultipartUploadParts", Scope::Bucket, Permission::Write),
        ("s3:GetBucketAcl", Scope::Bucket, Permission::ReadAcp),
        ("s3:PutBucketAcl", Scope::Bucket, Permission::WriteAcp),
        ("s3:GetObject", Scope::Object, Permission::Read),
        ("s3:GetObjectVersion", Scope::Object, Permission::Read),
        ("s3:GetObjectTorrent", Scope::Object, Permission::Read),
        ("s3:GetObjectVersionTorrent", Scope::Object, Permission::Read),
        ("s3:GetObjectAcl", Scope::Object, Permission::ReadAcp),
        ("s3:GetObjectVersionAcl", Scope::Object, Permission::ReadAcp),
        ("s3:PutObjectAcl", Scope::Object, Permission::WriteAcp),
        ("s3:PutObjectVersionAcl", Scope::Object, Permission::WriteAcp),
    ];
    MAPPING
        .iter()
        .find(|(name, _, _)| *name == action.name())
        .map(|(_, scope, permission)| (*scope, *permission))
}
