//! What the protocol counts: requests by operation and status, errors by code, and how long requests take.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use crate::base::instruments::{Counter, Distribution, Durations};
use crate::http::{Response, ResponseBody, Source, SourceFuture};
use crate::io::Host;
use crate::s3::error::Code;
use crate::s3::route::{Operation, TABLE};

/// What a request is counted as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Operation(Operation),
    /// A browser asks what it may: OPTIONS.
    Preflight,
    /// It could not be understood as any operation.
    Unknown,
}

impl Kind {
    const COUNT: usize = TABLE.len() + 2;

    fn all() -> impl Iterator<Item = Self> {
        TABLE.iter().map(|row| Self::Operation(row.operation)).chain([Self::Preflight, Self::Unknown])
    }

    fn place(self) -> usize {
        match self {
            Self::Operation(operation) => operation as usize,
            Self::Preflight => TABLE.len(),
            Self::Unknown => TABLE.len() + 1,
        }
    }

    /// Its name as a label.
    pub fn name(self) -> &'static str {
        match self {
            Self::Operation(operation) => operation.name(),
            Self::Preflight => "Preflight",
            Self::Unknown => "Unknown",
        }
    }
}

/// The instruments of a core's service.
pub struct Meters {
    kinds: Box<[OfKind]>,
    /// By code, in the order of [`Code::ALL`].
    errors: Box<[Counter]>,
}

/// Of one kind of request.
#[derive(Default)]
struct OfKind {
    /// Requests by the status of their answer: the few that our operations answer with.
    statuses: RefCell<Vec<(u16, u64)>>,
    first_byte: Durations,
    whole: Durations,
}

/// What requests of one kind have come to since the start.
#[derive(Clone, Debug)]
pub struct RequestCounts {
    pub kind: Kind,
    /// Requests by the status of their answer.
    pub statuses: Vec<(u16, u64)>,
    /// From the request's head to the beginning of the answer, in nanoseconds.
    pub first_byte: Distribution,
    /// From the request's head to the end of what answers it, in nanoseconds.
    pub whole: Distribution,
}

impl Default for Meters {
    fn default() -> Self {
        Self {
            kinds: (0..Kind::COUNT).map(|_| OfKind::default()).collect(),
            errors: Code::ALL.iter().map(|_| Counter::default()).collect(),
        }
    }
}

impl Meters {
    pub(super) fn error(&self, code: Code) {
        self.errors[code as usize].increment();
    }

    /// Counts what answers a request that began at `began`: at its end, if its body is still to come.
    pub(super) fn answered<H: Host>(
        self: &Rc<Self>,
        kind: Kind,
        response: &mut Response,
        host: &H,
        began: Duration,
    ) {
        let of_kind = &self.kinds[kind.place()];
        let took = host.monotonic().saturating_sub(began);
        of_kind.count(response.status);
        of_kind.first_byte.observe_duration(took);
        response.body = match std::mem::replace(&mut response.body, ResponseBody::Empty) {
            ResponseBody::Stream { bytes, source } => {
                let source = Measured { source, meters: self.clone(), kind, host: host.clone(), began };
                ResponseBody::Stream { bytes, source: Box::new(source) }
            }
            body => {
                of_kind.whole.observe_duration(took);
                body
            }
        };
    }

    /// The kinds of requests that have come, in the order of the table of operations.
    pub fn requests(&self) -> Vec<RequestCounts> {
        let met = Kind::all().zip(&self.kinds).filter(|(_, of_kind)| !of_kind.statuses.borrow().is_empty());
        met.map(|(kind, of_kind)| RequestCounts {
            kind,
            statuses: of_kind.statuses.borrow().clone(),
            first_byte: of_kind.first_byte.snapshot(),
            whole: of_kind.whole.snapshot(),
        })
        .collect()
    }

    /// Errors that were answered, by their code.
    pub fn errors(&self) -> Vec<(Code, u64)> {
        let all = Code::ALL.iter().zip(&self.errors).map(|(code, count)| (*code, count.get()));
        all.filter(|(_, count)| *count > 0).collect()
    }
}

impl OfKind {
    fn count(&self, status: u16) {
        let mut statuses = self.statuses.borrow_mut();
        match statuses.iter_mut().find(|(known, _)| *known == status) {
            Some((_, count)) => *count += 1,
            None => statuses.push((status, 1)),
        }
    }
}

/// A body that is timed until it has been produced, or given up.
struct Measured<H: Host> {
    source: Box<dyn Source>,
    meters: Rc<Meters>,
    kind: Kind,
    host: H,
    began: Duration,
}

impl<H: Host> Source for Measured<H> {
    fn next(&mut self) -> SourceFuture<'_> {
        self.source.next()
    }
}

impl<H: Host> Drop for Measured<H> {
    fn drop(&mut self) {
        let took = self.host.monotonic().saturating_sub(self.began);
        self.meters.kinds[self.kind.place()].whole.observe_duration(took);
    }
}
