//! What does a request cost the server?
//!
//! Starts the node of this build with one core on one CPU, drives it over loopback from another CPU with
//! requests that were signed beforehand, and divides the CPU time that the kernel charged to the node's process
//! by the requests, or by the bytes, of each workload. Then it asks what memory an idle node holds, and whether
//! the peak depends on the size of objects; and, if it is named, what millions of objects cost: memory, start,
//! checkpoint, pages of listings. `README.md` beside this folder says how to run it, what is counted
//! and what is not.
//!
//! Every answer is checked: status, length, ETag and each byte of the body; what was written is read back. A
//! wrong answer ends the run with an error. Without `--bench`, which only `cargo bench` passes, tiny inputs run
//! once in a moment and nothing is judged by time: so `cargo test` keeps it from rotting.

#![allow(clippy::disallowed_methods, reason = "real time and real threads are what is measured here")]

mod endpoint;
mod fill;
mod index;
mod latency;
mod load;
mod memory;
mod node;
mod options;
mod report;
mod requests;
mod workloads;

use std::process::ExitCode;

/// That of the node.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use load::Client;
use node::Node;
use options::Options;
use report::{Row, Sample};
use requests::Maker;
use workloads::{Sizes, WORKLOADS, Workload};

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(message) => {
            eprintln!("cost: {message}");
            return ExitCode::from(2);
        }
    };
    if options.list {
        WORKLOADS.iter().for_each(|workload| println!("{}: benchmark", workload.name));
        return ExitCode::SUCCESS;
    }
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("cost: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let chosen: Vec<&Workload> = WORKLOADS.iter().filter(|workload| options.chooses(workload.name)).collect();
    if let Some(endpoint) = &options.endpoint {
        return endpoint::load(endpoint, &chosen, options);
    }
    let with_memory = options.chooses("memory");
    let without_cost = chosen.is_empty() && !with_memory;
    if without_cost && !options.chooses_index() && !options.chooses_latency() {
        return Ok(());
    }
    let machine = node::Machine::prepare()?;
    report::print_setting(&machine, options);
    let mut work = 0;
    if !chosen.is_empty() {
        let (rows, done) = cost(&chosen, &machine, options)?;
        if options.quick {
            println!("{} workloads: every answer was right", rows.len());
            endpoint::try_out(&machine, &chosen, options)?;
        } else {
            report::print_table(&rows);
        }
        work = done;
    }
    if with_memory {
        let (lines, done) = memory::measure(&machine, options)?;
        lines.iter().for_each(|line| println!("{line}"));
        work = work.wrapping_add(done);
    }
    if options.chooses_latency() {
        work = latency::measure(&machine, options)?.wrapping_add(work);
    }
    if options.chooses_index() {
        work = index::measure(&machine, options)?.wrapping_add(work);
    }
    println!("work done: {work:016x}; load average {}", report::load_average());
    Ok(())
}

/// Runs the workloads round by round, so that a disturbance of the machine meets all of them alike.
fn cost(
    chosen: &[&'static Workload],
    machine: &node::Machine,
    options: &Options,
) -> Result<(Vec<Row>, u64), String> {
    let node = Node::start(machine, options)?;
    println!("node: process {} on CPU {}\n", node.process(), machine.server_cpu);
    let sizes = if options.quick { Sizes::quick() } else { Sizes::full(options.scale) };
    let maker = Maker::new(node.target());
    let mut work = 0;
    let client = Client::new(node.address());
    for phase in workloads::stock(&maker, &sizes, chosen) {
        work = client.run(workloads::STOCK_CONNECTIONS, &phase)?.wrapping_add(work);
    }
    let mut rows: Vec<Row> = chosen.iter().map(|workload| Row::new(workload)).collect();
    for round in 0..options.rounds {
        for (workload, row) in chosen.iter().zip(&mut rows) {
            let (sample, done) =
                one(&workload.of_cores(options.cores), &node, &client, &maker, &sizes, round)
                    .map_err(|error| format!("{}: {error}", workload.name))?;
            row.samples.push(sample);
            work = work.wrapping_add(done);
        }
    }
    node.stop()?;
    Ok((rows, work))
}

/// Runs one workload once; returns what it cost and the digest of what was done.
fn one(
    workload: &Workload,
    node: &Node,
    client: &Client,
    maker: &Maker,
    sizes: &Sizes,
    round: usize,
) -> Result<(Sample, u64), String> {
    let phases = (workload.phases)(workload, maker, sizes, round);
    let mut work: u64 = 0;
    for phase in &phases.before {
        work = work.wrapping_add(client.run(workloads::STOCK_CONNECTIONS, phase)?);
    }
    let connections = client.connect(workload.connections)?;
    node.settle()?;
    let start = node.usage()?;
    work = work.wrapping_add(client.run_on(connections, &phases.measured)?.work);
    let usage = node.usage()?.since(&start);
    let bytes = phases.measured.iter().map(|request| request.payload_bytes).sum();
    let sample = Sample { usage, requests: phases.measured.len() as u64, bytes };
    for phase in &phases.after {
        work = work.wrapping_add(client.run(workloads::STOCK_CONNECTIONS, phase)?);
    }
    Ok((sample, work))
}
