//! Which core gets a connection: the one with the least to do.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What each core has to do, known to all. Counts are only added and subtracted, never relied on for
/// ordering, so every access is relaxed.
#[derive(Debug)]
pub struct Loads {
    cores: Box<[Load]>,
    connections_max: usize,
}

/// A cache line pair to itself, so that counting on one core does not slow its neighbours.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Load {
    connections: AtomicUsize,
    requests: AtomicUsize,
}

impl Load {
    fn total(&self) -> usize {
        self.connections.load(Ordering::Relaxed) + self.requests.load(Ordering::Relaxed)
    }
}

impl Loads {
    /// For `cores` cores that hold at most `connections_max` connections each.
    pub fn new(cores: usize, connections_max: usize) -> Arc<Self> {
        Arc::new(Self { cores: (0..cores).map(|_| Load::default()).collect(), connections_max })
    }

    /// Takes a place for a connection that core `accepting` accepted: at the core with the fewest
    /// connections and requests under way, in a tie at `accepting`. One that is not sound gets it only if no other
    /// has room. If all cores are full, at `accepting`, which then refuses it.
    pub fn place(self: &Arc<Self>, accepting: usize, is_sound: impl Fn(usize) -> bool) -> Place {
        let room =
            |core: &usize| self.cores[*core].connections.load(Ordering::Relaxed) < self.connections_max;
        // `min_by_key` takes the first of equals.
        let order = (accepting..self.cores.len()).chain(0..accepting);
        let least = order.filter(room).min_by_key(|core| (!is_sound(*core), self.cores[*core].total()));
        self.take(least.unwrap_or(accepting))
    }

    /// Takes a place at `core`, full or not.
    fn take(self: &Arc<Self>, core: usize) -> Place {
        self.cores[core].connections.fetch_add(1, Ordering::Relaxed);
        Place { loads: self.clone(), core }
    }

    /// Counts a request under way at `core` until the result is dropped.
    pub fn request(self: &Arc<Self>, core: usize) -> Request {
        self.cores[core].requests.fetch_add(1, Ordering::Relaxed);
        Request { loads: self.clone(), core }
    }

    /// Requests under way at a core.
    pub fn requests(&self, core: usize) -> usize {
        self.cores[core].requests.load(Ordering::Relaxed)
    }

    /// Open connections of a core, those on their way to it included.
    pub fn connections(&self, core: usize) -> usize {
        self.cores[core].connections.load(Ordering::Relaxed)
    }
}

/// A connection's place at a core, given up when dropped.
#[derive(Debug)]
pub struct Place {
    loads: Arc<Loads>,
    core: usize,
}

impl Place {
    pub fn core(&self) -> usize {
        self.core
    }

    /// Whether the core has more connections than it may hold: this one is to be refused.
    pub fn is_beyond_limit(&self) -> bool {
        self.loads.connections(self.core) > self.loads.connections_max
    }

    /// The same connection's place at another core, which had no say.
    pub fn moved_to(self, core: usize) -> Self {
        self.loads.take(core)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.loads.cores[self.core].connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A request under way, counted until dropped.
#[derive(Debug)]
pub struct Request {
    loads: Arc<Loads>,
    core: usize,
}

impl Drop for Request {
    fn drop(&mut self) {
        self.loads.cores[self.core].requests.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound(_: usize) -> bool {
        true
    }

    #[test]
    fn a_connection_beyond_the_limit_of_all_cores_is_to_be_refused() {
        let loads = Loads::new(2, 3);
        let places: Vec<_> = (0..6).map(|_| loads.place(0, sound)).collect();
        assert!(places.iter().all(|place| !place.is_beyond_limit()));
        let beyond = loads.place(0, sound);
        assert!(beyond.is_beyond_limit());
        drop((beyond, places));
        assert!(!loads.place(0, sound).is_beyond_limit());
    }

    #[test]
    fn few_connections_spread_over_all_cores_whoever_accepts_them() {
        for accepting in 0..4 {
            let loads = Loads::new(4, 10);
            let places: Vec<_> = (0..8).map(|_| loads.place(accepting, sound)).collect();
            assert_eq!(places[0].core(), accepting, "a tie goes to the accepting core");
            assert!((0..4).all(|core| loads.connections(core) == 2));
        }
    }

    #[test]
    fn a_core_busy_with_requests_gets_fewer_connections() {
        let loads = Loads::new(2, 10);
        let requests: Vec<_> = (0..3).map(|_| loads.request(0)).collect();
        let places: Vec<_> = (0..3).map(|_| loads.place(0, sound)).collect();
        assert!(places.iter().all(|place| place.core() == 1));
        drop(requests);
        assert_eq!(loads.place(1, sound).core(), 0);
    }

    #[test]
    fn when_all_cores_are_full_the_accepting_one_must_refuse() {
        let loads = Loads::new(2, 2);
        let places: Vec<_> = (0..4).map(|_| loads.place(0, sound)).collect();
        assert_eq!([loads.place(0, sound).core(), loads.place(1, sound).core()], [0, 1]);
        drop(places);
        assert_eq!((loads.connections(0), loads.connections(1)), (0, 0));
    }

    #[test]
    fn a_full_core_is_passed_over_even_if_it_is_the_least_loaded() {
        let loads = Loads::new(2, 1);
        let _requests: Vec<_> = (0..5).map(|_| loads.request(1)).collect();
        let first = loads.place(0, sound);
        assert_eq!((first.core(), loads.place(0, sound).core()), (0, 1));
    }

    #[test]
    fn a_core_whose_drive_failed_gets_connections_only_if_no_other_has_room() {
        let loads = Loads::new(3, 2);
        let places: Vec<_> = (0..6).map(|_| loads.place(1, |core| core != 1)).collect();
        let cores: Vec<_> = places.iter().map(Place::core).collect();
        assert_eq!(cores, [2, 0, 2, 0, 1, 1]);
    }

    #[test]
    fn a_moved_place_counts_once() {
        let loads = Loads::new(2, 2);
        let place = loads.place(0, sound).moved_to(1);
        assert_eq!((loads.connections(0), loads.connections(1)), (0, 1));
        drop(place);
        assert_eq!(loads.connections(1), 0);
    }
}
