//! Parses the command line, runs it, and prints an error so that it can be acted on.

use std::process::ExitCode;

use clap::Parser;
use vestibule::cli::{self, Cli};

fn main() -> ExitCode {
    cli::run(Cli::parse()).unwrap_or_else(|err| {
        eprintln!("vestibule: {}", cli::sentence(&err));
        cli::exit_code(&err)
    })
}
