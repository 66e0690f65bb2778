//! The text of a scrape, and what it says when a core is silent.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::future::{Future, pending, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use super::families::FAMILIES;
use super::text::{Samples, Type, Unit, begin};
use super::{CoreAnswer, CoreCounts, Cores, Metrics, Report};
use crate::base::instruments::{Counts, Distribution, Durations};
use crate::control::logging::LinesMissing;
use crate::engine::{Bucket, BucketId, Engine, Mesh, Message, Options, Reply, Usage, Versioning, prepare};
use crate::io::Host;
use crate::io::sim::{SimHost, Simulation};
use crate::net::ConnectionCounts;
use crate::s3::error::Code;

#[test]
fn the_text_is_what_the_format_says() {
    let mut text = String::new();
    begin("ringcask_things", Type::Histogram, "Things.", &mut text);
    let things = Counts::default();
    [1, 3, 5000].into_iter().for_each(|count| things.observe(count));
    let mut samples = Samples::new("ringcask_things", &mut text);
    samples.histogram(&[("core", &0)], &things.snapshot(), Unit::One);
    samples.value(&[("name", &"a \"b\" \\ c\nd")], 1.5);
    samples.value(&[], 7);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..2], ["# HELP ringcask_things Things.", "# TYPE ringcask_things histogram"]);
    assert_eq!(lines[2], "ringcask_things_bucket{core=\"0\",le=\"1\"} 1");
    assert_eq!(lines[4], "ringcask_things_bucket{core=\"0\",le=\"4\"} 2");
    let rest = [
        "ringcask_things_bucket{core=\"0\",le=\"+Inf\"} 3",
        "ringcask_things_sum{core=\"0\"} 5004",
        "ringcask_things_count{core=\"0\"} 3",
        "ringcask_things{name=\"a \\\"b\\\" \\\\ c\\nd\"} 1.5",
        "ringcask_things 7",
    ];
    assert_eq!(lines[15..], rest);
}

#[test]
fn durations_are_shown_in_seconds_without_exponents() {
    let mut text = String::new();
    let durations = Durations::default();
    durations.observe(10_000);
    Samples::new("d", &mut text).histogram(&[], &durations.snapshot(), Unit::Seconds);
    assert!(text.starts_with("d_bucket{le=\"0.000008192\"} 0\nd_bucket{le=\"0.000016384\"} 1\n"), "{text}");
    assert!(text.ends_with("d_bucket{le=\"+Inf\"} 1\nd_sum 0.00001\nd_count 1\n"), "{text}");
}

#[test]
fn names_follow_the_conventions_and_come_once() {
    let mut names: Vec<&str> = FAMILIES.iter().map(|family| family.name).collect();
    for family in FAMILIES {
        let is_plain = |letter: char| letter.is_ascii_lowercase() || letter == '_';
        assert!(family.name.starts_with("ringcask_") && family.name.chars().all(is_plain), "{}", family.name);
        assert_eq!(family.kind == Type::Counter, family.name.ends_with("_total"), "{}", family.name);
        assert!(family.help.ends_with('.') && !family.help.contains('\n'), "{}", family.name);
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), FAMILIES.len());
}

const CORES: usize = 3;

/// The first of some cores, which never calls the others.
struct First;

impl Mesh for First {
    fn cores(&self) -> usize {
        CORES
    }

    fn me(&self) -> usize {
        0
    }

    fn call(&self, _: usize, _: Message) -> Pin<Box<dyn Future<Output = Reply>>> {
        unreachable!("nobody is called")
    }
}

/// Cores that have all told one client of five keys that are not there; one of them may be silent.
struct Told {
    engine: Engine<SimHost>,
    silent: Rc<Cell<Option<usize>>>,
}

impl Cores for Told {
    fn ask(&self, core: usize, buckets: Arc<[BucketId]>) -> CoreAnswer {
        if self.silent.get() == Some(core) {
            return Box::pin(pending());
        }
        let counts = CoreCounts {
            engine: self.engine.counts(&buckets),
            requests: Vec::new(),
            errors: vec![(Code::NoSuchKey, 5)],
            connections: ConnectionCounts { bytes_sent: 10, ..ConnectionCounts::default() },
            connections_open: 0,
            requests_in_flight: 0,
            accepting: Distribution::default(),
            hashing: Distribution::default(),
            hashing_waiting: 0,
            buffers: self.engine.host().pool().usage(),
            cpu_time: Duration::from_millis(1500),
            loop_delay: Distribution::default(),
            operations: 0,
            operations_waiting: 0,
            drives: Vec::new(),
            calls: 0,
            calls_waiting: 0,
            audit: Vec::new(),
            slow_requests: 0,
            lines_missing: LinesMissing::default(),
        };
        Box::pin(ready(Some(Box::new(counts))))
    }
}

#[test]
fn buckets_beyond_the_limit_are_counted_and_holds_are_summed_over_cores() {
    let simulation = Simulation::new(1);
    let host = simulation.host(1);
    let shared = simulation.block_on(prepare(&host, CORES, false)).unwrap();
    let engine = Engine::new(host, Rc::new(First), shared, Options::default());
    let bucket = |id, name: &str| {
        let (created, versioning, settings) = (0, Versioning::default(), BTreeMap::new());
        Rc::new(Bucket { id, name: name.to_owned(), created, versioning, settings })
    };
    let buckets = vec![bucket(1, "albums"), bucket(2, "photos")];
    let told = Told { engine, silent: Rc::default() };
    let answer = |core| {
        let mut counts = simulation.block_on(told.ask(core, Arc::from([]))).unwrap();
        let held = |objects| Usage { objects, versions: 0, bytes: 10 * objects };
        counts.engine.buckets = vec![held(1), held(core as u64)];
        Some(Rc::from(counts))
    };
    let cores: Vec<_> = (0..CORES).map(answer).collect();
    let known = cores.iter().flatten().cloned().collect();
    let certificates = Vec::new();
    let mut report = Report { started: 0, cores, known, buckets, buckets_count: 7, certificates };
    let shown = |report: &Report, name: &str| {
        let family = FAMILIES.iter().find(|family| family.name == name).unwrap();
        let mut text = String::new();
        (family.fill)(report, &mut Samples::new(family.name, &mut text));
        text
    };
    assert_eq!(shown(&report, "ringcask_buckets"), "ringcask_buckets 7\n");
    assert_eq!(shown(&report, "ringcask_buckets_not_shown"), "ringcask_buckets_not_shown 5\n");
    let bytes = "ringcask_bucket_bytes{bucket=\"albums\"} 30\nringcask_bucket_bytes{bucket=\"photos\"} 30\n";
    assert_eq!(shown(&report, "ringcask_bucket_bytes"), bytes);
    // A part of a bucket is not what it holds.
    report.cores[1] = None;
    assert_eq!(shown(&report, "ringcask_bucket_bytes"), "");
}

#[test]
fn a_silent_core_is_down_and_takes_nothing_from_the_sums() {
    let simulation = Simulation::new(1);
    let host = simulation.host(1);
    let shared = simulation.block_on(prepare(&host, CORES, false)).unwrap();
    let engine = Engine::new(host, Rc::new(First), shared, Options::default());
    let silent = Rc::new(Cell::new(Some(1)));
    let metrics = Metrics::new(engine.clone(), Box::new(Told { engine, silent: silent.clone() }), None, None);
    let scrape = || simulation.block_on(metrics.text());
    let missing = format!("ringcask_errors_total{{code=\"{}\"}}", Code::NoSuchKey.name());

    // A sum without a core that has never answered would jump when it does.
    let text = scrape();
    assert!(
        !text.contains(&missing) && text.contains("ringcask_sent_bytes_total{core=\"2\"} 10\n"),
        "{text}"
    );

    silent.set(None);
    let text = scrape();
    assert!(text.contains(&format!("{missing} 15\n")), "{text}");
    assert!(text.contains("ringcask_core_up{core=\"1\"} 1\n"), "{text}");
    assert!(text.contains("ringcask_core_cpu_seconds_total{core=\"1\"} 1.5\n"), "{text}");

    silent.set(Some(1));
    let text = scrape();
    assert!(text.contains(&format!("{missing} 15\n")), "{text}");
    let of_silent: Vec<&str> = text.lines().filter(|line| line.contains("core=\"1\"")).collect();
    assert_eq!(of_silent, ["ringcask_core_up{core=\"1\"} 0"]);
    assert!(text.contains("ringcask_core_cpu_seconds_total{core=\"2\"} 1.5\n"), "{text}");
}
