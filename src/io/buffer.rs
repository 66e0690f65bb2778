//! Aligned buffers: one arena per core, registered with the storage ring, handed out in two sizes. The same
//! buffer is filled by the socket, hashed in place and written by the drive.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::cell::RefCell;
use std::fmt;
use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::rc::Rc;

use crate::base::limits::{BLOCK_BYTES, BUFFER_BYTES, SMALL_BUFFER_BYTES};
use crate::base::local::{Permit, Semaphore};

/// Share of the arena, as a divisor, that is cut into small buffers.
const SMALL_SHARE: usize = 4;

/// A core's buffers. Clones share the arena.
#[derive(Clone)]
pub struct Pool {
    inner: Rc<PoolInner>,
}

struct PoolInner {
    arena: Memory,
    large: Class,
    small: Class,
}

/// What is taken of a pool's buffers of one size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BufferUsage {
    /// Bytes of each.
    pub buffer_bytes: usize,
    /// How many there are.
    pub count: usize,
    /// How many somebody holds.
    pub held: usize,
    /// How many wait for one.
    pub waiting: usize,
}

/// Buffers of one size, laid out one after the other from `offset` in the arena.
struct Class {
    offset: usize,
    buffer_bytes: usize,
    count: usize,
    free: RefCell<Vec<u32>>,
    permits: Semaphore,
}

impl Class {
    fn new(offset: usize, buffer_bytes: usize, count: usize) -> Self {
        let free = (0..count as u32).rev().collect();
        Self { offset, buffer_bytes, count, free: RefCell::new(free), permits: Semaphore::new(count) }
    }
}

impl Pool {
    /// Makes an arena of about `arena_bytes` (at least four large and sixty-four small buffers). Panics if there
    /// is no memory for it.
    pub fn new(arena_bytes: usize) -> Self {
        Self::try_new(arena_bytes).unwrap_or_else(|error| panic!("{error}"))
    }

    /// As [`Pool::new`], with an error that says in one line how much memory is missing.
    pub fn try_new(arena_bytes: usize) -> io::Result<Self> {
        let small_count = (arena_bytes / SMALL_SHARE / SMALL_BUFFER_BYTES).max(64);
        let large_count = ((arena_bytes - arena_bytes / SMALL_SHARE) / BUFFER_BYTES).max(4);
        let large = Class::new(0, BUFFER_BYTES, large_count);
        let small = Class::new(large_count * BUFFER_BYTES, SMALL_BUFFER_BYTES, small_count);
        let arena = Memory::try_map(large_count * BUFFER_BYTES + small_count * SMALL_BUFFER_BYTES)?;
        Ok(Self { inner: Rc::new(PoolInner { arena, large, small }) })
    }

    /// Start and length of the arena, for registration with a ring.
    pub fn arena(&self) -> (*mut u8, usize) {
        (self.inner.arena.start.as_ptr(), self.inner.arena.bytes)
    }

    /// Large buffers that nobody holds.
    pub fn large_available(&self) -> usize {
        self.inner.large.permits.available()
    }

    /// What is taken of each size of buffer, the small ones first.
    pub fn usage(&self) -> [BufferUsage; 2] {
        [&self.inner.small, &self.inner.large].map(|class| BufferUsage {
            buffer_bytes: class.buffer_bytes,
            count: class.count,
            held: class.count - class.permits.available(),
            waiting: class.permits.waiting(),
        })
    }

    /// Buffers that somebody holds.
    pub fn held(&self) -> usize {
        let held = |class: &Class| class.count - class.permits.available();
        held(&self.inner.large) + held(&self.inner.small)
    }

    /// Whether who asks for a buffer may have to wait.
    pub fn is_exhausted(&self) -> bool {
        self.inner.large.permits.available() == 0 || self.inner.small.permits.available() == 0
    }

    /// How many wait for a buffer.
    pub fn waiting(&self) -> usize {
        self.inner.large.permits.waiting() + self.inner.small.permits.waiting()
    }

    /// Waits for a buffer of at least `capacity` bytes; beyond [`BUFFER_BYTES`] it is made on the heap.
    pub async fn acquire(&self, capacity: usize) -> Buffer {
        if capacity > BUFFER_BYTES {
            return Buffer::heap(capacity);
        }
        let permit = self.class(capacity).permits.acquire(1).await;
        self.take(capacity, permit)
    }

    /// A buffer of at least `capacity` bytes, if one is free now.
    pub fn try_acquire(&self, capacity: usize) -> Option<Buffer> {
        if capacity > BUFFER_BYTES {
            return Some(Buffer::heap(capacity));
        }
        let permit = self.class(capacity).permits.try_acquire(1)?;
        Some(self.take(capacity, permit))
    }

    /// A buffer of at least `capacity` bytes, made on the heap if none is free now. For work that must not wait
    /// for clients, and gives the buffer back without waiting for any.
    pub fn acquire_now(&self, capacity: usize) -> Buffer {
        self.try_acquire(capacity).unwrap_or_else(|| Buffer::heap(capacity))
    }

    fn class(&self, capacity: usize) -> &Class {
        if capacity <= SMALL_BUFFER_BYTES { &self.inner.small } else { &self.inner.large }
    }

    fn take(&self, capacity: usize, permit: Permit) -> Buffer {
        let class = self.class(capacity);
        let index = class.free.borrow_mut().pop().expect("a permit stands for a free buffer");
        let start = class.offset + index as usize * class.buffer_bytes;
        Buffer {
            start: self.inner.arena.at(start),
            capacity: class.buffer_bytes,
            length: 0,
            home: Home::Pool { pool: self.inner.clone(), index, _permit: permit },
        }
    }
}

/// A buffer aligned to [`BLOCK_BYTES`], owned by exactly one holder; it returns to its pool when dropped.
/// All of its memory is initialised at all times; `len` says how much of it is meant.
pub struct Buffer {
    start: NonNull<u8>,
    capacity: usize,
    length: usize,
    home: Home,
}

enum Home {
    Pool { pool: Rc<PoolInner>, index: u32, _permit: Permit },
    Heap { _memory: HeapMemory },
}

impl Buffer {
    /// A buffer outside of any pool, for sizes and moments the pool does not serve. Rounded up to blocks.
    pub fn heap(capacity: usize) -> Self {
        let memory = HeapMemory::new(capacity.max(1).next_multiple_of(BLOCK_BYTES));
        let (start, capacity) = (memory.start, memory.layout.size());
        Self { start, capacity, length: 0, home: Home::Heap { _memory: memory } }
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes beyond `len`.
    pub fn spare(&self) -> usize {
        self.capacity - self.length
    }

    /// Whether the memory belongs to the arena that [`Pool::arena`] described.
    pub fn is_pooled(&self) -> bool {
        matches!(self.home, Home::Pool { .. })
    }

    /// Says how many bytes are meant. Panics beyond the capacity.
    pub fn set_len(&mut self, length: usize) {
        assert!(length <= self.capacity, "length {length} beyond capacity {}", self.capacity);
        self.length = length;
    }

    pub fn clear(&mut self) {
        self.length = 0;
    }

    /// Appends as much of `bytes` as fits; returns how much.
    pub fn append(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.spare());
        let length = self.length;
        self.whole_mut()[length..length + count].copy_from_slice(&bytes[..count]);
        self.length += count;
        count
    }

    /// All of the memory, whatever `len` says.
    pub fn whole(&self) -> &[u8] {
        // SAFETY: the buffer owns `capacity` initialised bytes at `start` (arena or heap mapping, zeroed at
        // creation, kept alive by `home`), and nobody else refers to them while it exists.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.capacity) }
    }

    /// All of the memory, whatever `len` says.
    pub fn whole_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `whole`; `&mut self` makes the access exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.capacity) }
    }

    /// Address for the kernel; valid while the buffer exists.
    pub fn as_ptr(&self) -> *mut u8 {
        self.start.as_ptr()
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.whole()[..self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        let length = self.length;
        &mut self.whole_mut()[..length]
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Buffer({} of {} bytes)", self.length, self.capacity)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if let Home::Pool { pool, index, .. } = &self.home {
            let class = if self.capacity == BUFFER_BYTES { &pool.large } else { &pool.small };
            class.free.borrow_mut().push(*index);
        }
    }
}

// SAFETY: `read_ptr` is the buffer's own memory, at the same address as long as the buffer exists, and the
// first `length` bytes are initialised.
unsafe impl monoio::buf::IoBuf for Buffer {
    fn read_ptr(&self) -> *const u8 {
        self.start.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.length
    }
}

// SAFETY: as above; `capacity` bytes may be written. `set_init` only grows `length`, within the capacity.
unsafe impl monoio::buf::IoBufMut for Buffer {
    fn write_ptr(&mut self) -> *mut u8 {
        self.start.as_ptr()
    }

    fn bytes_total(&mut self) -> usize {
        self.capacity
    }

    unsafe fn set_init(&mut self, position: usize) {
        self.length = self.length.max(position.min(self.capacity));
    }
}

// SAFETY: `read_ptr` is the start of the run: heap memory that `Bytes` or the buffer's arena keep alive and at
// the same address while the chunk exists, however it is moved; all of the run is initialised and nobody
// writes to it while the chunk owns it.
unsafe impl monoio::buf::IoBuf for super::Chunk {
    fn read_ptr(&self) -> *const u8 {
        self.as_ptr()
    }

    fn bytes_init(&self) -> usize {
        self.len()
    }
}

/// Anonymous zeroed memory, aligned to pages, given back when dropped.
struct Memory {
    start: NonNull<u8>,
    bytes: usize,
}

impl Memory {
    fn try_map(bytes: usize) -> io::Result<Self> {
        use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
        let flags = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new private mapping at an address of the kernel's choice aliases nothing.
        let start = unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, flags, MapFlags::PRIVATE) };
        let start = start.map_err(|error| {
            let error = io::Error::from(error);
            io::Error::new(error.kind(), format!("no memory for {bytes} bytes of buffers: {error}"))
        })?;
        Ok(Self { start: NonNull::new(start.cast()).expect("mmap never returns null on success"), bytes })
    }

    fn at(&self, offset: usize) -> NonNull<u8> {
        assert!(offset < self.bytes);
        // SAFETY: the offset lies within the mapping.
        unsafe { self.start.add(offset) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: exactly the mapping made in `try_map`; whoever could still refer to it holds the owner alive.
        let _ = unsafe { rustix::mm::munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// Zeroed memory of the allocator, aligned to blocks: it is taken and given back more often than the kernel
/// should hear of.
struct HeapMemory {
    start: NonNull<u8>,
    layout: Layout,
}

impl HeapMemory {
    fn new(bytes: usize) -> Self {
        let layout =
            Layout::from_size_align(bytes, BLOCK_BYTES).expect("buffers are far smaller than memory");
        // SAFETY: the layout's size is not 0: `Buffer::heap` rounds up to blocks.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else { handle_alloc_error(layout) };
        Self { start, layout }
    }
}

impl Drop for HeapMemory {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this layout; whoever could still refer to it holds the owner alive.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_serves_the_next_who_asks() {
        let pool = Pool::new(0);
        let held: Vec<_> = std::iter::from_fn(|| pool.try_acquire(BUFFER_BYTES)).collect();
        assert_eq!(held.len(), 4);
        assert_eq!(pool.large_available(), 0);
        drop(held);
        assert_eq!(pool.large_available(), 4);
        assert!(pool.try_acquire(BUFFER_BYTES).is_some());
    }

    #[test]
    fn who_must_not_wait_gets_a_buffer_of_its_own_when_the_pool_is_empty() {
        let pool = Pool::new(0);
        let held: Vec<_> = std::iter::from_fn(|| pool.try_acquire(BUFFER_BYTES)).collect();
        assert!(!pool.acquire_now(BUFFER_BYTES).is_pooled());
        drop(held);
        assert!(pool.acquire_now(BUFFER_BYTES).is_pooled());
    }

    #[test]
    fn buffers_are_aligned_and_apart() {
        let pool = Pool::new(0);
        let mut held: Vec<_> = (0..64).map(|_| pool.try_acquire(1).unwrap()).collect();
        for (mark, buffer) in held.iter_mut().enumerate() {
            assert!((buffer.as_ptr() as usize).is_multiple_of(BLOCK_BYTES));
            buffer.set_len(SMALL_BUFFER_BYTES);
            buffer.fill(mark as u8);
        }
        for (mark, buffer) in held.iter().enumerate() {
            assert!(buffer.iter().all(|byte| *byte == mark as u8));
        }
    }

    #[test]
    fn append_takes_what_fits() {
        let mut buffer = Buffer::heap(10);
        assert_eq!(buffer.append(&[7; BLOCK_BYTES + 1]), BLOCK_BYTES);
        assert_eq!(buffer.append(b"x"), 0);
        assert_eq!(buffer.len(), BLOCK_BYTES);
    }
}
