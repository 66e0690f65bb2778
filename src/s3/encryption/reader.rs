//! Reading objects as they were before they were encrypted, if they were: any range, by the segments that
//! hold it alone, decrypted in the buffers they were read into.

use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

use bytes::{Bytes, BytesMut};

use super::asked::CustomerKey;
use super::data_key::{DataKey, Place};
use super::vault::Vault;
use super::{Encryption, Run, Scheme};
use crate::crypt::{Damaged, Layout, SEGMENT_BYTES, SegmentCipher};
use crate::engine::{EngineError, Object, PayloadReader};
use crate::io::{Chunk, Host};
use crate::s3::error::{Code, S3Error};

/// What it takes to read an object: nothing, or its data key.
#[derive(Clone, Default)]
pub struct Opened {
    key: Option<Rc<Unlocked>>,
}

struct Unlocked {
    data_key: DataKey,
    runs: Vec<Run>,
}

impl Opened {
    /// Unwraps the data key of an object that is about to be read; `customer` is the key that the request
    /// brings. As AWS: 400 for a key that is missing or has no use, 403 for one that is wrong.
    pub fn of<H: Host>(
        object: &Object<H>,
        vault: &Vault,
        customer: Option<&CustomerKey>,
    ) -> Result<Self, S3Error> {
        let kept = Encryption::load(&object.attributes.headers)?;
        let is_customers = kept.as_ref().is_some_and(|kept| kept.scheme == Scheme::Customer);
        if customer.is_some() && !is_customers {
            let message = "The encryption parameters are not applicable to this object.";
            return Err(S3Error::invalid_request(message));
        }
        let Some(kept) = kept else { return Ok(Self::default()) };
        if is_customers && customer.is_none() {
            return Err(S3Error::invalid_request(
                "The object was stored using a form of Server Side Encryption. The correct parameters must be \
                 provided to retrieve the object.",
            ));
        }
        let runs = kept.runs_of(&object.parts).filter(|runs| is_layout_of(runs, object));
        let Some(runs) = runs else {
            tracing::error!("the runs of an encrypted object are not those of its payload");
            return Err(Code::InternalError.into());
        };
        let place = Place { bucket: object.bucket };
        let data_key = DataKey::open(kept, place, vault, customer, || Code::AccessDenied.into())?;
        Ok(Self { key: Some(Rc::new(Unlocked { data_key, runs })) })
    }

    /// The object's data key, if it is encrypted.
    pub fn data_key(&self) -> Option<&DataKey> {
        self.key.as_ref().map(|key| &key.data_key)
    }

    /// Data key and runs, for a copy that shares the payload.
    pub fn into_key(self) -> Option<(DataKey, Vec<Run>)> {
        let unlocked = Rc::into_inner(self.key?)?;
        Some((unlocked.data_key, unlocked.runs))
    }

    /// Reads `range` of the object's bytes. Panics if it ends beyond the object.
    pub fn reader<H: Host>(&self, object: &Object<H>, range: Range<u64>) -> PlainReader<H> {
        let Some(key) = &self.key else {
            return PlainReader { stored: object.reader(range), decryption: None };
        };
        let (stored, decryption) = plan(key, range);
        PlainReader { stored: object.reader(stored), decryption: Some(decryption) }
    }
}

/// Whether runs add up to what clients see of an object, and to what is stored.
fn is_layout_of<H: Host>(runs: &[Run], object: &Object<H>) -> bool {
    let sum = |bytes: fn(&Run) -> u64| runs.iter().map(bytes).try_fold(0, u64::checked_add);
    sum(|run| run.plain_bytes) == Some(object.bytes)
        && sum(|run| Layout::of_plain(run.plain_bytes).stored_bytes()) == Some(object.stored_bytes())
}

/// Finds the segments that hold a range: one stretch of what is stored, which covers the runs in the middle
/// wholly.
fn plan(key: &Rc<Unlocked>, range: Range<u64>) -> (Range<u64>, Decryption) {
    let mut stretches = VecDeque::new();
    let (mut plain, mut stored) = (0, 0);
    let (mut start, mut end, mut skip) = (0, 0, 0);
    for run in &key.runs {
        let layout = Layout::of_plain(run.plain_bytes);
        let here = plain..plain + run.plain_bytes;
        let (from, to) = (range.start.max(here.start), range.end.min(here.end));
        if from < to {
            let part = layout.stored_range(from - here.start..to - here.start);
            if stretches.is_empty() {
                (start, skip) = (stored + part.stored.start, part.skip);
            }
            end = stored + part.stored.end;
            let bytes = part.stored.end - part.stored.start;
            stretches.push_back(Stretch { run: *run, number: part.first, bytes });
        }
        plain = here.end;
        stored += layout.stored_bytes();
    }
    let left = range.end - range.start;
    (start..end, Decryption { key: key.clone(), stretches, cipher: None, skip, left })
}

/// Reads a range of an object.
pub struct PlainReader<H: Host> {
    stored: PayloadReader<H>,
    decryption: Option<Decryption>,
}

/// What is still to be decrypted of a range.
struct Decryption {
    key: Rc<Unlocked>,
    stretches: VecDeque<Stretch>,
    /// That of the first stretch, once it was begun.
    cipher: Option<SegmentCipher>,
    /// Payload bytes before the range in the segment that it begins in.
    skip: usize,
    /// Payload bytes that are still wanted.
    left: u64,
}

/// Whole segments of a run.
struct Stretch {
    run: Run,
    /// Number of the next segment.
    number: u64,
    /// Stored bytes still to come.
    bytes: u64,
}

impl<H: Host> PlainReader<H> {
    /// The next run of bytes, or `None` at the end. Reads ahead a bounded number of buffers.
    pub async fn next(&mut self) -> Option<Result<Chunk, EngineError>> {
        let chunk = self.stored.next().await?;
        match (&mut self.decryption, chunk) {
            (Some(decryption), Ok(chunk)) => Some(decryption.open(chunk).map_err(|Damaged| {
                EngineError::Corrupt("an encrypted segment is not what was written".to_owned())
            })),
            (_, chunk) => Some(chunk),
        }
    }
}

impl Decryption {
    fn open(&mut self, chunk: Chunk) -> Result<Chunk, Damaged> {
        match chunk {
            Chunk::Buffer(mut buffer, range) => {
                let length = self.open_runs(&mut buffer[range.clone()])?;
                let wanted = self.wanted(length);
                Ok(Chunk::Buffer(buffer, range.start + wanted.start..range.start + wanted.end))
            }
            Chunk::Bytes(bytes) => {
                // They may be shared with the cache of small objects.
                let mut bytes = bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
                let length = self.open_runs(&mut bytes)?;
                Ok(Chunk::Bytes(Bytes::from(bytes).slice(self.wanted(length))))
            }
        }
    }

    /// Decrypts the next segments in place, of several runs if they are short: what was appended to a small
    /// object is stored with it. Returns the length of their payload.
    fn open_runs(&mut self, stored: &mut [u8]) -> Result<usize, Damaged> {
        let (mut from, mut to) = (0, 0);
        while from < stored.len() {
            let stretch = self.stretches.front().ok_or(Damaged)?;
            let end = stored.len().min(from + usize::try_from(stretch.bytes).unwrap_or(usize::MAX - from));
            let length = self.open_run(&mut stored[from..end])?;
            if to < from {
                stored.copy_within(from..from + length, to);
            }
            (from, to) = (end, to + length);
        }
        Ok(to)
    }

    /// Decrypts the next segments of one run in place; returns the length of their payload.
    fn open_run(&mut self, stored: &mut [u8]) -> Result<usize, Damaged> {
        let stretch = self.stretches.front_mut().ok_or(Damaged)?;
        let bytes = stored.len() as u64;
        // Extents, checksums and buffers end where segments do; what comes here otherwise is no run.
        if bytes > stretch.bytes || (bytes < stretch.bytes && !bytes.is_multiple_of(SEGMENT_BYTES as u64)) {
            return Err(Damaged);
        }
        let run = stretch.run;
        let cipher = self.cipher.get_or_insert_with(|| self.key.data_key.cipher(run.number, &run.salt));
        let length = cipher.open(Layout::of_plain(run.plain_bytes), stretch.number, stored)?;
        stretch.number += bytes.div_ceil(SEGMENT_BYTES as u64);
        stretch.bytes -= bytes;
        if stretch.bytes == 0 {
            self.stretches.pop_front();
            self.cipher = None;
        }
        Ok(length)
    }

    /// What is wanted of the payload that was just decrypted.
    fn wanted(&mut self, length: usize) -> Range<usize> {
        let start = std::mem::take(&mut self.skip).min(length);
        let wanted = (length - start).min(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= wanted as u64;
        start..start + wanted
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypt::{Key, MasterKey, TAG_BYTES};
    use crate::engine::Config;
    use crate::io::sim::Simulation;
    use crate::s3::encryption::Target;
    use proptest::prelude::*;
    use std::sync::Arc;

    /// The stored bytes of runs of these lengths, and the plain ones.
    fn object(lengths: &[u64]) -> (Rc<Unlocked>, Vec<u8>, Vec<u8>) {
        let master = Arc::new(MasterKey::new(Key::new([1; 32])));
        let vault = Vault::new(master, Rc::new(Config::default()));
        let host = Simulation::new(1).host(1);
        let place = Place { bucket: 1 };
        let data_key = Target::Managed.data_key(&vault, place, &host).unwrap();
        let (mut plain, mut stored, mut runs) = (Vec::new(), Vec::new(), Vec::new());
        for (number, bytes) in (1..).zip(lengths) {
            let run = data_key.new_run(number, &host);
            let payload: Vec<u8> = (0..*bytes).map(|at| (at / 251 + at % 253) as u8 ^ number as u8).collect();
            let segments = Layout::of_plain(*bytes).segments();
            let pieces = payload.chunks(SEGMENT_BYTES - TAG_BYTES);
            for (index, piece) in (0..).zip(pieces) {
                let mut segment = [piece, &[0; TAG_BYTES]].concat();
                run.cipher.seal(index, index + 1 == segments, &mut segment);
                stored.extend_from_slice(&segment);
            }
            plain.extend_from_slice(&payload);
            runs.push(Run { number, plain_bytes: *bytes, salt: run.salt });
        }
        (Rc::new(Unlocked { data_key, runs }), plain, stored)
    }

    proptest! {
        #[test]
        fn any_range_of_any_runs_comes_out_plain(
            lengths in proptest::collection::vec(prop_oneof![0..200_000u64, 65_519..65_522u64], 1..5),
            cut in any::<(u64, u64)>(),
            is_joined in any::<bool>(),
        ) {
            let (key, plain, stored) = object(&lengths);
            let total = plain.len() as u64;
            let (one, two) = (cut.0 % (total + 1), cut.1 % (total + 1));
            let range = one.min(two)..one.max(two);
            let (place, mut decryption) = plan(&key, range.clone());
            let mut got = Vec::new();
            let mut position = place.start as usize;
            // As extents and buffers cut it: whole segments, and across runs where they are short.
            while let Some(stretch) = decryption.stretches.front() {
                let mut length = (stretch.bytes as usize).min(2 * SEGMENT_BYTES);
                if stretch.bytes < 2 * SEGMENT_BYTES as u64 && is_joined {
                    let more = decryption.stretches.get(1).filter(|more| more.bytes < SEGMENT_BYTES as u64);
                    length += more.map_or(0, |more| more.bytes as usize);
                }
                let chunk = Bytes::copy_from_slice(&stored[position..position + length]);
                position += length;
                got.extend_from_slice(&decryption.open(Chunk::Bytes(chunk)).unwrap());
            }
            prop_assert_eq!(position as u64, place.end);
            prop_assert!(got == plain[range.start as usize..range.end as usize]);
        }
    }
}
