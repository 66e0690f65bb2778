//! What does it cost to make sure who sent a request?
//!
//! The derived key is cached, as it is for all requests of a key and a day but the first; `v4_first` is that one.

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use ringcask::auth::sign::{Credentials, presign_v4, sign_v2, sign_v4};
use ringcask::auth::{Context, Keys, SigningKeys, authenticate};
use ringcask::http::Head;

const NOW_MS: u64 = 1_769_860_800_000;

const CREDENTIALS: Credentials<'static> =
    Credentials { id: "AKIAIOSFODNN7EXAMPLE", secret: "wJalrXUtnFEMI/K7MDENG", region: "us-east-1" };

struct OneKey;

impl Keys for OneKey {
    fn secret(&self, access_key_id: &str) -> Option<String> {
        (access_key_id == CREDENTIALS.id).then(|| CREDENTIALS.secret.to_owned())
    }
}

#[divan::bench]
fn v4_header(bencher: Bencher) {
    let mut head = head();
    sign_v4(&mut head, CREDENTIALS, NOW_MS, "UNSIGNED-PAYLOAD");
    verify(bencher, &head, false);
}

#[divan::bench]
fn v4_first(bencher: Bencher) {
    let mut head = head();
    sign_v4(&mut head, CREDENTIALS, NOW_MS, "UNSIGNED-PAYLOAD");
    verify(bencher, &head, true);
}

#[divan::bench]
fn v4_presigned(bencher: Bencher) {
    let mut head = head();
    presign_v4(&mut head, CREDENTIALS, NOW_MS, 3600);
    verify(bencher, &head, false);
}

#[divan::bench]
fn v2_header(bencher: Bencher) {
    let mut head = head();
    sign_v2(&mut head, CREDENTIALS, NOW_MS, None);
    verify(bencher, &head, false);
}

/// The client's side, which the load generator and the webhooks' receivers pay.
#[divan::bench]
fn v4_signing(bencher: Bencher) {
    let head = head();
    bencher.counter(ItemsCount::new(1usize)).with_inputs(|| head.clone()).bench_local_refs(|head| {
        sign_v4(black_box(head), CREDENTIALS, NOW_MS, "UNSIGNED-PAYLOAD");
    });
}

fn head() -> Head {
    let header = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
    Head {
        method: "GET".to_owned(),
        path: "/bucket/photos/2026/000001.jpg".to_owned(),
        query: None,
        headers: vec![header("host", "127.0.0.1:9000"), header("x-amz-checksum-mode", "ENABLED")],
        version_minor: 1,
    }
}

fn verify(bencher: Bencher, head: &Head, is_first: bool) {
    let mut signing_keys = SigningKeys::new();
    let bencher = bencher.counter(ItemsCount::new(1usize));
    bencher.bench_local(|| {
        if is_first {
            signing_keys = SigningKeys::new();
        }
        let context = Context {
            region: CREDENTIALS.region,
            now: NOW_MS,
            keys: &OneKey,
            signing_keys: &signing_keys,
            virtual_bucket: None,
        };
        authenticate(black_box(head), &context).expect("the signature is right")
    });
}
