//! Connections over loopback, both ends in one runtime.

mod harness;

use std::time::Duration;

use harness::{CHUNK_BYTES, Server, impatient, pattern, run, run_sharing};
use proptest::prelude::*;

use super::{BodyError, Limits};
use crate::base::limits::BUFFER_BYTES;
use crate::io::Pool;

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `chunks` in the chunked transfer coding.
fn chunked(chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut stream = Vec::new();
    for chunk in chunks {
        stream.extend_from_slice(format!("{:x};x=y\r\n", chunk.len()).as_bytes());
        stream.extend_from_slice(chunk);
        stream.extend_from_slice(b"\r\n");
    }
    stream.extend_from_slice(b"0\r\nA-Trailer: x\r\n\r\n");
    stream
}

#[test]
fn requests_that_come_together_are_answered_in_order() {
    run(Limits::default(), async |server| {
        let mut client = server.connect().await;
        let requests = "POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc\
            GET /nothing HTTP/1.1\r\nHost: h\r\n\r\n\
            POST /echo?1 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nde\r\n1\r\nf\r\n0\r\n\r\n\
            POST /length HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nrest\
            POST /length HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        client.send(requests).await;
        let mut answers = Vec::new();
        for _ in 0..5 {
            let answer = client.answer().await;
            answers.push((answer.status, text(answer.body)));
        }
        let expected = [(200, "abc"), (404, ""), (200, "def"), (200, "Some(4)"), (200, "None")];
        assert_eq!(answers, expected.map(|(status, body)| (status, body.to_owned())));
        assert_eq!(client.rest().await, b"");
        assert_eq!(server.connections.active(), 0);
    });
}

#[test]
fn a_response_carries_date_server_and_length() {
    run(Limits::default(), async |server| {
        let mut client = server.connect().await;
        client.send("GET /bytes?5 HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let answer = client.answer().await;
        let expected = "http/1.1 200 ok\r\ndate: sun, 06 nov 1994 08:49:37 gmt\r\nserver: ringcask\r\n\
            content-length: 5\r\n\r\n";
        assert_eq!(answer.headers, expected);
        assert_eq!(answer.body, pattern(0, 5));
    });
}

#[test]
fn http_1_0_lives_on_only_when_asked() {
    run(Limits::default(), async |server| {
        let mut client = server.connect().await;
        client.send("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await;
        assert!(client.answer().await.headers.contains("connection: keep-alive\r\n"));
        client.send("GET /a HTTP/1.0\r\n\r\n").await;
        assert!(client.answer().await.headers.contains("connection: close\r\n"));
        assert_eq!(client.rest().await, b"");
    });
}

#[test]
fn a_waiting_client_is_invited_when_its_body_is_read() {
    run(Limits::default(), async |server| {
        let mut client = server.connect().await;
        let head = "PUT /echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n";
        for _ in 0..2 {
            client.send(head).await;
            assert_eq!(client.head().await.0, 100);
            client.send("hello").await;
            assert_eq!(client.answer().await.body, b"hello");
        }
        client.send(format!("{head}hello")).await;
        assert_eq!(client.answer().await.status, 200, "who sent its body already is not invited");
    });
}

#[test]
fn a_refused_body_is_not_invited() {
    run(Limits::default(), async |server| {
        let mut client = server.connect().await;
        client
            .send("PUT /refuse HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
            .await;
        let answer = client.answer().await;
        assert_eq!(answer.status, 403);
        assert!(answer.headers.contains("connection: close\r\n"));
        assert_eq!(client.rest().await, b"");
    });
}

#[test]
fn a_client_that_sends_on_after_a_refusal_sees_it() {
    run(Limits::default(), async |server| {
        let mut client = server.connect().await;
        client.send("PUT /refuse HTTP/1.1\r\nHost: h\r\nContent-Length: 8000000\r\n\r\n").await;
        assert!(client.send(pattern(0, 8_000_000)).await);
        let answer = client.answer().await;
        assert_eq!((answer.status, text(answer.body)), (403, "refused".to_owned()));
        assert!(answer.headers.contains("connection: close\r\n"));
    });
}

#[test]
fn a_short_unread_body_does_not_cost_the_connection() {
    run(Limits::default(), async |server| {
        let mut client = server.connect().await;
        client.send("PUT /refuse HTTP/1.1\r\nHost: h\r\nContent-Length: 60000\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 403);
        client.send(pattern(0, 60_000)).await;
        client.send("PUT /refuse HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        let answer = client.answer().await;
        assert!(answer.headers.contains("connection: close\r\n"), "the end of the chunks is unknown");
    });
}

#[test]
fn long_bodies_go_both_ways_whole() {
    run(Limits::default(), async |server| {
        let payload = pattern(0, 3_000_000);
        let chunks: Vec<_> = payload.chunks(70_001).map(<[u8]>::to_vec).collect();
        let chunked_head = "PUT /echo?99999 HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
        let mut client = server.connect().await;
        client.send([chunked_head.as_bytes(), &chunked(&chunks)].concat()).await;
        assert!(client.answer().await.body == payload);
        client
            .send(
                [&b"PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3000000\r\n\r\n"[..], &payload].concat(),
            )
            .await;
        assert!(client.answer().await.body == payload);
        for size in [0, 1, CHUNK_BYTES, 16 * 1024, 16 * 1024 + 1, 1_234_567] {
            for path in ["/stream", "/bytes"] {
                client.send(format!("GET {path}?{size} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
                assert!(client.answer().await.body == pattern(0, size), "{path} {size}");
            }
        }
    });
}

#[test]
fn head_and_statuses_without_a_body_have_none() {
    run(Limits::default(), async |server| {
        let mut client = server.connect().await;
        for path in ["/absent?7", "/bytes?7", "/stream?7"] {
            client.send(format!("HEAD {path} HTTP/1.1\r\nHost: h\r\n\r\n")).await;
            let (status, headers) = client.head().await;
            assert!(status == 200 && headers.contains("content-length: 7\r\n"), "{headers}");
        }
        client.send("GET /empty HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let (status, headers) = client.head().await;
        assert!(status == 204 && !headers.contains("content-length"), "{headers}");
        client.send("GET /bytes?3 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
        assert_eq!(client.answer().await.body, pattern(0, 3));
        assert_eq!(client.rest().await, b"");
    });
}

#[test]
fn a_body_that_does_not_keep_its_promise_cuts_the_connection() {
    run(Limits::default(), async |server| {
        for path in ["/broken", "/short", "/long", "/absent"] {
            let mut client = server.connect().await;
            client.send(format!("GET {path}?1000050 HTTP/1.1\r\nHost: h\r\n\r\n")).await;
            client.send("GET /bytes?1 HTTP/1.1\r\nHost: h\r\n\r\n").await;
            let all = client.rest().await;
            let head_end =
                all.windows(4).position(|bytes| bytes == b"\r\n\r\n").map_or(all.len(), |end| end + 4);
            assert!(all.len() - head_end < 1_000_050, "{path}: {} bytes", all.len());
            assert!(text(all).matches("HTTP/1.1").count() <= 1, "{path}");
        }
    });
}

#[test]
fn heads_that_hide_a_second_request_are_refused() {
    run(Limits::default(), async |server| {
        let hidden = "0\r\n\r\nGET /bytes?1 HTTP/1.1\r\nHost: h\r\n\r\n";
        for (lines, status) in [
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 400),
            ("Content-Length: 5\r\nContent-Length: 0\r\n", 400),
            ("Content-Length: +5\r\n", 400),
            ("Content-Length: 5\r\nX:\x0b\r\n", 400),
            ("Transfer-Encoding : chunked\r\n", 400),
            ("Transfer-Encoding:\r\n chunked\r\n", 400),
            ("Transfer-Encoding: chunked\nX: y\r\n", 400),
            ("Transfer-Encoding: chunked\rX: y\r\n", 400),
            ("Transfer-Encoding: xchunked\r\n", 501),
            ("Transfer-Encoding: gzip, chunked\r\n", 501),
        ] {
            let request = format!("PUT /echo HTTP/1.1\r\nHost: h\r\n{lines}\r\n{hidden}");
            let all = text(server.exchange(request).await);
            assert!(all.starts_with(&format!("HTTP/1.1 {status} ")), "{lines:?}: {all}");
            assert_eq!(all.matches("HTTP/1.1").count(), 1, "{lines:?}: {all}");
        }
        assert_eq!(server.service.calls.get(), 0);
    });
}

#[test]
fn what_is_not_a_request_is_answered_as_the_service_words_it() {
    run(Limits::default(), async |server| {
        let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(40_000));
        for (request, status) in [
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("\x16\x03\x01\x02\x00\x01\x00\x01\n", 400),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
            (&long, 431),
        ] {
            let all = text(server.exchange(request).await);
            assert!(all.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {all}");
            assert!(all.contains("Connection: close\r\n"));
        }
        let all = text(server.connect_in_vain().await.rest().await);
        assert!(all.starts_with("HTTP/1.1 503 ") && all.ends_with("TooManyConnections"), "{all}");
    });
}

#[test]
fn broken_bodies_end_the_connection() {
    run(Limits::default(), async |server| {
        let malformed = "PUT /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n";
        let all = text(server.exchange(malformed).await);
        assert!(all.contains("Connection: close\r\n") && all.ends_with("Malformed"), "{all}");
        for framing in ["Content-Length: 9", "Transfer-Encoding: chunked"] {
            let mut client = server.connect().await;
            client.send(format!("PUT /echo HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n3\r\nabc")).await;
            client.end_sending().await;
            assert!(text(client.rest().await).ends_with("Incomplete"));
        }
    });
}

#[test]
fn a_slow_head_is_answered_and_an_idle_connection_closed_silently() {
    run(impatient(), async |server| {
        let all = text(server.exchange("GET / HTTP/1.1\r\nHos").await);
        assert!(all.starts_with("HTTP/1.1 400 ") && all.ends_with("TimedOut"), "{all}");
        assert_eq!(server.exchange("").await, b"");
        let mut client = server.connect().await;
        client.send("GET /bytes?1 HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert_eq!(client.answer().await.status, 200);
        assert_eq!(client.rest().await, b"");
    });
}

#[test]
fn a_client_that_trickles_its_body_is_timed_out() {
    run(impatient(), async |server| {
        let mut client = server.connect().await;
        client.send("PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n").await;
        while server.service.body_errors.borrow().is_empty() {
            client.send("x").await;
            monoio::time::sleep(Duration::from_millis(2)).await;
        }
        assert_eq!(*server.service.body_errors.borrow(), [BodyError::TimedOut]);
        assert!(text(client.answer().await.body).ends_with("TimedOut"));
    });
}

#[test]
fn a_client_that_does_not_read_its_response_is_cut() {
    run(impatient(), async |server| {
        let mut client = server.connect().await;
        client.send("GET /stream?100000000 HTTP/1.1\r\nHost: h\r\n\r\n").await;
        server.deserted().await;
        assert!(client.rest().await.len() < 100_000_000);
    });
}

#[test]
fn while_requests_wait_for_buffers_the_slowest_client_is_cut_and_no_other() {
    let pool = Pool::new(0);
    let limits =
        Limits { tick: Duration::from_millis(3), crowded_bytes_per_tick_min: 1_000, ..Limits::default() };
    run_sharing(limits, pool.clone(), async |server| {
        let mut stuck = server.connect().await;
        stuck.send("GET /stream?100000000 HTTP/1.1\r\nHost: h\r\n\r\n").await;
        monoio::time::sleep(limits.tick * 20).await;
        let mut idle = server.connect().await;
        monoio::time::sleep(limits.tick * 20).await;
        assert_eq!(server.connections.active(), 2, "nobody waits for a buffer");
        let held: Vec<_> = std::iter::from_fn(|| pool.try_acquire(BUFFER_BYTES)).collect();
        let (_, ()) = monoio::join!(pool.acquire(BUFFER_BYTES), async {
            while server.connections.active() == 2 {
                monoio::time::sleep(limits.tick).await;
            }
            drop(held);
        });
        assert!(stuck.rest().await.len() < 100_000_000);
        idle.send("GET /bytes?1 HTTP/1.1\r\nHost: h\r\n\r\n").await;
        assert_eq!(idle.answer().await.status, 200);
    });
}

#[test]
fn a_connection_that_rested_is_served_as_before() {
    let limits =
        Limits { tick: Duration::from_millis(3), rest_after: Duration::from_millis(9), ..Limits::default() };
    run(limits, async |server| {
        let mut client = server.connect().await;
        for round in 0..3 {
            monoio::time::sleep(limits.tick * 20).await;
            let body = pattern(round, 40_000 * round + 1);
            client
                .send(format!("PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", body.len()))
                .await;
            client.send(body.clone()).await;
            assert_eq!(client.answer().await.body, body);
        }
    });
}

#[test]
fn time_in_which_the_service_works_is_not_the_clients() {
    run(impatient(), async |server| {
        let mut client = server.connect().await;
        let waiting = server.service.waiting.wait();
        client.send("PUT /wait HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc").await;
        waiting.await;
        monoio::time::sleep(impatient().body_timeout * 3).await;
        server.service.go.raise();
        assert_eq!(client.answer().await.body, b"waited");
    });
}

#[test]
fn a_drain_ends_idle_connections_and_lets_requests_finish() {
    run(Limits::default(), async |server| {
        let mut idle = server.connect().await;
        idle.send("GET /a HTTP/1.1\r\nHost: h\r\n\r\n").await;
        idle.answer().await;
        let mut busy = server.connect().await;
        let waiting = server.service.waiting.wait();
        busy.send("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n").await;
        waiting.await;
        server.connections.begin_drain();
        assert_eq!(idle.rest().await, b"");
        server.service.go.raise();
        let answer = busy.answer().await;
        assert_eq!(answer.body, b"waited");
        assert!(answer.headers.contains("connection: close\r\n"));
        assert_eq!(busy.rest().await, b"");
        drop(busy);
        server.deserted().await;
        assert_eq!(server.connect().await.rest().await, b"", "new connections end at once");
    });
}

#[test]
fn a_drain_cuts_who_is_not_done_in_time() {
    run(Limits::default(), async |server| {
        let mut sending = server.connect().await;
        sending.send("PUT /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc").await;
        let mut busy = server.connect().await;
        let waiting = server.service.waiting.wait();
        busy.send("GET /wait HTTP/1.1\r\nHost: h\r\n\r\n").await;
        waiting.await;
        assert_eq!(server.connections.drain(Duration::from_millis(10)).await, 1);
        assert_eq!(*server.service.body_errors.borrow(), [BodyError::Incomplete]);
        assert_eq!(sending.rest().await, b"");
        server.service.go.raise();
        assert_eq!(busy.rest().await, b"");
    });
}

/// A request with what it should be answered.
#[derive(Clone, Debug)]
struct Exchange {
    request: Vec<u8>,
    body: Vec<u8>,
}

fn exchange() -> impl Strategy<Value = Exchange> {
    let bytes = proptest::collection::vec(any::<u8>(), 1..3000);
    let chunks = proptest::collection::vec(bytes, 0..5);
    (chunks, any::<bool>(), 0usize..5000).prop_map(|(chunks, is_chunked, limit)| {
        let body = chunks.concat();
        let (framing, payload) = if is_chunked {
            ("Transfer-Encoding: chunked".to_owned(), chunked(&chunks))
        } else {
            (format!("Content-Length: {}", body.len()), body.clone())
        };
        let head = format!("POST /echo?{limit} HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n");
        Exchange { request: [head.into_bytes(), payload].concat(), body }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_pipeline_cut_anywhere_is_answered_in_order(
        exchanges in proptest::collection::vec(exchange(), 1..8),
        pieces in proptest::collection::vec(1usize..6000, 1..10),
    ) {
        let test = async |server: Server| {
            let mut client = server.connect().await;
            let mut stream: &[u8] = &exchanges.iter().flat_map(|exchange| exchange.request.clone()).collect::<Vec<_>>();
            let mut sizes = pieces.iter().cycle();
            while let Some(size) = sizes.next().filter(|_| !stream.is_empty()) {
                let (piece, rest) = stream.split_at(stream.len().min(*size));
                client.send(piece).await;
                stream = rest;
            }
            for exchange in &exchanges {
                assert!(client.answer().await.body == exchange.body);
            }
        };
        run(Limits::default(), test);
    }
}
