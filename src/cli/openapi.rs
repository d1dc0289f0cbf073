//! `vestibule openapi`: the contract, and the two files that are made from it.

use std::fs;

use anyhow::{Context, Result, ensure};

use super::output::print;
use crate::api::contract;

pub(super) fn run(check: bool, write: bool) -> Result<()> {
    contract::check()?;
    if !check && !write {
        return Ok(print(contract::text())?);
    }
    let files = [("openapi/openapi.json", contract::text().to_owned()), ("openapi/access.md", contract::matrix::render())];
    for (path, text) in files {
        if write {
            fs::write(path, text).with_context(|| format!("cannot write {path}"))?;
        } else {
            let committed = fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?;
            ensure!(committed == text, "{path} differs from this program's contract; run `vestibule openapi --write`");
        }
    }
    Ok(())
}
