//! Compares what a node shows with the model, and settles what was uncertain.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::model::*;
use super::see::{Seen, SeenVersion};
use super::steps::*;
use super::*;

impl World {
    /// Every operation that is in doubt happened as a whole or not at all, and all else is as it must be.
    pub fn judge(&mut self, seen: &Seen) {
        let mut strays = self.strays(seen);
        for pending in std::mem::take(&mut self.pending) {
            let matching = pending.alternatives.iter().find(|alternative| {
                alternative.effects.iter().all(|effect| self.is_so(effect, seen, &strays))
            });
            let Some(alternative) = matching else {
                panic!("half done: {}\n{}", pending.what, self.describe(&pending, seen));
            };
            for effect in alternative.effects.clone() {
                let effect = match effect {
                    Effect::Begun(upload, name, None) => {
                        let found = strays.get_mut(&name).and_then(Vec::pop);
                        Effect::Begun(upload, name, found)
                    }
                    other => other,
                };
                self.apply(&effect);
            }
        }
        self.judge_buckets(seen);
        self.judge_keys(seen);
        self.judge_uploads(seen);
        self.judge_events(seen);
        for number in 0..3 {
            let (expected, found) = (self.pairs.get(&number), seen.pairs.get(&number));
            let is_same = expected.is_some() == found.is_some()
                && expected.zip(found).is_none_or(|(body, bytes)| body.is(bytes));
            assert!(is_same, "pair {number} of the configuration is not {expected:?}");
        }
    }

    /// What a live node shows while operations are in doubt: of what none of them touches, all is as it must
    /// be; of the rest, one of what it may be.
    pub fn judge_in_doubt(&self, seen: &Seen) {
        let mut possible: BTreeMap<Name, Vec<State>> = BTreeMap::new();
        for pending in &self.pending {
            for effect in pending.alternatives.iter().flat_map(|it| &it.effects) {
                if let Effect::Key(name, state) = effect {
                    possible.entry(*name).or_insert_with(|| vec![self.state(*name)]).push(state.clone());
                }
            }
        }
        for name in self.keys.keys().chain(seen.keys.keys()) {
            let found = seen.keys.get(name).map_or(&[][..], |versions| versions);
            let own = [self.state(*name)];
            let states = possible.get(name).map_or(&own[..], |states| states);
            let is_known = self.bucket(name.0).is_some() && seen.buckets[name.0].is_some();
            let fits = states.iter().any(|state| is_state(state, found));
            assert!(!is_known || fits, "{name:?} holds {}, expected one of {states:?}", show(found));
        }
    }

    /// Uploads under ids that nobody was told.
    fn strays(&self, seen: &Seen) -> BTreeMap<Name, Vec<UploadId>> {
        let mut strays: BTreeMap<Name, Vec<UploadId>> = BTreeMap::new();
        for (name, id) in seen.uploads.keys() {
            let begun = self.pending.iter().flat_map(|it| &it.alternatives).flat_map(|it| &it.effects);
            let named = begun.into_iter().any(|it| matches!(it, Effect::Begun(_, _, Some(it)) if it == id));
            if !named && !self.uploads.values().any(|open| open.id == *id) {
                strays.entry(*name).or_default().push(*id);
            }
        }
        strays
    }

    fn is_so(&self, effect: &Effect, seen: &Seen, strays: &BTreeMap<Name, Vec<UploadId>>) -> bool {
        let found = |name: &Name| seen.keys.get(name).map_or(&[][..], |versions| versions);
        match effect {
            Effect::Key(name, state) => is_state(state, found(name)),
            Effect::Bucket(slot, None) => seen.buckets[*slot].is_none(),
            Effect::Bucket(slot, Some(facts)) => {
                seen.buckets[*slot].as_ref().is_some_and(|it| facts.id.is_none_or(|id| id == it.id))
            }
            // Of a bucket that is gone, everything else is.
            Effect::Versioning(slot, versioning) => {
                seen.buckets[*slot].as_ref().is_none_or(|it| it.versioning == *versioning)
            }
            Effect::Setting(slot, name, value) => seen.buckets[*slot].as_ref().is_none_or(|it| {
                let found = it.settings.get(&name.to_string());
                found.is_some() == value.is_some()
                    && found.zip(value.as_ref()).is_none_or(|(bytes, body)| body.is(bytes))
            }),
            Effect::Pair(number, value) => {
                let found = seen.pairs.get(number);
                found.is_some() == value.is_some()
                    && found.zip(value.as_ref()).is_none_or(|(bytes, body)| body.is(bytes))
            }
            Effect::Begun(_, name, None) => strays.get(name).is_some_and(|ids| !ids.is_empty()),
            Effect::Begun(_, name, Some(id)) => {
                seen.buckets[name.0].is_none() || seen.uploads.contains_key(&(*name, *id))
            }
            Effect::Parts(upload, parts) => {
                let Some(open) = self.uploads.get(upload) else { return true };
                let found = seen.uploads.get(&(open.name, open.id));
                let is_same = match (parts, found) {
                    (None, None) => true,
                    (Some(parts), Some(found)) => {
                        let expected = parts
                            .iter()
                            .map(|(number, body)| (*number, u64::from(body.len()), etag_of(body)));
                        expected.eq(found.iter().copied())
                    }
                    _ => false,
                };
                is_same || seen.buckets[open.name.0].is_none()
            }
            Effect::Due(number, fact) => seen.events.get(number).is_some_and(|event| is_fact(fact, event)),
            Effect::Done(number) => !seen.events.contains_key(number),
        }
    }

    fn judge_buckets(&mut self, seen: &Seen) {
        let slots = self.buckets.iter_mut().zip(&seen.buckets).zip(SLOT_NAMES);
        for ((expected, found), name) in slots {
            let (facts, bucket) = match (expected, found) {
                (None, None) => continue,
                (Some(facts), Some(bucket)) => (facts, bucket),
                (expected, found) => panic!("bucket {name} is {found:?}, expected {expected:?}"),
            };
            assert!(facts.id.is_none_or(|id| id == bucket.id), "{name} is another bucket");
            facts.id = Some(bucket.id);
            assert_eq!(facts.versioning, bucket.versioning, "versioning of {name}");
            let names: Vec<String> = facts.settings.keys().map(|it| it.to_string()).collect();
            assert!(names.iter().eq(bucket.settings.keys()), "settings of {name}: expected {names:?}");
            for (setting, body) in &facts.settings {
                assert!(body.is(&bucket.settings[&setting.to_string()]), "setting {setting} of {name}");
            }
        }
    }

    fn judge_keys(&mut self, seen: &Seen) {
        for name in seen.keys.keys() {
            let is_known = self.keys.contains_key(name);
            assert!(is_known, "{name:?} holds {}, expected nothing", show(&seen.keys[name]));
        }
        for (name, state) in &mut self.keys {
            let found = seen.keys.get(name).map_or(&[][..], |versions| versions);
            assert!(is_state(state, found), "{name:?} holds {}, expected {state:?}", show(found));
            let is_named = state.iter().zip(found).all(|(held, seen)| held.id == Some(seen.version));
            if !is_named {
                let named = state.iter().zip(found);
                let named = named.map(|(held, seen)| Held { id: Some(seen.version), ..held.clone() });
                *state = Rc::new(named.collect());
            }
        }
    }

    fn judge_uploads(&mut self, seen: &Seen) {
        let buckets = &seen.buckets;
        self.uploads.retain(|_, open| buckets[open.name.0].is_some());
        for open in self.uploads.values() {
            let parts = Effect::Parts(0, Some(open.parts.clone()));
            let one = World { uploads: [(0, open.clone())].into(), ..World::default() };
            let found = seen.uploads.get(&(open.name, open.id));
            assert!(one.is_so(&parts, seen, &BTreeMap::new()), "{open:?} has the parts {found:?}");
        }
        for (name, id) in seen.uploads.keys() {
            let is_known = self.uploads.values().any(|open| (open.name, open.id) == (*name, *id));
            assert!(is_known, "an upload to {name:?} came from nowhere or came back");
        }
    }

    fn judge_events(&mut self, seen: &Seen) {
        for (number, fact) in &mut self.events {
            let Some(event) = seen.events.get(number) else { panic!("event {number} is lost: {fact:?}") };
            assert!(is_fact(fact, event), "event {number} is {event:?}, expected {fact:?}");
            fact.id = Some(event.id);
        }
        for (number, event) in &seen.events {
            let is_known = self.events.contains_key(number);
            assert!(is_known, "event {number} came from nowhere or came back: {event:?}");
        }
    }

    fn describe(&self, pending: &Pending, seen: &Seen) -> String {
        let mut text = String::new();
        for alternative in &pending.alternatives {
            for effect in &alternative.effects {
                let is_so = self.is_so(effect, seen, &self.strays(seen));
                text += &format!("  {} {effect:?}\n", if is_so { "is:    " } else { "is not:" });
                if let Effect::Key(name, _) = effect {
                    let found = seen.keys.get(name).map_or(&[][..], |versions| versions);
                    text += &format!("      it holds {}\n", show(found));
                }
            }
            text += "or\n";
        }
        text
    }
}

fn is_fact(fact: &Fact, event: &Event) -> bool {
    let is_named = fact.id.is_none_or(|id| id == event.id);
    is_named && (fact.bucket, &fact.key, fact.change) == (event.bucket, &event.key, event.change)
}

/// Whether the versions of a key are these.
pub fn is_state(state: &[Held], found: &[SeenVersion]) -> bool {
    state.len() == found.len() && state.iter().zip(found).all(|(held, seen)| is_held(held, seen))
}

fn is_held(held: &Held, seen: &SeenVersion) -> bool {
    let is_same = match &held.body {
        Some(body) => !seen.is_marker && body.is(&seen.bytes),
        None => seen.is_marker,
    };
    is_same
        && held.id.is_none_or(|id| id == seen.version)
        && held.is_null == (seen.version == VersionId::Null)
        && (held.lock, held.tag, &held.parts) == (seen.lock, seen.tag, &seen.parts)
}

pub fn show(found: &[SeenVersion]) -> String {
    let one = |seen: &SeenVersion| {
        let SeenVersion { version, is_marker, bytes, lock, tag, parts } = seen;
        let what = if *is_marker { "marker".to_owned() } else { format!("{} bytes", bytes.len()) };
        format!("{version:?} {what} {lock:?} tag {tag} parts {parts:?}")
    };
    format!("[{}]", found.iter().map(one).collect::<Vec<_>>().join(", "))
}
