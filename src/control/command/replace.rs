//! `ringcask replace-drive`: an empty directory takes the place of a drive that is lost for good.

use std::io::{BufRead, IsTerminal, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Value, json};

use super::check::{Bar, counted, object_json};
use super::directories::DataOptions;
use super::doctor::wrapped;
use super::text::{number, object, width};
use super::{Environment, print};
use crate::control::data_directory;
use crate::engine::offline::{self, Loss, Unable};
use crate::engine::replacement::{self, REPLACEMENT_NAME, Vacancy};
use crate::engine::{OpenError, SUPERBLOCK_NAME, SUPERBLOCK_NAMES};
use crate::io::directory::{WritableDirectory, wait};

pub const EXAMPLES: &str = "\
Examples:
  ringcask replace-drive --data /srv/a --data /srv/b --lost /srv/b
                                             what would be lost, and a question
  ringcask replace-drive ... --lost /srv/b --json
                                             the same for programs, with every name
  ringcask replace-drive ... --lost /srv/b --yes
                                             does it

Exit code: 0 if the drive is replaced, 1 if it was not since nobody said yes, 2 if
it cannot be. All keys whose cores wrote to the drive are gone afterwards, and no
drive that is found again brings them back: see docs/HEALTH.md.";

/// Objects that are printed unless all are asked for.
const SHOWN: usize = 20;

#[derive(Args, Debug)]
pub struct Replace {
    #[command(flatten)]
    data: DataOptions,

    /// Which of the data directories is lost: an empty one, on a new drive, is there in its place
    #[arg(long, value_name = "DIR")]
    lost: PathBuf,

    /// Replace it without a question
    #[arg(long)]
    yes: bool,

    /// Print the names of all objects that are damaged
    #[arg(long)]
    all: bool,

    /// Print what is lost as JSON, with the names of all objects that are damaged
    #[arg(long)]
    json: bool,
}

impl Replace {
    /// Tells what is lost, replaces the drive if that is wanted, and returns the exit code.
    pub fn run(self, environment: Environment<'_>) -> Result<u8, String> {
        let paths = self.data.paths(environment);
        let lost = place_of(&self.lost, &paths)?;
        check_owner(&paths, lost)?;
        let marks = [SUPERBLOCK_NAMES[0], SUPERBLOCK_NAMES[1], REPLACEMENT_NAME];
        // No node starts on them as long as this is held.
        let _directories = data_directory::open_all(&paths, &marks, 0)?;
        let disks: Vec<_> = paths.iter().map(|path| WritableDirectory::new(path)).collect();
        let shown = paths[lost].display();
        let refused = |Unable(why): Unable| format!("cannot replace {shown}: {why}");
        if wait(replacement::vacancy(&disks[lost])).map_err(refused)? == Vacancy::Done {
            wait(replacement::end(&disks[lost]))
                .map_err(|error| format!("cannot end in {shown}: {error}"))?;
            print(&format!("{shown} was replaced already\n"))?;
            return Ok(0);
        }
        let mut bar = Bar::default();
        let loss = wait(offline::loss(&disks, lost, &mut |progress| bar.show(progress)));
        bar.clear();
        let loss = loss.map_err(refused)?;
        let text = match self.json {
            true => format!("{:#}\n", as_json(&loss, &paths[lost], self.yes)),
            false => as_text(&loss, &paths[lost], self.all),
        };
        print(&text)?;
        if !self.yes && (self.json || !is_asked()?) {
            return Ok(1);
        }
        wait(replacement::replace(&disks, &loss)).map_err(|error| failed(&paths, &error))?;
        if !self.json {
            print(&format!("{shown} is replaced: start the node\n"))?;
        }
        Ok(0)
    }
}

/// The place of the lost directory among all.
fn place_of(lost: &Path, paths: &[PathBuf]) -> Result<usize, String> {
    let same = |path: &PathBuf| match (path.canonicalize(), lost.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => path == lost,
    };
    paths.iter().position(same).ok_or_else(|| {
        format!("--lost {} is none of the data directories: name all of them with --data", lost.display())
    })
}

/// What is written must belong to whom the node runs as: the owner of the other drives' superblocks. Nothing is made
/// where a directory is missing.
fn check_owner(paths: &[PathBuf], lost: usize) -> Result<(), String> {
    let own = rustix::process::geteuid().as_raw();
    for (_, path) in paths.iter().enumerate().filter(|(drive, _)| *drive != lost) {
        let shown = path.display();
        let mark = SUPERBLOCK_NAMES.into_iter().find_map(|name| std::fs::metadata(path.join(name)).ok());
        let Some(mark) = mark else {
            return Err(format!(
                "{shown} has no {SUPERBLOCK_NAME}: the drives that are not lost must be mounted, all of them"
            ));
        };
        if mark.uid() != own {
            return Err(format!(
                "{shown} belongs to the user {uid}: run this as the user of the node (sudo -u '#{uid}' ringcask \
                 replace-drive …)",
                uid = mark.uid()
            ));
        }
    }
    Ok(())
}

/// Asks whoever sits at the terminal.
fn is_asked() -> Result<bool, String> {
    if !std::io::stdin().is_terminal() {
        print("nothing was changed; --yes replaces it\n")?;
        return Ok(false);
    }
    print("type yes to go on: ")?;
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.map_err(|error| format!("cannot read the answer: {error}"))?;
    let is_meant = line.trim() == "yes";
    if !is_meant {
        print("nothing was changed\n")?;
    }
    Ok(is_meant)
}

fn failed(paths: &[PathBuf], error: &OpenError) -> String {
    let _ = std::io::stdout().flush();
    let what = match error {
        OpenError::Drive(drive, error) => format!("{}: {error}", paths[*drive].display()),
        other => other.to_string(),
    };
    format!("{what}; what was begun can be repeated")
}

fn as_text(loss: &Loss, lost: &Path, is_all: bool) -> String {
    let shown = lost.display();
    let (cores, of) = (loss.cores_lost.len(), loss.cores());
    let mut out = format!("drive {} of {} is lost: {shown}\n\n", loss.drive, loss.drives());
    let mut say = |text: &str| out.push_str(&wrapped(width(), "", 0, text));
    if cores == 0 {
        say("No core writes to it: no key is lost.");
    } else {
        let list: Vec<String> = loss.cores_lost.iter().map(usize::to_string).collect();
        say(&format!(
            "LOST: all keys of {cores} of {of} cores (number {}), about {} objects if keys are spread evenly. \
             Nobody knows their names any more.",
            list.join(", "),
            number(guess(loss))
        ));
    }
    say(&format!(
        "LEFT: {} of the other cores, and {}.",
        counted(loss.objects_left, "object"),
        counted(loss.versions_left, "other version")
    ));
    if loss.damaged.is_empty() {
        say("None of them had payload on the lost drive.");
    } else {
        say(&format!(
            "DAMAGED: {} of those had payload on the lost drive. They stay in listings, reading them is an error, and \
             they can be put again or deleted:",
            counted(loss.damaged.len() as u64, "version")
        ));
        let count = if is_all { usize::MAX } else { SHOWN };
        loss.damaged.iter().take(count).for_each(|it| out.push_str(&format!("    {}\n", object(it))));
        let more = loss.damaged.len().saturating_sub(count);
        if more > 0 {
            out.push_str(&format!("    and {}; --all prints them\n", counted(more as u64, "more")));
        }
    }
    out.push('\n');
    out
}

/// How many objects the lost cores may have had.
fn guess(loss: &Loss) -> u64 {
    let (lost, left) = (loss.cores_lost.len() as u64, (loss.cores() - loss.cores_lost.len()) as u64);
    (loss.objects_left * lost).checked_div(left).unwrap_or(0)
}

fn as_json(loss: &Loss, lost: &Path, is_replaced: bool) -> Value {
    json!({
        "drive": loss.drive,
        "directory": lost.display().to_string(),
        "drives": loss.drives(),
        "cores": loss.cores(),
        "coresLost": loss.cores_lost,
        "objectsLeft": loss.objects_left,
        "versionsLeft": loss.versions_left,
        "damaged": loss.damaged.iter().map(object_json).collect::<Vec<_>>(),
        "replacing": is_replaced,
    })
}
