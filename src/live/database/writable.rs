//! Whether the database accepts writes, which shows only when it is asked to write.

use std::{path::Path, time::Duration};

use rustix::fs::{Access, access, statvfs};
use sea_orm::{ConnectionTrait as _, DbBackend, DbErr, Statement};
use tokio::{
    sync::Mutex,
    task::spawn_blocking,
    time::{Instant, timeout},
};

use super::{Database, FEED_LIMIT, Reader, Transaction, failure, lease::now, open::DatabaseAddress};

/// How long the outcome of a trial write holds, however often it is asked for.
const HOLDS: Duration = Duration::from_secs(10);
/// The same, where there is a reason for doubt.
const HOLDS_IN_DOUBT: Duration = Duration::from_millis(500);
/// A file system with less room than this is tried: SQLite writes a page of 4 KiB for each row that changes.
const ROOM: u64 = 1024 * 1024;

/// The last trial write: when it ended, and whether it succeeded.
pub(super) type Probe = Mutex<Option<(Instant, bool)>>;

/// What a probe found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The database reads and writes.
    Writable,
    /// The database answers, and refuses to write.
    ReadOnly,
    /// The database does not answer in time.
    Away,
}

impl Database {
    /// Asks the database whether it reads and writes. Only a write shows that, so it writes: at most once in ten seconds, and
    /// twice a second while the last write has failed or the file system looks full or read only.
    pub async fn state(&self) -> State {
        match self.look().await {
            Ok(true) => {}
            Ok(false) => return State::ReadOnly,
            Err(_) => return State::Away,
        }
        let has_refused = self.writer.condition.refuses_writes();
        let is_writable = match (has_refused, self.is_short_of_room().await) {
            // The few pages of a trial may fit into the write-ahead log where a request's do not.
            (true, true) => false,
            (false, false) => self.try_write(HOLDS).await,
            _ => self.try_write(HOLDS_IN_DOUBT).await,
        };
        if is_writable { State::Writable } else { State::ReadOnly }
    }

    /// Whether the database says that it writes.
    async fn look(&self) -> Result<bool, DbErr> {
        let reader = Reader { limit: FEED_LIMIT, ..self.reader.clone() };
        let look = match self.writer.backend() {
            // A standby says so too.
            DbBackend::Postgres => "SELECT current_setting('transaction_read_only') = 'off'",
            // A row that is always there: SQLite answers `SELECT 1` without a look at the file.
            _ => "SELECT name = 'admin' FROM roles WHERE name = 'admin'",
        };
        let row = reader.query_one_raw(Statement::from_string(self.writer.backend(), look)).await?;
        let is_writable = row.is_some_and(|row| row.try_get_by_index(0).unwrap_or(false));
        if !is_writable {
            // A connection may be read only because the database was so when it was opened.
            self.writer.condition.retire_all();
        }
        Ok(is_writable)
    }

    /// Whether the file system of a SQLite database is full or read only, as far as can be seen, or does not answer.
    async fn is_short_of_room(&self) -> bool {
        let DatabaseAddress::Sqlite(path, _) = &*self.address else { return false };
        let path = path.clone();
        let look = spawn_blocking(move || {
            let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let has_room = statvfs(directory).is_ok_and(|it| it.f_bavail.saturating_mul(it.f_frsize) >= ROOM);
            let accepts_writes = |path: &Path| access(path, Access::WRITE_OK).is_ok();
            has_room && accepts_writes(&path) && accepts_writes(directory)
        });
        !matches!(timeout(FEED_LIMIT, look).await, Ok(Ok(true)))
    }

    /// Writes, unless that was tried less than `holds` ago and succeeded, or just now and failed.
    async fn try_write(&self, holds: Duration) -> bool {
        let mut last = self.probe.lock().await;
        if let Some((at, succeeded)) = *last
            && now() < at + if succeeded { holds } else { HOLDS_IN_DOUBT }
        {
            return succeeded;
        }
        let succeeded = match self.write_there_and_back().await {
            Ok(()) => {
                self.writer.condition.accepts_writes();
                true
            }
            // Somebody else is writing.
            Err(err) => failure::is_locked(&err),
        };
        *last = Some((now(), succeeded));
        succeeded
    }

    async fn write_there_and_back(&self) -> Result<(), DbErr> {
        let tx = Transaction::begin(&self.writer, now() + FEED_LIMIT).await?;
        // SQLite writes nothing for a row that an UPDATE leaves as it is.
        for (from, to) in [("pepper", "pepper?"), ("pepper?", "pepper")] {
            let update = format!("UPDATE secrets SET name = '{to}' WHERE name = '{from}'");
            if tx.execute_unprepared(&update).await?.rows_affected() == 0 {
                return Err(failure::broken());
            }
        }
        Ok(tx.commit().await?)
    }
}
