//! Many objects in little time: the engine on the real ring in this process, without connections, signatures
//! and HTTP. What it writes is what a node would have written; a node is then started on it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;
use ringcask::base::etag::ETag;
use ringcask::base::local::oneshot;
use ringcask::engine::{
    Attributes, BucketId, Condition, Deletion, Engine, Mesh, Message, Options, Reply, VersionId, Versioning,
    prepare,
};
use ringcask::io::Host;
use ringcask::ring::{RingHost, runtime};

use crate::node::pin;

/// Changes under way at a time: as many share a batch of the log.
const TOGETHER: usize = 512;

/// Length of each object: small, so that the log is little but what stands about objects.
const OBJECT_BYTES: usize = 16;

/// The engine of a lone core.
pub type Core = Engine<RingHost>;

struct Alone;

impl Mesh for Alone {
    fn cores(&self) -> usize {
        1
    }

    fn me(&self) -> usize {
        0
    }

    fn call(&self, _to: usize, _message: Message) -> Pin<Box<dyn Future<Output = Reply>>> {
        Box::pin(async { Reply::stopping() })
    }
}

/// Runs `work` with the engine of a node of one core on `cpu`; all of it ends before this returns.
pub fn with_core<T: Send + 'static>(
    data: &Path,
    cpu: usize,
    work: impl AsyncFnOnce(&Core) -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let config = runtime::Config {
        arena_bytes: 8 << 20,
        directories: vec![data.to_owned()],
        cpu: Some(cpu),
        ..runtime::Config::default()
    };
    let run = move || {
        pin(&[cpu])?;
        let done = runtime::run(config, async move |host: RingHost| {
            let shared = prepare(&host, 1, false).await.map_err(|error| error.to_string())?;
            let options = Options { cache_bytes: 1 << 20, scrub_bytes_per_second: 0, ..Options::default() };
            let core = Core::new(host, Rc::new(Alone), shared, options);
            core.recover().await.map_err(|error| error.to_string())?;
            work(&core).await
        });
        done.map_err(|error| error.to_string())?
    };
    let thread = std::thread::spawn(run);
    thread.join().map_err(|_| "filling failed by a defect".to_owned())?
}

/// Makes a bucket.
pub async fn make_bucket(core: &Core, name: &str, versioning: Versioning) -> Result<BucketId, String> {
    let made = core.create_bucket(name, versioning, BTreeMap::new()).await;
    made.map(|bucket| bucket.id).map_err(|error| error.to_string())
}

/// Does `change` for each number below `count`, many at a time.
async fn each<F>(core: &Core, count: usize, change: impl Fn(Core, usize) -> F + 'static) -> Result<(), String>
where
    F: Future<Output = Result<(), String>> + 'static,
{
    let (next, change) = (Rc::new(Cell::new(0)), Rc::new(change));
    let mut workers = Vec::new();
    for _ in 0..TOGETHER.min(count) {
        let (done, outcome) = oneshot();
        let (core, next, change) = (core.clone(), next.clone(), change.clone());
        core.host().clone().spawn(async move {
            let mut outcome = Ok(());
            while next.get() < count && outcome.is_ok() {
                let number = next.replace(next.get() + 1);
                outcome = change(core.clone(), number).await;
            }
            done.send(outcome);
        });
        workers.push(outcome);
    }
    for worker in workers {
        worker.await.unwrap_or_else(|| Err("a worker was dropped".to_owned()))?;
    }
    Ok(())
}

/// Stores an object under each of the keys of the numbers below `count`; returns nothing but that all are
/// durable. The order of the keys is that of the numbers as `order` permutes them.
pub async fn put_each(
    core: &Core,
    bucket: BucketId,
    count: usize,
    key: impl Fn(usize) -> String + 'static,
) -> Result<(), String> {
    each(core, count, move |core, number| {
        let key = key(number);
        async move { put(&core, bucket, key.as_bytes()).await.map(drop) }
    })
    .await
}

/// Stores one object; returns its version.
pub async fn put(core: &Core, bucket: BucketId, key: &[u8]) -> Result<Option<VersionId>, String> {
    let mut digest = [0; 16];
    for (byte, number) in digest.iter_mut().zip(key.iter().rev()) {
        *byte = *number;
    }
    let attributes = Attributes {
        etag: ETag::of_md5(digest),
        checksum: None,
        headers: vec![("content-type".to_owned(), b"image/jpeg".to_vec())],
        lock: Default::default(),
    };
    let payload = core.inline_payload(Bytes::from_static(&[7; OBJECT_BYTES]));
    let put = core.put(bucket, key, payload, attributes, Condition::default()).await;
    put.map(|committed| committed.version).map_err(|error| error.to_string())
}

/// Hides each of the objects behind a delete marker.
pub async fn hide_each(
    core: &Core,
    bucket: BucketId,
    count: usize,
    key: impl Fn(usize) -> Option<String> + 'static,
) -> Result<(), String> {
    each(core, count, move |core, number| {
        let key = key(number);
        async move {
            let Some(key) = key else { return Ok(()) };
            let deleted = core.delete(bucket, key.as_bytes(), Deletion::default()).await;
            deleted.map(drop).map_err(|error| error.to_string())
        }
    })
    .await
}
