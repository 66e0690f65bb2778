//! Policies: what identity policies and bucket policies say, and what they mean for one request.
//!
//! [`Policy::parse`] reads a document, [`bucket`] checks that a bucket may have it, [`Policy::judge`] says
//! what it means for an [`Attempt`], and [`decide`] joins the verdicts of all policies and ACLs as AWS does.
//! A document that is accepted is evaluated to the letter: what can't be evaluated here is refused by the
//! parser and never skipped.
//!
//! Source: AWS, "IAM JSON policy elements reference" and "Policy evaluation logic".

pub mod action;
pub mod bucket;
mod condition;
pub mod decide;
mod glob;
mod json;
pub mod key;
mod parse;
mod public;
mod template;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::fmt;

use crate::auth::principal::Principal;
use action::{Action, ActionSet, Scope};
use condition::Condition;
use key::{ConditionKey, KeyName};
use template::Template;

/// A policy that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    version: Version,
    statements: Vec<Statement>,
    is_public: bool,
}

/// Version of the policy language.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Version {
    /// `2008-10-17`, also when a document has none: no policy variables.
    #[default]
    V2008,
    /// `2012-10-17`.
    V2012,
}

/// What a policy is attached to, which decides whether it names principals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// To users and groups: the principal is whom it is attached to.
    Identity,
    /// To a bucket: each statement names principals.
    Bucket,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Statement {
    effect: Effect,
    /// `None` in identity policies.
    principals: Option<Principals>,
    /// The actions that it is about: `NotAction` is turned round already.
    actions: ActionSet,
    /// Patterns of actions as written, for the checks of buckets; empty with `NotAction`.
    action_patterns: Vec<String>,
    resources: Resources,
    conditions: Vec<Condition>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Allow,
    Deny,
}

/// `Principal` or `NotPrincipal`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Principals {
    is_not: bool,
    named: Vec<Named>,
}

/// One principal that a policy names.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Named {
    /// `*`
    Anyone,
    /// An account: its id, or the ARN of its root.
    Account(String),
    /// The ARN of a user.
    User(String),
    /// An account by its canonical id.
    Canonical(String),
}

/// `Resource` or `NotResource`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Resources {
    is_not: bool,
    patterns: Vec<Template>,
}

/// Why a document is no policy, in AWS's words where they are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    pub message: String,
    /// Whether AWS would take the document: it is right, and about something that is not here.
    pub is_unsupported: bool,
}

impl PolicyError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_unsupported: false }
    }

    fn unsupported(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_unsupported: true }
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

/// What one policy says about an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// No statement is about it.
    Silent,
    /// Allowed to the account, which must still allow it to its user.
    AllowedToAccount,
    /// Allowed to this very principal, or to anyone.
    Allowed,
    /// Denied, whatever else allows it.
    Denied,
}

/// A verdict needs something of the object that has not been looked up yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undecided;

/// What somebody wants to do.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    /// `None`: the request is not signed.
    pub principal: Option<&'a Principal>,
    pub action: Action,
    /// Empty if the action is not about a bucket.
    pub bucket: &'a str,
    /// Empty if the action is not about an object.
    pub key: &'a str,
    pub context: &'a dyn Context,
}

/// What a request says about condition keys.
pub trait Context {
    /// The value of a key in this request. Keys about the principal are not asked.
    fn value(&self, key: &ConditionKey) -> Result<Value<'_>, Undecided>;
}

/// Value of a condition key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    Absent,
    One(Cow<'a, str>),
    /// The key is one that may have several values.
    Many(Vec<Cow<'a, str>>),
}

impl Value<'_> {
    /// One value, or none.
    pub fn optional(value: Option<&str>) -> Value<'_> {
        value.map_or(Value::Absent, |value| Value::One(Cow::Borrowed(value)))
    }
}

impl Attempt<'_> {
    /// The value of a condition key: the principal's here, the others from the request.
    fn value(&self, key: &ConditionKey) -> Result<Value<'_>, Undecided> {
        let principal = self.principal;
        Ok(match key.name {
            KeyName::PrincipalArn => Value::optional(principal.map(|principal| principal.arn.as_str())),
            KeyName::PrincipalAccount => {
                Value::optional(principal.map(|principal| principal.account_id.as_str()))
            }
            KeyName::PrincipalIsAwsService | KeyName::ViaAwsService => Value::optional(Some("false")),
            KeyName::PrincipalType => Value::optional(Some(match principal {
                None => "Anonymous",
                Some(principal) if principal.is_root() => "Account",
                Some(_) => "User",
            })),
            KeyName::UserId => {
                Value::optional(Some(principal.map_or("anonymous", |principal| principal.user_id.as_str())))
            }
            KeyName::UserName => {
                Value::optional(principal.and_then(|principal| principal.user_name.as_deref()))
            }
            _ => self.context.value(key)?,
        })
    }

    /// ARN of what it is about; `*` for the account itself.
    fn resource(&self) -> String {
        match (self.action.scope(), self.key) {
            (Scope::Account, _) => "*".to_owned(),
            (Scope::Bucket, _) | (_, "") => ["arn:aws:s3:::", self.bucket].concat(),
            (Scope::Object, key) => ["arn:aws:s3:::", self.bucket, "/", key].concat(),
        }
    }
}

impl Policy {
    /// What it says about an attempt: an explicit denial beats every permission.
    pub fn judge(&self, attempt: &Attempt<'_>) -> Result<Verdict, Undecided> {
        let mut verdict = Verdict::Silent;
        let mut undecided = Ok(());
        for statement in &self.statements {
            match statement.judge(attempt) {
                Ok(Verdict::Denied) => return Ok(Verdict::Denied),
                Ok(said) => verdict = verdict.max(said),
                Err(missing) => undecided = Err(missing),
            }
        }
        undecided.map(|()| verdict)
    }

    /// Whether it grants something to the public, as AWS means it for BlockPublicPolicy, RestrictPublicBuckets
    /// and GetBucketPolicyStatus.
    pub fn is_public(&self) -> bool {
        self.is_public
    }
}

impl Statement {
    fn judge(&self, attempt: &Attempt<'_>) -> Result<Verdict, Undecided> {
        if !self.actions.contains(attempt.action) {
            return Ok(Verdict::Silent);
        }
        let allowed = match &self.principals {
            None => Verdict::Allowed,
            Some(principals) => match principals.reach(attempt.principal) {
                Some(allowed) => allowed,
                None => return Ok(Verdict::Silent),
            },
        };
        if !self.resources.cover(attempt)? {
            return Ok(Verdict::Silent);
        }
        let mut undecided = Ok(());
        for condition in &self.conditions {
            match condition.holds(attempt) {
                Ok(true) => {}
                Ok(false) => return Ok(Verdict::Silent),
                Err(missing) => undecided = Err(missing),
            }
        }
        undecided?;
        Ok(match self.effect {
            Effect::Allow => allowed,
            Effect::Deny => Verdict::Denied,
        })
    }
}

impl Principals {
    /// Whether the statement is about the principal, and whether it names it or only its account.
    ///
    /// A user is itself and its account. `NotPrincipal`, which only denials may have, leaves out whom it
    /// names in both ways: that is why AWS says to list the account beside the user.
    fn reach(&self, principal: Option<&Principal>) -> Option<Verdict> {
        let itself = self.named.iter().any(|named| named.is_itself(principal));
        let account = self.named.iter().any(|named| named.is_account(principal));
        if self.is_not {
            let is_left_out = account && (itself || principal.is_some_and(Principal::is_root));
            return (!is_left_out).then_some(Verdict::Allowed);
        }
        match (itself, account) {
            (true, _) => Some(Verdict::Allowed),
            (false, true) if principal.is_some_and(Principal::is_root) => Some(Verdict::Allowed),
            (false, true) => Some(Verdict::AllowedToAccount),
            (false, false) => None,
        }
    }
}

impl Named {
    fn is_itself(&self, principal: Option<&Principal>) -> bool {
        match self {
            Self::Anyone => true,
            Self::User(arn) => principal.is_some_and(|principal| principal.arn == *arn),
            Self::Account(_) | Self::Canonical(_) => false,
        }
    }

    fn is_account(&self, principal: Option<&Principal>) -> bool {
        match self {
            Self::Anyone => true,
            Self::Account(id) => principal.is_some_and(|principal| principal.account_id == *id),
            Self::Canonical(id) => principal.is_some_and(|principal| principal.canonical_id == *id),
            Self::User(_) => false,
        }
    }
}

impl Resources {
    fn cover(&self, attempt: &Attempt<'_>) -> Result<bool, Undecided> {
        let resource = attempt.resource();
        for pattern in &self.patterns {
            if pattern.glob(attempt)?.is_some_and(|glob| glob.matches(&resource)) {
                return Ok(!self.is_not);
            }
        }
        Ok(self.is_not)
    }
}
