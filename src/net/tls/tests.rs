//! The protocol without a socket, against a client whose bytes change on the way.

use std::io::{Read, Write};
use std::sync::OnceLock;

use proptest::prelude::*;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use super::*;

struct Keys {
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        Keys { certificate: made.cert.der().clone(), key }
    })
}

fn server() -> Protocol {
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let keys = keys();
    let config = builder.with_single_cert(vec![keys.certificate.clone()], keys.key.clone_key()).unwrap();
    Session::new(Arc::new(config)).unwrap().protocol
}

fn client(is_new: bool) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    roots.add(keys().certificate.clone()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_protocol_versions(&[if is_new { &TLS13 } else { &TLS12 }]).unwrap();
    let config = builder.with_root_certificates(roots).with_no_client_auth();
    ClientConnection::new(Arc::new(config), "localhost".try_into().unwrap()).unwrap()
}

impl Protocol {
    fn take_in(&mut self, bytes: &[u8]) {
        let buffer = [self.received.unopened(), bytes].concat().into_boxed_slice();
        self.received = Received { start: 0, end: buffer.len(), buffer };
    }

    /// Goes on until more is needed; what was opened, and whether it failed.
    fn go_on(&mut self) -> (Vec<u8>, bool) {
        let mut opened = Vec::new();
        loop {
            match self.step(Seal::Nothing, &mut |payload| opened.extend_from_slice(payload)) {
                Ok(Step::Again | Step::Send | Step::Sealed(_)) => {}
                Ok(Step::Blocked) => return (opened, false),
                Err(_) => return (opened, true),
            }
        }
    }
}

/// What the server opened of a client's `payload`, and whether it failed, if `change` may touch each flight of
/// the client's bytes, which come `piece` by `piece`.
fn exchange(
    is_new: bool,
    payload: &[u8],
    piece: usize,
    mut change: impl FnMut(usize, &mut Vec<u8>),
) -> (Vec<u8>, bool) {
    let (mut server, mut client) = (server(), client(is_new));
    let (mut opened, mut has_sent) = (Vec::new(), false);
    for flight in 0..8 {
        if !client.is_handshaking() && !std::mem::replace(&mut has_sent, true) {
            client.writer().write_all(payload).unwrap();
            client.send_close_notify();
        }
        let mut bytes = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut bytes).unwrap();
        }
        change(flight, &mut bytes);
        for part in bytes.chunks(piece) {
            server.take_in(part);
            let (more, has_failed) = server.go_on();
            opened.extend(more);
            if has_failed {
                server.queue_alerts();
                // Whoever asks again hears the same.
                assert!(server.step(Seal::End(&mut [0; 64]), &mut |_| {}).is_err());
                return (opened, true);
            }
        }
        let answer = std::mem::take(&mut server.outgoing);
        let mut answer = answer.as_slice();
        while !answer.is_empty() {
            // A client that gives up has no say here.
            if client.read_tls(&mut answer).is_err() || client.process_new_packets().is_err() {
                return (opened, false);
            }
        }
    }
    (opened, false)
}

#[test]
fn what_a_client_seals_is_opened_whatever_the_pieces_it_comes_in() {
    let payload: Vec<u8> = (0..40_000).map(|place: u32| place as u8).collect();
    for is_new in [false, true] {
        for piece in [1, 7, 1000, usize::MAX] {
            let (opened, has_failed) = exchange(is_new, &payload, piece, |_, _| {});
            assert!(opened == payload && !has_failed, "{is_new}, {piece}");
        }
    }
}

#[test]
fn what_the_server_seals_is_opened_by_the_client() {
    let (mut server, mut client) = (server(), client(true));
    while client.is_handshaking() || client.wants_write() {
        let mut bytes = Vec::new();
        client.write_tls(&mut bytes).unwrap();
        server.take_in(&bytes);
        assert_eq!(server.go_on(), (Vec::new(), false));
        let answer = std::mem::take(&mut server.outgoing);
        let mut answer = answer.as_slice();
        while client.read_tls(&mut answer).unwrap() > 0 {
            client.process_new_packets().unwrap();
        }
    }
    let payload: Vec<u8> = (0..TLS_SEALED_BYTES).map(|place| place as u8).collect();
    let mut records = vec![0; TLS_RECORDS_BYTES];
    let Ok(Step::Sealed(bytes)) = server.step(Seal::Payload(&payload, &mut records), &mut |_| {}) else {
        panic!("the handshake is complete");
    };
    let (mut records, mut opened) = (&records[..bytes], Vec::new());
    while client.read_tls(&mut records).unwrap() > 0 {
        client.process_new_packets().unwrap();
        let _ = client.reader().read_to_end(&mut opened);
    }
    assert!(opened == payload, "a buffer for records holds what is sealed at once");
}

proptest! {
    #[test]
    fn changed_bytes_are_never_taken_for_others_and_break_nothing(
        is_new: bool,
        flight in 0..3_usize,
        place: prop::sample::Index,
        mask in 0..=255_u8,
        cut in prop::option::of(any::<prop::sample::Index>()),
        extra in prop::collection::vec(any::<u8>(), 0..40),
        piece in prop::sample::select(vec![1_usize, 13, 500, usize::MAX]),
    ) {
        let payload = [b'p'; 3000];
        let (opened, _) = exchange(is_new, &payload, piece, |at, bytes| {
            if at != flight || bytes.is_empty() {
                return;
            }
            let place = place.index(bytes.len());
            bytes[place] ^= mask;
            if let Some(cut) = cut {
                bytes.truncate(cut.index(bytes.len()));
            }
            let place = place.min(bytes.len());
            bytes.splice(place..place, extra.iter().copied());
        });
        prop_assert!(payload.starts_with(&opened));
    }
}
