//! `ringcask check`: everything on the drives of a node that is not running, held against itself.

use std::io::IsTerminal;

use clap::Args;
use serde_json::{Value, json};

use super::directories::{DataOptions, Directories};
use super::progress::rewrite;
use super::text::{bytes, labelled, number, object, printable, width};
use super::{Environment, print};
use crate::control::data_directory::KNOWN_NAMES;
use crate::engine::VersionId;
use crate::engine::offline::{self, Finding, ObjectName, Options, Progress, Report, Severity, Stage, hex};
use crate::io::directory::wait;
use crate::s3::encryption::layout;
use crate::s3::version;

pub const EXIT_CODES: &str = "\
Exit code: 0 if nothing is damaged, 1 if something is, 2 if it could not be
checked (a node runs on it, it is no data directory, a drive is missing, files
may not be read, or the command is misspelt).

It only reads. Memory is about what the node's index takes. What to do when
something is damaged: docs/DAMAGE.md.";

/// Findings of each severity that are printed unless all are asked for.
const SHOWN: usize = 20;

/// Objects of a finding that are printed unless all are asked for.
const OBJECTS_SHOWN: usize = 5;

#[derive(Args, Debug)]
pub struct Check {
    #[command(flatten)]
    data: DataOptions,

    /// Leave the payload of large objects out: their checksum blocks are read, what they cover is not
    #[arg(long)]
    quick: bool,

    /// Print all findings that are kept (1,000 of each severity) and all objects named
    #[arg(long)]
    all: bool,

    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

impl Check {
    /// Checks, prints the report, and returns the exit code.
    pub fn run(self, environment: Environment<'_>) -> Result<u8, String> {
        let directories = self.data.open(environment, false)?;
        let options = Options { quick: self.quick, names_known: &KNOWN_NAMES, examine: layout::fault_of };
        let mut bar = Bar::default();
        let checked = wait(offline::check(&directories.disks, &options, &mut |progress| bar.show(progress)));
        bar.clear();
        let report = checked.map_err(|unable| {
            let paths: Vec<String> =
                directories.paths.iter().map(|path| path.display().to_string()).collect();
            format!("cannot check {}: {unable}", paths.join(", "))
        })?;
        let text = match self.json {
            true => format!("{:#}\n", as_json(&report, &directories, self.quick)),
            false => as_text(&report, &directories, self.quick, self.all),
        };
        print(&text)?;
        Ok(match (report.count(Severity::Damage), report.unchecked.is_empty()) {
            (1.., _) => 1,
            (0, false) => 2,
            (0, true) => 0,
        })
    }
}

/// How far the check has come, on a terminal.
#[derive(Default)]
pub struct Bar {
    last: Option<(Stage, u64)>,
}

impl Bar {
    pub fn show(&mut self, progress: Progress) {
        let Progress { stage, done, total } = progress;
        let percent = done.saturating_mul(100) / total.max(1);
        if self.last == Some((stage, percent)) || !std::io::stderr().is_terminal() {
            return;
        }
        self.last = Some((stage, percent));
        let what = match stage {
            Stage::Logs => "reading the logs",
            Stage::Checkpoints => "comparing checkpoints",
            Stage::Data => "verifying payload",
        };
        rewrite(&format!("{what}: {percent}% of {}", bytes(total)));
    }

    pub fn clear(&self) {
        if self.last.is_some() {
            rewrite("");
        }
    }
}

fn as_text(report: &Report, directories: &Directories, is_quick: bool, is_all: bool) -> String {
    let mut out = summary_text(report, is_quick);
    for (severity, title) in
        [(Severity::Damage, "DAMAGE"), (Severity::Warning, "WARNINGS"), (Severity::Note, "NOTES")]
    {
        let count = report.count(severity);
        if count == 0 {
            continue;
        }
        out.push_str(&format!("\n{title} ({})\n", number(count)));
        let shown = if is_all { usize::MAX } else { SHOWN };
        let of_it = report.findings.iter().filter(|finding| finding.severity == severity).take(shown);
        let mut printed = 0;
        for finding in of_it {
            out.push_str(&finding_text(finding, directories, is_all));
            printed += 1;
        }
        if printed < count {
            let hint = if is_all { "" } else { "; --all prints more" };
            out.push_str(&format!("\n  and {} more{hint}\n", number(count - printed)));
        }
    }
    if !report.unchecked.is_empty() {
        out.push_str("\nNOT CHECKED\n");
        report.unchecked.iter().take(SHOWN).for_each(|why| out.push_str(&format!("  {why}\n")));
    }
    out.push_str(&format!("\n{}\n", verdict(report)));
    out
}

fn verdict(report: &Report) -> String {
    let count = |severity| report.count(severity);
    let warnings = counted(count(Severity::Warning), "warning");
    let others = format!("{warnings}, {}", counted(count(Severity::Note), "note"));
    match (count(Severity::Damage), report.unchecked.len()) {
        (0, 0) => format!("clean: no damage, {others}"),
        (0, _) => format!("not all could be checked; no damage in what was, {others}"),
        (damage, _) => format!("DAMAGED: {}, {others}; see docs/DAMAGE.md", counted(damage, "finding")),
    }
}

/// A number of things.
pub fn counted(count: u64, what: &str) -> String {
    format!("{} {what}{}", number(count), if count == 1 { "" } else { "s" })
}

fn summary_text(report: &Report, is_quick: bool) -> String {
    let summary = &report.summary;
    let mut out = match summary.node {
        Some(node) => format!("node {}", hex(&node)),
        None => "node unknown".to_owned(),
    };
    out.push_str(&format!(
        "\nstart {}, generation {}, {}, {}\n\n",
        summary.epoch,
        summary.generation,
        counted(summary.cores.into(), "core"),
        counted(summary.drives, "drive")
    ));
    let mut row = |left: (&str, String), right: (&str, String)| {
        out.push_str(&format!("  {:<18} {:>16}    {:<18} {:>16}\n", left.0, left.1, right.0, right.1));
    };
    row(("buckets", number(summary.buckets)), ("log segments", number(summary.log_segments)));
    row(("objects", number(summary.objects)), ("log batches", number(summary.log_batches)));
    row(("other versions", number(summary.versions)), ("log records", number(summary.log_records)));
    row(("bytes of them", bytes(summary.object_bytes)), ("log live", bytes(summary.log_bytes_live)));
    let dead = summary.log_bytes.saturating_sub(summary.log_bytes_live);
    row(("uploads", number(summary.uploads)), ("log dead", bytes(dead)));
    row(("parts of uploads", number(summary.parts)), ("checkpoints", number(summary.checkpoints)));
    row(("configuration", number(summary.config_entries)), ("data segments", number(summary.data_segments)));
    row(("events waiting", number(summary.events)), ("data live", bytes(summary.data_bytes_live)));
    let unused = summary.data_bytes_allocated.saturating_sub(summary.data_bytes_live);
    row(("extents", number(summary.extents)), ("data unused", bytes(unused)));
    let verified = if is_quick { "left out".to_owned() } else { bytes(summary.data_bytes_verified) };
    row(("references", number(summary.references)), ("payload verified", verified));
    let mut buckets = report.buckets.iter();
    if !report.buckets.is_empty() {
        out.push_str(&format!("\n  {:<36} {:>12} {:>12} {:>12}\n", "BUCKET", "OBJECTS", "VERSIONS", "BYTES"));
    }
    for (name, usage) in buckets.by_ref().take(SHOWN) {
        out.push_str(&format!(
            "  {:<36} {:>12} {:>12} {:>12}\n",
            printable(name.as_bytes()),
            number(usage.objects),
            number(usage.versions),
            bytes(usage.bytes)
        ));
    }
    let more = buckets.count();
    if more > 0 {
        out.push_str(&format!("  and {} more buckets\n", number(more as u64)));
    }
    out
}

fn finding_text(finding: &Finding, directories: &Directories, is_all: bool) -> String {
    let mut out = format!("\n  {}", directories.path_of(finding.spot.drive, &finding.spot.file));
    if let Some(offset) = finding.spot.offset {
        out.push_str(&format!(" at offset {offset}"));
    }
    out.push('\n');
    out.push_str(&labelled(width(), "found", &finding.found));
    out.push_str(&labelled(width(), "expected", &finding.expected));
    let shown = if is_all { usize::MAX } else { OBJECTS_SHOWN };
    for (at, name) in finding.objects.iter().take(shown).enumerate() {
        out.push_str(&labelled(width(), if at == 0 { "touches" } else { "" }, &object(name)));
    }
    let more = finding.objects.len().saturating_sub(shown) as u64 + finding.objects_more;
    if more > 0 {
        out.push_str(&labelled(width(), "", &format!("and {} more", number(more))));
    }
    out
}

fn as_json(report: &Report, directories: &Directories, is_quick: bool) -> Value {
    let it = &report.summary;
    let findings: Vec<Value> =
        report.findings.iter().map(|finding| finding_json(finding, directories)).collect();
    let buckets: Vec<Value> = report
        .buckets
        .iter()
        .map(|(name, usage)| {
            json!({ "name": name, "objects": usage.objects, "versions": usage.versions, "bytes": usage.bytes })
        })
        .collect();
    json!({
        "clean": report.is_clean(),
        "quick": is_quick,
        "counts": {
            "damage": report.count(Severity::Damage),
            "warning": report.count(Severity::Warning),
            "note": report.count(Severity::Note),
        },
        "summary": {
            "node": it.node.map(|node| hex(&node)),
            "epoch": it.epoch,
            "generation": it.generation,
            "cores": it.cores,
            "drives": it.drives,
            "buckets": it.buckets,
            "objects": it.objects,
            "versions": it.versions,
            "objectBytes": it.object_bytes,
            "uploads": it.uploads,
            "parts": it.parts,
            "configEntries": it.config_entries,
            "events": it.events,
            "renames": it.renames,
            "logSegments": it.log_segments,
            "logBatches": it.log_batches,
            "logRecords": it.log_records,
            "logBytes": it.log_bytes,
            "logBytesLive": it.log_bytes_live,
            "checkpoints": it.checkpoints,
            "dataSegments": it.data_segments,
            "extents": it.extents,
            "references": it.references,
            "dataBytesLive": it.data_bytes_live,
            "dataBytesAllocated": it.data_bytes_allocated,
            "dataBytesVerified": it.data_bytes_verified,
        },
        "buckets": buckets,
        "findings": findings,
        "unchecked": report.unchecked,
    })
}

fn finding_json(finding: &Finding, directories: &Directories) -> Value {
    json!({
        "severity": finding.severity.to_string(),
        "area": finding.area.to_string(),
        "drive": finding.spot.drive,
        "path": directories.path_of(finding.spot.drive, &finding.spot.file),
        "file": finding.spot.file,
        "offset": finding.spot.offset,
        "found": finding.found,
        "expected": finding.expected,
        "objects": finding.objects.iter().map(object_json).collect::<Vec<_>>(),
        "objectsMore": finding.objects_more,
    })
}

/// An object's name; a key that is no UTF-8 is given in hexadecimal digits too.
pub fn object_json(object: &ObjectName) -> Value {
    let mut it = json!({
        "bucket": object.bucket_name,
        "bucketId": format!("{:016x}", object.bucket),
        "key": String::from_utf8_lossy(&object.key),
    });
    if str::from_utf8(&object.key).is_err() {
        it["keyHex"] = json!(hex(&object.key));
    }
    if let Some(id) = object.version {
        it["versionId"] = json!(match id {
            VersionId::Null => "null".to_owned(),
            numbered => version::text(numbered),
        });
    }
    if let Some(id) = &object.upload {
        it["uploadId"] = json!(hex(id));
    }
    it
}
