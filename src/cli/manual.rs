//! What a package of the program contains besides the binary: manual pages and completions, made from the command line itself.

use std::path::Path;

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, output::print};

/// Prints the completions of a shell.
pub(super) fn print_completions(shell: Shell) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), env!("CARGO_PKG_NAME"), &mut script);
    Ok(print(String::from_utf8(script)?)?)
}

/// Writes a manual page for the program and one for each command, such as `vestibule-user-create.1`.
pub(super) fn write_pages(directory: &Path) -> Result<()> {
    clap_mangen::generate_to(Cli::command(), directory).with_context(|| format!("cannot write to {}", directory.display()))
}
