//! What a bucket's policy must be beyond well-formed: about that bucket, about actions of its resources, and
//! about principals that exist.
//!
//! Source: AWS, "Bucket policies for Amazon S3"; the words of the errors are AWS's.

use crate::auth::policy::action::{Action, ActionSet, Scope};
use crate::auth::policy::template::Template;
use crate::auth::policy::{Named, Policy, PolicyError, Statement};
use crate::auth::principal::Accounts;

const ARN_PREFIX: &str = "arn:aws:s3:::";

/// Whether `bucket` may have the policy.
pub fn check(policy: &Policy, bucket: &str, accounts: &dyn Accounts) -> Result<(), PolicyError> {
    policy.statements.iter().try_for_each(|statement| check_statement(statement, bucket, accounts))
}

fn check_statement(statement: &Statement, bucket: &str, accounts: &dyn Accounts) -> Result<(), PolicyError> {
    let named = statement.principals.iter().flat_map(|principals| &principals.named);
    for named in named {
        let exists = match named {
            Named::Anyone => true,
            Named::Account(id) => accounts.canonical_id(id).is_some(),
            Named::User(arn) => accounts.has_user(arn),
            Named::Canonical(id) => accounts.account_id(id).is_some(),
        };
        if !exists {
            return Err(PolicyError::new("Invalid principal in policy"));
        }
    }
    let mut scopes = Vec::new();
    for pattern in &statement.resources.patterns {
        let reached = scopes_reached(pattern, bucket);
        if reached.is_empty() {
            return Err(PolicyError::new("Policy has invalid resource"));
        }
        scopes.extend(reached);
    }
    // `NotResource` is about all that it does not name.
    if statement.resources.is_not {
        scopes = vec![Scope::Bucket, Scope::Object];
    }
    check_actions(statement, &scopes)
}

/// The kinds of this bucket's resources that a pattern can match; none if it is about other buckets.
fn scopes_reached(pattern: &Template, bucket: &str) -> Vec<Scope> {
    let Some(resource) = pattern.after(ARN_PREFIX) else { return Vec::new() };
    let mut scopes = Vec::new();
    if resource.may_match(bucket) {
        scopes.push(Scope::Bucket);
    }
    if resource.may_match_under(&format!("{bucket}/")) {
        scopes.push(Scope::Object);
    }
    scopes
}

/// Every action, and every condition of it, must be about something that the resources name.
fn check_actions(statement: &Statement, scopes: &[Scope]) -> Result<(), PolicyError> {
    let is_reached = |action: Action| scopes.contains(&action.scope());
    for pattern in &statement.action_patterns {
        if !ActionSet::matching(pattern).iter().any(is_reached) {
            return Err(PolicyError::new("Action does not apply to any resource(s) in statement"));
        }
    }
    for condition in &statement.conditions {
        let known = condition.key.actions();
        let actions = statement.actions;
        if !actions.iter().any(|action| is_reached(action) && known.contains(action)) {
            return Err(PolicyError::new(
                "Conditions do not apply to combination of actions and resources in statement",
            ));
        }
    }
    Ok(())
}
