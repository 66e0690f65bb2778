//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use super::command::{Describe, Examine, Manage, WIDTH};
use super::config::{Layer, Settings};
use super::origin::{Setting, Sources};

const EXAMPLES: &str = "\
Examples:
  ringcask                                       a node on 127.0.0.1:9000 that stores under ./data
  ringcask --data /srv/a --data /srv/b           two drives; the cores are spread over them
  ringcask --listen 0.0.0.0:9000 --cores 4       reachable from other machines, four cores
  ringcask --config /etc/ringcask.toml           settings from a file

The first start makes root credentials and shows them once, on a terminal; set RINGCASK_ROOT_USER
and RINGCASK_ROOT_PASSWORD to bring your own. A setting on the command line wins over its
environment variable, which wins over the file.";

/// The version of the package, and for release builds from a checkout the commit (build.rs).
pub const VERSION: &str = env!("VERSION_WITH_COMMIT");

/// S3-compatible object store: one binary, one thread per core, io_uring for everything.
#[derive(Parser, Debug)]
#[command(name = "ringcask", version = VERSION, after_help = EXAMPLES)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
// What a wider terminal, or none, is told of reads as it does on 80 columns.
#[command(max_term_width = WIDTH)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Starts the node (what the bare command does)
    #[command(after_help = EXAMPLES)]
    Serve(Box<Serve>),

    #[command(flatten)]
    Examine(Examine),

    #[command(flatten)]
    Manage(Manage),

    #[command(flatten)]
    Describe(Describe),
}

/// What the command line asks for.
#[derive(Debug)]
pub enum Order {
    /// To be a node; with each setting's origin.
    Serve(Box<Settings>, Vec<Setting>),
    /// To manage one that runs.
    Manage(Box<Manage>),
    /// To look at what one left, or at the host.
    Examine(Box<Examine>),
    /// To say what can be asked.
    Describe(Describe),
}

#[derive(Args, Debug)]
struct Serve {
    /// Settings from a TOML file, named as the options here without the dashes [env: RINGCASK_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(flatten)]
    layer: Layer,
}

impl Cli {
    /// Joins the command line with `environment` (a variable's value by name) and the file it names.
    ///
    /// # Errors
    ///
    /// One sentence for the person at the prompt: what is wrong, where it was given, what would be right.
    pub fn order(self, environment: impl Fn(&str) -> Option<String>) -> Result<Order, String> {
        let serve = match self.command {
            Some(Command::Examine(examine)) => return Ok(Order::Examine(Box::new(examine))),
            Some(Command::Manage(manage)) => return Ok(Order::Manage(Box::new(manage))),
            Some(Command::Describe(describe)) => return Ok(Order::Describe(describe)),
            Some(Command::Serve(serve)) => *serve,
            None => self.serve,
        };
        let file = serve.config.or_else(|| environment("RINGCASK_CONFIG").map(PathBuf::from));
        let file = match file {
            Some(path) => Some((Layer::from_file(&path)?, path)),
            None => None,
        };
        let (line, variables) = (serve.layer, Layer::from_environment(&environment)?);
        let of_file = file.as_ref().map(|(layer, _)| layer.clone()).unwrap_or_default();
        let settings = line.clone().or(variables.clone()).or(of_file).settle()?;
        let file = file.as_ref().map(|(layer, path)| (path.as_path(), layer));
        let sources = Sources { line: &line, environment: &variables, file };
        let is_set = |name: &str| environment(name).is_some_and(|value| !value.is_empty());
        let origins = sources.explain(&settings, is_set);
        Ok(Order::Serve(Box::new(settings), origins))
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(arguments: &[&str]) -> Result<Settings, String> {
        let cli = Cli::try_parse_from([&["ringcask"], arguments].concat()).map_err(|e| e.to_string())?;
        settings(cli, |_| None)
    }

    fn settings(cli: Cli, environment: impl Fn(&str) -> Option<String>) -> Result<Settings, String> {
        match cli.order(environment)? {
            Order::Serve(settings, _) => Ok(*settings),
            other => panic!("{other:?} starts no node"),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_bare_command_and_serve_do_the_same() {
        assert_eq!(parse(&[]), parse(&["serve"]));
        let options = ["--listen", "127.0.0.1:0", "--data", "a", "--data", "b", "--cores", "3"];
        assert_eq!(parse(&options), parse(&[&["serve"], &options[..]].concat()));
    }

    #[test]
    fn a_misspelt_option_gets_a_suggestion() {
        assert!(parse(&["--lisen", "127.0.0.1:0"]).unwrap_err().contains("--listen"));
    }

    #[test]
    fn help_fits_80_columns() {
        let mut commands = vec![Cli::command()];
        while let Some(mut command) = commands.pop() {
            let command_ = command.clone().max_term_width(WIDTH).term_width(WIDTH);
            for help in [command_.clone().render_help(), command_.clone().render_long_help()] {
                let help = help.to_string();
                let wide = help.lines().find(|line| line.chars().count() > WIDTH);
                assert_eq!(wide, None, "{}", command.get_name());
            }
            command.build();
            commands.extend(command.get_subcommands().cloned());
        }
    }

    #[test]
    fn every_option_says_its_environment_variable() {
        let help = Cli::command().render_help().to_string();
        for key in Layer::keys() {
            let variable = Layer::variable(&key);
            assert!(help.contains(&variable), "--help does not name {variable}:\n{help}");
        }
    }

    #[test]
    fn commands_take_their_options_before_and_after_what_they_are_about() {
        for arguments in [
            &["user", "list", "--json", "--account", "a"][..],
            &["user", "--json", "--account", "a", "list"],
            &["user", "policy", "attach", "u", "readonly", "--admin", "http://h:1"],
            &["key", "create", "--user", "u", "--secret-stdin", "--data", "d"],
            &["whoami", "--json"],
        ] {
            let cli = Cli::try_parse_from([&["ringcask"], arguments].concat()).unwrap();
            assert!(matches!(cli.order(|_| None), Ok(Order::Manage(_))), "{arguments:?}");
        }
        for arguments in [
            &["user"][..],
            &["key", "create", "--secret", "x", "--secret-stdin"],
            &["--cores", "1", "whoami"],
        ] {
            assert!(Cli::try_parse_from([&["ringcask"], arguments].concat()).is_err(), "{arguments:?}");
        }
    }

    #[test]
    fn the_config_file_may_be_named_by_the_environment() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ringcask.toml");
        std::fs::write(&path, "region = \"eu-central-1\"\ncores = 2").unwrap();
        let environment = |name: &str| (name == "RINGCASK_CONFIG").then(|| path.to_str().unwrap().to_owned());
        let settings = settings(Cli::parse_from(["ringcask", "--cores", "5"]), environment).unwrap();
        assert_eq!((settings.region.as_str(), settings.cores), ("eu-central-1", 5));
    }
}
