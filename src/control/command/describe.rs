//! The command line, described for shells and for man(1).

use std::path::{Path, PathBuf};

use clap::{Args, Command, Subcommand};
use clap_complete::Shell;

use super::print;

/// What can be asked about the command itself.
#[derive(Subcommand, Debug)]
pub enum Describe {
    /// Prints completions of the command line for a shell
    #[command(after_help = INSTALL)]
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Prints the manual page, or writes those of all commands into a directory
    Man(Man),
}

const INSTALL: &str = "\
Where shells look for them:
  bash   ringcask completions bash > /etc/bash_completion.d/ringcask
  zsh    ringcask completions zsh > /usr/local/share/zsh/site-functions/_ringcask
  fish   ringcask completions fish > ~/.config/fish/completions/ringcask.fish";

#[derive(Args, Debug)]
pub struct Man {
    /// Write ringcask.1, ringcask-doctor.1 and so on into this directory, which must exist
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
}

impl Describe {
    /// Describes `command`.
    ///
    /// # Errors
    ///
    /// One sentence for the person at the prompt.
    pub fn run(self, mut command: Command) -> Result<(), String> {
        match self {
            Self::Completions { shell } => {
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut command, "ringcask", &mut script);
                print(&String::from_utf8_lossy(&script))
            }
            Self::Man(Man { directory: None }) => print(&page(command)?),
            Self::Man(Man { directory: Some(directory) }) => write_pages(command, &directory),
        }
    }
}

fn page(command: Command) -> Result<String, String> {
    let mut page = Vec::new();
    let rendered = clap_mangen::Man::new(command).render(&mut page);
    rendered.map_err(|error| format!("cannot make the manual page: {error}"))?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

/// Writes a page for the command and for each below it, named as git names its own: `ringcask-key-create.1`.
fn write_pages(command: Command, directory: &Path) -> Result<(), String> {
    clap_mangen::generate_to(command, directory)
        .map_err(|error| format!("cannot write manual pages into {}: {error}", directory.display()))
}
