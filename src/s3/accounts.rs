//! The accounts that documents and headers may name, and how listings show them.

use std::rc::Rc;

use crate::auth::directory::Directory;
use crate::auth::principal::Accounts;
use crate::s3::xml::XmlWriter;

/// The accounts of the node at one moment.
pub struct KnownAccounts(pub Rc<Directory>);

impl KnownAccounts {
    /// The display name of an account, by its canonical id.
    pub fn display_name(&self, canonical_id: &str) -> Option<String> {
        self.0.account_by_canonical_id(canonical_id).map(|account| account.name.clone())
    }

    /// Who an account is in listings; the id stays empty for one that is gone.
    pub fn owner(&self, account_id: &str) -> Owner {
        let account = self.0.account(account_id);
        let (id, name) = account.map_or(("", ""), |account| (&account.canonical_id, &account.name));
        Owner { id: id.to_owned(), name: name.to_owned() }
    }
}

impl Accounts for KnownAccounts {
    fn canonical_id(&self, account_id: &str) -> Option<String> {
        self.0.canonical_id(account_id)
    }

    fn account_id(&self, canonical_id: &str) -> Option<String> {
        self.0.account_id(canonical_id)
    }

    fn canonical_id_of_email(&self, email: &str) -> Option<String> {
        self.0.canonical_id_of_email(email)
    }

    fn has_user(&self, arn: &str) -> bool {
        self.0.has_user(arn)
    }
}

/// An account in a listing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Owner {
    /// Canonical id.
    pub id: String,
    /// Display name.
    pub name: String,
}

impl Owner {
    /// Writes it as `Owner` or `Initiator`.
    pub fn write(&self, xml: &mut XmlWriter, element: &'static str) {
        xml.open(element);
        xml.text("ID", &self.id);
        xml.text("DisplayName", &self.name);
        xml.close();
    }
}
