//! What stands between a connection and the protocol: requests are counted, probes answered, nothing else is taken
//! while the node is drained, and clients of a core whose drive failed are sent to another.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;

use super::placement::{Loads, Request};
use crate::control::drain::{Drain, UnderWay};
use crate::control::health::{Health, Probe};
use crate::engine::Engine;
use crate::http::{Head, Response, ResponseBody, Source, SourceError};
use crate::io::{Chunk, Host, TimestampMs};
use crate::net::{Body, Peer, Refusal, Service};
use crate::s3::S3Service;

/// Counts requests until the last byte of the answer was produced, so that connections are placed by them.
pub struct Counted<S, H: Host> {
    pub engine: Engine<H>,
    pub service: S,
    pub health: Rc<Health<H>>,
    /// Those under which buckets are host names: such requests are no probes.
    pub domains: Vec<String>,
    pub loads: Arc<Loads>,
    pub drain: Arc<Drain>,
    pub core: usize,
}

impl<H: Host> Service for Counted<S3Service<H>, H> {
    async fn call(&self, head: Head, body: &mut Body, peer: Peer) -> Response {
        if let Some(probe) = Probe::of_s3(&head, &self.domains) {
            return self.health.answer(probe, &head);
        }
        let Some(under_way) = self.drain.admit(self.core, &head.method) else {
            return self.service.turn_away(&head, peer);
        };
        let request = self.loads.request(self.core);
        let mut response = self.service.call(head, body, peer).await;
        response.body = match response.body {
            ResponseBody::Stream { bytes, source } => {
                let source = CountedSource { source, _request: request, _under_way: under_way };
                ResponseBody::Stream { bytes, source: Box::new(source) }
            }
            whole => whole,
        };
        // The client comes back to a core that has a drive to write to.
        response.close |= self.engine.is_outdone();
        response
    }

    fn refuse(&self, refusal: Refusal, peer: Peer) -> Response {
        self.service.refuse(refusal, peer)
    }

    fn now(&self) -> TimestampMs {
        self.service.now()
    }
}

struct CountedSource {
    source: Box<dyn Source>,
    _request: Request,
    _under_way: UnderWay,
}

impl Source for CountedSource {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Option<Result<Chunk, SourceError>>> + '_>> {
        self.source.next()
    }
}
