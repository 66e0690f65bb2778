//! The `ringcask` command: parses arguments and calls [`ringcask::node`].

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use ringcask::control::cli::{Cli, Order};
use ringcask::control::command;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let environment = |name: &str| std::env::var(name).ok();
    let order = match Cli::parse().order(environment) {
        Ok(order) => order,
        Err(error) => {
            eprintln!("ringcask: {error}");
            return ExitCode::from(2);
        }
    };
    let result = match order {
        Order::Serve(settings) => ringcask::node::run(*settings, environment),
        Order::Examine(examine) => return ExitCode::from(examine.run(environment)),
        Order::Describe(describe) => describe.run(Cli::command()),
        Order::Manage(manage) => manage.run(environment).and_then(|answer| command::print(&answer)),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ringcask: {error}");
            ExitCode::FAILURE
        }
    }
}
