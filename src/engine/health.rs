//! What cores tell of themselves: whether they take changes, and if not, what failed where.
//!
//! A failure latches until the next start, so it is written once, next to what all cores share: every thread
//! reads it at no cost. Everything else is asked of the core itself.

use std::fmt;
use std::pin::Pin;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::damage::Damages;
use super::message::{Answer, Request};
use super::types::EngineError;
use super::{Engine, Shared};
use crate::base::limits::HEALTH_ANSWER_MS_MAX;
use crate::base::local::each_within;
use crate::io::{Disk, Host, Space};

/// What of a core takes no more changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Its log: no change of a key that it owns is possible.
    Log,
    /// Its data segments: large objects cannot be received on its connections.
    Payload,
    /// Names of files of its drive: no segment can be made there any more.
    Names,
    /// No next log segment could be made. It is tried again with each change.
    Segment,
}

impl Part {
    pub const ALL: [Self; 4] = [Self::Log, Self::Payload, Self::Names, Self::Segment];
}

impl fmt::Display for Part {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Log => "log",
            Self::Payload => "payload",
            Self::Names => "names of files",
            Self::Segment => "next log segment",
        })
    }
}

/// Why a part of a core takes no changes: the sentence names the file and the error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub part: Part,
    pub why: String,
}

/// What failed of one core, for all threads to see.
#[derive(Debug, Default)]
pub(super) struct Failures {
    pub log: OnceLock<String>,
    pub payload: OnceLock<String>,
    /// [`Part::Segment`]; the core itself knows why.
    pub segment: AtomicBool,
}

type Question<'a> = Pin<Box<dyn Future<Output = Result<Answer, EngineError>> + 'a>>;

/// How a core is, as it says itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoreHealth {
    /// Its drive, in the order of the configuration.
    pub drive: usize,
    pub failures: Vec<Failure>,
    pub is_stopping: bool,
    /// Its drive has so little room that new objects may be refused.
    pub is_full: bool,
    /// Bytes that payload takes in its data segments, of objects and of what is on its way to become one.
    pub payload_bytes: u64,
    /// I/O buffers that somebody holds.
    pub buffers_held: usize,
    /// Of its drive; `None` if the file system does not say.
    pub space: Option<Space>,
    /// Damage in the files that it takes care of.
    pub damages: Damages,
}

impl Shared {
    /// The parts of a core on `drive` that take no changes; none if it takes them all. From any thread.
    pub fn failed_parts(&self, core: usize, drive: usize) -> Vec<Part> {
        let of_core = &self.failures[core];
        let failed = [
            (Part::Log, of_core.log.get().is_some()),
            (Part::Payload, of_core.payload.get().is_some()),
            (Part::Names, self.names_failure(drive).is_some()),
            (Part::Segment, of_core.segment.load(Ordering::Relaxed)),
        ];
        failed.into_iter().filter(|(_, is_failed)| *is_failed).map(|(part, _)| part).collect()
    }

    /// Whether nothing of a core on `drive` has failed until the next start. From any thread.
    fn is_sound(&self, core: usize, drive: usize) -> bool {
        let of_core = &self.failures[core];
        of_core.log.get().is_none() && of_core.payload.get().is_none() && self.names_failure(drive).is_none()
    }
}

impl<H: Host> Engine<H> {
    /// What all cores of the node share.
    pub fn shared(&self) -> &Shared {
        &self.inner.shared
    }

    /// The drive of a core, in the order of the configuration.
    pub fn drive_of(&self, core: usize) -> usize {
        core % self.host().disks().len()
    }

    /// Whether connections may be given to a core: not once something of its drive has failed, since what large
    /// objects they bring would have to be written there.
    pub fn is_sound(&self, core: usize) -> bool {
        self.shared().is_sound(core, self.drive_of(core))
    }

    /// Whether this core's clients are better off with another one: its drive has failed, and not all have.
    pub fn is_outdone(&self) -> bool {
        !self.is_sound(self.me()) && (0..self.cores()).any(|core| self.is_sound(core))
    }

    /// How each core is; `None` of those that do not answer in time.
    pub async fn health(&self) -> Vec<Option<CoreHealth>> {
        // Dropped with this future: a core that is stuck holds no more questions than people who wait.
        let ask = |core| -> Question<'_> { Box::pin(self.ask(core, Request::Health)) };
        let over = self.host().sleep(Duration::from_millis(HEALTH_ANSWER_MS_MAX));
        let answers = each_within((0..self.cores()).map(ask), over).await;
        answers.into_iter().map(|answer| answer.and_then(Result::ok).and_then(known)).collect()
    }

    pub(super) fn own_health(&self) -> CoreHealth {
        let inner = &self.inner;
        let failures = &inner.shared.failures[self.me()];
        let found = [
            (Part::Log, failures.log.get().cloned()),
            (Part::Payload, failures.payload.get().cloned()),
            (Part::Names, inner.shared.names_failure(inner.drive).map(str::to_owned)),
            (Part::Segment, inner.log.segment_failure()),
        ];
        CoreHealth {
            drive: inner.drive,
            failures: found.into_iter().filter_map(|(part, why)| Some(Failure { part, why: why? })).collect(),
            is_stopping: inner.stopping.get(),
            is_full: inner.extents.is_full(),
            payload_bytes: inner.extents.bytes_live(),
            buffers_held: self.host().pool().held(),
            space: self.disk().space().ok(),
            damages: self.damages(),
        }
    }
}

fn known(answer: Answer) -> Option<CoreHealth> {
    match answer {
        Answer::Health(health) => Some(*health),
        _ => None,
    }
}

/// Refuses what needs a part that failed.
pub(super) fn check(failure: &OnceLock<String>) -> Result<(), EngineError> {
    match failure.get() {
        Some(why) => Err(EngineError::ReadOnly(why.clone())),
        None => Ok(()),
    }
}
