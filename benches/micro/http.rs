//! What does it cost to read what a client sends: the head of a request, and a body in signed chunks?

use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};
use ringcask::http::HeadParser;
use ringcask::http::aws_chunked::{AwsChunkedDecoder, Event, Span};

/// As boto3 sends it, about.
const GET: &[u8] = b"GET /bucket/photos/2026/000001.jpg HTTP/1.1\r\n\
    Host: 127.0.0.1:9000\r\n\
    Accept-Encoding: identity\r\n\
    x-amz-checksum-mode: ENABLED\r\n\
    User-Agent: Boto3/1.40.0 md/Botocore#1.40.0 ua/2.1 os/linux#6.1 lang/python#3.11 cfg/retry-mode#legacy\r\n\
    X-Amz-Date: 20260131T120000Z\r\n\
    X-Amz-Content-SHA256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\r\n\
    Authorization: AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20260131/us-east-1/s3/aws4_request, \
    SignedHeaders=host;x-amz-checksum-mode;x-amz-content-sha256;x-amz-date, \
    Signature=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\n\
    amz-sdk-invocation-id: 01234567-89ab-cdef-0123-456789abcdef\r\n\
    amz-sdk-request: attempt=1\r\n\
    \r\n";

const PAYLOAD_BYTES: usize = 1 << 20;

#[divan::bench]
fn head(bencher: Bencher) {
    let mut parser = HeadParser::default();
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| parser.parse(black_box(GET)));
}

/// A body of 1 MiB, as it comes into a buffer: taken out of its framing in place, nothing hashed.
#[divan::bench(args = [4096, 65_536])]
fn aws_chunked(bencher: Bencher, chunk_bytes: usize) {
    let mut framed = Vec::new();
    for bytes in std::iter::repeat_n(chunk_bytes, PAYLOAD_BYTES / chunk_bytes).chain([0]) {
        framed.extend_from_slice(format!("{bytes:x};chunk-signature={:064x}\r\n", 7).as_bytes());
        framed.extend(std::iter::repeat_n(7, bytes));
        framed.extend_from_slice(b"\r\n");
    }
    let bencher = bencher.counter(BytesCount::new(PAYLOAD_BYTES));
    bencher.with_inputs(|| framed.clone()).bench_local_refs(|buffer| {
        let mut decoder = AwsChunkedDecoder::default();
        let mut span = Span::received(0..buffer.len());
        let mut payload = 0;
        while let Some(event) = decoder.next(buffer, &mut span).expect("the framing is right") {
            if let Event::Payload(range) = event {
                payload += range.len();
            }
        }
        assert!(decoder.is_done() && payload == PAYLOAD_BYTES);
    });
}
