//! PgBouncer between a server and PostgreSQL. It listens on no port, only on a socket in a directory of its own.

use std::{fs, os::unix::net::UnixStream, path::Path};

use super::daemon::{self, Daemon};

/// A running pooler.
pub struct PgBouncer(Daemon);

impl PgBouncer {
    /// Starts a pooler, with these lines of settings, for the PostgreSQL server whose socket is in the directory `postgres`, to
    /// which it connects as `role`. Returns `None` if PgBouncer is not installed.
    pub fn start(postgres: &Path, role: &str, settings: &str) -> Option<Self> {
        let program = daemon::find("pgbouncer", "behind PgBouncer")?;
        let directory = tempfile::Builder::new().prefix("vestibule-pooler-").tempdir().unwrap();
        let (path, file) = (directory.path().display(), directory.path().join("pgbouncer.ini"));
        let databases = format!("[databases]\n* = host={} user={role}\n", postgres.display());
        let pooler = format!("[pgbouncer]\nauth_type = any\nlisten_addr =\nlisten_port = 5432\nunix_socket_dir = {path}\n");
        fs::write(&file, format!("{databases}{pooler}logfile = {path}/log\n{settings}\n")).unwrap();
        let socket = directory.path().join(".s.PGSQL.5432");
        let is_ready = || UnixStream::connect(&socket).is_ok();
        Some(Self(Daemon::start(&program, &["-q", file.to_str().unwrap()], directory, is_ready)))
    }

    /// Returns the URL of a database behind this pooler.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://anybody@localhost/{database}?host={}", self.0.directory().display())
    }
}
