//! The work of a kernel: whole blocks of one stream.

use super::rounds::BLOCK_BYTES;

/// A block, of either algorithm.
pub type Block = [u8; BLOCK_BYTES];

/// Blocks to be hashed, and the state of the stream they belong to: four words of MD5, eight of SHA-256, or
/// both one after the other.
pub struct Job<'a, const WORDS: usize> {
    pub state: [u32; WORDS],
    pub blocks: &'a [Block],
    /// Whose job it is: of use to who made it.
    pub place: usize,
}

/// How far ahead the blocks of lanes are asked for.
const BLOCKS_AHEAD: usize = 2;

/// Asks for a block that comes after block `at`. Lanes read from more places at a time than a processor foresees, and
/// what was received a while ago has left its nearer caches.
#[cfg(target_arch = "x86_64")]
#[inline]
pub fn prefetch(blocks: &[Block], at: usize) {
    use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
    let ahead = blocks.as_ptr().wrapping_add(at + BLOCKS_AHEAD);
    // SAFETY: it is a hint that reads nothing for the program and never faults, also past the end of the blocks.
    unsafe { _mm_prefetch::<_MM_HINT_T0>(ahead.cast()) };
}

/// How many blocks all jobs have.
pub fn blocks_common<const WORDS: usize>(jobs: &[Job<'_, WORDS>]) -> usize {
    jobs.iter().map(|job| job.blocks.len()).min().unwrap_or(0)
}

/// Jobs lane by lane, as vectors want them: a row for each word of the states, a column for each job.
///
/// The alignment is that of the widest register, and meant for the whole frame of the kernel that keeps this on its
/// stack: compilers don't align frames for the registers they spill, and most of those would lie across two lines
/// of the cache, by chance of how deep the stack is.
#[repr(align(64))]
pub struct Lanes<'a, const WORDS: usize, const LANES: usize> {
    pub words: [[u32; LANES]; WORDS],
    /// Where each job's blocks begin. Lanes without a job compute another job's blocks for nothing.
    pub blocks: [&'a [Block]; LANES],
}

impl<'a, const WORDS: usize, const LANES: usize> Lanes<'a, WORDS, LANES> {
    /// Takes `count` blocks of each of the jobs, of which there must be one to `LANES`.
    pub fn load(jobs: &[Job<'a, WORDS>], count: usize) -> Self {
        let mut lanes = Self { words: [[0; LANES]; WORDS], blocks: [&jobs[0].blocks[..count]; LANES] };
        for (lane, job) in jobs.iter().enumerate() {
            lanes.blocks[lane] = &job.blocks[..count];
            for (row, word) in lanes.words.iter_mut().zip(job.state) {
                row[lane] = word;
            }
        }
        lanes
    }

    /// Gives the jobs their new states and takes the blocks away that were hashed.
    pub fn store(&self, jobs: &mut [Job<'a, WORDS>]) {
        for (lane, job) in jobs.iter_mut().enumerate() {
            job.blocks = &job.blocks[self.blocks[lane].len()..];
            for (word, row) in job.state.iter_mut().zip(&self.words) {
                *word = row[lane];
            }
        }
    }
}
