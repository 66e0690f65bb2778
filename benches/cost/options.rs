//! The command line, as `cargo bench` and `cargo test` pass it on.

use std::path::PathBuf;

/// How the benchmark is to run.
pub struct Options {
    /// Tiny inputs, once.
    pub quick: bool,
    pub rounds: usize,
    /// Multiplies the requests of each round: for a profiler that wants to look longer.
    pub scale: usize,
    /// Cores of the node whose requests are measured.
    pub cores: usize,
    /// Objects of the index part.
    pub objects: usize,
    /// Where nodes make their data directories.
    pub directory: PathBuf,
    /// Only name the workloads.
    pub list: bool,
    /// Parts of names; none chooses all.
    filters: Vec<String>,
}

impl Options {
    /// Reads the arguments. Flags of the test harness that don't concern us are let pass, so that
    /// `cargo test -- --nocapture` works for all tests.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            quick: true,
            rounds: 0,
            scale: 1,
            cores: 1,
            objects: 0,
            directory: PathBuf::from(env!("CARGO_TARGET_TMPDIR")),
            list: false,
            filters: Vec::new(),
        };
        let mut quick_wanted = false;
        let mut arguments = arguments;
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
            let count = |text: String| match text.parse() {
                Ok(count) if count > 0 => Ok(count),
                _ => Err(format!("{text} is no count")),
            };
            match argument.as_str() {
                "--bench" => options.quick = false,
                "--quick" => quick_wanted = true,
                "--list" => options.list = true,
                "--rounds" => options.rounds = count(value()?)?,
                "--scale" => options.scale = count(value()?)?,
                "--cores" => options.cores = count(value()?)?,
                "--objects" => options.objects = count(value()?)?,
                "--dir" => options.directory = value()?.into(),
                // Theirs, with a value that is not a filter.
                "--test-threads" | "--skip" | "--format" | "--color" | "-Z" => drop(value()?),
                other if other.starts_with('-') => {}
                filter => options.filters.push(filter.to_owned()),
            }
        }
        options.quick |= quick_wanted;
        if options.rounds == 0 {
            options.rounds = if options.quick { 1 } else { 5 };
        }
        if options.objects == 0 {
            options.objects = if options.quick { 2_000 } else { 10_000_000 };
        }
        Ok(options)
    }

    /// Whether the index part is wanted: it takes long, so `cargo bench` must name it.
    pub fn chooses_index(&self) -> bool {
        if self.filters.is_empty() { self.quick } else { self.chooses("index") }
    }

    /// Whether the part about latency is wanted, which `cargo bench` must name, too.
    pub fn chooses_latency(&self) -> bool {
        if self.filters.is_empty() { self.quick } else { self.chooses("latency") }
    }

    /// Whether a part of the benchmark is wanted.
    pub fn chooses(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| name.contains(filter.as_str()))
    }
}
