//! Which kernel computes how many streams.
//!
//! A kernel of lanes takes as long for one stream as for all that it has room for. Each number below is where it
//! becomes cheaper than those for fewer streams, as measured (docs/decisions/0013-hash-lanes.md).

use super::job::Job;
use super::scalar;
#[cfg(target_arch = "x86_64")]
use super::scalar::{joined, split};
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};

/// What of the processor's instructions is used: never more than it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instructions {
    lanes: LaneInstructions,
    /// Whether one stream of SHA-256 is fast alone, by instructions made for it.
    sha: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LaneInstructions {
    None,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

impl Instructions {
    /// The fastest.
    pub fn best() -> Self {
        Self { lanes: LaneInstructions::best(), sha: has_sha() }
    }

    /// All that this processor has, the fastest first: for tests and measurements, since each is the best of some
    /// processor.
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for lanes in LaneInstructions::all() {
            if has_sha() {
                all.push(Self { lanes, sha: true });
            }
            all.push(Self { lanes, sha: false });
        }
        all
    }

    /// Words for tables of measurements.
    pub fn name(self) -> &'static str {
        match (self.lanes, self.sha) {
            #[cfg(target_arch = "x86_64")]
            (LaneInstructions::Avx512, true) => "avx512+sha",
            #[cfg(target_arch = "x86_64")]
            (LaneInstructions::Avx512, false) => "avx512",
            #[cfg(target_arch = "x86_64")]
            (LaneInstructions::Avx2, true) => "avx2+sha",
            #[cfg(target_arch = "x86_64")]
            (LaneInstructions::Avx2, false) => "avx2",
            (LaneInstructions::None, true) => "scalar+sha",
            (LaneInstructions::None, false) => "scalar",
        }
    }

    /// Computes all blocks of all jobs. The jobs may end up in another order.
    pub(super) fn md5(self, jobs: &mut [Job<'_, 4>]) {
        run(jobs, |jobs| match (self.lanes, jobs.len()) {
            #[cfg(target_arch = "x86_64")]
            (LaneInstructions::Avx512, 17..) => {
                let count = jobs.len().min(2 * avx512::LANES);
                // SAFETY: `Avx512` is only made where the processor has the instructions.
                unsafe { avx512::md5_x32(&mut jobs[..count]) };
            }
            #[cfg(target_arch = "x86_64")]
            (LaneInstructions::Avx512, 4..) => {
                // SAFETY: as above.
                unsafe { avx512::md5_x16(jobs) };
            }
            #[cfg(target_arch = "x86_64")]
            (LaneInstructions::Avx2, 9..) => {
                let count = jobs.len().min(2 * avx2::LANES);
                // SAFETY: `Avx2` is only made where the processor has the instructions.
                unsafe { avx2::md5_x16(&mut jobs[..count]) };
            }
            #[cfg(target_arch = "x86_64")]
            (LaneInstructions::Avx2, 7..) => {
                // SAFETY: as above.
                unsafe { avx2::md5_x8(jobs) };
            }
            // Twice two cost less than three and one.
            (_, 2 | 4) => scalar::md5::<2>(&mut jobs[..2]),
            (_, 1) => scalar::md5::<1>(jobs),
            _ => scalar::md5::<3>(&mut jobs[..3]),
        });
    }

    /// As [`Instructions::md5`].
    pub(super) fn sha256(self, jobs: &mut [Job<'_, 8>]) {
        run(jobs, |jobs| match (self.lanes, self.sha, jobs.len()) {
            #[cfg(target_arch = "x86_64")]
            (LaneInstructions::Avx512, true, 5..) | (LaneInstructions::Avx512, false, 2..) => {
                let count = jobs.len().min(avx512::LANES);
                // SAFETY: `Avx512` is only made where the processor has the instructions.
                unsafe { avx512::sha256_x16(&mut jobs[..count]) };
            }
            // Eight lanes are no faster than the instructions made for SHA-256.
            #[cfg(target_arch = "x86_64")]
            (LaneInstructions::Avx2, false, 4..) => {
                let count = jobs.len().min(avx2::LANES);
                // SAFETY: `Avx2` is only made where the processor has the instructions.
                unsafe { avx2::sha256_x8(&mut jobs[..count]) };
            }
            _ => scalar::sha256(jobs),
        });
    }

    /// As [`Instructions::md5`].
    pub(super) fn both(self, jobs: &mut [Job<'_, 12>]) {
        run(jobs, |jobs| match (self.lanes, self.sha, jobs.len()) {
            #[cfg(target_arch = "x86_64")]
            (LaneInstructions::Avx512, true, 4..) | (LaneInstructions::Avx512, false, 2..) => {
                let count = jobs.len().min(avx512::LANES);
                // SAFETY: `Avx512` is only made where the processor has the instructions.
                unsafe { avx512::both_x16(&mut jobs[..count]) };
            }
            #[cfg(target_arch = "x86_64")]
            (LaneInstructions::Avx2, true, 7..) | (LaneInstructions::Avx2, false, 4..) => {
                self.one_after_the_other(jobs)
            }
            (_, _, 1) => scalar::both::<1>(jobs),
            (_, _, 2 | 4) => scalar::both::<2>(&mut jobs[..2]),
            _ => scalar::both::<3>(&mut jobs[..3]),
        });
    }

    /// MD5 of all jobs, then SHA-256.
    #[cfg(target_arch = "x86_64")]
    fn one_after_the_other(self, jobs: &mut [Job<'_, 12>]) {
        let (mut md5_jobs, mut sha256_jobs) = (Vec::new(), Vec::new());
        for (place, job) in jobs.iter_mut().enumerate() {
            let (md5, sha256) = split(&job.state);
            let blocks = std::mem::take(&mut job.blocks);
            md5_jobs.push(Job { state: md5, blocks, place });
            sha256_jobs.push(Job { state: sha256, blocks, place });
        }
        self.md5(&mut md5_jobs);
        self.sha256(&mut sha256_jobs);
        for job in md5_jobs {
            let (_, sha256) = split(&jobs[job.place].state);
            jobs[job.place].state = joined(&job.state, &sha256);
        }
        for job in sha256_jobs {
            let (md5, _) = split(&jobs[job.place].state);
            jobs[job.place].state = joined(&md5, &job.state);
        }
    }
}

/// Has `kernel` compute until no job has blocks. It takes as many jobs as it wants to from the front, and computes
/// as many blocks of them as all of those have. Jobs that are done make room for those behind.
fn run<'a, const WORDS: usize>(jobs: &mut [Job<'a, WORDS>], kernel: impl Fn(&mut [Job<'a, WORDS>])) {
    let mut active = jobs.len();
    loop {
        let mut at = 0;
        while at < active {
            if jobs[at].blocks.is_empty() {
                active -= 1;
                jobs.swap(at, active);
            } else {
                at += 1;
            }
        }
        if active == 0 {
            return;
        }
        kernel(&mut jobs[..active]);
    }
}

impl LaneInstructions {
    #[cfg(target_arch = "x86_64")]
    fn best() -> Self {
        if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
            Self::Avx512
        } else if is_x86_feature_detected!("avx2") {
            Self::Avx2
        } else {
            Self::None
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn best() -> Self {
        Self::None
    }

    #[cfg(target_arch = "x86_64")]
    fn all() -> Vec<Self> {
        match Self::best() {
            Self::Avx512 if is_x86_feature_detected!("avx2") => vec![Self::Avx512, Self::Avx2, Self::None],
            Self::None => vec![Self::None],
            best => vec![best, Self::None],
        }
    }

    #[cfg(not(target_arch = "x86_64"))]
    fn all() -> Vec<Self> {
        vec![Self::None]
    }
}

/// Whether the `sha2` crate finds instructions made for SHA-256.
#[cfg(target_arch = "x86_64")]
fn has_sha() -> bool {
    is_x86_feature_detected!("sha") && is_x86_feature_detected!("sse4.1")
}

#[cfg(target_arch = "aarch64")]
fn has_sha() -> bool {
    std::arch::is_aarch64_feature_detected!("sha2")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn has_sha() -> bool {
    false
}
