//! `vestibule version`: which program this is.

use std::env::consts::{ARCH, OS};

use anyhow::Result;
use serde::Serialize;

use super::output::{print, print_line};
use crate::live::database::Database;

/// What `version --json` prints.
#[derive(Serialize)]
struct Program {
    name: &'static str,
    version: &'static str,
    /// The platform, such as `x86_64-linux`.
    platform: String,
    /// The newest migration that this program knows. It cannot use a database that has a newer one.
    migration: String,
}

pub(super) fn run(json: bool) -> Result<()> {
    let (name, version) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    if json {
        let program = Program { name, version, platform: format!("{ARCH}-{OS}"), migration: Database::newest_migration() };
        print(serde_json::to_string(&program)? + "\n")?;
    } else {
        print_line(format_args!("{name} {version}"))?;
    }
    Ok(())
}
