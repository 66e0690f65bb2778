//! `ringcask doctor`: the host, held against what a node needs.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::text::{labelled, printable, width};
use super::{Environment, print};
use crate::control::config::Layer;
use crate::control::data_directory::node_of;
use crate::control::doctor::{self, Area, Host, Live, Plan, Point, Report, Status, Unasked};

pub const EXIT_CODES: &str = "\
Exit code: 0 if nothing is wrong (notes and what is unknown do not count), 1 if
there are warnings, 2 if there are errors, or the command or a setting is
misspelt.

It only reads. The commands that it prints are for root and last until the next
boot; tuning/README.md says how to keep them, and undoes them in groups.";

/// Columns of a status and of a point's name, before what was found.
const STATUS_COLUMNS: usize = 8;
const NAME_COLUMNS: usize = 26;

/// What was found stands beside the name if it has so many columns there, or needs no more; else below.
const FOUND_COLUMNS_MIN: usize = 36;

#[derive(Args, Debug)]
pub struct Doctor {
    /// Settings of the node from its TOML file [env: RINGCASK_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Data directory of the node; once for each, and none need be there yet [env: RINGCASK_DATA] [default: ./data]
    #[arg(long, value_name = "DIR")]
    data: Vec<PathBuf>,

    /// Core threads that the node is to have [env: RINGCASK_CORES] [default: one for each CPU]
    #[arg(long, value_name = "N")]
    cores: Option<usize>,

    /// Read /proc and /sys below this directory, a copy of another machine's; what only a running kernel can tell
    /// is unknown then
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,

    /// Explain the points too that are as they should be
    #[arg(long)]
    all: bool,

    /// Print the report as JSON
    #[arg(long)]
    json: bool,
}

impl Doctor {
    /// Examines, prints the report, and returns the exit code.
    pub fn run(self, environment: Environment<'_>) -> Result<u8, String> {
        let plan = self.plan(environment)?;
        let report = match &self.root {
            Some(root) => doctor::examine(&Host::new(root), &Unasked, &plan),
            None => doctor::examine(&Host::new("/"), &Live, &plan),
        };
        print(&match self.json {
            true => format!("{:#}\n", as_json(&report)),
            false => as_text(width(), &report, self.all),
        })?;
        Ok(match report.status() {
            Status::Ok | Status::Unknown | Status::Note => 0,
            Status::Warning => 1,
            Status::Error => 2,
        })
    }

    /// What a node would be started with, by the same sources.
    fn plan(&self, environment: Environment<'_>) -> Result<Plan, String> {
        let data = (!self.data.is_empty()).then(|| self.data.clone());
        let file = self.config.clone().or_else(|| environment("RINGCASK_CONFIG").map(PathBuf::from));
        let file = file.map_or_else(|| Ok(Layer::default()), |path| Layer::from_file(&path))?;
        let layer = Layer::placed(data, self.cores).or(Layer::from_environment(environment)?).or(file);
        let cores = layer.cores();
        let settings = layer.settle()?;
        // A copied tree says nothing of the nodes that run here.
        let process =
            self.root.is_none().then(|| settings.data.iter().find_map(|path| node_of(path))).flatten();
        let absolute = |path: &PathBuf| std::path::absolute(path).unwrap_or_else(|_| path.clone());
        Ok(Plan {
            data: settings.data.iter().map(absolute).collect(),
            cores,
            arena_bytes: settings.arena_bytes,
            cache_bytes: settings.cache_bytes,
            process: process.filter(|process| is_node(Path::new("/proc"), *process)),
        })
    }
}

/// Whether a process is a node, and not another that got its number later.
fn is_node(proc: &Path, process: u32) -> bool {
    std::fs::read_to_string(proc.join(process.to_string()).join("comm"))
        .is_ok_and(|name| name.trim() == "ringcask")
}

fn as_text(width: usize, report: &Report, is_all: bool) -> String {
    let labelled = |label: &str, text: &str| labelled(width, label, text);
    let mut out = String::new();
    for area in Area::ALL {
        let points = report.points.iter().filter(|point| point.area == area);
        for (at, point) in points.enumerate() {
            if at == 0 {
                let gap = if out.is_empty() { "" } else { "\n" };
                out.push_str(&format!("{gap}{}\n", area.to_string().to_uppercase()));
            }
            out.push_str(&head(width, point));
            let is_explained = is_all || point.status >= Status::Note;
            if is_explained {
                out.push_str(&labelled("should be", &point.expected));
                out.push_str(&labelled("why", point.why));
                out.push_str(&labelled("effect", point.measured.unwrap_or("not measured")));
            }
            if is_explained || point.status == Status::Unknown {
                out.push_str(&commands(width, "fix", &point.fix));
                out.push_str(&commands(width, "undo", &point.undo));
            }
        }
    }
    out.push_str(&format!("\n{}\n", verdict(report)));
    out
}

/// Status, name and what was found, in lines of `width` columns.
fn head(width: usize, point: &Point) -> String {
    let status = match point.status {
        Status::Warning | Status::Error => point.status.to_string().to_uppercase(),
        _ => point.status.to_string(),
    };
    let name = match point.subject.is_empty() {
        true => point.name.to_owned(),
        false => format!("{} {}", point.name, printable(point.subject.as_bytes())),
    };
    let indent = 2 + STATUS_COLUMNS + 1;
    let mut out = wrapped(width, &format!("  {status:<STATUS_COLUMNS$} "), indent, &name);
    let found = printable(point.found.as_bytes());
    let beside = indent + NAME_COLUMNS + 1;
    let is_beside = beside + FOUND_COLUMNS_MIN.min(found.chars().count()) <= width;
    let indent = if is_beside { beside } else { indent + 2 };
    if is_beside && name.chars().count() <= NAME_COLUMNS {
        let line = format!("{:<indent$}", out.trim_end());
        return wrapped(width, &line, indent, &found);
    }
    out.push_str(&wrapped(width, &" ".repeat(indent), indent, &found));
    out
}

/// Text behind what stands in a line already, in lines of `width` columns; further ones are indented.
pub(super) fn wrapped(width: usize, begun: &str, indent: usize, text: &str) -> String {
    let mut out = String::new();
    let mut line = begun.to_owned();
    let mut is_begun = false;
    for piece in text.split(' ').flat_map(|word| pieces(word, width - indent)) {
        if is_begun && line.chars().count() + 1 + piece.chars().count() > width {
            out.push_str(&format!("{line}\n"));
            line = " ".repeat(indent);
            is_begun = false;
        }
        if is_begun {
            line.push(' ');
        }
        line.push_str(&piece);
        is_begun = true;
    }
    out.push_str(line.trim_end());
    out.push('\n');
    out
}

/// A word in pieces of at most so many characters, cut behind commas where it has them (options of mounts).
fn pieces(word: &str, characters_max: usize) -> Vec<String> {
    if word.chars().count() <= characters_max {
        return vec![word.to_owned()];
    }
    let mut out = vec![String::new()];
    for part in word.split_inclusive(',') {
        let mut characters = part.chars().peekable();
        while characters.peek().is_some() {
            let taken: String = characters.by_ref().take(characters_max).collect();
            let last = out.last_mut().expect("begun with one");
            match last.chars().count() + taken.chars().count() > characters_max && !last.is_empty() {
                true => out.push(taken),
                false => last.push_str(&taken),
            }
        }
    }
    out
}

/// Commands under a label. One that is too long for a line goes on behind a backslash, so that it can be pasted;
/// what is said to people is wrapped.
fn commands(width: usize, label: &str, commands: &[String]) -> String {
    let mut out = String::new();
    for (at, command) in commands.iter().enumerate() {
        let label = if at == 0 { label } else { "" };
        let command = printable(command.as_bytes());
        if command.starts_with('#') {
            // A line that goes on is a comment too, by two columns more.
            let text = labelled(width - 2, label, &command);
            let lines: Vec<String> = text
                .lines()
                .enumerate()
                .map(
                    |(at, line)| {
                        if at == 0 { line.to_owned() } else { format!("              # {}", line.trim()) }
                    },
                )
                .collect();
            out.push_str(&(lines.join("\n") + "\n"));
            continue;
        }
        let mut line = format!("    {label:<10}");
        let mut is_begun = false;
        for word in words(&command) {
            if is_begun && line.chars().count() + 1 + word.chars().count() + 2 > width {
                out.push_str(&format!("{line} \\\n"));
                line = " ".repeat(16);
                is_begun = false;
            }
            if is_begun {
                line.push(' ');
            }
            line.push_str(word);
            is_begun = true;
        }
        out.push_str(&format!("{line}\n"));
    }
    out
}

/// Words of a command; blanks within quotes belong to theirs.
fn words(command: &str) -> Vec<&str> {
    let mut is_quoted = false;
    command
        .split(|c: char| {
            is_quoted ^= c == '\'';
            c == ' ' && !is_quoted
        })
        .collect()
}

fn verdict(report: &Report) -> String {
    let plural = |count: usize, word: &str| format!("{count} {word}{}", if count == 1 { "" } else { "s" });
    format!(
        "{}, {}, {}, {} unknown, {} ok",
        plural(report.count(Status::Error), "error"),
        plural(report.count(Status::Warning), "warning"),
        plural(report.count(Status::Note), "note"),
        report.count(Status::Unknown),
        report.count(Status::Ok),
    )
}

fn as_json(report: &Report) -> Value {
    let counts: serde_json::Map<String, Value> =
        Status::ALL.iter().map(|status| (status.to_string(), json!(report.count(*status)))).collect();
    let points: Vec<Value> = report
        .points
        .iter()
        .map(|point| {
            json!({
                "area": point.area.to_string(),
                "name": point.name,
                "subject": point.subject,
                "status": point.status.to_string(),
                "found": point.found,
                "expected": point.expected,
                "why": point.why,
                "measured": point.measured,
                "fix": point.fix,
                "undo": point.undo,
            })
        })
        .collect();
    json!({ "status": report.status().to_string(), "counts": counts, "points": points })
}

#[cfg(test)]
mod tests {
    use super::super::text::WIDTH;
    use super::*;

    /// A report with everything that could spoil a screen.
    fn report() -> Report {
        let host = tempfile::tempdir().unwrap();
        let plan = Plan {
            data: vec!["/srv/a directory with a long name/and\x1b[2J another/ringcask".into(), "/x".into()],
            cores: Some(64),
            arena_bytes: 64 << 20,
            cache_bytes: 64 << 20,
            process: None,
        };
        let write = |path: &str, text: &str| {
            let path = host.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("proc/sys/kernel/osrelease", &"4.4-very-long-".repeat(20));
        let options =
            "rw,relatime,attr2,inode64,logbufs=8,logbsize=32k,noquota,sunit=64,swidth=64,sync,discard";
        write(
            "proc/self/mountinfo",
            &format!(
                r"1 0 8:1 / /srv/a\040directory\040with\040a\040long\040name {options} - ext4 /dev/sda1 rw"
            ),
        );
        write("proc/sys/vm/swappiness", "60");
        write("proc/swaps", "Filename\n/dev/sda2 partition 1 0 -2");
        write("sys/class/net/a-very-long-name-of-an-interface/operstate", "up");
        write("sys/class/net/a-very-long-name-of-an-interface/device/x", "");
        doctor::examine(&Host::new(host.path()), &Unasked, &plan)
    }

    #[test]
    fn the_report_fits_the_terminal_and_does_nothing_to_a_terminal() {
        for (width, is_all) in [(WIDTH, false), (WIDTH, true), (60, true)] {
            let text = as_text(width, &report(), is_all);
            for line in text.lines() {
                let is_one_word = line.trim_end_matches([' ', '\\']).trim().split(' ').count() < 6;
                assert!(line.chars().count() <= width || is_one_word, "{line}");
            }
            assert!(!text.contains('\x1b'), "{text}");
            assert!(text.contains("ERROR    kernel"), "{text}");
        }
        assert!(as_text(WIDTH, &report(), true).len() > as_text(WIDTH, &report(), false).len());
    }

    #[test]
    fn a_command_that_is_long_can_be_pasted_all_the_same() {
        let command = format!("echo 'a b c' {} > '/a path/x'", "word ".repeat(40).trim());
        let text = commands(WIDTH, "fix", std::slice::from_ref(&command));
        assert!(text.lines().count() > 2, "{text}");
        let pasted: Vec<String> = text.trim().split("\\\n").map(|line| line.trim().to_owned()).collect();
        assert_eq!(pasted.join(" ").strip_prefix("fix       "), Some(command.as_str()));
    }

    #[test]
    fn the_settings_are_those_of_the_node() {
        let doctor = |data: Vec<PathBuf>, cores| Doctor {
            config: None,
            data,
            cores,
            root: None,
            all: false,
            json: false,
        };
        let environment = |name: &str| match name {
            "RINGCASK_DATA" => Some("/srv/a:/srv/b".to_owned()),
            "RINGCASK_ARENA" => Some("128MiB".to_owned()),
            _ => None,
        };
        let plan = doctor(vec![], Some(3)).plan(&environment).unwrap();
        assert_eq!(plan.data, [PathBuf::from("/srv/a"), PathBuf::from("/srv/b")]);
        assert_eq!((plan.cores, plan.arena_bytes), (Some(3), 128 << 20));
        let plan = doctor(vec!["/srv/c".into()], None).plan(&environment).unwrap();
        assert_eq!((plan.data, plan.cores), (vec![PathBuf::from("/srv/c")], None));
        assert!(doctor(vec![], Some(0)).plan(&environment).is_err());
    }

    #[test]
    fn json_says_all_of_each_point() {
        let report = as_json(&report());
        assert_eq!(report["status"], "error");
        for point in report["points"].as_array().unwrap() {
            assert_eq!(point.as_object().unwrap().len(), 10, "{point}");
            let is_fixed =
                point["fix"].as_array().unwrap().iter().any(|fix| !fix.as_str().unwrap().starts_with('#'));
            assert_eq!(is_fixed, !point["undo"].as_array().unwrap().is_empty(), "{point}");
        }
        let total: u64 =
            report["counts"].as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
        assert_eq!(total, report["points"].as_array().unwrap().len() as u64);
    }
}
