//! Directories that change as the admin service changes them: each change builds the next directory.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;

use super::change::{Bearer, Change, KeyWish, Refusal, RefusalKind, Write};
use super::*;

const OPERATOR: &str = "000000000000";
const DOCUMENT: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;

/// Entries and the directory that they make. The "cipher" is a mark and the context in clear: enough to see
/// that secrets are opened where they were sealed.
struct World {
    entries: BTreeMap<String, Arc<[u8]>>,
    directory: Directory,
    random: Cell<u64>,
    opened: Cell<usize>,
}

fn operator() -> Operator {
    Operator {
        account_id: OPERATOR.to_owned(),
        canonical_id: "c".repeat(64),
        name: "root".to_owned(),
        access_key_id: "OPERATORKEY".to_owned(),
        secret: Secret::new("operator's secret"),
    }
}

fn seal(context: &[u8], secret: &[u8]) -> Vec<u8> {
    [context, b"|", secret].concat()
}

fn open(context: &[u8], sealed: &[u8]) -> Option<Secret> {
    let rest = sealed.strip_prefix(context)?.strip_prefix(b"|")?;
    String::from_utf8(rest.to_vec()).ok().map(Secret::new)
}

impl World {
    fn new() -> Self {
        let directory = Directory::build(None, &operator(), &BTreeMap::new(), &open).unwrap();
        Self { entries: BTreeMap::new(), directory, random: Cell::new(1), opened: Cell::new(0) }
    }

    /// Has `ask` say what to write, and writes it.
    fn change<T>(
        &mut self,
        ask: impl FnOnce(&Change<'_>) -> Result<(T, Write), Refusal>,
    ) -> Result<T, Refusal> {
        let random = |bytes: &mut [u8]| {
            for byte in bytes {
                let next = self.random.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                self.random.set(next);
                *byte = (next >> 33) as u8;
            }
        };
        let change = Change { directory: &self.directory, now: 1000, random: &random, seal: &seal };
        let (value, write) = ask(&change)?;
        match write.value {
            Some(bytes) => self.entries.insert(write.name, bytes.into()),
            None => self.entries.remove(&write.name),
        };
        self.opened.set(0);
        let counted = |context: &[u8], sealed: &[u8]| {
            self.opened.set(self.opened.get() + 1);
            open(context, sealed)
        };
        self.directory =
            Directory::build(Some(&self.directory), &operator(), &self.entries, &counted).unwrap();
        Ok(value)
    }

    fn write(&mut self, ask: impl FnOnce(&Change<'_>) -> Result<Write, Refusal>) -> Result<(), Refusal> {
        self.change(|change| ask(change).map(|write| ((), write)))
    }

    fn refused(&mut self, ask: impl FnOnce(&Change<'_>) -> Result<Write, Refusal>) -> RefusalKind {
        self.write(ask).unwrap_err().kind
    }

    fn user(&mut self, name: &str) {
        self.change(|c| c.create_user(OPERATOR, name, &[], &[])).unwrap();
    }

    fn key(&mut self, holder: &Holder, id: &str) -> AccessKey {
        let wish = KeyWish { id: Some(id.to_owned()), secret: None };
        self.change(|c| c.create_key(holder, wish)).unwrap()
    }
}

#[test]
fn a_node_without_entries_knows_its_operator() {
    let world = World::new();
    assert_eq!(world.directory.secret("OPERATORKEY").as_deref(), Some("operator's secret"));
    assert_eq!(world.directory.holder("OPERATORKEY"), Some(&Holder::root(OPERATOR)));
    assert_eq!(world.directory.account_by_canonical_id(&"c".repeat(64)).unwrap().id, OPERATOR);
    assert_eq!(world.directory.secret("other"), None);
}

#[test]
fn what_was_stored_is_read_again_as_it_was() {
    let mut world = World::new();
    let account = world.change(|c| c.create_account("tenant", "t@example.com")).unwrap();
    world.change(|c| c.put_policy(&account.id, "p", DOCUMENT)).unwrap();
    world.change(|c| c.create_group(&account.id, "g", &["p".to_owned()])).unwrap();
    let user = world
        .change(|c| c.create_user(&account.id, "u", &["g".to_owned()], &["readonly".to_owned()]))
        .unwrap();
    let holder = Holder::user(&account.id, "u");
    let key = world.key(&holder, "theirkey");
    let root_key = world.key(&Holder::root(&account.id), "rootkey");
    let cold = Directory::build(None, &operator(), &world.entries, &open).unwrap();
    for directory in [&world.directory, &cold] {
        let mut expected = account.clone();
        expected.keys.push(root_key.clone());
        assert_eq!(**directory.account(&account.id).unwrap(), expected);
        let mut expected = user.clone();
        expected.keys.push(key.clone());
        assert_eq!(**directory.user(&account.id, "u").unwrap(), expected);
        assert_eq!(directory.group(&account.id, "g").unwrap().policies, ["p"]);
        assert_eq!(directory.policy(&account.id, "p").unwrap().document, DOCUMENT);
        assert_eq!(directory.secret("theirkey").as_deref(), Some(key.secret.reveal()));
        assert_eq!(directory.holder("theirkey"), Some(&holder));
        assert_eq!(directory.account_by_email("T@EXAMPLE.COM").unwrap().id, account.id);
        assert_eq!(directory.account_named("tenant").unwrap().id, account.id);
    }
    for bytes in world.entries.values() {
        let text = std::str::from_utf8(bytes).unwrap();
        assert!(!text.contains(key.secret.reveal()), "a secret is stored in clear: {text}");
    }
}

#[test]
fn accounts_do_not_see_each_other() {
    let mut world = World::new();
    let [a, b] = ["a", "b"].map(|name| world.change(|c| c.create_account(name, "")).unwrap());
    world.change(|c| c.create_user(&a.id, "u", &[], &[])).unwrap();
    world.change(|c| c.put_policy(&a.id, "p", DOCUMENT)).unwrap();
    world.change(|c| c.create_user(&b.id, "u", &[], &[])).unwrap();
    assert_eq!(world.directory.users(&a.id).count(), 1);
    assert_eq!(world.directory.users(OPERATOR).count(), 0);
    let attach = |c: &Change<'_>| c.attach_policy(&b.id, Bearer::User("u"), "p").map(Option::unwrap);
    assert_eq!(world.refused(attach), RefusalKind::NotFound);
    assert!(world.directory.policy(&b.id, "p").is_none());
    assert!(world.directory.policy(&b.id, "readwrite").is_some());
}

#[test]
fn keys_live_and_die_with_their_state() {
    let mut world = World::new();
    world.user("u");
    let holder = Holder::user(OPERATOR, "u");
    let made = world.change(|c| c.create_key(&holder, KeyWish::default())).unwrap();
    assert!(made.id.starts_with("AKIA") && made.id.len() == 20 && made.secret.reveal().len() == 40);
    let other = world.key(&holder, "minio-user");
    assert_eq!(world.directory.keys(&holder).len(), 2);

    world.change(|c| c.set_key_active(&made.id, false)).unwrap();
    assert_eq!(world.directory.secret(&made.id), None);
    assert_eq!(world.directory.holder(&made.id), None);
    assert_eq!(world.directory.secret(&other.id).as_deref(), Some(other.secret.reveal()));
    world.change(|c| c.set_key_active(&made.id, true)).unwrap();
    assert_eq!(world.directory.secret(&made.id).as_deref(), Some(made.secret.reveal()));

    let rotated = world.change(|c| c.rotate_key(&made.id, None)).unwrap();
    assert_ne!(rotated.secret, made.secret);
    assert_eq!(rotated.rotated, Some(1000));
    assert_eq!(world.directory.secret(&made.id).as_deref(), Some(rotated.secret.reveal()));

    world.write(|c| c.delete_key(&made.id)).unwrap();
    assert!(world.directory.key(&made.id).is_none());
    world.write(|c| c.delete_user(OPERATOR, "u")).unwrap();
    assert!(world.directory.key(&other.id).is_none());
    assert!(world.entries.is_empty());
}

#[test]
fn an_access_key_id_is_unique_in_the_node() {
    let mut world = World::new();
    let account = world.change(|c| c.create_account("tenant", "")).unwrap();
    world.user("u");
    world.key(&Holder::user(OPERATOR, "u"), "taken");
    for id in ["taken", "OPERATORKEY"] {
        let wish = KeyWish { id: Some(id.to_owned()), secret: None };
        let ask = |c: &Change<'_>| c.create_key(&Holder::root(&account.id), wish).map(|(_, write)| write);
        assert_eq!(world.refused(ask), RefusalKind::Exists);
    }
    let mut clash = operator();
    clash.access_key_id = "taken".to_owned();
    let error = Directory::build(None, &clash, &world.entries, &open).err().unwrap();
    assert_eq!(error, DirectoryError::OperatorKeyTaken("taken".to_owned()));
}

#[test]
fn the_operators_first_key_is_changed_elsewhere() {
    let mut world = World::new();
    assert_eq!(world.refused(|c| c.delete_key("OPERATORKEY")), RefusalKind::InUse);
    assert_eq!(world.refused(|c| c.rotate_key("OPERATORKEY", None).map(|(_, w)| w)), RefusalKind::InUse);
    let second = world.key(&Holder::root(OPERATOR), "second");
    assert_eq!(world.directory.secret("second").as_deref(), Some(second.secret.reveal()));
    assert!(world.directory.secret("OPERATORKEY").is_some());
    world.write(|c| c.delete_key("second")).unwrap();
    assert_eq!(world.refused(|c| c.delete_account(OPERATOR, 0)), RefusalKind::InUse);
}

#[test]
fn what_is_needed_is_not_deleted() {
    let mut world = World::new();
    world.change(|c| c.put_policy(OPERATOR, "p", DOCUMENT)).unwrap();
    world.change(|c| c.create_group(OPERATOR, "g", &[])).unwrap();
    world.user("u");
    world.write(|c| c.add_member(OPERATOR, "g", "u").map(Option::unwrap)).unwrap();
    world.write(|c| c.attach_policy(OPERATOR, Bearer::Group("g"), "p").map(Option::unwrap)).unwrap();
    assert_eq!(world.refused(|c| c.delete_policy(OPERATOR, "p")), RefusalKind::InUse);
    assert_eq!(world.refused(|c| c.delete_policy(OPERATOR, "readonly")), RefusalKind::InUse);
    assert_eq!(world.refused(|c| c.delete_group(OPERATOR, "g")), RefusalKind::InUse);
    world.write(|c| c.detach_policy(OPERATOR, Bearer::Group("g"), "p")).unwrap();
    world.write(|c| c.remove_member(OPERATOR, "g", "u")).unwrap();
    world.write(|c| c.delete_policy(OPERATOR, "p")).unwrap();
    world.write(|c| c.delete_group(OPERATOR, "g")).unwrap();

    let account = world.change(|c| c.create_account("tenant", "")).unwrap();
    assert_eq!(world.refused(|c| c.delete_account(&account.id, 2)), RefusalKind::InUse);
    world.change(|c| c.create_user(&account.id, "x", &[], &[])).unwrap();
    assert_eq!(world.refused(|c| c.delete_account(&account.id, 0)), RefusalKind::InUse);
    world.write(|c| c.delete_user(&account.id, "x")).unwrap();
    world.write(|c| c.delete_account(&account.id, 0)).unwrap();
    assert!(world.directory.account(&account.id).is_none());
}

#[test]
fn what_is_there_already_is_said_and_not_replaced() {
    let mut world = World::new();
    world.user("u");
    let again = |c: &Change<'_>| c.create_user(OPERATOR, "u", &[], &[]).map(|(_, write)| write);
    assert_eq!(world.refused(again), RefusalKind::Exists);
    world.change(|c| c.create_account("tenant", "t@example.com")).unwrap();
    for (name, email) in [("tenant", ""), ("root", ""), ("other", "T@example.com")] {
        let again = |c: &Change<'_>| c.create_account(name, email).map(|(_, write)| write);
        assert_eq!(world.refused(again), RefusalKind::Exists, "{name}");
    }
    let builtin = |c: &Change<'_>| c.put_policy(OPERATOR, "readonly", DOCUMENT).map(|(_, write)| write);
    assert_eq!(world.refused(builtin), RefusalKind::Exists);
    world.write(|c| c.attach_policy(OPERATOR, Bearer::User("u"), "readonly").map(Option::unwrap)).unwrap();
    let change = Change { directory: &world.directory, now: 0, random: &|_| (), seal: &seal };
    assert_eq!(change.attach_policy(OPERATOR, Bearer::User("u"), "readonly"), Ok(None));
}

#[test]
fn a_principal_has_its_own_policies_and_those_of_its_groups() {
    let mut world = World::new();
    world.change(|c| c.put_policy(OPERATOR, "p", DOCUMENT)).unwrap();
    world.change(|c| c.create_group(OPERATOR, "g", &["p".to_owned(), "readonly".to_owned()])).unwrap();
    let groups = ["g".to_owned()];
    world.change(|c| c.create_user(OPERATOR, "u", &groups, &["readonly".to_owned()])).unwrap();
    world.key(&Holder::user(OPERATOR, "u"), "key");
    let principal = world.directory.principal("key").unwrap();
    assert_eq!(principal.arn, "arn:aws:iam::000000000000:user/u");
    assert_eq!(principal.policies.len(), 2);
    assert!(principal.user_id.starts_with("AIDA") && !principal.is_root());
    assert!(world.directory.has_user(&principal.arn));

    // The same key acts otherwise as soon as a group has other policies.
    world.write(|c| c.detach_policy(OPERATOR, Bearer::Group("g"), "p")).unwrap();
    assert_eq!(world.directory.principal("key").unwrap().policies.len(), 1);
    world.change(|c| c.set_key_active("key", false)).unwrap();
    assert!(world.directory.principal("key").is_none());

    let root = world.directory.principal("OPERATORKEY").unwrap();
    assert!(root.is_root());
    assert_eq!((root.arn.as_str(), root.policies.len()), ("arn:aws:iam::000000000000:root", 0));
}

#[test]
fn a_document_that_is_no_policy_is_refused() {
    let mut world = World::new();
    for document in ["", "{}", "{\"Version\":\"2012-10-17\"}", &DOCUMENT.replace("s3:*", "s3:Nothing")] {
        let ask = |c: &Change<'_>| c.put_policy(OPERATOR, "p", document).map(|(_, write)| write);
        assert_eq!(world.refused(ask), RefusalKind::Malformed, "{document}");
    }
}

#[test]
fn names_that_would_break_an_arn_or_a_path_are_refused() {
    let mut world = World::new();
    for name in ["", "a/b", "a b", "a:b", "ü", "*", &"x".repeat(65)] {
        let ask = |c: &Change<'_>| c.create_user(OPERATOR, name, &[], &[]).map(|(_, write)| write);
        assert_eq!(world.refused(ask), RefusalKind::Invalid, "{name}");
    }
    for name in ["", " a", "a/b", "a\nb", "123456789012"] {
        let ask = |c: &Change<'_>| c.create_account(name, "").map(|(_, write)| write);
        assert_eq!(world.refused(ask), RefusalKind::Invalid, "{name}");
    }
    for email in ["x", "@", "a@", "@b", "a@b@c", "a b@c"] {
        let ask = |c: &Change<'_>| c.create_account("n", email).map(|(_, write)| write);
        assert_eq!(world.refused(ask), RefusalKind::Invalid, "{email}");
    }
    world.user("u");
    let holder = Holder::user(OPERATOR, "u");
    for (id, secret) in [("ab", "12345678"), ("a/b", "12345678"), ("abc", "1234567"), ("abc", "1234567\n")] {
        let wish = KeyWish { id: Some(id.to_owned()), secret: Some(Secret::new(secret)) };
        let ask = |c: &Change<'_>| c.create_key(&holder, wish).map(|(_, write)| write);
        assert_eq!(world.refused(ask), RefusalKind::Invalid, "{id} {secret}");
    }
}

#[test]
fn a_change_reads_no_entry_but_its_own() {
    let mut world = World::new();
    for name in ["a", "b", "c"] {
        world.user(name);
        world.key(&Holder::user(OPERATOR, name), &format!("key-{name}"));
    }
    assert_eq!(world.opened.get(), 1);
    world.change(|c| c.create_group(OPERATOR, "g", &[])).unwrap();
    assert_eq!(world.opened.get(), 0);
}

#[test]
fn secrets_of_another_master_key_or_another_entry_are_named() {
    let mut world = World::new();
    world.user("u");
    world.key(&Holder::user(OPERATOR, "u"), "key");
    let build = |entries: &BTreeMap<String, Arc<[u8]>>, open: &Open<'_>| {
        Directory::build(None, &operator(), entries, open).err().unwrap()
    };
    let name = "identity/user/000000000000/u".to_owned();
    assert_eq!(build(&world.entries, &|_, _| None), DirectoryError::Sealed(name.clone()));
    // A sealed secret that was moved to another key's id does not open there.
    let text =
        std::str::from_utf8(&world.entries[&name]).unwrap().replace("\"id\":\"key\"", "\"id\":\"other\"");
    world.entries.insert(name.clone(), text.into_bytes().into());
    assert_eq!(build(&world.entries, &open), DirectoryError::Sealed(name.clone()));
    for bytes in [&b"{}"[..], b"", b"[[[[", br#"{"version":2,"created":0,"policies":[]}"#] {
        let name = "identity/group/000000000000/g".to_owned();
        let entries = BTreeMap::from([(name.clone(), Arc::from(bytes))]);
        assert_eq!(build(&entries, &open), DirectoryError::Damaged(name));
    }
    let entries = BTreeMap::from([("identity/what/x".to_owned(), Arc::from(&b"{}"[..]))]);
    assert!(matches!(build(&entries, &open), DirectoryError::Damaged(_)));
}

#[test]
fn accounts_and_users_stay_when_keys_are_taken_out_that_do_not_open() {
    let mut world = World::new();
    let account = world.change(|c| c.create_account("tenant", "t@example.com")).unwrap();
    world.change(|c| c.create_group(OPERATOR, "g", &["readonly".to_owned()])).unwrap();
    let user = world.change(|c| c.create_user(OPERATOR, "u", &["g".to_owned()], &["readwrite".to_owned()]));
    let user = user.unwrap();
    world.user("keyless");
    world.key(&Holder::root(&account.id), "rootkey");
    world.key(&Holder::user(OPERATOR, "u"), "first");
    world.key(&Holder::user(OPERATOR, "u"), "second");
    let mut gone = Vec::new();
    for (name, value) in &mut world.entries {
        let Some(left) = entry::without_keys(name, value).unwrap() else { continue };
        gone.extend(left.key_ids);
        assert_eq!(entry::without_keys(name, &left.value), Ok(None));
        *value = left.value.into();
    }
    assert_eq!(gone, ["rootkey", "first", "second"]);
    // Nothing is left that would have to be opened.
    let directory = Directory::build(None, &operator(), &world.entries, &|_, _| None).unwrap();
    assert_eq!(directory.account(&account.id).map(|it| &**it), Some(&account));
    assert_eq!(directory.user(OPERATOR, "u").map(|it| &**it), Some(&user));
    assert_eq!(directory.users(OPERATOR).count(), 2);
    assert_eq!(directory.secret("first"), None);
    assert!(entry::without_keys("identity/user/0/u", b"{}").is_err());
}

/// A change, by the numbers of what it is about: few, so that changes meet.
#[derive(Clone, Debug)]
enum Step {
    CreateAccount(usize),
    DeleteAccount(usize),
    CreateUser(usize, usize),
    DeleteUser(usize, usize),
    CreateGroup(usize, usize),
    DeleteGroup(usize, usize),
    Join(usize, usize, usize),
    Leave(usize, usize, usize),
    PutPolicy(usize, usize),
    DeletePolicy(usize, usize),
    Attach(usize, bool, usize, usize),
    Detach(usize, bool, usize, usize),
    CreateKey(usize, Option<usize>, usize),
    DeleteKey(usize),
    SetActive(usize, bool),
    Rotate(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let n = || 0..3_usize;
    let step = prop_oneof![
        n().prop_map(Step::CreateAccount),
        n().prop_map(Step::DeleteAccount),
        (n(), n()).prop_map(|(a, u)| Step::CreateUser(a, u)),
        (n(), n()).prop_map(|(a, u)| Step::DeleteUser(a, u)),
        (n(), n()).prop_map(|(a, g)| Step::CreateGroup(a, g)),
        (n(), n()).prop_map(|(a, g)| Step::DeleteGroup(a, g)),
        (n(), n(), n()).prop_map(|(a, g, u)| Step::Join(a, g, u)),
        (n(), n(), n()).prop_map(|(a, g, u)| Step::Leave(a, g, u)),
        (n(), n()).prop_map(|(a, p)| Step::PutPolicy(a, p)),
        (n(), n()).prop_map(|(a, p)| Step::DeletePolicy(a, p)),
        (n(), any::<bool>(), n(), n()).prop_map(|(a, g, b, p)| Step::Attach(a, g, b, p)),
        (n(), any::<bool>(), n(), n()).prop_map(|(a, g, b, p)| Step::Detach(a, g, b, p)),
        (n(), proptest::option::of(n()), 0..6_usize).prop_map(|(a, u, k)| Step::CreateKey(a, u, k)),
        (0..6_usize).prop_map(Step::DeleteKey),
        (0..6_usize, any::<bool>()).prop_map(|(k, on)| Step::SetActive(k, on)),
        (0..6_usize).prop_map(Step::Rotate),
    ];
    proptest::collection::vec(step, 0..80)
}

fn bearer(is_group: bool, name: &str) -> Bearer<'_> {
    if is_group { Bearer::Group(name) } else { Bearer::User(name) }
}

impl World {
    /// Takes a step, or is refused.
    fn take(&mut self, step: &Step) -> Result<(), Refusal> {
        let account = |number: usize| match number {
            0 => OPERATOR.to_owned(),
            number => {
                let name = format!("account{number}");
                self.directory.account_named(&name).map_or(name, |account| account.id.clone())
            }
        };
        let (user, group) = (|n: &usize| format!("user{n}"), |n: &usize| format!("group{n}"));
        let (policy, key) = (|n: &usize| format!("policy{n}"), |n: &usize| format!("key{n}"));
        let named = |is_group: bool, n: &usize| if is_group { group(n) } else { user(n) };
        let nothing = || Refusal::invalid("nothing to write");
        match step {
            Step::CreateAccount(n) => {
                let name = format!("account{n}");
                self.change(|c| c.create_account(&name, "")).map(drop)
            }
            Step::DeleteAccount(a) => {
                let a = account(*a);
                self.write(|c| c.delete_account(&a, 0))
            }
            // What the admin service has checked: the account is there.
            Step::CreateUser(a, _) | Step::CreateGroup(a, _) | Step::PutPolicy(a, _)
                if self.directory.account(&account(*a)).is_none() =>
            {
                Err(nothing())
            }
            Step::CreateUser(a, u) => {
                let a = account(*a);
                self.change(|c| c.create_user(&a, &user(u), &[], &[])).map(drop)
            }
            Step::DeleteUser(a, u) => {
                let a = account(*a);
                self.write(|c| c.delete_user(&a, &user(u)))
            }
            Step::CreateGroup(a, g) => {
                let a = account(*a);
                self.change(|c| c.create_group(&a, &group(g), &[])).map(drop)
            }
            Step::DeleteGroup(a, g) => {
                let a = account(*a);
                self.write(|c| c.delete_group(&a, &group(g)))
            }
            Step::Join(a, g, u) => {
                let a = account(*a);
                self.write(|c| c.add_member(&a, &group(g), &user(u))?.ok_or_else(nothing))
            }
            Step::Leave(a, g, u) => {
                let a = account(*a);
                self.write(|c| c.remove_member(&a, &group(g), &user(u)))
            }
            Step::PutPolicy(a, p) => {
                let a = account(*a);
                self.change(|c| c.put_policy(&a, &policy(p), DOCUMENT)).map(drop)
            }
            Step::DeletePolicy(a, p) => {
                let a = account(*a);
                self.write(|c| c.delete_policy(&a, &policy(p)))
            }
            Step::Attach(a, is_group, n, p) => {
                let (a, name) = (account(*a), named(*is_group, n));
                self.write(|c| c.attach_policy(&a, bearer(*is_group, &name), &policy(p))?.ok_or_else(nothing))
            }
            Step::Detach(a, is_group, n, p) => {
                let (a, name) = (account(*a), named(*is_group, n));
                self.write(|c| c.detach_policy(&a, bearer(*is_group, &name), &policy(p)))
            }
            Step::CreateKey(a, u, k) => {
                let holder = Holder { account_id: account(*a), user: u.map(|u| user(&u)) };
                let wish = KeyWish { id: Some(key(k)), secret: None };
                self.change(|c| c.create_key(&holder, wish)).map(drop)
            }
            Step::DeleteKey(k) => self.write(|c| c.delete_key(&key(k))),
            Step::SetActive(k, on) => self.change(|c| c.set_key_active(&key(k), *on)).map(drop),
            Step::Rotate(k) => self.change(|c| c.rotate_key(&key(k), None)).map(drop),
        }
    }
}

/// All that a directory says.
fn said(directory: &Directory) -> Vec<String> {
    let mut said = Vec::new();
    for account in directory.accounts() {
        said.push(format!("{account:?}"));
        said.extend(directory.users(&account.id).map(|user| format!("{user:?}")));
        said.extend(directory.groups(&account.id).map(|group| format!("{group:?}")));
        said.extend(directory.policies(&account.id).map(|policy| format!("{policy:?}")));
        for (holder, key) in directory.account_keys(&account.id) {
            let secret = directory.secret(&key.id);
            let principal = directory.principal(&key.id).map(|p| (p.arn.clone(), p.policies.len()));
            said.push(format!("{holder:?} {key:?} {secret:?} {principal:?}"));
        }
    }
    said
}

proptest! {
    #[test]
    fn whatever_changes_the_directory_is_whole_and_is_what_a_start_would_read(steps in steps()) {
        let mut world = World::new();
        for step in &steps {
            let before = said(&world.directory);
            if world.take(step).is_err() {
                prop_assert_eq!(&said(&world.directory), &before);
            }
            let directory = &world.directory;
            for account in directory.accounts() {
                for user in directory.users(&account.id) {
                    let has_policy = |name: &String| directory.policy(&account.id, name).is_some();
                    prop_assert!(user.policies.iter().all(has_policy));
                    prop_assert!(user.groups.iter().all(|name| directory.group(&account.id, name).is_some()));
                    prop_assert!(user.groups.is_sorted() && user.policies.is_sorted());
                    for key in &user.keys {
                        let holder = directory.key(&key.id).map(|(holder, _)| holder.clone());
                        prop_assert_eq!(holder, Some(Holder::user(&account.id, &user.name)));
                        prop_assert_eq!(directory.principal(&key.id).is_some(), key.is_active);
                    }
                }
            }
            // Nothing hangs on an account that is gone.
            let orphan = |(account, _): &(String, String)| directory.account(account).is_none();
            prop_assert!(!directory.users.keys().chain(directory.groups.keys()).any(orphan));
        }
        let cold = Directory::build(None, &operator(), &world.entries, &open).unwrap();
        prop_assert_eq!(said(&world.directory), said(&cold));
    }
}
