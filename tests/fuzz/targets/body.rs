//! Codings of bodies: chunked and aws-chunked, with and without signatures and trailers. However a body arrives
//! in pieces, it is the same payload; what a client signs is verified, and nothing else is.

use ringcask::auth::sign::{Credentials, sign_v4};
use ringcask::auth::{self, ChunkSigner, Keys, PayloadPromise, SigningKeys};
use ringcask::base::limits::{BUFFER_BYTES, CHUNK_OVERREAD_BYTES};
use ringcask::hash;
use ringcask::http::Head;
use ringcask::http::aws_chunked::{AwsChunkedDecoder, Event, Span};
use ringcask::http::chunked::ChunkedDecoder;

use super::Random;

const KEY: Credentials<'_> = Credentials { id: "id", secret: "secret", region: "us-east-1" };
const NOW: u64 = 1_369_353_600_000;

/// The first byte says which coding the others have.
pub fn run(data: &[u8]) {
    let Some((kind, data)) = data.split_first() else { return };
    match kind % 3 {
        0 => chunked(data),
        1 => aws_chunked(data),
        _ => signed(data),
    }
}

/// What a decoder made of a stream: payload, and how many bytes it took; `None` if it refused it.
fn decode_chunked(data: &[u8], mut piece: impl FnMut() -> usize) -> Option<(Vec<u8>, Option<usize>)> {
    let mut decoder = ChunkedDecoder::default();
    let (mut payload, mut at) = (Vec::new(), 0);
    while at < data.len() && !decoder.is_done() {
        let mut bytes = data[at..data.len().min(at + piece())].to_vec();
        assert!(decoder.want() > 0);
        let decoded = decoder.decode(&mut bytes).ok()?;
        assert!(decoded.consumed == bytes.len() || decoder.is_done());
        payload.extend_from_slice(&bytes[..decoded.payload]);
        at += decoded.consumed;
    }
    Some((payload, decoder.is_done().then_some(at)))
}

fn chunked(data: &[u8]) {
    let whole = decode_chunked(data, || data.len());
    let mut random = Random::of(data);
    assert_eq!(whole, decode_chunked(data, || random.piece()));
    if let Some((payload, Some(end))) = whole {
        assert_eq!(read_chunked(data), Some((payload, end)));
    }
}

/// RFC 9112, section 7.1, line by line.
pub fn read_chunked(data: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut payload = Vec::new();
    let mut at = 0;
    let line = |at: &mut usize| {
        let length = data.get(*at..)?.windows(2).position(|pair| pair == b"\r\n")?;
        let line = &data[*at..*at + length];
        *at += length + 2;
        (!line.contains(&b'\n') && !line.contains(&b'\r')).then_some(line)
    };
    loop {
        let size = line(&mut at)?;
        let digits = size.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let bytes = usize::from_str_radix(std::str::from_utf8(&size[..digits]).ok()?, 16).ok()?;
        if bytes == 0 {
            break;
        }
        payload.extend_from_slice(data.get(at..at.checked_add(bytes)?)?);
        at += bytes;
        line(&mut at).filter(|rest| rest.is_empty())?;
    }
    while !line(&mut at)?.is_empty() {}
    Some((payload, at))
}

/// What a decoder of aws-chunked made of a stream.
#[derive(Debug, PartialEq)]
pub struct Decoded {
    pub payload: Vec<u8>,
    /// Runs of payload joined.
    events: Vec<Event>,
    is_done: bool,
}

fn decode_aws(data: &[u8], mut piece: impl FnMut() -> usize) -> Option<Decoded> {
    let mut decoder = AwsChunkedDecoder::default();
    let (mut events, mut buffer): (Vec<Event>, Vec<u8>) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < data.len() {
        let end = data.len().min(at + piece());
        let start = buffer.len();
        buffer.extend_from_slice(&data[at..end]);
        at = end;
        let mut span = Span::received(start..buffer.len());
        while let Some(event) = decoder.next(&mut buffer, &mut span).ok()? {
            match (events.last_mut(), event) {
                (Some(Event::Payload(before)), Event::Payload(more)) => {
                    assert_eq!(before.end, more.start, "payload lies together");
                    before.end = more.end;
                }
                (_, event) => events.push(event),
            }
        }
        buffer.truncate(span.payload());
        let room = 1 + at * 37 % BUFFER_BYTES;
        let runs = decoder.runs(room, decoder.due().saturating_add(at as u64)).unwrap_or_default();
        assert!(runs.iter().map(|run| run.payload).sum::<usize>() <= room, "what is expected fits");
        assert!(runs.len() <= BUFFER_BYTES / CHUNK_OVERREAD_BYTES + 2);
    }
    let is_done = decoder.is_done();
    assert_eq!(is_done, matches!(events.last(), Some(Event::End { .. })));
    assert_eq!(is_done, decoder.want() == 0);
    Some(Decoded { payload: buffer, events, is_done })
}

fn aws_chunked(data: &[u8]) {
    let whole = decode_aws(data, || data.len());
    let mut random = Random::of(data);
    assert_eq!(whole, decode_aws(data, || random.piece()));
    let Some(decoded) = whole.filter(|decoded| decoded.is_done) else { return };
    // Each chunk holds what it announces.
    let mut payload_end = 0;
    for pair in decoded.events.windows(2) {
        match pair {
            [Event::Chunk { bytes: 0, .. }, Event::ChunkEnd] => {}
            [Event::Chunk { bytes, .. }, Event::Payload(range)] => {
                assert_eq!((payload_end, *bytes), (range.start, range.len() as u64));
                payload_end = range.end;
            }
            [Event::Payload(_), Event::ChunkEnd]
            | [Event::ChunkEnd, Event::Chunk { .. } | Event::End { .. }] => {}
            _ => panic!("events in this order: {pair:?}"),
        }
    }
    assert_eq!(payload_end, decoded.payload.len());
}

struct OneKey;

impl Keys for OneKey {
    fn secret(&self, id: &str) -> Option<String> {
        (id == KEY.id).then(|| KEY.secret.to_owned())
    }
}

/// The client's signer of chunks, and the node's.
fn signers(payload: &str) -> (ChunkSigner, ChunkSigner) {
    let headers = vec![("host".to_owned(), b"h".to_vec())];
    let mut head = Head { method: "PUT".into(), path: "/b/k".into(), query: None, headers, version_minor: 1 };
    let client = sign_v4(&mut head, KEY, NOW, payload);
    let signing_keys = SigningKeys::new();
    let context = auth::Context {
        region: KEY.region,
        now: NOW,
        keys: &OneKey,
        signing_keys: &signing_keys,
        virtual_bucket: None,
    };
    match auth::authenticate(&head, &context).expect("what was signed").payload {
        PayloadPromise::SignedChunks(node) | PayloadPromise::SignedChunksTrailer(node) => (client, node),
        other => panic!("chunks are signed: {other:?}"),
    }
}

/// Signs chunks of the bytes and a trailer, then changes a byte of what was sent.
fn signed(data: &[u8]) {
    let mut random = Random::of(data);
    let with_trailer = random.below(2) == 0;
    let promise = if with_trailer {
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"
    } else {
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"
    };
    let (mut client, _) = signers(promise);
    let mut stream = Vec::new();
    let mut rest = data;
    loop {
        let (chunk, after) = rest.split_at(rest.len().min(random.piece()));
        let signature = client.sign_chunk(&hash::sha256(chunk));
        let signature = std::str::from_utf8(&signature).unwrap();
        stream.extend_from_slice(format!("{:x};chunk-signature={signature}\r\n", chunk.len()).as_bytes());
        stream.extend_from_slice(chunk);
        if chunk.is_empty() {
            break;
        }
        stream.extend_from_slice(b"\r\n");
        rest = after;
    }
    let trailers = vec![("x-amz-checksum-crc32".to_owned(), b"AAAAAA==".to_vec())];
    if with_trailer {
        let signature = client.sign_trailer(&trailers);
        stream.extend_from_slice(b"x-amz-checksum-crc32:AAAAAA==\r\nx-amz-trailer-signature:");
        stream.extend_from_slice(&signature);
        stream.extend_from_slice(b"\r\n");
    }
    stream.extend_from_slice(b"\r\n");
    let whole = verify(&stream, promise, || usize::MAX / 2);
    assert_eq!(whole, Some((data.to_vec(), if with_trailer { trailers } else { Vec::new() })));
    assert_eq!(whole, verify(&stream, promise, || random.piece()));
    let at = random.below(stream.len());
    stream[at] ^= 1 << random.below(8);
    let changed = verify(&stream, promise, || usize::MAX / 2);
    assert!(changed.is_none() || changed == whole, "a changed stream is not what was signed");
}

type Payload = (Vec<u8>, Vec<(String, Vec<u8>)>);

/// Payload and trailers, if all of them are signed.
fn verify(stream: &[u8], promise: &str, piece: impl FnMut() -> usize) -> Option<Payload> {
    let (_, mut node) = signers(promise);
    let decoded = decode_aws(stream, piece).filter(|decoded| decoded.is_done)?;
    let mut chunk: &[u8] = &[];
    let mut sent = None;
    for event in decoded.events {
        match event {
            Event::Chunk { signature, .. } => (sent, chunk) = (Some(signature?), &[]),
            Event::Payload(range) => chunk = &decoded.payload[range],
            Event::ChunkEnd => {
                if !node.verify_chunk(&hash::sha256(chunk), &sent.take()?) {
                    return None;
                }
            }
            Event::End { trailers, signature: None } if !promise.ends_with("TRAILER") => {
                return trailers.is_empty().then_some((decoded.payload, trailers));
            }
            Event::End { trailers, signature } => {
                return node.verify_trailer(&trailers, &signature?).then_some((decoded.payload, trailers));
            }
        }
    }
    None
}
