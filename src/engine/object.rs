//! Objects as they were looked up, and payload on its way to become one.

use std::future::Future;
use std::ops::{Deref, Range};
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;

use super::Engine;
use super::extent::reader::PayloadReader;
use super::format::Slice;
use super::format::record::{ObjectPut, StoredPayload};
use super::hold::Hold;
use super::shared::ReadPin;
use super::types::EngineError;
use crate::base::limits::{BUFFER_BYTES, INLINE_BYTES_MAX};
use crate::io::Host;

/// An object as it was when it was looked up. While it (or a reader of it) is held, its payload stays
/// readable, whatever is deleted or overwritten meanwhile.
pub struct Object<H: Host> {
    engine: Engine<H>,
    /// None if the payload is in memory.
    hold: Option<Rc<Hold<H>>>,
    put: Arc<ObjectPut>,
}

impl<H: Host> Object<H> {
    /// `pin` is from before the look-up.
    pub(super) fn new(engine: Engine<H>, pin: ReadPin, put: Arc<ObjectPut>) -> Self {
        let hold = match &put.payload {
            StoredPayload::Inline(_) => None,
            StoredPayload::Slices(_) => Some(engine.hold(pin, put.clone())),
        };
        Self { engine, hold, put }
    }

    /// The host of the core that looked the object up.
    pub fn host(&self) -> &H {
        self.engine.host()
    }

    /// Reads `range` of the stored bytes. Panics if the range ends beyond the object.
    pub fn reader(&self, range: Range<u64>) -> PayloadReader<H> {
        self.check_range(&range);
        match &self.put.payload {
            StoredPayload::Inline(bytes) => {
                let bytes = bytes.slice(range.start as usize..range.end as usize);
                PayloadReader::inline(self.engine.clone(), bytes)
            }
            StoredPayload::Slices(_) => {
                PayloadReader::sliced(self.engine.clone(), self.hold.clone(), self.put.clone(), range)
            }
        }
    }

    /// The payload of `range` of the stored bytes, shared by reference (bytes are copied only if they are
    /// inline), for a copy. Panics if the range ends beyond the object.
    pub async fn share(&self, range: Range<u64>) -> Result<Payload<H>, EngineError> {
        self.check_range(&range);
        let bytes = range.end - range.start;
        let slices = match &self.put.payload {
            StoredPayload::Inline(all) => {
                let part = all.slice(range.start as usize..range.end as usize);
                return Ok(Payload::new(self.engine.clone(), StoredPayload::Inline(part), bytes));
            }
            StoredPayload::Slices(slices) => cut(slices, range),
        };
        self.engine.acquire(&slices).await?;
        Ok(Payload::new(self.engine.clone(), StoredPayload::Slices(slices), bytes))
    }

    /// The object's payload, shared by reference, with `more` behind it: what appending to it stores. Only
    /// payload that is small together is copied.
    pub async fn followed_by(&self, more: Payload<H>) -> Result<Payload<H>, EngineError> {
        let own = self.share(0..self.put.stored_bytes()).await?.with_plain_bytes(self.put.bytes);
        own.followed_by(more).await
    }

    fn check_range(&self, range: &Range<u64>) {
        let end = self.put.stored_bytes();
        assert!(range.start <= range.end && range.end <= end, "{range:?} beyond {end}");
    }
}

/// Length, version, time, attributes and parts are those of the stored record.
impl<H: Host> Deref for Object<H> {
    type Target = ObjectPut;

    fn deref(&self) -> &ObjectPut {
        &self.put
    }
}

/// The slices of `range` of an object.
fn cut(slices: &[Slice], range: Range<u64>) -> Vec<Slice> {
    let mut position = 0;
    let mut result = Vec::new();
    for slice in slices {
        let here = position..position + u64::from(slice.length);
        position = here.end;
        let (from, to) = (here.start.max(range.start), here.end.min(range.end));
        if from < to {
            let start = slice.start + (from - here.start) as u32;
            result.push(Slice { start, length: (to - from) as u32, ..*slice });
        }
    }
    result
}

/// Payload that is durable (or small enough for the log) and belongs to no object yet. Dropping it frees its
/// space.
pub struct Payload<H: Host> {
    engine: Engine<H>,
    bytes: u64,
    /// What a part keeps of how its payload is stored.
    note: Vec<u8>,
    /// `None` once it belongs to an object.
    content: Option<StoredPayload>,
}

impl<H: Host> Payload<H> {
    pub(super) fn new(engine: Engine<H>, content: StoredPayload, bytes: u64) -> Self {
        Self { engine, bytes, note: Vec::new(), content: Some(content) }
    }

    /// Length in bytes, as clients are to see it.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The same payload, of which clients are to see `bytes`: it is stored encrypted, and longer.
    pub fn with_plain_bytes(mut self, bytes: u64) -> Self {
        self.bytes = bytes;
        self
    }

    /// The same payload with what a part of it shall keep: see [`crate::engine::Part::note`].
    pub fn with_note(mut self, note: Vec<u8>) -> Self {
        self.note = note;
        self
    }

    pub(super) fn note(&self) -> Vec<u8> {
        self.note.clone()
    }

    pub(super) fn stored(&self) -> StoredPayload {
        self.content.clone().expect("only a commit takes it, and consumes the payload")
    }

    /// Hands the payload over to the record that `commit` makes durable. If that certainly did not happen,
    /// the space is freed; if it is unknown, it is kept until recovery knows.
    pub(super) async fn commit<T>(
        mut self,
        commit: impl Future<Output = Result<T, EngineError>>,
    ) -> Result<T, EngineError> {
        let content = self.content.take();
        let result = commit.await;
        let unknown = matches!(result, Err(EngineError::Failed(_) | EngineError::Stopping));
        if result.is_err() && !unknown {
            self.content = content;
        }
        result
    }

    async fn followed_by(self, more: Self) -> Result<Self, EngineError> {
        let bytes = self.bytes + more.bytes;
        if let (Some(StoredPayload::Inline(first)), Some(StoredPayload::Inline(second))) =
            (&self.content, &more.content)
            && first.len() + second.len() <= INLINE_BYTES_MAX
        {
            let joined = Bytes::from([first.as_ref(), second.as_ref()].concat());
            return Ok(Self::new(self.engine.clone(), StoredPayload::Inline(joined), bytes));
        }
        let (mut first, mut second) = (self.into_extents().await?, more.into_extents().await?);
        let (Some(StoredPayload::Slices(mut slices)), Some(StoredPayload::Slices(rest))) =
            (first.content.take(), second.content.take())
        else {
            return Err(EngineError::Failed("payload to be joined is in extents".to_string()));
        };
        slices.extend(rest);
        Ok(Self::new(first.engine.clone(), StoredPayload::Slices(slices), bytes))
    }

    /// The payload in extents; inline bytes are written to one.
    pub(super) async fn into_extents(self) -> Result<Self, EngineError> {
        let Some(StoredPayload::Inline(bytes)) = &self.content else { return Ok(self) };
        let mut writer = self.engine.payload_writer(Some(bytes.len() as u64)).await?;
        for run in bytes.chunks(BUFFER_BYTES) {
            let mut buffer = writer.buffer().await;
            buffer.append(run);
            writer.write(buffer).await?;
        }
        Ok(writer.finish().await?.with_plain_bytes(self.bytes).with_note(self.note()))
    }
}

impl<H: Host> Drop for Payload<H> {
    fn drop(&mut self) {
        if let Some(StoredPayload::Slices(slices)) = &self.content {
            self.engine.release(slices);
        }
    }
}
