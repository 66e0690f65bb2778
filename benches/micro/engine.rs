//! What do the index and the log cost?
//!
//! `index` asks a core's index itself. `put` asks the engine on the simulated machine, whose drive is memory and takes
//! no time: checks, record, batch and index of objects that share a batch of the log; the simulation's own work is in
//! it.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::pin::Pin;
use std::rc::Rc;

use bytes::Bytes;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use ringcask::base::etag::ETag;
use ringcask::base::local::oneshot;
use ringcask::engine::format::Location;
use ringcask::engine::measured::{BucketIndex, ChecksumCode, Entry, EntryFlags, EntryPayload};
use ringcask::engine::{
    Attributes, BucketId, Condition, Engine, Mesh, Message, Options, Reply, Versioning, prepare,
};
use ringcask::io::Host;
use ringcask::io::sim::{SimHost, Simulation};

/// Objects that the index holds.
const OBJECTS: [usize; 2] = [1000, 1_000_000];

/// Objects of a page.
const PAGE: usize = 1000;

/// Divides no power of ten: steps of it reach every object, in no order.
const STRIDE: usize = 7_919;

#[divan::bench(args = OBJECTS)]
fn index_lookup(bencher: Bencher, objects: usize) {
    let index = index(objects);
    let mut number = 0;
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| {
        number = (number + STRIDE) % objects;
        black_box(index.newest(key(number).as_bytes())).expect("the key is there")
    });
}

/// A new object under a key that is there: what is current is replaced.
#[divan::bench(args = OBJECTS)]
fn index_replace(bencher: Bencher, objects: usize) {
    let mut index = index(objects);
    let (mut number, mut sequence) = (0, objects as u64);
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| {
        number = (number + STRIDE) % objects;
        sequence += 1;
        index.place(key(number).as_bytes(), entry(sequence))
    });
}

/// A new key and its removal, so that the index stays as large as it is.
#[divan::bench(args = OBJECTS)]
fn index_insert_and_remove(bencher: Bencher, objects: usize) {
    let mut index = index(objects);
    let mut number = 0;
    bencher.counter(ItemsCount::new(1usize)).bench_local(|| {
        number = (number + STRIDE) % objects;
        let key = format!("{}.new", key(number));
        let new = entry(objects as u64 + 1);
        let version = new.version();
        index.place(key.as_bytes(), new);
        index.remove(key.as_bytes(), version).expect("it was there")
    });
}

/// A walk over 1,000 objects from any key on.
#[divan::bench(args = OBJECTS)]
fn index_range(bencher: Bencher, objects: usize) {
    let index = index(objects);
    let mut number = 0;
    bencher.counter(ItemsCount::new(PAGE)).bench_local(|| {
        number = (number + STRIDE) % (objects - PAGE + 1);
        let from = key(number);
        let mut walk = index.walk_objects(Bound::Included(from.as_bytes()));
        let mut bytes = 0;
        for _ in 0..PAGE {
            let (key, entry) = walk.next().expect("there are as many");
            bytes += key.len() as u64 + entry.bytes;
        }
        bytes
    });
}

fn index(objects: usize) -> BucketIndex {
    let mut index = BucketIndex::default();
    for step in 0..objects {
        index.place(key(step * STRIDE % objects).as_bytes(), entry(step as u64));
    }
    index
}

fn entry(sequence: u64) -> Entry {
    Entry {
        bytes: 4096,
        sequence,
        etag: ETag::of_md5([sequence as u8; 16]),
        checksum: ChecksumCode::default(),
        flags: EntryFlags::new(true, false, false),
        location: Location { segment: 1, offset: (sequence as u32) << 3, length: 4300 },
        payload: EntryPayload::Inline,
    }
}

fn key(number: usize) -> String {
    format!("photos/2026/{number:08}.jpg")
}

/// Objects put at a time, payload in the record; they become durable with one write.
#[divan::bench(args = [1, 32], sample_count = 20, sample_size = 20)]
fn put_16_bytes(bencher: Bencher, together: usize) {
    put(bencher, together, 16);
}

#[divan::bench(args = [1, 32], sample_count = 20, sample_size = 20)]
fn put_4_kib(bencher: Bencher, together: usize) {
    put(bencher, together, 4096);
}

fn put(bencher: Bencher, together: usize, bytes: usize) {
    let simulation = Simulation::new(1);
    let (core, bucket) = simulation.block_on(start(simulation.host(1)));
    let payload = Bytes::from(vec![7; bytes]);
    let mut number = 0;
    bencher.counter(ItemsCount::new(together)).bench_local(|| {
        let mut answers = Vec::with_capacity(together);
        for _ in 0..together {
            // Few keys: the log grows, and the index does not.
            number = (number + 1) % PAGE;
            let (done, answer) = oneshot();
            let (core, payload, key) = (core.clone(), payload.clone(), key(number));
            core.host().clone().spawn(async move { done.send(put_one(&core, bucket, &key, payload).await) });
            answers.push(answer);
        }
        simulation.block_on(async {
            for answer in answers {
                assert_eq!(answer.await, Some(true), "an object was not stored");
            }
        });
    });
}

async fn put_one(core: &Engine<SimHost>, bucket: BucketId, key: &str, payload: Bytes) -> bool {
    let attributes = Attributes {
        etag: ETag::of_md5([7; 16]),
        checksum: None,
        headers: vec![("content-type".to_owned(), b"image/jpeg".to_vec())],
        lock: Default::default(),
    };
    let payload = core.inline_payload(payload);
    core.put(bucket, key.as_bytes(), payload, attributes, Condition::default()).await.is_ok()
}

/// The engine of a lone core on a drive of its own, with a bucket.
async fn start(host: SimHost) -> (Engine<SimHost>, BucketId) {
    let shared = prepare(&host, 1, false).await.expect("the drive is empty");
    let options = Options { scrub_bytes_per_second: 0, ..Options::default() };
    let core = Engine::new(host, Rc::new(Alone), shared, options);
    core.recover().await.expect("there is nothing to recover");
    let bucket = core.create_bucket("bucket", Versioning::Unversioned, BTreeMap::new()).await;
    let id = bucket.expect("no bucket has this name").id;
    (core, id)
}

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
