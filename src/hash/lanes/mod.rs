//! MD5 and SHA-256 of many streams at a time, each resumable at any byte.
//!
//! Neither algorithm lets one stream be computed in parallel, but the streams of many uploads are independent of
//! each other: sixteen of them fill the lanes of a vector register. [`update_many`] takes the next bytes of any
//! number of streams and computes them with what the processor has: AVX-512, AVX2, or the general registers.
//! docs/decisions/0013-hash-lanes.md says what was measured.
//!
//! - `rounds` has the algorithms' constants and the order of their rounds,
//! - `state` keeps a stream's place between two updates,
//! - `job` is the kernels' work: whole blocks of one stream,
//! - `scalar`, `avx2` and `avx512` are the kernels,
//! - `instructions` chooses among them.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod instructions;
mod job;
mod rounds;
mod scalar;
mod state;

pub use instructions::Instructions;
pub use state::{Md5, Sha256};

use job::Job;
use scalar::{joined, split};

/// The next bytes of a stream, and the digests that they go into.
pub struct Update<'a> {
    pub md5: Option<&'a mut Md5>,
    pub sha256: Option<&'a mut Sha256>,
    pub bytes: &'a [u8],
}

/// Takes the next bytes of each stream. Cheapest for sixteen streams, or thirty-two where only MD5 is wanted, and
/// for pieces of about the same length.
pub fn update_many(updates: &mut [Update<'_>]) {
    update_many_with(Instructions::best(), updates);
}

/// As [`update_many`], with the given instructions.
pub fn update_many_with(instructions: Instructions, updates: &mut [Update<'_>]) {
    match updates {
        [] => {}
        [update] => update_alone(update),
        _ => update_together(instructions, updates),
    }
}

/// A lone stream needs no list of jobs.
fn update_alone(update: &mut Update<'_>) {
    match (&mut update.md5, &mut update.sha256) {
        (Some(md5), Some(sha256)) if md5.is_in_step_with(sha256) => {
            let blocks = md5.begin(update.bytes);
            sha256.begin(update.bytes);
            let mut jobs = [Job { state: joined(&md5.words, &sha256.words), blocks, place: 0 }];
            scalar::both::<1>(&mut jobs);
            (md5.words, sha256.words) = split(&jobs[0].state);
        }
        (md5, sha256) => {
            if let Some(md5) = md5 {
                md5.update(update.bytes);
            }
            if let Some(sha256) = sha256 {
                sha256.update(update.bytes);
            }
        }
    }
}

fn update_together(instructions: Instructions, updates: &mut [Update<'_>]) {
    let (mut md5_jobs, mut sha256_jobs, mut both_jobs) = (Vec::new(), Vec::new(), Vec::new());
    for (place, update) in updates.iter_mut().enumerate() {
        match (&mut update.md5, &mut update.sha256) {
            (Some(md5), Some(sha256)) if md5.is_in_step_with(sha256) => {
                let blocks = md5.begin(update.bytes);
                sha256.begin(update.bytes);
                both_jobs.push(Job { state: joined(&md5.words, &sha256.words), blocks, place });
            }
            (md5, sha256) => {
                if let Some(md5) = md5 {
                    md5_jobs.push(Job { blocks: md5.begin(update.bytes), state: md5.words, place });
                }
                if let Some(sha256) = sha256 {
                    sha256_jobs.push(Job { blocks: sha256.begin(update.bytes), state: sha256.words, place });
                }
            }
        }
    }
    instructions.both(&mut both_jobs);
    instructions.md5(&mut md5_jobs);
    instructions.sha256(&mut sha256_jobs);
    for job in both_jobs {
        let (md5, sha256) = split(&job.state);
        md5_jobs.push(Job { state: md5, blocks: job.blocks, place: job.place });
        sha256_jobs.push(Job { state: sha256, blocks: job.blocks, place: job.place });
    }
    for job in md5_jobs {
        updates[job.place].md5.as_mut().expect("a job was made of it").words = job.state;
    }
    for job in sha256_jobs {
        updates[job.place].sha256.as_mut().expect("a job was made of it").words = job.state;
    }
}

#[cfg(test)]
mod tests;
