//! ringcask: an S3-compatible object store for bare-metal Linux.
//!
//! One binary, one pinned thread per core, io_uring for everything. The folders are layers, listed here
//! from the ground up; imports go only downwards and siblings of one rank never import each other
//! (`tests/tidy.rs` holds this; `docs/ARCHITECTURE.md` has the map in prose).
//!
//! - [`base`] knows limits, ids and small collections.
//! - [`io`] is the seam under the engine: disks, clock, randomness, tasks, aligned buffers.
//! - [`ring`] implements that seam with io_uring; nothing above it knows the kernel interface.
//! - [`hash`] turns payload into digests.
//! - [`crypt`] encrypts payload at rest, and keys under other keys.
//! - [`http`] turns bytes into request heads, body framing and responses; it does no I/O.
//! - [`engine`] stores objects: log, extents, index, checkpoint, recovery, cleaning.
//! - [`net`] moves bytes of connections; it knows no S3.
//! - [`auth`] decides who is asking, and what policies and ACLs allow them; pure functions.
//! - [`s3`] speaks the protocol; only it knows S3's error codes and XML.
//! - [`control`] is everything that may block: configuration, credentials, the admin API, deliveries to webhooks.
//! - [`node`] starts the cores and joins the layers.

pub mod base;

pub mod io;

pub mod crypt;
pub mod engine;
pub mod hash;
pub mod http;
pub mod ring;

pub mod auth;
pub mod net;

pub mod s3;

pub mod control;

pub mod node;
