//! The command line: the real binary, started and stopped with right and wrong arguments, in a directory of its own.

mod accounts;
mod backups;
pub mod clocks;
mod contract;
mod copies;
pub mod http;
mod installing;
mod keys;
pub mod kills;
mod logs;
mod mails;
mod many_clients;
mod migrations;
mod people;
mod poolers;
mod proxies;
mod restores;
mod secrets;
mod settings;
mod stalls;
mod starts;
mod stops;
mod supervised;
mod watch;

use std::{fs, path::Path, process::Stdio, thread, time::Duration};

use sea_orm::{ConnectionTrait, Database, Statement};
use tempfile::TempDir;
use uuid::Uuid;

use crate::support::{
    binary::{self, Server},
    directory,
};

/// The outcome of a command.
pub struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    /// Returns the standard output of a command that succeeded.
    pub fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{}{}", self.out, self.err);
        self.out
    }

    /// Returns the error message of a command that failed with this exit code.
    pub fn refused(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}{}", self.out, self.err);
        assert!(!self.err.contains("panicked"), "{}", self.err);
        self.err
    }
}

/// Runs `vestibule` with these arguments, which are separated by spaces.
pub fn run(dir: &Path, arguments: &str) -> Ran {
    run_with(dir, arguments, &[], "")
}

/// Runs `vestibule` with these arguments, settings from the environment and standard input.
pub fn run_with(dir: &Path, arguments: &str, env: &[(&str, &str)], stdin: &str) -> Ran {
    let mut command = assert_cmd::Command::from_std(binary::command(dir, env));
    let output = command.args(arguments.split_whitespace()).write_stdin(stdin).timeout(Duration::from_mins(1)).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

/// Kills `vestibule` with these arguments at a random moment of its first `longest` milliseconds. Returns whether it was killed.
pub fn kill(dir: &Path, arguments: &str, longest: u64) -> bool {
    let mut command = binary::command(dir, &[]);
    command.args(arguments.split_whitespace()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    thread::sleep(Duration::from_millis(Uuid::new_v4().as_u64_pair().1 % longest));
    _ = child.kill();
    !child.wait().unwrap().success()
}

fn empty_directory() -> TempDir {
    directory::temporary()
}

/// Returns a directory with an installation that no server has used yet.
fn installed() -> TempDir {
    let dir = empty_directory();
    run(dir.path(), "migrate up").done();
    dir
}

/// Returns the names of the files in a directory, sorted.
pub fn files(dir: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Returns the permission bits of a file or directory.
fn mode(path: &Path) -> u32 {
    std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions()) & 0o777
}

/// Returns the first administrator's password, which is stored in a file.
pub fn initial_password(dir: &Path) -> String {
    fs::read_to_string(dir.join("data/initial-admin-password")).unwrap().trim().to_owned()
}

/// Waits until `condition` holds. Panics after a minute.
pub fn until(condition: impl Fn() -> bool) {
    for _ in 0..600 {
        if condition() {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    panic!("the condition did not hold within a minute");
}

/// Returns the address on which a server serves its metrics, from its log.
pub fn metrics_address(server: &Server) -> String {
    loop {
        let log = server.log.text();
        if let Some(line) = log.lines().find(|line| line.contains(r#""message":"serving metrics""#)) {
            return serde_json::from_str::<serde_json::Value>(line).unwrap()["address"].as_str().unwrap().to_owned();
        }
        std::thread::sleep(Duration::from_millis(10)); // another thread reads the log
    }
}

/// Runs a statement on the database directly. Returns the first column of its result.
pub fn sql(dir: &Path, statement: &str) -> Vec<String> {
    sql_in(&dir.join("data/vestibule.db"), statement)
}

/// As [`sql`], for another file.
fn sql_in(file: &Path, statement: &str) -> Vec<String> {
    let url = format!("sqlite:{}", file.display());
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let db = Database::connect(url).await.unwrap();
        let statement = Statement::from_string(db.get_database_backend(), statement);
        let rows = db.query_all_raw(statement).await.unwrap();
        db.close().await.unwrap();
        rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
    })
}
