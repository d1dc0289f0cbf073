//! A PostgreSQL server for the length of a test run: own directory, no port, nothing kept.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use tempfile::TempDir;

/// `nobody` on Debian; PostgreSQL refuses to run as root.
const NOBODY: u32 = 65534;

/// That there is no server is said once in a run.
static SAID: Once = Once::new();

/// A running server. It stops when this is dropped, and also when the test process dies in any other way.
pub struct TemporaryPostgres {
    server: Child,
    directory: TempDir,
}

impl TemporaryPostgres {
    /// Starts a server, or says on standard error why there is none. With `CI=true` there has to be one.
    pub fn start() -> Option<Self> {
        Self::start_on(|bin, data| {
            let mut initdb = unprivileged(&bin.join("initdb"));
            // A collation unlike C, so that a column without `COLLATE "C"` is noticed.
            initdb
                .args(["--username=vestibule", "--auth=trust", "--encoding=UTF8", "--no-sync"])
                .args(["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US", "--pgdata"])
                .arg(data);
            initdb
        })
    }

    /// As [`Self::start`], on a data directory that the command from `prepare` makes. It gets PostgreSQL's programs and the directory.
    pub fn start_on(prepare: impl FnOnce(&Path, &Path) -> Command) -> Option<Self> {
        let Some(bin) = find_server() else {
            assert_ne!(std::env::var("CI").as_deref(), Ok("true"), "PostgreSQL must be installed where CI=true");
            // Not `eprintln`, which the test runner keeps to itself when a test passes.
            SAID.call_once(|| {
                let _ = writeln!(io::stderr(), "NOT TESTED on PostgreSQL: no initdb in /usr/lib/postgresql/*/bin or the PATH");
            });
            return None;
        };
        let directory = tempfile::Builder::new().prefix("vestibule-pg-").tempdir().unwrap();
        let data = directory.path().join("data");
        if is_root() {
            chown(directory.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let made = prepare(&bin, &data).output().unwrap();
        assert!(made.status.success(), "no data directory: {}", String::from_utf8_lossy(&made.stderr));
        // The shell outlives us if we are killed; then its input ends, and it stops the server.
        let mut server = unprivileged(Path::new("/bin/sh"))
            .args(["-c", SUPERVISOR, "sh"])
            .arg(bin)
            .arg(&data)
            .arg(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(server.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let log = || fs::read_to_string(directory.path().join("log")).unwrap_or_default();
        assert_eq!(line.trim(), "ready", "PostgreSQL did not start: {}", log());
        Some(Self { server, directory })
    }

    /// The URL of a database on this server; `postgres` always exists.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://vestibule@localhost/{database}?host={}", self.directory().display())
    }

    /// Where the server has its socket, its log, and its `data`.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for TemporaryPostgres {
    fn drop(&mut self) {
        drop(self.server.stdin.take());
        let _ = self.server.wait();
    }
}

const SUPERVISOR: &str = r#"
bin=$1 data=$2 directory=$3
"$bin/pg_ctl" start --wait --silent --pgdata "$data" --log "$directory/log" \
    --options "-c listen_addresses='' -c unix_socket_directories='$directory' -c fsync=off -c max_connections=300" >&2 || exit
echo ready
cat >/dev/null
server=$(head -n 1 "$data/postmaster.pid" 2>/dev/null) && kill -CONT "$server" $(cat "/proc/$server/task/$server/children")
"$bin/pg_ctl" stop --silent --mode=immediate --pgdata "$data"
rm -rf "$data"
"#;

/// Where PostgreSQL's programs are.
pub fn find_server() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut bins: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    bins.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    bins.into_iter().rev().chain(std::env::split_paths(&path)).find(|bin| bin.join("initdb").exists())
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// A program of PostgreSQL's, about to run as somebody it agrees to run as.
pub fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").process_group(0);
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}
