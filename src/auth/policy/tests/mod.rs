//! What policies mean: AWS's documented examples, what is refused, and a comparison with a model.

mod examples;
mod model;
mod refusals;

use std::borrow::Cow;
use std::rc::Rc;

use crate::auth::policy::action::Action;
use crate::auth::policy::decide::{Guard, ObjectAcl, is_allowed};
use crate::auth::policy::key::{ConditionKey, KeyName};
use crate::auth::policy::{Attempt, Context, Kind, Policy, Undecided, Value};
use crate::auth::principal::{Accounts, Principal};

const OWNER: &str = "111122223333";
const OTHER: &str = "444455556666";

/// A request's condition keys, by their text.
#[derive(Default)]
struct Facts(Vec<(&'static str, Vec<&'static str>)>);

impl Context for Facts {
    fn value(&self, key: &ConditionKey) -> Result<Value<'_>, Undecided> {
        let is_key = |text: &str| ConditionKey::parse(text).as_ref() == Some(key);
        Ok(match self.0.iter().find(|(text, _)| is_key(text)) {
            None => Value::Absent,
            Some((_, values)) if key.name == KeyName::RequestObjectTagKeys => {
                Value::Many(values.iter().map(|value| Cow::Borrowed(*value)).collect())
            }
            Some((_, values)) => Value::One(Cow::Borrowed(values[0])),
        })
    }
}

/// The two accounts, each with a user.
struct TwoAccounts;

impl Accounts for TwoAccounts {
    fn canonical_id(&self, account_id: &str) -> Option<String> {
        [OWNER, OTHER].contains(&account_id).then(|| canonical(account_id))
    }

    fn account_id(&self, canonical_id: &str) -> Option<String> {
        [OWNER, OTHER].into_iter().find(|id| canonical(id) == canonical_id).map(str::to_owned)
    }

    fn canonical_id_of_email(&self, _email: &str) -> Option<String> {
        None
    }

    fn has_user(&self, arn: &str) -> bool {
        [OWNER, OTHER].into_iter().any(|id| arn == format!("arn:aws:iam::{id}:user/Dave"))
    }
}

fn canonical(account_id: &str) -> String {
    format!("{account_id:0>64}")
}

fn root(account_id: &str) -> Principal {
    Principal::root(account_id, &canonical(account_id))
}

fn user(account_id: &str, name: &str, policies: &[&str]) -> Principal {
    Principal {
        account_id: account_id.to_owned(),
        canonical_id: canonical(account_id),
        arn: format!("arn:aws:iam::{account_id}:user/{name}"),
        user_name: Some(name.to_owned()),
        user_id: format!("AIDA{name}"),
        policies: policies.iter().map(|text| Rc::new(identity(text))).collect(),
    }
}

fn identity(text: &str) -> Policy {
    Policy::parse(text.as_bytes(), Kind::Identity).unwrap()
}

fn of_bucket(text: &str) -> Policy {
    Policy::parse(text.as_bytes(), Kind::Bucket).unwrap()
}

/// Whether a bucket `amzn-s3-demo-bucket` of [`OWNER`] without ACLs lets a principal do something.
fn allows(policy: &str, principal: Option<&Principal>, action: &str, key: &str, facts: &Facts) -> bool {
    let policy = of_bucket(policy);
    let attempt = Attempt {
        principal,
        action: Action::named(action),
        bucket: "amzn-s3-demo-bucket",
        key,
        context: facts,
    };
    let guard = Guard {
        owner: OWNER,
        policy: Some(&policy),
        acl: None,
        ignore_public_acls: false,
        restrict_public_buckets: false,
    };
    is_allowed(&attempt, &guard, ObjectAcl::None).unwrap()
}
