//! What the rounds of MD5 and SHA-256 are made of, whatever computes them.
//!
//! Sources: RFC 1321 (MD5); FIPS 180-4, section 6.2 (SHA-256).

/// Bytes of a block, of both algorithms.
pub const BLOCK_BYTES: usize = 64;

/// Rounds of a block, of both algorithms.
const ROUNDS: usize = 64;

/// RFC 1321, section 3.3.
pub const MD5_START: [u32; 4] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// FIPS 180-4, section 5.3.3.
pub const SHA256_START: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

/// The constant of each round of MD5: RFC 1321, section 3.4, the integer part of 2^32 * abs(sin(round + 1)).
#[rustfmt::skip]
pub const MD5_K: [u32; ROUNDS] = [
    0xd76a_a478, 0xe8c7_b756, 0x2420_70db, 0xc1bd_ceee, 0xf57c_0faf, 0x4787_c62a, 0xa830_4613, 0xfd46_9501,
    0x6980_98d8, 0x8b44_f7af, 0xffff_5bb1, 0x895c_d7be, 0x6b90_1122, 0xfd98_7193, 0xa679_438e, 0x49b4_0821,
    0xf61e_2562, 0xc040_b340, 0x265e_5a51, 0xe9b6_c7aa, 0xd62f_105d, 0x0244_1453, 0xd8a1_e681, 0xe7d3_fbc8,
    0x21e1_cde6, 0xc337_07d6, 0xf4d5_0d87, 0x455a_14ed, 0xa9e3_e905, 0xfcef_a3f8, 0x676f_02d9, 0x8d2a_4c8a,
    0xfffa_3942, 0x8771_f681, 0x6d9d_6122, 0xfde5_380c, 0xa4be_ea44, 0x4bde_cfa9, 0xf6bb_4b60, 0xbebf_bc70,
    0x289b_7ec6, 0xeaa1_27fa, 0xd4ef_3085, 0x0488_1d05, 0xd9d4_d039, 0xe6db_99e5, 0x1fa2_7cf8, 0xc4ac_5665,
    0xf429_2244, 0x432a_ff97, 0xab94_23a7, 0xfc93_a039, 0x655b_59c3, 0x8f0c_cc92, 0xffef_f47d, 0x8584_5dd1,
    0x6fa8_7e4f, 0xfe2c_e6e0, 0xa301_4314, 0x4e08_11a1, 0xf753_7e82, 0xbd3a_f235, 0x2ad7_d2bb, 0xeb86_d391,
];

/// The constant of each round of SHA-256: FIPS 180-4, section 4.2.2.
#[rustfmt::skip]
pub const SHA256_K: [u32; ROUNDS] = [
    0x428a_2f98, 0x7137_4491, 0xb5c0_fbcf, 0xe9b5_dba5, 0x3956_c25b, 0x59f1_11f1, 0x923f_82a4, 0xab1c_5ed5,
    0xd807_aa98, 0x1283_5b01, 0x2431_85be, 0x550c_7dc3, 0x72be_5d74, 0x80de_b1fe, 0x9bdc_06a7, 0xc19b_f174,
    0xe49b_69c1, 0xefbe_4786, 0x0fc1_9dc6, 0x240c_a1cc, 0x2de9_2c6f, 0x4a74_84aa, 0x5cb0_a9dc, 0x76f9_88da,
    0x983e_5152, 0xa831_c66d, 0xb003_27c8, 0xbf59_7fc7, 0xc6e0_0bf3, 0xd5a7_9147, 0x06ca_6351, 0x1429_2967,
    0x27b7_0a85, 0x2e1b_2138, 0x4d2c_6dfc, 0x5338_0d13, 0x650a_7354, 0x766a_0abb, 0x81c2_c92e, 0x9272_2c85,
    0xa2bf_e8a1, 0xa81a_664b, 0xc24b_8b70, 0xc76c_51a3, 0xd192_e819, 0xd699_0624, 0xf40e_3585, 0x106a_a070,
    0x19a4_c116, 0x1e37_6c08, 0x2748_774c, 0x34b0_bcb5, 0x391c_0cb3, 0x4ed8_aa4a, 0x5b9c_ca4f, 0x682e_6ff3,
    0x748f_82ee, 0x78a5_636f, 0x84c8_7814, 0x8cc7_0208, 0x90be_fffa, 0xa450_6ceb, 0xbef9_a3f7, 0xc671_78f2,
];

/// The word of the block that a round of MD5 adds.
pub const fn md5_word(round: usize) -> usize {
    match round / 16 {
        0 => round % 16,
        1 => (5 * round + 1) % 16,
        2 => (3 * round + 5) % 16,
        _ => (7 * round) % 16,
    }
}

/// How far a round of MD5 rotates to the left.
pub const fn md5_shift(round: usize) -> u32 {
    const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
    SHIFTS[round / 16][round % 4]
}

/// Where variable `name` (0 for `a`, 1 for `b` …) of the algorithm is kept in a round, if the values stay in
/// place and the names move on: each round renames `d` to `a`, `a` to `b` and so on.
pub const fn turned<const VARIABLES: usize>(name: usize, round: usize) -> usize {
    (name + ROUNDS - round) % VARIABLES
}

/// A value that the compiler takes as it is, in a register of the given class, and in its turn.
///
/// Left alone, the compiler adds up the terms of a round in an order in which more of them wait for the round
/// before, and it draws the rounds of streams that are meant to take turns apart. With it MD5 of one stream costs a
/// fifth less, MD5 and SHA-256 of sixteen streams in lanes two fifths (docs/decisions/0013-hash-lanes.md).
macro_rules! settled {
    ($class:ident $name:literal, $value:expr) => {{
        let mut value = $value;
        // SAFETY: there is no instruction; the value leaves the register as it came.
        unsafe {
            std::arch::asm!(concat!("/* ", $name, " */"), inout($class) value,
                options(nomem, nostack, preserves_flags));
        }
        value
    }};
}
pub(super) use settled;

/// Writes a macro out for each of 64 rounds, with the number of the round as a literal.
macro_rules! for_each_round {
    ($round:ident) => {
        for_each_round!(@ $round 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28
            29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57 58 59 60 61
            62 63);
    };
    (@ $round:ident $($number:literal)*) => {
        $($round!($number);)*
    };
}
pub(super) use for_each_round;
