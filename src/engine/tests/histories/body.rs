//! Contents of a history: runs of one table of chance, so that expecting, cutting and comparing them costs
//! next to nothing, and bytes at a wrong place are noticed.

use std::ops::Range;
use std::sync::LazyLock;

const TABLE_BYTES: usize = 1 << 20;

static TABLE: LazyLock<Vec<u8>> = LazyLock::new(|| super::content(0x5eed, TABLE_BYTES));

/// Longest run that [`Body::new`] makes.
pub const BODY_BYTES_MAX: u32 = 320_000;

/// What an object or a part holds.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Body(Vec<Range<u32>>);

impl Body {
    /// `bytes` that the number `fresh` decides.
    pub fn new(fresh: u32, bytes: u32) -> Self {
        let bytes = bytes.min(BODY_BYTES_MAX);
        let start = fresh.wrapping_mul(0x9e37_79b1) % (TABLE_BYTES as u32 - BODY_BYTES_MAX);
        Self(std::iter::once(start..start + bytes).collect()).tidy()
    }

    pub fn len(&self) -> u32 {
        self.0.iter().map(|run| run.end - run.start).sum()
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|run| &TABLE[run.start as usize..run.end as usize]).copied().collect()
    }

    pub fn is(&self, bytes: &[u8]) -> bool {
        let mut rest = bytes;
        let fits = self.0.iter().all(|run| {
            let run = &TABLE[run.start as usize..run.end as usize];
            rest.strip_prefix(run).map(|more| rest = more).is_some()
        });
        fits && rest.is_empty()
    }

    pub fn slice(&self, range: Range<u32>) -> Self {
        let mut position = 0;
        let mut runs = Vec::new();
        for run in &self.0 {
            let here = position..position + (run.end - run.start);
            position = here.end;
            let (from, to) = (here.start.max(range.start), here.end.min(range.end));
            if from < to {
                runs.push(run.start + (from - here.start)..run.start + (to - here.start));
            }
        }
        Self(runs).tidy()
    }

    pub fn followed_by(&self, more: &Self) -> Self {
        Self(self.0.iter().chain(&more.0).cloned().collect()).tidy()
    }

    fn tidy(self) -> Self {
        let mut runs: Vec<Range<u32>> = Vec::with_capacity(self.0.len());
        for run in self.0.into_iter().filter(|run| !run.is_empty()) {
            match runs.last_mut() {
                Some(last) if last.end == run.start => last.end = run.end,
                _ => runs.push(run),
            }
        }
        Self(runs)
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{} bytes", self.len())?;
        self.0.first().map_or(Ok(()), |run| write!(out, " at {}", run.start))
    }
}
