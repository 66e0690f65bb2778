//! A stream's place in each algorithm between two updates.

use super::job::Block;
use super::rounds::{BLOCK_BYTES, MD5_START, SHA256_START};
use super::scalar;

/// MD5 of a stream (RFC 1321).
#[derive(Clone)]
pub struct Md5 {
    pub(super) words: [u32; 4],
    tail: Tail,
}

/// SHA-256 of a stream (FIPS 180-4).
#[derive(Clone)]
pub struct Sha256 {
    pub(super) words: [u32; 8],
    tail: Tail,
}

impl Default for Md5 {
    fn default() -> Self {
        Self { words: MD5_START, tail: Tail::default() }
    }
}

impl Default for Sha256 {
    fn default() -> Self {
        Self { words: SHA256_START, tail: Tail::default() }
    }
}

impl Md5 {
    /// Takes the next bytes of the stream, alone.
    pub fn update(&mut self, bytes: &[u8]) {
        let blocks = self.begin(bytes);
        scalar::md5_alone(&mut self.words, blocks);
    }

    /// The digest of all bytes taken.
    pub fn finish(mut self) -> [u8; 16] {
        let bits = self.tail.bytes_total.wrapping_mul(8).to_le_bytes();
        let (blocks, count) = self.tail.padded(bits);
        scalar::md5_alone(&mut self.words, &blocks[..count]);
        let mut digest = [0; 16];
        for (bytes, word) in digest.chunks_exact_mut(4).zip(self.words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        digest
    }

    /// Takes bytes but for the blocks that are returned, which are still to go into `words`.
    pub(super) fn begin<'a>(&mut self, bytes: &'a [u8]) -> &'a [Block] {
        let (completed, blocks) = self.tail.take(bytes);
        if let Some(block) = completed {
            scalar::md5_alone(&mut self.words, &[block]);
        }
        blocks
    }

    /// Whether blocks of one stream begin at the same bytes for both algorithms.
    pub(super) fn is_in_step_with(&self, sha256: &Sha256) -> bool {
        self.tail.length() == sha256.tail.length()
    }
}

impl Sha256 {
    /// Takes the next bytes of the stream, alone.
    pub fn update(&mut self, bytes: &[u8]) {
        let blocks = self.begin(bytes);
        scalar::sha256_alone(&mut self.words, blocks);
    }

    /// The digest of all bytes taken.
    pub fn finish(mut self) -> [u8; 32] {
        let bits = self.tail.bytes_total.wrapping_mul(8).to_be_bytes();
        let (blocks, count) = self.tail.padded(bits);
        scalar::sha256_alone(&mut self.words, &blocks[..count]);
        let mut digest = [0; 32];
        for (bytes, word) in digest.chunks_exact_mut(4).zip(self.words) {
            bytes.copy_from_slice(&word.to_be_bytes());
        }
        digest
    }

    /// Takes bytes but for the blocks that are returned, which are still to go into `words`.
    pub(super) fn begin<'a>(&mut self, bytes: &'a [u8]) -> &'a [Block] {
        let (completed, blocks) = self.tail.take(bytes);
        if let Some(block) = completed {
            scalar::sha256_alone(&mut self.words, &[block]);
        }
        blocks
    }
}

/// The bytes of a stream that don't fill a block yet.
#[derive(Clone)]
struct Tail {
    block: Block,
    /// Length of the stream so far. Both algorithms count bits modulo 2^64; no stream comes near.
    bytes_total: u64,
}

impl Default for Tail {
    fn default() -> Self {
        Self { block: [0; BLOCK_BYTES], bytes_total: 0 }
    }
}

impl Tail {
    fn length(&self) -> usize {
        (self.bytes_total % BLOCK_BYTES as u64) as usize
    }

    /// Takes the next bytes: the block that they complete, if there was a beginning of one, and the whole blocks
    /// after it. What remains is kept.
    fn take<'a>(&mut self, mut bytes: &'a [u8]) -> (Option<Block>, &'a [Block]) {
        let length = self.length();
        self.bytes_total = self.bytes_total.wrapping_add(bytes.len() as u64);
        let mut completed = None;
        if length > 0 {
            let (head, rest) = bytes.split_at(bytes.len().min(BLOCK_BYTES - length));
            self.block[length..length + head.len()].copy_from_slice(head);
            if length + head.len() < BLOCK_BYTES {
                return (None, &[]);
            }
            completed = Some(self.block);
            bytes = rest;
        }
        let (blocks, rest) = bytes.as_chunks();
        self.block[..rest.len()].copy_from_slice(rest);
        (completed, blocks)
    }

    /// The last one or two blocks: the tail, a one bit, zeros, and the length of the stream in bits.
    fn padded(&self, bits: [u8; 8]) -> ([Block; 2], usize) {
        let length = self.length();
        let mut blocks = [[0; BLOCK_BYTES]; 2];
        blocks[0][..length].copy_from_slice(&self.block[..length]);
        blocks[0][length] = 0x80;
        let count = if length + 1 + bits.len() <= BLOCK_BYTES { 1 } else { 2 };
        blocks[count - 1][BLOCK_BYTES - bits.len()..].copy_from_slice(&bits);
        (blocks, count)
    }
}
