//! A real node, driven from outside: exact request texts, races, crashes, and the clients people use.
//!
//! Each test starts its own node on its own folder. `RINGCASK_BINARY` names another build to test (a release
//! build, say). The clients are set up once by `tests/clients/setup`; what can't be set up fails its tests.

// The simulated clock and disk are the engine's affair; these tests run real processes.
#![allow(clippy::disallowed_methods)]

mod certificates;
mod client;
mod content;
mod http;
mod node;
mod process;
mod receiver;
mod sign;
mod tools;
mod volume;

mod access;
mod administration;
mod attacks;
mod conditions;
mod connections;
mod cyberduck;
mod damage;
mod digests;
mod exhaustion;
mod failed_drive;
mod framing;
mod full_drive;
mod health;
mod identities;
mod kill;
mod listing;
mod logs;
mod lost_key;
mod metrics;
mod moving;
mod offline;
mod programs;
mod quota;
mod replaced_drive;
mod restart;
mod round_trips;
mod snapshots;
mod tables;
mod tls;
mod vanish;
mod webhooks;
