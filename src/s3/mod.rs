//! The S3 protocol: routing, XML, error codes, preconditions, and one file for each operation in `op/`.
//!
//! A request takes one path: [`request`] reads its target, [`route`] says which operation it means,
//! `auth/` who sent it, [`access`] whether that is allowed, and [`service`] runs the operation and renders
//! what it answers.

pub mod access;
pub mod accounts;
pub mod append;
pub mod audit;
pub mod body;
pub mod claims;
pub mod completion;
pub mod copy_source;
pub mod encryption;
pub mod error;
pub mod expiration;
pub mod form;
mod from;
pub mod initiator;
pub mod journal;
pub mod lifecycle;
pub mod listing;
pub mod lock;
pub mod metadata;
pub mod meters;
pub mod multipart;
pub mod new_object;
pub mod notification;
pub mod notification_target;
pub mod object_acl;
pub mod op;
pub mod precondition;
pub mod read;
pub mod request;
pub mod route;
pub mod service;
pub mod settings;
pub mod tagging;
#[cfg(test)]
mod tests;
pub mod unsupported;
pub mod version;
pub mod xml;

pub use service::{NewBuckets, S3Service, Settings};
