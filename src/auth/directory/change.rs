//! What may change in a directory, and which entry each change writes.
//!
//! Nothing here is stored: a change that is allowed returns a [`Write`] for whoever stores it.

use std::rc::Rc;

use super::entry::Seal;
use super::names::{self, Random};
use super::{AccessKey, Account, Directory, Group, Holder, ManagedPolicy, User};
use crate::auth::policy::{Kind, Policy};
use crate::base::limits::{
    ACCESS_KEYS_PER_HOLDER_MAX, ACCOUNTS_MAX, GROUPS_PER_ACCOUNT_MAX, GROUPS_PER_USER_MAX,
    IDENTITY_POLICY_BYTES_MAX, POLICIES_ATTACHED_MAX, POLICIES_PER_ACCOUNT_MAX, USERS_MAX,
};
use crate::base::secret::Secret;
use crate::io::TimestampMs;

/// An entry to store, or to remove.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    pub name: String,
    pub value: Option<Vec<u8>>,
}

/// Why a change is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub kind: RefusalKind,
    /// A sentence for a person.
    pub message: String,
}

/// What the caller can do about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// A value breaks a rule.
    Invalid,
    /// The document is no policy.
    Malformed,
    /// What the change is about is not there.
    NotFound,
    /// It is there already.
    Exists,
    /// Something else still needs it.
    InUse,
    /// There are as many as there may be.
    Limit,
}

impl Refusal {
    fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }

    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::Invalid, message)
    }

    pub fn not_found(kind: &str, name: &str) -> Self {
        Self::new(RefusalKind::NotFound, format!("there is no {kind} '{}'", name.escape_default()))
    }

    pub fn exists(kind: &str, name: &str) -> Self {
        Self::new(RefusalKind::Exists, format!("{kind} '{}' exists already", name.escape_default()))
    }

    pub fn in_use(message: impl Into<String>) -> Self {
        Self::new(RefusalKind::InUse, message)
    }

    fn limit(kind: &str, most: usize) -> Self {
        Self::new(RefusalKind::Limit, format!("there may be at most {most} {kind}"))
    }
}

/// A change of one directory at one moment.
pub struct Change<'a> {
    pub directory: &'a Directory,
    pub now: TimestampMs,
    pub random: &'a Random<'a>,
    pub seal: &'a Seal<'a>,
}

/// Users and groups, to which policies are attached.
#[derive(Clone, Copy, Debug)]
pub enum Bearer<'a> {
    User(&'a str),
    Group(&'a str),
}

/// An access key as it is asked for: what is missing is made.
#[derive(Clone, Debug, Default)]
pub struct KeyWish {
    pub id: Option<String>,
    pub secret: Option<Secret>,
}

impl Change<'_> {
    pub fn create_account(&self, name: &str, email: &str) -> Result<(Account, Write), Refusal> {
        names::check_account_name(name)?;
        names::check_email(email)?;
        if self.directory.accounts().any(|account| account.name == name) {
            return Err(Refusal::exists("account", name));
        }
        if self.directory.account_by_email(email).is_some() {
            return Err(Refusal::exists("account with the e-mail address", email));
        }
        if self.directory.accounts().count() >= ACCOUNTS_MAX {
            return Err(Refusal::limit("accounts", ACCOUNTS_MAX));
        }
        let mut id = names::make_account_id(self.random);
        while self.directory.account(&id).is_some() {
            id = names::make_account_id(self.random);
        }
        let account = Account {
            id,
            canonical_id: names::make_canonical_id(self.random),
            name: name.to_owned(),
            email: email.to_owned(),
            created: self.now,
            keys: Vec::new(),
        };
        let write = self.account(&account);
        Ok((account, write))
    }

    /// Removes an account with its root's keys. `buckets`: how many it owns.
    pub fn delete_account(&self, id: &str, buckets: usize) -> Result<Write, Refusal> {
        let account = self.directory.account(id).ok_or_else(|| Refusal::not_found("account", id))?;
        if id == self.directory.operator_account() {
            return Err(Refusal::in_use("the operator's account cannot be deleted"));
        }
        let counts = [
            (buckets, "bucket"),
            (self.directory.users(id).count(), "user"),
            (self.directory.groups(id).count(), "group"),
            (self.directory.policies(id).count(), "policy"),
        ];
        if let Some((count, kind)) = counts.into_iter().find(|(count, _)| *count > 0) {
            let kinds = match (count, kind) {
                (1, kind) => kind.to_owned(),
                (_, "policy") => "policies".to_owned(),
                (_, kind) => format!("{kind}s"),
            };
            return Err(Refusal::in_use(format!("account '{}' still has {count} {kinds}", account.name)));
        }
        Ok(Write { name: Account::entry_name(id), value: None })
    }

    pub fn create_user(
        &self,
        account_id: &str,
        name: &str,
        groups: &[String],
        policies: &[String],
    ) -> Result<(User, Write), Refusal> {
        names::check_name("user", name)?;
        if self.directory.user(account_id, name).is_some() {
            return Err(Refusal::exists("user", name));
        }
        if self.directory.users.len() >= USERS_MAX {
            return Err(Refusal::limit("users", USERS_MAX));
        }
        let mut user = User {
            account_id: account_id.to_owned(),
            name: name.to_owned(),
            id: names::make_user_id(self.random),
            created: self.now,
            groups: Vec::new(),
            policies: Vec::new(),
            keys: Vec::new(),
        };
        for group in groups {
            self.join(&mut user, group)?;
        }
        for policy in policies {
            self.attach(account_id, &mut user.policies, policy)?;
        }
        let write = self.user(&user);
        Ok((user, write))
    }

    /// Removes a user with its keys and memberships.
    pub fn delete_user(&self, account_id: &str, name: &str) -> Result<Write, Refusal> {
        self.user_named(account_id, name)?;
        Ok(Write { name: User::entry_name(account_id, name), value: None })
    }

    pub fn create_group(
        &self,
        account_id: &str,
        name: &str,
        policies: &[String],
    ) -> Result<(Group, Write), Refusal> {
        names::check_name("group", name)?;
        if self.directory.group(account_id, name).is_some() {
            return Err(Refusal::exists("group", name));
        }
        if self.directory.groups(account_id).count() >= GROUPS_PER_ACCOUNT_MAX {
            return Err(Refusal::limit("groups in an account", GROUPS_PER_ACCOUNT_MAX));
        }
        let mut group = Group {
            account_id: account_id.to_owned(),
            name: name.to_owned(),
            created: self.now,
            policies: Vec::new(),
        };
        for policy in policies {
            self.attach(account_id, &mut group.policies, policy)?;
        }
        let write = group_write(&group);
        Ok((group, write))
    }

    /// Removes a group that has no members.
    pub fn delete_group(&self, account_id: &str, name: &str) -> Result<Write, Refusal> {
        self.group_named(account_id, name)?;
        let is_member = |user: &&Rc<User>| user.groups.iter().any(|group| group == name);
        if let Some(user) = self.directory.users(account_id).find(is_member) {
            return Err(Refusal::in_use(format!("group '{name}' has members, '{}' among them", user.name)));
        }
        Ok(Write { name: Group::entry_name(account_id, name), value: None })
    }

    /// Puts a user into a group; `None` if it is a member already.
    pub fn add_member(&self, account_id: &str, group: &str, user: &str) -> Result<Option<Write>, Refusal> {
        let mut user = self.user_named(account_id, user)?;
        let is_new = self.join(&mut user, group)?;
        Ok(is_new.then(|| self.user(&user)))
    }

    /// Takes a user out of a group.
    pub fn remove_member(&self, account_id: &str, group: &str, user: &str) -> Result<Write, Refusal> {
        let mut user = self.user_named(account_id, user)?;
        self.group_named(account_id, group)?;
        if !remove(&mut user.groups, group) {
            return Err(Refusal::not_found(&format!("member of group '{group}' named"), &user.name));
        }
        Ok(self.user(&user))
    }

    /// Attaches a policy; `None` if it is attached already.
    pub fn attach_policy(
        &self,
        account_id: &str,
        bearer: Bearer<'_>,
        policy: &str,
    ) -> Result<Option<Write>, Refusal> {
        match bearer {
            Bearer::User(name) => {
                let mut user = self.user_named(account_id, name)?;
                let is_new = self.attach(account_id, &mut user.policies, policy)?;
                Ok(is_new.then(|| self.user(&user)))
            }
            Bearer::Group(name) => {
                let mut group = self.group_named(account_id, name)?;
                let is_new = self.attach(account_id, &mut group.policies, policy)?;
                Ok(is_new.then(|| group_write(&group)))
            }
        }
    }

    pub fn detach_policy(
        &self,
        account_id: &str,
        bearer: Bearer<'_>,
        policy: &str,
    ) -> Result<Write, Refusal> {
        let missing = || Refusal::not_found("attached policy", policy);
        match bearer {
            Bearer::User(name) => {
                let mut user = self.user_named(account_id, name)?;
                remove(&mut user.policies, policy).then(|| self.user(&user)).ok_or_else(missing)
            }
            Bearer::Group(name) => {
                let mut group = self.group_named(account_id, name)?;
                remove(&mut group.policies, policy).then(|| group_write(&group)).ok_or_else(missing)
            }
        }
    }

    /// Makes a policy, or gives it another document, which counts at once wherever it is attached.
    pub fn put_policy(
        &self,
        account_id: &str,
        name: &str,
        document: &str,
    ) -> Result<(ManagedPolicy, Write), Refusal> {
        names::check_name("policy", name)?;
        if self.directory.builtin.contains_key(name) {
            return Err(Refusal::exists("built-in policy", name));
        }
        if document.len() > IDENTITY_POLICY_BYTES_MAX {
            return Err(Refusal::limit("bytes in a policy", IDENTITY_POLICY_BYTES_MAX));
        }
        let parsed = Policy::parse(document.as_bytes(), Kind::Identity)
            .map_err(|error| Refusal::new(RefusalKind::Malformed, error.message))?;
        let before = self.directory.policies.get(&(account_id.to_owned(), name.to_owned()));
        if before.is_none() && self.directory.policies(account_id).count() >= POLICIES_PER_ACCOUNT_MAX {
            return Err(Refusal::limit("policies in an account", POLICIES_PER_ACCOUNT_MAX));
        }
        let policy = ManagedPolicy {
            account_id: account_id.to_owned(),
            name: name.to_owned(),
            created: before.map_or(self.now, |before| before.created),
            updated: self.now,
            document: document.to_owned(),
            policy: Rc::new(parsed),
        };
        let write = Write { name: ManagedPolicy::entry_name(account_id, name), value: Some(policy.encode()) };
        Ok((policy, write))
    }

    /// Removes a policy that is attached to nobody.
    pub fn delete_policy(&self, account_id: &str, name: &str) -> Result<Write, Refusal> {
        if !self.directory.policies.contains_key(&(account_id.to_owned(), name.to_owned())) {
            return Err(match self.directory.builtin.get(name) {
                Some(_) => Refusal::in_use(format!("policy '{name}' is built in")),
                None => Refusal::not_found("policy", name),
            });
        }
        let has = |policies: &[String]| policies.iter().any(|policy| policy == name);
        let user = self.directory.users(account_id).find(|user| has(&user.policies));
        let group = self.directory.groups(account_id).find(|group| has(&group.policies));
        let bearer = match (user, group) {
            (Some(user), _) => format!("user '{}'", user.name),
            (None, Some(group)) => format!("group '{}'", group.name),
            (None, None) => {
                return Ok(Write { name: ManagedPolicy::entry_name(account_id, name), value: None });
            }
        };
        Err(Refusal::in_use(format!("policy '{name}' is attached to {bearer}")))
    }

    pub fn create_key(&self, holder: &Holder, wish: KeyWish) -> Result<(AccessKey, Write), Refusal> {
        let id = match wish.id {
            Some(id) => id,
            None => names::make_access_key_id(self.random),
        };
        names::check_access_key_id(&id)?;
        if self.directory.key(&id).is_some() {
            return Err(Refusal::exists("access key", &id));
        }
        let key = AccessKey {
            id,
            secret: self.secret(wish.secret)?,
            is_active: true,
            created: self.now,
            rotated: None,
        };
        let added = key.clone();
        let write = self.change_keys(holder, |keys| {
            if keys.len() >= ACCESS_KEYS_PER_HOLDER_MAX {
                return Err(Refusal::limit("access keys of one identity", ACCESS_KEYS_PER_HOLDER_MAX));
            }
            keys.push(added);
            Ok(())
        })?;
        Ok((key, write))
    }

    pub fn delete_key(&self, id: &str) -> Result<Write, Refusal> {
        let holder = self.holder_of(id)?;
        self.change_keys(&holder, |keys| {
            keys.retain(|key| key.id != id);
            Ok(())
        })
    }

    pub fn set_key_active(&self, id: &str, is_active: bool) -> Result<(AccessKey, Write), Refusal> {
        self.change_key(id, |key| key.is_active = is_active)
    }

    /// Gives a key another secret; the one before stops to work at once.
    pub fn rotate_key(&self, id: &str, secret: Option<Secret>) -> Result<(AccessKey, Write), Refusal> {
        let secret = self.secret(secret)?;
        self.change_key(id, |key| {
            key.secret = secret;
            key.rotated = Some(self.now);
        })
    }

    fn secret(&self, given: Option<Secret>) -> Result<Secret, Refusal> {
        let secret = given.unwrap_or_else(|| Secret::new(names::make_secret(self.random)));
        names::check_secret(secret.reveal())?;
        Ok(secret)
    }

    fn change_key(
        &self,
        id: &str,
        change: impl FnOnce(&mut AccessKey),
    ) -> Result<(AccessKey, Write), Refusal> {
        let holder = self.holder_of(id)?;
        let mut changed = None;
        let write = self.change_keys(&holder, |keys| {
            let key = keys.iter_mut().find(|key| key.id == id);
            let key = key.ok_or_else(|| Refusal::not_found("access key", id))?;
            change(key);
            changed = Some(key.clone());
            Ok(())
        })?;
        let key = changed.ok_or_else(|| Refusal::not_found("access key", id))?;
        Ok((key, write))
    }

    /// The write of a holder whose keys `change` has changed.
    fn change_keys(
        &self,
        holder: &Holder,
        change: impl FnOnce(&mut Vec<AccessKey>) -> Result<(), Refusal>,
    ) -> Result<Write, Refusal> {
        let account_id = holder.account_id.as_str();
        match &holder.user {
            Some(name) => {
                let mut user = self.user_named(account_id, name)?;
                change(&mut user.keys)?;
                Ok(self.user(&user))
            }
            None => {
                let account = self.directory.account(account_id);
                let mut account =
                    Account::clone(account.ok_or_else(|| Refusal::not_found("account", account_id))?);
                change(&mut account.keys)?;
                Ok(self.account(&account))
            }
        }
    }

    /// Whose a key is that may be changed: the operator's first key is not stored here.
    fn holder_of(&self, id: &str) -> Result<Holder, Refusal> {
        let (holder, _) = self.directory.key(id).ok_or_else(|| Refusal::not_found("access key", id))?;
        if self.directory.is_operator_key(id) {
            return Err(Refusal::in_use(
                "these are the node's root credentials: change them where the node takes them from, and \
                 start it again",
            ));
        }
        Ok(holder.clone())
    }

    fn user_named(&self, account_id: &str, name: &str) -> Result<User, Refusal> {
        let user = self.directory.user(account_id, name);
        user.map(|user| User::clone(user)).ok_or_else(|| Refusal::not_found("user", name))
    }

    fn group_named(&self, account_id: &str, name: &str) -> Result<Group, Refusal> {
        let group = self.directory.group(account_id, name);
        group.map(|group| Group::clone(group)).ok_or_else(|| Refusal::not_found("group", name))
    }

    /// Makes a user a member; `false` if it was one.
    fn join(&self, user: &mut User, group: &str) -> Result<bool, Refusal> {
        self.group_named(&user.account_id, group)?;
        if user.groups.iter().any(|have| have == group) {
            return Ok(false);
        }
        if user.groups.len() >= GROUPS_PER_USER_MAX {
            return Err(Refusal::limit("groups of one user", GROUPS_PER_USER_MAX));
        }
        insert(&mut user.groups, group);
        Ok(true)
    }

    /// Adds a policy to those of a user or group; `false` if it is among them.
    fn attach(&self, account_id: &str, policies: &mut Vec<String>, policy: &str) -> Result<bool, Refusal> {
        if self.directory.policy(account_id, policy).is_none() {
            return Err(Refusal::not_found("policy", policy));
        }
        if policies.iter().any(|have| have == policy) {
            return Ok(false);
        }
        if policies.len() >= POLICIES_ATTACHED_MAX {
            return Err(Refusal::limit("policies attached to one identity", POLICIES_ATTACHED_MAX));
        }
        insert(policies, policy);
        Ok(true)
    }

    fn user(&self, user: &User) -> Write {
        let name = User::entry_name(&user.account_id, &user.name);
        Write { name, value: Some(user.encode(self.seal)) }
    }

    fn account(&self, account: &Account) -> Write {
        Write { name: Account::entry_name(&account.id), value: Some(account.encode(self.seal)) }
    }
}

fn group_write(group: &Group) -> Write {
    Write { name: Group::entry_name(&group.account_id, &group.name), value: Some(group.encode()) }
}

/// Inserts into an ordered list.
fn insert(names: &mut Vec<String>, name: &str) {
    let at = names.partition_point(|have| have.as_str() < name);
    names.insert(at, name.to_owned());
}

/// Whether there was something to remove.
fn remove(names: &mut Vec<String>, name: &str) -> bool {
    let before = names.len();
    names.retain(|have| have != name);
    names.len() < before
}
