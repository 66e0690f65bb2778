//! Whether the node takes requests: its operator may have it refuse them, and take them again.
//!
//! Requests under way end as they would have. What comes is answered with 503 `ServiceUnavailable`, a
//! `Retry-After`, and the end of the connection, so that a client's next attempt goes wherever a load balancer
//! sends it by then. The probes of readiness fail at once. The admin listener goes on, and so does work in the
//! background: lifecycle rules, events, cleaning, scrub. A restart ends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

/// What of the requests to S3 is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Refusing {
    Nothing,
    /// Everything but GET, HEAD and OPTIONS, which change nothing.
    Changes,
    Everything,
}

impl Refusing {
    /// Its name in the admin API.
    pub fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Changes => "changes",
            Self::Everything => "everything",
        }
    }
}

/// What all cores of the node refuse, and what they have under way; known to all threads.
pub struct Drain {
    refusing: AtomicU8,
    cores: Box<[UnderWayOfCore]>,
}

/// Requests under way on one core, in a cache line of its own.
#[derive(Default)]
#[repr(align(128))]
struct UnderWayOfCore {
    reads: AtomicUsize,
    changes: AtomicUsize,
}

impl Drain {
    pub fn new(cores: usize) -> Arc<Self> {
        let refusing = AtomicU8::new(Refusing::Nothing as u8);
        Arc::new(Self { refusing, cores: (0..cores).map(|_| UnderWayOfCore::default()).collect() })
    }

    pub fn refusing(&self) -> Refusing {
        match self.refusing.load(Ordering::SeqCst) {
            0 => Refusing::Nothing,
            1 => Refusing::Changes,
            _ => Refusing::Everything,
        }
    }

    /// From now on every core refuses that.
    pub fn refuse(&self, what: Refusing) {
        self.refusing.store(what as u8, Ordering::SeqCst);
    }

    /// Takes a request with this method on a core, unless it is refused.
    pub fn admit(self: &Arc<Self>, core: usize, method: &str) -> Option<UnderWay> {
        let is_change = !matches!(method, "GET" | "HEAD" | "OPTIONS");
        let under_way = UnderWay { drain: self.clone(), core, is_change };
        // Counted before looking: whoever refuses and then finds nothing under way, finds nothing that is.
        under_way.count().fetch_add(1, Ordering::SeqCst);
        match self.refusing() {
            Refusing::Nothing => Some(under_way),
            Refusing::Changes if !is_change => Some(under_way),
            _ => None,
        }
    }

    /// Requests under way that may change something, and all.
    pub fn under_way(&self) -> (usize, usize) {
        let sum = |count: fn(&UnderWayOfCore) -> &AtomicUsize| {
            self.cores.iter().map(|core| count(core).load(Ordering::SeqCst)).sum::<usize>()
        };
        let changes = sum(|core| &core.changes);
        (changes, changes + sum(|core| &core.reads))
    }
}

/// A request that was taken, until its answer has left.
pub struct UnderWay {
    drain: Arc<Drain>,
    core: usize,
    is_change: bool,
}

impl UnderWay {
    fn count(&self) -> &AtomicUsize {
        let core = &self.drain.cores[self.core];
        if self.is_change { &core.changes } else { &core.reads }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.count().fetch_sub(1, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_go_on_where_changes_are_refused() {
        let drain = Drain::new(2);
        let taken =
            || ["GET", "HEAD", "OPTIONS", "PUT", "POST", "DELETE"].map(|it| drain.admit(1, it).is_some());
        assert_eq!(taken(), [true; 6]);
        drain.refuse(Refusing::Changes);
        assert_eq!(taken(), [true, true, true, false, false, false]);
        drain.refuse(Refusing::Everything);
        assert_eq!(taken(), [false; 6]);
        drain.refuse(Refusing::Nothing);
        assert_eq!(taken(), [true; 6]);
    }

    #[test]
    fn what_was_taken_before_is_under_way_until_it_ends() {
        let drain = Drain::new(2);
        let (read, change) = (drain.admit(0, "GET"), drain.admit(1, "PUT"));
        drain.refuse(Refusing::Everything);
        assert!(drain.admit(0, "PUT").is_none());
        assert_eq!(drain.under_way(), (1, 2));
        drop(change);
        assert_eq!(drain.under_way(), (0, 1));
        drop(read);
        assert_eq!(drain.under_way(), (0, 0));
    }
}
