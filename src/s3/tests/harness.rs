//! A node of one core on a simulated machine, asked by signed requests without any socket: for tests of
//! operations.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::people::{People, credentials};
use super::{Alone, Bytes, Silent, options};
use crate::auth::sign::{Credentials, sign_v4};
use crate::crypt::{Key, MasterKey};
use crate::engine::{BucketChange, Engine, prepare};
use crate::http::{Head, ResponseBody};
use crate::io::sim::{SimHost, Simulation};
use crate::io::{Host, TimestampMs};
use crate::net::Peer;
use crate::s3::body::Incoming;
use crate::s3::service::{S3Service, Settings};
use crate::s3::xml::{self, Element};

/// The key of the node's only account.
pub const ROOT: Credentials<'_> = Credentials { id: "root", secret: "secret", region: "us-east-1" };

/// Where requests come from.
const PEER: Peer =
    Peer { address: SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 50_000), tls: None };

/// The node.
pub struct Node {
    service: S3Service<SimHost>,
    simulation: Simulation,
}

/// What a request was answered with.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The first header of that lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| value.as_str())
    }

    /// The document of the body. Panics if it is none with that root.
    pub fn document(&self, root: &str) -> Element {
        xml::parse(&self.body, root).unwrap_or_else(|_| panic!("no {root}: {self:?}"))
    }

    /// Status and S3's code of an error.
    pub fn error(&self) -> (u16, String) {
        (self.status, self.document("Error").child_text("Code").unwrap_or_default().to_owned())
    }
}

impl Node {
    /// A new node that holds the bucket `bucket`.
    pub fn with_bucket(bucket: &str) -> Self {
        // Requests of these tests come without TLS.
        Self::with_settings(bucket, Settings { sse_c_over_http: true, ..Settings::default() })
    }

    /// A new node of those settings that holds the bucket `bucket`.
    pub fn with_settings(bucket: &str, settings: Settings) -> Self {
        let node = Self::start(Simulation::new(1), settings);
        assert_eq!(node.send("PUT", &format!("/{bucket}"), &[], b"").status, 200);
        node
    }

    /// Starts on what the drives of `simulation` hold.
    fn start(simulation: Simulation, settings: Settings) -> Self {
        let host = simulation.host(1);
        let engine = simulation.block_on(async {
            let shared = prepare(&host, 1, false).await.expect("drives of this node");
            let engine = Engine::new(host.clone(), Rc::new(Alone), shared, options());
            engine.recover().await.expect("a whole log");
            engine
        });
        let people = People::new(&settings);
        let master = Arc::new(MasterKey::new(Key::new([42; 32])));
        let service = S3Service::new(engine, settings, people).with_master_key(master);
        Self { service, simulation }
    }

    /// Takes the power away and starts again.
    pub fn restart(self) -> Self {
        let Self { service, simulation } = self;
        let settings = service.settings().clone();
        drop(service);
        simulation.crash();
        Self::start(simulation, settings)
    }

    /// Lets time pass.
    pub fn pass(&self, time: Duration) {
        self.simulation.block_on(self.service.engine().host().sleep(time));
    }

    /// Changes a bucket beside the protocol.
    pub fn set_bucket(&self, bucket: &str, change: BucketChange) {
        let changed = self.simulation.block_on(self.service.engine().set_bucket(bucket, change));
        changed.expect("a bucket that can be changed");
    }

    /// Sends a request signed by the root key; `target` is percent-encoded.
    pub fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.send_as(ROOT.id, method, target, headers, body)
    }

    /// Sends a request signed with one of the keys of [`People`].
    pub fn send_as(
        &self,
        id: &str,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut head = head(method, target, headers, body);
        let now = self.service.engine().host().now();
        sign_v4(&mut head, credentials(id), now, "UNSIGNED-PAYLOAD");
        self.send_head(head, body)
    }

    /// As [`Node::send`], for a body in the aws-chunked coding with an unsigned trailer.
    pub fn send_framed(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut head = head(method, target, headers, body);
        let now = self.service.engine().host().now();
        sign_v4(&mut head, ROOT, now, "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
        self.send_head(head, body)
    }

    /// As [`Node::send`], for a PUT whose length its end alone tells.
    pub fn send_chunked(&self, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut head = head("PUT", target, headers, body);
        head.headers.retain(|(name, _)| name != "content-length");
        head.headers.push(("transfer-encoding".to_owned(), b"chunked".to_vec()));
        sign_v4(&mut head, ROOT, self.now(), "UNSIGNED-PAYLOAD");
        self.send_head(head, body)
    }

    pub fn service(&self) -> &S3Service<SimHost> {
        &self.service
    }

    /// Runs what a request cannot ask for.
    pub fn block_on<T>(&self, task: impl Future<Output = T>) -> T {
        self.simulation.block_on(task)
    }

    /// Sends a request that nobody signed.
    pub fn send_anonymous(&self, method: &str, target: &str) -> Answer {
        self.send_unsigned(method, target, &[], b"")
    }

    /// As [`Node::send_anonymous`], with headers and a body: a posted form brings its own signature.
    pub fn send_unsigned(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        self.send_head(head(method, target, headers, body), body)
    }

    /// The node's clock.
    pub fn now(&self) -> TimestampMs {
        self.service.engine().host().now()
    }

    /// Sends a request's head, and nothing of its body.
    pub fn send_only_head(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        let mut head = head(method, target, headers, &[0; 1000]);
        sign_v4(&mut head, ROOT, self.now(), "UNSIGNED-PAYLOAD");
        self.send_with(head, &mut Silent)
    }

    fn send_head(&self, head: Head, body: &[u8]) -> Answer {
        self.send_with(head, &mut Bytes(body))
    }

    fn send_with<I: Incoming>(&self, head: Head, body: &mut I) -> Answer {
        self.simulation.block_on(async {
            let response = self.service.respond(head, body, PEER).await;
            let mut body = Vec::new();
            match response.body {
                ResponseBody::Empty => {}
                ResponseBody::Absent { bytes } => body = vec![0; bytes as usize],
                ResponseBody::Bytes(bytes) => body.extend_from_slice(&bytes),
                ResponseBody::Stream { bytes, mut source } => {
                    while let Some(chunk) = source.next().await {
                        body.extend_from_slice(&chunk.expect("payload that can be read"));
                    }
                    assert_eq!(body.len() as u64, bytes, "the announced length");
                }
            }
            let headers = String::from_utf8(response.headers).expect("headers of text");
            let headers = headers.lines().filter_map(|line| line.split_once(": "));
            let headers =
                headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
            Answer { status: response.status, headers, body }
        })
    }
}

fn head(method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Head {
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), value.as_bytes().to_vec());
    let mut headers: Vec<_> = headers.iter().map(own).collect();
    headers.push(("host".to_owned(), b"localhost:9000".to_vec()));
    if matches!(method, "PUT" | "POST") {
        headers.push(("content-length".to_owned(), body.len().to_string().into_bytes()));
    }
    Head { method: method.to_owned(), path: path.to_owned(), query, headers, version_minor: 1 }
}
