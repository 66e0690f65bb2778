//! The command line, as `cargo bench` and `cargo test` pass it on.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::node::REGION;
use crate::workloads::BUCKET;

/// How the benchmark is to run.
pub struct Options {
    /// Tiny inputs, once.
    pub quick: bool,
    pub rounds: usize,
    /// Multiplies the requests of each round: for a profiler that wants to look longer, or a server that is slow.
    pub scale: f64,
    /// Cores of the node whose requests are measured.
    pub cores: usize,
    /// Objects of the index part.
    pub objects: usize,
    /// Where nodes make their data directories.
    pub directory: PathBuf,
    /// Only name the workloads.
    pub list: bool,
    /// A server that runs already: it gets the load, and no node is started.
    pub endpoint: Option<Endpoint>,
    /// Parts of names; none chooses all.
    filters: Vec<String>,
}

/// A server that this benchmark did not start, and how to talk to it.
pub struct Endpoint {
    pub address: SocketAddr,
    pub region: String,
    /// The workloads' bucket; a second one has its name and `-listed` behind it.
    pub bucket: String,
    /// A web server that takes files by PUT: no buckets, no signatures, no ETags to know beforehand.
    pub is_file_server: bool,
    /// Whether `ETag` must be the MD5 of the body, as at AWS.
    pub etags_are_checked: bool,
    /// Whether what the reading workloads read is there from an earlier run.
    pub is_stocked: bool,
    /// Whether each measurement begins and goes on when a line comes on standard input.
    pub is_stepped: bool,
    /// Distinguishes the keys that are written from those of other rounds.
    pub round: usize,
}

impl Default for Endpoint {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            region: REGION.to_owned(),
            bucket: BUCKET.to_owned(),
            is_file_server: false,
            etags_are_checked: true,
            is_stocked: false,
            is_stepped: false,
            round: 0,
        }
    }
}

impl Options {
    /// Reads the arguments. Flags of the test harness that don't concern us are let pass, so that
    /// `cargo test -- --nocapture` works for all tests.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            quick: true,
            rounds: 0,
            scale: 1.0,
            cores: 1,
            objects: 0,
            directory: PathBuf::from(env!("CARGO_TARGET_TMPDIR")),
            list: false,
            endpoint: None,
            filters: Vec::new(),
        };
        let mut quick_wanted = false;
        let mut endpoint = Endpoint::default();
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
                "--scale" => {
                    let text = value()?;
                    options.scale = text
                        .parse()
                        .ok()
                        .filter(|scale| *scale > 0.0 && *scale <= 1e6)
                        .ok_or_else(|| format!("{text} is no scale"))?;
                }
                "--cores" => options.cores = count(value()?)?,
                "--objects" => options.objects = count(value()?)?,
                "--dir" => options.directory = value()?.into(),
                "--endpoint" => {
                    let text = value()?;
                    endpoint.address = text.parse().map_err(|_| format!("{text} is no ADDRESS:PORT"))?;
                }
                "--region" => endpoint.region = value()?,
                "--bucket" => endpoint.bucket = value()?,
                "--file-server" => endpoint.is_file_server = true,
                "--etags-unchecked" => endpoint.etags_are_checked = false,
                "--stocked" => endpoint.is_stocked = true,
                "--stepped" => endpoint.is_stepped = true,
                "--round" => endpoint.round = count(value()?)?,
                // Theirs, with a value that is not a filter.
                "--test-threads" | "--skip" | "--format" | "--color" | "-Z" => drop(value()?),
                other if other.starts_with('-') => {}
                filter => options.filters.push(filter.to_owned()),
            }
        }
        options.quick |= quick_wanted;
        options.endpoint = (endpoint.address.port() != 0).then_some(endpoint);
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
