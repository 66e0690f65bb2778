//! Sixteen streams in the lanes of AVX-512 registers, or twice sixteen.

use std::arch::x86_64::*;

use super::job::{Job, Lanes, blocks_common, prefetch};
use super::rounds::{BLOCK_BYTES, MD5_K, SHA256_K, for_each_round, md5_shift, md5_word, settled, turned};

/// Streams in one register.
pub const LANES: usize = 16;

/// A word of sixteen streams' blocks in each.
type Words = [__m512i; 16];

/// Truth tables of `VPTERNLOG`: the bit of the result for each of the eight combinations of three bits.
const CHOOSE: i32 = 0xca;
const PARITY: i32 = 0x96;
const MAJORITY: i32 = 0xe8;
/// `b ^ (a | !c)`: MD5's function of the last sixteen rounds.
const MD5_LAST: i32 = 0x39;

macro_rules! md5_round {
    ($round:literal, $state:expr, $words:expr) => {{
        const A: usize = turned::<4>(0, $round);
        const B: usize = turned::<4>(1, $round);
        const C: usize = turned::<4>(2, $round);
        const D: usize = turned::<4>(3, $round);
        let [b, c, d] = [$state[B], $state[C], $state[D]];
        let sum = _mm512_add_epi32($state[A], _mm512_set1_epi32(MD5_K[$round] as i32));
        let sum = _mm512_add_epi32(sum, $words[md5_word($round)]);
        let sum = settled!(zmm_reg "{0}", sum);
        let mixed = match $round / 16 {
            0 => _mm512_ternarylogic_epi32::<CHOOSE>(b, c, d),
            1 => _mm512_ternarylogic_epi32::<CHOOSE>(d, b, c),
            2 => _mm512_ternarylogic_epi32::<PARITY>(b, c, d),
            _ => _mm512_ternarylogic_epi32::<MD5_LAST>(b, c, d),
        };
        let sum = _mm512_add_epi32(sum, mixed);
        $state[A] = _mm512_add_epi32(b, _mm512_rol_epi32::<{ md5_shift($round) as i32 }>(sum));
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
            let small0 = _mm512_ternarylogic_epi32::<PARITY>(
                _mm512_ror_epi32::<7>(w15),
                _mm512_ror_epi32::<18>(w15),
                _mm512_srli_epi32::<3>(w15),
            );
            let small1 = _mm512_ternarylogic_epi32::<PARITY>(
                _mm512_ror_epi32::<17>(w2),
                _mm512_ror_epi32::<19>(w2),
                _mm512_srli_epi32::<10>(w2),
            );
            let older = _mm512_add_epi32($words[$round % 16], $words[($round + 9) % 16]);
            let word = _mm512_add_epi32(_mm512_add_epi32(older, small0), small1);
            $words[$round % 16] = word;
            word
        };
        let e = $state[E];
        let large1 = _mm512_ternarylogic_epi32::<PARITY>(
            _mm512_ror_epi32::<6>(e),
            _mm512_ror_epi32::<11>(e),
            _mm512_ror_epi32::<25>(e),
        );
        let chosen = _mm512_ternarylogic_epi32::<CHOOSE>(e, $state[F], $state[G]);
        let sum = _mm512_add_epi32($state[H], _mm512_set1_epi32(SHA256_K[$round] as i32));
        let sum = settled!(zmm_reg "{0}", _mm512_add_epi32(sum, word));
        let sum = _mm512_add_epi32(settled!(zmm_reg "{0}", _mm512_add_epi32(sum, chosen)), large1);
        let a = $state[A];
        let large0 = _mm512_ternarylogic_epi32::<PARITY>(
            _mm512_ror_epi32::<2>(a),
            _mm512_ror_epi32::<13>(a),
            _mm512_ror_epi32::<22>(a),
        );
        let majority = _mm512_ternarylogic_epi32::<MAJORITY>(a, $state[B], $state[C]);
        $state[D] = _mm512_add_epi32($state[D], sum);
        $state[H] = _mm512_add_epi32(sum, _mm512_add_epi32(large0, majority));
    }};
}

/// MD5 of up to sixteen streams, as far as all of them go.
#[target_feature(enable = "avx512f,avx512bw")]
pub fn md5_x16(jobs: &mut [Job<'_, 4>]) {
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

/// MD5 of seventeen to thirty-two streams, as far as all of them go. Two groups of sixteen take turns, round by
/// round: while a round of one waits for the one before it, the processor computes that of the other.
#[target_feature(enable = "avx512f,avx512bw")]
pub fn md5_x32(jobs: &mut [Job<'_, 4>]) {
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

/// SHA-256 of up to sixteen streams, as far as all of them go.
#[target_feature(enable = "avx512f,avx512bw")]
pub fn sha256_x16(jobs: &mut [Job<'_, 8>]) {
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

/// MD5 and SHA-256 of up to sixteen streams, as far as all of them go, round by round in turns: MD5 waits most of
/// the time, SHA-256 fills the gaps.
#[target_feature(enable = "avx512f,avx512bw")]
pub fn both_x16(jobs: &mut [Job<'_, 12>]) {
    let count = blocks_common(jobs);
    let mut lanes = Lanes::<12, LANES>::load(jobs, count);
    let state = load(&lanes.words);
    let mut md5: [__m512i; 4] = std::array::from_fn(|word| state[word]);
    let mut sha256: [__m512i; 8] = std::array::from_fn(|word| state[4 + word]);
    for at in 0..count {
        let md5_words = transposed(&lanes, at);
        let mut sha256_words = swapped(md5_words);
        let (md5_before, sha256_before) = (md5, sha256);
        macro_rules! round {
            ($round:literal) => {
                md5_round!($round, md5, md5_words);
                sha256_round!($round, sha256, sha256_words);
            };
        }
        for_each_round!(round);
        md5 = added(md5_before, md5);
        sha256 = added(sha256_before, sha256);
    }
    let state: [__m512i; 12] =
        std::array::from_fn(|word| if word < 4 { md5[word] } else { sha256[word - 4] });
    lanes.words = unload(&state);
    lanes.store(jobs);
}

/// Block `at` of each lane: word by word, a lane to each element.
#[inline]
#[target_feature(enable = "avx512f")]
fn transposed<const WORDS: usize>(lanes: &Lanes<'_, WORDS, LANES>, at: usize) -> Words {
    let mut rows = [_mm512_setzero_si512(); 16];
    for (row, blocks) in rows.iter_mut().zip(&lanes.blocks) {
        // SAFETY: a block is 64 bytes, which a load of any alignment may read.
        *row = unsafe { _mm512_loadu_si512(blocks[at].as_ptr().cast()) };
        prefetch(blocks, at);
    }
    const _: () = assert!(BLOCK_BYTES == size_of::<__m512i>());
    // Rows in pairs: within each quarter of a register, words 0 and 1 of two rows, then words 2 and 3.
    let mut pairs = rows;
    for pair in 0..8 {
        pairs[2 * pair] = _mm512_unpacklo_epi32(rows[2 * pair], rows[2 * pair + 1]);
        pairs[2 * pair + 1] = _mm512_unpackhi_epi32(rows[2 * pair], rows[2 * pair + 1]);
    }
    // Rows in fours: in quarter `q` of register `4 * four + word`, word `4 * q + word` of rows `4 * four` on.
    let mut fours = pairs;
    for four in 0..4 {
        let [p0, p1, p2, p3] =
            [pairs[4 * four], pairs[4 * four + 1], pairs[4 * four + 2], pairs[4 * four + 3]];
        fours[4 * four] = _mm512_unpacklo_epi64(p0, p2);
        fours[4 * four + 1] = _mm512_unpackhi_epi64(p0, p2);
        fours[4 * four + 2] = _mm512_unpacklo_epi64(p1, p3);
        fours[4 * four + 3] = _mm512_unpackhi_epi64(p1, p3);
    }
    // Quarters to their places: a four-by-four transposition for each word of a quarter.
    let mut words = fours;
    for word in 0..4 {
        let [f0, f1, f2, f3] = [fours[word], fours[4 + word], fours[8 + word], fours[12 + word]];
        let low = _mm512_shuffle_i32x4::<0x44>(f0, f1);
        let high = _mm512_shuffle_i32x4::<0xee>(f0, f1);
        let low_after = _mm512_shuffle_i32x4::<0x44>(f2, f3);
        let high_after = _mm512_shuffle_i32x4::<0xee>(f2, f3);
        words[word] = _mm512_shuffle_i32x4::<0x88>(low, low_after);
        words[4 + word] = _mm512_shuffle_i32x4::<0xdd>(low, low_after);
        words[8 + word] = _mm512_shuffle_i32x4::<0x88>(high, high_after);
        words[12 + word] = _mm512_shuffle_i32x4::<0xdd>(high, high_after);
    }
    words
}

/// Words as SHA-256 reads them: big-endian.
#[inline]
#[target_feature(enable = "avx512f,avx512bw")]
fn swapped(mut words: Words) -> Words {
    let order = _mm512_set4_epi32(0x0c0d_0e0f, 0x0809_0a0b, 0x0405_0607, 0x0001_0203);
    for word in &mut words {
        *word = _mm512_shuffle_epi8(*word, order);
    }
    words
}

#[inline]
#[target_feature(enable = "avx512f")]
fn added<const WORDS: usize>(before: [__m512i; WORDS], mut after: [__m512i; WORDS]) -> [__m512i; WORDS] {
    for (after, before) in after.iter_mut().zip(before) {
        *after = _mm512_add_epi32(*after, before);
    }
    after
}

#[inline]
#[target_feature(enable = "avx512f")]
fn load<const WORDS: usize>(rows: &[[u32; LANES]; WORDS]) -> [__m512i; WORDS] {
    let mut state = [_mm512_setzero_si512(); WORDS];
    for (word, row) in state.iter_mut().zip(rows) {
        // SAFETY: a row is sixteen words of 32 bits, which a load of any alignment may read.
        *word = unsafe { _mm512_loadu_si512(row.as_ptr().cast()) };
    }
    state
}

#[inline]
#[target_feature(enable = "avx512f")]
fn unload<const WORDS: usize>(state: &[__m512i; WORDS]) -> [[u32; LANES]; WORDS] {
    let mut rows = [[0; LANES]; WORDS];
    for (row, word) in rows.iter_mut().zip(state) {
        // SAFETY: a row is sixteen words of 32 bits, which a store of any alignment may write.
        unsafe { _mm512_storeu_si512(row.as_mut_ptr().cast(), *word) };
    }
    rows
}
