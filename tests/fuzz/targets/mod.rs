//! What is fuzzed: each target is a function of bytes that panics if something does not hold of them.
//!
//! libFuzzer runs the targets (`run.rs`), and so does `cargo test` (`tests/fuzz_corpus.rs`), each file of the
//! corpora and some mutations of them. A target that compares two ways of doing the same thing takes what it
//! needs at random, where a stream is cut for instance, from the bytes themselves, so that an input always does
//! the same and corpora can hold files as they are in the wild.

pub mod body;
pub mod config;
pub mod crypt;
pub mod disk;
pub mod form;
pub mod http;
pub mod log;
pub mod memory;
pub mod policy;
pub mod request;
pub mod service;
pub mod signatures;
pub mod stored;
pub mod xml;

/// Something that is fuzzed.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    /// What a run may allocate at a time: a fixed part, and so many bytes for each byte of input.
    pub bytes_fixed: usize,
    pub bytes_each: usize,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    target("http", http::run, 32 << 10, 64),
    target("body", body::run, 32 << 10, 64),
    target("signatures", signatures::run, 64 << 10, 64),
    target("request", request::run, 64 << 10, 64),
    target("xml", xml::run, 32 << 10, 128),
    target("policy", policy::run, 64 << 10, 128),
    target("form", form::run, 64 << 10, 64),
    // These two read files of the simulated drive, mebibytes at a time.
    target("log", log::run, 16 << 20, 64),
    target("disk", disk::run, 16 << 20, 64),
    // Each dot in a key is a table. Its file is the operator's, and at most a mebibyte.
    target("config", config::run, 256 << 10, 1024),
    target("stored", stored::run, 64 << 10, 64),
    target("crypt", crypt::run, 1 << 20, 16),
    target("service", service::run, 64 << 20, 64),
];

const fn target(name: &'static str, run: fn(&[u8]), bytes_fixed: usize, bytes_each: usize) -> Target {
    Target { name, run, bytes_fixed, bytes_each }
}

impl Target {
    /// The target of that name.
    pub fn named(name: &str) -> &'static Self {
        TARGETS.iter().find(|target| target.name == name).expect("a target of this name")
    }

    /// Runs on one input. Panics if something does not hold, or if it takes more memory than it may.
    pub fn check(&self, data: &[u8]) {
        let peak = memory::peak(|| (self.run)(data));
        let most = self.bytes_fixed + self.bytes_each * data.len();
        assert!(peak <= most, "{} bytes of input took {peak} bytes of memory, more than {most}", data.len());
    }
}

/// Numbers that look random and follow from a seed (SplitMix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From an input: its FNV-1a hash is the seed.
    pub fn of(data: &[u8]) -> Self {
        let hash = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        Self(data.iter().fold(0xcbf2_9ce4_8422_2325, hash))
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`, which is not 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Length of the next piece of a stream: often short, sometimes long.
    pub fn piece(&mut self) -> usize {
        match self.below(4) {
            0 => 1,
            1 => 1 + self.below(8),
            2 => 1 + self.below(200),
            _ => 1 + self.below(20_000),
        }
    }
}
