//! What Prometheus scrapes: read with its own parser, compared with the documents and with what was done.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;

use crate::certificates::Authority;
use crate::client::{Client, Request, complete_upload};
use crate::content::payload;
use crate::health::ask;
use crate::http::Connection;
use crate::node::{Node, Options};
use crate::tools;

const DOCUMENT: &str = include_str!("../../docs/METRICS.md");
const DASHBOARD: &str = include_str!("../../docs/grafana/ringcask.json");

/// A scrape, as Prometheus's parser understands it.
struct Scrape {
    families: BTreeMap<String, Value>,
}

impl Scrape {
    fn of(node: &Node) -> Self {
        let response = ask(node.admin(), "GET", "/metrics").expect(200);
        assert_eq!(response.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
        let file = node.scratch().join("metrics");
        fs::write(&file, &response.body).unwrap();
        let python = tools::folder().join("monitoring/bin/python3");
        let mut command = tools::command(python.to_str().unwrap(), node);
        command.arg(tools::sources().join("metrics_prometheus.py")).arg(&file);
        let parsed = tools::run(command);
        Self { families: serde_json::from_str(&parsed).unwrap_or_else(|error| panic!("{error}\n{parsed}")) }
    }

    /// Samples: name, labels, value.
    fn samples(&self) -> impl Iterator<Item = (&str, &Value, f64)> {
        let all = self.families.values().flat_map(|family| family["samples"].as_array().unwrap());
        all.map(|sample| (sample[0].as_str().unwrap(), &sample[1], sample[2].as_f64().unwrap()))
    }

    /// The sum of the samples of a name that have these labels, among others.
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |found: &Value| labels.iter().all(|(label, value)| found[*label] == *value);
        let named = self.samples().filter(|(found, labels, _)| *found == name && has(labels));
        named.map(|(_, _, value)| value).sum()
    }
}

/// Rows of the document's tables, by name: type, labels, unit, meaning.
fn documented() -> BTreeMap<String, [String; 4]> {
    let rows = DOCUMENT.lines().filter(|line| line.starts_with("| `ringcask_"));
    let cells = |row: &str| {
        let cells: Vec<String> =
            row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect();
        let [name, kind, labels, unit, meaning] =
            <[String; 5]>::try_from(cells).unwrap_or_else(|_| panic!("{row}"));
        (name.trim_matches('`').to_owned(), [kind, labels, unit, meaning])
    };
    rows.map(cells).collect()
}

/// Does something of everything that is counted.
fn work(node: &Node) {
    let mut client = node.client_with_bucket("photos");
    for number in 0..5 {
        client.put("photos", &format!("small/{number}"), &payload(number, 4096)).expect(200);
        client.get("photos", &format!("small/{number}")).expect(200);
    }
    client.put("photos", "large", &payload(7, 3_000_000)).expect(200);
    assert_eq!(client.get("photos", "large").expect(200).body.len(), 3_000_000);
    let upload = client.create_upload("photos", "parts");
    let etag = client.put_part("photos", "parts", &upload, 1, &payload(8, 100_000));
    client.send(complete_upload("photos", "parts", &upload, &[etag])).expect(200);
    client.get("photos", "missing").expect_error(404, "NoSuchKey");
    client.head("photos", "missing").expect(404);
    client.delete("photos", "small/0").expect(204);
    client.send(Request::new("GET", "/photos?list-type=2")).expect(200);
    client.credentials.secret_key.push('x');
    client.get("photos", "small/1").expect_error(403, "SignatureDoesNotMatch");
    ask(node.address(), "BREW", "/photos").expect(405);
}

#[test]
fn counters_match_the_requests_that_were_made() {
    let node = Node::start();
    work(&node);
    let scrape = Scrape::of(&node);
    let requests = |operation: &str, status: &str| {
        scrape.sum("ringcask_requests_total", &[("operation", operation), ("status", status)])
    };
    let expected = [
        ("CreateBucket", "200", 1.0),
        ("PutObject", "200", 6.0),
        ("GetObject", "200", 6.0),
        ("GetObject", "404", 1.0),
        ("GetObject", "403", 1.0),
        ("HeadObject", "404", 1.0),
        ("CreateMultipartUpload", "200", 1.0),
        ("UploadPart", "200", 1.0),
        ("CompleteMultipartUpload", "200", 1.0),
        ("DeleteObject", "204", 1.0),
        ("ListObjectsV2", "200", 1.0),
        ("Unknown", "405", 1.0),
    ];
    for (operation, status, count) in expected {
        assert_eq!(requests(operation, status), count, "{operation} {status}");
    }
    let all: f64 = expected.iter().map(|(_, _, count)| count).sum();
    assert_eq!(scrape.sum("ringcask_requests_total", &[]), all);
    // What is timed is what was counted, and nothing is left under way.
    assert_eq!(scrape.sum("ringcask_request_duration_seconds_count", &[]), all);
    assert_eq!(scrape.sum("ringcask_request_first_byte_seconds_count", &[]), all);
    assert_eq!(scrape.sum("ringcask_requests_in_flight", &[]), 0.0);
    assert_eq!(scrape.sum("ringcask_errors_total", &[("code", "NoSuchKey")]), 2.0);
    assert_eq!(scrape.sum("ringcask_errors_total", &[("code", "SignatureDoesNotMatch")]), 1.0);
    assert_eq!(scrape.sum("ringcask_errors_total", &[]), 4.0);

    let payload = 5.0 * 4096.0 + 3_000_000.0;
    for (name, least) in [("received", payload + 100_000.0), ("sent", payload)] {
        let bytes = scrape.sum(&format!("ringcask_{name}_bytes_total"), &[]);
        assert!(bytes > least && bytes < least + 100_000.0, "{name}: {bytes}");
    }
    for (stage, least) in [
        ("accept", 1.0),
        ("parse", all),
        ("hash", 7.0),
        ("write", 12.0),
        ("sync", 2.0),
        ("commit", 9.0),
        ("read", 12.0),
    ] {
        let count = scrape.sum("ringcask_stage_duration_seconds_count", &[("stage", stage)]);
        assert!(count >= least, "{stage}: {count}");
    }
    let durable = [("drive", "0"), ("operation", "write_durable")];
    let batches = scrape.sum("ringcask_log_batch_records_count", &[]);
    assert!(scrape.sum("ringcask_drive_operation_duration_seconds_count", &durable) >= batches);
    let written = [("drive", "0"), ("operation", "write")];
    assert!(scrape.sum("ringcask_drive_moved_bytes_total", &written) >= 3_100_000.0);
    assert_eq!(scrape.sum("ringcask_drive_failures_total", &[]), 0.0);
    assert!(batches >= 9.0);
    assert!(scrape.sum("ringcask_log_batch_records_sum", &[]) >= 9.0);
    assert!(scrape.sum("ringcask_cache_hits_total", &[]) >= 5.0);
    assert_eq!(scrape.sum("ringcask_buckets", &[]), 1.0);
    assert_eq!(scrape.sum("ringcask_buckets_not_shown", &[]), 0.0);
    let photos = [("bucket", "photos")];
    assert_eq!(scrape.sum("ringcask_bucket_objects", &photos), 6.0);
    assert_eq!(scrape.sum("ringcask_bucket_bytes", &photos), 4.0 * 4096.0 + 3_100_000.0);
    assert!(scrape.sum("ringcask_payload_bytes", &[("state", "live")]) >= 3_100_000.0);
    assert!(scrape.sum("ringcask_log_bytes", &[("state", "live")]) >= 4.0 * 4096.0);
    assert!(scrape.sum("ringcask_core_cpu_seconds_total", &[]) > 0.0);
    assert_eq!(scrape.sum("ringcask_core_up", &[]), 2.0);
    assert_eq!(scrape.sum("ringcask_failed", &[]), 0.0);
}

#[test]
fn every_series_is_documented_and_every_documented_series_is_there() {
    let node = Node::start_with(Options { cores: 3, drives: 2, ..Options::default() });
    work(&node);
    let scrape = Scrape::of(&node);
    let documented = documented();
    let found: BTreeSet<&String> = scrape.families.keys().collect();
    let known: BTreeSet<&String> = documented.keys().collect();
    assert_eq!(found, known, "docs/METRICS.md: left what is exported, right what is documented");
    for (name, family) in &scrape.families {
        let [kind, labels, unit, meaning] = &documented[name];
        assert_eq!(family["type"], *kind, "{name}");
        assert!(meaning.starts_with(family["help"].as_str().unwrap()), "{name}: {meaning}");
        let units = [("seconds", name.contains("_seconds")), ("bytes", name.contains("_bytes"))];
        let expected = units.iter().find(|(_, is_it)| *is_it).map_or("", |(unit, _)| unit);
        assert_eq!(unit, expected, "{name}");
        let labels: BTreeSet<&str> = labels.split('`').skip(1).step_by(2).collect();
        for sample in family["samples"].as_array().unwrap() {
            let given = sample[1].as_object().unwrap().keys().map(String::as_str);
            assert_eq!(given.filter(|name| *name != "le").collect::<BTreeSet<_>>(), labels, "{name}");
        }
    }
}

#[test]
fn whoever_reaches_the_admin_listener_may_scrape_and_nobody_else() {
    let node = Node::start();
    let paths = ["/metrics", "/minio/v2/metrics/cluster", "/minio/v2/metrics/node"];
    for path in paths {
        let body = ask(node.admin(), "GET", path).expect(200).body;
        assert!(body.starts_with(b"# HELP ringcask_build_info "), "{path}");
        assert_ne!(ask(node.admin(), "HEAD", path).expect(200).header("content-length"), Some("0"));
        ask(node.admin(), "POST", path).expect(403);
        assert_ne!(ask(node.address(), "GET", path).status, 200);
    }
    // Nothing in them tells of keys of users, or of objects.
    let mut client = node.client_with_bucket("shown");
    client.put("shown", "nobodys-business", b"x").expect(200);
    let text = String::from_utf8(ask(node.admin(), "GET", "/metrics").expect(200).body).unwrap();
    assert!(text.contains("ringcask_bucket_objects{bucket=\"shown\"} 1"), "{text}");
    assert!(!text.contains("nobodys") && !text.contains(&node.credentials().access_key_id), "{text}");
}

#[test]
fn with_a_token_file_metrics_are_for_whoever_sends_the_token() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = folder.path().join("token");
    fs::write(&file, "tokenofprometheus\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let arguments = ["--metrics-token-file", file.to_str().unwrap()].map(str::to_owned).to_vec();
    let node = Node::start_with(Options { arguments, ..Options::default() });
    let asked_with = |path: &str, header: &str| {
        let mut connection = Connection::open(node.admin()).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: node\r\n{header}\r\n");
        connection.send(request.as_bytes()).unwrap();
        connection.receive(false).unwrap()
    };
    for path in ["/metrics", "/minio/v2/metrics/cluster", "/minio/v2/metrics/node"] {
        for right in
            ["Authorization: Bearer tokenofprometheus\r\n", "authorization: bearer  tokenofprometheus\r\n"]
        {
            assert!(asked_with(path, right).expect(200).text().contains("ringcask_build_info"), "{path}");
        }
        for wrong in [
            "",
            "Authorization: Bearer\r\n",
            "Authorization: Bearer \r\n",
            "Authorization: Bearer tokenofprometheu\r\n",
            "Authorization: Bearer tokenofprometheus1\r\n",
            "Authorization: Bearer TOKENOFPROMETHEUS\r\n",
            "Authorization: Basic tokenofprometheus\r\n",
            "Authorization: tokenofprometheus\r\n",
        ] {
            let refusal = asked_with(path, wrong).expect(401);
            assert_eq!(refusal.header("www-authenticate"), Some("Bearer"), "{path} {wrong}");
            assert!(!refusal.text().contains("ringcask_"), "{path} {wrong}");
        }
    }
    // Probes need none, and the token opens nothing else.
    asked_with("/health", "").expect(200);
    asked_with("/admin/v1/users", "Authorization: Bearer tokenofprometheus\r\n").expect(400);
    assert!(!node.log_whole().contains("tokenofprometheus"));
    let shown = crate::identities::manage(&node, &["config"]);
    assert!(shown.contains("metrics-token-file") && !shown.contains("tokenofprometheus"), "{shown}");
}

/// Has Prometheus's own tool look at a text, if it is there (Debian's package `prometheus` has it).
#[track_caller]
fn promtool(arguments: &[&str], text: &str) {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let file = folder.path().join("text.yml");
    fs::write(&file, text).unwrap();
    let mut command = Command::new("promtool");
    // It reads metrics from its input, and all else from files.
    match arguments {
        ["check", "metrics"] => command.args(arguments).stdin(File::open(&file).unwrap()),
        _ => command.args(arguments).arg(&file),
    };
    match command.output() {
        Ok(output) => {
            let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
            assert!(output.status.success(), "{}\n{text}", said.concat());
            // What it would like otherwise is no failure of its own.
            assert!(arguments != ["check", "metrics"] || said.concat().is_empty(), "{}", said.concat());
        }
        Err(_) => eprintln!("left out: there is no promtool here"),
    }
}

#[test]
fn promtool_has_nothing_to_say_about_a_scrape() {
    let authority = Authority::new();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut arguments = authority.issue("node").arguments();
    let log = folder.path().join("access.log");
    arguments
        .extend(["--access-log", log.to_str().unwrap(), "--listen-http", "127.0.0.1:0"].map(str::to_owned));
    let node = Node::start_with(Options { cores: 3, drives: 2, arguments, ..Options::default() });
    let mut client = Client::new(node.plain(), node.credentials().clone());
    client.put_bucket("photos");
    client.put("photos", "k", &payload(1, 100_000)).expect(200);
    client.get("photos", "none").expect_error(404, "NoSuchKey");
    let text = ask(node.admin(), "GET", "/metrics").expect(200).text();
    assert!(text.lines().count() > 500, "{text}");
    promtool(&["check", "metrics"], &text);
}

/// Queries of the dashboard, with its variables filled in.
fn queries() -> Vec<(String, String)> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter().filter(|panel| panel["type"] != "row");
    let targets = panels.flat_map(|panel| {
        panel["targets"].as_array().unwrap_or_else(|| panic!("{} asks nothing", panel["title"]))
    });
    let text = |value: &Value| {
        let text = value.as_str().unwrap_or_default();
        text.replace("$__rate_interval", "5m").replace("$instance", ".*")
    };
    targets.map(|target| (text(&target["expr"]), text(&target["legendFormat"]))).collect()
}

/// Expressions in the documents: those of tables have none.
fn documented_queries() -> Vec<String> {
    let at = DOCUMENT.find("## What to look at").unwrap();
    let quoted = DOCUMENT[at..].split('`').skip(1).step_by(2);
    quoted.filter(|text| text.contains("ringcask_")).map(str::to_owned).collect()
}

#[test]
fn promtool_understands_every_query_and_the_documented_configuration() {
    let dashboard = queries().into_iter().map(|(query, _)| query);
    let rules: String = dashboard
        .chain(documented_queries())
        .enumerate()
        .map(|(number, query)| {
            format!("  - record: query:{number}\n    expr: {}\n", serde_json::to_string(&query).unwrap())
        })
        .collect();
    assert!(rules.lines().count() > 80, "{rules}");
    promtool(&["check", "rules"], &format!("groups:\n- name: queries\n  rules:\n{rules}"));
    let blocks = DOCUMENT.split("\n\n").filter(|block| block.trim_start().starts_with("scrape_configs:"));
    let blocks: Vec<&str> = blocks.collect();
    assert_eq!(blocks.len(), 2, "without a token, and with one");
    for block in blocks {
        let lines = block.lines().filter_map(|line| line.strip_prefix("    "));
        promtool(&["check", "config", "--syntax-only"], &lines.collect::<Vec<_>>().join("\n"));
    }
}

/// What stands in `text` between each `open` and the next `close`.
fn enclosed<'a>(text: &'a str, open: &'a str, close: char) -> impl Iterator<Item = &'a str> {
    text.split(open).skip(1).filter_map(move |rest| rest.split_once(close)).map(|(inside, _)| inside)
}

#[test]
fn the_dashboard_asks_only_for_series_and_labels_that_are_exported() {
    let documented = documented();
    let queries = queries();
    assert!(queries.len() >= 30, "only {} queries", queries.len());
    for (query, legend) in queries {
        let is_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let words = query.split(|letter| !is_name(letter)).filter(|word| word.starts_with("ringcask_"));
        // Those that Prometheus adds.
        let mut labels: BTreeSet<&str> = ["instance", "job"].into();
        let mut any = false;
        for name in words {
            let part = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            let part = part.filter(|family| documented.get(*family).is_some_and(|row| row[0] == "histogram"));
            let plain =
                Some(name).filter(|name| documented.get(*name).is_some_and(|row| row[0] != "histogram"));
            let family = part.or(plain).unwrap_or_else(|| panic!("{name} in {query}"));
            labels.extend(documented[family][1].split('`').skip(1).step_by(2));
            labels.extend(name.ends_with("_bucket").then_some("le"));
            any = true;
        }
        assert!(any, "{query}");
        let grouped: BTreeSet<&str> = enclosed(&query, "by (", ')').flat_map(|by| by.split(", ")).collect();
        let matched = enclosed(&query, "{", '}').flat_map(|matchers| matchers.split("\","));
        let matched = matched.map(|matcher| matcher.split(['=', '!']).next().unwrap_or_default());
        for label in matched.chain(grouped.iter().copied()) {
            assert!(labels.contains(label), "{label} in {query}");
        }
        for label in enclosed(&legend, "{{", '}') {
            assert!(grouped.contains(label), "{label} in the legend {legend} of {query}");
        }
    }
}
