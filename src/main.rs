//! The `ringcask` command: parses arguments and calls [`ringcask::node`].

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use ringcask::control::cli::{Cli, Order};
use ringcask::control::origin;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let environment = |name: &str| std::env::var(name).ok();
    let cli = Cli::parse();
    let order = match origin::check_values(std::env::vars_os()).and_then(|()| cli.order(environment)) {
        Ok(order) => order,
        Err(error) => {
            eprintln!("ringcask: {error}");
            return ExitCode::from(2);
        }
    };
    let result = match order {
        Order::Serve(settings, origins) => {
            // What the command does not know it would not heed, and nobody would notice.
            let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
            origin::check_variables(names).and_then(|()| ringcask::node::run(*settings, origins, environment))
        }
        Order::Examine(examine) => return ExitCode::from(examine.run(environment)),
        Order::Describe(describe) => describe.run(Cli::command()),
        Order::Manage(manage) => manage.run(environment),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringcask: {error}");
            ExitCode::FAILURE
        }
    }
}
