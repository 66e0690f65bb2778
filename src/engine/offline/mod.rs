//! What lies on the drives of a node that is not running: checked, and shown.
//!
//! Nothing here writes, maps or believes a length before it is checked, so it is safe on any directory,
//! whatever happened to it. Memory is bounded by what the node itself would need for the same directory: its
//! index.
//!
//! Structures are read by `format/`, as everywhere. What they mean together is not asked of `recovery/`,
//! `checkpoint/`, `index/` or `log/`: [`check()`] keeps an account of its own, so that it can tell when those
//! are wrong. It works on any [`Disk`]: on plain files for the command, on simulated drives for the histories
//! of the tests.

mod catalogue;
mod compare;
mod describe;
mod extents;
mod image;
pub mod inspect;
mod inventory;
mod logs;
mod loss;
mod reader;
mod report;
mod walk;

use std::collections::BTreeSet;

use super::format::record::Record;
use crate::io::Disk;
use catalogue::Catalogue;
use logs::Context;
use report::Findings;

pub use describe::{Described, hex};
pub use loss::{Loss, loss};
pub use report::{Area, Finding, ObjectName, Report, Severity, Spot, Summary};
pub use walk::{Gap, GapKind};

/// How much is checked.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// Leaves the payload of extents out: their checksum blocks are read, what they cover is not.
    pub quick: bool,
    /// Names of files that lie beside the engine's and belong there.
    pub names_known: &'a [&'a str],
    /// Judges a record by what its upper layers know: what is wrong with it, if something is.
    pub examine: fn(&Record) -> Option<String>,
}

impl Default for Options<'_> {
    fn default() -> Self {
        Self { quick: false, names_known: &[], examine: |_| None }
    }
}

/// Why nothing could be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unable(pub String);

impl std::fmt::Display for Unable {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(&self.0)
    }
}

impl std::error::Error for Unable {}

/// What is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Logs,
    Checkpoints,
    Data,
}

/// How far a check has come, in bytes of the stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub stage: Stage,
    pub done: u64,
    pub total: u64,
}

/// Checks all drives of a node, given in their order. Nobody may write to them meanwhile.
///
/// # Errors
///
/// [`Unable`] if these are not the drives of one node, or cannot be read at all. Damage is no error: the
/// report has it.
pub async fn check<D: Disk>(
    disks: &[D],
    options: &Options<'_>,
    progress: &mut dyn FnMut(Progress),
) -> Result<Report, Unable> {
    let mut findings = Findings::default();
    let mut summary = Summary { drives: disks.len() as u64, ..Summary::default() };
    let inventory = inventory::take(disks, options, &mut findings).await?;
    if inventory.is_empty() && !findings.has_damage() {
        return Err(Unable("there is nothing of a node in it".to_owned()));
    }
    let identity = inventory.identity();
    if let Some(identity) = identity {
        summary.node = Some(identity.node);
        (summary.epoch, summary.generation) = (identity.epoch, identity.generation);
        summary.cores = identity.cores;
    }
    let mut catalogue = Catalogue::default();
    let mut context = Context {
        disks,
        options,
        inventory: &inventory,
        identity,
        findings: &mut findings,
        summary: &mut summary,
        progress,
        cores_lost: BTreeSet::new(),
    };
    let checkpoints = compare::open_all(&mut context).await;
    let mut logs = logs::open(&mut context).await;
    compare::name_positions(&checkpoints, &mut logs);
    logs::read_all(&mut context, &mut logs, &mut catalogue).await;
    compare::compare_all(&mut context, &mut logs, &checkpoints, &mut catalogue).await;
    let table = std::mem::take(&mut catalogue.table);
    catalogue.drop_buckets_beyond(&table);
    catalogue.table = table;
    extents::check(&mut context, &catalogue).await;
    sum_up(&catalogue, &mut summary);
    Ok(finish(findings, summary, &catalogue))
}

fn sum_up(catalogue: &Catalogue, summary: &mut Summary) {
    summary.buckets = catalogue.table.len() as u64;
    summary.config_entries = catalogue.config.len() as u64;
    summary.events = catalogue.events.len() as u64;
    summary.renames = catalogue.renames.len() as u64;
    for (bucket, contents) in &catalogue.buckets {
        let usage = catalogue.usage(*bucket);
        summary.objects += usage.objects;
        summary.versions += usage.versions;
        summary.object_bytes = summary.object_bytes.saturating_add(usage.bytes);
        summary.uploads += contents.uploads.len() as u64;
        summary.parts += contents.uploads.values().map(|upload| upload.parts.len() as u64).sum::<u64>();
    }
    catalogue.for_each_item(|item| summary.log_bytes_live += u64::from(item.location.length));
}

fn finish(findings: Findings, summary: Summary, catalogue: &Catalogue) -> Report {
    let name = |id| catalogue.table.get(&id).map(|(bucket, _)| bucket.name.clone());
    let mut buckets: Vec<_> = catalogue
        .table
        .values()
        .map(|(bucket, _)| (bucket.name.clone(), catalogue.usage(bucket.id)))
        .collect();
    buckets.sort_by(|one, other| one.0.cmp(&other.0));
    Report { summary, buckets, ..findings.into_report(name) }
}
