//! The engine on the simulated machine: several cores, real engine code, crashes by seed.

mod append;
mod checks;
mod cleaning;
mod drives;
mod faults;
mod histories;
mod operations;
mod owed;
mod quota;
mod replaced;
mod rot;
mod rot_stories;

mod settings;
mod versions;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};

use bytes::Bytes;

use super::format::FileName;
use super::*;
use crate::base::etag::ETag;
use crate::base::limits::{BUFFER_BYTES, INLINE_BYTES_MAX};
use crate::io::OpenMode;
use crate::io::sim::{SimHost, Simulation};

type SimEngine = Engine<SimHost>;

/// All cores of a node in one simulation.
struct Node {
    engines: Vec<SimEngine>,
}

/// Weak, so that the engines of a node do not keep each other alive: a long run forgets each history.
struct SimMesh {
    me: usize,
    engines: Rc<RefCell<Vec<Weak<Inner<SimHost>>>>>,
}

impl Mesh for SimMesh {
    fn cores(&self) -> usize {
        self.engines.borrow().len()
    }

    fn me(&self) -> usize {
        self.me
    }

    fn call(&self, to: usize, message: Message) -> Pin<Box<dyn Future<Output = Reply>>> {
        assert_ne!(to, self.me);
        let engine = self.engines.borrow()[to].upgrade();
        Box::pin(async move {
            crate::base::local::yield_now().await;
            match engine {
                Some(inner) => {
                    let engine = Engine { inner };
                    match engine.answer_now(&message) {
                        Some(reply) => reply,
                        None => engine.handle(message).await,
                    }
                }
                None => Reply::stopping(),
            }
        })
    }
}

/// Small segments, so that tests roll, seal and clean.
fn small() -> Options {
    Options {
        log_segment_bytes: 4 << 20,
        data_segment_bytes: 8 << 20,
        checkpoint_log_bytes: 2 << 20,
        cache_bytes: 64 << 10,
        ..Options::default()
    }
}

/// Segments so small that a few dozen changes roll, seal and clean.
fn tiny() -> Options {
    Options {
        log_segment_bytes: 256 << 10,
        data_segment_bytes: 1 << 20,
        checkpoint_log_bytes: 192 << 10,
        cache_bytes: 16 << 10,
        ..Options::default()
    }
}

impl Node {
    /// Starts a node on the simulation's drives.
    async fn start(simulation: &Simulation, cores: usize, drives: usize) -> Result<Self, OpenError> {
        Self::start_with(simulation, cores, drives, small()).await
    }

    async fn start_with(
        simulation: &Simulation,
        cores: usize,
        drives: usize,
        options: Options,
    ) -> Result<Self, OpenError> {
        let hosts: Vec<SimHost> = (0..cores).map(|_| simulation.host_with_arena(drives, 8 << 20)).collect();
        let shared = prepare(&hosts[0], cores, options.accept_damage).await?;
        let known = Rc::new(RefCell::new(Vec::new()));
        let mut engines = Vec::new();
        for (me, host) in hosts.into_iter().enumerate() {
            let mesh = Rc::new(SimMesh { me, engines: known.clone() });
            let engine = Engine::new(host, mesh, shared.clone(), options.clone());
            known.borrow_mut().push(Rc::downgrade(&engine.inner));
            engines.push(engine);
        }
        let node = Self { engines };
        let outcomes = Rc::new(RefCell::new(Vec::new()));
        let ended = crate::base::local::Signal::default();
        for engine in &node.engines {
            let (engine, outcomes, ended) = (engine.clone(), outcomes.clone(), ended.clone());
            engine.host().clone().spawn(async move {
                let outcome = engine.recover().await;
                outcomes.borrow_mut().push(outcome);
                ended.raise();
            });
        }
        // A core that fails leaves the others waiting for it.
        while outcomes.borrow().len() < cores {
            let ends = ended.wait();
            if outcomes.borrow().iter().any(Result::is_err) {
                break;
            }
            ends.await;
        }
        outcomes.take().into_iter().collect::<Result<Vec<()>, OpenError>>()?;
        Ok(node)
    }

    /// The core that takes the `number`th request.
    fn core(&self, number: usize) -> &SimEngine {
        &self.engines[number % self.engines.len()]
    }

    async fn shutdown(&self) {
        for engine in &self.engines {
            engine.shutdown().await.unwrap();
        }
    }
}

/// Bytes that tell where they belong.
fn content(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = vec![0; length];
    for word in bytes.chunks_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes()[..word.len()]);
    }
    bytes
}

fn attributes(bytes: &[u8]) -> Attributes {
    let mut digest = [0; 16];
    digest[..4].copy_from_slice(&crc32c::crc32c(bytes).to_le_bytes());
    digest[4..12].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
    Attributes {
        etag: ETag::of_md5(digest),
        checksum: None,
        headers: vec![("x".into(), b"y".to_vec())],
        lock: Lock::default(),
    }
}

async fn payload(engine: &SimEngine, bytes: &[u8]) -> Result<Payload<SimHost>, EngineError> {
    if bytes.len() <= INLINE_BYTES_MAX {
        return Ok(engine.inline_payload(Bytes::copy_from_slice(bytes)));
    }
    let mut writer = engine.payload_writer(Some(bytes.len() as u64)).await?;
    for run in bytes.chunks(BUFFER_BYTES) {
        let mut buffer = writer.buffer().await;
        buffer.append(run);
        writer.write(buffer).await?;
    }
    writer.finish().await
}

async fn put(
    engine: &SimEngine,
    bucket: BucketId,
    key: &[u8],
    bytes: &[u8],
) -> Result<Committed, EngineError> {
    let payload = payload(engine, bytes).await?;
    engine.put(bucket, key, payload, attributes(bytes), Condition::default()).await
}

async fn read(object: &Object<SimHost>, range: std::ops::Range<u64>) -> Result<Vec<u8>, EngineError> {
    let mut reader = object.reader(range);
    let mut bytes = Vec::new();
    while let Some(chunk) = reader.next().await {
        bytes.extend_from_slice(&chunk?);
    }
    Ok(bytes)
}

async fn get(engine: &SimEngine, bucket: BucketId, key: &[u8]) -> Result<Option<Vec<u8>>, EngineError> {
    match engine.get(bucket, key, None).await?.found() {
        Some(object) => read(&object, 0..object.bytes).await.map(Some),
        None => Ok(None),
    }
}

async fn list_all(engine: &SimEngine, bucket: BucketId, page: usize) -> Vec<Vec<u8>> {
    let mut keys = Vec::new();
    let mut after = Vec::new();
    loop {
        let query = ListQuery { after, count_max: page, ..ListQuery::default() };
        let page = engine.list(bucket, query).await.unwrap();
        keys.extend(page.objects.into_iter().map(|object| object.key));
        if !page.truncated {
            return keys;
        }
        after = page.next;
    }
}
