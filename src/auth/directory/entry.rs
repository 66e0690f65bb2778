//! Identities as they are stored: one JSON object for each account, user, group and policy.
//!
//! | entry | holds |
//! |---|---|
//! | `identity/account/<id>` | the account and its root's keys |
//! | `identity/user/<account>/<name>` | the user with groups, attached policies and keys |
//! | `identity/group/<account>/<name>` | the group and its attached policies |
//! | `identity/policy/<account>/<name>` | the policy's document |
//!
//! What belongs together stands in one entry, so that every change is one write.

use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::{AccessKey, Account, DirectoryError, Group, ManagedPolicy, Open, User};
use crate::auth::policy::{Kind, Policy};
use crate::base::secret::Secret;
use crate::io::TimestampMs;

/// With what the names of all entries begin.
pub const PREFIX: &str = "identity/";

/// Form of the entries; read by the versions that know it, refused by others.
const VERSION: u32 = 1;

/// Seals a secret: context and secret in, sealed bytes out.
pub type Seal<'a> = dyn Fn(&[u8], &[u8]) -> Vec<u8> + 'a;

/// One entry, read.
#[derive(Clone)]
pub enum Entry {
    Account(Rc<Account>),
    User(Rc<User>),
    Group(Rc<Group>),
    Policy(Rc<ManagedPolicy>),
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u32,
    #[serde(flatten)]
    value: T,
}

#[derive(Serialize, Deserialize)]
struct StoredAccount {
    canonical_id: String,
    name: String,
    email: String,
    created: TimestampMs,
    keys: Vec<StoredKey>,
}

#[derive(Serialize, Deserialize)]
struct StoredUser {
    id: String,
    created: TimestampMs,
    groups: Vec<String>,
    policies: Vec<String>,
    keys: Vec<StoredKey>,
}

#[derive(Serialize, Deserialize)]
struct StoredGroup {
    created: TimestampMs,
    policies: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct StoredPolicy {
    created: TimestampMs,
    updated: TimestampMs,
    document: String,
}

#[derive(Serialize, Deserialize)]
struct StoredKey {
    id: String,
    /// Base64 of the sealed secret.
    sealed: String,
    active: bool,
    created: TimestampMs,
    rotated: Option<TimestampMs>,
}

/// A sealed secret opens only for the key id it was sealed for.
fn context(access_key_id: &str) -> Vec<u8> {
    format!("access-key\0{access_key_id}").into_bytes()
}

impl StoredKey {
    fn of(key: &AccessKey, seal: &Seal<'_>) -> Self {
        Self {
            id: key.id.clone(),
            sealed: STANDARD.encode(seal(&context(&key.id), key.secret.reveal().as_bytes())),
            active: key.is_active,
            created: key.created,
            rotated: key.rotated,
        }
    }

    fn read(self, entry: &str, open: &Open<'_>) -> Result<AccessKey, DirectoryError> {
        let sealed = STANDARD.decode(&self.sealed).map_err(|_| DirectoryError::Damaged(entry.to_owned()))?;
        let secret: Secret =
            open(&context(&self.id), &sealed).ok_or_else(|| DirectoryError::Sealed(entry.to_owned()))?;
        Ok(AccessKey {
            id: self.id,
            secret,
            is_active: self.active,
            created: self.created,
            rotated: self.rotated,
        })
    }
}

impl Entry {
    /// Reads an entry; the name says what it is.
    pub fn read(name: &str, bytes: &[u8], open: &Open<'_>) -> Result<Self, DirectoryError> {
        let damaged = || DirectoryError::Damaged(name.to_owned());
        let keys = |keys: Vec<StoredKey>| {
            keys.into_iter().map(|key| key.read(name, open)).collect::<Result<Vec<_>, _>>()
        };
        let parts: Vec<&str> = name.strip_prefix(PREFIX).ok_or_else(damaged)?.split('/').collect();
        Ok(match parts[..] {
            ["account", id] => {
                let stored: StoredAccount = decode(bytes).ok_or_else(damaged)?;
                Self::Account(Rc::new(Account {
                    id: id.to_owned(),
                    canonical_id: stored.canonical_id,
                    name: stored.name,
                    email: stored.email,
                    created: stored.created,
                    keys: keys(stored.keys)?,
                }))
            }
            ["user", account, user] => {
                let stored: StoredUser = decode(bytes).ok_or_else(damaged)?;
                Self::User(Rc::new(User {
                    account_id: account.to_owned(),
                    name: user.to_owned(),
                    id: stored.id,
                    created: stored.created,
                    groups: stored.groups,
                    policies: stored.policies,
                    keys: keys(stored.keys)?,
                }))
            }
            ["group", account, group] => {
                let stored: StoredGroup = decode(bytes).ok_or_else(damaged)?;
                Self::Group(Rc::new(Group {
                    account_id: account.to_owned(),
                    name: group.to_owned(),
                    created: stored.created,
                    policies: stored.policies,
                }))
            }
            ["policy", account, policy] => {
                let stored: StoredPolicy = decode(bytes).ok_or_else(damaged)?;
                let parsed = Policy::parse(stored.document.as_bytes(), Kind::Identity);
                Self::Policy(Rc::new(ManagedPolicy {
                    account_id: account.to_owned(),
                    name: policy.to_owned(),
                    created: stored.created,
                    updated: stored.updated,
                    document: stored.document,
                    policy: Rc::new(parsed.map_err(|_| damaged())?),
                }))
            }
            _ => return Err(damaged()),
        })
    }
}

/// An entry that has lost its access keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WithoutKeys {
    /// Ids of the keys that are gone.
    pub key_ids: Vec<String>,
    /// The entry that is left.
    pub value: Vec<u8>,
}

/// Takes the access keys out of an entry without opening them, if it has any: those that a lost master key sealed are
/// of no use. The account or user stays.
pub fn without_keys(name: &str, bytes: &[u8]) -> Result<Option<WithoutKeys>, DirectoryError> {
    let damaged = || DirectoryError::Damaged(name.to_owned());
    let ids = |keys: &mut Vec<StoredKey>| keys.drain(..).map(|key| key.id).collect::<Vec<_>>();
    let rest = name.strip_prefix(PREFIX).ok_or_else(damaged)?;
    let (key_ids, value) = if rest.starts_with("account/") {
        let mut stored: StoredAccount = decode(bytes).ok_or_else(damaged)?;
        (ids(&mut stored.keys), encode(stored))
    } else if rest.starts_with("user/") {
        let mut stored: StoredUser = decode(bytes).ok_or_else(damaged)?;
        (ids(&mut stored.keys), encode(stored))
    } else {
        return Ok(None);
    };
    Ok((!key_ids.is_empty()).then_some(WithoutKeys { key_ids, value }))
}

fn decode<T: for<'de> Deserialize<'de>>(bytes: &[u8]) -> Option<T> {
    let versioned: Versioned<T> = serde_json::from_slice(bytes).ok()?;
    (versioned.version == VERSION).then_some(versioned.value)
}

fn encode<T: Serialize>(value: T) -> Vec<u8> {
    serde_json::to_vec(&Versioned { version: VERSION, value }).expect("strings and numbers become JSON")
}

impl Account {
    pub fn entry_name(id: &str) -> String {
        format!("{PREFIX}account/{id}")
    }

    pub fn encode(&self, seal: &Seal<'_>) -> Vec<u8> {
        encode(StoredAccount {
            canonical_id: self.canonical_id.clone(),
            name: self.name.clone(),
            email: self.email.clone(),
            created: self.created,
            keys: self.keys.iter().map(|key| StoredKey::of(key, seal)).collect(),
        })
    }
}

impl User {
    pub fn entry_name(account_id: &str, name: &str) -> String {
        format!("{PREFIX}user/{account_id}/{name}")
    }

    pub fn encode(&self, seal: &Seal<'_>) -> Vec<u8> {
        encode(StoredUser {
            id: self.id.clone(),
            created: self.created,
            groups: self.groups.clone(),
            policies: self.policies.clone(),
            keys: self.keys.iter().map(|key| StoredKey::of(key, seal)).collect(),
        })
    }
}

impl Group {
    pub fn entry_name(account_id: &str, name: &str) -> String {
        format!("{PREFIX}group/{account_id}/{name}")
    }

    pub fn encode(&self) -> Vec<u8> {
        encode(StoredGroup { created: self.created, policies: self.policies.clone() })
    }
}

impl ManagedPolicy {
    pub fn entry_name(account_id: &str, name: &str) -> String {
        format!("{PREFIX}policy/{account_id}/{name}")
    }

    pub fn encode(&self) -> Vec<u8> {
        encode(StoredPolicy { created: self.created, updated: self.updated, document: self.document.clone() })
    }
}
