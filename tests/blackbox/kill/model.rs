//! What the clients of a node that is killed know, and how it is compared with what the node has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use super::load::{BUCKET, BUCKET_VERSIONED, RACES_PREFIX};
use crate::client::{Client, Request, encode, target};
use crate::content::{payload, seed_of};
use crate::http::{Response, elements};

/// What a key holds: the seed of its payload, or nothing. No bytes at all have the seed 0.
pub type Content = Option<u64>;

/// Keys and what they hold after a change that happens as a whole.
pub type Change = Vec<(String, Content)>;

/// A version of a key; a delete marker has no content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    pub id: String,
    pub content: Content,
}

/// A change of versions.
#[derive(Clone, Debug)]
pub enum VersionChange {
    /// A new version on top.
    Added {
        key: String,
        content: Content,
    },
    Removed {
        key: String,
        id: String,
    },
}

/// What one client knows of its keys. Nobody else touches them, so it knows all there is to know.
pub struct Writer {
    pub number: usize,
    pub keys: BTreeMap<String, Content>,
    /// Sent, and not answered when the node died: each may have happened or not.
    pub unanswered: Vec<Change>,
    /// Newest first.
    pub versions: BTreeMap<String, Vec<Version>>,
    pub version_unanswered: Option<VersionChange>,
}

/// What was read and compared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Checked {
    pub versions: u64,
    pub bytes: u64,
}

impl Checked {
    pub fn add(&mut self, other: Self) {
        self.versions += other.versions;
        self.bytes += other.bytes;
    }

    fn one(&mut self, body: &[u8]) {
        self.add(Self { versions: 1, bytes: body.len() as u64 });
    }
}

impl Writer {
    pub fn new(number: usize) -> Self {
        Self {
            number,
            keys: BTreeMap::new(),
            unanswered: Vec::new(),
            versions: BTreeMap::new(),
            version_unanswered: None,
        }
    }

    pub fn prefix(&self) -> String {
        format!("writer {:03}/", self.number)
    }

    /// Reads all of this writer's keys and versions, and resolves what was not answered.
    pub fn settle(&mut self, client: &mut Client) -> Checked {
        let mut checked = Checked::default();
        self.settle_keys(client, &mut checked);
        self.settle_versions(client, &mut checked);
        checked
    }

    fn settle_keys(&mut self, client: &mut Client, checked: &mut Checked) {
        let unanswered = std::mem::take(&mut self.unanswered);
        for (key, _) in unanswered.iter().flatten() {
            self.keys.entry(key.clone()).or_insert(None);
        }
        let mut found = BTreeMap::new();
        for key in self.keys.keys() {
            let response = client.get(BUCKET, key);
            let content = content_of(key, &response);
            if content.is_some() {
                checked.one(&response.body);
                check_range(client, key, &response.body);
            }
            found.insert(key.clone(), content);
        }
        // Each change is there as a whole or not at all.
        for change in unanswered {
            if change.iter().all(|(key, content)| found[key] == *content) {
                self.keys.extend(change);
            }
        }
        assert_eq!(found, self.keys, "found and acknowledged differ");
    }

    fn settle_versions(&mut self, client: &mut Client, checked: &mut Checked) {
        let listed = list_versions(client, &self.prefix());
        let unanswered = self.version_unanswered.take();
        match unanswered {
            Some(VersionChange::Removed { key, id }) => {
                let is_there = listed.get(&key).is_some_and(|of_key| of_key.iter().any(|(it, _)| *it == id));
                if !is_there {
                    self.versions.get_mut(&key).unwrap().retain(|version| version.id != id);
                }
            }
            Some(VersionChange::Added { key, content }) => {
                let known = self.versions.entry(key.clone()).or_default();
                if let Some(of_key) = listed.get(&key)
                    && of_key.len() == known.len() + 1
                {
                    known.insert(0, Version { id: of_key[0].0.clone(), content });
                }
            }
            None => {}
        }
        self.versions.retain(|_, versions| !versions.is_empty());
        let expected: Listed =
            self.versions.iter().map(|(key, versions)| (key.clone(), shape(versions))).collect();
        assert_eq!(listed, expected, "listed and acknowledged versions differ");
        for (key, versions) in &self.versions {
            for version in versions.iter().filter(|version| version.content.is_some()) {
                let at = format!("{}?versionId={}", target(BUCKET_VERSIONED, key), encode(&version.id));
                let response = client.send(Request::new("GET", &at));
                assert_eq!(content_of(key, &response), version.content, "{key:?}, version {}", version.id);
                checked.one(&response.body);
            }
            let current = client.get(BUCKET_VERSIONED, key);
            assert_eq!(content_of(key, &current), versions[0].content, "what is current of {key:?}");
        }
    }
}

/// What a response to GET says of a key; panics if it is neither whole nor a clear "no".
fn content_of(key: &str, response: &Response) -> Content {
    match response.status {
        404 => None,
        200 => {
            let seed = match response.body.is_empty() {
                true => 0,
                false => seed_of(&response.body).unwrap_or_else(|why| panic!("{key:?} is damaged: {why}")),
            };
            // Whatever changed the payload changed what is stored about it, too.
            assert_eq!(response.header("x-amz-meta-seed"), Some(seed.to_string().as_str()), "{key:?}");
            Some(seed)
        }
        status => panic!("{key:?}: {status} {}", response.text()),
    }
}

/// A range out of the middle is what the whole says.
fn check_range(client: &mut Client, key: &str, whole: &[u8]) {
    if whole.len() < 100_000 {
        return;
    }
    let (from, to) = (whole.len() / 3, whole.len() / 3 + 70_000.min(whole.len() / 2));
    let get = Request::new("GET", &target(BUCKET, key)).header("Range", &format!("bytes={from}-{to}"));
    assert!(client.send(get).expect(206).body == whole[from..=to], "a range of {key:?} differs");
    // The payload proves itself; this proves the test.
    debug_assert!(whole == payload(seed_of(whole).unwrap(), whole.len()));
}

/// Version ids of keys, newest first, and whether each is an object.
type Listed = BTreeMap<String, Vec<(String, bool)>>;

fn shape(versions: &[Version]) -> Vec<(String, bool)> {
    versions.iter().map(|version| (version.id.clone(), version.content.is_some())).collect()
}

fn list_versions(client: &mut Client, prefix: &str) -> Listed {
    let mut listed = Listed::new();
    let (mut key_after, mut version_after) = (String::new(), String::new());
    loop {
        let mut query = format!("/{BUCKET_VERSIONED}?versions&prefix={}", encode(prefix));
        if !key_after.is_empty() {
            query +=
                &format!("&key-marker={}&version-id-marker={}", encode(&key_after), encode(&version_after));
        }
        let page = client.send(Request::new("GET", &query)).expect(200);
        for (key, id, is_object, is_latest) in rows(&page.text()) {
            let of_key = listed.entry(key).or_default();
            assert_eq!(is_latest, of_key.is_empty(), "the first of a key is its latest");
            of_key.push((id, is_object));
        }
        if page.element("IsTruncated").as_deref() != Some("true") {
            return listed;
        }
        key_after = page.element("NextKeyMarker").unwrap();
        version_after = page.element("NextVersionIdMarker").unwrap();
    }
}

/// Key, version id, whether it is an object (or a delete marker) and the latest: in the order listed.
fn rows(text: &str) -> Vec<(String, String, bool, bool)> {
    let mut rows = Vec::new();
    let mut rest = text;
    while let Some((at, is_object)) = [("<Version>", true), ("<DeleteMarker>", false)]
        .into_iter()
        .filter_map(|(tag, is_object)| Some((rest.find(tag)?, is_object)))
        .min()
    {
        rest = &rest[at + 1..];
        let one = |name: &str| elements(rest, name).into_iter().next().unwrap();
        rows.push((one("Key"), one("VersionId"), is_object, one("IsLatest") == "true"));
    }
    rows
}

/// Keys that several clients try to create at the same time.
#[derive(Default)]
pub struct Races {
    runs: Mutex<BTreeMap<String, Race>>,
}

#[derive(Default)]
struct Race {
    winner: Content,
    /// Sent; those that were refused are taken away again.
    tried: BTreeSet<u64>,
}

impl Races {
    pub fn begin(&self, key: &str, seed: u64) {
        self.runs.lock().unwrap().entry(key.to_owned()).or_default().tried.insert(seed);
    }

    pub fn end(&self, key: &str, seed: u64, has_won: bool) {
        let mut runs = self.runs.lock().unwrap();
        let race = runs.get_mut(key).unwrap();
        if has_won {
            assert_eq!(race.winner.replace(seed), None, "{key:?} was created twice");
        } else {
            race.tried.remove(&seed);
        }
    }

    /// Each key has one of those who tried, and the winner if somebody was told to be it.
    pub fn settle(&self, client: &mut Client) -> Checked {
        let mut checked = Checked::default();
        for (key, race) in &mut *self.runs.lock().unwrap() {
            let response = client.get(BUCKET, key);
            let found = content_of(key, &response);
            match race.winner {
                Some(_) => assert_eq!(found, race.winner, "{key:?}"),
                None => assert!(found.is_none_or(|seed| race.tried.contains(&seed)), "{key:?}: {found:?}"),
            }
            race.winner = found;
            if found.is_some() {
                checked.one(&response.body);
            }
        }
        checked
    }

    fn held(&self) -> Vec<String> {
        let runs = self.runs.lock().unwrap();
        runs.iter().filter(|(_, race)| race.winner.is_some()).map(|(key, _)| key.clone()).collect()
    }
}

/// The listing shows exactly the keys that hold something.
pub fn compare_with_listing(writers: &[Mutex<Writer>], races: &Races, client: &mut Client) {
    let mut expected = races.held();
    assert!(expected.iter().all(|key| key.starts_with(RACES_PREFIX)));
    for writer in writers {
        let writer = writer.lock().unwrap();
        let held = writer.keys.iter().filter(|(_, content)| content.is_some());
        expected.extend(held.map(|(key, _)| key.clone()));
    }
    expected.sort();
    let mut listed = Vec::new();
    let mut after = String::new();
    loop {
        let query = format!("/{BUCKET}?list-type=2&start-after={}", encode(&after));
        let page = client.send(Request::new("GET", &query)).expect(200);
        listed.extend(elements(&page.text(), "Key"));
        if page.element("IsTruncated").as_deref() != Some("true") {
            break;
        }
        after = listed.last().unwrap().clone();
    }
    assert_eq!(listed, expected);
}
