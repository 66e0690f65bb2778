//! Random histories of versions, tags, locks and lost power, compared with a model that keeps them in a list.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;

use super::harness::{Answer, Node};
use crate::engine::{BucketChange, Versioning};
use crate::hash;
use crate::http::date;
use crate::io::TimestampMs;
use crate::s3::xml::Element;

const HOUR_MS: u64 = 60 * 60 * 1000;

/// What somebody does. Keys and versions are given by their places; beyond the last version, one that never
/// was is meant, and none means the current one.
#[derive(Clone, Debug)]
enum Step {
    Enable(bool),
    Put { key: usize, tags: Tags, hours: Option<u8> },
    Copy { from: Target, to: usize, tags: Option<Tags> },
    Upload { key: usize, tags: Tags },
    Delete { target: Target, bypass: bool },
    DeleteMany { targets: Vec<Target>, bypass: bool },
    Tag { target: Target, tags: Tags },
    Retain { target: Target, is_compliance: bool, hours: u8, bypass: bool },
    Hold { target: Target, is_on: bool },
    Wait { hours: u8 },
    Crash,
}

type Tags = BTreeMap<String, String>;

#[derive(Clone, Copy, Debug)]
struct Target {
    key: usize,
    version: Option<usize>,
}

const KEYS: [&str; 3] = ["a", "a/b", "c"];

const NEVER_THERE: &str = "00000000000000ff";

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let key = || 0..KEYS.len();
    let tags = || prop::collection::btree_map("[xyz]", "[a-c ]{0,2}", 0..3);
    let target = || (key(), prop::option::of(0..4usize)).prop_map(|(key, version)| Target { key, version });
    let hours = || 1..4u8;
    let step = prop_oneof![
        1 => any::<bool>().prop_map(Step::Enable),
        4 => (key(), tags(), prop::option::of(hours()))
            .prop_map(|(key, tags, hours)| Step::Put { key, tags, hours }),
        2 => (target(), key(), prop::option::of(tags()))
            .prop_map(|(from, to, tags)| Step::Copy { from, to, tags }),
        1 => (key(), tags()).prop_map(|(key, tags)| Step::Upload { key, tags }),
        4 => (target(), any::<bool>()).prop_map(|(target, bypass)| Step::Delete { target, bypass }),
        1 => (prop::collection::vec(target(), 1..4), any::<bool>())
            .prop_map(|(targets, bypass)| Step::DeleteMany { targets, bypass }),
        2 => (target(), tags()).prop_map(|(target, tags)| Step::Tag { target, tags }),
        2 => (target(), any::<bool>(), hours(), any::<bool>()).prop_map(
            |(target, is_compliance, hours, bypass)| Step::Retain { target, is_compliance, hours, bypass }
        ),
        1 => (target(), any::<bool>()).prop_map(|(target, is_on)| Step::Hold { target, is_on }),
        1 => hours().prop_map(|hours| Step::Wait { hours }),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..40)
}

/// A version or, without a body, a delete marker.
#[derive(Clone, Debug, PartialEq)]
struct Version {
    id: String,
    body: Option<String>,
    tags: Tags,
    retention: Option<(&'static str, TimestampMs)>,
    is_held: bool,
}

impl Version {
    fn marker(id: String) -> Self {
        Self { id, body: None, tags: Tags::new(), retention: None, is_held: false }
    }

    fn is_locked(&self, now: TimestampMs, bypass: bool) -> bool {
        let is_retained =
            self.retention.is_some_and(|(mode, until)| until > now && !(bypass && mode == "GOVERNANCE"));
        is_retained || self.is_held
    }
}

/// The versions of each key, newest first.
struct Model {
    versioning: Versioning,
    can_lock: bool,
    keys: BTreeMap<&'static str, Vec<Version>>,
}

impl Model {
    fn of(&self, key: &str) -> &[Version] {
        self.keys.get(key).map_or(&[], Vec::as_slice)
    }

    fn find(&self, target: Target) -> Option<&Version> {
        self.of(KEYS[target.key]).get(target.version.unwrap_or(0))
    }

    fn id(&self, target: Target) -> Option<String> {
        target.version?;
        Some(self.find(target).map_or(NEVER_THERE.to_owned(), |version| version.id.clone()))
    }

    /// A new version replaces the null one only if it is null itself.
    fn add(&mut self, key: usize, version: Version) {
        let versions = self.keys.entry(KEYS[key]).or_default();
        if version.id == "null" {
            versions.retain(|other| other.id != "null");
        }
        versions.insert(0, version);
    }

    /// The id of a version that was just made, which its answer must name.
    fn made(&self, answer: &Answer) -> String {
        let id = answer.header("x-amz-version-id");
        assert_eq!(id.is_some(), self.versioning == Versioning::Enabled, "{answer:?}");
        id.unwrap_or("null").to_owned()
    }

    /// Deletes; gives the delete marker that should be made, or whether the version is gone.
    fn delete(&mut self, target: Target, now: TimestampMs, bypass: bool) -> Deletion {
        let key = KEYS[target.key];
        match (target.version, self.versioning) {
            (None, Versioning::Unversioned) => {
                self.keys.remove(key);
                Deletion::Gone
            }
            (None, _) => Deletion::Marker,
            (Some(index), _) => match self.of(key).get(index) {
                Some(version) if version.is_locked(now, bypass) => Deletion::Refused,
                Some(version) => {
                    let was_marker = version.body.is_none();
                    self.keys.get_mut(key).expect("it has a version").remove(index);
                    if was_marker { Deletion::MarkerGone } else { Deletion::Gone }
                }
                None => Deletion::Gone,
            },
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Deletion {
    Gone,
    MarkerGone,
    /// A marker is made, which the answer names.
    Marker,
    Refused,
}

fn query(tags: &Tags) -> String {
    let encode = |text: &str| crate::http::percent::encode(text.as_bytes());
    let pair = |(key, value): (&String, &String)| format!("{}={}", encode(key), encode(value));
    tags.iter().map(pair).collect::<Vec<_>>().join("&")
}

fn tagging(tags: &Tags) -> String {
    let tag = |(key, value): (&String, &String)| format!("<Tag><Key>{key}</Key><Value>{value}</Value></Tag>");
    format!("<Tagging><TagSet>{}</TagSet></Tagging>", tags.iter().map(tag).collect::<String>())
}

/// Path of a key in the bucket, with the version if one is named, and `sub` as sub-resource.
fn path(key: &str, version: Option<&str>, sub: &str) -> String {
    let version = version.map(|id| format!("versionId={id}&")).unwrap_or_default();
    format!("/bucket/{key}?{version}{sub}")
}

/// The node and what it should hold.
struct History {
    node: Node,
    model: Model,
    bodies: u32,
}

impl History {
    fn begin(can_lock: bool) -> Self {
        let node = Node::with_bucket("bucket");
        let mut versioning = Versioning::Unversioned;
        if can_lock {
            versioning = Versioning::Enabled;
            let enabled = b"<ObjectLockConfiguration><ObjectLockEnabled>Enabled</ObjectLockEnabled>\
                            </ObjectLockConfiguration>";
            let settings = [("object-lock".to_owned(), Some(enabled.to_vec()))].into();
            let versioning = Some(versioning);
            node.set_bucket("bucket", BucketChange { versioning, settings, ..BucketChange::default() });
        }
        let model = Model { versioning, can_lock, keys: BTreeMap::new() };
        Self { node, model, bodies: 0 }
    }

    fn body(&mut self) -> String {
        self.bodies += 1;
        format!("body {}", self.bodies)
    }

    fn take(mut self, step: Step) -> Self {
        match step {
            Step::Enable(is_enabled) => self.enable(is_enabled),
            Step::Put { key, tags, hours } => self.put(key, tags, hours),
            Step::Copy { from, to, tags } => self.copy(from, to, tags),
            Step::Upload { key, tags } => self.upload(key, tags),
            Step::Delete { target, bypass } => self.delete(target, bypass),
            Step::DeleteMany { targets, bypass } => self.delete_many(&targets, bypass),
            Step::Tag { target, tags } => self.tag(target, tags),
            Step::Retain { target, is_compliance, hours, bypass } => {
                let mode = if is_compliance { "COMPLIANCE" } else { "GOVERNANCE" };
                self.retain(target, mode, hours, bypass);
            }
            Step::Hold { target, is_on } => self.hold(target, is_on),
            Step::Wait { hours } => self.node.pass(Duration::from_millis(u64::from(hours) * HOUR_MS)),
            Step::Crash => {
                self.node = self.node.restart();
                self.check();
            }
        }
        self
    }

    /// A bucket whose versions can be locked keeps its versioning.
    fn enable(&mut self, is_enabled: bool) {
        if self.model.can_lock {
            return;
        }
        let versioning = if is_enabled { Versioning::Enabled } else { Versioning::Suspended };
        self.model.versioning = versioning;
        let change = BucketChange { versioning: Some(versioning), ..BucketChange::default() };
        self.node.set_bucket("bucket", change);
    }

    fn put(&mut self, key: usize, tags: Tags, hours: Option<u8>) {
        let body = self.body();
        let until = hours.map(|hours| self.node.now() + u64::from(hours) * HOUR_MS);
        let until = until.filter(|_| self.model.can_lock);
        let tag_header = query(&tags);
        let md5 = hash::base64_encode(&hash::md5(body.as_bytes()));
        let date = until.map(date::iso8601).unwrap_or_default();
        let mut headers = vec![("x-amz-tagging", tag_header.as_str()), ("content-md5", md5.as_str())];
        if until.is_some() {
            headers.push(("x-amz-object-lock-mode", "GOVERNANCE"));
            headers.push(("x-amz-object-lock-retain-until-date", &date));
        }
        let answer = self.node.send("PUT", &path(KEYS[key], None, ""), &headers, body.as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
        let id = self.model.made(&answer);
        let retention = until.map(|until| ("GOVERNANCE", until));
        self.model.add(key, Version { id, body: Some(body), tags, retention, is_held: false });
    }

    fn copy(&mut self, from: Target, to: usize, tags: Option<Tags>) {
        let mut source = format!("bucket/{}", KEYS[from.key]);
        if let Some(id) = self.model.id(from) {
            source += &format!("?versionId={id}");
        }
        let tag_header = tags.as_ref().map(query).unwrap_or_default();
        let mut headers =
            vec![("x-amz-copy-source", source.as_str()), ("x-amz-metadata-directive", "REPLACE")];
        if tags.is_some() {
            headers.push(("x-amz-tagging-directive", "REPLACE"));
            headers.push(("x-amz-tagging", &tag_header));
        }
        let answer = self.node.send("PUT", &path(KEYS[to], None, ""), &headers, b"");
        let Some(Version { id: read, body: Some(body), tags: kept, .. }) = self.model.find(from).cloned()
        else {
            let is_marker = from.version.is_some() && self.model.find(from).is_some();
            assert_eq!(answer.status, if is_marker { 400 } else { 404 }, "{answer:?}");
            return;
        };
        assert_eq!(answer.status, 200, "{answer:?}");
        let shown = (self.model.versioning != Versioning::Unversioned).then_some(read.as_str());
        assert_eq!(answer.header("x-amz-copy-source-version-id"), shown);
        let id = self.model.made(&answer);
        let tags = tags.unwrap_or(kept);
        self.model.add(to, Version { id, body: Some(body), tags, retention: None, is_held: false });
    }

    fn upload(&mut self, key: usize, tags: Tags) {
        let body = self.body();
        let tag_header = query(&tags);
        let mut headers = vec![("x-amz-tagging", tag_header.as_str())];
        if self.model.can_lock {
            headers.push(("x-amz-object-lock-legal-hold", "ON"));
        }
        let begun = self.node.send("POST", &path(KEYS[key], None, "uploads"), &headers, b"");
        let begun = begun.document("InitiateMultipartUploadResult");
        let upload = begun.child_text("UploadId").unwrap();
        let part = path(KEYS[key], None, &format!("partNumber=1&uploadId={upload}"));
        let part = self.node.send("PUT", &part, &[], body.as_bytes());
        let document = format!(
            "<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>{}</ETag></Part>\
             </CompleteMultipartUpload>",
            part.header("etag").unwrap()
        );
        let target = path(KEYS[key], None, &format!("uploadId={upload}"));
        let answer = self.node.send("POST", &target, &[], document.as_bytes());
        assert_eq!(answer.status, 200, "{answer:?}");
        let id = self.model.made(&answer);
        let is_held = self.model.can_lock;
        self.model.add(key, Version { id, body: Some(body), tags, retention: None, is_held });
    }

    fn delete(&mut self, target: Target, bypass: bool) {
        let id = self.model.id(target);
        let headers: &[_] = if bypass { &[("x-amz-bypass-governance-retention", "true")] } else { &[] };
        let answer = self.node.send("DELETE", &path(KEYS[target.key], id.as_deref(), ""), headers, b"");
        let deletion = self.model.delete(target, self.node.now(), bypass);
        if deletion == Deletion::Refused {
            assert_eq!(answer.error(), (403, "AccessDenied".to_owned()));
            return;
        }
        assert_eq!(answer.status, 204, "{answer:?}");
        let names_marker = answer.header("x-amz-delete-marker") == Some("true");
        assert_eq!(names_marker, deletion != Deletion::Gone, "{answer:?}");
        match deletion {
            Deletion::Marker => self.made_marker(target.key, answer.header("x-amz-version-id").unwrap()),
            _ => assert_eq!(answer.header("x-amz-version-id"), id.as_deref()),
        }
    }

    fn made_marker(&mut self, key: usize, id: &str) {
        assert_eq!(id == "null", self.model.versioning == Versioning::Suspended, "{id}");
        self.model.add(key, Version::marker(id.to_owned()));
    }

    /// Nothing says in which order the entries of one order are carried out, so each key is named once.
    fn delete_many(&mut self, targets: &[Target], bypass: bool) {
        let mut order = String::from("<Delete>");
        let mut named = Vec::new();
        for (index, target) in targets.iter().enumerate() {
            if targets[..index].iter().any(|earlier| earlier.key == target.key) {
                continue;
            }
            let id = self.model.id(*target);
            let version = id.as_ref().map(|id| format!("<VersionId>{id}</VersionId>")).unwrap_or_default();
            order += &format!("<Object><Key>{}</Key>{version}</Object>", KEYS[target.key]);
            named.push((*target, id));
        }
        order += "</Delete>";
        let md5 = hash::base64_encode(&hash::md5(order.as_bytes()));
        let mut headers = vec![("content-md5", md5.as_str())];
        if bypass {
            headers.push(("x-amz-bypass-governance-retention", "true"));
        }
        let answer = self.node.send("POST", "/bucket?delete", &headers, order.as_bytes());
        let result = answer.document("DeleteResult");
        assert_eq!(result.children.len(), named.len(), "{result:?}");
        for ((target, id), entry) in named.into_iter().zip(&result.children) {
            let deletion = self.model.delete(target, self.node.now(), bypass);
            assert_eq!(entry.child_text("Key"), Some(KEYS[target.key]));
            assert_eq!(entry.child_text("VersionId"), id.as_deref());
            match deletion {
                Deletion::Refused => assert_eq!(entry.child_text("Code"), Some("AccessDenied")),
                Deletion::Gone => assert_eq!(entry.child_text("DeleteMarker"), None),
                Deletion::MarkerGone | Deletion::Marker => {
                    assert_eq!(entry.child_text("DeleteMarker"), Some("true"));
                    let marker = entry.child_text("DeleteMarkerVersionId").unwrap().to_owned();
                    match deletion {
                        Deletion::Marker => self.made_marker(target.key, &marker),
                        _ => assert_eq!(Some(marker), id),
                    }
                }
            }
        }
    }

    /// Whether a change of a version should succeed; else the answer must say why not.
    fn is_changed(&self, target: Target, answer: &Answer) -> bool {
        match self.model.find(target) {
            Some(Version { body: Some(_), .. }) => return true,
            Some(_) if target.version.is_some() => assert_eq!(answer.error().0, 405),
            _ => assert_eq!(answer.error().0, 404),
        }
        false
    }

    fn version_mut(&mut self, target: Target) -> &mut Version {
        let versions = self.model.keys.get_mut(KEYS[target.key]).expect("it has a version");
        &mut versions[target.version.unwrap_or(0)]
    }

    fn tag(&mut self, target: Target, tags: Tags) {
        let id = self.model.id(target);
        let target_path = path(KEYS[target.key], id.as_deref(), "tagging");
        let answer = match tags.is_empty() {
            true => self.node.send("DELETE", &target_path, &[], b""),
            false => self.node.send("PUT", &target_path, &[], tagging(&tags).as_bytes()),
        };
        if self.is_changed(target, &answer) {
            assert_eq!(answer.status, if tags.is_empty() { 204 } else { 200 }, "{answer:?}");
            self.version_mut(target).tags = tags;
        }
    }

    fn retain(&mut self, target: Target, mode: &'static str, hours: u8, bypass: bool) {
        let until = self.node.now() + u64::from(hours) * HOUR_MS;
        let document = format!(
            "<Retention><Mode>{mode}</Mode><RetainUntilDate>{}</RetainUntilDate></Retention>",
            date::iso8601(until)
        );
        let id = self.model.id(target);
        let target_path = path(KEYS[target.key], id.as_deref(), "retention");
        let headers: &[_] = if bypass { &[("x-amz-bypass-governance-retention", "true")] } else { &[] };
        let answer = self.node.send("PUT", &target_path, headers, document.as_bytes());
        let now = self.node.now();
        if !self.model.can_lock {
            assert_eq!(answer.error(), (400, "InvalidRequest".to_owned()));
        } else if self.is_changed(target, &answer) {
            let version = self.version_mut(target);
            let is_loosened = version.retention.is_some_and(|(current, current_until)| {
                let is_in_force = current_until > now && !(bypass && current == "GOVERNANCE");
                is_in_force && (current != mode || until < current_until)
            });
            if is_loosened {
                assert_eq!(answer.error(), (403, "AccessDenied".to_owned()));
            } else {
                assert_eq!(answer.status, 200, "{answer:?}");
                version.retention = Some((mode, until));
            }
        }
    }

    fn hold(&mut self, target: Target, is_on: bool) {
        let status = if is_on { "ON" } else { "OFF" };
        let document = format!("<LegalHold><Status>{status}</Status></LegalHold>");
        let id = self.model.id(target);
        let target_path = path(KEYS[target.key], id.as_deref(), "legal-hold");
        let answer = self.node.send("PUT", &target_path, &[], document.as_bytes());
        if !self.model.can_lock {
            assert_eq!(answer.error(), (400, "InvalidRequest".to_owned()));
        } else if self.is_changed(target, &answer) {
            assert_eq!(answer.status, 200, "{answer:?}");
            self.version_mut(target).is_held = is_on;
        }
    }

    /// Compares everything that can be asked.
    fn check(&self) {
        let mut expected = Vec::new();
        for (key, versions) in &self.model.keys {
            for (index, version) in versions.iter().enumerate() {
                expected.push((*key, version.id.as_str(), index == 0, version.body.is_none()));
                self.check_version(key, version);
            }
            let current = self.node.send("GET", &path(key, None, ""), &[], b"");
            match versions.first() {
                Some(Version { body: Some(body), .. }) => assert_eq!(current.body, body.as_bytes()),
                Some(marker) => {
                    assert_eq!(current.error(), (404, "NoSuchKey".to_owned()));
                    assert_eq!(current.header("x-amz-delete-marker"), Some("true"));
                    assert_eq!(current.header("x-amz-version-id"), Some(marker.id.as_str()));
                }
                None => assert_eq!(current.header("x-amz-delete-marker"), None),
            }
        }
        for page in [1, 2, 1000] {
            let listed = self.listed_versions(page);
            let listed: Vec<_> = listed
                .iter()
                .map(|(key, id, is_latest, is_marker)| (key.as_str(), id.as_str(), *is_latest, *is_marker))
                .collect();
            assert_eq!(listed, expected, "pages of {page}");
        }
        let current = self
            .model
            .keys
            .iter()
            .filter(|(_, versions)| versions.first().is_some_and(|version| version.body.is_some()));
        let current: Vec<_> = current.map(|(key, _)| (*key).to_owned()).collect();
        let objects = self.node.send("GET", "/bucket?list-type=2", &[], b"").document("ListBucketResult");
        let objects = objects.children_named("Contents").map(|object| text(object, "Key"));
        assert_eq!(objects.collect::<Vec<_>>(), current);
    }

    fn check_version(&self, key: &str, version: &Version) {
        let get = self.node.send("GET", &path(key, Some(&version.id), ""), &[], b"");
        let Some(body) = &version.body else {
            assert_eq!(get.error(), (405, "MethodNotAllowed".to_owned()));
            assert!(get.header("last-modified").is_some() && get.header("allow") == Some("DELETE"));
            return;
        };
        assert_eq!((get.status, &get.body), (200, &body.clone().into_bytes()), "{key} {version:?}");
        let shown = (self.model.versioning != Versioning::Unversioned).then_some(version.id.as_str());
        assert_eq!(get.header("x-amz-version-id"), shown);
        let count = version.tags.len().to_string();
        let count = (!version.tags.is_empty()).then_some(count.as_str());
        assert_eq!(get.header("x-amz-tagging-count"), count);
        assert_eq!(get.header("x-amz-object-lock-mode"), version.retention.map(|(mode, _)| mode));
        let until = version.retention.map(|(_, until)| date::iso8601(until));
        assert_eq!(get.header("x-amz-object-lock-retain-until-date"), until.as_deref());
        let held = version.is_held.then_some("ON");
        assert_eq!(get.header("x-amz-object-lock-legal-hold"), held);
        let tags = self.node.send("GET", &path(key, Some(&version.id), "tagging"), &[], b"");
        let tags = tags.document("Tagging");
        let tags = tags.child("TagSet").unwrap().children_named("Tag");
        let tags: Tags = tags.map(|tag| (text(tag, "Key"), text(tag, "Value"))).collect();
        assert_eq!(tags, version.tags);
    }

    /// Key, id, whether it is the latest, whether it is a delete marker: page by page.
    fn listed_versions(&self, page: usize) -> Vec<(String, String, bool, bool)> {
        let mut shown = Vec::new();
        let mut marker = String::new();
        loop {
            let target = format!("/bucket?versions&max-keys={page}{marker}");
            let result = self.node.send("GET", &target, &[], b"").document("ListVersionsResult");
            for entry in result.children.iter().filter(|entry| entry.child("IsLatest").is_some()) {
                let is_latest = text(entry, "IsLatest") == "true";
                let is_marker = entry.name == "DeleteMarker";
                shown.push((text(entry, "Key"), text(entry, "VersionId"), is_latest, is_marker));
            }
            if text(&result, "IsTruncated") != "true" {
                return shown;
            }
            let (key, version) = (text(&result, "NextKeyMarker"), text(&result, "NextVersionIdMarker"));
            marker = format!("&key-marker={key}&version-id-marker={version}");
        }
    }
}

fn text(element: &Element, name: &str) -> String {
    element.child_text(name).unwrap_or_default().to_owned()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn versions_tags_and_locks_are_as_the_model_has_them(steps in steps(), can_lock in any::<bool>()) {
        let history = steps.into_iter().fold(History::begin(can_lock), History::take);
        history.check();
        let History { node, model, bodies } = history;
        History { node: node.restart(), model, bodies }.check();
    }
}
