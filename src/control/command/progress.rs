//! `ringcask progress`: how far the work in the background is, with bars in a terminal.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::client::Client;
use super::show::rows;
use super::status::folded;
use super::text::{bar, bytes, width};
use super::{Environment, Options, pause, print};

/// Pause between two looks of `--watch`.
const PAUSE: Duration = Duration::from_secs(1);

/// A line of the screen: how far something is, as a share of one, if it is under way; and a few words.
struct Line {
    name: &'static str,
    core: u64,
    share: Option<f64>,
    words: String,
}

/// Makes a core's line; also told whether there is a scrub at all.
type ToLine = fn(&Value, bool) -> Line;

#[derive(Args, Debug)]
pub struct Progress {
    #[command(flatten)]
    options: Options,

    /// Look again every second, until Ctrl-C
    #[arg(long)]
    watch: bool,
}

impl Progress {
    pub fn run(self, environment: Environment<'_>) -> Result<(), String> {
        let client = Client::of(&self.options, environment)?;
        let with_bars = std::io::stdout().is_terminal();
        let mut shown = String::new();
        loop {
            let answer = client.send("GET", "progress", None)?;
            let text = match self.options.json {
                true => format!("{answer:#}\n"),
                false => screen(&answer, with_bars.then(width)),
            };
            // Written over what the last look has shown.
            let lines = shown.lines().count();
            let up = if with_bars && lines > 0 { format!("\x1b[{lines}A\x1b[J") } else { String::new() };
            print(&format!("{up}{text}"))?;
            if !self.watch {
                return Ok(());
            }
            shown = text;
            pause(PAUSE);
        }
    }
}

/// All cores' lines; with bars for a terminal of so many columns.
fn screen(answer: &Value, terminal: Option<usize>) -> String {
    let is_scrubbed = answer["scrubBytesPerSecond"].as_u64() != Some(0);
    let sections: [(&str, ToLine); 3] = [
        ("Scrub: what is stored is read and verified", scrub),
        ("Log: cleaned when more than half of it, and of two segments, is dead", log),
        ("Checkpoint: written when the log has grown by so much", checkpoint),
    ];
    let mut out = String::new();
    for (title, line) in sections {
        if let Some(width) = terminal {
            out += &folded(width, title);
        }
        for core in rows(answer, "cores") {
            out += &line(core, is_scrubbed).show(terminal);
        }
    }
    out
}

impl Line {
    fn show(&self, terminal: Option<usize>) -> String {
        let Self { name, core, share, words } = self;
        let percent = share.map(|share| format!("{:>3.0}%  ", (share * 100.0).floor())).unwrap_or_default();
        match (terminal, share) {
            (Some(width), Some(share)) => {
                format!("  core {core:<3} {} {percent}{words}\n", bar(width, *share))
            }
            (Some(_), None) => format!("  core {core:<3} {words}\n"),
            (None, _) => format!("{name} core {core} {percent}{words}\n"),
        }
    }
}

fn scrub(core: &Value, is_scrubbed: bool) -> Line {
    let scrub = &core["scrub"];
    let (passes, done, total) =
        (count(scrub, "passes"), count(scrub, "bytesDone"), count(scrub, "bytesTotal"));
    let is_under_way = scrub["underWay"] == true;
    let words = match (is_under_way, is_scrubbed, passes) {
        (true, ..) => format!("{} of {}, pass {}", bytes(done), bytes(total), passes + 1),
        (_, false, _) => "switched off (--scrub-bytes-per-second 0)".to_owned(),
        (_, _, 0) => "waits for its first pass".to_owned(),
        (_, _, passes) => format!("waits for the next pass; {passes} since the start"),
    };
    Line { name: "scrub", core: count(core, "core"), share: is_under_way.then(|| share(done, total)), words }
}

fn log(core: &Value, _: bool) -> Line {
    let log = &core["log"];
    let (live, dead) = (count(log, "bytesLive"), count(log, "bytesDead"));
    let cleaned = count(log, "segmentsCleaned");
    let words = format!("dead of {}; {cleaned} cleaned", bytes(live + dead));
    Line { name: "log", core: count(core, "core"), share: Some(share(dead, live + dead)), words }
}

fn checkpoint(core: &Value, _: bool) -> Line {
    let checkpoint = &core["checkpoint"];
    let (written, due) = (count(checkpoint, "logBytes"), count(checkpoint, "logBytesDue"));
    let is_under_way = checkpoint["underWay"] == true;
    let words = match is_under_way {
        true => "is being written".to_owned(),
        false => format!("{} of {}", bytes(written), bytes(due)),
    };
    let share = (!is_under_way).then(|| share(written, due));
    Line { name: "checkpoint", core: count(core, "core"), share, words }
}

fn count(value: &Value, name: &str) -> u64 {
    value[name].as_u64().unwrap_or(0)
}

fn share(done: u64, total: u64) -> f64 {
    if total == 0 { 0.0 } else { (done as f64 / total as f64).min(1.0) }
}

/// Writes a line over the one before it, in a terminal; nothing elsewhere.
pub(super) fn rewrite(line: &str) {
    let mut out = std::io::stderr();
    if out.is_terminal() {
        // Whoever does not see it misses nothing that counts.
        let _ = write!(out, "\r\x1b[K{line}");
        let _ = out.flush();
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::text::WIDTH;
    use super::*;

    fn answer() -> Value {
        let core = |core: u64, is_under_way: bool| {
            json!({
                "core": core,
                "scrub": { "underWay": is_under_way, "passes": 2, "bytesDone": 1_u64 << 30, "bytesTotal": 3_u64 << 30 },
                "log": { "bytesLive": 700 << 20, "bytesDead": 300 << 20, "segments": 12, "segmentsCleaned": 1_234_567 },
                "checkpoint": { "underWay": !is_under_way, "logBytes": 250 << 20, "logBytesDue": 256 << 20 },
            })
        };
        json!({ "scrubBytesPerSecond": 8 << 20, "cores": [core(0, true), core(127, false)] })
    }

    #[test]
    fn the_screen_has_bars_and_fits_a_terminal() {
        for width in [60, WIDTH] {
            let shown = screen(&answer(), Some(width));
            assert!(shown.lines().all(|line| line.chars().count() <= width), "{shown}");
        }
        let shown = screen(&answer(), Some(WIDTH));
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(lines[1], "  core 0   [########----------------]  33%  1.00 GiB of 3.00 GiB, pass 3");
        assert_eq!(lines[2], "  core 127 waits for the next pass; 2 since the start");
        assert_eq!(lines[4], "  core 0   [#######-----------------]  30%  dead of 0.98 GiB; 1234567 cleaned");
        assert_eq!(lines[8], "  core 127 is being written");
    }

    #[test]
    fn elsewhere_each_line_says_what_it_is_about() {
        let shown = screen(&answer(), None);
        assert!(!shown.contains('[') && !shown.contains('\x1b'), "{shown}");
        assert!(shown.starts_with("scrub core 0  33%  1.00 GiB of 3.00 GiB, pass 3\n"), "{shown}");
        assert!(shown.contains("checkpoint core 0  97%  250 MiB of 256 MiB\n"), "{shown}");
    }
}
