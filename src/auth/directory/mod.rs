//! Who there is: accounts, their users, groups and managed policies, and all access keys.
//!
//! A [`Directory`] is what the node's configuration entries under `identity/` say, read and indexed once for
//! each change. It never changes itself: [`change`] says which entries a change writes, and whoever stores
//! them builds the next directory from the one before. Secrets are sealed in the entries; here they are
//! open, because signatures are checked with them.
//!
//! The first account is the operator's. Its root key comes from outside (the environment or a file) and is
//! no entry.

pub mod builtin;
pub mod change;
pub mod entry;
pub mod names;
#[cfg(test)]
mod tests;

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;

use crate::auth::Keys;
use crate::auth::policy::Policy;
use crate::auth::principal::{Accounts, Principal};
use crate::base::secret::Secret;
use crate::io::TimestampMs;

use entry::Entry;
pub use entry::PREFIX;

/// An account: it owns buckets and holds users. Its root may do everything with what it owns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Twelve digits.
    pub id: String,
    /// 64 hex digits: how ACLs and listings name the account.
    pub canonical_id: String,
    /// How listings show it.
    pub name: String,
    /// Empty if none was given.
    pub email: String,
    pub created: TimestampMs,
    /// Keys of the account's root. The operator's first one is not among them.
    pub keys: Vec<AccessKey>,
}

/// A user of an account: may do what its policies and those of its groups allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Id of its account.
    pub account_id: String,
    pub name: String,
    /// As AWS makes them, `AIDA` and 17 characters: never given to another user.
    pub id: String,
    pub created: TimestampMs,
    /// Names of groups, in order.
    pub groups: Vec<String>,
    /// Names of attached policies, in order.
    pub policies: Vec<String>,
    pub keys: Vec<AccessKey>,
}

/// A group of an account's users.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub account_id: String,
    pub name: String,
    pub created: TimestampMs,
    /// Names of attached policies, in order.
    pub policies: Vec<String>,
}

/// A policy that can be attached to users and groups of its account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ManagedPolicy {
    /// Empty for the built-in ones, which every account has.
    pub account_id: String,
    pub name: String,
    pub created: TimestampMs,
    pub updated: TimestampMs,
    /// The document as it was given.
    pub document: String,
    /// The document as it is understood.
    pub policy: Rc<Policy>,
}

/// A key to sign with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKey {
    pub id: String,
    pub secret: Secret,
    pub is_active: bool,
    pub created: TimestampMs,
    /// When it last got another secret.
    pub rotated: Option<TimestampMs>,
}

/// Whose an access key is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    pub account_id: String,
    /// `None`: the account's root.
    pub user: Option<String>,
}

impl Holder {
    pub fn root(account_id: &str) -> Self {
        Self { account_id: account_id.to_owned(), user: None }
    }

    pub fn user(account_id: &str, user: &str) -> Self {
        Self { account_id: account_id.to_owned(), user: Some(user.to_owned()) }
    }

    /// `arn:aws:iam::<account>:root` or `arn:aws:iam::<account>:user/<name>`.
    pub fn arn(&self) -> String {
        match &self.user {
            None => format!("arn:aws:iam::{}:root", self.account_id),
            Some(name) => format!("arn:aws:iam::{}:user/{name}", self.account_id),
        }
    }
}

/// The node's first account, as the node knows it without any entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operator {
    /// Twelve digits.
    pub account_id: String,
    pub canonical_id: String,
    pub name: String,
    pub access_key_id: String,
    pub secret: Secret,
}

/// Opens a sealed secret: context and sealed bytes in, secret out; `None` if they don't belong together.
pub type Open<'a> = dyn Fn(&[u8], &[u8]) -> Option<Secret> + 'a;

/// Why entries could not be read. It names the entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DirectoryError {
    /// A secret of the entry was sealed with another master key.
    Sealed(String),
    /// The entry is not one that this version writes.
    Damaged(String),
    /// The operator's access key id is also that of a stored key.
    OperatorKeyTaken(String),
}

impl fmt::Display for DirectoryError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sealed(name) => write!(
                out,
                "the access keys of '{name}' were sealed with another master key; start with the master key \
                 that the node had then"
            ),
            Self::Damaged(name) => write!(out, "the stored identity '{name}' cannot be read"),
            Self::OperatorKeyTaken(id) => write!(
                out,
                "the access key id of the root credentials, {id}, is that of a stored access key; take another"
            ),
        }
    }
}

/// Where a core finds the directory in force.
pub trait Identities {
    /// The directory in force: a change that was acknowledged is in it.
    fn directory(&self) -> Rc<Directory>;
}

/// All identities of a node at one moment.
pub struct Directory {
    operator_account: String,
    /// Id of the key that comes from outside.
    operator_key: String,
    accounts: BTreeMap<String, Rc<Account>>,
    /// By account and name.
    users: BTreeMap<(String, String), Rc<User>>,
    groups: BTreeMap<(String, String), Rc<Group>>,
    policies: BTreeMap<(String, String), Rc<ManagedPolicy>>,
    /// The policies that every account has, by name.
    builtin: Rc<BTreeMap<String, Rc<ManagedPolicy>>>,
    by_canonical_id: HashMap<String, String>,
    keys: HashMap<String, HeldKey>,
    /// What the entries were, so that the next directory reads only those that changed.
    read: BTreeMap<String, (Arc<[u8]>, Entry)>,
}

/// An access key and whose it is.
struct HeldKey {
    holder: Holder,
    key: AccessKey,
    /// Made when the key is first used.
    principal: OnceCell<Option<Rc<Principal>>>,
}

impl Directory {
    /// Reads all entries whose names begin with [`PREFIX`]; those that `previous` has read already are
    /// taken from it.
    pub fn build<'a>(
        previous: Option<&Self>,
        operator: &Operator,
        entries: impl IntoIterator<Item = (&'a String, &'a Arc<[u8]>)>,
        open: &Open<'_>,
    ) -> Result<Self, DirectoryError> {
        let mut directory = Self {
            operator_account: operator.account_id.clone(),
            operator_key: operator.access_key_id.clone(),
            accounts: BTreeMap::new(),
            users: BTreeMap::new(),
            groups: BTreeMap::new(),
            policies: BTreeMap::new(),
            builtin: previous.map_or_else(builtin::all, |previous| previous.builtin.clone()),
            by_canonical_id: HashMap::new(),
            keys: HashMap::new(),
            read: BTreeMap::new(),
        };
        directory.add_account(Rc::new(Account {
            id: operator.account_id.clone(),
            canonical_id: operator.canonical_id.clone(),
            name: operator.name.clone(),
            email: String::new(),
            created: 0,
            keys: Vec::new(),
        }));
        for (name, bytes) in entries.into_iter().filter(|(name, _)| name.starts_with(PREFIX)) {
            let known = previous.and_then(|previous| previous.read.get(name));
            let entry = match known.filter(|(read, _)| read == bytes) {
                Some((_, entry)) => entry.clone(),
                None => Entry::read(name, bytes, open)?,
            };
            directory.add(&entry);
            directory.read.insert(name.clone(), (bytes.clone(), entry));
        }
        let key = AccessKey {
            id: operator.access_key_id.clone(),
            secret: operator.secret.clone(),
            is_active: true,
            created: 0,
            rotated: None,
        };
        if directory.keys.contains_key(&key.id) {
            return Err(DirectoryError::OperatorKeyTaken(key.id));
        }
        directory.add_keys(&Holder::root(&operator.account_id), &[key]);
        Ok(directory)
    }

    fn add(&mut self, entry: &Entry) {
        let of = |account: &str, name: &str| (account.to_owned(), name.to_owned());
        match entry {
            Entry::Account(account) => self.add_account(account.clone()),
            Entry::User(user) => {
                self.add_keys(&Holder::user(&user.account_id, &user.name), &user.keys);
                self.users.insert(of(&user.account_id, &user.name), user.clone());
            }
            Entry::Group(group) => {
                self.groups.insert(of(&group.account_id, &group.name), group.clone());
            }
            Entry::Policy(policy) => {
                self.policies.insert(of(&policy.account_id, &policy.name), policy.clone());
            }
        }
    }

    fn add_account(&mut self, account: Rc<Account>) {
        self.add_keys(&Holder::root(&account.id), &account.keys);
        self.by_canonical_id.insert(account.canonical_id.clone(), account.id.clone());
        self.accounts.insert(account.id.clone(), account);
    }

    fn add_keys(&mut self, holder: &Holder, keys: &[AccessKey]) {
        let held = |key: &AccessKey| HeldKey {
            holder: holder.clone(),
            key: key.clone(),
            principal: OnceCell::new(),
        };
        self.keys.extend(keys.iter().map(|key| (key.id.clone(), held(key))));
    }

    /// Id of the account that the node's operator has.
    pub fn operator_account(&self) -> &str {
        &self.operator_account
    }

    /// Whether an access key is the operator's first one, which comes from outside.
    pub fn is_operator_key(&self, id: &str) -> bool {
        self.operator_key == id
    }

    /// All accounts in order of their ids.
    pub fn accounts(&self) -> impl Iterator<Item = &Rc<Account>> {
        self.accounts.values()
    }

    pub fn account(&self, id: &str) -> Option<&Rc<Account>> {
        self.accounts.get(id)
    }

    pub fn account_by_canonical_id(&self, canonical_id: &str) -> Option<&Rc<Account>> {
        self.account(self.by_canonical_id.get(canonical_id)?)
    }

    /// E-mail addresses are compared without regard to case.
    pub fn account_by_email(&self, email: &str) -> Option<&Rc<Account>> {
        self.accounts().find(|account| !email.is_empty() && account.email.eq_ignore_ascii_case(email))
    }

    /// An account by its id or, if no account has that id, its name.
    pub fn account_named(&self, text: &str) -> Option<&Rc<Account>> {
        self.account(text).or_else(|| self.accounts().find(|account| account.name == text))
    }

    /// Users of an account in order of their names.
    pub fn users(&self, account_id: &str) -> impl Iterator<Item = &Rc<User>> {
        of_account(&self.users, account_id)
    }

    pub fn user(&self, account_id: &str, name: &str) -> Option<&Rc<User>> {
        self.users.get(&(account_id.to_owned(), name.to_owned()))
    }

    /// Groups of an account in order of their names.
    pub fn groups(&self, account_id: &str) -> impl Iterator<Item = &Rc<Group>> {
        of_account(&self.groups, account_id)
    }

    pub fn group(&self, account_id: &str, name: &str) -> Option<&Rc<Group>> {
        self.groups.get(&(account_id.to_owned(), name.to_owned()))
    }

    /// Policies of an account in order of their names, without the built-in ones.
    pub fn policies(&self, account_id: &str) -> impl Iterator<Item = &Rc<ManagedPolicy>> {
        of_account(&self.policies, account_id)
    }

    /// A policy that users and groups of an account can have: the account's own, or a built-in one.
    pub fn policy(&self, account_id: &str, name: &str) -> Option<Rc<ManagedPolicy>> {
        let own = self.policies.get(&(account_id.to_owned(), name.to_owned()));
        own.or_else(|| self.builtin.get(name)).cloned()
    }

    /// The policies that every account has, in order of their names.
    pub fn builtin_policies(&self) -> impl Iterator<Item = &Rc<ManagedPolicy>> {
        self.builtin.values()
    }

    /// An access key, active or not, and whose it is.
    pub fn key(&self, id: &str) -> Option<(&Holder, &AccessKey)> {
        self.keys.get(id).map(|held| (&held.holder, &held.key))
    }

    /// Access keys of a user or of an account's root, in order of their ids.
    pub fn keys(&self, holder: &Holder) -> Vec<&AccessKey> {
        let of_holder = self.keys.values().filter(|held| held.holder == *holder);
        let mut keys: Vec<_> = of_holder.map(|held| &held.key).collect();
        keys.sort_by(|a, b| a.id.cmp(&b.id));
        keys
    }

    /// All access keys of an account: its root's first, then those of its users, in order.
    pub fn account_keys(&self, account_id: &str) -> Vec<(&Holder, &AccessKey)> {
        let of_account = self.keys.values().filter(|held| held.holder.account_id == account_id);
        let mut keys: Vec<_> = of_account.map(|held| (&held.holder, &held.key)).collect();
        keys.sort_by(|(a, x), (b, y)| (&a.user, &x.id).cmp(&(&b.user, &y.id)));
        keys
    }

    /// Whose an access key is, if it may be used.
    pub fn holder(&self, access_key_id: &str) -> Option<&Holder> {
        self.key(access_key_id).filter(|(_, key)| key.is_active).map(|(holder, _)| holder)
    }

    /// On whose behalf a request signed with an access key acts; `None` if there is no such active key.
    pub fn principal(&self, access_key_id: &str) -> Option<Rc<Principal>> {
        let held = self.keys.get(access_key_id).filter(|held| held.key.is_active)?;
        held.principal.get_or_init(|| self.principal_of(&held.holder).map(Rc::new)).clone()
    }

    /// A user with all policies that are attached to it and its groups, or an account's root.
    fn principal_of(&self, holder: &Holder) -> Option<Principal> {
        let account = self.account(&holder.account_id)?;
        let root = Principal::root(&account.id, &account.canonical_id);
        let Some(name) = &holder.user else { return Some(root) };
        let user = self.user(&account.id, name)?;
        let groups = user.groups.iter().filter_map(|group| self.group(&account.id, group));
        let mut names: Vec<&String> =
            groups.flat_map(|group| &group.policies).chain(&user.policies).collect();
        names.sort_unstable();
        names.dedup();
        let policies = names.into_iter().filter_map(|name| self.policy(&account.id, name));
        Some(Principal {
            arn: holder.arn(),
            user_name: Some(user.name.clone()),
            user_id: user.id.clone(),
            policies: policies.map(|policy| policy.policy.clone()).collect(),
            ..root
        })
    }
}

impl Keys for Directory {
    fn secret(&self, access_key_id: &str) -> Option<String> {
        let (_, key) = self.key(access_key_id)?;
        key.is_active.then(|| key.secret.reveal().to_owned())
    }
}

impl Accounts for Directory {
    fn canonical_id(&self, account_id: &str) -> Option<String> {
        self.account(account_id).map(|account| account.canonical_id.clone())
    }

    fn account_id(&self, canonical_id: &str) -> Option<String> {
        self.by_canonical_id.get(canonical_id).cloned()
    }

    fn canonical_id_of_email(&self, email: &str) -> Option<String> {
        self.account_by_email(email).map(|account| account.canonical_id.clone())
    }

    fn has_user(&self, arn: &str) -> bool {
        let user = arn.strip_prefix("arn:aws:iam::").and_then(|rest| rest.split_once(":user/"));
        user.is_some_and(|(account_id, name)| self.user(account_id, name).is_some())
    }
}

/// What an account has of one kind.
fn of_account<'a, T>(
    all: &'a BTreeMap<(String, String), Rc<T>>,
    account_id: &str,
) -> impl Iterator<Item = &'a Rc<T>> + use<'a, T> {
    let account_id = account_id.to_owned();
    all.range((account_id.clone(), String::new())..)
        .take_while(move |((account, _), _)| *account == account_id)
        .map(|(_, value)| value)
}
