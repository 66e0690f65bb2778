//! The superblock: one block, in two files of their own on every drive. It says whose drive this is.

use super::SegmentId;
use super::codec::{Decoder, Encode};
use crate::base::crc32c;
use crate::base::limits::BLOCK_BYTES;

const MAGIC: &[u8; 8] = b"RINGCASK";

/// Version of everything on disk. A node refuses other versions.
pub const FORMAT_VERSION: u32 = 3;

/// Contents of the superblock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Superblock {
    /// Random identity of the node, the same on all its drives.
    pub node: [u8; 16],
    /// Position of this drive among the node's drives.
    pub drive: u32,
    pub drives: u32,
    /// Starts of the node so far; the highest one among the drives is the truth.
    pub epoch: u64,
    /// Rises when the number of cores changes: keys of a generation never change their owner.
    pub generation: u32,
    /// Cores of that generation.
    pub cores: u32,
    /// Log segments with numbers below this may lack changes: a start was told to go on without what is damaged
    /// there. 0 if none was.
    pub losses_before: SegmentId,
}

impl Superblock {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(BLOCK_BYTES);
        out.extend_from_slice(MAGIC);
        out.u32(FORMAT_VERSION);
        out.extend_from_slice(&self.node);
        out.u32(self.drive);
        out.u32(self.drives);
        out.u64(self.epoch);
        out.u32(self.generation);
        out.u32(self.cores);
        out.u32(self.losses_before);
        let crc = crc32c::crc32c(&out);
        out.u32(crc);
        out.resize(BLOCK_BYTES, 0);
        out
    }

    /// The format version of a superblock of any version, if its checksum holds.
    pub fn version(bytes: &[u8]) -> Option<u32> {
        let mut from = Decoder::new(bytes);
        let is_ours = from.bytes(8).ok()? == MAGIC;
        let version = from.u32().ok()?;
        let length = if version < FORMAT_VERSION { SUPERBLOCK_BYTES_BEFORE } else { SUPERBLOCK_BYTES };
        let (covered, rest) = bytes.split_at_checked(length - 4)?;
        let crc = Decoder::new(rest).u32().ok()?;
        (is_ours && crc32c::crc32c(covered) == crc).then_some(version)
    }

    /// Reads a superblock; the error says what is wrong with it.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        let short = || "it is cut short".to_string();
        let mut from = Decoder::new(bytes);
        if from.bytes(8).map_err(|_| short())? != MAGIC {
            return Err("it is not a superblock of ringcask".to_string());
        }
        let version = from.u32().map_err(|_| short())?;
        if version != FORMAT_VERSION {
            let who = if version > FORMAT_VERSION { "a later" } else { "an earlier" };
            return Err(format!(
                "its format version is {version}, this binary reads {FORMAT_VERSION}: start {who} version of ringcask"
            ));
        }
        let mut read = || -> Result<(Self, u32), super::codec::Malformed> {
            let superblock = Self {
                node: from.array()?,
                drive: from.u32()?,
                drives: from.u32()?,
                epoch: from.u64()?,
                generation: from.u32()?,
                cores: from.u32()?,
                losses_before: from.u32()?,
            };
            Ok((superblock, from.u32()?))
        };
        let (superblock, crc) = read().map_err(|_| short())?;
        if crc32c::crc32c(&bytes[..SUPERBLOCK_BYTES - 4]) != crc {
            return Err("its checksum is wrong".to_string());
        }
        if superblock.cores == 0 || superblock.drive >= superblock.drives {
            return Err("it contradicts itself".to_string());
        }
        Ok(superblock)
    }
}

/// Bytes of a superblock before padding, its checksum included.
const SUPERBLOCK_BYTES: usize = 60;

/// The same in versions 1 and 2 of the format.
const SUPERBLOCK_BYTES_BEFORE: usize = 56;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_superblock_reads_what_it_writes_and_refuses_any_flipped_bit() {
        let (node, losses_before) = ([7; 16], 11);
        let superblock =
            Superblock { node, drive: 1, drives: 2, epoch: 9, generation: 3, cores: 4, losses_before };
        let bytes = superblock.encode();
        assert_eq!(Superblock::decode(&bytes), Ok(superblock));
        for bit in 0..SUPERBLOCK_BYTES * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Superblock::decode(&damaged).is_err(), "bit {bit}");
        }
        for length in 0..SUPERBLOCK_BYTES {
            assert!(Superblock::decode(&bytes[..length]).is_err());
        }
    }
}
