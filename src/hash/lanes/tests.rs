//! Against the `md-5` and `sha2` crates and published vectors, with each set of instructions in turn.

use md5::Digest;
use proptest::prelude::*;

use super::*;

/// Bytes without a short period, other ones for each stream.
fn varied(stream: usize, length: usize) -> Vec<u8> {
    let seed = (stream as u32).wrapping_mul(0x9e37_79b9);
    (0..length as u32).map(|at| ((at ^ seed).wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn md5_of(bytes: &[u8]) -> [u8; 16] {
    md5::Md5::digest(bytes).into()
}

fn sha256_of(bytes: &[u8]) -> [u8; 32] {
    sha2::Sha256::digest(bytes).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A stream, what of it was taken, and the digests that are wanted of it.
struct Stream {
    bytes: Vec<u8>,
    taken: usize,
    md5: Option<Md5>,
    sha256: Option<Sha256>,
}

impl Stream {
    fn new(bytes: Vec<u8>, md5: bool, sha256: bool) -> Self {
        Self { bytes, taken: 0, md5: md5.then(Md5::default), sha256: sha256.then(Sha256::default) }
    }

    /// The next bytes, at most `count`.
    fn next(&mut self, count: usize) -> Update<'_> {
        let end = self.bytes.len().min(self.taken + count);
        let bytes = &self.bytes[std::mem::replace(&mut self.taken, end)..end];
        Update { md5: self.md5.as_mut(), sha256: self.sha256.as_mut(), bytes }
    }

    fn check(self, what: &str) {
        assert_eq!(self.taken, self.bytes.len(), "{what}: the test must take all");
        if let Some(md5) = self.md5 {
            assert_eq!(
                hex(&md5.finish()),
                hex(&md5_of(&self.bytes)),
                "MD5 of {} bytes, {what}",
                self.bytes.len()
            );
        }
        if let Some(sha256) = self.sha256 {
            let expected = hex(&sha256_of(&self.bytes));
            assert_eq!(hex(&sha256.finish()), expected, "SHA-256 of {} bytes, {what}", self.bytes.len());
        }
    }
}

/// RFC 1321, appendix A.5; FIPS 180-4's examples (NIST, "SHA256.pdf"). The long one has lanes to itself in the end.
#[test]
fn published_vectors_hold_in_every_lane_and_beside_any_neighbour() {
    let digits = b"12345678901234567890123456789012345678901234567890123456789012345678901234567890";
    let two_blocks = b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    let million = vec![b'a'; 1_000_000];
    let vectors: [(&[u8], &str, &str); 5] = [
        (
            b"",
            "d41d8cd98f00b204e9800998ecf8427e",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        ),
        (
            b"abc",
            "900150983cd24fb0d6963f7d28e17f72",
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        ),
        (
            two_blocks,
            "8215ef0796a20bcaaae116d3876c664a",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
        ),
        (
            digits,
            "57edf4a22be3c955ac49da2e2107b67a",
            "f371bc4a311f2b009eef952dd83ca80e2b60026c8e935592d0f9c308453c813e",
        ),
        (
            &million,
            "7707d6ae4e027c70eea2a935c2296f21",
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
        ),
    ];
    for instructions in Instructions::all() {
        let vector_of = |place: usize| if place == 20 { 4 } else { place % 4 };
        let mut streams: Vec<Stream> =
            (0..35).map(|place| Stream::new(vectors[vector_of(place)].0.to_vec(), true, true)).collect();
        let mut updates: Vec<_> = streams.iter_mut().map(|stream| stream.next(usize::MAX / 2)).collect();
        update_many_with(instructions, &mut updates);
        for (place, stream) in streams.into_iter().enumerate() {
            let (_, md5, sha256) = vectors[vector_of(place)];
            let digests = (stream.md5.unwrap().finish(), stream.sha256.unwrap().finish());
            assert_eq!(
                (hex(&digests.0).as_str(), hex(&digests.1).as_str()),
                (md5, sha256),
                "{instructions:?}"
            );
        }
    }
}

/// Thirty-three streams are one more than the widest kernel takes; three hundred bytes are four blocks and more.
#[test]
fn every_length_and_every_split_gives_the_digests_of_the_crates() {
    const LENGTH_MAX: usize = 300;
    for instructions in Instructions::all() {
        for (md5, sha256) in [(true, false), (false, true), (true, true)] {
            for first in 0..=LENGTH_MAX {
                let lengths = (first..).step_by(9).map(|length| length % (LENGTH_MAX + 1)).take(33);
                let mut streams: Vec<Stream> = lengths
                    .enumerate()
                    .map(|(place, length)| Stream::new(varied(place, length), md5, sha256))
                    .collect();
                for count in [first, LENGTH_MAX] {
                    let mut updates: Vec<_> = streams.iter_mut().map(|stream| stream.next(count)).collect();
                    update_many_with(instructions, &mut updates);
                }
                streams.into_iter().for_each(|stream| stream.check(instructions.name()));
            }
        }
    }
}

#[test]
fn every_number_of_streams_finds_a_kernel() {
    for instructions in Instructions::all() {
        for count in 0..70 {
            for (md5, sha256) in [(true, false), (false, true), (true, true)] {
                let mut streams: Vec<Stream> =
                    (0..count).map(|place| Stream::new(varied(place, 64 * 5), md5, sha256)).collect();
                let mut updates: Vec<_> = streams.iter_mut().map(|stream| stream.next(64 * 5)).collect();
                update_many_with(instructions, &mut updates);
                streams.into_iter().for_each(|stream| stream.check(instructions.name()));
            }
        }
    }
}

#[test]
fn bytes_are_read_at_any_alignment_and_not_beyond_their_end() {
    for instructions in Instructions::all() {
        for offset in 0..64 {
            // The slices end where their memory does.
            let memory: Vec<Vec<u8>> = (0..20).map(|place| varied(place, offset + 128)).collect();
            let mut digests = vec![(Md5::default(), Sha256::default()); 20];
            let mut updates: Vec<_> = digests
                .iter_mut()
                .zip(&memory)
                .map(|((md5, sha256), memory)| Update {
                    md5: Some(md5),
                    sha256: Some(sha256),
                    bytes: &memory[offset..],
                })
                .collect();
            update_many_with(instructions, &mut updates);
            for ((md5, sha256), memory) in digests.into_iter().zip(&memory) {
                assert_eq!(md5.finish(), md5_of(&memory[offset..]));
                assert_eq!(sha256.finish(), sha256_of(&memory[offset..]));
            }
        }
    }
}

/// As with signed chunks: MD5 runs over all, SHA-256 begins anew with each chunk, wherever that is.
#[test]
fn digests_of_one_stream_need_not_have_begun_together() {
    for instructions in Instructions::all() {
        let bytes = varied(0, 5_000);
        let mut streams = vec![(Md5::default(), Sha256::default()); 19];
        let mut begun = 0;
        for (start, end) in [(0, 100), (100, 1_777), (1_777, 4_999), (4_999, 5_000)] {
            let mut updates: Vec<_> = streams
                .iter_mut()
                .map(|(md5, sha256)| Update {
                    md5: Some(md5),
                    sha256: Some(sha256),
                    bytes: &bytes[start..end],
                })
                .collect();
            update_many_with(instructions, &mut updates);
            if end != 100 {
                for (_, sha256) in &mut streams {
                    assert_eq!(std::mem::take(sha256).finish(), sha256_of(&bytes[begun..end]));
                }
                begun = end;
            }
        }
        for (md5, _) in streams {
            assert_eq!(md5.finish(), md5_of(&bytes));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Streams of any number, length and kind, cut anywhere, of which not all are there each time.
    #[test]
    fn any_interleaving_of_streams_gives_the_digests_of_the_crates(
        kinds in prop::collection::vec((0usize..4_000, 1u8..4), 1..48),
        cuts in prop::collection::vec((prop::collection::vec(any::<bool>(), 48), 0usize..700), 0..12),
    ) {
        for instructions in Instructions::all() {
            let mut streams: Vec<Stream> = kinds
                .iter()
                .enumerate()
                .map(|(place, (length, kind))| Stream::new(varied(place, *length), kind & 1 > 0, kind & 2 > 0))
                .collect();
            for (there, count) in &cuts {
                let some = streams.iter_mut().zip(there).filter(|(_, there)| **there);
                let mut updates: Vec<_> = some.map(|(stream, _)| stream.next(*count)).collect();
                update_many_with(instructions, &mut updates);
            }
            let mut updates: Vec<_> = streams.iter_mut().map(|stream| stream.next(4_000)).collect();
            update_many_with(instructions, &mut updates);
            streams.into_iter().for_each(|stream| stream.check(instructions.name()));
        }
    }
}
