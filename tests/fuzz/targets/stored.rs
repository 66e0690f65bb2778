//! Documents that the node keeps for itself: identities, named keys, what objects keep beside their headers,
//! events. Whatever stands there is read or refused, and what is read is written the same again.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use ringcask::auth::Keys;
use ringcask::auth::acl::Acl;
use ringcask::auth::directory::entry::Entry;
use ringcask::auth::directory::{
    Account, Directory, DirectoryError, Group, ManagedPolicy, Operator, User, names,
};
use ringcask::base::secret::Secret;
use ringcask::crypt::{Key, MasterKey};
use ringcask::engine::{Config, Event, EventChange, EventId, ObjectPart};
use ringcask::s3::encryption::{Encryption, HEADER, Vault};
use ringcask::s3::lock::LockWish;
use ringcask::s3::notification::event::Draft;
use ringcask::s3::tagging::TagSet;

/// The first line is a name, what follows it is what stands under that name.
pub fn run(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let Ok(name) = std::str::from_utf8(&data[..end]) else { return };
    let value = data.get(end + 1..).unwrap_or_default();
    match name {
        ":acl" => acl(value),
        ":encryption" => encryption(value),
        ":event" => event(value),
        ":lock" => {
            let wish = LockWish::take(&mut vec![(":lock".to_owned(), value.to_vec())]);
            let mut headers = Vec::new();
            wish.store(&mut headers);
            assert_eq!(LockWish::take(&mut headers), wish);
        }
        ":tags" => drop(TagSet::load(&vec![(":tags".to_owned(), value.to_vec())])),
        ":names" => check_names(value),
        _ => entry(name, value),
    }
}

/// An entry of the node's configuration.
fn entry(name: &str, value: &[u8]) {
    let entries = [(name.to_owned(), Arc::from(value))];
    let seal = |_: &[u8], secret: &[u8]| secret.to_vec();
    let open = |_: &[u8], sealed: &[u8]| String::from_utf8(sealed.to_vec()).ok().map(Secret::new);
    if let Ok(read) = Entry::read(name, value, &open) {
        let (written_name, written) = match &read {
            Entry::Account(account) => (Account::entry_name(&account.id), account.encode(&seal)),
            Entry::User(user) => (User::entry_name(&user.account_id, &user.name), user.encode(&seal)),
            Entry::Group(group) => (Group::entry_name(&group.account_id, &group.name), group.encode()),
            Entry::Policy(policy) => {
                (ManagedPolicy::entry_name(&policy.account_id, &policy.name), policy.encode())
            }
        };
        assert_eq!(written_name, name);
        let again = Entry::read(name, &written, &open).unwrap_or_else(|error| panic!("{error}"));
        assert!(match (&read, &again) {
            (Entry::Account(read), Entry::Account(again)) => read == again,
            (Entry::User(read), Entry::User(again)) => read == again,
            (Entry::Group(read), Entry::Group(again)) => read == again,
            (Entry::Policy(read), Entry::Policy(again)) => read == again,
            _ => false,
        });
    }
    let operator = Operator {
        account_id: "000000000000".to_owned(),
        canonical_id: "0a".to_owned(),
        name: "root".to_owned(),
        access_key_id: "root".to_owned(),
        secret: Secret::new("secret"),
    };
    match Directory::build(None, &operator, entries.iter().map(|(name, value)| (name, value)), &open) {
        Ok(directory) => {
            assert_eq!(directory.secret("root").as_deref(), Some("secret"));
            for account in directory.accounts() {
                let _ = directory.users(&account.id).count();
            }
            let _ = (directory.principal("root"), directory.principal("AKIAEXAMPLE"));
        }
        Err(DirectoryError::Damaged(named) | DirectoryError::Sealed(named)) => assert_eq!(named, name),
        Err(DirectoryError::OperatorKeyTaken(id)) => assert_eq!(id, "root"),
    }
    let config = Config { entries: entries.into_iter().collect(), ..Config::default() };
    let vault = Vault::new(Arc::new(MasterKey::new(Key::new([7; 32]))), Rc::new(config));
    for info in vault.list() {
        let _ = (vault.newest(&info.name), vault.version(&info.name, info.version));
    }
}

fn acl(value: &[u8]) {
    let Some(read) = std::str::from_utf8(value).ok().and_then(Acl::parse) else { return };
    assert_eq!(read.to_string().as_bytes(), value);
    let _ = (read.is_public(), read.is_private());
}

fn encryption(value: &[u8]) {
    let headers = vec![(HEADER.to_owned(), value.to_vec())];
    let Ok(Some(read)) = Encryption::load(&headers) else { return };
    let mut written = headers.clone();
    read.store(&mut written);
    assert_eq!(Encryption::load(&written), Ok(Some(read.clone())));
    let part =
        ObjectPart { number: 1, bytes: 5, checksum: None, note: value[..value.len().min(16)].to_vec() };
    let _ = (read.runs_of(&[]), read.runs_of(&[part]));
}

fn event(value: &[u8]) {
    let Some(draft) = Draft::decode(value) else { return };
    assert_eq!(Draft::decode(&draft.encode()).as_ref(), Some(&draft));
    for change in 0..8 {
        let Some(change) = EventChange::from_code(change) else { continue };
        let event = Event {
            id: EventId { sequence: 1 << 40, unique: 2 },
            bucket: 3,
            key: value.to_vec(),
            change,
            version: None,
            body: value.to_vec().into(),
        };
        let message: serde_json::Value = serde_json::from_slice(&draft.message(&event)).expect("JSON");
        assert!(message["Records"][0]["s3"]["object"]["key"].is_string());
    }
}

/// What names may be, and those that are made.
fn check_names(value: &[u8]) {
    let text = String::from_utf8_lossy(value);
    let _ = (names::check_name("user", &text), names::check_account_name(&text), names::check_email(&text));
    let _ = (names::check_access_key_id(&text), names::check_secret(&text));
    if value.iter().all(|byte| *byte == 0xff) {
        // Randomness that is never any good would be drawn for ever.
        return;
    }
    let at = RefCell::new(value.iter().cycle());
    let random = |bytes: &mut [u8]| bytes.fill_with(|| *at.borrow_mut().next().expect("it is not empty"));
    assert!(names::check_access_key_id(&names::make_access_key_id(&random)).is_ok());
    assert!(names::check_secret(&names::make_secret(&random)).is_ok());
}
