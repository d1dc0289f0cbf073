//! PgBouncer between a server and PostgreSQL. It listens on no port, only on a socket in a directory of its own.

use std::{
    env, fs,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    thread,
    time::Duration,
};

use tempfile::TempDir;

use super::{
    binary::not_tested,
    postgres::{give_to_nobody, unprivileged},
};

/// A running pooler. It stops when this is dropped and when the test process is killed.
pub struct PgBouncer {
    process: Child,
    directory: TempDir,
}

impl PgBouncer {
    /// Starts a pooler, with these lines of settings, for the PostgreSQL server whose socket is in the directory `postgres`, to
    /// which it connects as `role`. Returns `None` if PgBouncer is not installed.
    pub fn start(postgres: &Path, role: &str, settings: &str) -> Option<Self> {
        let Some(program) = find() else {
            not_tested("behind PgBouncer", "pgbouncer is not installed");
            return None;
        };
        let directory = tempfile::Builder::new().prefix("vestibule-pooler-").tempdir().unwrap();
        let (path, file) = (directory.path().display(), directory.path().join("pgbouncer.ini"));
        let databases = format!("[databases]\n* = host={} user={role}\n", postgres.display());
        let pooler = format!("[pgbouncer]\nauth_type = any\nlisten_addr =\nlisten_port = 5432\nunix_socket_dir = {path}\n");
        fs::write(&file, format!("{databases}{pooler}logfile = {path}/log\n{settings}\n")).unwrap();
        give_to_nobody(directory.path());
        // If this process is killed, the shell reads the end of its input, and stops the pooler.
        let mut shell = unprivileged(Path::new("/bin/sh"));
        shell.args(["-c", r#""$1" -q "$2" & cat >/dev/null; kill -9 $!"#, "sh"]).arg(program).arg(file);
        let mut process = shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while UnixStream::connect(directory.path().join(".s.PGSQL.5432")).is_err() {
            let log = || fs::read_to_string(directory.path().join("log")).unwrap_or_default();
            assert!(process.try_wait().unwrap().is_none(), "PgBouncer did not start: {}", log());
            thread::sleep(Duration::from_millis(10));
        }
        Some(Self { process, directory })
    }

    /// Returns the URL of a database behind this pooler.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://anybody@localhost/{database}?host={}", self.directory.path().display())
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}

/// Returns PgBouncer's program. It is not in the PATH of every user.
fn find() -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut programs = env::split_paths(&path).chain(["/usr/sbin".into()]).map(|bin| bin.join("pgbouncer"));
    programs.find(|program| program.exists())
}
