//! The table.

use std::fs;
use std::time::Duration;

use crate::node::{Machine, Used};
use crate::options::Options;
use crate::workloads::{Unit, Workload};

/// What one round of a workload cost.
pub struct Sample {
    pub usage: Used,
    pub requests: u64,
    pub bytes: u64,
}

/// A workload and what its rounds cost.
pub struct Row {
    workload: &'static Workload,
    pub samples: Vec<Sample>,
}

impl Row {
    pub fn new(workload: &'static Workload) -> Self {
        Self { workload, samples: Vec::new() }
    }

    /// Some part of the cost, in the workload's unit, of each round in ascending order.
    fn costs(&self, part: impl Fn(&Used) -> Duration) -> Vec<f64> {
        let mut costs: Vec<f64> = self
            .samples
            .iter()
            .map(|sample| {
                let seconds = part(&sample.usage).as_secs_f64();
                match self.workload.unit {
                    Unit::Request => seconds * 1e6 / sample.requests as f64,
                    Unit::Gigabyte => seconds * 1e3 / (sample.bytes as f64 / 1e9),
                }
            })
            .collect();
        costs.sort_by(f64::total_cmp);
        costs
    }

    /// Requests, or megabytes, a second of the median round.
    fn rate(&self) -> f64 {
        let mut rates: Vec<f64> = self
            .samples
            .iter()
            .map(|sample| {
                let amount = match self.workload.unit {
                    Unit::Request => sample.requests as f64,
                    Unit::Gigabyte => sample.bytes as f64 / 1e6,
                };
                amount / sample.usage.elapsed.as_secs_f64()
            })
            .collect();
        rates.sort_by(f64::total_cmp);
        median(&rates)
    }
}

/// The middle of numbers in ascending order.
pub fn median(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

/// Says where and how it runs.
pub fn print_setting(machine: &Machine, options: &Options) {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processor = read("/proc/cpuinfo")
        .lines()
        .find_map(|line| line.strip_prefix("model name"))
        .map(|rest| rest.trim_start_matches([' ', '\t', ':']).to_owned());
    println!(
        "{}, Linux {}; server of {} core(s) on CPU {}, load on CPU {}; {} rounds; load average {}",
        processor.unwrap_or_else(|| "unknown processor".to_owned()),
        read("/proc/sys/kernel/osrelease").trim(),
        options.cores,
        machine.server_cpu,
        machine.client_cpu,
        options.rounds,
        load_average(),
    );
    if machine.server_cpu == machine.client_cpu {
        println!("server and load share the only CPU: rates mean little");
    }
    if options.quick {
        println!("tiny inputs: no figure means anything");
    }
}

/// Of the last 1, 5 and 15 minutes.
pub fn load_average() -> String {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}

/// Prints medians over the rounds, and the spread of the whole cost.
pub fn print_table(rows: &[Row]) {
    for (unit, title, rate) in
        [(Unit::Request, "CPU µs a request", "requests/s"), (Unit::Gigabyte, "CPU ms a gigabyte", "MB/s")]
    {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.workload.unit == unit).collect();
        if rows.is_empty() {
            continue;
        }
        println!(
            "{title:<24} {:>8} {:>19} {:>8} {:>8} {:>10} {:>6} {rate:>11}",
            "median", "min..max", "user", "system", "interrupts", "goal"
        );
        for row in rows {
            let all = row.costs(|used| used.user + used.system);
            let spread = format!(
                "{:.1}..{:.1}",
                all.first().copied().unwrap_or(f64::NAN),
                all.last().copied().unwrap_or(f64::NAN)
            );
            println!(
                "{:<24} {:>8.1} {spread:>19} {:>8.1} {:>8.1} {:>10.1} {:>6} {:>11.0}",
                row.workload.name,
                median(&all),
                median(&row.costs(|used| used.user)),
                median(&row.costs(|used| used.system)),
                median(&row.costs(|used| used.interrupts)),
                row.workload.goal.map_or_else(String::new, |goal| format!("{goal:.0}")),
                row.rate(),
            );
        }
        println!();
    }
}
