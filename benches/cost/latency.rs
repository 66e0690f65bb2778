//! What large uploads do to the latency of small reads: GETs of cached objects, one after the other on one
//! connection, with and without 32 uploads that never pause.
//!
//! The reads come from a thread that goes before the one that uploads, so that what is measured is the node and not
//! this process's own turns on its CPU; where that is not allowed, the printed lines say so.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::setpriority_process;

use crate::load::Client;
use crate::node::{Machine, Node};
use crate::options::Options;
use crate::report::median;
use crate::requests::{Maker, Request, Signed, content};
use crate::workloads::STOCK_CONNECTIONS;

const UPLOADS: usize = 32;
const OBJECTS: usize = 100;
const BUCKET: &str = "/latency";

/// Between an answer and the next request.
const PAUSE: Duration = Duration::from_micros(200);

/// A stage of the measurement.
struct Stage {
    name: &'static str,
    /// p50, p99 and p99.9 of each round, in microseconds.
    rounds: Vec<[f64; 3]>,
}

/// Measures and prints; returns the digest of the reads that were done.
pub fn measure(machine: &Machine, options: &Options) -> Result<u64, String> {
    let (reads, upload_bytes) =
        if options.quick { (20, 300_000) } else { ((4000.0 * options.scale).max(20.0) as usize, 8 << 20) };
    let node = Node::start(machine, options)?;
    let (client, maker) = (Client::new(node.address()), Maker::new(node.target()));
    let mut work = client.run(1, &[maker.create_bucket(BUCKET.trim_start_matches('/'))])?;
    let contents: Vec<_> = (0..OBJECTS).map(|number| content(number as u64, 4096)).collect();
    let key = |number: usize| format!("{BUCKET}/small/{number}");
    let puts: Vec<Request> = (0..OBJECTS).map(|number| maker.put(&key(number), &contents[number])).collect();
    work = work.wrapping_add(client.run(STOCK_CONNECTIONS, &puts)?);
    let gets: Vec<Request> =
        (0..OBJECTS).map(|number| maker.get(&key(number), &contents[number], Signed::Query)).collect();
    work = work.wrapping_add(client.run(1, &gets)?);
    let mut idle = Stage { name: "alone", rounds: Vec::new() };
    let mut busy = Stage { name: "during 32 uploads", rounds: Vec::new() };
    let mut upload_rates = Vec::new();
    let mut goes_first = true;
    for _ in 0..options.rounds {
        node.settle()?;
        idle.rounds.push(read(&client, &gets, reads, &mut work)?);
        let stop = AtomicBool::new(false);
        let (found, uploaded, elapsed) = thread::scope(|scope| {
            let uploading = scope.spawn(|| upload(&node, upload_bytes, &stop));
            goes_first &= setpriority_process(None, -20).is_ok();
            // Connections are made and the first hashes are begun.
            thread::sleep(Duration::from_millis(500));
            let began = Instant::now();
            let found = read(&client, &gets, reads, &mut work);
            let elapsed = began.elapsed();
            stop.store(true, Ordering::Relaxed);
            let _ = setpriority_process(None, 0);
            let uploaded = uploading.join().unwrap_or_else(|_| Err("uploading panicked".to_owned()));
            (found, uploaded, elapsed + Duration::from_millis(500))
        });
        busy.rounds.push(found?);
        upload_rates.push(uploaded? as f64 / 1e6 / elapsed.as_secs_f64());
    }
    node.stop()?;
    upload_rates.sort_by(f64::total_cmp);
    if options.quick {
        println!("latency: every answer was right");
        return Ok(work);
    }
    println!("{:<24} {:>8} {:>8} {:>8}", "GET 4 KiB, µs", "p50", "p99", "p99.9");
    for stage in [&idle, &busy] {
        let [p50, p99, p999] = [0, 1, 2].map(|place| stage.median(place));
        println!("{:<24} {p50:>8.0} {p99:>8.0} {p999:>8.0}", stage.name);
    }
    println!("p99 during uploads: {:.1} times (goal: 5)", busy.median(1) / idle.median(1));
    println!("uploads meanwhile: {:.0} MB/s", median(&upload_rates));
    if !goes_first {
        println!("the reads could not go before the uploads on their CPU: its turns are in the figures");
    }
    println!();
    Ok(work)
}

impl Stage {
    fn median(&self, place: usize) -> f64 {
        let mut values: Vec<f64> = self.rounds.iter().map(|round| round[place]).collect();
        values.sort_by(f64::total_cmp);
        median(&values)
    }
}

/// Reads objects in turns and gives p50, p99 and p99.9 of their latencies.
fn read(client: &Client, gets: &[Request], count: usize, work: &mut u64) -> Result<[f64; 3], String> {
    let mut connections = client.connect(1)?;
    let connection = connections.first_mut().ok_or("no connection")?;
    let mut latencies = Vec::with_capacity(count);
    for turn in 0..count {
        let request = &gets[turn % gets.len()];
        let began = Instant::now();
        connection.exchange(request)?;
        latencies.push(began.elapsed().as_secs_f64() * 1e6);
        *work = work.wrapping_add(request.work);
        thread::sleep(PAUSE);
    }
    latencies.sort_by(f64::total_cmp);
    let at = |share: f64| latencies[((count as f64 * share) as usize).min(count - 1)];
    Ok([at(0.5), at(0.99), at(0.999)])
}

/// Uploads until it shall stop; returns how many bytes of objects were stored.
fn upload(node: &Node, bytes: usize, stop: &AtomicBool) -> Result<u64, String> {
    let (client, maker) = (Client::new(node.address()), Maker::new(node.target()));
    let contents = [content(1, bytes), content(2, bytes)];
    // The same keys again and again: the space of what was replaced is used again.
    let puts: Vec<Request> = (0..2 * UPLOADS)
        .map(|number| maker.put(&format!("{BUCKET}/large/{}", number % UPLOADS), &contents[number % 2]))
        .collect();
    client.run_until(UPLOADS, &puts, stop)
}
