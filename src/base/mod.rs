//! Ground floor: limits, ids and small collections. Imports nothing of the crate.

pub mod checksum;
pub mod crc32c;
pub mod etag;
pub mod instruments;
pub mod limits;
pub mod local;
pub mod secret;
pub mod stages;
