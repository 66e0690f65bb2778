//! What a core counts: plain memory that only this core writes, and that a snapshot copies.
//!
//! Counting is an add to a cell: no atomics, no locks, no names. Who owns what is counted owns the instruments;
//! names and texts are made where they are shown (`control/metrics/`).

use std::cell::Cell;
use std::time::Duration;

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(Cell<u64>);

impl Counter {
    pub fn add(&self, count: u64) {
        self.0.set(self.0.get().wrapping_add(count));
    }

    pub fn increment(&self) {
        self.add(1);
    }

    pub fn get(&self) -> u64 {
        self.0.get()
    }
}

/// How often values of which size were met: a bucket for each power of two from `2^LOW` on, `BUCKETS` in all,
/// and one for what is beyond. A value belongs to the first bucket whose bound is not below it.
#[derive(Debug)]
pub struct Histogram<const LOW: u32, const BUCKETS: usize> {
    counts: [Cell<u64>; BUCKETS],
    beyond: Cell<u64>,
    sum: Cell<u64>,
}

/// Durations in nanoseconds: buckets from 8 microseconds to 69 seconds.
pub type Durations = Histogram<13, 24>;

/// Numbers of things: buckets from 1 to 4,096.
pub type Counts = Histogram<0, 13>;

/// Bytes: buckets from 4 KiB to 64 MiB.
pub type Sizes = Histogram<12, 15>;

impl<const LOW: u32, const BUCKETS: usize> Default for Histogram<LOW, BUCKETS> {
    fn default() -> Self {
        Self { counts: [const { Cell::new(0) }; BUCKETS], beyond: Cell::new(0), sum: Cell::new(0) }
    }
}

impl<const LOW: u32, const BUCKETS: usize> Histogram<LOW, BUCKETS> {
    /// Counts a value.
    pub fn observe(&self, value: u64) {
        // The smallest power of two that is not below the value.
        let power = u64::BITS - value.saturating_sub(1).leading_zeros();
        let cell = self.counts.get(power.saturating_sub(LOW) as usize).unwrap_or(&self.beyond);
        cell.set(cell.get() + 1);
        self.sum.set(self.sum.get().wrapping_add(value));
    }

    /// Counts a duration, in nanoseconds.
    pub fn observe_duration(&self, duration: Duration) {
        self.observe(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// A copy of what was counted.
    pub fn snapshot(&self) -> Distribution {
        let counts = self.counts.iter().chain([&self.beyond]).map(Cell::get).collect();
        Distribution { low: LOW, counts, sum: self.sum.get() }
    }
}

/// What a [`Histogram`] had counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Distribution {
    low: u32,
    /// By bucket; the last is what lies beyond all bounds.
    counts: Vec<u64>,
    sum: u64,
}

impl Distribution {
    /// Adds what another core counted with the same kind of histogram.
    pub fn add(&mut self, other: &Self) {
        if self.counts.is_empty() {
            *self = other.clone();
            return;
        }
        self.counts.iter_mut().zip(&other.counts).for_each(|(count, more)| *count += more);
        self.sum = self.sum.wrapping_add(other.sum);
    }

    /// Each bucket's upper bound with how many values were not above it; what lies beyond is only in
    /// [`Distribution::count`].
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> {
        let bounded = self.counts.split_last().map_or(&[][..], |(_, bounded)| bounded);
        let mut below = 0;
        bounded.iter().zip(self.low..).map(move |(count, power)| {
            below += count;
            (1 << power, below)
        })
    }

    /// Values counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// All values together.
    pub fn sum(&self) -> u64 {
        self.sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of<const LOW: u32, const BUCKETS: usize>(values: &[u64]) -> Distribution {
        let histogram = Histogram::<LOW, BUCKETS>::default();
        values.iter().for_each(|value| histogram.observe(*value));
        histogram.snapshot()
    }

    #[test]
    fn bounds_belong_to_their_own_bucket() {
        let found: Vec<_> = of::<0, 3>(&[0, 1, 2, 3, 4, 5, u64::MAX]).cumulative().collect();
        assert_eq!(found, [(1, 2), (2, 3), (4, 5)]);
        assert_eq!(of::<0, 3>(&[5, 6]).count(), 2);
        let durations = Durations::default();
        durations.observe_duration(Duration::from_millis(1));
        assert_eq!(durations.snapshot().sum(), 1_000_000);
    }

    proptest! {
        #[test]
        fn buckets_hold_what_a_count_says(
            values in proptest::collection::vec(0..1u64 << 20, 0..50),
            cut in 0usize..50,
        ) {
            let (first, second) = values.split_at(cut.min(values.len()));
            let mut found = of::<4, 8>(first);
            found.add(&of::<4, 8>(second));
            for (bound, below) in found.cumulative() {
                prop_assert_eq!(below, values.iter().filter(|value| **value <= bound).count() as u64);
            }
            prop_assert_eq!(found.count(), values.len() as u64);
            prop_assert_eq!(found.sum(), values.iter().sum::<u64>());
        }
    }
}
