//! What a drawn operation means for the node at hand: what it may do, and how to ask for it.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::rc::Rc;

use super::body::Body;
use super::model::*;
use super::steps::*;
use super::*;

/// Asks an engine; one answer for each pending operation.
pub type Request = Box<dyn FnOnce(SimEngine) -> Pin<Box<dyn Future<Output = Vec<Answered>>>>>;

/// What one operation at a time may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Key(Name),
    Slot(usize),
    Versioning(usize),
    Setting(usize, u8),
    Pair(u8),
    Upload(u32),
    Event(u32),
}

/// Operations of a round, as they are begun.
pub struct Beginning<'a> {
    pub world: &'a mut World,
    pub cores: usize,
    pub record_bytes_max: u32,
    pub taken: BTreeSet<Place>,
    /// Versioning that a bucket may get in the round.
    pub turning: [Option<Versioning>; SLOTS],
}

/// An operation that means something.
pub struct Meant {
    pub pending: Vec<Pending>,
    pub request: Request,
    /// The core that is asked, if it must be that one.
    pub core: Option<usize>,
}

/// Makes a request of an asynchronous closure.
pub fn asking<F: Future<Output = Answered> + 'static>(ask: impl FnOnce(SimEngine) -> F + 'static) -> Request {
    Box::new(move |engine| {
        let asked = ask(engine);
        Box::pin(async move { vec![asked.await] })
    })
}

pub fn done<T>(result: Result<T, EngineError>) -> Answered {
    result.map(|_| Said::default())
}

fn deleted(result: Result<Deleted, EngineError>) -> Answered {
    result.map(|deleted| Said { existed: Some(deleted.existed), ..Said::default() })
}

pub async fn payload_of(engine: &SimEngine, body: &Body) -> Result<Payload<SimHost>, EngineError> {
    payload(engine, &body.bytes()).await
}

pub fn plain(body: &Body) -> Attributes {
    Attributes { headers: Vec::new(), ..attributes(&body.bytes()) }
}

/// The bodies of events: their numbers, and now and then much more.
pub fn drafts(numbers: &[u32]) -> Vec<EventDraft> {
    let body = |number: &u32| {
        let mut body = number.to_le_bytes().to_vec();
        body.resize(4 + *number as usize % 7 * 40, 7);
        EventDraft { body }
    };
    numbers.iter().map(body).collect()
}

impl Beginning<'_> {
    fn take(&mut self, cell: Place) -> Option<()> {
        self.taken.insert(cell).then_some(())
    }

    /// A key that nobody else changes, with its bucket.
    pub fn key(&mut self, name: Name) -> Option<(BucketId, Vec<u8>, State)> {
        let (bucket, _) = self.world.bucket(name.0)?;
        self.take(Place::Key(name))?;
        Some((bucket, key_of(name), self.world.state(name)))
    }

    /// What versioning the bucket may have while the round lasts.
    fn versionings(&self, slot: usize) -> Vec<Versioning> {
        let now = self.world.bucket(slot).map(|(_, versioning)| versioning);
        now.into_iter().chain(self.turning[slot]).collect()
    }

    /// Numbers of events, with what they tell.
    pub fn tell(&mut self, count: u8, bucket: BucketId, key: &[u8], change: EventChange) -> Vec<(u32, Fact)> {
        let fact = Fact { bucket, key: key.to_vec(), change, id: None };
        (0..count).map(|_| (self.world.fresh(), fact.clone())).collect()
    }

    pub fn one(
        &mut self,
        op: &Op,
        slots: Vec<usize>,
        of: Vec<Alternative>,
        request: Request,
    ) -> Option<Meant> {
        let pending = vec![self.world.pend(format!("{op:?}").into(), slots, of)];
        Some(Meant { pending, request, core: None })
    }

    /// What `op` means, if it means anything now.
    pub fn resolve(&mut self, op: &Op) -> Option<Meant> {
        match op {
            Op::Put { key, body, asked, events, hold } => {
                let body = Body::new(body.fresh, body.bytes);
                let lock = Lock { legal_hold: *hold && key.0 == 1, retention: None };
                let held = Held { lock, ..Held::object(body.clone()) };
                self.put(op, *key, held, *asked, *events, move |engine, _| async move {
                    payload_of(&engine, &body).await
                })
            }
            Op::Copy { key, from, place, range, events } => {
                let (source, id) = self.source(*from, *place)?;
                let range = cut(*range, source.len());
                let (slot, held) = (from.0, Held::object(source.slice(range.clone())));
                let (bucket, from) = (self.world.bucket(slot)?.0, key_of(*from));
                self.put(op, *key, held, Asked::Nothing, *events, move |engine, _| async move {
                    share(&engine, bucket, &from, id, range).await
                })
            }
            Op::Append { key, body } => self.append(op, *key, Body::new(body.fresh, body.bytes)),
            Op::Delete { key, asked, events, bypass } => self.delete(op, *key, *asked, *events, *bypass),
            Op::DeleteVersion { key, place, only_replaced, events, bypass } => {
                self.delete_version(op, *key, *place, *only_replaced, *events, *bypass)
            }
            Op::DeleteMany { slot, keys } => self.delete_many(op, *slot, keys),
            Op::Empty { slot } => {
                let keys: Vec<_> = (0..KEYS[*slot])
                    .flat_map(|key| (0..self.world.state((*slot, key)).len() as u8).map(move |it| (key, it)))
                    .collect();
                self.empty(op, *slot, &keys)
            }
            Op::Update { key, place, attribute, events } => {
                self.update(op, *key, *place, *attribute, *events)
            }
            Op::Rename { key, from, asked, events } => self.rename(op, *key, *from, *asked, *events),
            Op::Expire { key, current } => self.expire(op, *key, *current),
            Op::Read { .. } => None,
            Op::UploadBegin { .. }
            | Op::Part { .. }
            | Op::PartCopy { .. }
            | Op::Complete { .. }
            | Op::CompleteAgain { .. }
            | Op::Abort { .. } => self.resolve_upload(op),
            Op::EventsDone { core, which } => self.events_done(op, *core, *which),
            Op::BucketCreate { .. }
            | Op::BucketDelete { .. }
            | Op::BucketVersioning { .. }
            | Op::BucketSetting { .. }
            | Op::Pair { .. } => self.resolve_bucket(op),
        }
    }

    /// A version of a key that stays as it is, with its body.
    pub fn source(&mut self, from: Name, place: u8) -> Option<(Body, Option<VersionId>)> {
        let state = self.world.state(from);
        self.world.bucket(from.0)?;
        let held = state.get(place as usize % state.len().max(1))?;
        let body = held.body.clone()?;
        let version = if place == 0 { None } else { Some(held.id?) };
        self.take(Place::Key(from))?;
        Some((body, version))
    }

    /// A put of a payload that `make` makes.
    pub fn put<F: Future<Output = Result<Payload<SimHost>, EngineError>> + 'static>(
        &mut self,
        op: &Op,
        name: Name,
        held: Held,
        asked: Asked,
        events: u8,
        make: impl FnOnce(SimEngine, State) -> F + 'static,
    ) -> Option<Meant> {
        let (bucket, key, before) = self.key(name)?;
        let told = self.tell(events, bucket, &key, EventChange::Created);
        let asked_of = holds(asked, current(&before));
        let alternative = |versioning| {
            let after =
                asked_of.clone().and_then(|()| with_version(&before, held.clone(), versioning, false));
            match after {
                Ok(after) => Alternative::done(effects(name, after, &told)),
                Err(error) => Alternative::refused(error),
            }
        };
        let alternatives = self.versionings(name.0).into_iter().map(alternative).collect();
        let condition = condition(asked, current(&before));
        let attributes = Attributes { lock: held.lock, ..plain(held.body.as_ref()?) };
        let numbers: Vec<u32> = told.iter().map(|(number, _)| *number).collect();
        let request = asking(move |engine| async move {
            let payload = make(engine.clone(), before).await?;
            let events = drafts(&numbers);
            done(engine.put_with_events(bucket, &key, payload, attributes, condition, events).await)
        });
        self.one(op, vec![name.0], alternatives, request)
    }

    fn append(&mut self, op: &Op, name: Name, more: Body) -> Option<Meant> {
        let (bucket, key, before) = self.key(name)?;
        let whole = current(&before)?.body.as_ref()?.followed_by(&more);
        // What is small together is one record, and half a segment is the most that one may be.
        if (self.record_bytes_max..=64 << 10).contains(&whole.len()) {
            return None;
        }
        let held = Held::object(whole.clone());
        let alternative = |versioning| match with_version(&before, held.clone(), versioning, false) {
            Ok(after) => Alternative::done(effects(name, after, &[])),
            Err(error) => Alternative::refused(error),
        };
        let alternatives = self.versionings(name.0).into_iter().map(alternative).collect();
        let request = asking(move |engine| async move {
            let found = engine.get(bucket, &key, None).await?.found();
            let Some(object) = found else { return Err(EngineError::NoSuchObject) };
            let payload = object.followed_by(payload_of(&engine, &more).await?).await?;
            let condition = Condition { sequence: Some(object.sequence), ..Condition::default() };
            done(engine.put(bucket, &key, payload, plain(&whole), condition).await)
        });
        self.one(op, vec![name.0], alternatives, request)
    }

    fn delete(&mut self, op: &Op, name: Name, asked: Asked, events: u8, bypass: bool) -> Option<Meant> {
        let (bucket, key, before) = self.key(name)?;
        let versionings = self.versionings(name.0);
        let is_plain = versionings == [Versioning::Unversioned];
        // While versioning is turned on, whether there is an event, and of what, is uncertain.
        let events = if versionings.len() > 1 { 0 } else { events };
        let change = if is_plain { EventChange::Removed } else { EventChange::MarkerCreated };
        let told = self.tell(events, bucket, &key, change);
        let existed = current(&before).is_some();
        let alternative = |versioning| {
            let made = delete_current(&before, asked, versioning, bypass);
            match made {
                Ok(after) => {
                    let is_told = existed || versioning != Versioning::Unversioned;
                    let told = if is_told { &told[..] } else { &[] };
                    let expected = Expected::Deleted(existed);
                    Alternative { expected, effects: effects(name, after, told) }
                }
                Err(error) => Alternative::refused(error),
            }
        };
        let alternatives: Vec<Alternative> = versionings.into_iter().map(alternative).collect();
        let numbers: Vec<u32> = told.iter().map(|(number, _)| *number).collect();
        let condition = condition(asked, current(&before));
        let bypass_governance = bypass;
        let request = asking(move |engine| async move {
            let events = drafts(&numbers);
            let deletion = Deletion { condition, events, bypass_governance, ..Deletion::default() };
            deleted(engine.delete(bucket, &key, deletion).await)
        });
        self.one(op, vec![name.0], alternatives, request)
    }

    fn delete_version(
        &mut self,
        op: &Op,
        name: Name,
        place: u8,
        only_replaced: bool,
        events: u8,
        bypass: bool,
    ) -> Option<Meant> {
        let (bucket, key, before) = self.key(name)?;
        let place = place as usize % before.len().max(1);
        let version = before.get(place)?.id?;
        let told = self.tell(events, bucket, &key, EventChange::Removed);
        let alternative = match without_version(&before, place, bypass) {
            _ if only_replaced && place == 0 => Alternative::refused(EngineError::ConditionFailed),
            Err(error) => Alternative::refused(error),
            Ok(after) => {
                let effects = effects(name, after, &told);
                Alternative { expected: Expected::Deleted(true), effects }
            }
        };
        let numbers: Vec<u32> = told.iter().map(|(number, _)| *number).collect();
        let request = asking(move |engine| async move {
            let deletion = Deletion {
                version: Some(version),
                only_replaced,
                bypass_governance: bypass,
                events: drafts(&numbers),
                ..Deletion::default()
            };
            deleted(engine.delete(bucket, &key, deletion).await)
        });
        self.one(op, vec![name.0], vec![alternative], request)
    }

    fn delete_many(&mut self, op: &Op, slot: usize, keys: &[(u8, Option<u8>)]) -> Option<Meant> {
        let bucket = self.world.bucket(slot)?.0;
        let (mut pending, mut deletions) = (Vec::new(), Vec::new());
        for (number, place) in keys {
            let name = (slot, *number);
            let before = self.world.state(name);
            let place = place.map(|place| place as usize % before.len().max(1));
            let version = place.and_then(|place| before.get(place)).map(|held| held.id);
            if version == Some(None) || place.is_some() && version.is_none() {
                continue;
            }
            let Some(()) = self.take(Place::Key(name)) else { continue };
            let alternative = |versioning| {
                let after = match place {
                    Some(place) => without_version(&before, place, false),
                    None => delete_current(&before, Asked::Nothing, versioning, false),
                };
                let existed = place.is_some() || current(&before).is_some();
                match after {
                    Ok(after) => {
                        let expected = Expected::Deleted(existed);
                        Alternative { expected, effects: effects(name, after, &[]) }
                    }
                    Err(error) => Alternative::refused(error),
                }
            };
            let alternatives = self.versionings(slot).into_iter().map(alternative).collect();
            pending.push(self.world.pend(format!("{number} of {op:?}").into(), vec![slot], alternatives));
            let deletion = Deletion { version: version.flatten(), ..Deletion::default() };
            deletions.push((key_of(name), deletion));
        }
        if pending.is_empty() {
            return None;
        }
        let request: Request = Box::new(move |engine| {
            Box::pin(
                async move { engine.delete_many(bucket, deletions).await.into_iter().map(deleted).collect() },
            )
        });
        Some(Meant { pending, request, core: None })
    }

    /// Deletes every version of keys that nobody else changes.
    fn empty(&mut self, op: &Op, slot: usize, places: &[(u8, u8)]) -> Option<Meant> {
        let bucket = self.world.bucket(slot)?.0;
        let numbers: BTreeSet<u8> = places.iter().map(|(number, _)| *number).collect();
        let (mut pending, mut deletions) = (Vec::new(), Vec::new());
        for name in numbers.into_iter().map(|number| (slot, number)) {
            let before = self.world.state(name);
            let ids: Option<Vec<VersionId>> = before.iter().map(|held| held.id).collect();
            let is_locked = before.iter().any(|held| held.is_locked(true));
            let Some(ids) = ids.filter(|_| !is_locked) else { continue };
            let Some(()) = self.take(Place::Key(name)) else { continue };
            // One after the other, the oldest first: a crash may leave any first part of them done.
            let lengths = (0..=before.len()).map(|count| Rc::new(before[..count].to_vec()));
            let mut after: Vec<_> = lengths.map(|state| effects(name, state, &[])).collect();
            let emptied = vec![Alternative::done(after.remove(0))];
            let mut one = self.world.pend(format!("{} of {op:?}", name.1).into(), vec![slot], emptied);
            (one.unfinished, one.is_one_record) = (after, false);
            pending.push(one);
            deletions.push((key_of(name), ids));
        }
        if pending.is_empty() {
            return None;
        }
        let request: Request = Box::new(move |engine| {
            Box::pin(async move {
                let mut answers = Vec::new();
                for (key, ids) in deletions {
                    let mut answer = Ok(Said::default());
                    for version in ids.into_iter().rev().map(Some) {
                        let bypass_governance = true;
                        let deletion = Deletion { version, bypass_governance, ..Deletion::default() };
                        let result = engine.delete(bucket, &key, deletion).await;
                        if let Err(error) = result {
                            answer = Err(error);
                            break;
                        }
                    }
                    answers.push(answer);
                }
                answers
            })
        });
        Some(Meant { pending, request, core: None })
    }

    fn update(
        &mut self,
        op: &Op,
        name: Name,
        place: Option<u8>,
        attribute: Attribute,
        events: u8,
    ) -> Option<Meant> {
        let (bucket, key, before) = self.key(name)?;
        let at = place.map_or(0, |place| place as usize % before.len().max(1));
        let version = match place {
            Some(_) => Some(before.get(at)?.id?),
            None => None,
        };
        // Locks belong to buckets with versioning.
        let attribute = if name.0 == 1 { attribute } else { Attribute::Tag(at as u16 + 1) };
        let told = self.tell(events, bucket, &key, EventChange::Updated);
        let alternative = match before.get(at) {
            None => Alternative::refused(EngineError::NoSuchObject),
            Some(held) if held.body.is_none() => Alternative::refused(EngineError::DeleteMarker),
            Some(held) => match updated(held, attribute) {
                Ok(held) => {
                    let mut after = before.to_vec();
                    after[at] = held;
                    Alternative::done(effects(name, Rc::new(after), &told))
                }
                Err(error) => Alternative::refused(error),
            },
        };
        let numbers: Vec<u32> = told.iter().map(|(number, _)| *number).collect();
        let request = asking(move |engine| async move {
            let (update, condition) = (update_of(attribute), Condition::default());
            let events = drafts(&numbers);
            done(engine.update_with_events(bucket, &key, version, update, condition, events).await)
        });
        self.one(op, vec![name.0], vec![alternative], request)
    }

    fn rename(&mut self, op: &Op, to: Name, from: u8, asked: Asked, events: u8) -> Option<Meant> {
        let from = (to.0, from);
        if from == to {
            return None;
        }
        let (bucket, to_key, to_before) = self.key(to)?;
        let (_, from_key, from_before) = self.key(from)?;
        let told = self.tell(events, bucket, &to_key, EventChange::Created);
        let alternative = |versioning| {
            let renamed = match current(&from_before) {
                _ if versioning != Versioning::Unversioned => Err(EngineError::Changed),
                None => Err(EngineError::NoSuchObject),
                Some(source) => holds(asked, current(&to_before)).and_then(|()| {
                    with_version(&to_before, Held { id: None, ..source.clone() }, versioning, false)
                }),
            };
            match renamed {
                Ok(after) => {
                    let mut effects = effects(to, after, &told);
                    effects.push(Effect::Key(from, State::default()));
                    Alternative::done(effects)
                }
                Err(error) => Alternative::refused(error),
            }
        };
        let alternatives = self.versionings(to.0).into_iter().map(alternative).collect();
        let condition = condition(asked, current(&to_before));
        let numbers: Vec<u32> = told.iter().map(|(number, _)| *number).collect();
        let request = asking(move |engine| async move {
            let (source, events) = (Condition::default(), drafts(&numbers));
            done(engine.rename(bucket, &from_key, &to_key, condition, source, events).await)
        });
        let mut meant = self.one(op, vec![to.0], alternatives, request)?;
        // The source may be refused after the destination was made.
        meant.pending[0].is_one_record = false;
        Some(meant)
    }

    /// What is current, the oldest of what was replaced, or a delete marker without anything behind it.
    fn expire(&mut self, op: &Op, name: Name, wants_current: bool) -> Option<Meant> {
        let (bucket, key, before) = self.key(name)?;
        let versionings = self.versionings(name.0);
        let place = if wants_current { 0 } else { before.len().checked_sub(1)? };
        let held = before.get(place)?;
        let is_marker = held.body.is_none();
        let is_hidden = place == 0 && !is_marker;
        if place == 0 && is_marker && before.len() > 1 {
            return None;
        }
        let alternative = |versioning| {
            let after = match is_hidden {
                true => delete_current(&before, Asked::Nothing, versioning, false),
                false => without_version(&before, place, false),
            };
            match after {
                Ok(after) => {
                    let expected = Expected::Deleted(true);
                    Alternative { expected, effects: effects(name, after, &[]) }
                }
                Err(error) => Alternative::refused(error),
            }
        };
        let alternatives = versionings.into_iter().map(alternative).collect();
        let (id, count) = (held.id?, before.len() as u64);
        let request = asking(move |engine| async move {
            let mut after = None;
            loop {
                let (scanned, next) = engine.scan(bucket, after.as_ref(), 4);
                let found = scanned.into_iter().find(|it| it.key == key && it.version == id);
                if let Some(found) = found {
                    assert_eq!(found.is_latest, place == 0, "{found:?}");
                    assert_eq!(found.is_only, count == 1, "{found:?}");
                    assert_eq!((found.is_delete_marker, found.noncurrent_newer), {
                        (is_marker, (place as u64).saturating_sub(1))
                    });
                    let condition = Condition { sequence: Some(found.sequence), ..Condition::default() };
                    let version = if is_hidden { None } else { Some(id) };
                    let only_replaced = place > 0;
                    let deletion = Deletion { version, condition, only_replaced, ..Deletion::default() };
                    return deleted(engine.delete(bucket, &key, deletion).await);
                }
                match next {
                    Some(next) => after = Some(next),
                    None => return Err(EngineError::NoSuchObject),
                }
            }
        });
        // Each core scans what it owns.
        let core = Some(owner_of(bucket, &key_of(name), self.cores));
        self.one(op, vec![name.0], alternatives, request).map(|meant| Meant { core, ..meant })
    }

    fn events_done(&mut self, op: &Op, core: u8, which: u8) -> Option<Meant> {
        let core = core as usize % self.cores;
        let is_chosen = |(number, fact): &(&u32, &Fact)| {
            let owner = owner_of(fact.bucket, &fact.key, self.cores);
            owner == core && which >> (**number % 8) & 1 == 1 && fact.id.is_some()
        };
        let chosen = self.world.events.iter().filter(is_chosen).map(|(number, fact)| (*number, fact.id));
        let chosen: Vec<_> = chosen.collect();
        let free: Vec<_> =
            chosen.into_iter().filter(|(number, _)| self.taken.insert(Place::Event(*number))).collect();
        if free.is_empty() {
            return None;
        }
        let effects = free.iter().map(|(number, _)| Effect::Done(*number)).collect();
        let ids: Vec<EventId> = free.iter().filter_map(|(_, id)| *id).collect();
        let request = asking(move |engine| async move { done(engine.events_done(&ids).await) });
        let meant = self.one(op, Vec::new(), vec![Alternative::done(effects)], request);
        meant.map(|meant| Meant { core: Some(core), ..meant })
    }
}

/// The payload of a range of an object, by reference.
pub async fn share(
    engine: &SimEngine,
    bucket: BucketId,
    key: &[u8],
    version: Option<VersionId>,
    range: std::ops::Range<u32>,
) -> Result<Payload<SimHost>, EngineError> {
    let found = engine.get(bucket, key, version).await?.found();
    let Some(object) = found else { return Err(EngineError::NoSuchObject) };
    object.share(range.start.into()..range.end.into()).await
}

/// A range of so many bytes; all of them, or some.
pub fn cut((from, to): Fraction, bytes: u32) -> std::ops::Range<u32> {
    let place = |fraction: u8| (u64::from(bytes) * u64::from(fraction) / 255) as u32;
    let (from, to) = (place(from.min(to)), place(from.max(to)));
    if from == to { 0..bytes } else { from..to }
}

fn effects(name: Name, after: State, told: &[(u32, Fact)]) -> Vec<Effect> {
    let due = told.iter().map(|(number, fact)| Effect::Due(*number, fact.clone()));
    std::iter::once(Effect::Key(name, after)).chain(due).collect()
}

/// What a key holds after a deletion that names no version.
fn delete_current(
    before: &State,
    asked: Asked,
    versioning: Versioning,
    bypass: bool,
) -> Result<State, EngineError> {
    let newest = before.first();
    match newest.filter(|newest| newest.body.is_none()) {
        // A delete marker is no object, but something is there.
        Some(_) => match asked {
            Asked::Nothing => {}
            Asked::Present => return Err(EngineError::ConditionOnMissing),
            Asked::Absent | Asked::Same | Asked::Other => return Err(EngineError::ConditionFailed),
            Asked::Differs => {}
        },
        None => holds(asked, newest)?,
    }
    if versioning == Versioning::Unversioned {
        return match before.iter().position(|held| held.is_null) {
            Some(place) => without_version(before, place, bypass),
            None => Ok(before.clone()),
        };
    }
    let marker = Held { body: None, ..Held::object(Body::default()) };
    with_version(before, marker, versioning, bypass)
}

fn update_of(attribute: Attribute) -> Update {
    match attribute {
        Attribute::Tag(tag) => {
            Update::Headers { set: vec![(":tag".to_owned(), tag.to_string().into_bytes())], remove: vec![] }
        }
        Attribute::Hold(hold) => Update::LegalHold(hold),
        Attribute::Retention { bypass, .. } | Attribute::NoRetention { bypass } => {
            Update::Retention { retention: retention_of(attribute), bypass_governance: bypass }
        }
    }
}

fn retention_of(attribute: Attribute) -> Option<Retention> {
    let Attribute::Retention { compliance, lasts, .. } = attribute else { return None };
    let mode = if compliance { RetentionMode::Compliance } else { RetentionMode::Governance };
    Some(Retention { mode, until: if lasts { RETAINED_FOR_EVER } else { RETAINED_PAST } })
}

fn updated(held: &Held, attribute: Attribute) -> Result<Held, EngineError> {
    let mut next = held.clone();
    match attribute {
        Attribute::Tag(tag) => next.tag = tag,
        Attribute::Hold(hold) => next.lock.legal_hold = hold,
        Attribute::Retention { bypass, .. } | Attribute::NoRetention { bypass } => {
            let retention = retention_of(attribute);
            if !held.lock.allows_retention(retention, RETAINED_PAST + 1, bypass) {
                return Err(EngineError::Locked);
            }
            next.lock.retention = retention;
        }
    }
    Ok(next)
}
