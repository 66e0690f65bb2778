//! What cores say to each other, under every order in which their threads may run.
//!
//! The files of `src/` that hold the protocol are compiled here twice more, with model checkers' atomics and
//! queues behind the names of their `sync` module:
//!
//! - `exhaustive` by loom: every interleaving and every value that the memory model lets a load return, of
//!   small scenes. It judges the orderings.
//! - `sampled` by shuttle: whole nodes of several cores, with calls, cancellations, hand-overs and an end in
//!   the midst, under random and adversarial schedules. It judges the protocol.
//!
//! `RINGCASK_SCHEDULES=100000 cargo test --release --test interleavings` samples for longer.

#![allow(clippy::duplicate_mod, reason = "compiled once for each checker")]
#![allow(clippy::arc_with_non_send_sync, reason = "loom's atomics are not Sync to the compiler")]

mod exhaustive;
mod sampled;

/// For the compiled files, which ask for their limits.
use ringcask::base;
