//! Measures the release binary: `.ci/compare` beside other handlers, `.ci/growth` as its tables grow. Rates and latencies are only printed, because they depend
//! on the machine; the exit code is 1 only if a response was wrong.

#![expect(clippy::disallowed_methods, reason = "measures real time")]

mod compare;
mod figures;
mod footprint;
mod growth;
mod load;
mod population;
#[path = "../../../src/live/database/tests/postgres.rs"]
#[expect(clippy::unwrap_used, reason = "a part of the tests")]
mod postgres;
mod process;
mod servers;
mod vestibule;

use std::{env, path::Path};

use anyhow::{Result, bail};

const USAGE: &str =
    "usage: vestibule-measure compare BINARY [--quick] [ROW...]\n       vestibule-measure growth BINARY [PART...]";

fn main() -> Result<()> {
    let arguments: Vec<_> = env::args().skip(1).collect();
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["compare", binary, ref rows @ ..] => on_one_thread(compare::run(Path::new(binary), rows)),
        ["growth", binary, ref parts @ ..] => on_one_thread(growth::run(Path::new(binary), parts)),
        // The handlers that `compare` starts as processes of their own, on the runtime that `#[tokio::main]` gives every program.
        ["serve-unguarded"] => tokio::runtime::Runtime::new()?.block_on(servers::unguarded::serve()),
        ["serve-verifying", key_set] => tokio::runtime::Runtime::new()?.block_on(servers::verifying::serve(key_set)),
        _ => bail!(USAGE),
    }
}

fn on_one_thread(measurement: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(measurement)
}
