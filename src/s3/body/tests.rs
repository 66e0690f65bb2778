//! Payload streams in every coding, cut anywhere, honest and forged.

use std::cell::Cell;
use std::rc::Rc;

use proptest::prelude::*;

use super::*;
use crate::auth::sign::{Credentials, sign_v4};
use crate::auth::{self, ChunkSigner, Keys, SigningKeys};
use crate::base::limits::BLOCK_BYTES;
use crate::hash::{Digests, Hasher, base64_encode};
use crate::http::Head;
use crate::io::Scatter;
use crate::io::sim::Simulation;
use crate::s3::request::Request;
use crate::s3::route::Operation;

const NOW: u64 = 1_369_353_600_000;
const KEY: Credentials<'_> = Credentials { id: "AKID", secret: "secret", region: "us-east-1" };

/// A body that arrives in pieces, and then ends or breaks.
struct Pieces {
    bytes: Vec<u8>,
    at: usize,
    piece_bytes: usize,
    /// Whether chunks may be received together.
    scatters: bool,
    reads: Rc<Cell<usize>>,
    end: Result<(), BodyError>,
}

impl Pieces {
    fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            bytes: bytes.into(),
            at: 0,
            piece_bytes: usize::MAX,
            scatters: false,
            reads: Rc::default(),
            end: Ok(()),
        }
    }
}

impl Incoming for Pieces {
    async fn read(&mut self, mut buffer: Buffer, limit: usize) -> (Result<usize, BodyError>, Buffer) {
        assert!(limit > 0 && buffer.spare() > 0, "a read needs room");
        self.reads.update(|reads| reads + 1);
        let left = &self.bytes[self.at..];
        let count = buffer.append(&left[..left.len().min(limit).min(self.piece_bytes)]);
        self.at += count;
        match (count, &self.end) {
            (0, Err(error)) => (Err(*error), buffer),
            _ => (Ok(count), buffer),
        }
    }

    fn can_read_runs(&self) -> bool {
        self.scatters && self.at < self.bytes.len()
    }

    async fn read_runs(&mut self, buffer: Buffer, runs: Vec<Run>) -> (Result<Scattered, BodyError>, Buffer) {
        self.reads.update(|reads| reads + 1);
        let mut scatter = Scatter::new(buffer, runs);
        let left = &self.bytes[self.at..];
        self.at += scatter.receive(&left[..left.len().min(self.piece_bytes)]);
        let (buffer, scattered) = scatter.into_parts();
        (Ok(scattered), buffer)
    }

    fn put_back(&mut self, bytes: &[u8]) {
        self.at -= bytes.len();
        assert!(self.bytes[self.at..].starts_with(bytes), "they come again as they came");
    }
}

/// Receives a payload through buffers of one block.
fn received(
    headers: &[(&str, &str)],
    promise: PayloadPromise,
    body: Pieces,
    bytes_max: u64,
) -> Result<(Vec<u8>, Digests), S3Error> {
    received_through(BLOCK_BYTES, headers, promise, body, bytes_max)
}

/// Receives a payload through buffers of `buffer_bytes`.
fn received_through(
    buffer_bytes: usize,
    headers: &[(&str, &str)],
    promise: PayloadPromise,
    mut body: Pieces,
    bytes_max: u64,
) -> Result<(Vec<u8>, Digests), S3Error> {
    let claims = Claims::of(&Request::for_test("PUT", "/b/k", headers), &promise, bytes_max)?;
    let checksum = claims.checksum.as_ref().map(|claim| claim.algorithm);
    let plan = DigestPlan { md5: true, sha256: matches!(promise, PayloadPromise::Sha256(_)), checksum };
    let simulation = Simulation::new(1);
    let host = simulation.host_with_arena(1, 0);
    let mut stream = PayloadStream::new(&Batcher::new(host), &mut body, promise, claims, plan, bytes_max);
    let mut payload = Vec::new();
    while !stream.is_ended {
        let buffer = simulation.block_on(stream.fill(Buffer::heap(buffer_bytes)))?;
        assert!(stream.is_ended || buffer.spare() == 0, "only the last buffer may have room left");
        payload.extend_from_slice(&buffer);
    }
    Ok((payload, stream.finish()?))
}

fn refusal(headers: &[(&str, &str)], promise: PayloadPromise, body: Pieces) -> S3Error {
    received(headers, promise, body, 1 << 20).unwrap_err()
}

struct OneKey;

impl Keys for OneKey {
    fn secret(&self, _: &str) -> Option<String> {
        Some(KEY.secret.to_owned())
    }
}

/// A request signed for a streamed payload: what it promises, and the client's end of that promise.
fn signed(streaming: &str) -> (PayloadPromise, ChunkSigner) {
    let mut head = Head { method: "PUT".to_owned(), path: "/b/k".to_owned(), ..Head::default() };
    head.headers.push(("host".to_owned(), b"h".to_vec()));
    let signer = sign_v4(&mut head, KEY, NOW, streaming);
    let context = auth::Context {
        region: KEY.region,
        now: NOW,
        keys: &OneKey,
        signing_keys: &SigningKeys::new(),
        virtual_bucket: None,
    };
    (auth::authenticate(&head, &context).expect("a valid signature").payload, signer)
}

/// The framed form of `payload` as an honest client sends it.
fn framed(
    payload: &[u8],
    chunk_bytes: usize,
    signer: &mut ChunkSigner,
    trailer: Option<(&str, &str)>,
) -> Vec<u8> {
    framed_chunks(payload.chunks(chunk_bytes), signer, trailer)
}

fn framed_chunks<'a>(
    chunks: impl Iterator<Item = &'a [u8]>,
    signer: &mut ChunkSigner,
    trailer: Option<(&str, &str)>,
) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in chunks.chain([&b""[..]]) {
        let signature = signer.sign_chunk(&crate::hash::sha256(chunk));
        let signature = std::str::from_utf8(&signature).unwrap();
        out.extend_from_slice(format!("{:x};chunk-signature={signature}\r\n", chunk.len()).as_bytes());
        if !chunk.is_empty() {
            out.extend_from_slice(chunk);
            out.extend_from_slice(b"\r\n");
        }
    }
    if let Some((name, value)) = trailer {
        let signature = signer.sign_trailer(&[(name.to_owned(), value.as_bytes().to_vec())]);
        let signature = std::str::from_utf8(&signature).unwrap();
        out.extend_from_slice(
            format!("{name}:{value}\r\nx-amz-trailer-signature:{signature}\r\n").as_bytes(),
        );
    }
    out.extend_from_slice(b"\r\n");
    out
}

#[test]
fn a_plain_payload_must_have_the_digests_it_claims() {
    let length = ("content-length", "5");
    let body = || Pieces::new("hello");
    let sha256 = crate::hash::sha256(b"hello");
    let (payload, digests) = received(&[length], PayloadPromise::Sha256(sha256), body(), 5).unwrap();
    assert_eq!((payload.as_slice(), digests.md5), (&b"hello"[..], Some(crate::hash::md5(b"hello"))));

    let error = refusal(&[length], PayloadPromise::Sha256([7; 32]), body());
    assert_eq!(error.code, Code::XAmzContentSHA256Mismatch);
    assert_eq!(error.fields[0], ("ClientComputedContentSHA256", "07".repeat(32)));
    assert_eq!(error.fields[1], ("S3ComputedContentSHA256", stream::hex(&sha256)));

    let error =
        refusal(&[length, ("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")], PayloadPromise::Unsigned, body());
    assert_eq!(error.code, Code::BadDigest);
    assert_eq!(error.fields[0], ("ExpectedDigest", "1B2M2Y8AsgTpgAmY7PhCfg==".to_owned()));

    let error = refusal(&[length, ("x-amz-checksum-crc32", "AAAAAA==")], PayloadPromise::Unsigned, body());
    assert_eq!(error.code, Code::BadDigest);
    assert_eq!(error.message, "The CRC32 you specified did not match the calculated checksum.");
    let right = [length, ("x-amz-checksum-crc32", "NhCmhg==")];
    assert!(received(&right, PayloadPromise::Unsigned, body(), 5).is_ok());
}

#[test]
fn chunks_of_one_length_fill_a_buffer_in_one_read() {
    let payload = vec![7; 20 * 32_768 + 1_000];
    let streaming = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
    let (promise, mut signer) = signed(streaming);
    let mut body = Pieces::new(framed(&payload, 32_768, &mut signer, None));
    body.scatters = true;
    let reads = body.reads.clone();
    let length = payload.len().to_string();
    let headers = [("x-amz-decoded-content-length", length.as_str())];
    let (got, _) = received_through(BUFFER_BYTES, &headers, promise, body, 1 << 20).unwrap();
    assert!(got == payload);
    // The first chunk's line, and each of the three buffers.
    assert_eq!(reads.get(), 4);
}

#[test]
fn a_body_that_breaks_off_is_incomplete_and_ends_its_connection() {
    let mut body = Pieces::new("hel");
    body.end = Err(BodyError::Incomplete);
    let error = refusal(&[("content-length", "5")], PayloadPromise::Unsigned, body);
    assert_eq!((error.code, error.close), (Code::IncompleteBody, true));

    let mut body = Pieces::new("hel");
    body.end = Err(BodyError::TimedOut);
    let error = refusal(&[("content-length", "5")], PayloadPromise::Unsigned, body);
    assert_eq!((error.code, error.close), (Code::RequestTimeout, true));

    let headers = [("x-amz-decoded-content-length", "5")];
    let cut = Pieces::new("5\r\nhel");
    assert_eq!(refusal(&headers, PayloadPromise::UnsignedChunksTrailer, cut).code, Code::IncompleteBody);
}

#[test]
fn a_payload_must_have_the_length_it_declares() {
    let headers = [("x-amz-decoded-content-length", "5")];
    for body in ["4\r\nhell\r\n0\r\n\r\n", "6\r\nhello!\r\n0\r\n\r\n"] {
        let error = refusal(&headers, PayloadPromise::UnsignedChunksTrailer, Pieces::new(body));
        assert_eq!(error.code, Code::IncompleteBody, "{body}");
    }
    let endless = Pieces::new(vec![0; 2000]);
    let error = received(&[("transfer-encoding", "chunked")], PayloadPromise::Unsigned, endless, 1000);
    assert_eq!(error.unwrap_err().code, Code::EntityTooLarge);
}

#[test]
fn a_trailer_must_bring_the_checksum_it_announces_and_no_other() {
    let headers = [("x-amz-decoded-content-length", "5"), ("x-amz-trailer", "x-amz-checksum-crc32")];
    let body = |trailer: &str| Pieces::new(format!("5\r\nhello\r\n0\r\n{trailer}\r\n"));
    let code = |headers: &[(&str, &str)], trailer| {
        let promise = PayloadPromise::UnsignedChunksTrailer;
        received(headers, promise, body(trailer), 5).map(|_| ()).map_err(|error| error.code)
    };
    assert_eq!(code(&headers, "x-amz-checksum-crc32:NhCmhg==\r\n"), Ok(()));
    assert_eq!(code(&headers, "x-amz-checksum-crc32:AAAAAA==\r\n"), Err(Code::BadDigest));
    assert_eq!(code(&headers, "x-amz-checksum-crc32:no\r\n"), Err(Code::BadDigest));
    assert_eq!(code(&headers, ""), Err(Code::MalformedTrailerError));
    assert_eq!(code(&headers, "x-amz-checksum-crc32c:AAAAAA==\r\n"), Err(Code::MalformedTrailerError));
    let unannounced = "x-amz-checksum-crc32:AAAAAA==\r\n";
    assert_eq!(code(&headers[..1], unannounced), Err(Code::MalformedTrailerError));
}

#[test]
fn a_document_is_bounded_and_may_need_a_digest() {
    let document = |headers: &[(&str, &str)], digest| {
        let payload = PayloadPromise::Unsigned;
        let request = Request::for_test("POST", "/b?delete", headers);
        let mut request = Authorized::for_test(request, Operation::DeleteObjects, payload);
        let mut body = Pieces::new("<Delete/>");
        let simulation = Simulation::new(1);
        let host = simulation.host_with_arena(1, 0);
        let result = simulation.block_on(receive_document(&host, &mut request, &mut body, digest));
        result.map_err(|error| error.code)
    };
    let length = ("content-length", "9");
    assert_eq!(document(&[length], DocumentDigest::Optional).unwrap(), b"<Delete/>");
    assert_eq!(document(&[length], DocumentDigest::Required), Err(Code::InvalidRequest));
    let wrong = [length, ("content-md5", "1B2M2Y8AsgTpgAmY7PhCfg==")];
    assert_eq!(document(&wrong, DocumentDigest::Required), Err(Code::BadDigest));
    assert_eq!(
        document(&[("content-length", "99999999")], DocumentDigest::Optional),
        Err(Code::EntityTooLarge)
    );
    assert_eq!(document(&[], DocumentDigest::Optional).unwrap(), b"");
}

#[test]
fn a_document_that_was_promised_cannot_be_left_out() {
    let document = |headers: &[(&str, &str)], promise| {
        let request = Request::for_test("PUT", "/b", headers);
        let mut request = Authorized::for_test(request, Operation::CreateBucket, promise);
        let simulation = Simulation::new(1);
        let host = simulation.host_with_arena(1, 0);
        let optional = DocumentDigest::Optional;
        let result =
            simulation.block_on(receive_document(&host, &mut request, &mut Pieces::new(""), optional));
        result.map_err(|error| error.code)
    };
    let promised = |bytes| PayloadPromise::Sha256(crate::hash::sha256(bytes));
    assert_eq!(document(&[], promised(b"")).unwrap(), b"");
    assert_eq!(document(&[], promised(b"<x/>")), Err(Code::XAmzContentSHA256Mismatch));
    assert_eq!(document(&[("content-length", "0")], promised(b"<x/>")), Err(Code::XAmzContentSHA256Mismatch));
    let md5 = [("content-md5", "AAAAAAAAAAAAAAAAAAAAAA==")];
    assert_eq!(document(&md5, PayloadPromise::Unsigned), Err(Code::BadDigest));
    assert_eq!(document(&[], signed("STREAMING-AWS4-HMAC-SHA256-PAYLOAD").0), Err(Code::IncompleteBody));
}

proptest! {
    #[test]
    fn signed_chunks_cut_anywhere_give_the_payload(
        payload in proptest::collection::vec(any::<u8>(), 0..20_000),
        chunk_bytes in 1_000usize..9_000,
        piece_bytes in 1usize..7_000,
    ) {
        let streaming = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";
        let (promise, mut signer) = signed(streaming);
        let mut body = Pieces::new(framed(&payload, chunk_bytes, &mut signer, None));
        body.piece_bytes = piece_bytes;
        let length = payload.len().to_string();
        let headers = [("x-amz-decoded-content-length", length.as_str())];
        let (got, digests) = received(&headers, promise, body, 1 << 20).unwrap();
        prop_assert_eq!(digests.md5, Some(crate::hash::md5(&payload)));
        prop_assert!(got == payload);
    }

    /// Most chunks are as long as the first: what is received together is what was expected, and then it is not.
    #[test]
    fn chunks_of_any_lengths_that_are_received_together_give_the_payload(
        chunk_bytes in 8_192usize..20_000,
        others in prop::collection::vec((0usize..12, 1usize..30_000), 0..4),
        count in 1usize..12,
        piece_bytes in 1usize..200_000,
        buffer_blocks in 1usize..40,
        has_trailer in any::<bool>(),
        excess in prop_oneof![3 => Just(0usize), 1 => 1usize..100],
        flipped in prop::option::weighted(0.25, (any::<prop::sample::Index>(), 0u8..8)),
    ) {
        let mut lengths = vec![chunk_bytes; count];
        for (place, length) in others {
            lengths.insert(place.min(lengths.len()), length);
        }
        let payload: Vec<u8> = (0..lengths.iter().sum::<usize>()).map(|at| (at * 7 + at / 251) as u8).collect();
        let mut rest = payload.as_slice();
        let chunks = lengths.iter().map(|length| rest.split_off(..*length).expect("all of them are there"));
        let streaming = if has_trailer {
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
        } else {
            "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
        };
        let (_, mut signer) = signed(streaming);
        let checksum = Some(ChecksumAlgorithm::Crc32);
        let mut hasher = Hasher::new(DigestPlan { checksum, ..DigestPlan::default() });
        hasher.update(&payload);
        let checksum = base64_encode(&hasher.finish().checksum.unwrap().value);
        let trailer = has_trailer.then_some(("x-amz-checksum-crc32", checksum.as_str()));
        let mut bytes = framed_chunks(chunks, &mut signer, trailer);
        let honest = bytes.clone();
        if let Some((place, bit)) = flipped {
            bytes[place.index(honest.len())] ^= 1 << bit;
        }
        bytes.extend(std::iter::repeat_n(b'x', excess));
        let length = payload.len().to_string();
        let mut headers = vec![("x-amz-decoded-content-length", length.as_str())];
        if has_trailer {
            headers.push(("x-amz-trailer", "x-amz-checksum-crc32"));
        }
        let outcomes = [true, false].map(|scatters| {
            let mut body = Pieces::new(bytes.clone());
            (body.piece_bytes, body.scatters) = (piece_bytes, scatters);
            received_through(buffer_blocks * BLOCK_BYTES, &headers, signed(streaming).0, body, 1 << 30)
        });
        for outcome in outcomes {
            match outcome {
                Ok((got, digests)) => {
                    prop_assert_eq!(digests.md5, Some(crate::hash::md5(&payload)));
                    prop_assert!(got == payload);
                }
                Err(_) => prop_assert!(excess > 0 || bytes != honest),
            }
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_in_signed_chunks_is_refused(
        payload in proptest::collection::vec(any::<u8>(), 1..3_000),
        place in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let streaming = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER";
        let checksum = {
            let checksum = Some(ChecksumAlgorithm::Crc32);
            let mut hasher = Hasher::new(DigestPlan { checksum, ..DigestPlan::default() });
            hasher.update(&payload);
            base64_encode(&hasher.finish().checksum.unwrap().value)
        };
        let trailer = ("x-amz-checksum-crc32", checksum.as_str());
        let (promise, mut signer) = signed(streaming);
        let honest = framed(&payload, 1_000, &mut signer, Some(trailer));
        let length = payload.len().to_string();
        let headers =
            [("x-amz-decoded-content-length", length.as_str()), ("x-amz-trailer", "x-amz-checksum-crc32")];
        let (got, _) = received(&headers, promise, Pieces::new(honest.clone()), 1 << 20).unwrap();
        prop_assert!(got == payload);

        let mut forged = honest.clone();
        let at = place.index(honest.len());
        forged[at] ^= 1 << bit;
        // The case of hexadecimal digits and of names means nothing, nor does a blank before a line feed.
        prop_assume!(!forged.eq_ignore_ascii_case(&honest));
        prop_assume!(!(honest[at] == b'\r' && forged[at].is_ascii_whitespace()));
        let outcome = received(&headers, signed(streaming).0, Pieces::new(forged), 1 << 20);
        prop_assert!(outcome.is_err());
    }
}
