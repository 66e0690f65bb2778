//! Eight streams in the lanes of AVX2 registers, or twice eight.

use std::arch::x86_64::*;

use super::job::{Job, Lanes, blocks_common, prefetch};
use super::rounds::{BLOCK_BYTES, MD5_K, SHA256_K, for_each_round, md5_shift, md5_word, settled, turned};

/// Streams in one register.
pub const LANES: usize = 8;

/// A word of eight streams' blocks in each.
type Words = [__m256i; 16];

macro_rules! rotated_left {
    ($value:expr, $shift:expr) => {{
        let value = $value;
        _mm256_or_si256(_mm256_slli_epi32::<{ $shift }>(value), _mm256_srli_epi32::<{ 32 - $shift }>(value))
    }};
}

macro_rules! parity {
    ($a:expr, $b:expr, $c:expr) => {
        _mm256_xor_si256(_mm256_xor_si256($a, $b), $c)
    };
}

macro_rules! md5_round {
    ($round:literal, $state:expr, $words:expr) => {{
        const A: usize = turned::<4>(0, $round);
        const B: usize = turned::<4>(1, $round);
        const C: usize = turned::<4>(2, $round);
        const D: usize = turned::<4>(3, $round);
        const SHIFT: i32 = md5_shift($round) as i32;
        let [b, c, d] = [$state[B], $state[C], $state[D]];
        let sum = _mm256_add_epi32($state[A], _mm256_set1_epi32(MD5_K[$round] as i32));
        let sum = _mm256_add_epi32(sum, $words[md5_word($round)]);
        let sum = settled!(ymm_reg "{0}", sum);
        let sum = match $round / 16 {
            0 => _mm256_add_epi32(sum, _mm256_xor_si256(d, _mm256_and_si256(b, _mm256_xor_si256(c, d)))),
            // The two halves share no bit: their sum is their union, and one of them does not wait for the
            // round before.
            1 => _mm256_add_epi32(
                _mm256_add_epi32(sum, _mm256_andnot_si256(d, c)),
                _mm256_and_si256(b, d),
            ),
            2 => _mm256_add_epi32(sum, _mm256_xor_si256(b, _mm256_xor_si256(c, d))),
            _ => {
                let inverted = _mm256_xor_si256(d, _mm256_set1_epi32(-1));
                _mm256_add_epi32(sum, _mm256_xor_si256(c, _mm256_or_si256(b, inverted)))
            }
        };
        $state[A] = _mm256_add_epi32(b, rotated_left!(sum, SHIFT));
    }};
}

macro_rules! sha256_round {
    ($round:literal, $state:expr, $words:expr) => {{
        const A: usize = turned::<8>(0, $round);
        const B: usize = turned::<8>(1, $round);
        const C: usize = turned::<8>(2, $round);
        const D: usize = turned::<8>(3, $round);
        const E: usize = turned::<8>(4, $round);
        const F: usize = turned::<8>(5, $round);
        const G: usize = turned::<8>(6, $round);
        const H: usize = turned::<8>(7, $round);
        let word = if $round < 16 {
            $words[$round % 16]
        } else {
            let [w15, w2] = [$words[($round + 1) % 16], $words[($round + 14) % 16]];
            let small0 =
                parity!(rotated_left!(w15, 25), rotated_left!(w15, 14), _mm256_srli_epi32::<3>(w15));
            let small1 = parity!(rotated_left!(w2, 15), rotated_left!(w2, 13), _mm256_srli_epi32::<10>(w2));
            let older = _mm256_add_epi32($words[$round % 16], $words[($round + 9) % 16]);
            let word = _mm256_add_epi32(_mm256_add_epi32(older, small0), small1);
            $words[$round % 16] = word;
            word
        };
        let [e, f, g] = [$state[E], $state[F], $state[G]];
        let large1 = parity!(rotated_left!(e, 26), rotated_left!(e, 21), rotated_left!(e, 7));
        let chosen = _mm256_xor_si256(g, _mm256_and_si256(e, _mm256_xor_si256(f, g)));
        let sum = _mm256_add_epi32($state[H], _mm256_set1_epi32(SHA256_K[$round] as i32));
        let sum = settled!(ymm_reg "{0}", _mm256_add_epi32(sum, word));
        let sum = _mm256_add_epi32(settled!(ymm_reg "{0}", _mm256_add_epi32(sum, chosen)), large1);
        let [a, b, c] = [$state[A], $state[B], $state[C]];
        let large0 = parity!(rotated_left!(a, 30), rotated_left!(a, 19), rotated_left!(a, 10));
        let majority =
            _mm256_or_si256(_mm256_and_si256(a, b), _mm256_and_si256(c, _mm256_or_si256(a, b)));
        $state[D] = _mm256_add_epi32($state[D], sum);
        $state[H] = _mm256_add_epi32(sum, _mm256_add_epi32(large0, majority));
    }};
}

/// MD5 of up to eight streams, as far as all of them go.
#[target_feature(enable = "avx2")]
pub fn md5_x8(jobs: &mut [Job<'_, 4>]) {
    let count = blocks_common(jobs);
    let mut lanes = Lanes::<4, LANES>::load(jobs, count);
    let mut state = load(&lanes.words);
    for at in 0..count {
        let words = transposed(&lanes, at);
        let before = state;
        macro_rules! round {
            ($round:literal) => {
                md5_round!($round, state, words)
            };
        }
        for_each_round!(round);
        state = added(before, state);
    }
    lanes.words = unload(&state);
    lanes.store(jobs);
}

/// MD5 of nine to sixteen streams, as far as all of them go: two groups of eight take turns, round by round.
#[target_feature(enable = "avx2")]
pub fn md5_x16(jobs: &mut [Job<'_, 4>]) {
    let count = blocks_common(jobs);
    let (first_jobs, second_jobs) = jobs.split_at_mut(LANES);
    let mut first_lanes = Lanes::<4, LANES>::load(first_jobs, count);
    let mut second_lanes = Lanes::<4, LANES>::load(second_jobs, count);
    let [mut first, mut second] = [load(&first_lanes.words), load(&second_lanes.words)];
    for at in 0..count {
        let first_words = transposed(&first_lanes, at);
        let second_words = transposed(&second_lanes, at);
        let before = [first, second];
        macro_rules! round {
            ($round:literal) => {
                md5_round!($round, first, first_words);
                md5_round!($round, second, second_words);
            };
        }
        for_each_round!(round);
        first = added(before[0], first);
        second = added(before[1], second);
    }
    first_lanes.words = unload(&first);
    second_lanes.words = unload(&second);
    first_lanes.store(first_jobs);
    second_lanes.store(second_jobs);
}

/// SHA-256 of up to eight streams, as far as all of them go.
#[target_feature(enable = "avx2")]
pub fn sha256_x8(jobs: &mut [Job<'_, 8>]) {
    let count = blocks_common(jobs);
    let mut lanes = Lanes::<8, LANES>::load(jobs, count);
    let mut state = load(&lanes.words);
    for at in 0..count {
        let mut words = swapped(transposed(&lanes, at));
        let before = state;
        macro_rules! round {
            ($round:literal) => {
                sha256_round!($round, state, words)
            };
        }
        for_each_round!(round);
        state = added(before, state);
    }
    lanes.words = unload(&state);
    lanes.store(jobs);
}

/// Block `at` of each lane: word by word, a lane to each element.
#[inline]
#[target_feature(enable = "avx2")]
fn transposed<const WORDS: usize>(lanes: &Lanes<'_, WORDS, LANES>, at: usize) -> Words {
    let mut words = [_mm256_setzero_si256(); 16];
    for blocks in &lanes.blocks {
        prefetch(blocks, at);
    }
    for half in 0..2 {
        let mut rows = [_mm256_setzero_si256(); 8];
        for (row, blocks) in rows.iter_mut().zip(&lanes.blocks) {
            let block = &blocks[at][32 * half..32 * half + 32];
            // SAFETY: the half of a block is 32 bytes, which a load of any alignment may read.
            *row = unsafe { _mm256_loadu_si256(block.as_ptr().cast()) };
        }
        // Rows in pairs, then in fours, within each half of a register.
        let mut pairs = rows;
        for pair in 0..4 {
            pairs[2 * pair] = _mm256_unpacklo_epi32(rows[2 * pair], rows[2 * pair + 1]);
            pairs[2 * pair + 1] = _mm256_unpackhi_epi32(rows[2 * pair], rows[2 * pair + 1]);
        }
        let mut fours = pairs;
        for four in 0..2 {
            let [p0, p1, p2, p3] =
                [pairs[4 * four], pairs[4 * four + 1], pairs[4 * four + 2], pairs[4 * four + 3]];
            fours[4 * four] = _mm256_unpacklo_epi64(p0, p2);
            fours[4 * four + 1] = _mm256_unpackhi_epi64(p0, p2);
            fours[4 * four + 2] = _mm256_unpacklo_epi64(p1, p3);
            fours[4 * four + 3] = _mm256_unpackhi_epi64(p1, p3);
        }
        for word in 0..4 {
            words[8 * half + word] = _mm256_permute2x128_si256::<0x20>(fours[word], fours[4 + word]);
            words[8 * half + 4 + word] = _mm256_permute2x128_si256::<0x31>(fours[word], fours[4 + word]);
        }
    }
    const _: () = assert!(BLOCK_BYTES == 2 * size_of::<__m256i>());
    words
}

/// Words as SHA-256 reads them: big-endian.
#[inline]
#[target_feature(enable = "avx2")]
fn swapped(mut words: Words) -> Words {
    let order = _mm256_set_epi64x(
        0x0c0d_0e0f_0809_0a0b,
        0x0405_0607_0001_0203,
        0x0c0d_0e0f_0809_0a0b,
        0x0405_0607_0001_0203,
    );
    for word in &mut words {
        *word = _mm256_shuffle_epi8(*word, order);
    }
    words
}

#[inline]
#[target_feature(enable = "avx2")]
fn added<const WORDS: usize>(before: [__m256i; WORDS], mut after: [__m256i; WORDS]) -> [__m256i; WORDS] {
    for (after, before) in after.iter_mut().zip(before) {
        *after = _mm256_add_epi32(*after, before);
    }
    after
}

#[inline]
#[target_feature(enable = "avx2")]
fn load<const WORDS: usize>(rows: &[[u32; LANES]; WORDS]) -> [__m256i; WORDS] {
    let mut state = [_mm256_setzero_si256(); WORDS];
    for (word, row) in state.iter_mut().zip(rows) {
        // SAFETY: a row is eight words of 32 bits, which a load of any alignment may read.
        *word = unsafe { _mm256_loadu_si256(row.as_ptr().cast()) };
    }
    state
}

#[inline]
#[target_feature(enable = "avx2")]
fn unload<const WORDS: usize>(state: &[__m256i; WORDS]) -> [[u32; LANES]; WORDS] {
    let mut rows = [[0; LANES]; WORDS];
    for (row, word) in rows.iter_mut().zip(state) {
        // SAFETY: a row is eight words of 32 bits, which a store of any alignment may write.
        unsafe { _mm256_storeu_si256(row.as_mut_ptr().cast(), *word) };
    }
    rows
}
