//! The same faults on SQLite (H10, H11, D01), with two servers on one file: the file is locked, and its disk is full, broken,
//! read-only or absent.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use sea_orm::{
    ConnectionTrait, Statement,
    sqlx::{Connection, Executor, SqliteConnection},
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{
    site::{seconds, wait},
    trial::{DEGRADED, Expect, READ_ONLY, SETTINGS, Trial},
};

use crate::support::{
    binary::{self, Server, not_tested},
    directory,
    small_disk::SmallDisk,
};

/// The files and servers of a SQLite trial.
struct SqliteServers {
    directory: Arc<TempDir>,
    data: PathBuf,
    runtime: Runtime,
}

impl SqliteServers {
    fn new() -> Self {
        let directory = Arc::new(directory::temporary());
        let data = directory.path().join("data");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { directory, data, runtime }
    }

    /// Starts two servers on one file and their clients. Returns the servers' process ids too.
    fn trial(&self, name: &'static str) -> (Trial, [u32; 2]) {
        let servers = [start(self.directory.path()), start(self.directory.path())];
        let (ids, directory) = (servers.each_ref().map(Server::id), Arc::clone(&self.directory));
        (Trial::begin(name, servers, 3, move || start(directory.path())), ids)
    }

    fn open(&self) -> SqliteConnection {
        let url = format!("sqlite:{}", self.data.join("vestibule.db").display());
        self.runtime.block_on(SqliteConnection::connect(&url)).unwrap()
    }

    /// Runs statements in a connection to the database that stays open.
    fn hold(&self, statements: &str) -> SqliteConnection {
        let mut connection = self.open();
        for _ in 0..200 {
            if self.runtime.block_on(connection.execute(sea_orm::sqlx::AssertSqlSafe(statements.to_owned()))).is_ok() {
                return connection;
            }
        }
        panic!("{statements}: the database is busy for too long");
    }

    fn integrity(&self) -> String {
        let url = format!("sqlite:{}", self.data.join("vestibule.db").display());
        self.runtime.block_on(async {
            let db = sea_orm::Database::connect(url).await.unwrap();
            let check = Statement::from_string(db.get_database_backend(), "PRAGMA integrity_check");
            db.query_one_raw(check).await.unwrap().unwrap().try_get_by_index(0).unwrap()
        })
    }

    /// Empties the write-ahead log, so that no space in it can be reused, and fills the disk.
    fn fill(&self, disk: &SmallDisk) -> fs::File {
        drop(self.hold("PRAGMA wal_checkpoint(TRUNCATE)"));
        disk.fill()
    }
}

/// Starts a server that gets an error, not a signal, when it writes beyond its limit.
fn start(directory: &Path) -> Server {
    let mut shell = Command::new("sh");
    shell.args(["-c", r#"trap "" XFSZ; exec "$0""#, &binary::path()]);
    Server::spawn(binary::like(shell, directory, &SETTINGS))
}

/// Operations that continue, because they only read.
const READS: &[&str] = &["token", "me"];

#[test]
#[ignore = "long: .ci/long runs it"]
fn long_h10_the_service_recovers_after_a_frozen_process_locked_sqlite() {
    let files = SqliteServers::new();
    let (mut trial, _) = files.trial("SQLite locked");
    let expect = Expect { undisturbed: READS, ..DEGRADED };
    for begin in ["BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"] {
        trial.fault(expect, seconds(8), || files.hold(begin), drop);
    }
    trial.finish();
    assert_eq!(files.integrity(), "ok");
}

/// Every write to a file fails, as on a broken or detached disk.
#[test]
#[ignore = "long: .ci/long runs it"]
fn long_h10_the_service_reads_while_sqlite_cannot_write_to_its_disk() {
    let files = SqliteServers::new();
    let (mut trial, ids) = files.trial("SQLite: writes fail");
    let limit = |bytes| {
        for id in ids {
            let limit = Rlimit { current: bytes, maximum: None };
            prlimit(Some(Pid::from_raw(id.cast_signed()).unwrap()), Resource::Fsize, limit).unwrap();
        }
    };
    trial.fault(READ_ONLY, seconds(8), || limit(Some(0)), |()| limit(None));
    trial.finish();
    assert_eq!(files.integrity(), "ok");
}

#[test]
#[ignore = "long: .ci/long runs it"]
fn long_h10_the_service_reads_while_the_disk_of_sqlite_is_full() {
    let files = SqliteServers::new();
    fs::create_dir(&files.data).unwrap();
    let Some(disk) = SmallDisk::mount(&files.data, 64) else {
        return not_tested("a full disk", "only root can mount a small disk");
    };
    let (mut trial, _) = files.trial("SQLite: disk full");
    for _ in 0..2 {
        trial.fault(READ_ONLY, seconds(8), || files.fill(&disk), |ballast| ballast.set_len(0).unwrap());
    }
    trial.finish();
    assert_eq!(files.integrity(), "ok");
    drop(disk);
}

/// A full disk is remounted read-only, so that connections which are opened then cannot write.
#[test]
#[ignore = "long: .ci/long runs it"]
fn long_h10_the_service_recovers_after_the_sqlite_file_was_read_only() {
    let files = SqliteServers::new();
    fs::create_dir(&files.data).unwrap();
    let Some(disk) = SmallDisk::mount(&files.data, 64) else {
        return not_tested("a read-only disk", "only root can mount a small disk");
    };
    let (mut trial, _) = files.trial("SQLite: read-only");
    let read_only = files.directory.path().join("read-only");
    fs::create_dir(&read_only).unwrap();
    let run = |program: &str, arguments: &[&str], at: &Path| {
        assert!(Command::new(program).args(arguments).arg(at).status().unwrap().success(), "{program} {arguments:?}");
    };
    let make_read_only = || {
        let ballast = files.fill(&disk);
        wait(seconds(1));
        run("mount", &["--bind", files.data.to_str().unwrap()], &read_only);
        run("mount", &["-o", "remount,bind,ro"], &read_only);
        run("mount", &["--bind", read_only.to_str().unwrap()], &files.data);
        wait(seconds(2));
        ballast.set_len(0).unwrap();
    };
    let make_writable = || {
        run("umount", &["--lazy"], &files.data);
        run("umount", &["--lazy"], &read_only);
    };
    trial.fault(Expect { undisturbed: READS, ..DEGRADED }, seconds(6), make_read_only, |()| make_writable());
    trial.finish();
    assert_eq!(files.integrity(), "ok");
    drop(disk);
}

/// The directory is moved away and back, as when a volume is mounted too late.
#[test]
#[ignore = "long: .ci/long runs it"]
fn long_h10_the_service_recovers_after_the_sqlite_directory_was_moved() {
    let files = SqliteServers::new();
    let (mut trial, _) = files.trial("SQLite: directory moved");
    let away = files.directory.path().join("away");
    trial.fault(DEGRADED, seconds(6), || fs::rename(&files.data, &away).unwrap(), |()| fs::rename(&away, &files.data).unwrap());
    trial.finish();
    assert_eq!(files.integrity(), "ok");
}
