//! The fuzz targets of `tests/fuzz/` without a fuzzer: each file of a target's corpus, and then mutations of
//! them that follow from a seed. So a plain `cargo test` finds again what fuzzing has found.
//!
//! ```text
//! RINGCASK_FUZZ_RUNS=100000 RINGCASK_FUZZ_SEED=7 cargo test --test fuzz_corpus xml
//! ```
//!
//! An input that fails is kept in the folder for temporary files, and can be replayed by putting it into the
//! corpus. How to fuzz with libFuzzer is told in `docs/TESTING.md`.

#[path = "fuzz/targets/mod.rs"]
mod targets;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use targets::{Random, TARGETS, Target};

/// A mutation is at most so long, so that runs stay short.
const MUTATION_BYTES_MAX: usize = 16 << 10;

macro_rules! tests {
    ($($name:ident $runs:literal)*) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name));
            mutate(stringify!($name), $runs);
        })*

        #[test]
        fn every_target_is_run() {
            let tested = [$(stringify!($name)),*];
            let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(names, tested);
            let manifest = fs::read_to_string(folder().join("Cargo.toml")).unwrap();
            let binaries: Vec<&str> = manifest
                .split("[[bin]]\nname = \"")
                .skip(1)
                .filter_map(|binary| binary.split('"').next())
                .collect();
            assert_eq!(binaries, tested);
        }
    };
}

// How many mutations: about a second each.
tests! {
    http 3000
    body 3000
    signatures 300
    request 2000
    xml 2000
    policy 500
    form 1000
    log 500
    disk 1000
    config 100
    stored 1000
    crypt 500
    service 10
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz")
}

/// The inputs of a target's corpus, in the order of their names.
fn corpus(name: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(folder().join("corpus").join(name)).expect("a target has a corpus");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let read = |path: PathBuf| {
        let input = fs::read(&path).unwrap();
        (path, input)
    };
    paths.into_iter().map(read).collect()
}

fn replay(name: &str) {
    for (path, input) in corpus(name) {
        let run = catch_unwind(AssertUnwindSafe(|| Target::named(name).check(&input)));
        if let Err(panic) = run {
            eprintln!("the input is {}", path.display());
            resume_unwind(panic);
        }
    }
}

/// A number of the environment, or what stands for it.
fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name)
        .map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

fn mutate(name: &str, runs: u64) {
    let seed = setting("RINGCASK_FUZZ_SEED", 1);
    let runs = setting("RINGCASK_FUZZ_RUNS", runs);
    let corpus: Vec<Vec<u8>> = corpus(name).into_iter().map(|(_, input)| input).collect();
    let mut random = Random::new(seed);
    for run in 0..runs {
        let input = mutation(&corpus, &mut random);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| Target::named(name).check(&input))) {
            let path = std::env::temp_dir().join(format!("ringcask-fuzz-{name}-{seed}-{run}"));
            fs::write(&path, &input).unwrap();
            eprintln!("RINGCASK_FUZZ_SEED={seed}, run {run}: the input is {}", path.display());
            resume_unwind(panic);
        }
    }
}

/// An input of the corpus with some bytes changed, left out, repeated, or taken from another input.
fn mutation(corpus: &[Vec<u8>], random: &mut Random) -> Vec<u8> {
    let mut input = corpus[random.below(corpus.len())].clone();
    for _ in 0..1 + random.below(6) {
        let at = random.below(input.len() + 1);
        let end = at + random.below((input.len() - at).min(40) + 1);
        match random.below(7) {
            0 if at < input.len() => input[at] ^= 1 << random.below(8),
            1 if at < input.len() => input[at] = random.next() as u8,
            2 => drop(input.drain(at..end)),
            3 => {
                let copied = input[at..end].to_vec();
                input.splice(at..at, copied);
            }
            4 => {
                let other = &corpus[random.below(corpus.len())];
                let start = random.below(other.len() + 1);
                let length = random.below((other.len() - start).min(200) + 1);
                input.splice(at..end, other[start..start + length].iter().copied());
            }
            5 => input.truncate(at),
            _ => input.insert(at, b"0/<\"&\n\r;:%\0\xff"[random.below(12)]),
        }
    }
    input.truncate(MUTATION_BYTES_MAX);
    input
}
