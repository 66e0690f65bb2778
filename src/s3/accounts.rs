//! The accounts that documents and headers may name, while the node's own is the only one.

use crate::auth::principal::Accounts;
use crate::s3::service::Settings;

/// The account of whom the node belongs to.
#[derive(Clone, Copy, Debug)]
pub struct OwnAccount<'a>(pub &'a Settings);

impl OwnAccount<'_> {
    /// The display name of an account, by its canonical id.
    pub fn display_name(self, canonical_id: &str) -> Option<String> {
        (canonical_id == self.0.owner_id).then(|| self.0.owner_name.clone())
    }
}

impl Accounts for OwnAccount<'_> {
    fn canonical_id(&self, account_id: &str) -> Option<String> {
        (account_id == self.0.account_id).then(|| self.0.owner_id.clone())
    }

    fn account_id(&self, canonical_id: &str) -> Option<String> {
        (canonical_id == self.0.owner_id).then(|| self.0.account_id.clone())
    }

    fn canonical_id_of_email(&self, _email: &str) -> Option<String> {
        None
    }

    fn has_user(&self, _arn: &str) -> bool {
        false
    }
}
