//! What `ringcask doctor` looks at: the host, held against what a node needs to be safe and fast.
//!
//! Each [`Point`] says what was found, what should be, why, and which command changes it and which takes that
//! back. Nothing is changed. Files of `/proc` and `/sys` are read below a root directory ([`Host`]), and what only
//! the kernel itself can tell comes from [`Probes`], so that hosts can be made up by tests and looked at from afar.

mod clock;
mod cpu;
mod drives;
mod host;
mod kernel;
mod memory;
mod mounts;
mod network;
mod probes;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::PathBuf;

pub use host::Host;
pub use probes::{Live, Probes, Unasked};

/// What a node would be started with.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Data directories, absolute.
    pub data: Vec<PathBuf>,
    /// Core threads; `None`: one for each CPU that the process may use.
    pub cores: Option<usize>,
    /// I/O buffers of a core.
    pub arena_bytes: usize,
    /// Cache of a core.
    pub cache_bytes: u64,
    /// The process of the node that runs already.
    pub process: Option<u32>,
}

/// The part of the host that a point is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Area {
    Kernel,
    Memory,
    Cpu,
    Drives,
    Network,
    Clock,
}

impl Area {
    /// In the order of a report.
    pub const ALL: [Self; 6] =
        [Self::Kernel, Self::Memory, Self::Cpu, Self::Drives, Self::Network, Self::Clock];
}

impl fmt::Display for Area {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kernel => "kernel",
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Drives => "drives",
            Self::Network => "network",
            Self::Clock => "clock",
        })
    }
}

/// How a point is, in ascending order of severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// As it should be.
    Ok,
    /// It could not be read, or makes no sense.
    Unknown,
    /// Worth knowing; whether to change it depends on what the machine is for.
    Note,
    /// Costs speed, or safety in some event.
    Warning,
    /// A node will not start, or will lose data.
    Error,
}

impl Status {
    pub const ALL: [Self; 5] = [Self::Ok, Self::Unknown, Self::Note, Self::Warning, Self::Error];
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Point {
    pub area: Area,
    /// What was looked at, a word that scripts can rely on.
    pub name: &'static str,
    /// Which of several: a device, an interface, a directory. Empty if there is only one.
    pub subject: String,
    pub status: Status,
    pub found: String,
    pub expected: String,
    pub why: &'static str,
    /// What a change was measured to be worth; `None`: nobody measured it.
    pub measured: Option<&'static str>,
    /// Shell commands that change it, for root; they last until the next boot unless they say otherwise.
    pub fix: Vec<String>,
    /// Shell commands that take `fix` back.
    pub undo: Vec<String>,
}

impl Point {
    fn new(area: Area, name: &'static str, expected: impl Into<String>, why: &'static str) -> Self {
        Self {
            area,
            name,
            subject: String::new(),
            status: Status::Unknown,
            found: "cannot be read here".into(),
            expected: expected.into(),
            why,
            measured: None,
            fix: Vec::new(),
            undo: Vec::new(),
        }
    }

    fn about(mut self, subject: impl Into<String>) -> Self {
        self.subject = subject.into();
        self
    }

    fn measured(mut self, effect: &'static str) -> Self {
        self.measured = Some(effect);
        self
    }

    fn found(mut self, status: Status, found: impl Into<String>) -> Self {
        self.status = status;
        self.found = found.into();
        self
    }

    /// Commands that help, unless all is well.
    fn fix(mut self, fix: impl Into<String>, undo: impl Into<String>) -> Self {
        if self.status > Status::Ok {
            self.fix.push(fix.into());
            self.undo.push(undo.into());
        }
        self
    }

    /// What to do where no command does it, unless all is well. It stands as a comment of the shell.
    fn advice(mut self, advice: impl fmt::Display) -> Self {
        if self.status > Status::Ok {
            self.fix.push(format!("# {advice}"));
        }
        self
    }

    /// A sysctl that is to have another value.
    fn sysctl(self, name: &str, value: &str, before: &str) -> Self {
        self.fix(
            format!("sysctl -w {name}={}", quoted(value)),
            format!("sysctl -w {name}={}", quoted(before)),
        )
    }

    /// A file of sysfs that is to have another content.
    fn write(self, path: &str, value: &str, before: &str) -> Self {
        let path = quoted(path);
        self.fix(format!("echo {} > {path}", quoted(value)), format!("echo {} > {path}", quoted(before)))
    }
}

/// All points, in the order of [`Area::ALL`].
#[derive(Clone, Debug)]
pub struct Report {
    pub points: Vec<Point>,
}

impl Report {
    pub fn count(&self, status: Status) -> usize {
        self.points.iter().filter(|point| point.status == status).count()
    }

    /// The worst that was found.
    pub fn status(&self) -> Status {
        self.points.iter().map(|point| point.status).max().unwrap_or(Status::Ok)
    }
}

/// Looks at everything.
pub fn examine(host: &Host, probes: &impl Probes, plan: &Plan) -> Report {
    let cpus = cpu::allowed(host, plan);
    let cores = plan.cores.unwrap_or(cpus.len().max(1));
    let mut points = kernel::examine(host, probes);
    points.extend(memory::examine(host, plan, cores));
    points.extend(cpu::examine(host, &cpus, cores));
    points.extend(drives::examine(host, probes, plan, cores));
    points.extend(network::examine(host, &cpus, cores));
    points.extend(clock::examine(host, probes));
    Report { points }
}

/// A word as a shell takes it for one.
fn quoted(word: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"/_.,:=+-@%".contains(&b);
    if !word.is_empty() && word.bytes().all(is_plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
