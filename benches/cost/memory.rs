//! What memory a node holds when it has nothing to do, and at most, with small objects and with large ones.

use crate::load::Client;
use crate::node::{Machine, Node};
use crate::options::Options;
use crate::requests::{Maker, Request, Signed, content};

/// Requests under way at a time.
const CONNECTIONS: usize = 8;

/// The default of `--arena`.
const ARENA_BYTES: u64 = 64 << 20;

const MIB: usize = 1 << 20;

/// Measures with nodes of their own; returns lines to print and the digest of what was done.
pub fn measure(machine: &Machine, options: &Options) -> Result<(Vec<String>, u64), String> {
    let node = Node::start(machine, options)?;
    node.settle()?;
    let idle = node.memory()?.resident_bytes;
    node.stop()?;
    let mut lines = vec![String::new(), "memory of a node with one core, MiB".to_owned()];
    let beyond = if options.quick {
        String::new()
    } else {
        format!(", {:.1} beyond the arena (goal: at most 64)", mib(idle) - mib(ARENA_BYTES))
    };
    lines.push(format!("  idle: {:.1}{beyond}", mib(idle)));

    // The same bytes in all, cut into small or into large objects.
    let (small, large, total) = if options.quick { (1, 2, 16) } else { (1, 64, 512) };
    let mut work: u64 = 0;
    for object_mib in [small, large] {
        let (peak, done) = peak(machine, options, object_mib * MIB, total / object_mib)?;
        work = work.wrapping_add(done);
        let count = total / object_mib;
        lines.push(format!(
            "  peak, {count} objects of {object_mib} MiB put and got, {CONNECTIONS} at a time: {:.1}",
            mib(peak)
        ));
    }
    lines.push(String::new());
    Ok((lines, work))
}

fn peak(machine: &Machine, options: &Options, bytes: usize, count: usize) -> Result<(u64, u64), String> {
    let node = Node::start(machine, options)?;
    let (maker, client) = (Maker::new(node.target()), Client::new(node.address()));
    let body = content(bytes as u64, bytes);
    let key = |number: usize| format!("/memory/{number}");
    let put: Vec<Request> = (0..count).map(|number| maker.put(&key(number), &body)).collect();
    let get: Vec<Request> = (0..count).map(|number| maker.get(&key(number), &body, Signed::Query)).collect();
    let mut work: u64 = 0;
    for phase in [vec![maker.create_bucket("memory")], put, get] {
        work = work.wrapping_add(client.run(CONNECTIONS, &phase)?);
    }
    let peak = node.memory()?.peak_bytes;
    node.stop()?;
    Ok((peak, work))
}

pub fn mib(bytes: u64) -> f64 {
    bytes as f64 / MIB as f64
}
