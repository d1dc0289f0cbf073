//! Whether the database can be read and written. Only an attempt to write shows that it can be written.

use std::{path::Path, time::Duration};

use rustix::fs::{Access, access, statvfs};
use sea_orm::{ConnectionTrait as _, DbBackend, DbErr, Statement};
use tokio::{
    sync::Mutex,
    task::spawn_blocking,
    time::{Instant, timeout},
};

use super::{Database, FEED_TIMEOUT, Reader, Transaction, deadline::now, failure, open::DatabaseAddress};
use crate::live::files;

/// How long the result of a probe is used.
const PROBE_EVERY: Duration = Duration::from_secs(10);
/// How long it is used after a failure, or while there are signs of one.
const PROBE_EVERY_WHEN_SUSPECT: Duration = Duration::from_millis(500);
/// The minimum free space, in bytes, at which a file system is not suspect. SQLite writes a page of 4 KiB for each changed row.
const MIN_FREE_SPACE: u64 = 1024 * 1024;

/// The last probe: when it ended, and whether its write succeeded.
pub(super) type LastProbe = Mutex<Option<(Instant, bool)>>;

/// Whether the database can be read and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Availability {
    /// The database can be read and written.
    Writable,
    /// The database can be read, and refuses to write.
    ReadOnly,
    /// The database does not answer in time.
    Unreachable,
}

impl Database {
    /// Checks whether the database can be read and written. The check writes every ten seconds at most, and twice a second
    /// while the last write has failed or the file system looks full or read only.
    pub async fn availability(&self) -> Availability {
        match self.claims_to_be_writable().await {
            Ok(true) => {}
            Ok(false) => return Availability::ReadOnly,
            Err(_) => return Availability::Unreachable,
        }
        let refuses_writes = self.writer.health().refuses_writes();
        let is_writable = match (refuses_writes, self.is_file_system_suspect().await) {
            // The few pages of a probe may fit into the write-ahead log when those of a request do not.
            (true, true) => false,
            (false, false) => self.probe(PROBE_EVERY).await,
            _ => self.probe(PROBE_EVERY_WHEN_SUSPECT).await,
        };
        if is_writable { Availability::Writable } else { Availability::ReadOnly }
    }

    /// Reads from the database, and returns whether its settings allow writes.
    async fn claims_to_be_writable(&self) -> Result<bool, DbErr> {
        let reader = Reader { timeout: FEED_TIMEOUT, ..self.reader.clone() };
        let select = match self.writer.backend() {
            // On a standby it is 'on'.
            DbBackend::Postgres => "SELECT current_setting('transaction_read_only') = 'off'",
            // Reads a row that always exists, because SQLite answers `SELECT 1` without reading the file.
            _ => "SELECT name = 'admin' FROM roles WHERE name = 'admin'",
        };
        let row = reader.query_one_raw(Statement::from_string(self.writer.backend(), select)).await?;
        let is_writable = row.is_some_and(|row| row.try_get_by_index(0).unwrap_or(false));
        if !is_writable {
            // A connection keeps the mode that the database had when it was opened.
            self.writer.health().retire_all();
        }
        Ok(is_writable)
    }

    /// Returns whether the file system of a SQLite database looks full or read only, or does not answer.
    async fn is_file_system_suspect(&self) -> bool {
        let DatabaseAddress::Sqlite(path, _) = &*self.address else { return false };
        let path = path.clone();
        let check = spawn_blocking(move || {
            let directory = files::directory_of(&path);
            let has_space = statvfs(directory).is_ok_and(|stat| stat.f_bavail.saturating_mul(stat.f_frsize) >= MIN_FREE_SPACE);
            let accepts_writes = |path: &Path| access(path, Access::WRITE_OK).is_ok();
            has_space && accepts_writes(&path) && accepts_writes(directory)
        });
        !matches!(timeout(FEED_TIMEOUT, check).await, Ok(Ok(true)))
    }

    /// Returns whether the database can be written. Uses the last result if it is younger than `every`, or if it is a recent
    /// failure.
    async fn probe(&self, every: Duration) -> bool {
        let mut last = self.last_probe.lock().await;
        if let Some((at, succeeded)) = *last
            && now() < at + if succeeded { every } else { PROBE_EVERY_WHEN_SUSPECT }
        {
            return succeeded;
        }
        let succeeded = match self.write_twice().await {
            Ok(()) => {
                self.writer.health().record_accepted_write();
                true
            }
            // Another process is writing.
            Err(err) => failure::is_locked(&err),
        };
        *last = Some((now(), succeeded));
        succeeded
    }

    /// Renames a secret and restores its name, because SQLite writes nothing for an UPDATE that changes nothing.
    async fn write_twice(&self) -> Result<(), DbErr> {
        let tx = Transaction::begin(&self.writer, now() + FEED_TIMEOUT).await?;
        for (from, to) in [("pepper", "pepper?"), ("pepper?", "pepper")] {
            let update = format!("UPDATE secrets SET name = '{to}' WHERE name = '{from}'");
            if tx.execute_unprepared(&update).await?.rows_affected() == 0 {
                return Err(failure::unusable_connection());
            }
        }
        Ok(tx.commit().await?)
    }
}
