//! The table of all families of series: `docs/METRICS.md` shows the same rows.
//!
//! Names follow Prometheus, "Metric and label naming": base units, `_total` on counters. Labels have bounded
//! values: cores, drives, operations and error codes of fixed tables, and as many buckets as the limits say.

use std::collections::BTreeMap;

use super::text::{self, Samples, Type, Unit};
use super::{CoreCounts, Report};
use crate::base::instruments::Distribution;
use crate::control::audit::AuditCounts;
use crate::control::logging::LinesMissing;
use crate::engine::{FailedPart, Usage};
use crate::io::Space;
use crate::ring::meters::OperationCounts;
use crate::s3::meters::RequestCounts;

/// All series of one name.
pub struct Family {
    pub name: &'static str,
    pub kind: Type,
    pub help: &'static str,
    pub fill: fn(&Report, &mut Samples<'_>),
}

impl Family {
    /// Writes what stands before its samples.
    pub fn begin(&self, text: &mut String) {
        text::begin(self.name, self.kind, self.help, text);
    }
}

const fn counter(name: &'static str, help: &'static str, fill: fn(&Report, &mut Samples<'_>)) -> Family {
    Family { name, kind: Type::Counter, help, fill }
}

const fn gauge(name: &'static str, help: &'static str, fill: fn(&Report, &mut Samples<'_>)) -> Family {
    Family { name, kind: Type::Gauge, help, fill }
}

const fn histogram(name: &'static str, help: &'static str, fill: fn(&Report, &mut Samples<'_>)) -> Family {
    Family { name, kind: Type::Histogram, help, fill }
}

/// All families, in the order of the text.
pub const FAMILIES: &[Family] = &[
    // The node.
    gauge("ringcask_build_info", "The version that runs; always 1.", |_, out| {
        out.value(&[("version", &env!("CARGO_PKG_VERSION"))], 1);
    }),
    gauge("ringcask_start_time_seconds", "When the node started, in seconds since 1970.", |report, out| {
        out.value(&[], report.started as f64 / 1e3);
    }),
    gauge(
        "ringcask_tls_certificate_expiry_timestamp_seconds",
        "When a TLS certificate in use expires, in seconds since 1970.",
        |report, out| {
            for certificate in &report.certificates {
                let name = certificate.names.first().map_or("", String::as_str);
                out.value(&[("file", &certificate.file.display()), ("name", &name)], certificate.not_after);
            }
        },
    ),
    gauge("ringcask_core_up", "Whether the core answered this scrape in time.", |report, out| {
        for (core, answer) in report.cores.iter().enumerate() {
            out.value(&[("core", &core)], u8::from(answer.is_some()));
        }
    }),
    // Requests.
    counter("ringcask_requests_total", "Requests to S3 that were answered.", requests),
    histogram(
        "ringcask_request_first_byte_seconds",
        "From a request's head to the beginning of its answer.",
        |report, out| by_operation(report, out, |counts| &counts.first_byte),
    ),
    histogram(
        "ringcask_request_duration_seconds",
        "From a request's head to the end of its answer, or to where its client went away.",
        |report, out| by_operation(report, out, |counts| &counts.whole),
    ),
    gauge("ringcask_requests_in_flight", "Requests to S3 under way.", |report, out| {
        by_core(report, out, |core| core.requests_in_flight as u64);
    }),
    counter("ringcask_errors_total", "Errors that S3 clients were told, by their code.", errors),
    counter(
        "ringcask_slow_requests_total",
        "Requests that took longer than --slow-request-ms.",
        |report, out| by_core(report, out, |core| core.slow_requests),
    ),
    // What is written down.
    counter(
        "ringcask_audit_written_total",
        "Entries of the access log that were written or delivered.",
        |report, out| by_sink(report, out, |counts| counts.written),
    ),
    counter("ringcask_audit_dropped_total", "Entries of the access log that were lost.", |report, out| {
        by_sink(report, out, |counts| counts.dropped)
    }),
    gauge("ringcask_audit_queued_bytes", "Bytes of entries of the access log that wait.", |report, out| {
        by_sink(report, out, |counts| counts.queued_bytes as u64);
    }),
    counter(
        "ringcask_log_lines_suppressed_total",
        "Warnings and errors that were left out of the log because they repeated.",
        |report, out| lines_missing(report, out, |missing| missing.suppressed),
    ),
    counter(
        "ringcask_log_lines_dropped_total",
        "Lines of the log that standard error took too slowly.",
        |report, out| lines_missing(report, out, |missing| missing.dropped),
    ),
    // Connections.
    gauge("ringcask_connections", "Open connections of the S3 listeners.", |report, out| {
        by_core(report, out, |core| core.connections_open as u64);
    }),
    counter("ringcask_connections_accepted_total", "Connections of all listeners.", |report, out| {
        by_core(report, out, |core| core.connections.joined);
    }),
    counter(
        "ringcask_connections_refused_total",
        "Connections that were told that there are too many.",
        |report, out| by_core(report, out, |core| core.connections.refused),
    ),
    counter(
        "ringcask_connections_timed_out_total",
        "Connections that ended because their client, idle or in a request, let the node wait for too long.",
        |report, out| by_core(report, out, |core| core.connections.timed_out),
    ),
    counter(
        "ringcask_connections_cut_total",
        "Slow clients that were cut because other requests waited for buffers.",
        |report, out| by_core(report, out, |core| core.connections.cut),
    ),
    counter("ringcask_received_bytes_total", "Bytes that came over connections.", |report, out| {
        by_core(report, out, |core| core.connections.bytes_received);
    }),
    counter("ringcask_sent_bytes_total", "Bytes that went over connections.", |report, out| {
        by_core(report, out, |core| core.connections.bytes_sent);
    }),
    // Cores.
    counter(
        "ringcask_core_cpu_seconds_total",
        "CPU time of the core's thread; its rate is the share of time in which the core is busy.",
        |report, out| {
            for (core, counts) in answered(report) {
                out.value(&[("core", &core)], counts.cpu_time.as_secs_f64());
            }
        },
    ),
    histogram(
        "ringcask_core_loop_delay_seconds",
        "How long a task that could run waited for its turn, as a task that looks ten times a second finds it.",
        |report, out| {
            for (core, counts) in answered(report) {
                out.histogram(&[("core", &core)], &counts.loop_delay, Unit::Seconds);
            }
        },
    ),
    histogram("ringcask_stage_duration_seconds", "Time that requests spend in each stage.", stages),
    gauge("ringcask_queue_depth", "What waits in each of the core's queues.", queues),
    gauge(
        "ringcask_drive_operations",
        "Operations of the core that drives have not completed.",
        |report, out| {
            by_core(report, out, |core| core.operations as u64);
        },
    ),
    gauge("ringcask_core_calls", "Calls of the core to others that were not answered yet.", |report, out| {
        by_core(report, out, |core| core.calls as u64);
    }),
    gauge("ringcask_buffers", "I/O buffers of the core's arena, by their size in bytes.", |report, out| {
        for (core, counts) in answered(report) {
            for usage in &counts.buffers {
                out.value(&[("core", &core), ("size", &usage.buffer_bytes)], usage.count);
            }
        }
    }),
    gauge("ringcask_buffers_held", "I/O buffers of the arena that somebody holds.", |report, out| {
        for (core, counts) in answered(report) {
            for usage in &counts.buffers {
                out.value(&[("core", &core), ("size", &usage.buffer_bytes)], usage.held);
            }
        }
    }),
    counter(
        "ringcask_cache_hits_total",
        "Look-ups of objects found in the cache of records.",
        |report, out| {
            by_core(report, out, |core| core.engine.cache_hits);
        },
    ),
    counter("ringcask_cache_misses_total", "Look-ups of objects that had to read the log.", |report, out| {
        by_core(report, out, |core| core.engine.cache_misses);
    }),
    gauge("ringcask_cache_bytes", "Memory that the cache of records takes.", |report, out| {
        by_core(report, out, |core| core.engine.cache_bytes);
    }),
    // The log.
    histogram("ringcask_log_batch_records", "Records in each durable write of a log.", |report, out| {
        over_cores(report, out, |core| &core.engine.batch_records, Unit::One);
    }),
    histogram("ringcask_log_batch_bytes", "Bytes of each durable write of a log.", |report, out| {
        over_cores(report, out, |core| &core.engine.batch_bytes, Unit::One);
    }),
    counter("ringcask_log_written_bytes_total", "Bytes written to the log.", |report, out| {
        by_core(report, out, |core| core.engine.log.bytes_written);
    }),
    gauge(
        "ringcask_log_queued_bytes",
        "Bytes that wait for the log or are being written to it.",
        |report, out| {
            by_core(report, out, |core| core.engine.log.bytes_queued as u64);
        },
    ),
    gauge(
        "ringcask_log_bytes",
        "Bytes of the log that live records take, and all others: replaced, deleted, padding.",
        |report, out| by_state(report, out, |core| [core.engine.log.bytes_live, core.engine.log.bytes_dead]),
    ),
    gauge("ringcask_log_segments", "Segments of the log.", |report, out| {
        by_core(report, out, |core| core.engine.log.segments as u64);
    }),
    counter(
        "ringcask_log_cleaned_segments_total",
        "Segments of the log that were cleaned.",
        |report, out| {
            by_core(report, out, |core| core.engine.log.segments_cleaned);
        },
    ),
    counter("ringcask_log_cleaned_bytes_total", "Bytes of the segments that were cleaned.", |report, out| {
        by_core(report, out, |core| core.engine.log.bytes_cleaned);
    }),
    counter("ringcask_log_moved_bytes_total", "Bytes of live records that cleaning moved.", |report, out| {
        by_core(report, out, |core| core.engine.log.bytes_moved);
    }),
    // Payload in data segments.
    gauge(
        "ringcask_payload_bytes",
        "Bytes of data segments that extents take, referred to or to be freed.",
        |report, out| {
            by_state(report, out, |core| [core.engine.payload_bytes_live, core.engine.payload_bytes_dead]);
        },
    ),
    gauge("ringcask_payload_segments", "Data segments.", |report, out| {
        by_core(report, out, |core| core.engine.payload_segments as u64);
    }),
    // Background work.
    histogram(
        "ringcask_checkpoint_duration_seconds",
        "Time to write a checkpoint of a core.",
        |report, out| {
            over_cores(report, out, |core| &core.engine.checkpoints, Unit::Seconds);
        },
    ),
    gauge("ringcask_checkpoint_under_way", "Whether the core is writing a checkpoint.", |report, out| {
        by_core(report, out, |core| core.engine.is_checkpoint_under_way.into());
    }),
    gauge(
        "ringcask_checkpoint_log_bytes",
        "Bytes of log since the last checkpoint of this run began, which a start would read.",
        |report, out| by_core(report, out, |core| core.engine.checkpoint_log_bytes),
    ),
    gauge(
        "ringcask_checkpoint_interval_bytes",
        "Bytes of log after which the next checkpoint is due.",
        |report, out| by_core(report, out, |core| core.engine.checkpoint_log_bytes_due),
    ),
    counter("ringcask_scrub_passes_total", "Passes of the scrub that have ended.", |report, out| {
        by_core(report, out, |core| core.engine.scrub.passes);
    }),
    gauge(
        "ringcask_scrub_done_bytes",
        "Bytes that the last pass of the scrub has verified.",
        |report, out| {
            by_core(report, out, |core| core.engine.scrub.bytes_done);
        },
    ),
    gauge("ringcask_scrub_size_bytes", "Bytes there were to verify when that pass began.", |report, out| {
        by_core(report, out, |core| core.engine.scrub.bytes_total);
    }),
    // What may fail.
    gauge("ringcask_drive_size_bytes", "Size of the file system of each drive.", |report, out| {
        by_drive(report, out, |space| space.bytes_total);
    }),
    gauge("ringcask_drive_free_bytes", "Free bytes of the file system of each drive.", |report, out| {
        by_drive(report, out, |space| space.bytes_free);
    }),
    histogram(
        "ringcask_drive_operation_duration_seconds",
        "From asking a drive for something until it has answered, with the wait in the core's ring.",
        |report, out| {
            for ((drive, operation), (durations, ..)) in drive_operations(report) {
                out.histogram(&[("drive", &drive), ("operation", &operation)], &durations, Unit::Seconds);
            }
        },
    ),
    counter(
        "ringcask_drive_moved_bytes_total",
        "Bytes read from and written to each drive.",
        |report, out| {
            for ((drive, operation), (_, bytes, _)) in drive_operations(report) {
                out.value(&[("drive", &drive), ("operation", &operation)], bytes);
            }
        },
    ),
    counter("ringcask_drive_failures_total", "Operations of each drive that failed.", |report, out| {
        for ((drive, operation), (.., failures)) in drive_operations(report) {
            out.value(&[("drive", &drive), ("operation", &operation)], failures);
        }
    }),
    gauge("ringcask_failed", "Whether a part of the core takes no changes any more.", |report, out| {
        for (core, counts) in answered(report) {
            for part in FailedPart::ALL {
                let is_failed = counts.engine.failed.contains(&part);
                out.value(&[("core", &core), ("part", &part)], u8::from(is_failed));
            }
        }
    }),
    gauge("ringcask_damages", "Damaged places that are known in files of the core.", |report, out| {
        by_core(report, out, |core| core.engine.damages);
    }),
    gauge("ringcask_events_queued", "Events that wait until their target has taken them.", |report, out| {
        by_core(report, out, |core| core.engine.events_queued as u64);
    }),
    counter("ringcask_events_dropped_total", "Events dropped because the queue was full.", |report, out| {
        by_core(report, out, |core| core.engine.events_dropped);
    }),
    // Buckets.
    gauge("ringcask_buckets", "Buckets.", |report, out| out.value(&[], report.buckets_count)),
    gauge(
        "ringcask_buckets_not_shown",
        "Buckets that have no series, being beyond the limit.",
        |report, out| {
            out.value(&[], report.buckets_count - report.buckets.len());
        },
    ),
    gauge("ringcask_bucket_objects", "Current objects.", |report, out| {
        by_bucket(report, out, |usage| usage.objects);
    }),
    gauge("ringcask_bucket_versions", "Versions that are not current, and delete markers.", |report, out| {
        by_bucket(report, out, |usage| usage.versions);
    }),
    gauge("ringcask_bucket_bytes", "Bytes of current objects and of all other versions.", |report, out| {
        by_bucket(report, out, |usage| usage.bytes);
    }),
];

/// The cores that answered, by number.
fn answered(report: &Report) -> impl Iterator<Item = (usize, &CoreCounts)> {
    report.cores.iter().enumerate().filter_map(|(core, answer)| Some((core, answer.as_deref()?)))
}

fn by_core(report: &Report, out: &mut Samples<'_>, value: fn(&CoreCounts) -> u64) {
    for (core, counts) in answered(report) {
        out.value(&[("core", &core)], value(counts));
    }
}

/// Live bytes, then dead ones.
fn by_state(report: &Report, out: &mut Samples<'_>, value: fn(&CoreCounts) -> [u64; 2]) {
    for (core, counts) in answered(report) {
        for (state, bytes) in ["live", "dead"].iter().zip(value(counts)) {
            out.value(&[("core", &core), ("state", state)], bytes);
        }
    }
}

/// Of drives, which their first cores tell of.
fn by_drive(report: &Report, out: &mut Samples<'_>, value: fn(Space) -> u64) {
    for (drive, counts) in answered(report) {
        if let Some(space) = counts.engine.space {
            out.value(&[("drive", &drive)], value(space));
        }
    }
}

/// What the operations of all cores on each drive came to: durations, bytes and failures.
fn drive_operations(report: &Report) -> BTreeMap<(usize, &'static str), (Distribution, u64, u64)> {
    let mut all: BTreeMap<_, (Distribution, u64, u64)> = BTreeMap::new();
    for (drive, counts) in report.known.iter().flat_map(|core| core.drives.iter().enumerate()) {
        for OperationCounts { operation, durations, bytes, failures } in counts {
            let sum = all.entry((drive, operation.name())).or_default();
            sum.0.add(durations);
            sum.1 += bytes;
            sum.2 += failures;
        }
    }
    all
}

/// What all cores counted together.
fn over_cores(
    report: &Report,
    out: &mut Samples<'_>,
    distribution: fn(&CoreCounts) -> &Distribution,
    unit: Unit,
) {
    if let Some(all) = sum(report, distribution) {
        out.histogram(&[], &all, unit);
    }
}

/// `None` if a core never answered.
fn sum(report: &Report, distribution: fn(&CoreCounts) -> &Distribution) -> Option<Distribution> {
    let mut known = report.known.iter();
    let first = distribution(known.next()?).clone();
    Some(known.fold(first, |mut all, counts| {
        all.add(distribution(counts));
        all
    }))
}

/// Of the kinds of requests that have come.
fn by_operation(report: &Report, out: &mut Samples<'_>, distribution: fn(&RequestCounts) -> &Distribution) {
    let mut all: BTreeMap<&str, Distribution> = BTreeMap::new();
    for counts in report.known.iter().flat_map(|core| &core.requests) {
        all.entry(counts.kind.name()).or_default().add(distribution(counts));
    }
    for (operation, distribution) in all {
        out.histogram(&[("operation", &operation)], &distribution, Unit::Seconds);
    }
}

fn requests(report: &Report, out: &mut Samples<'_>) {
    let mut all: BTreeMap<(&str, u16), u64> = BTreeMap::new();
    for counts in report.known.iter().flat_map(|core| &core.requests) {
        for (status, count) in &counts.statuses {
            *all.entry((counts.kind.name(), *status)).or_default() += count;
        }
    }
    for ((operation, status), count) in all {
        out.value(&[("operation", &operation), ("status", &status)], count);
    }
}

fn errors(report: &Report, out: &mut Samples<'_>) {
    let mut all: BTreeMap<&str, u64> = BTreeMap::new();
    for (code, count) in report.known.iter().flat_map(|core| &core.errors) {
        *all.entry(code.name()).or_default() += count;
    }
    for (code, count) in all {
        out.value(&[("code", &code)], count);
    }
}

/// What went where of the access log, if there is one.
fn by_sink(report: &Report, out: &mut Samples<'_>, value: fn(&AuditCounts) -> u64) {
    for (core, counts) in answered(report) {
        for sink in &counts.audit {
            out.value(&[("core", &core), ("sink", &sink.sink)], value(sink));
        }
    }
}

/// Every core knows what the process has written.
fn lines_missing(report: &Report, out: &mut Samples<'_>, value: fn(&LinesMissing) -> u64) {
    if let Some(most) = report.known.iter().map(|core| value(&core.lines_missing)).max() {
        out.value(&[], most);
    }
}

fn stages(report: &Report, out: &mut Samples<'_>) {
    type Stage = (&'static str, fn(&CoreCounts) -> &Distribution);
    const STAGES: [Stage; 7] = [
        ("accept", |core| &core.accepting),
        ("parse", |core| &core.connections.parsing),
        ("hash", |core| &core.hashing),
        ("write", |core| &core.engine.writing),
        ("sync", |core| &core.engine.syncing),
        ("commit", |core| &core.engine.commit),
        ("read", |core| &core.engine.reading),
    ];
    for (stage, distribution) in STAGES {
        if let Some(all) = sum(report, distribution) {
            out.histogram(&[("stage", &stage)], &all, Unit::Seconds);
        }
    }
}

fn queues(report: &Report, out: &mut Samples<'_>) {
    for (core, counts) in answered(report) {
        let [small, large] = counts.buffers;
        let queues = [
            ("buffers", small.waiting + large.waiting),
            ("calls", counts.calls_waiting),
            ("drive", counts.operations_waiting),
            ("hash", counts.hashing_waiting),
            ("log", counts.engine.log.appends_queued),
        ];
        for (queue, depth) in queues {
            out.value(&[("core", &core), ("queue", &queue)], depth);
        }
    }
}

/// What buckets hold over all cores: nothing unless all cores said what they have of it.
fn by_bucket(report: &Report, out: &mut Samples<'_>, value: fn(Usage) -> u64) {
    let Some(cores) = report.cores.iter().map(Option::as_deref).collect::<Option<Vec<_>>>() else { return };
    for (place, bucket) in report.buckets.iter().enumerate() {
        let of_core = |core: &&CoreCounts| core.engine.buckets.get(place).copied().map_or(0, value);
        out.value(&[("bucket", &bucket.name)], cores.iter().map(of_core).sum::<u64>());
    }
}
