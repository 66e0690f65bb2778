//! `ringcask drain`, `ringcask resume`, `ringcask checkpoint`: what is asked for and then waited for.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::client::Client;
use super::progress::rewrite;
use super::show::{rows, text};
use super::text::{bar, width};
use super::{Environment, Options, pause, print};

pub const EXAMPLES: &str = "\
Examples:
  ringcask drain               take no more requests, and wait for those under way
  ringcask drain --changes     go on answering reads
  ringcask resume              take requests again

Clients get 503 ServiceUnavailable and try again; the probes of readiness fail.
A restart takes requests again, too.";

/// Pause between two questions how far it is.
const PAUSE: Duration = Duration::from_millis(200);

#[derive(Args, Debug)]
pub struct Drain {
    #[command(flatten)]
    options: Options,

    /// Refuse changes only
    #[arg(long)]
    changes: bool,

    /// Don't wait until the requests under way have ended
    #[arg(long)]
    no_wait: bool,
}

impl Drain {
    pub fn run(self, environment: Environment<'_>) -> Result<(), String> {
        let client = Client::of(&self.options, environment)?;
        let (refuse, counted) = match self.changes {
            true => ("changes", "changesInFlight"),
            false => ("everything", "requestsInFlight"),
        };
        let body = json!({ "refuse": refuse }).to_string();
        let mut answer = client.send("PUT", "drain", Some(body.as_bytes()))?;
        while !self.no_wait && answer[counted].as_u64() != Some(0) {
            // Somebody resumed: it would be waited for in vain.
            if answer["refusing"] == "nothing" {
                rewrite("");
                return Err("the node takes requests again: somebody else has resumed it".to_owned());
            }
            rewrite(&format!("{} requests under way", text(&answer, counted)));
            pause(PAUSE);
            answer = client.send("GET", "drain", None)?;
        }
        rewrite("");
        show(&self.options, &answer, &described(&answer))
    }
}

/// Takes requests again.
pub fn resume(options: &Options, environment: Environment<'_>) -> Result<(), String> {
    let answer = Client::of(options, environment)?.send("DELETE", "drain", None)?;
    show(options, &answer, &described(&answer))
}

fn described(answer: &Value) -> String {
    let what = match answer["refusing"].as_str() {
        Some("nothing") => return "the node takes requests\n".to_owned(),
        Some("changes") => "changes",
        _ => "all requests",
    };
    let (changes, all) = (text(answer, "changesInFlight"), text(answer, "requestsInFlight"));
    format!("the node refuses {what}; under way: {all} requests, {changes} of them changes\n")
}

#[derive(Args, Debug)]
pub struct Checkpoint {
    #[command(flatten)]
    options: Options,
}

impl Checkpoint {
    pub fn run(self, environment: Environment<'_>) -> Result<(), String> {
        let client = Client::of(&self.options, environment)?;
        let mut answer = client.send("POST", "checkpoint", None)?;
        while answer["underWay"] == true {
            let cores = rows(&answer, "cores");
            let ended = cores.iter().filter(|core| core["state"] != "writing").count();
            let share = ended as f64 / cores.len().max(1) as f64;
            rewrite(&format!("checkpoint {} {ended} of {} cores", bar(width(), share), cores.len()));
            pause(PAUSE);
            answer = client.send("GET", "checkpoint", None)?;
        }
        rewrite("");
        let cores = rows(&answer, "cores");
        let failed: Vec<&Value> = cores.iter().filter(|core| core["state"] == "failed").collect();
        if let Some(first) = failed.first() {
            let (core, reason) = (text(first, "core"), text(first, "reason"));
            return Err(format!(
                "{} of {} cores wrote no checkpoint; core {core}: {reason}",
                failed.len(),
                cores.len()
            ));
        }
        show(&self.options, &answer, &format!("wrote a checkpoint of {} cores\n", cores.len()))
    }
}

fn show(options: &Options, answer: &Value, sentence: &str) -> Result<(), String> {
    let text = if options.json { format!("{answer:#}\n") } else { sentence.to_owned() };
    print(&text)
}
