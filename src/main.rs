//! The `ringcask` command: parses arguments and calls [`ringcask::node`].

use std::process::ExitCode;

use clap::Parser;
use ringcask::control::cli::Cli;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let environment = |name: &str| std::env::var(name).ok();
    let settings = match Cli::parse().settings(environment) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("ringcask: {error}");
            return ExitCode::from(2);
        }
    };
    match ringcask::node::run(settings, environment) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringcask: {error}");
            ExitCode::FAILURE
        }
    }
}
