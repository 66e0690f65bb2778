//! What stands between a connection and the protocol: requests are counted.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use super::placement::{Loads, Request};
use crate::http::{Head, Response, ResponseBody, Source, SourceError};
use crate::io::{Chunk, TimestampMs};
use crate::net::{Body, Refusal, Service};

/// Counts requests until the last byte of the answer was produced, so that connections are placed by them.
pub struct Counted<S> {
    pub service: S,
    pub loads: Arc<Loads>,
    pub core: usize,
}

impl<S: Service> Service for Counted<S> {
    async fn call(&self, head: Head, body: &mut Body, peer: SocketAddr) -> Response {
        let request = self.loads.request(self.core);
        let mut response = self.service.call(head, body, peer).await;
        response.body = match response.body {
            ResponseBody::Stream { bytes, source } => {
                ResponseBody::Stream { bytes, source: Box::new(CountedSource { source, _request: request }) }
            }
            whole => whole,
        };
        response
    }

    fn refuse(&self, refusal: Refusal) -> Response {
        self.service.refuse(refusal)
    }

    fn now(&self) -> TimestampMs {
        self.service.now()
    }
}

struct CountedSource {
    source: Box<dyn Source>,
    _request: Request,
}

impl Source for CountedSource {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = Option<Result<Chunk, SourceError>>> + '_>> {
        self.source.next()
    }
}
