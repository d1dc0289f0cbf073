//! The database: how it is opened, read and written, alike for SQLite and PostgreSQL. Whatever waits for it has a deadline.

use std::{borrow::Cow, io, path::PathBuf, sync::Arc, time::Duration};

use sea_orm::{ConnectionTrait as _, DbBackend, DbErr};
use tokio::time::{sleep, timeout};

pub mod deadline;
mod failure;
mod group;
mod lease;
mod listener;
mod open;
mod schema;
#[cfg(test)]
pub(crate) mod tests;
mod transaction;
mod writable;

use group::Group;
use lease::{Pool, now};
use writable::Probe;

pub use {
    failure::is_away,
    group::Inside,
    schema::Change,
    transaction::{CommitError, Reader, Transaction},
    writable::State,
};

/// How long to wait for one answer outside a transaction, or for all of a transaction; a request, for everything it asks
/// (`deadline`): its client is told within 2 seconds that the database is away.
const LIMIT: Duration = Duration::from_millis(1_750);
/// How long the follower of the feed and the readiness probe wait for one answer.
const FEED_LIMIT: Duration = Duration::from_secs(1);
/// How long work that nobody waits for may take.
const LEISURE: Duration = Duration::from_secs(30);
/// How long connections may take to close when the process ends.
const CLOSE: Duration = Duration::from_secs(1);

/// An open database. Cheap to clone: clones share their connections.
#[derive(Clone, Debug)]
pub struct Database {
    reader: Reader,
    writer: Pool,
    feed: Reader,
    group: Arc<Group>,
    probe: Arc<Probe>,
    address: Arc<open::DatabaseAddress>,
}

/// What can go wrong with the database as a whole. No message repeats the URL: it may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The setting is unusable, whatever the database does.
    #[error("database.url {0}.")]
    Url(Cow<'static, str>),
    /// The file of a SQLite database cannot be made or reached.
    #[error("The database file {} cannot be opened", path.display())]
    File {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No server answers in time.
    #[error("No database answers where database.url points to")]
    Silent(#[source] Option<Arc<sqlx::Error>>),
    /// The server is a standby, or its database is set to be read only.
    #[error("The database accepts no writes at present: it is a standby, or set to be read only")]
    ReadOnly,
    /// The texts of the database are not stored as UTF-8.
    #[error(
        "The database is encoded in {0}, and Vestibule needs UTF8: make one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
    )]
    Encoding(String),
    /// The database refuses us, or is not a database.
    #[error("The database cannot be opened")]
    Connect(#[source] DbErr),
    /// This program is older than the database.
    #[error(
        "The database was migrated by a newer version of Vestibule, which added {0}. Start that version, or restore a backup made before it."
    )]
    Newer(String),
    /// The database failed while its schema was read or changed; it is as it was before.
    #[error("The database cannot be migrated")]
    Migrate(#[source] DbErr),
}

impl Database {
    /// For queries outside a transaction. On SQLite these connections refuse to write.
    #[must_use]
    pub fn read(&self) -> &Reader {
        &self.reader
    }

    /// As [`Self::read`], for work that nobody waits for.
    #[must_use]
    pub fn read_in_background(&self) -> Reader {
        Reader { limit: LEISURE, ..self.reader.clone() }
    }

    /// For following the feed of revocations: connections of its own, so that no slow list keeps it waiting.
    #[must_use]
    pub fn feed(&self) -> &Reader {
        &self.feed
    }

    /// Returns whether several servers can share this database, as they can on PostgreSQL.
    pub fn is_shared(&self) -> bool {
        self.writer.backend() == DbBackend::Postgres
    }

    /// Each pool's name, its connections in use, and those at rest. (PostgreSQL: one pool serves both.)
    #[must_use]
    pub fn pools(&self) -> Vec<(&'static str, usize, usize)> {
        let pools = [("reader", &self.reader.pool), ("writer", &self.writer), ("feed", &self.feed.pool)];
        let count = |(name, pool): (&'static str, &Pool)| {
            let (busy, idle) = pool.count();
            (name, busy, idle)
        };
        pools.into_iter().map(count).collect()
    }

    /// Begins a transaction that will write, which must be committed within 1.75 seconds.
    /// On SQLite it waits here until it is the only one (a deferred one would fail later, and at once).
    ///
    /// # Errors
    /// Whatever the database says, and one for which [`is_away`] holds when it does not answer in time.
    pub async fn write(&self) -> Result<Transaction, DbErr> {
        Transaction::begin(&self.writer, now() + LIMIT).await
    }

    /// As [`Self::write`], for work that nobody waits for: it has 30 seconds, and waits as long for others.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn write_in_background(&self) -> Result<Transaction, DbErr> {
        let until = now() + LEISURE;
        loop {
            match Transaction::begin(&self.writer, until).await {
                Err(err) if is_away(&err) && now() < until => sleep(Duration::from_millis(50)).await,
                begun => {
                    let tx = begun?;
                    if self.writer.backend() == DbBackend::Postgres {
                        let limit = LEISURE.as_millis();
                        let names = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"];
                        let set = names.map(|name| format!("SET LOCAL {name} = {limit};")).concat();
                        tx.execute_unprepared(&set).await?;
                    }
                    return Ok(tx);
                }
            }
        }
    }

    /// Closes every connection, after its present use, or after a second. Later queries fail.
    pub async fn close(&self) {
        let close = async {
            // The last to leave folds SQLite's write-ahead log into the file, and must be allowed to write.
            self.feed.pool.close().await;
            self.reader.pool.close().await;
            self.writer.close().await;
        };
        _ = timeout(CLOSE, close).await;
    }
}
