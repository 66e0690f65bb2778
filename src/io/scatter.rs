//! Scattered input: received payload goes to its buffer, run behind run, the framing between the runs beside it.

use std::ops::Range;

use super::Buffer;

/// What is expected next: payload, and framing behind it. Either may be nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub payload: usize,
    pub framing: usize,
}

/// Where bytes belong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the buffer.
    Payload(Range<usize>),
    /// Beside it: in [`Scattered::framing`].
    Framing(Range<usize>),
}

/// Memory for runs that are received together, their payload behind what a buffer holds: what `readv(2)` fills.
pub struct Scatter {
    buffer: Buffer,
    start: usize,
    runs: Vec<Run>,
    framing: Vec<u8>,
    /// The same memory for the kernel: of `buffer` and `framing`, in the order of the runs.
    places: Vec<libc::iovec>,
    received: usize,
}

/// What was received of some runs.
pub struct Scattered {
    /// Where it lies, in the order in which it came.
    pub places: Vec<Place>,
    pub framing: Vec<u8>,
}

impl Scatter {
    /// Room for `runs`. Panics if their payload does not fit behind what `buffer` holds.
    pub fn new(buffer: Buffer, runs: Vec<Run>) -> Self {
        let payload: usize = runs.iter().map(|run| run.payload).sum();
        assert!(payload <= buffer.spare(), "runs of {payload} bytes for {buffer:?}");
        let start = buffer.len();
        let mut framing = vec![0; runs.iter().map(|run| run.framing).sum()];
        let beside = framing.as_mut_ptr();
        let memory = places(&runs, start, usize::MAX).into_iter().map(|place| match place {
            Place::Payload(range) => (buffer.as_ptr().wrapping_add(range.start), range.len()),
            Place::Framing(range) => (beside.wrapping_add(range.start), range.len()),
        });
        let places =
            memory.map(|(start, length)| libc::iovec { iov_base: start.cast(), iov_len: length }).collect();
        Self { buffer, start, runs, framing, places, received: 0 }
    }

    /// Bytes of all runs.
    pub fn capacity(&self) -> usize {
        self.runs.iter().map(|run| run.payload + run.framing).sum()
    }

    /// The buffer, whose length covers the payload that was received, and where everything lies.
    pub fn into_parts(self) -> (Buffer, Scattered) {
        let Self { mut buffer, start, runs, framing, received, .. } = self;
        let places = places(&runs, start, received);
        let payload = places.iter().rev().find_map(|place| match place {
            Place::Payload(range) => Some(range.end),
            Place::Framing(_) => None,
        });
        buffer.set_len(payload.unwrap_or(start));
        (buffer, Scattered { places, framing })
    }

    /// Receives as much of `bytes` as there is room for, as from a socket; returns how much.
    #[cfg(test)]
    pub fn receive(&mut self, bytes: &[u8]) -> usize {
        self.received = bytes.len().min(self.capacity());
        let mut rest = &bytes[..self.received];
        for place in places(&self.runs, self.start, self.received) {
            let to = match place {
                Place::Payload(range) => &mut self.buffer.whole_mut()[range],
                Place::Framing(range) => &mut self.framing[range],
            };
            let (head, tail) = rest.split_at(to.len());
            to.copy_from_slice(head);
            rest = tail;
        }
        self.received
    }
}

impl Scattered {
    /// The bytes from `offset` of place `index` on, as they came.
    pub fn rest(&self, buffer: &Buffer, index: usize, offset: usize) -> Vec<u8> {
        let pieces = self.places.iter().skip(index).map(|place| match place {
            Place::Payload(range) => &buffer.whole()[range.clone()],
            Place::Framing(range) => &self.framing[range.clone()],
        });
        pieces.collect::<Vec<_>>().concat().split_off(offset)
    }
}

/// Where the first `count` bytes of `runs` belong, whose payload begins at `start`.
fn places(runs: &[Run], start: usize, count: usize) -> Vec<Place> {
    let mut places = Vec::with_capacity(2 * runs.len());
    let (mut payload, mut framing, mut left) = (start, 0, count);
    for run in runs {
        let payload_bytes = run.payload.min(left);
        left -= payload_bytes;
        let framing_bytes = run.framing.min(left);
        left -= framing_bytes;
        places.push(Place::Payload(payload..payload + payload_bytes));
        places.push(Place::Framing(framing..framing + framing_bytes));
        (payload, framing) = (payload + payload_bytes, framing + framing_bytes);
    }
    places
        .retain(|place| !matches!(place, Place::Payload(range) | Place::Framing(range) if range.is_empty()));
    places
}

// SAFETY: the places are memory of `buffer` and `framing`, which are neither moved nor freed while the value exists,
// nor is the list of them; nobody else refers to any of it, and all of it is initialised.
unsafe impl monoio::buf::IoVecBufMut for Scatter {
    fn write_iovec_ptr(&mut self) -> *mut libc::iovec {
        self.places.as_mut_ptr()
    }

    fn write_iovec_len(&mut self) -> usize {
        self.places.len()
    }

    unsafe fn set_init(&mut self, position: usize) {
        self.received = position.min(self.capacity());
    }
}
