//! Encryption at rest: keys that guard other keys, and payload in segments that are encrypted in place.
//!
//! A [`Key`] is 256 bits that are wiped when dropped. Keys form a tree: the node's [`MasterKey`] seals named
//! keys, a named key (or a customer's) seals the data key of an object, and from a data key comes one
//! content key for each run of payload. Payload itself is encrypted by a [`SegmentCipher`] under a content
//! key; [`Layout`] says where which plain byte is stored.
//!
//! Everything is AES-256-GCM. What follows keeps its one demand, that no nonce is used twice under a key:
//!
//! - A secret is sealed under a key of its own, derived by HMAC-SHA256 from the sealing key and 24 random
//!   bytes, with the nonce zero. Two secrets get the same key only if 192 random bits repeat: after 2^64
//!   secrets the chance is below 2^-64. Random 96-bit nonces under the sealing key itself would end at 2^32
//!   secrets (NIST SP 800-38D, section 8.3), which a busy node seals in weeks.
//! - A content key encrypts one run of payload, once, with the number of the segment as nonce. A part that is
//!   uploaded again is another run and gets another key.
//! - Under one content key at most [`Layout::SEGMENTS_MAX`] segments of 64 KiB are encrypted, far below the
//!   2^32 blocks for each nonce and the 2^68 bytes for each key at which GCM's bounds begin to matter.

mod keys;
mod segments;

pub use keys::{Damaged, Key, MasterKey, SEALED_OVERHEAD_BYTES};
pub use segments::{Layout, SEGMENT_BYTES, SEGMENT_PLAIN_BYTES, SegmentCipher, StoredRange, TAG_BYTES};
