//! What do single functions cost?
//!
//! A module for each part. `README.md` beside this folder says how to run it. Under `cargo test` each benchmark runs
//! once, and nothing is judged by time.

mod engine;
mod hash;
mod http;
mod signatures;
mod xml;

fn main() {
    divan::main();
}
