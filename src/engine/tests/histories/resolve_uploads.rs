//! What operations on uploads, buckets and the configuration mean.

use std::collections::BTreeMap;

use super::body::Body;
use super::model::*;
use super::resolve::*;
use super::steps::*;
use super::*;

impl Beginning<'_> {
    pub fn resolve_upload(&mut self, op: &Op) -> Option<Meant> {
        match op {
            Op::UploadBegin { key } => {
                let (bucket, name) = (self.world.bucket(key.0)?.0, *key);
                if self.world.uploads.len() > 6 {
                    return None;
                }
                let effects = vec![Effect::Begun(self.world.fresh(), name, None)];
                let request = asking(move |engine| async move {
                    let upload = engine.create_upload(bucket, &key_of(name), Vec::new()).await?;
                    Ok(Said { upload: Some(upload.id), ..Said::default() })
                });
                self.one(op, vec![name.0], vec![Alternative::done(effects)], request)
            }
            Op::Part { upload, number, body } => {
                let body = Body::new(body.fresh, body.bytes);
                let stored = body.clone();
                self.part(op, *upload, *number, stored, move |engine| async move {
                    payload_of(&engine, &body).await
                })
            }
            Op::PartCopy { upload, number, from, place, range } => {
                let (source, id) = self.source(*from, *place)?;
                let range = cut(*range, source.len());
                let stored = source.slice(range.clone());
                if stored.len() == 0 {
                    return None;
                }
                let (bucket, from) = (self.world.bucket(from.0)?.0, key_of(*from));
                self.part(op, *upload, *number, stored, move |engine| async move {
                    share(&engine, bucket, &from, id, range).await
                })
            }
            Op::Complete { upload, without, asked, events, wrong } => {
                self.complete(op, *upload, *without, *asked, *events, *wrong)
            }
            Op::CompleteAgain { upload } => self.complete_again(op, *upload),
            Op::Abort { upload } => {
                let (number, bucket, open) = self.open_upload(*upload)?;
                let effects = vec![Effect::Parts(number, None)];
                let request = asking(move |engine| async move {
                    done(engine.abort_upload(bucket, &key_of(open.name), open.id).await)
                });
                self.one(op, vec![open.name.0], vec![Alternative::done(effects)], request)
            }
            _ => None,
        }
    }

    /// An upload that nobody else changes.
    fn open_upload(&mut self, place: u8) -> Option<(u32, BucketId, OpenUpload)> {
        let place = place as usize % self.world.uploads.len().max(1);
        let (number, open) = self.world.uploads.iter().nth(place)?;
        let (number, open) = (*number, open.clone());
        let bucket = self.world.bucket(open.name.0)?.0;
        self.taken.insert(Place::Upload(number)).then_some((number, bucket, open))
    }

    fn part<F: Future<Output = Result<Payload<SimHost>, EngineError>> + 'static>(
        &mut self,
        op: &Op,
        place: u8,
        number: u8,
        body: Body,
        make: impl FnOnce(SimEngine) -> F + 'static,
    ) -> Option<Meant> {
        let (upload, bucket, open) = self.open_upload(place)?;
        let mut parts = open.parts;
        parts.insert(number.into(), body.clone());
        let effects = vec![Effect::Parts(upload, Some(parts))];
        let (name, id, etag) = (open.name, open.id, etag_of(&body));
        let request = asking(move |engine| async move {
            let payload = make(engine.clone()).await?;
            done(engine.put_part(bucket, &key_of(name), id, number.into(), payload, etag, None).await)
        });
        self.one(op, vec![name.0], vec![Alternative::done(effects)], request)
    }

    fn complete(
        &mut self,
        op: &Op,
        place: u8,
        without: u8,
        asked: Asked,
        events: u8,
        wrong: bool,
    ) -> Option<Meant> {
        let (upload, bucket, open) = self.open_upload(place)?;
        let named = open.parts.iter().filter(|(number, _)| without >> (**number % 8) & 1 == 0);
        let named: Vec<(u16, Body)> = named.map(|(number, body)| (*number, body.clone())).collect();
        if named.is_empty() {
            return None;
        }
        let (_, key, before) = self.key(open.name)?;
        let told = self.tell(events, bucket, &key, EventChange::Created);
        let body = named.iter().fold(Body::default(), |whole, (_, part)| whole.followed_by(part));
        let sizes = named.iter().map(|(number, body)| (*number, u64::from(body.len()))).collect();
        let held = Held { parts: sizes, ..Held::object(body.clone()) };
        let alternative = |versioning| {
            let checked = holds(asked, current(&before));
            let checked = checked.and(if wrong { Err(EngineError::InvalidPart) } else { Ok(()) });
            let after = checked.and_then(|()| with_version(&before, held.clone(), versioning, false));
            match after {
                Ok(after) => {
                    let due = told.iter().map(|(number, fact)| Effect::Due(*number, fact.clone()));
                    let own = [Effect::Key(open.name, after), Effect::Parts(upload, None)];
                    Alternative::done(own.into_iter().chain(due).collect())
                }
                Err(error) => Alternative::refused(error),
            }
        };
        let versionings = self.world.bucket(open.name.0).map(|(_, versioning)| versioning);
        let versionings = versionings.into_iter().chain(self.turning[open.name.0]);
        let alternatives = versionings.map(alternative).collect();
        let condition = condition(asked, current(&before));
        let mut parts: Vec<_> = named.iter().map(|(number, body)| (*number, etag_of(body))).collect();
        let completed = CompletedUpload { bucket, name: open.name, id: open.id, parts: parts.clone(), body };
        self.world.completed.push(completed.clone());
        if wrong {
            parts[0].1 = ETag::of_md5([0xdd; 16]);
        }
        let numbers: Vec<u32> = told.iter().map(|(number, _)| *number).collect();
        let id = open.id;
        let request = asking(move |engine| async move {
            let (attributes, events) = (plain(&completed.body), drafts(&numbers));
            let completion = Completion { parts, attributes, condition, events };
            done(engine.complete_upload(bucket, &key, id, completion).await)
        });
        self.one(op, vec![open.name.0], alternatives, request)
    }

    /// Asks once more for what was perhaps done: nothing must change, whatever the answer.
    fn complete_again(&mut self, op: &Op, place: u8) -> Option<Meant> {
        let place = place as usize % self.world.completed.len().max(1);
        let completed = self.world.completed.get(place)?.clone();
        let is_open = self.world.uploads.values().any(|open| open.id == completed.id);
        let (bucket, _) = self.world.bucket(completed.name.0)?;
        if is_open || bucket != completed.bucket {
            return None;
        }
        let (_, key, before) = self.key(completed.name)?;
        let same = Effect::Key(completed.name, before);
        let alternatives =
            vec![Alternative::done(vec![same]), Alternative::refused(EngineError::NoSuchUpload)];
        let request = asking(move |engine| async move {
            let (parts, attributes) = (completed.parts, plain(&completed.body));
            let completion =
                Completion { parts, attributes, condition: Condition::default(), events: Vec::new() };
            done(engine.complete_upload(bucket, &key, completed.id, completion).await)
        });
        self.one(op, vec![completed.name.0], alternatives, request)
    }

    pub fn resolve_bucket(&mut self, op: &Op) -> Option<Meant> {
        match op {
            Op::BucketCreate { slot, versioning } => {
                if self.world.buckets[*slot].is_some() || !self.taken.insert(Place::Slot(*slot)) {
                    return None;
                }
                let (slot, versioning) = (*slot, *versioning);
                let facts = BucketFacts { id: None, versioning, settings: BTreeMap::new() };
                let effects = vec![Effect::Bucket(slot, Some(facts))];
                let request = asking(move |engine| async move {
                    let made = engine.create_bucket(SLOT_NAMES[slot], versioning, BTreeMap::new()).await?;
                    Ok(Said { bucket: Some(made.id), ..Said::default() })
                });
                self.one(op, vec![slot], vec![Alternative::done(effects)], request)
            }
            Op::BucketDelete { slot } => {
                self.world.bucket(*slot)?;
                if !self.taken.insert(Place::Slot(*slot)) {
                    return None;
                }
                let slot = *slot;
                let is_busy = self.taken.iter().any(|cell| match cell {
                    Place::Key(name) => name.0 == slot,
                    Place::Upload(number) => self.world.uploads[number].name.0 == slot,
                    _ => false,
                });
                let is_empty = self.world.keys.range((slot, 0)..(slot + 1, 0)).next().is_none();
                let gone = Alternative::done(vec![Effect::Bucket(slot, None)]);
                let refused = Alternative::refused(EngineError::BucketNotEmpty);
                let alternatives = match (is_busy, is_empty) {
                    (true, _) => vec![gone, refused],
                    (false, true) => vec![gone],
                    (false, false) => vec![refused],
                };
                let request =
                    asking(move |engine| async move { done(engine.delete_bucket(SLOT_NAMES[slot]).await) });
                self.one(op, Vec::new(), alternatives, request)
            }
            Op::BucketVersioning { slot } => {
                let (_, now) = self.world.bucket(*slot)?;
                if !self.taken.insert(Place::Versioning(*slot)) {
                    return None;
                }
                let next = match now {
                    Versioning::Enabled => Versioning::Suspended,
                    _ => Versioning::Enabled,
                };
                self.turning[*slot] = Some(next);
                let effects = vec![Effect::Versioning(*slot, next)];
                let change = BucketChange { versioning: Some(next), ..BucketChange::default() };
                self.set_bucket(op, *slot, effects, change)
            }
            Op::BucketSetting { slot, name, body } => {
                self.world.bucket(*slot)?;
                if !self.taken.insert(Place::Setting(*slot, *name)) {
                    return None;
                }
                let body = body.map(|draft| Body::new(draft.fresh, draft.bytes));
                let value = body.as_ref().map(Body::bytes);
                let effects = vec![Effect::Setting(*slot, *name, body)];
                let settings = [(name.to_string(), value)].into();
                self.set_bucket(op, *slot, effects, BucketChange { settings, ..BucketChange::default() })
            }
            Op::Pair { number, body } => self.pair(op, *number, *body),
            _ => None,
        }
    }

    fn set_bucket(
        &mut self,
        op: &Op,
        slot: usize,
        effects: Vec<Effect>,
        change: BucketChange,
    ) -> Option<Meant> {
        let request =
            asking(move |engine| async move { done(engine.set_bucket(SLOT_NAMES[slot], change).await) });
        self.one(op, vec![slot], vec![Alternative::done(effects)], request)
    }

    fn pair(&mut self, op: &Op, number: u8, body: Option<Draft>) -> Option<Meant> {
        if !self.taken.insert(Place::Pair(number)) {
            return None;
        }
        let body = body.map(|draft| Body::new(draft.fresh, draft.bytes));
        let old = self.world.pairs.get(&number).map(Body::bytes);
        let value = body.as_ref().map(Body::bytes);
        let effects = vec![Effect::Pair(number, body)];
        let request = asking(move |engine| async move {
            let entries = pair_names(number).map(|name| (name, value.clone())).into();
            let expected = pair_names(number).map(|name| (name, old.clone())).into();
            engine.change_config(ConfigChange { entries, expected }).await.map(|()| Said::default())
        });
        self.one(op, Vec::new(), vec![Alternative::done(effects)], request)
    }
}

/// Entries of the configuration that are changed together.
pub fn pair_names(number: u8) -> [String; 2] {
    [format!("left/{number}"), format!("right/{number}")]
}
