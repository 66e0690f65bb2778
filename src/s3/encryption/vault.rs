//! Named keys: kept in the node's configuration under `kms/NAME`, every version sealed under the master key.
//!
//! A rotation adds a version, under which new data keys are wrapped; older ones stay, because objects name
//! the version that theirs is wrapped under. Two keys are there without being made: the one of SSE-S3, and the
//! one of SSE-KMS for requests that name none. Their first version is derived from the master key, so that
//! cores which use it at the same time need not agree on one; a rotation writes them like others.
//!
//! When a master key was lost ([`give_up`]), a key keeps the number of the version that it had last, and nothing of
//! what was sealed: so what was encrypted under that or an older one is known as lost, whatever comes after.

use std::rc::Rc;
use std::sync::Arc;

use crate::base::limits::{KMS_KEY_NAME_BYTES_MAX, KMS_KEY_VERSIONS_MAX};
use crate::crypt::{Key, MasterKey};
use crate::engine::{Config, ConfigChange, Engine, EngineError};
use crate::io::{Host, TimestampMs};
use crate::s3::error::{Code, S3Error};

/// The key of SSE-S3.
pub const KEY_OF_NODE: &str = "aws/sse-s3";

/// The key of SSE-KMS for requests that name none.
pub const KEY_DEFAULT: &str = "aws/s3";

const PREFIX: &str = "kms/";
const FORMAT: u8 = 1;

/// The named keys, as this core knows them now.
pub struct Vault {
    master: Arc<MasterKey>,
    config: Rc<Config>,
}

/// What may be shown of a named key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyInfo {
    pub name: String,
    /// When the first version was made; `None` for the node's own keys until they are rotated.
    pub created: Option<TimestampMs>,
    /// When the newest version was made.
    pub rotated: Option<TimestampMs>,
    /// Number of the newest version, from 1.
    pub version: u32,
}

/// Why a named key was not made or rotated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyError {
    /// Not 1 to 250 letters, digits and `/_-`, or reserved: `aws/`.
    InvalidName,
    Exists,
    NotFound,
    /// It has as many versions as a key may have.
    TooManyVersions,
    /// The stored key does not open with this master key.
    Damaged,
    /// The version was sealed under a master key that was lost, and given up.
    GivenUp,
    Engine(EngineError),
}

/// A version of a named key, as it is kept.
struct Version {
    number: u32,
    created: TimestampMs,
    /// Empty: this version and those before it are given up.
    sealed: Vec<u8>,
}

impl Vault {
    pub fn new(master: Arc<MasterKey>, config: Rc<Config>) -> Self {
        Self { master, config }
    }

    /// The newest version of a key: its number and the key.
    pub fn newest(&self, name: &str) -> Result<(u32, Key), KeyError> {
        let number = self.info(name)?.version;
        Ok((number, self.version(name, number)?))
    }

    /// A version of a key.
    pub fn version(&self, name: &str, number: u32) -> Result<Key, KeyError> {
        match self.versions(name)? {
            Some(versions) => {
                let is_given_up = |version: &Version| version.sealed.is_empty() && number <= version.number;
                if versions.iter().any(is_given_up) {
                    return Err(KeyError::GivenUp);
                }
                let version = versions.iter().find(|version| version.number == number);
                let version = version.ok_or(KeyError::NotFound)?;
                let opened = self.master.open(&context(name, number), &version.sealed);
                opened.ok().and_then(|key| Key::from_slice(&key)).ok_or(KeyError::Damaged)
            }
            None if is_built_in(name) && number == 1 => {
                Ok(self.master.derive("named key", &[name.as_bytes()]))
            }
            None => Err(KeyError::NotFound),
        }
    }

    /// What may be shown of a key.
    pub fn info(&self, name: &str) -> Result<KeyInfo, KeyError> {
        match self.versions(name)? {
            Some(versions) => {
                let newest = versions.last().ok_or(KeyError::Damaged)?;
                Ok(KeyInfo {
                    name: name.to_owned(),
                    created: versions.first().map(|first| first.created),
                    rotated: Some(newest.created),
                    version: newest.number,
                })
            }
            None if is_built_in(name) => {
                Ok(KeyInfo { name: name.to_owned(), created: None, rotated: None, version: 1 })
            }
            None => Err(KeyError::NotFound),
        }
    }

    /// All keys in order of their names, the node's own among them.
    pub fn list(&self) -> Vec<KeyInfo> {
        let stored = self.config.entries.keys().filter_map(|name| name.strip_prefix(PREFIX));
        let mut names: Vec<&str> = stored.chain([KEY_OF_NODE, KEY_DEFAULT]).collect();
        names.sort_unstable();
        names.dedup();
        names.into_iter().filter_map(|name| self.info(name).ok()).collect()
    }

    fn entry(&self, name: &str) -> Option<&[u8]> {
        self.config.entries.get(&format!("{PREFIX}{name}")).map(|value| &**value)
    }

    fn versions(&self, name: &str) -> Result<Option<Vec<Version>>, KeyError> {
        self.entry(name).map(|value| decode(value).ok_or(KeyError::Damaged)).transpose()
    }

    fn sealed<H: Host>(&self, host: &H, name: &str, number: u32, key: &Key) -> Version {
        let random = |bytes: &mut [u8]| host.random(bytes);
        let sealed = self.master.seal(&context(name, number), key.reveal(), random);
        Version { number, created: host.now(), sealed }
    }
}

/// Makes a named key. When it returns, every core knows it.
pub async fn create_key<H: Host>(engine: &Engine<H>, vault: &Vault, name: &str) -> Result<KeyInfo, KeyError> {
    if !is_name(name) || is_built_in(name) || name.starts_with("aws/") {
        return Err(KeyError::InvalidName);
    }
    if vault.entry(name).is_some() {
        return Err(KeyError::Exists);
    }
    let key = Key::random(|bytes| engine.host().random(bytes));
    let versions = vec![vault.sealed(engine.host(), name, 1, &key)];
    write(engine, vault, name, versions).await
}

/// Gives a key a new version, under which data keys are wrapped from now on.
pub async fn rotate_key<H: Host>(engine: &Engine<H>, vault: &Vault, name: &str) -> Result<KeyInfo, KeyError> {
    let host = engine.host();
    let mut versions = match vault.versions(name)? {
        Some(versions) => versions,
        None => vec![vault.sealed(host, name, 1, &vault.version(name, 1)?)],
    };
    if versions.len() >= KMS_KEY_VERSIONS_MAX {
        return Err(KeyError::TooManyVersions);
    }
    let number = versions.last().map_or(1, |newest| newest.number + 1);
    let key = Key::random(|bytes| host.random(bytes));
    versions.push(vault.sealed(host, name, number, &key));
    write(engine, vault, name, versions).await
}

/// Entries by which every key gives up the versions that it has, which a lost master key sealed, and gets another one:
/// buckets and clients that name it go on with that.
pub fn give_up<H: Host>(host: &H, vault: &Vault) -> Result<Vec<(String, Vec<u8>)>, KeyError> {
    let renewed = |key: KeyInfo| {
        let next = key.version.checked_add(1).ok_or(KeyError::TooManyVersions)?;
        let created = key.created.unwrap_or_else(|| host.now());
        let given_up = Version { number: key.version, created, sealed: Vec::new() };
        let random = Key::random(|bytes| host.random(bytes));
        let versions = [given_up, vault.sealed(host, &key.name, next, &random)];
        Ok((format!("{PREFIX}{}", key.name), encode(&versions)))
    };
    vault.list().into_iter().map(renewed).collect()
}

/// Writes a key unless somebody else changed it meanwhile.
async fn write<H: Host>(
    engine: &Engine<H>,
    vault: &Vault,
    name: &str,
    versions: Vec<Version>,
) -> Result<KeyInfo, KeyError> {
    let entry = format!("{PREFIX}{name}");
    let expected = vault.entry(name).map(<[u8]>::to_vec);
    let change = ConfigChange {
        entries: [(entry.clone(), Some(encode(&versions)))].into(),
        expected: [(entry, expected)].into(),
    };
    match engine.change_config(change).await {
        Ok(()) => Vault::new(vault.master.clone(), engine.config()).info(name),
        Err(EngineError::Changed) => Err(KeyError::Exists),
        Err(error) => Err(KeyError::Engine(error)),
    }
}

/// The name in a key id as clients write it: a name, `alias/NAME`, or the ARN of either.
pub fn name_of(key_id: &str) -> &str {
    let resource = match key_id.strip_prefix("arn:") {
        // arn:partition:kms:region:account:resource
        Some(rest) => rest.splitn(5, ':').nth(4).unwrap_or(key_id),
        None => key_id,
    };
    let name = resource.strip_prefix("alias/").or_else(|| resource.strip_prefix("key/"));
    name.unwrap_or(resource)
}

/// What S3 says about a key that cannot be used.
pub fn refusal(error: KeyError, key_id: &str) -> S3Error {
    match error {
        KeyError::NotFound | KeyError::InvalidName => {
            S3Error::new(Code::KmsNotFoundException).with_message(format!("Key '{key_id}' does not exist"))
        }
        // What there is of S3's codes for an object whose key is gone; clients don't try again.
        KeyError::GivenUp => S3Error::new(Code::KmsNotFoundException).with_message(format!(
            "The version of key '{key_id}' that this is encrypted under was lost with the node's master key"
        )),
        KeyError::Engine(error) => error.into(),
        other => {
            tracing::error!(key_id, "a named key cannot be used: {other:?}");
            Code::InternalError.into()
        }
    }
}

fn is_built_in(name: &str) -> bool {
    [KEY_OF_NODE, KEY_DEFAULT].contains(&name)
}

fn is_name(name: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-".contains(&byte);
    (1..=KMS_KEY_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_part)
}

/// What a sealed version is bound to.
fn context(name: &str, number: u32) -> Vec<u8> {
    [b"named key/", name.as_bytes(), b"/", number.to_string().as_bytes()].concat()
}

fn encode(versions: &[Version]) -> Vec<u8> {
    let mut out = vec![FORMAT];
    for version in versions {
        out.extend_from_slice(&version.number.to_le_bytes());
        out.extend_from_slice(&version.created.to_le_bytes());
        out.push(version.sealed.len() as u8);
        out.extend_from_slice(&version.sealed);
    }
    out
}

fn decode(bytes: &[u8]) -> Option<Vec<Version>> {
    let (&format, mut rest) = bytes.split_first()?;
    let mut versions = Vec::new();
    while !rest.is_empty() {
        let (number, after) = rest.split_first_chunk()?;
        let (created, after) = after.split_first_chunk()?;
        let (&length, after) = after.split_first()?;
        let (sealed, after) = after.split_at_checked(length.into())?;
        rest = after;
        versions.push(Version {
            number: u32::from_le_bytes(*number),
            created: u64::from_le_bytes(*created),
            sealed: sealed.to_vec(),
        });
    }
    (format == FORMAT && !versions.is_empty()).then_some(versions)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(entries: &[(&str, &[u8])]) -> Vault {
        let entries = entries.iter().map(|(name, value)| ((*name).to_owned(), Arc::from(*value))).collect();
        let config = Config { revision: 1, entries };
        Vault::new(Arc::new(MasterKey::new(Key::new([1; 32]))), Rc::new(config))
    }

    #[test]
    fn ids_are_names_aliases_and_arns() {
        for id in [
            "team/a",
            "alias/team/a",
            "arn:aws:kms:us-east-1:000000000000:key/team/a",
            "arn:aws:kms:us-east-1:000000000000:alias/team/a",
        ] {
            assert_eq!(name_of(id), "team/a");
        }
        assert_eq!(name_of("arn:aws"), "arn:aws");
    }

    #[test]
    fn the_nodes_own_keys_are_there_from_the_beginning() {
        let vault = vault(&[]);
        let names: Vec<_> = vault.list().into_iter().map(|key| key.name).collect();
        assert_eq!(names, [KEY_DEFAULT, KEY_OF_NODE]);
        let (one, first) = vault.newest(KEY_DEFAULT).unwrap();
        let (_, second) = vault.newest(KEY_OF_NODE).unwrap();
        assert_eq!(one, 1);
        assert_ne!(first.reveal(), second.reveal());
        assert_eq!(vault.newest("other").err(), Some(KeyError::NotFound));
        assert_eq!(vault.version(KEY_DEFAULT, 2).err(), Some(KeyError::NotFound));
    }

    #[test]
    fn a_stored_key_opens_only_under_its_name_version_and_master_key() {
        let host = crate::io::sim::Simulation::new(1).host(1);
        let key = Key::new([9; 32]);
        let sealed = vault(&[]).sealed(&host, "a", 1, &key);
        let value = encode(&[sealed]);
        assert_eq!(vault(&[("kms/a", &value)]).newest("a").unwrap().1.reveal(), key.reveal());
        assert_eq!(vault(&[("kms/b", &value)]).newest("b").err(), Some(KeyError::Damaged));
        assert_eq!(vault(&[("kms/a", &value[..50])]).newest("a").err(), Some(KeyError::Damaged));
        assert_eq!(vault(&[("kms/a", &[])]).info("a").err(), Some(KeyError::Damaged));
    }

    #[test]
    fn what_is_given_up_with_a_lost_master_key_is_told_from_what_comes_after() {
        let host = crate::io::sim::Simulation::new(1).host(1);
        let sealed = |number| vault(&[]).sealed(&host, "a", number, &Key::new([9; 32]));
        let value = encode(&[sealed(1), sealed(2)]);
        let entries = give_up(&host, &vault(&[("kms/a", &value)])).unwrap();
        let entries: Vec<_> = entries.iter().map(|(name, value)| (name.as_str(), &value[..])).collect();
        let after = vault(&entries);
        for (name, last) in [("a", 2), (KEY_OF_NODE, 1), (KEY_DEFAULT, 1)] {
            for number in 1..=last {
                assert_eq!(after.version(name, number).err(), Some(KeyError::GivenUp), "{name} {number}");
            }
            assert_eq!(after.newest(name).unwrap().0, last + 1);
            assert_eq!(after.version(name, last + 2).err(), Some(KeyError::NotFound));
        }
        assert_eq!(after.info("a").unwrap().created, vault(&[("kms/a", &value)]).info("a").unwrap().created);
        // Once more, after a start that was cut off or another loss.
        let again = give_up(&host, &after).unwrap();
        let again: Vec<_> = again.iter().map(|(name, value)| (name.as_str(), &value[..])).collect();
        assert_eq!(vault(&again).version("a", 1).err(), Some(KeyError::GivenUp));
        assert_eq!(vault(&again).version("a", 3).err(), Some(KeyError::GivenUp));
        assert_eq!(vault(&again).newest("a").unwrap().0, 4);
    }

    #[test]
    fn names_are_those_of_aliases() {
        assert!(is_name("a") && is_name("Team-1/key_2"));
        assert!(!is_name("") && !is_name("a b") && !is_name("ä") && !is_name(&"a".repeat(251)));
    }
}
