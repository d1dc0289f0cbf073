//! An operator at a terminal: the real binary, started and stopped, right and wrong, in a directory of its own.

mod accounts;
mod clocks;
mod contract;
mod crowds;
mod http;
mod installing;
mod keys;
pub mod kills;
mod logs;
mod migrations;
mod secrets;
mod settings;
mod stalls;
mod starts;
mod stops;
mod watch;

use std::{fs, path::Path, time::Duration};

use sea_orm::{ConnectionTrait, Database, Statement};
use tempfile::TempDir;

use crate::support::binary::{self, Server};

/// What a command did.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    /// What it printed, having done what it was asked.
    fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        self.out
    }

    /// The sentence with which it refused.
    fn refused(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self.err
    }
}

/// Runs `vestibule` with these arguments, as one would type them.
fn run(dir: &Path, arguments: &str) -> Ran {
    run_with(dir, arguments, &[], "")
}

/// Runs `vestibule` with these arguments, settings from the environment, and something to read.
fn run_with(dir: &Path, arguments: &str, env: &[(&str, &str)], stdin: &str) -> Ran {
    let mut command = assert_cmd::Command::from_std(binary::command(dir, env));
    let output = command.args(arguments.split_whitespace()).write_stdin(stdin).timeout(Duration::from_mins(1)).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

fn empty_directory() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// A directory with an installation that no server has used yet.
fn installed() -> TempDir {
    let dir = empty_directory();
    run(dir.path(), "migrate up").done();
    dir
}

/// What is in a directory, sorted.
fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// The permission bits of a file or directory.
fn mode(path: &Path) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions()) & 0o777
}

/// The first administrator's password, as the file says it.
fn initial_password(dir: &Path) -> String {
    fs::read_to_string(dir.join("data/initial-admin-password")).unwrap().trim().to_owned()
}

/// Waits until `condition` holds. On a busy machine that takes longer than what is waited for.
fn until(condition: impl Fn() -> bool) {
    for _ in 0..600 {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("a minute was not enough");
}

/// Where a server tells its metrics, as its log says.
fn metrics_address(server: &Server) -> String {
    loop {
        let log = server.log.text();
        if let Some(line) = log.lines().find(|line| line.contains(r#""message":"serving metrics""#)) {
            return serde_json::from_str::<serde_json::Value>(line).unwrap()["address"].as_str().unwrap().to_owned();
        }
        std::thread::sleep(Duration::from_millis(10)); // the log is read by a thread of its own
    }
}

/// Does something to the database behind the product's back; gives the first column of what it answers.
fn sql(dir: &Path, statement: &str) -> Vec<String> {
    let url = format!("sqlite:{}", dir.join("data/vestibule.db").display());
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let db = Database::connect(url).await.unwrap();
        let statement = Statement::from_string(db.get_database_backend(), statement);
        let rows = db.query_all_raw(statement).await.unwrap();
        db.close().await.unwrap();
        rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
    })
}
