//! Receiving the payload of one upload into extents.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use super::Reservation;
use crate::base::crc32c;
use crate::base::limits::{BLOCK_BYTES, BUFFER_BYTES, CHECKSUM_CHUNK_BYTES, UPLOAD_WRITES_MAX};
use crate::base::local::Semaphore;
use crate::base::stages::{self, Stage};
use crate::engine::format::record::StoredPayload;
use crate::engine::format::segment::ExtentTrailer;
use crate::engine::format::{ExtentId, SegmentId, Slice};
use crate::engine::log::error_of;
use crate::engine::types::EngineError;
use crate::engine::{Engine, Payload};
use crate::io::{Buffer, Disk, Durability, Host};

/// First extent of a payload of unknown length; each further one is twice as long.
const UNKNOWN_EXTENT_BYTES: u64 = 1024 * 1024;

/// Receives the payload of one upload or part on the accepting core.
pub struct PayloadWriter<H: Host> {
    /// `None` once finished.
    open: Option<Open<H>>,
}

struct Open<H: Host> {
    engine: Engine<H>,
    expected: Option<u64>,
    bytes: u64,
    /// Finished extents.
    slices: Vec<Slice>,
    current: Option<Current<H>>,
    extent_bytes_next: u64,
    permits: Semaphore,
    failure: Rc<RefCell<Option<EngineError>>>,
    files: BTreeMap<SegmentId, <H::Disk as Disk>::File>,
}

/// The extent being filled.
struct Current<H: Host> {
    reservation: Reservation<H>,
    /// Payload bytes there is room for.
    capacity: u64,
    filled: u64,
    checksums: Vec<u32>,
}

impl<H: Host> PayloadWriter<H> {
    pub(in crate::engine) fn new(engine: Engine<H>, expected: Option<u64>) -> Self {
        let open = Open {
            engine,
            expected,
            bytes: 0,
            slices: Vec::new(),
            current: None,
            extent_bytes_next: UNKNOWN_EXTENT_BYTES,
            permits: Semaphore::new(UPLOAD_WRITES_MAX),
            failure: Rc::default(),
            files: BTreeMap::new(),
        };
        Self { open: Some(open) }
    }

    fn open(&mut self) -> &mut Open<H> {
        self.open.as_mut().expect("open until finished, which consumes the writer")
    }

    /// A pool buffer to receive into; waits until one is free and fewer than the bounded number of this
    /// upload's writes are in flight.
    pub async fn buffer(&mut self) -> Buffer {
        let open = self.open();
        drop(open.permits.acquire(1).await);
        open.engine.host().pool().acquire(BUFFER_BYTES).await
    }

    /// Appends `buffer[..len]`. All but the last must be full to capacity. Returns once the write is under
    /// way; a failure of an earlier write is reported here or by `finish`.
    pub async fn write(&mut self, buffer: Buffer) -> Result<(), EngineError> {
        self.open().write(buffer).await
    }

    /// Waits until everything written is durable.
    pub async fn finish(mut self) -> Result<Payload<H>, EngineError> {
        self.open().finish().await?;
        let mut open = self.open.take().expect("checked by open()");
        let slices = std::mem::take(&mut open.slices);
        Ok(Payload::new(open.engine.clone(), StoredPayload::Slices(slices), open.bytes))
    }
}

impl<H: Host> Drop for PayloadWriter<H> {
    /// Frees what was received, once the writes in flight are done with it.
    fn drop(&mut self) {
        let Some(open) = self.open.take() else { return };
        let current = open.current.as_ref().map(|current| current.reservation.extent);
        let extents: Vec<ExtentId> = open.slices.iter().map(|slice| slice.extent).chain(current).collect();
        if extents.is_empty() {
            return;
        }
        let host = open.engine.host().clone();
        host.spawn(async move {
            let _all = open.permits.acquire(UPLOAD_WRITES_MAX).await;
            open.engine.extents().release(&extents);
        });
    }
}

impl<H: Host> Open<H> {
    async fn write(&mut self, mut buffer: Buffer) -> Result<(), EngineError> {
        if let Some(error) = self.failure.borrow().as_ref() {
            return Err(error.clone());
        }
        if buffer.is_empty() {
            return Ok(());
        }
        if self.current.as_ref().is_none_or(|current| current.filled == current.capacity) {
            self.next_extent().await?;
        }
        let current = self.current.as_mut().expect("opened above");
        let bytes = buffer.len() as u64;
        assert!(current.filled + bytes <= current.capacity, "more payload than was announced");
        current.checksums.extend(buffer.chunks(CHECKSUM_CHUNK_BYTES).map(crc32c::crc32c));
        let offset = u64::from(current.reservation.extent.block) * BLOCK_BYTES as u64 + current.filled;
        current.filled += bytes;
        self.bytes += bytes;
        let padded = buffer.len().next_multiple_of(BLOCK_BYTES);
        let payload_end = buffer.len();
        buffer.set_len(padded);
        buffer[payload_end..].fill(0);
        let closes = current.filled == current.capacity && self.expected.is_some();
        let carries_trailer = closes && buffer.spare() >= BLOCK_BYTES;
        if carries_trailer {
            let trailer = current.trailer();
            buffer.append(&trailer);
        }
        let file = current.reservation.file.clone();
        self.submit(file, offset, buffer).await;
        if carries_trailer {
            self.close_extent();
        }
        Ok(())
    }

    /// Starts a write; its end gives the permit back.
    async fn submit(&self, file: <H::Disk as Disk>::File, offset: u64, buffer: Buffer) {
        let permit = self.permits.acquire(1).await;
        let (engine, failure) = (self.engine.clone(), self.failure.clone());
        let request = stages::current();
        self.engine.host().spawn(async move {
            let length = buffer.len();
            let disk = engine.disk().clone();
            let began = engine.host().monotonic();
            let (result, buffer) = disk.write(&file, offset, buffer, 0..length, Durability::Buffered).await;
            drop(buffer);
            let took = engine.host().monotonic().saturating_sub(began);
            engine.extents().meters().writing.observe_duration(took);
            if let Some(stages) = request {
                stages.add(Stage::Write, took);
            }
            if let Err(error) = result {
                let error = error_of("writing payload", &error);
                if let EngineError::Failed(why) = &error {
                    engine.extents().fail(why);
                }
                *failure.borrow_mut() = Some(error);
            }
            drop(permit);
        });
    }

    /// Finishes the current extent, if there is one, and reserves the next.
    async fn next_extent(&mut self) -> Result<(), EngineError> {
        self.finish_extent().await;
        let extents = self.engine.extents();
        let capacity = match self.expected {
            Some(expected) => expected.saturating_sub(self.bytes),
            None => self.extent_bytes_next,
        };
        let capacity = capacity.min(extents.extent_bytes_max());
        assert!(capacity > 0, "more payload than was announced");
        self.extent_bytes_next = self.extent_bytes_next.saturating_mul(2);
        let reservation = extents.reserve(capacity as u32).await?;
        self.files.insert(reservation.extent.segment, reservation.file.clone());
        self.current = Some(Current { reservation, capacity, filled: 0, checksums: Vec::new() });
        Ok(())
    }

    /// Writes the checksum block of the current extent, if it has none yet.
    async fn finish_extent(&mut self) {
        let Some(current) = self.current.as_ref() else { return };
        let extent = current.reservation.extent;
        let trailer = current.trailer();
        let file = current.reservation.file.clone();
        if current.filled < current.capacity {
            self.engine.extents().shrink(extent, current.filled as u32);
        }
        let payload_blocks = current.filled.div_ceil(BLOCK_BYTES as u64);
        let offset = (u64::from(extent.block) + payload_blocks) * BLOCK_BYTES as u64;
        let mut buffer = self.engine.host().pool().acquire_now(BLOCK_BYTES);
        buffer.append(&trailer);
        self.submit(file, offset, buffer).await;
        self.close_extent();
    }

    fn close_extent(&mut self) {
        let Some(current) = self.current.take() else { return };
        let length = current.filled as u32;
        self.slices.push(Slice {
            extent: current.reservation.extent,
            extent_bytes: length,
            start: 0,
            length,
        });
    }

    async fn finish(&mut self) -> Result<(), EngineError> {
        self.finish_extent().await;
        drop(self.permits.acquire(UPLOAD_WRITES_MAX).await);
        if let Some(error) = self.failure.borrow().as_ref() {
            return Err(error.clone());
        }
        for (segment, file) in &self.files {
            self.engine.extents().sync(*segment, file).await?;
        }
        self.engine.extents().written(self.slices.iter().map(|slice| slice.extent));
        Ok(())
    }
}

impl<H: Host> Current<H> {
    fn trailer(&self) -> Vec<u8> {
        let extent = self.reservation.extent;
        let payload_bytes = self.filled as u32;
        ExtentTrailer { extent, payload_bytes, checksums: self.checksums.clone() }.encode()
    }
}
