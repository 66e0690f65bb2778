//! Who asks in tests: the operator, another account, and users of both.

use std::rc::Rc;

use crate::auth::directory::{AccessKey, Account, Directory, Identities, Operator, User};
use crate::auth::sign::Credentials;
use crate::base::secret::Secret;
use crate::s3::service::Settings;

/// Id of the account that is not the operator's.
pub const OTHER: &str = "444455556666";

/// Canonical id of the other account.
pub const OTHER_ID: &str = "4444444444444444444444444444444444444444444444444444444444444444";

/// Users: account, name and attached policies. A name is also the id of the user's access key.
const USERS: [(&str, &str, &[&str]); 4] = [
    ("000000000000", "plain", &[]),
    ("000000000000", "reader", &["AmazonS3ReadOnlyAccess"]),
    (OTHER, "guest", &[]),
    (OTHER, "visitor", &["AmazonS3FullAccess"]),
];

/// Credentials by access key id: `root`, `other` (the root of the other account), or the name of a user.
pub fn credentials(id: &str) -> Credentials<'_> {
    Credentials { id, secret: "secret", region: "us-east-1" }
}

/// The directory of them all.
pub struct People(Rc<Directory>);

impl People {
    pub fn new(settings: &Settings) -> Rc<Self> {
        let operator = Operator {
            account_id: settings.account_id.clone(),
            canonical_id: settings.owner_id.clone(),
            name: settings.owner_name.clone(),
            access_key_id: "root".to_owned(),
            secret: Secret::new("secret"),
        };
        let seal = |_: &[u8], secret: &[u8]| secret.to_vec();
        let open = |_: &[u8], sealed: &[u8]| String::from_utf8(sealed.to_vec()).ok().map(Secret::new);
        let account = Account {
            id: OTHER.to_owned(),
            canonical_id: OTHER_ID.to_owned(),
            name: "other".to_owned(),
            email: "other@example.com".to_owned(),
            created: 0,
            keys: vec![key("other")],
        };
        let mut entries = vec![(Account::entry_name(OTHER), account.encode(&seal).into())];
        for (account_id, name, policies) in USERS {
            let user = User {
                account_id: account_id.to_owned(),
                name: name.to_owned(),
                id: format!("AIDA{name}"),
                created: 0,
                groups: Vec::new(),
                policies: policies.iter().map(|name| (*name).to_owned()).collect(),
                keys: vec![key(name)],
            };
            entries.push((User::entry_name(account_id, name), user.encode(&seal).into()));
        }
        let entries = entries.iter().map(|(name, value)| (name, value));
        let directory = Directory::build(None, &operator, entries, &open);
        Rc::new(Self(Rc::new(directory.expect("entries as they are written"))))
    }
}

impl Identities for People {
    fn directory(&self) -> Rc<Directory> {
        self.0.clone()
    }
}

fn key(id: &str) -> AccessKey {
    AccessKey { id: id.to_owned(), secret: Secret::new("secret"), is_active: true, created: 0, rotated: None }
}
