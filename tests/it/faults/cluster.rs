//! A PostgreSQL server that can be stopped, frozen, killed, made read-only and replaced by a standby.

use std::{
    fs,
    io::Write,
    path::PathBuf,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use sea_orm::sqlx::{Connection, PgConnection};

use crate::support::postgres::{TemporaryPostgres, find_server, unprivileged};

/// The database of the service, and the role with which it connects. The role is not a superuser.
pub const DATABASE: &str = "trial";
pub const ROLE: &str = "service";

/// A server and its programs.
pub struct Cluster {
    postgres: TemporaryPostgres,
    bin: PathBuf,
}

impl Cluster {
    /// Starts a server with an empty database; `None` where PostgreSQL is not installed.
    pub fn start() -> Option<Self> {
        let postgres = TemporaryPostgres::start()?;
        let cluster = Self { postgres, bin: find_server()? };
        cluster.sql("postgres", &format!("CREATE ROLE {ROLE} LOGIN"));
        cluster.create_database(DATABASE);
        Some(cluster)
    }

    pub fn create_database(&self, name: &str) {
        self.sql("postgres", &format!("CREATE DATABASE {name} OWNER {ROLE}"));
    }

    /// The socket on which the server listens.
    pub fn socket(&self) -> PathBuf {
        self.postgres.directory().join(".s.PGSQL.5432")
    }

    fn data(&self) -> PathBuf {
        self.postgres.directory().join("data")
    }

    /// Runs a statement as a superuser; returns what it prints, columns separated by `|`.
    pub fn sql(&self, database: &str, statement: &str) -> String {
        loop {
            let output = self.psql(database).args(["--command", statement]).stdin(Stdio::null()).output().unwrap();
            let error = String::from_utf8_lossy(&output.stderr);
            if error.contains("too many clients already") {
                // Clients that are about to be refused take, for a moment, even the connections that are kept for superusers.
                thread::sleep(Duration::from_millis(10));
                continue;
            }
            assert!(output.status.success(), "{statement}: {error}");
            return String::from_utf8(output.stdout).unwrap().trim().to_owned();
        }
    }

    /// Changes a setting of the server without a restart.
    pub fn set(&self, setting: &str, value: &str) {
        self.sql("postgres", &format!("ALTER SYSTEM SET {setting} = '{value}'"));
        self.sql("postgres", "SELECT pg_reload_conf()");
    }

    fn psql(&self, database: &str) -> Command {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1", "--username=vestibule"]);
        // Superusers may do what other roles may not while the server is read-only.
        psql.env("PGOPTIONS", "-c default_transaction_read_only=off");
        psql.arg("--host").arg(self.postgres.directory()).args(["--dbname", database]);
        psql
    }

    /// Runs statements in a session that stays open until the result is dropped.
    pub fn hold(&self, statements: &str) -> Session {
        let mut child = self.psql(DATABASE).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let mut input = child.stdin.take().unwrap();
        writeln!(input, "SET application_name = 'holder'; {statements}; SELECT 'held';").unwrap();
        let session = Session { child, _input: input };
        let holds = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'holder' AND query LIKE '%held%' AND state LIKE 'idle%'";
        while self.sql("postgres", holds) == "0" {
            thread::sleep(Duration::from_millis(10));
        }
        session
    }

    fn control(&self, arguments: &[&str]) {
        let mut command = unprivileged(&self.bin.join("pg_ctl"));
        command.args(arguments).args(["--silent", "--wait", "--pgdata"]).arg(self.data());
        let status = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        assert!(status.success(), "pg_ctl {arguments:?}: {}", self.log());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.postgres.directory().join("log")).unwrap_or_default()
    }

    /// Stops the server: `fast` ends the sessions first, `immediate` stops all processes as in a crash.
    pub fn stop(&self, mode: &str) {
        self.control(&["stop", "--mode", mode]);
    }

    /// Starts the server again after [`Self::stop`] or [`Self::kill`]; returns when it accepts connections.
    pub fn start_again(&self, max_connections: u32) {
        let directory = self.postgres.directory().display().to_string();
        let options = format!(
            "-c listen_addresses='' -c unix_socket_directories='{directory}' -c fsync=off -c max_connections={max_connections}"
        );
        self.control(&["start", "--log", &format!("{directory}/log"), "--options", &options]);
    }

    /// Returns the server's processes, the first one first.
    fn processes(&self) -> Vec<Pid> {
        let file = fs::read_to_string(self.data().join("postmaster.pid")).unwrap();
        let first = file.lines().next().unwrap().trim().to_owned();
        let children = fs::read_to_string(format!("/proc/{first}/task/{first}/children")).unwrap();
        let ids = std::iter::once(first.as_str()).chain(children.split_whitespace());
        ids.filter_map(|id| Pid::from_raw(id.parse().unwrap())).collect()
    }

    fn signal(&self, signal: Signal) {
        for process in self.processes() {
            _ = kill_process(process, signal); // a process may have ended
        }
    }

    /// Stops every process of the server with SIGSTOP. Connections are accepted, but nothing responds.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills every process of the server.
    pub fn kill(&self) {
        let first = self.processes()[0];
        self.signal(Signal::KILL);
        while fs::exists(format!("/proc/{}", first.as_raw_nonzero())).unwrap() {
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends the sessions that `condition` selects from `pg_stat_activity`; returns how many.
    pub fn terminate(&self, condition: &str) -> usize {
        let statement =
            format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{ROLE}' AND ({condition})");
        self.sql("postgres", &statement).lines().count()
    }

    /// Starts a standby that receives every transaction before it is acknowledged.
    pub fn standby(&self) -> Self {
        let postgres = TemporaryPostgres::start_on(|bin, data| {
            let mut copy = unprivileged(&bin.join("pg_basebackup"));
            copy.arg("--host").arg(self.postgres.directory()).args(["--username=vestibule", "--write-recovery-conf"]);
            copy.args(["--wal-method=stream", "--checkpoint=fast", "--no-sync", "--pgdata"]).arg(data);
            copy
        });
        let standby = Self { postgres: postgres.unwrap(), bin: self.bin.clone() };
        self.set("synchronous_standby_names", "*");
        while self.sql("postgres", "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == "0" {
            thread::sleep(Duration::from_millis(20));
        }
        standby
    }

    /// Makes a standby the primary.
    pub fn promote(&self) {
        self.control(&["promote"]);
    }

    /// Takes every connection that is free or becomes free, until the result is dropped.
    pub fn hog(&self) -> Hog {
        let url = format!("postgres://{ROLE}@localhost/{DATABASE}?host={}", self.postgres.directory().display());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut held = Vec::new();
                while !stopped.load(Ordering::SeqCst) {
                    match PgConnection::connect(&url).await {
                        Ok(connection) => held.push(connection),
                        Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                    }
                }
            });
        });
        Hog { stop, thread: Some(thread) }
    }
}

/// A session that is open until it is dropped.
pub struct Session {
    child: Child,
    _input: ChildStdin,
}

impl Drop for Session {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Holds every connection until it is dropped.
pub struct Hog {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Drop for Hog {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        _ = self.thread.take().unwrap().join();
    }
}

/// Returns the URL of the database on this local port.
pub fn url(port: u16) -> String {
    format!("postgres://{ROLE}@127.0.0.1:{port}/{DATABASE}?sslmode=disable")
}
