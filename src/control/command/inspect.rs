//! `ringcask inspect`: what lies in the files of a node, for a person to look at.

use std::collections::BTreeMap;
use std::io::{BufWriter, Write};
use std::path::Path;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Environment;
use super::check::object_json;
use super::directories::{DataOptions, Directories};
use super::text::{bytes, number, place, printable};
use crate::engine::BucketId;
use crate::engine::format::FileName;
use crate::engine::format::segment::SegmentKind;
use crate::engine::offline::inspect::{self, Byte, File, Line};
use crate::engine::offline::{Described, GapKind, hex};
use crate::io::directory::wait;

pub const EXAMPLES: &str = "\
Examples:
  ringcask inspect --data /srv/a                   which files there are
  ringcask inspect --data /srv/a log log-00000003  its records, one to a line
  ringcask inspect log log-00000003 --hex 40960    the bytes around an offset
  ringcask inspect object photos/2026/cat.jpg      all records of one object

With --json each line is a JSON object. Values of the configuration, of bucket
settings and of headers, payload and keys are never shown, in dumps neither:
there, bytes that are no structure stand as '··' unless they are zero.";

#[derive(Args, Debug)]
pub struct Inspect {
    #[command(flatten)]
    data: DataOptions,

    /// Look although a node runs there: what it is just writing may look torn
    #[arg(long, global = true)]
    live: bool,

    /// Print JSON, an object to a line
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Subcommand, Debug)]
enum What {
    /// The superblocks of all drives
    Superblock,
    /// The headers of all log and data segments
    Segments,
    /// The records of a log segment
    Log(OfFile),
    /// The extents of a data segment: checksum blocks that are whole, of extents in use and of earlier ones
    Segment(OfFile),
    /// What a checkpoint holds, in numbers
    Checkpoint(OfFile),
    /// All records of an object in all logs
    Object {
        /// BUCKET/KEY
        name: String,
    },
    /// All records of a bucket itself in all logs, with the names of its settings
    Bucket { name: String },
}

#[derive(Args, Debug)]
struct OfFile {
    /// Name of the file, or its path
    file: String,
    /// Show the bytes around this offset instead
    #[arg(long, value_name = "OFFSET")]
    hex: Option<u64>,
}

/// Where lines go.
struct Show<'a> {
    out: BufWriter<std::io::Stdout>,
    is_json: bool,
    /// Whoever reads has gone.
    is_closed: bool,
    directories: &'a Directories,
    names: BTreeMap<BucketId, String>,
}

impl Inspect {
    pub fn run(self, environment: Environment<'_>) -> Result<(), String> {
        let directories = self.data.open(environment, self.live)?;
        let mut show = Show {
            out: BufWriter::new(std::io::stdout()),
            is_json: self.json,
            is_closed: false,
            directories: &directories,
            names: BTreeMap::new(),
        };
        match self.what {
            None => show.overview()?,
            Some(What::Superblock) => show.superblocks(),
            Some(What::Segments) => show.segments()?,
            Some(What::Log(of)) => show.file(&of, "log", Show::log)?,
            Some(What::Segment(of)) => show.file(&of, "data", Show::data)?,
            Some(What::Checkpoint(of)) => show.file(&of, "checkpoint", Show::checkpoint)?,
            Some(What::Object { name }) => show.object(&name)?,
            Some(What::Bucket { name }) => show.bucket(&name)?,
        }
        show.out.flush().or_else(ignore_closed)
    }
}

fn ignore_closed(error: std::io::Error) -> Result<(), String> {
    match error.kind() {
        std::io::ErrorKind::BrokenPipe => Ok(()),
        _ => Err(format!("cannot print: {error}")),
    }
}

impl Show<'_> {
    /// Prints a line: its text, or its JSON.
    fn line(&mut self, text: impl FnOnce() -> String, json: impl FnOnce() -> Value) {
        let line = if self.is_json { json().to_string() } else { text() };
        if !self.is_closed && !line.is_empty() {
            self.is_closed = writeln!(self.out, "{line}").is_err();
        }
    }

    fn title(&mut self, text: &str) {
        self.line(|| text.to_owned(), || Value::Null);
    }

    fn head(&mut self, text: &str) {
        if !self.is_json {
            self.title(text);
        }
    }

    fn overview(&mut self) -> Result<(), String> {
        self.superblocks();
        self.segments()?;
        let files = inspect::files(&self.directories.disks)?;
        for file in files.iter().filter(|file| matches!(file.name, FileName::Checkpoint { .. })) {
            let read = wait(inspect::checkpoint(&self.directories.disks, file));
            let path = self.directories.path_of(file.drive, &file.name.to_string());
            let says = match &read {
                Ok((header, _)) => format!(
                    "{} entries, continues at log-{:08x} offset {}",
                    number(header.entries),
                    header.position.segment,
                    header.position.offset
                ),
                Err(why) => why.clone(),
            };
            let entries = read.as_ref().ok().map(|(header, _)| header.entries);
            self.line(
                || format!("{} ({})\n    {says}", file.name, bytes(file.bytes)),
                || json!({ "file": path, "bytes": file.bytes, "entries": entries, "says": says }),
            );
        }
        Ok(())
    }

    fn superblocks(&mut self) {
        for (drive, name, superblock) in wait(inspect::superblocks(&self.directories.disks)) {
            let path = self.directories.path_of(drive, name);
            match superblock {
                Ok(it) => self.line(
                    || {
                        format!(
                            "{path}\n    node {}, drive {} of {}\n    start {}, generation {}, {} cores",
                            hex(&it.node),
                            it.drive,
                            it.drives,
                            it.epoch,
                            it.generation,
                            it.cores
                        )
                    },
                    || {
                        json!({ "file": path, "node": hex(&it.node), "drive": it.drive, "drives": it.drives,
                            "epoch": it.epoch, "generation": it.generation, "cores": it.cores })
                    },
                ),
                Err(why) => {
                    self.line(|| format!("{path}\n    {why}"), || json!({ "file": path, "error": why }));
                }
            }
        }
    }

    fn segments(&mut self) -> Result<(), String> {
        self.head("SEGMENT        GENERATION  CORE   START         BYTES     ALLOCATED  DRIVE");
        for file in inspect::files(&self.directories.disks)? {
            if !matches!(file.name, FileName::Log(_) | FileName::Data(_)) {
                continue;
            }
            let header = wait(inspect::segment_header(&self.directories.disks, &file));
            let path = self.directories.path_of(file.drive, &file.name.to_string());
            let (length, allocated) = (file.bytes, file.bytes_allocated);
            match header {
                Ok(it) => self.line(
                    || {
                        format!(
                            "{:<13} {:>11} {:>5} {:>7} {:>13} {:>13} {:>6}",
                            file.name.to_string(),
                            it.generation,
                            it.shard,
                            it.epoch,
                            length,
                            allocated,
                            file.drive
                        )
                    },
                    || {
                        let kind = if it.kind == SegmentKind::Log { "log" } else { "data" };
                        json!({ "file": path, "kind": kind, "generation": it.generation, "core": it.shard,
                            "epoch": it.epoch, "bytes": length, "bytesAllocated": allocated })
                    },
                ),
                Err(why) => self.line(
                    || format!("{:<13} {why}", file.name.to_string()),
                    || json!({ "file": path, "bytes": length, "bytesAllocated": allocated, "error": why }),
                ),
            }
        }
        Ok(())
    }

    /// Shows a file by its name, or the bytes around a place in it.
    fn file(
        &mut self,
        of: &OfFile,
        kind: &str,
        show: fn(&mut Self, &File) -> Result<(), String>,
    ) -> Result<(), String> {
        let name =
            Path::new(&of.file).file_name().map_or(of.file.clone(), |it| it.to_string_lossy().into_owned());
        let wanted = FileName::parse(&name).filter(|_| name.starts_with(kind));
        let wanted =
            wanted.ok_or_else(|| format!("'{name}' is not the name of a file like {kind}-00000001"))?;
        let files = inspect::files(&self.directories.disks)?;
        let file = files.into_iter().find(|file| file.name == wanted);
        let file = file.ok_or_else(|| format!("there is no {name} in the data directories"))?;
        match of.hex {
            Some(offset) => self.dump(&file, offset),
            None => show(self, &file),
        }
    }

    fn log(&mut self, file: &File) -> Result<(), String> {
        self.names = wait(inspect::bucket_names(&self.directories.disks, false))?;
        self.head("    OFFSET    LENGTH KIND              SEQUENCE       BYTES NAME");
        let disks = &self.directories.disks;
        let walked = wait(inspect::log(disks, file, &mut |line| self.log_line(line, None)))?;
        let text = format!(
            "{} batches, {} records; the log ends at offset {}",
            number(walked.batches),
            number(walked.records),
            walked.end
        );
        self.line(
            || text,
            || json!({ "batches": walked.batches, "records": walked.records, "end": walked.end }),
        );
        Ok(())
    }

    fn log_line(&mut self, line: Line, file: Option<&str>) {
        match line {
            Line::Batch { header, offset } if file.is_none() => {
                let after = match header.previous_segment {
                    0 => "the first".to_owned(),
                    segment => format!("after log-{segment:08x} offset {}", header.previous_offset),
                };
                self.line(
                    || {
                        format!(
                            "{offset:>10} {:>9} batch {} of {} records, {after}",
                            header.bytes, header.sequence, header.records
                        )
                    },
                    || {
                        json!({ "offset": offset, "length": header.bytes, "kind": "batch",
                            "batch": header.sequence, "records": header.records })
                    },
                );
            }
            Line::Batch { .. } => {}
            Line::Record(record) => self.record(record, None, file),
            Line::Broken { location, what, perhaps } => match perhaps {
                Some(record) => self.record(record, Some(what), file),
                None => self.line(
                    || format!("{:>10} {:>9} DAMAGED: {what}", location.offset, location.length),
                    || json!({ "file": file, "offset": location.offset, "damaged": what }),
                ),
            },
            Line::Gap { gap, is_tail } => {
                let what = match gap.what {
                    GapKind::Header => "no valid header of a batch".to_owned(),
                    GapKind::Records { sequence } => format!("batch {sequence} is not whole"),
                    GapKind::Sequence { expected, found } => format!("batch {found} instead of {expected}"),
                };
                let title = if is_tail { "behind the end" } else { "DAMAGED" };
                self.line(
                    || format!("{:>10} {:>9} {title}: {what}", gap.from, gap.to - gap.from),
                    || json!({ "file": file, "offset": gap.from, "to": gap.to, "damaged": what, "atEnd": is_tail }),
                );
            }
        }
    }

    fn record(&mut self, mut record: Described, damaged: Option<String>, file: Option<&str>) {
        if let Some(object) = &mut record.object {
            object.bucket_name =
                record.bucket_name.clone().or_else(|| self.names.get(&object.bucket).cloned());
        }
        let text = || {
            let sequence = record.sequence.map_or(String::new(), |it| format!("{it:016x}"));
            let length = record.bytes.map_or(String::new(), |it| it.to_string());
            let name =
                record.object.as_ref().map(place).or_else(|| record.bucket_name.clone()).unwrap_or_default();
            let name = if record.kind.ends_with("config") { facts_of(&record) } else { name };
            let mark = if damaged.is_some() { "DAMAGED " } else { "" };
            let mut line = format!(
                "{:>10} {:>9} {:<9} {sequence:>16} {length:>11} {mark}{name}",
                record.location.offset, record.location.length, record.kind
            );
            if let Some(file) = file {
                line = format!(
                    "{file} at offset {} ({} bytes)\n    {}",
                    record.location.offset, record.location.length, record.kind
                );
                for (name, value) in &record.facts {
                    line.push_str(&format!("\n    {name}: {}", printable(value.as_bytes())));
                }
                if !sequence.is_empty() {
                    line.push_str(&format!("\n    sequence: {sequence}"));
                }
                if !length.is_empty() {
                    line.push_str(&format!("\n    bytes: {length}"));
                }
                damaged.iter().for_each(|what| line.push_str(&format!("\n    DAMAGED: {what}")));
            }
            line.trim_end().to_owned()
        };
        let json = || {
            let facts: serde_json::Map<String, Value> =
                record.facts.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
            json!({ "file": file, "offset": record.location.offset, "length": record.location.length,
                "kind": record.kind, "object": record.object.as_ref().map(object_json),
                "bytes": record.bytes, "sequence": record.sequence.map(|it| format!("{it:016x}")),
                "facts": facts, "damaged": damaged })
        };
        let line = if self.is_json { json().to_string() } else { text() };
        if !self.is_closed {
            self.is_closed = writeln!(self.out, "{line}").is_err();
        }
    }

    fn data(&mut self, file: &File) -> Result<(), String> {
        self.head("     BLOCK        OFFSET       PAYLOAD   CHECKSUMS   CHECKSUM BLOCK AT");
        let disks = &self.directories.disks;
        wait(inspect::data(disks, file, &mut |offset, trailer| {
            let start = u64::from(trailer.extent.block) * crate::base::limits::BLOCK_BYTES as u64;
            let other = match trailer.extent.segment {
                segment if FileName::Data(segment) == file.name => String::new(),
                segment => format!("  NAMES data-{segment:08x}"),
            };
            self.line(
                || {
                    format!(
                        "{:>10} {start:>13} {:>13} {:>11} {offset:>19}{other}",
                        trailer.extent.block,
                        trailer.payload_bytes,
                        trailer.checksums.len()
                    )
                },
                || {
                    json!({ "segment": trailer.extent.segment, "block": trailer.extent.block, "offset": start,
                        "payloadBytes": trailer.payload_bytes, "checksums": trailer.checksums.len(),
                        "trailerOffset": offset })
                },
            );
        }))
    }

    fn checkpoint(&mut self, file: &File) -> Result<(), String> {
        self.names = wait(inspect::bucket_names(&self.directories.disks, false))?;
        let (header, tables) = wait(inspect::checkpoint(&self.directories.disks, file))?;
        let position = header.position;
        self.line(
            || {
                format!(
                    "{}\n    of core {} of {}, generation {}, number {}\n    {} entries in {} chunks, {}\n    \
                     continues at log-{:08x} offset {}, with batch {}",
                    file.name,
                    header.shard,
                    header.cores,
                    header.generation,
                    header.sequence,
                    number(header.entries),
                    number(header.chunks.into()),
                    bytes(file.bytes),
                    position.segment,
                    position.offset,
                    position.sequence
                )
            },
            || {
                json!({ "file": file.name.to_string(), "core": header.shard, "cores": header.cores,
                    "generation": header.generation, "number": header.sequence, "entries": header.entries,
                    "chunks": header.chunks, "bytes": file.bytes,
                    "position": { "segment": position.segment, "offset": position.offset,
                        "batch": position.sequence } })
            },
        );
        self.head("TABLE              ENTRIES         BYTES");
        for (kind, (count, length)) in tables.kinds {
            self.line(
                || format!("{kind:<13} {:>12} {:>13}", number(count), number(length)),
                || json!({ "table": kind, "entries": count, "bytes": length }),
            );
        }
        self.head("BUCKET                                   VERSIONS      UPLOADS");
        for (id, (versions, uploads)) in tables.buckets {
            let name = self.names.get(&id).cloned().unwrap_or_else(|| format!("{id:016x}"));
            self.line(
                || {
                    format!(
                        "{:<36} {:>12} {:>12}",
                        printable(name.as_bytes()),
                        number(versions),
                        number(uploads)
                    )
                },
                || json!({ "bucket": name, "versions": versions, "uploads": uploads }),
            );
        }
        if let Some((offset, why)) = tables.fault {
            self.line(
                || format!("DAMAGED at offset {offset}: {why}"),
                || json!({ "damaged": why, "offset": offset }),
            );
        }
        Ok(())
    }

    fn object(&mut self, name: &str) -> Result<(), String> {
        let (bucket, key) = name.split_once('/').ok_or("name the object as BUCKET/KEY")?;
        let (bucket, key) = (bucket.to_owned(), key.as_bytes().to_vec());
        self.every_log(move |record, names| {
            let object = record.object.as_ref();
            object.is_some_and(|it| it.key == key && names.get(&it.bucket) == Some(&bucket))
        })
    }

    fn bucket(&mut self, name: &str) -> Result<(), String> {
        let name = name.to_owned();
        self.every_log(move |record, names| {
            let is_its = |id: &BucketId| names.get(id) == Some(&name);
            let object = record.object.as_ref().filter(|it| it.key.is_empty());
            object.is_some_and(|it| is_its(&it.bucket))
        })
    }

    /// Shows the records of all logs that are wanted.
    fn every_log(
        &mut self,
        wanted: impl Fn(&Described, &BTreeMap<BucketId, String>) -> bool,
    ) -> Result<(), String> {
        let disks = &self.directories.disks;
        self.names = wait(inspect::bucket_names(disks, true))?;
        let mut count = 0u64;
        for file in inspect::files(disks)? {
            if !matches!(file.name, FileName::Log(_)) {
                continue;
            }
            let path = self.directories.path_of(file.drive, &file.name.to_string());
            let mut visit = |line: Line| {
                let record = match &line {
                    Line::Record(record) | Line::Broken { perhaps: Some(record), .. } => record,
                    _ => return,
                };
                if wanted(record, &self.names) {
                    count += 1;
                    self.log_line(line, Some(&path));
                }
            };
            if let Err(why) = wait(inspect::log(disks, &file, &mut visit)) {
                eprintln!("ringcask: {path}: {why}");
            }
        }
        match count {
            0 => Err("no record of it is in the logs".to_owned()),
            _ => Ok(()),
        }
    }

    fn dump(&mut self, file: &File, offset: u64) -> Result<(), String> {
        let (start, shown) = wait(inspect::dump(&self.directories.disks, file, offset))?;
        if shown.is_empty() {
            return Err(format!("{} ends at {}", file.name, file.bytes));
        }
        for (number, row) in shown.chunks(16).enumerate() {
            let at = start + number as u64 * 16;
            let cells: Vec<String> = row
                .iter()
                .map(|byte| match byte {
                    Byte::Shown(value) => format!("{value:02x}"),
                    Byte::Zero => "00".to_owned(),
                    Byte::Hidden => "··".to_owned(),
                })
                .collect();
            let mark = if (at..at + 16).contains(&offset) { ">" } else { " " };
            let cells = cells.join(" ");
            self.line(|| format!("{mark} {at:>12}  {cells}"), || json!({ "offset": at, "bytes": cells }));
        }
        Ok(())
    }
}

fn facts_of(record: &Described) -> String {
    record.facts.iter().map(|(_, value)| printable(value.as_bytes())).collect::<Vec<_>>().join(" ")
}
