//! What the errors of single connections reveal about all connections of a database.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use sqlx::Connection as _;
use tokio::time::{Instant, timeout};

use super::{deadline::now, driver::Driver, failure};

/// A connection that was idle for longer is tested before it is used, so that no request fails after the server restarts.
const TEST_AFTER: Duration = Duration::from_secs(1);
/// How long an idle connection may take to answer the test.
const TEST_TIMEOUT: Duration = Duration::from_millis(300);

/// The health of a database's connections, shared by all its pools.
#[derive(Debug)]
pub(super) struct PoolHealth {
    started_at: Instant,
    /// Connections opened before this moment are not used again. In milliseconds since `started_at`.
    retired_before: AtomicU64,
    /// Connections that have been idle since before this moment are tested before they are used. In milliseconds since
    /// `started_at`.
    suspected_before: AtomicU64,
    /// Whether the database has refused a write, and is not known to have accepted one since.
    refuses_writes: AtomicBool,
    /// The number of statements and commits so far.
    statements: AtomicU64,
    /// Every statement that was sent.
    #[cfg(test)]
    pub(super) sent: std::sync::Mutex<Vec<sea_orm::Statement>>,
}

impl Default for PoolHealth {
    fn default() -> Self {
        Self {
            started_at: now(),
            retired_before: AtomicU64::default(),
            suspected_before: AtomicU64::default(),
            refuses_writes: AtomicBool::default(),
            statements: AtomicU64::default(),
            #[cfg(test)]
            sent: std::sync::Mutex::default(),
        }
    }
}

impl PoolHealth {
    fn millis(&self) -> u64 {
        u64::try_from(now().saturating_duration_since(self.started_at).as_millis()).unwrap_or(u64::MAX)
    }

    /// Returns whether a connection of this age is from before `moment`.
    fn is_before(&self, age: Duration, moment: &AtomicU64) -> bool {
        let moment = moment.load(Ordering::SeqCst);
        moment > 0 && self.millis().saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)) <= moment
    }

    /// Counts a statement or a commit.
    pub(super) fn count_statement(&self) {
        #[cfg(test)]
        super::tests::kills::count();
        self.statements.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of statements and commits so far.
    pub(super) fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    /// Closes every open connection, each when its current use ends.
    pub(super) fn retire_all(&self) {
        self.retired_before.store(self.millis().max(1), Ordering::SeqCst);
    }

    /// Tests every open connection before its next use, because one of them did not answer.
    pub(super) fn suspect_all(&self) {
        self.suspected_before.store(self.millis().max(1), Ordering::SeqCst);
    }

    /// Returns whether the last known write was refused.
    pub(super) fn refuses_writes(&self) -> bool {
        self.refuses_writes.load(Ordering::SeqCst)
    }

    /// Records that the database has accepted a write.
    pub(super) fn record_accepted_write(&self) {
        self.refuses_writes.store(false, Ordering::SeqCst);
    }

    /// Records what an error reveals about the other connections.
    pub(super) fn record_error(&self, err: &sqlx::Error) {
        if failure::is_read_only(err) {
            // PostgreSQL fixes the mode when a connection is opened, so the open ones would keep refusing writes.
            self.retire_all();
        }
        if failure::refuses_writes(err) {
            self.refuses_writes.store(true, Ordering::SeqCst);
        }
    }

    /// Returns whether a connection that was opened `age` ago and has been idle for `idle_for` may be used again. Tests it if
    /// necessary. A connection of SQLite needs no test.
    pub(super) async fn allows(&self, driver: &mut Driver, age: Duration, idle_for: Duration) -> bool {
        let Driver::Postgres(connection) = driver else { return true };
        if self.is_before(age, &self.retired_before) {
            return false;
        }
        if idle_for >= TEST_AFTER || self.is_before(idle_for, &self.suspected_before) {
            return matches!(timeout(TEST_TIMEOUT, Box::pin(connection.ping())).await, Ok(Ok(())));
        }
        true
    }
}
