//! What do digests cost, of one stream and of several together?
//!
//! `crates` are the `md-5` and `sha2` crates, one stream after the other, as a hasher without lanes would use them:
//! the measure of "never slower". The other names are sets of instructions (`ringcask::hash::lanes::Instructions`).
//! Each stream brings 16 KiB, which is new to none of the caches.

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use md5::Digest;
use ringcask::hash::lanes::{Instructions, Md5, Sha256, Update, update_many_with};

const STREAMS: [usize; 6] = [1, 2, 4, 8, 16, 32];

/// Of each stream.
const PIECE_BYTES: usize = 16 * 1024;

/// From the beginning of one stream's bytes to that of the next. A power of two would put the bytes that the lanes
/// read together into the same few lines of the cache, as it may happen to buffers of a pool: a fifth slower.
const STRIDE_BYTES: usize = PIECE_BYTES + 9 * 64;

/// How the digests are computed.
#[derive(Clone, Copy)]
enum Way {
    Crates,
    Lanes(Instructions),
}

impl std::fmt::Debug for Way {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(match self {
            Self::Crates => "crates",
            Self::Lanes(instructions) => instructions.name(),
        })
    }
}

/// A row of the table: a way, and a number of streams.
#[derive(Clone, Copy)]
struct Row(Way, usize);

impl std::fmt::Display for Row {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{:?}, {} streams", self.0, self.1)
    }
}

fn rows() -> Vec<Row> {
    let lanes = Instructions::all().into_iter().map(Way::Lanes);
    let ways: Vec<Way> = [Way::Crates].into_iter().chain(lanes).collect();
    ways.into_iter().flat_map(|way| STREAMS.map(|streams| Row(way, streams))).collect()
}

#[divan::bench(args = rows())]
fn md5_alone(bencher: Bencher, row: &Row) {
    measure(bencher, *row, true, false);
}

#[divan::bench(args = rows())]
fn sha256_alone(bencher: Bencher, row: &Row) {
    measure(bencher, *row, false, true);
}

#[divan::bench(args = rows())]
fn md5_and_sha256(bencher: Bencher, row: &Row) {
    measure(bencher, *row, true, true);
}

fn measure(bencher: Bencher, Row(way, count): Row, md5: bool, sha256: bool) {
    let memory: Vec<u8> = (0..STRIDE_BYTES * count).map(|at| (at * 7 + (at >> 8) * 13) as u8).collect();
    let pieces: Vec<&[u8]> = memory.chunks(STRIDE_BYTES).map(|piece| &piece[..PIECE_BYTES]).collect();
    let bencher = bencher.counter(BytesCount::new(PIECE_BYTES * count));
    match way {
        Way::Crates => {
            let mut states = vec![(md5::Md5::new(), sha2::Sha256::new()); count];
            bencher.bench_local(|| {
                for ((md5_state, sha256_state), piece) in states.iter_mut().zip(&pieces) {
                    if md5 {
                        md5_state.update(black_box(piece));
                    }
                    if sha256 {
                        sha256_state.update(black_box(piece));
                    }
                }
            });
        }
        Way::Lanes(instructions) => {
            let mut states = vec![(Md5::default(), Sha256::default()); count];
            bencher.bench_local(|| {
                let mut updates: Vec<Update<'_>> = states
                    .iter_mut()
                    .zip(&pieces)
                    .map(|((md5_state, sha256_state), piece)| Update {
                        md5: md5.then_some(md5_state),
                        sha256: sha256.then_some(sha256_state),
                        bytes: black_box(piece),
                    })
                    .collect();
                update_many_with(instructions, &mut updates);
            });
        }
    }
}
