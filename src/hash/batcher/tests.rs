//! Uploads of any number and length on the simulated machine, whose seed decides which task runs next.

use proptest::prelude::*;

use super::*;
use crate::base::checksum::ChecksumAlgorithm;
use crate::hash::{DigestPlan, md5, sha256};
use crate::io::sim::{SimHost, Simulation};

fn plan() -> DigestPlan {
    DigestPlan { md5: true, sha256: true, checksum: Some(ChecksumAlgorithm::Crc64Nvme) }
}

fn varied(stream: usize, length: usize) -> Vec<u8> {
    let seed = (stream as u32).wrapping_mul(0x9e37_79b9);
    (0..length as u32).map(|at| ((at ^ seed).wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

/// Hands `bytes` over in pieces of these lengths, again and again, each within a buffer that holds more.
async fn upload(batcher: Batcher<SimHost>, bytes: Vec<u8>, pieces: Vec<usize>) -> Option<Digests> {
    let mut hasher = batcher.hasher(Hasher::new(plan()));
    let mut rest = bytes.as_slice();
    for length in pieces.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, after) = rest.split_at(rest.len().min(*length));
        let mut buffer = Buffer::heap(piece.len() + 2);
        buffer.append(b"<");
        buffer.append(piece);
        buffer.append(b">");
        let buffer = hasher.update(buffer, 1..1 + piece.len()).await?;
        assert_eq!(&buffer[1..1 + piece.len()], piece, "a buffer comes back as it was");
        rest = after;
    }
    hasher.finish()
}

fn check(bytes: &[u8], digests: &Digests) {
    assert_eq!(digests.md5, Some(md5(bytes)));
    assert_eq!(digests.sha256, Some(sha256(bytes)));
    let mut alone = Hasher::new(plan());
    alone.update(bytes);
    assert_eq!(digests.checksum, alone.finish().checksum);
}

/// A task with its result.
fn spawned<T: 'static>(
    host: &SimHost,
    task: impl Future<Output = T> + 'static,
) -> crate::base::local::Receiver<T> {
    let (sender, receiver) = oneshot();
    host.spawn(async move { sender.send(task.await) });
    receiver
}

#[test]
fn who_comes_alone_is_hashed_without_waiting_for_company() {
    let simulation = Simulation::new(1);
    let host = simulation.host(1);
    let bytes = varied(0, 3 * HASH_SLICE_BYTES + 17);
    let task = upload(Batcher::new(host), bytes.clone(), vec![bytes.len()]);
    // A bounded number of steps: nothing waits for a timer or for somebody else.
    let digests = simulation.block_on_for(task, 1_000).expect("it ends").expect("nobody ends the core");
    check(&bytes, &digests);
}

#[test]
fn a_long_piece_does_not_hold_up_short_ones() {
    let simulation = Simulation::new(2);
    let host = simulation.host(1);
    let batcher = Batcher::new(host.clone());
    simulation.block_on(async {
        let long = varied(0, 24 * HASH_SLICE_BYTES);
        let long_one = spawned(&host, upload(batcher.clone(), long.clone(), vec![long.len()]));
        let finished = Rc::new(Cell::new(false));
        let flag = finished.clone();
        let long_one = spawned(&host, async move {
            let digests = long_one.await;
            flag.set(true);
            digests
        });
        for turn in 0..20 {
            let short = varied(turn, 5_000);
            let digests = upload(batcher.clone(), short.clone(), vec![5_000]).await.unwrap();
            check(&short, &digests);
            assert!(!finished.get(), "the long one takes many turns");
        }
        check(&long, &long_one.await.flatten().flatten().unwrap());
    });
}

#[test]
fn an_upload_that_is_given_up_while_it_is_hashed_leaves_the_others_alone() {
    for seed in 0..20 {
        let simulation = Simulation::new(seed);
        let host = simulation.host_with_arena(1, 0);
        let batcher = Batcher::new(host.clone());
        let free = host.pool().large_available();
        simulation.block_on(async {
            let others: Vec<_> = (0..6)
                .map(|place| spawned(&host, upload(batcher.clone(), varied(place, 40_000), vec![30_000])))
                .collect();
            let mut buffer = host.pool().acquire(crate::base::limits::BUFFER_BYTES).await;
            buffer.set_len(40_000);
            let mut hasher = batcher.hasher(Hasher::new(plan()));
            {
                let mut update = std::pin::pin!(hasher.update(buffer, 0..40_000));
                let waker = std::task::Waker::noop();
                assert!(update.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
                for _ in 0..seed % 5 {
                    host.yield_now().await;
                }
            }
            assert!(hasher.update(Buffer::heap(1), 0..0).await.is_none(), "its bytes are not there any more");
            for (place, other) in others.into_iter().enumerate() {
                check(&varied(place, 40_000), &other.await.flatten().unwrap());
            }
            while host.pool().large_available() < free {
                host.yield_now().await;
            }
        });
    }
}

#[test]
fn who_waits_when_the_core_ends_learns_that_nobody_comes() {
    let simulation = Simulation::new(3);
    let host = simulation.host(1);
    let batcher = Batcher::new(host.clone());
    let mut hasher = batcher.hasher(Hasher::new(plan()));
    let mut buffer = Buffer::heap(100_000);
    buffer.set_len(100_000);
    let mut update = Box::pin(hasher.update(buffer, 0..100_000));
    let waker = std::task::Waker::noop();
    assert!(update.as_mut().poll(&mut std::task::Context::from_waker(waker)).is_pending());
    simulation.crash();
    assert!(simulation.block_on(update).is_none());
    assert!(hasher.finish().is_none());
}

#[test]
fn chunks_of_a_stream_have_digests_of_their_own() {
    let simulation = Simulation::new(4);
    let host = simulation.host(1);
    let batcher = Batcher::new(host.clone());
    simulation.block_on(async {
        let tasks: Vec<_> = (0..20)
            .map(|place| {
                let mut hasher = batcher.hasher(Hasher::new_chunked(plan()));
                spawned(&host, async move {
                    let bytes = varied(place, 150_000);
                    for chunk in bytes.chunks(65_536 - place) {
                        let mut buffer = Buffer::heap(chunk.len());
                        buffer.append(chunk);
                        hasher.update(buffer, 0..chunk.len()).await.unwrap();
                        assert_eq!(hasher.finish_chunk(), Some(sha256(chunk)));
                    }
                    check(&bytes, &hasher.finish().unwrap());
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("it ends without a panic");
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn digests_do_not_depend_on_who_else_is_hashed_and_when(
        seed in any::<u64>(),
        uploads in prop::collection::vec((0usize..25_000, prop::collection::vec(1usize..20_000, 1..4)), 1..40),
    ) {
        let simulation = Simulation::new(seed);
        let host = simulation.host(1);
        let batcher = Batcher::new(host.clone());
        simulation.block_on(async {
            let mut running = Vec::new();
            for (place, (length, pieces)) in uploads.iter().enumerate() {
                let bytes = varied(place, *length);
                running.push(spawned(&host, upload(batcher.clone(), bytes, pieces.clone())));
            }
            for (place, upload) in running.into_iter().enumerate() {
                check(&varied(place, uploads[place].0), &upload.await.flatten().unwrap());
            }
        });
        prop_assert!(!batcher.inner.is_running.get());
    }
}
