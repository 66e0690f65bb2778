//! The load alone, for a server that runs already: any that speaks S3, or a web server that takes files by PUT.
//!
//! What happens is told in lines of JSON, so that a program can drive it (`benches/compare/`): it measures what the
//! server uses between two of them. With `--stepped` each measurement waits before it begins and when it has ended,
//! until a line comes on standard input.

use std::io::{BufRead, Write};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::load::Client;
use crate::node::{Machine, Node};
use crate::options::{Endpoint, Options};
use crate::requests::{Maker, Target};
use crate::workloads::{self, STOCK_CONNECTIONS, Sizes, Unit, Workload};

/// Puts the workloads, one after the other, to the server. One that fails does not keep the others from running.
pub fn load(endpoint: &Endpoint, chosen: &[&Workload], options: &Options) -> Result<(), String> {
    load_on(endpoint, target(endpoint)?, chosen, options)
}

/// Tries the load alone on a node of its own, so that `cargo test` keeps it from rotting.
pub fn try_out(machine: &Machine, chosen: &[&Workload], options: &Options) -> Result<(), String> {
    let node = Node::start(machine, options)?;
    let endpoint = Endpoint { address: node.address(), ..Endpoint::default() };
    load_on(&endpoint, node.target(), chosen, options)?;
    let endpoint = Endpoint { is_stocked: true, round: 1, ..endpoint };
    load_on(&endpoint, node.target(), chosen, options)?;
    node.stop()
}

fn load_on(
    endpoint: &Endpoint,
    target: Target,
    chosen: &[&Workload],
    options: &Options,
) -> Result<(), String> {
    let sizes = if options.quick { Sizes::quick() } else { Sizes::full(options.scale) };
    let maker = Maker::new(target);
    let client = Client::new(endpoint.address);
    if !endpoint.is_stocked {
        // A web server has no buckets to make.
        let phases = workloads::stock(&maker, &sizes, chosen).into_iter();
        let work = run(&client, phases.skip(usize::from(endpoint.is_file_server)))?;
        tell(&json!({ "event": "stocked", "work": format!("{work:016x}") }))?;
    }
    let mut failed = 0;
    for workload in chosen {
        let done = one(workload, endpoint, &client, &maker, &sizes);
        if let Err(error) = done {
            failed += 1;
            tell(&json!({ "event": "failed", "workload": workload.name, "error": error }))?;
        }
    }
    if failed == 0 { Ok(()) } else { Err(format!("{failed} workloads failed")) }
}

/// Who asks whom; the credentials are in the environment, as for AWS's own clients.
fn target(endpoint: &Endpoint) -> Result<Target, String> {
    let variable = |name: &str| match std::env::var(name) {
        Ok(value) => Ok(value),
        Err(_) if endpoint.is_file_server => Ok(String::new()),
        Err(_) => Err(format!("{name} is not set")),
    };
    Ok(Target {
        address: endpoint.address,
        access_key_id: variable("AWS_ACCESS_KEY_ID")?,
        secret: variable("AWS_SECRET_ACCESS_KEY")?,
        region: endpoint.region.clone(),
        bucket: endpoint.bucket.clone(),
        is_file_server: endpoint.is_file_server,
        etags_are_checked: endpoint.etags_are_checked,
    })
}

fn run(client: &Client, phases: impl Iterator<Item = Vec<crate::requests::Request>>) -> Result<u64, String> {
    let mut work: u64 = 0;
    for phase in phases {
        work = work.wrapping_add(client.run(STOCK_CONNECTIONS, &phase)?);
    }
    Ok(work)
}

/// Runs one workload once.
fn one(
    workload: &Workload,
    endpoint: &Endpoint,
    client: &Client,
    maker: &Maker,
    sizes: &Sizes,
) -> Result<(), String> {
    let phases = (workload.phases)(workload, maker, sizes, endpoint.round);
    let before = run(client, phases.before.into_iter())?;
    let connections = client.connect(workload.connections)?;
    tell(&json!({ "event": "ready", "workload": workload.name }))?;
    wait(endpoint)?;
    let start = Instant::now();
    let outcome = client.run_on(connections, &phases.measured)?;
    let elapsed = start.elapsed();
    let bytes: u64 = phases.measured.iter().map(|request| request.payload_bytes).sum();
    tell(&json!({
        "event": "measured",
        "workload": workload.name,
        "unit": match workload.unit {
            Unit::Request => "request",
            Unit::Gigabyte => "gigabyte",
        },
        "connections": workload.connections,
        "requests": phases.measured.len(),
        "bytes": bytes,
        "seconds": elapsed.as_secs_f64(),
        "latency_us": latency(outcome.latencies),
    }))?;
    wait(endpoint)?;
    let after = run(client, phases.after.into_iter())?;
    let work = before.wrapping_add(outcome.work).wrapping_add(after);
    tell(&json!({ "event": "checked", "workload": workload.name, "work": format!("{work:016x}") }))
}

/// Percentiles, by the nearest rank.
fn latency(mut latencies: Vec<Duration>) -> Value {
    latencies.sort_unstable();
    let rank = |share: f64| {
        let rank = (latencies.len() as f64 * share).ceil() as usize;
        latencies.get(rank.saturating_sub(1)).map_or(0.0, |latency| latency.as_secs_f64() * 1e6)
    };
    json!({ "p50": rank(0.5), "p99": rank(0.99), "p999": rank(0.999), "max": rank(1.0) })
}

/// Prints a line at once.
fn tell(event: &Value) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{event}").and_then(|()| out.flush()).map_err(|error| format!("standard output: {error}"))
}

/// Waits until whoever drives this is ready.
fn wait(endpoint: &Endpoint) -> Result<(), String> {
    if !endpoint.is_stepped {
        return Ok(());
    }
    let mut line = String::new();
    match std::io::stdin().lock().read_line(&mut line) {
        Ok(0) => Err("standard input ended".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(format!("standard input: {error}")),
    }
}
