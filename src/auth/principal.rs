//! On whose behalf a signed request acts, and what the evaluators ask about accounts.

use std::rc::Rc;

use crate::auth::policy::Policy;

/// The root of an account or one of its users.
#[derive(Debug)]
pub struct Principal {
    /// Twelve digits.
    pub account_id: String,
    /// Canonical id of the account: 64 hex digits.
    pub canonical_id: String,
    /// `arn:aws:iam::ACCOUNT:root` or `arn:aws:iam::ACCOUNT:user/NAME`.
    pub arn: String,
    /// `None` for the root of the account.
    pub user_name: Option<String>,
    /// Value of `aws:userid`: the account id for the root, otherwise the user's unique id.
    pub user_id: String,
    /// Identity policies: attached to the user or to one of its groups. The root needs none.
    pub policies: Vec<Rc<Policy>>,
}

impl Principal {
    /// The root of an account.
    pub fn root(account_id: &str, canonical_id: &str) -> Self {
        Self {
            account_id: account_id.to_owned(),
            canonical_id: canonical_id.to_owned(),
            arn: format!("arn:aws:iam::{account_id}:root"),
            user_name: None,
            user_id: account_id.to_owned(),
            policies: Vec::new(),
        }
    }

    pub fn is_root(&self) -> bool {
        self.user_name.is_none()
    }
}

/// What documents that name accounts and users are checked against when they are stored.
pub trait Accounts {
    /// The canonical id of an account, by its twelve digits.
    fn canonical_id(&self, account_id: &str) -> Option<String>;

    /// The id of an account, by its canonical id.
    fn account_id(&self, canonical_id: &str) -> Option<String>;

    /// The canonical id of the account with this e-mail address.
    fn canonical_id_of_email(&self, email: &str) -> Option<String>;

    /// Whether a user has this ARN.
    fn has_user(&self, arn: &str) -> bool;
}
