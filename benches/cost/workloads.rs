//! What is asked of the node: a row for each workload.

use std::rc::Rc;

use crate::requests::{Maker, Request, Signed, content};

/// Connections of everything that is not measured.
pub const STOCK_CONNECTIONS: usize = 32;

/// The bucket of the workloads, unless another one is wanted.
pub const BUCKET: &str = "cost";

/// One row of the table.
pub struct Workload {
    pub name: &'static str,
    /// To a node of one core.
    pub connections: usize,
    pub unit: Unit,
    /// The goal in `unit`, if one is set.
    pub goal: Option<f64>,
    pub phases: fn(&Workload, &Maker, &Sizes, usize) -> Phases,
}

/// What the cost is divided by.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// CPU microseconds a request.
    Request,
    /// CPU milliseconds a gigabyte (10^9 bytes) of payload.
    Gigabyte,
}

/// The requests of one round.
#[derive(Default)]
pub struct Phases {
    pub before: Vec<Vec<Request>>,
    pub measured: Vec<Request>,
    /// Reads back what was written, and removes it.
    pub after: Vec<Vec<Request>>,
}

impl Workload {
    /// The same load for each of so many cores: with as many times the connections, unless it is one that asks for
    /// one thing after the other.
    pub fn of_cores(&self, cores: usize) -> Self {
        let connections = if self.connections == 1 { 1 } else { self.connections * cores };
        Self { connections, ..*self }
    }
}

const fn row(
    name: &'static str,
    connections: usize,
    unit: Unit,
    goal: Option<f64>,
    phases: fn(&Workload, &Maker, &Sizes, usize) -> Phases,
) -> Workload {
    Workload { name, connections, unit, goal, phases }
}

/// All workloads, in the order of the table.
pub const WORKLOADS: &[Workload] = &[
    row("get-4k-presigned-1", 1, Unit::Request, None, get_small_presigned),
    row("get-4k-presigned-32", 32, Unit::Request, Some(20.0), get_small_presigned),
    row("get-4k-signed-32", 32, Unit::Request, Some(20.0), get_small_signed),
    row("head-4k-signed-32", 32, Unit::Request, None, head_small),
    row("put-4k-1", 1, Unit::Request, None, put_small),
    row("put-4k-32", 32, Unit::Request, Some(40.0), put_small),
    row("overwrite-4k-32", 32, Unit::Request, None, overwrite_small),
    row("delete-4k-32", 32, Unit::Request, None, delete_small),
    row("list-1000-of-10000-1", 1, Unit::Request, None, list),
    row("get-8m-8", 8, Unit::Gigabyte, Some(400.0), get_large),
    row("put-8m-8", 8, Unit::Gigabyte, None, put_large),
    row("put-8m-signed-chunks-8", 8, Unit::Gigabyte, None, put_large_signed_chunks),
    row("put-8m-1", 1, Unit::Gigabyte, None, put_large),
    row("put-8m-signed-chunks-1", 1, Unit::Gigabyte, None, put_large_signed_chunks),
    row("put-8m-32", 32, Unit::Gigabyte, Some(450.0), put_large),
    row("put-8m-signed-chunks-32", 32, Unit::Gigabyte, Some(700.0), put_large_signed_chunks),
    row("get-4k-encrypted-32", 32, Unit::Request, None, get_small_encrypted),
    row("put-4k-encrypted-32", 32, Unit::Request, None, put_small_encrypted),
    row("get-8m-encrypted-8", 8, Unit::Gigabyte, None, get_large_encrypted),
    row("put-8m-encrypted-8", 8, Unit::Gigabyte, None, put_large_encrypted),
];

/// How much of everything.
pub struct Sizes {
    small_bytes: usize,
    large_bytes: usize,
    /// Objects that the reading workloads read.
    small_objects: usize,
    large_objects: usize,
    listed_objects: usize,
    page_keys: usize,
    /// Keys that are overwritten again and again.
    overwritten_keys: usize,
    /// Requests of a round, by connection count and kind.
    small_reads: usize,
    small_writes: usize,
    /// The same over one connection, which is slower.
    small_reads_alone: usize,
    small_writes_alone: usize,
    pages: usize,
    large_reads: usize,
    large_writes: usize,
}

impl Sizes {
    /// Large enough that a tick of the kernel's CPU accounting (10 ms) is no more than a few percent.
    pub fn full(scale: f64) -> Self {
        // A few at least, so that each connection has some.
        let scaled = |count: usize| ((count as f64 * scale) as usize).max(8);
        Self {
            small_bytes: 4096,
            large_bytes: 8 << 20,
            small_objects: 1000,
            large_objects: 16,
            listed_objects: 10_000,
            page_keys: 1000,
            overwritten_keys: 1000,
            small_reads: scaled(40_000),
            small_writes: scaled(20_000),
            small_reads_alone: scaled(20_000),
            small_writes_alone: scaled(4000),
            pages: scaled(500),
            large_reads: scaled(128),
            large_writes: scaled(32),
        }
    }

    pub fn quick() -> Self {
        Self {
            small_bytes: 4096,
            large_bytes: 300_000,
            small_objects: 8,
            large_objects: 2,
            listed_objects: 60,
            page_keys: 20,
            overwritten_keys: 8,
            small_reads: 40,
            small_writes: 40,
            small_reads_alone: 10,
            small_writes_alone: 10,
            pages: 4,
            large_reads: 8,
            large_writes: 8,
        }
    }
}

/// What the reading workloads read: buckets first, then their objects.
pub fn stock(maker: &Maker, sizes: &Sizes, chosen: &[&Workload]) -> Vec<Vec<Request>> {
    let (bucket, bucket_listed) = (maker.bucket(), bucket_listed(maker));
    let buckets = vec![maker.create_bucket(bucket), maker.create_bucket(&bucket_listed)];
    let small =
        (0..sizes.small_objects).map(|number| maker.put(&small_key(maker, number), &small(sizes, number)));
    let large =
        (0..sizes.large_objects).map(|number| maker.put(&large_key(maker, number), &large(sizes, number)));
    let mut phases = vec![buckets, small.collect(), large.collect()];
    if chosen.iter().any(|workload| workload.name.starts_with("list-")) {
        let nothing: Rc<[u8]> = Rc::from(&[][..]);
        let put = |number| maker.put(&format!("/{bucket_listed}/{}", listed_key(number)), &nothing);
        phases.push((0..sizes.listed_objects).map(put).collect());
    }
    phases
}

fn bucket_listed(maker: &Maker) -> String {
    format!("{}-listed", maker.bucket())
}

fn small_key(maker: &Maker, number: usize) -> String {
    format!("/{}/small/{number}", maker.bucket())
}

fn large_key(maker: &Maker, number: usize) -> String {
    format!("/{}/large/{number}", maker.bucket())
}

fn listed_key(number: usize) -> String {
    format!("photos/2026/{number:06}.jpg")
}

fn small(sizes: &Sizes, number: usize) -> Rc<[u8]> {
    content(number as u64, sizes.small_bytes)
}

/// Two contents in turns: each takes megabytes of the load's own memory.
fn large(sizes: &Sizes, number: usize) -> Rc<[u8]> {
    content(u64::MAX - (number % 2) as u64, sizes.large_bytes)
}

fn small_reads(workload: &Workload, sizes: &Sizes) -> usize {
    if workload.connections == 1 { sizes.small_reads_alone } else { sizes.small_reads }
}

fn small_writes(workload: &Workload, sizes: &Sizes) -> usize {
    if workload.connections == 1 { sizes.small_writes_alone } else { sizes.small_writes }
}

/// With many connections more than one write on each, so that most of the time all are busy.
fn large_writes(workload: &Workload, sizes: &Sizes) -> usize {
    sizes.large_writes.max(2 * workload.connections)
}

/// Reads the small objects in turns. The first pass fills the node's cache and is not measured.
fn reads_small(
    workload: &Workload,
    maker: &Maker,
    sizes: &Sizes,
    request: impl Fn(&str, &Rc<[u8]>) -> Request,
) -> Phases {
    let contents: Vec<_> = (0..sizes.small_objects).map(|number| small(sizes, number)).collect();
    let read = |number: usize| request(&small_key(maker, number), &contents[number]);
    Phases {
        before: vec![(0..sizes.small_objects).map(read).collect()],
        measured: (0..small_reads(workload, sizes)).map(|turn| read(turn % sizes.small_objects)).collect(),
        after: Vec::new(),
    }
}

fn get_small_presigned(workload: &Workload, maker: &Maker, sizes: &Sizes, _round: usize) -> Phases {
    reads_small(workload, maker, sizes, |key, body| maker.get(key, body, Signed::Query))
}

fn get_small_signed(workload: &Workload, maker: &Maker, sizes: &Sizes, _round: usize) -> Phases {
    reads_small(workload, maker, sizes, |key, body| maker.get(key, body, Signed::Header))
}

fn head_small(workload: &Workload, maker: &Maker, sizes: &Sizes, _round: usize) -> Phases {
    reads_small(workload, maker, sizes, |key, body| maker.head(key, body, Signed::Header))
}

/// Puts objects under keys of their own.
fn put_small(workload: &Workload, maker: &Maker, sizes: &Sizes, round: usize) -> Phases {
    let objects = written(workload, maker, sizes, round, small_writes(workload, sizes), small);
    put_and_remove(maker, &objects, Maker::put)
}

/// Puts objects under few keys, again and again: what was there becomes garbage.
fn overwrite_small(workload: &Workload, maker: &Maker, sizes: &Sizes, round: usize) -> Phases {
    let objects = written(workload, maker, sizes, round, sizes.overwritten_keys, small);
    let put = |turn: usize| {
        let (key, body) = &objects[turn % objects.len()];
        maker.put(key, body)
    };
    Phases {
        measured: (0..small_writes(workload, sizes)).map(put).collect(),
        ..put_and_remove(maker, &objects, Maker::put)
    }
}

fn delete_small(workload: &Workload, maker: &Maker, sizes: &Sizes, round: usize) -> Phases {
    let objects = written(workload, maker, sizes, round, small_writes(workload, sizes), small);
    Phases {
        before: vec![objects.iter().map(|(key, body)| maker.put(key, body)).collect()],
        measured: objects.iter().map(|(key, _)| maker.delete(key)).collect(),
        after: Vec::new(),
    }
}

/// Lists pages that begin at different keys.
fn list(_workload: &Workload, maker: &Maker, sizes: &Sizes, _round: usize) -> Phases {
    let starts = sizes.listed_objects - sizes.page_keys;
    let bucket = bucket_listed(maker);
    let page = |turn: usize| {
        let after = (turn * 997) % starts;
        let keys = (after + 1..=after + sizes.page_keys).map(listed_key).collect();
        maker.list(&bucket, &listed_key(after), keys)
    };
    Phases { measured: (0..sizes.pages).map(page).collect(), ..Phases::default() }
}

/// Reads objects that are too large to be cached.
fn get_large(_workload: &Workload, maker: &Maker, sizes: &Sizes, _round: usize) -> Phases {
    let contents = [large(sizes, 0), large(sizes, 1)];
    let read = |turn: usize| {
        let number = turn % sizes.large_objects;
        maker.get(&large_key(maker, number), &contents[number % 2], Signed::Query)
    };
    Phases { measured: (0..sizes.large_reads).map(read).collect(), ..Phases::default() }
}

fn put_large(workload: &Workload, maker: &Maker, sizes: &Sizes, round: usize) -> Phases {
    let contents = [large(sizes, 0), large(sizes, 1)];
    let content = |_: &Sizes, number: usize| contents[number % 2].clone();
    put_and_remove(
        maker,
        &written(workload, maker, sizes, round, large_writes(workload, sizes), content),
        Maker::put,
    )
}

fn put_large_signed_chunks(workload: &Workload, maker: &Maker, sizes: &Sizes, round: usize) -> Phases {
    let contents = [large(sizes, 0), large(sizes, 1)];
    let content = |_: &Sizes, number: usize| contents[number % 2].clone();
    let objects = written(workload, maker, sizes, round, large_writes(workload, sizes), content);
    put_and_remove(maker, &objects, Maker::put_signed_chunks)
}

/// As [`get_small_presigned`] and [`get_large`], of objects that are encrypted.
fn get_small_encrypted(workload: &Workload, maker: &Maker, sizes: &Sizes, round: usize) -> Phases {
    let objects = written(workload, maker, sizes, round, sizes.small_objects, small);
    read_and_remove(maker, &objects, small_reads(workload, sizes))
}

fn get_large_encrypted(workload: &Workload, maker: &Maker, sizes: &Sizes, round: usize) -> Phases {
    let contents = [large(sizes, 0), large(sizes, 1)];
    let content = |_: &Sizes, number: usize| contents[number % 2].clone();
    let objects = written(workload, maker, sizes, round, sizes.large_objects, content);
    read_and_remove(maker, &objects, sizes.large_reads)
}

/// Puts objects encrypted, measures reading them in turns, and removes them.
fn read_and_remove(maker: &Maker, objects: &[(String, Rc<[u8]>)], reads: usize) -> Phases {
    let read = |turn: usize| {
        let (key, body) = &objects[turn % objects.len()];
        maker.get(key, body, Signed::Query)
    };
    let put = objects.iter().map(|(key, body)| maker.put_encrypted(key, body)).collect();
    Phases {
        before: vec![put, (0..objects.len()).map(read).collect()],
        measured: (0..reads).map(read).collect(),
        after: vec![objects.iter().map(|(key, _)| maker.delete(key)).collect()],
    }
}

fn put_small_encrypted(workload: &Workload, maker: &Maker, sizes: &Sizes, round: usize) -> Phases {
    let objects = written(workload, maker, sizes, round, small_writes(workload, sizes), small);
    put_and_remove(maker, &objects, Maker::put_encrypted)
}

fn put_large_encrypted(workload: &Workload, maker: &Maker, sizes: &Sizes, round: usize) -> Phases {
    let contents = [large(sizes, 0), large(sizes, 1)];
    let content = |_: &Sizes, number: usize| contents[number % 2].clone();
    let objects = written(workload, maker, sizes, round, sizes.large_writes, content);
    put_and_remove(maker, &objects, Maker::put_encrypted)
}

/// Keys and contents that a workload writes in a round.
fn written(
    workload: &Workload,
    maker: &Maker,
    sizes: &Sizes,
    round: usize,
    count: usize,
    content: impl Fn(&Sizes, usize) -> Rc<[u8]>,
) -> Vec<(String, Rc<[u8]>)> {
    let key = |number: usize| format!("/{}/{}/{round}/{number}", maker.bucket(), workload.name);
    (0..count).map(|number| (key(number), content(sizes, number))).collect()
}

/// Measures the putting of objects; reads and removes them afterwards.
fn put_and_remove(
    maker: &Maker,
    objects: &[(String, Rc<[u8]>)],
    put: fn(&Maker, &str, &Rc<[u8]>) -> Request,
) -> Phases {
    let each = |request: &dyn Fn(&str, &Rc<[u8]>) -> Request| {
        objects.iter().map(|(key, body)| request(key, body)).collect()
    };
    Phases {
        before: Vec::new(),
        measured: each(&|key, body| put(maker, key, body)),
        after: vec![
            each(&|key, body| maker.get(key, body, Signed::Query)),
            each(&|key, _| maker.delete(key)),
        ],
    }
}
