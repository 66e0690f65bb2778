//! The reference model: what buckets, keys, uploads, events and the configuration hold, and what operations
//! under way may make of it.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::body::Body;
use super::steps::{Asked, Name, SLOTS};
use super::*;

/// The versions of a key, newest first.
pub type State = Rc<Vec<Held>>;

/// A retention until then is over before it begins, or never.
pub const RETAINED_PAST: u64 = 1;
pub const RETAINED_FOR_EVER: u64 = u64::MAX / 2;

/// A version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// None for a delete marker.
    pub body: Option<Body>,
    pub is_null: bool,
    pub lock: Lock,
    pub tag: u16,
    /// Number and bytes of each part, if it was uploaded in parts.
    pub parts: Vec<(u16, u64)>,
    /// Its name, once it was found.
    pub id: Option<VersionId>,
}

impl Held {
    pub fn object(body: Body) -> Self {
        Self { body: Some(body), is_null: true, lock: Lock::default(), tag: 0, parts: Vec::new(), id: None }
    }

    pub fn is_locked(&self, bypass: bool) -> bool {
        self.lock.forbids_removal(RETAINED_PAST + 1, bypass)
    }

    pub fn etag(&self) -> Option<ETag> {
        self.body.as_ref().map(etag_of)
    }
}

pub fn etag_of(body: &Body) -> ETag {
    attributes(&body.bytes()).etag
}

/// What is current, if that is an object.
pub fn current(state: &[Held]) -> Option<&Held> {
    state.first().filter(|held| held.body.is_some())
}

#[derive(Clone, Debug)]
pub struct BucketFacts {
    /// Its name, once it was found.
    pub id: Option<BucketId>,
    pub versioning: Versioning,
    pub settings: BTreeMap<u8, Body>,
}

#[derive(Clone, Debug)]
pub struct OpenUpload {
    pub name: Name,
    pub id: UploadId,
    pub parts: BTreeMap<u16, Body>,
}

/// An event that is not done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fact {
    pub bucket: BucketId,
    pub key: Vec<u8>,
    pub change: EventChange,
    /// Its name, once it was found.
    pub id: Option<EventId>,
}

/// An upload that became an object of these parts.
#[derive(Clone, Debug)]
pub struct CompletedUpload {
    pub bucket: BucketId,
    pub name: Name,
    pub id: UploadId,
    pub parts: Vec<(u16, ETag)>,
    pub body: Body,
}

/// What a node must hold, but for what operations under way made of it.
#[derive(Clone, Default)]
pub struct World {
    pub buckets: [Option<BucketFacts>; SLOTS],
    /// Keys that hold something.
    pub keys: BTreeMap<Name, State>,
    pub uploads: BTreeMap<u32, OpenUpload>,
    pub completed: Vec<CompletedUpload>,
    pub events: BTreeMap<u32, Fact>,
    pub pairs: BTreeMap<u8, Body>,
    /// Operations of which it is not known what they did.
    pub pending: Vec<Pending>,
    /// The last number that an upload or an event got.
    pub last: u32,
}

/// One thing that an operation makes different.
#[derive(Clone, Debug)]
pub enum Effect {
    Key(Name, State),
    /// The bucket is there, or is gone; of one that is made, the rest follows.
    Bucket(usize, Option<BucketFacts>),
    Versioning(usize, Versioning),
    Setting(usize, u8, Option<Body>),
    Pair(u8, Option<Body>),
    /// An upload was begun, under an id that may be unknown.
    Begun(u32, Name, Option<UploadId>),
    /// The parts of an upload; none once it has ended.
    Parts(u32, Option<BTreeMap<u16, Body>>),
    Due(u32, Fact),
    Done(u32),
}

/// What an answer must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    Done,
    /// A deletion, with whether there was something.
    Deleted(bool),
    Refused(EngineError),
}

/// What an operation answers.
#[derive(Clone, Debug, Default)]
pub struct Said {
    pub existed: Option<bool>,
    pub upload: Option<UploadId>,
    pub bucket: Option<BucketId>,
}

pub type Answered = Result<Said, EngineError>;

/// Something that an operation may do, as a whole.
#[derive(Clone, Debug)]
pub struct Alternative {
    pub expected: Expected,
    pub effects: Vec<Effect>,
}

impl Alternative {
    pub fn done(effects: Vec<Effect>) -> Self {
        Self { expected: Expected::Done, effects }
    }

    pub fn refused(error: EngineError) -> Self {
        Self { expected: Expected::Refused(error), effects: Vec::new() }
    }

    fn allows(&self, answer: &Answered) -> bool {
        match (&self.expected, answer) {
            (Expected::Done, Ok(_)) => true,
            (Expected::Deleted(existed), Ok(said)) => said.existed == Some(*existed),
            (Expected::Refused(expected), Err(error)) => expected == error,
            _ => false,
        }
    }
}

/// An operation that was begun.
#[derive(Clone, Debug)]
pub struct Pending {
    pub what: Rc<str>,
    /// Buckets whose deletion at the same time may refuse it.
    pub slots: Vec<usize>,
    pub alternatives: Vec<Alternative>,
    /// What it leaves if it did nothing, or not all of what is not one change.
    pub unfinished: Vec<Vec<Effect>>,
    /// Whether a refusal says that nothing of it happened.
    pub is_one_record: bool,
}

/// What else may refuse an operation of a round.
#[derive(Clone, Debug, Default)]
pub struct Allowances {
    pub deleting: Vec<usize>,
    pub full: bool,
    pub failing: bool,
}

impl World {
    pub fn fresh(&mut self) -> u32 {
        self.last += 1;
        self.last
    }

    pub fn state(&self, name: Name) -> State {
        self.keys.get(&name).cloned().unwrap_or_default()
    }

    /// A bucket of which everything is known.
    pub fn bucket(&self, slot: usize) -> Option<(BucketId, Versioning)> {
        let facts = self.buckets[slot].as_ref()?;
        Some((facts.id?, facts.versioning))
    }

    /// The present of what an effect would change.
    fn before(&self, effect: &Effect) -> Option<Effect> {
        Some(match effect {
            Effect::Key(name, _) => Effect::Key(*name, self.state(*name)),
            Effect::Bucket(slot, _) => Effect::Bucket(*slot, self.buckets[*slot].clone()),
            Effect::Versioning(slot, _) => {
                Effect::Versioning(*slot, self.buckets[*slot].as_ref()?.versioning)
            }
            Effect::Setting(slot, name, _) => {
                Effect::Setting(*slot, *name, self.buckets[*slot].as_ref()?.settings.get(name).cloned())
            }
            Effect::Pair(number, _) => Effect::Pair(*number, self.pairs.get(number).cloned()),
            Effect::Begun(..) => return None,
            Effect::Parts(upload, _) => Effect::Parts(*upload, Some(self.uploads.get(upload)?.parts.clone())),
            Effect::Due(number, _) => Effect::Done(*number),
            Effect::Done(number) => Effect::Due(*number, self.events.get(number)?.clone()),
        })
    }

    /// Notes an operation that is about to begin.
    pub fn pend(&mut self, what: Rc<str>, slots: Vec<usize>, alternatives: Vec<Alternative>) -> Pending {
        let effects = alternatives.iter().flat_map(|it| &it.effects);
        let nothing = effects.filter_map(|effect| self.before(effect)).collect();
        Pending { what, slots, alternatives, unfinished: vec![nothing], is_one_record: true }
    }

    /// Takes in what an operation answered; none if nobody heard. What stays uncertain waits for a judge.
    pub fn answer(&mut self, mut pending: Pending, answer: Option<Answered>, allowed: &Allowances) {
        let Some(answer) = answer else { return self.doubt(pending) };
        let is_deleting = pending.slots.iter().any(|slot| allowed.deleting.contains(slot));
        let refuses = match &answer {
            Err(EngineError::Busy | EngineError::NoSuchBucket) => is_deleting || allowed.failing,
            Err(EngineError::Full) => allowed.full || allowed.failing,
            Err(EngineError::ReadOnly(_)) => allowed.failing,
            _ => false,
        };
        match &answer {
            // Nothing happened, unless it takes several changes of which some did.
            _ if refuses && pending.is_one_record => return,
            _ if refuses => return self.doubt(pending),
            Err(EngineError::Failed(_) | EngineError::Stopping | EngineError::Corrupt(_))
                if allowed.failing =>
            {
                return self.doubt(pending);
            }
            _ => {}
        }
        let expected: Vec<_> = pending.alternatives.iter().map(|it| it.expected.clone()).collect();
        pending.alternatives.retain(|it| it.allows(&answer));
        assert!(!pending.alternatives.is_empty(), "{} answered {answer:?}, not {expected:?}", pending.what);
        if let Ok(said) = &answer {
            pending
                .alternatives
                .iter_mut()
                .for_each(|it| it.effects.iter_mut().for_each(|it| name(it, said)));
        }
        match pending.alternatives.as_slice() {
            [only] => only.effects.iter().for_each(|effect| self.apply(effect)),
            _ => self.pending.push(pending),
        }
    }

    fn doubt(&mut self, mut pending: Pending) {
        let unfinished = std::mem::take(&mut pending.unfinished);
        pending.alternatives.retain(|it| !matches!(it.expected, Expected::Refused(_)));
        pending.alternatives.extend(unfinished.into_iter().map(Alternative::done));
        self.pending.push(pending);
    }

    /// Has an effect be so.
    pub fn apply(&mut self, effect: &Effect) {
        match effect.clone() {
            Effect::Key(name, state) if state.is_empty() => drop(self.keys.remove(&name)),
            Effect::Key(name, state) => drop(self.keys.insert(name, state)),
            // It is there still: settings of it may have changed.
            Effect::Bucket(slot, Some(_)) if self.buckets[slot].is_some() => {}
            Effect::Bucket(slot, facts) => {
                self.uploads.retain(|_, open| open.name.0 != slot);
                self.buckets[slot] = facts;
            }
            Effect::Versioning(slot, versioning) => {
                self.buckets[slot].iter_mut().for_each(|facts| facts.versioning = versioning);
            }
            Effect::Setting(slot, name, value) => {
                if let Some(facts) = &mut self.buckets[slot] {
                    set(&mut facts.settings, name, value);
                }
            }
            Effect::Pair(number, value) => set(&mut self.pairs, number, value),
            Effect::Begun(upload, name, id) => {
                let id = id.expect("its answer, or the judge, named it");
                self.uploads.insert(upload, OpenUpload { name, id, parts: BTreeMap::new() });
            }
            Effect::Parts(upload, Some(parts)) => {
                if let Some(open) = self.uploads.get_mut(&upload) {
                    open.parts = parts;
                }
            }
            Effect::Parts(upload, None) => drop(self.uploads.remove(&upload)),
            Effect::Due(number, fact) => drop(self.events.insert(number, fact)),
            Effect::Done(number) => drop(self.events.remove(&number)),
        }
    }
}

fn set<K: Ord>(map: &mut BTreeMap<K, Body>, key: K, value: Option<Body>) {
    match value {
        Some(value) => drop(map.insert(key, value)),
        None => drop(map.remove(&key)),
    }
}

/// Names what only the answer could name.
fn name(effect: &mut Effect, said: &Said) {
    match effect {
        Effect::Begun(_, _, id) => *id = said.upload,
        Effect::Bucket(_, Some(facts)) => facts.id = said.bucket,
        _ => {}
    }
}

/// What a key holds once `made` is its newest version, if nothing locks what it replaces.
pub fn with_version(
    before: &[Held],
    mut made: Held,
    versioning: Versioning,
    bypass: bool,
) -> Result<State, EngineError> {
    made.is_null = versioning != Versioning::Enabled;
    let is_null = made.is_null;
    if is_null && before.iter().any(|held| held.is_null && held.is_locked(bypass)) {
        return Err(EngineError::Locked);
    }
    let kept = before.iter().filter(|held| !(is_null && held.is_null)).cloned();
    Ok(Rc::new(std::iter::once(made).chain(kept).collect()))
}

/// What a key holds without one of its versions, unless that is locked.
pub fn without_version(before: &[Held], place: usize, bypass: bool) -> Result<State, EngineError> {
    if before[place].is_locked(bypass) {
        return Err(EngineError::Locked);
    }
    let mut after = before.to_vec();
    after.remove(place);
    Ok(Rc::new(after))
}

/// Whether what is asked holds of an object or of nothing being there.
pub fn holds(asked: Asked, held: Option<&Held>) -> Result<(), EngineError> {
    let is_there = held.is_some();
    match asked {
        Asked::Nothing => Ok(()),
        Asked::Absent | Asked::Differs if is_there => Err(EngineError::ConditionFailed),
        Asked::Absent | Asked::Differs => Ok(()),
        Asked::Present | Asked::Same | Asked::Other if !is_there => Err(EngineError::ConditionOnMissing),
        Asked::Present | Asked::Same => Ok(()),
        Asked::Other => Err(EngineError::ConditionFailed),
    }
}

/// The condition that asks it of a key that holds `held`.
pub fn condition(asked: Asked, held: Option<&Held>) -> Condition {
    let other = ETag::of_md5([0xee; 16]);
    let etag = held.and_then(Held::etag).unwrap_or(other);
    let matches = match asked {
        Asked::Present => Some(ETagMatch::Any),
        Asked::Same => Some(ETagMatch::OneOf(vec![other, etag])),
        Asked::Other => Some(ETagMatch::OneOf(vec![other])),
        _ => None,
    };
    let differs = if asked == Asked::Differs { vec![etag] } else { Vec::new() };
    Condition { absent: asked == Asked::Absent, differs, matches, ..Condition::default() }
}

/// The bytes of a key's name: some under common prefixes, one long.
pub fn key_of((slot, number): Name) -> Vec<u8> {
    match number {
        0..3 => format!("a/{number}").into_bytes(),
        3..5 => format!("a/b/{number}").into_bytes(),
        5 => [format!("{slot}-long-").into_bytes(), vec![b'x'; 700]].concat(),
        _ => format!("key-{number}").into_bytes(),
    }
}
