//! A PostgreSQL server for a test run. It listens on no port, and its data is deleted afterwards.

use std::{
    env, fs,
    io::{self, BufRead, BufReader, Write},
    os::unix::{
        fs::{MetadataExt, chown},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Once,
};

use tempfile::TempDir;

/// `nobody` on Debian; PostgreSQL refuses to run as root.
const NOBODY: u32 = 65534;

/// The message that PostgreSQL is missing is printed once.
static REPORTED: Once = Once::new();

/// A running server. It stops when this is dropped and when the test process is killed.
pub struct TemporaryPostgres {
    server: Child,
    directory: TempDir,
}

impl TemporaryPostgres {
    /// Starts a server. Without PostgreSQL, prints that to standard error and returns `None`, or panics with `CI=true`.
    pub fn start() -> Option<Self> {
        Self::start_on(|bin, data| {
            let mut initdb = unprivileged(&bin.join("initdb"));
            // A collation that differs from C, so that a column without `COLLATE "C"` fails a test.
            initdb
                .args(["--username=vestibule", "--auth=trust", "--encoding=UTF8", "--no-sync"])
                .args(["--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US", "--pgdata"])
                .arg(data);
            initdb
        })
    }

    /// As [`Self::start`], with a data directory that the command from `prepare` creates. `prepare` gets the directories of
    /// PostgreSQL's programs and of the data.
    pub fn start_on(prepare: impl FnOnce(&Path, &Path) -> Command) -> Option<Self> {
        let Some(bin) = find_server() else {
            assert_ne!(env::var("CI").as_deref(), Ok("true"), "PostgreSQL must be installed where CI=true");
            // Not with `eprintln`, whose output the test runner hides when a test passes.
            REPORTED.call_once(|| {
                let _ = writeln!(io::stderr(), "NOT TESTED on PostgreSQL: no initdb in /usr/lib/postgresql/*/bin or the PATH");
            });
            return None;
        };
        let directory = tempfile::Builder::new().prefix("vestibule-pg-").tempdir().unwrap();
        let data = directory.path().join("data");
        give_to_nobody(directory.path());
        let made = prepare(&bin, &data).output().unwrap();
        assert!(made.status.success(), "no data directory: {}", String::from_utf8_lossy(&made.stderr));
        // If this process is killed, the shell survives it, reads the end of its input, and stops the server.
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

    /// Returns the URL of a database on this server. The database `postgres` always exists.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://vestibule@localhost/{database}?host={}", self.directory().display())
    }

    /// Returns the directory of the server's socket, its log and its `data`.
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

/// Returns the directory of PostgreSQL's programs.
pub fn find_server() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut bins: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    bins.sort();
    let path = env::var_os("PATH").unwrap_or_default();
    bins.into_iter().rev().chain(env::split_paths(&path)).find(|bin| bin.join("initdb").exists())
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Gives a directory to the user of [`unprivileged`] commands.
pub fn give_to_nobody(directory: &Path) {
    if is_root() {
        chown(directory, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

/// Returns a command that runs a program as another user than root. PostgreSQL and PgBouncer refuse to run as root.
pub fn unprivileged(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/").process_group(0);
    if is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}
