//! One to three streams on the general registers.
//!
//! A round of MD5 waits for the round before it, and so one stream leaves most of the processor idle. Two or
//! three streams, round by round in turns, cost hardly more than one; the registers don't hold a fourth.
//! SHA-256 is the `sha2` crate's, which uses the SHA instructions where they are: they leave the general
//! registers alone, and so a block of SHA-256 between two blocks of MD5 costs next to nothing.

use sha2::block_api::compress256;

use super::job::{Block, Job, blocks_common};
use super::rounds::{MD5_K, for_each_round, md5_shift, md5_word, settled, turned};

/// As [`settled!`], where general registers are known to have the name.
#[inline(always)]
fn settled(value: u32) -> u32 {
    #[cfg(target_arch = "x86_64")]
    let value = settled!(reg "{0:e}", value);
    value
}

/// MD5 of block `at` of each of several streams.
#[inline(always)]
fn md5_blocks<const STREAMS: usize>(
    states: &mut [[u32; 4]; STREAMS],
    streams: &[&[Block]; STREAMS],
    at: usize,
) {
    let blocks: [&Block; STREAMS] = std::array::from_fn(|stream| &streams[stream][at]);
    let before = *states;
    macro_rules! round {
        ($round:literal) => {
            const A: usize = turned::<4>(0, $round);
            const B: usize = turned::<4>(1, $round);
            const C: usize = turned::<4>(2, $round);
            const D: usize = turned::<4>(3, $round);
            const WORD: usize = 4 * md5_word($round);
            for stream in 0..STREAMS {
                let word = &blocks[stream][WORD..WORD + 4];
                let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
                let [b, c, d] = [states[stream][B], states[stream][C], states[stream][D]];
                let sum = settled(states[stream][A].wrapping_add(MD5_K[$round]).wrapping_add(word));
                let sum = match $round / 16 {
                    0 => sum.wrapping_add(d ^ (b & (c ^ d))),
                    // The two halves share no bit: their sum is their union, and one of them does not wait for
                    // the round before.
                    1 => settled(sum.wrapping_add(c & !d)).wrapping_add(b & d),
                    2 => sum.wrapping_add(b ^ settled(c ^ d)),
                    _ => sum.wrapping_add(c ^ (b | !d)),
                };
                states[stream][A] = b.wrapping_add(sum.rotate_left(const { md5_shift($round) }));
            }
        };
    }
    macro_rules! scoped {
        ($round:literal) => {{
            round!($round);
        }};
    }
    for_each_round!(scoped);
    for (state, before) in states.iter_mut().zip(before) {
        for (word, before) in state.iter_mut().zip(before) {
            *word = word.wrapping_add(before);
        }
    }
}

/// MD5 of all blocks of one stream.
pub fn md5_alone(state: &mut [u32; 4], blocks: &[Block]) {
    let mut states = [*state];
    for at in 0..blocks.len() {
        md5_blocks(&mut states, &[blocks], at);
    }
    *state = states[0];
}

/// SHA-256 of all blocks of one stream.
pub fn sha256_alone(state: &mut [u32; 8], blocks: &[Block]) {
    compress256(state, blocks);
}

/// MD5 of `STREAMS` streams, as far as all of them go.
pub fn md5<const STREAMS: usize>(jobs: &mut [Job<'_, 4>]) {
    let count = blocks_common(jobs);
    let mut states: [[u32; 4]; STREAMS] = std::array::from_fn(|stream| jobs[stream].state);
    let blocks: [&[Block]; STREAMS] = std::array::from_fn(|stream| &jobs[stream].blocks[..count]);
    for at in 0..count {
        md5_blocks(&mut states, &blocks, at);
    }
    for (job, state) in jobs.iter_mut().zip(states) {
        job.state = state;
        job.blocks = &job.blocks[count..];
    }
}

/// MD5 and SHA-256 of `STREAMS` streams, as far as all of them go.
pub fn both<const STREAMS: usize>(jobs: &mut [Job<'_, 12>]) {
    let count = blocks_common(jobs);
    let mut md5: [[u32; 4]; STREAMS] = std::array::from_fn(|stream| split(&jobs[stream].state).0);
    let mut sha256: [[u32; 8]; STREAMS] = std::array::from_fn(|stream| split(&jobs[stream].state).1);
    let blocks: [&[Block]; STREAMS] = std::array::from_fn(|stream| &jobs[stream].blocks[..count]);
    for at in 0..count {
        for stream in 0..STREAMS {
            compress256(&mut sha256[stream], &blocks[stream][at..at + 1]);
        }
        md5_blocks(&mut md5, &blocks, at);
    }
    for (stream, job) in jobs.iter_mut().enumerate() {
        job.state = joined(&md5[stream], &sha256[stream]);
        job.blocks = &job.blocks[count..];
    }
}

/// SHA-256 of one stream.
pub fn sha256(jobs: &mut [Job<'_, 8>]) {
    for job in jobs {
        compress256(&mut job.state, std::mem::take(&mut job.blocks));
    }
}

/// The states of MD5 and SHA-256 in that of both.
pub fn split(both: &[u32; 12]) -> ([u32; 4], [u32; 8]) {
    (std::array::from_fn(|word| both[word]), std::array::from_fn(|word| both[4 + word]))
}

/// The state of both from those of MD5 and SHA-256.
pub fn joined(md5: &[u32; 4], sha256: &[u32; 8]) -> [u32; 12] {
    std::array::from_fn(|word| if word < 4 { md5[word] } else { sha256[word - 4] })
}
