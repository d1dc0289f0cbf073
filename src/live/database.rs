//! The database: opening, reading and writing, with the same interface for SQLite and PostgreSQL. Every wait for the database
//! has a deadline.

mod availability;
mod connection;
pub mod copy;
pub mod deadline;
mod driver;
mod failure;
mod group_commit;
mod listener;
mod lock;
mod open;
mod pool;
mod pool_health;
mod replacement;
mod schema;
mod session;
mod shared_read;
mod snapshot;
#[cfg(test)]
pub(crate) mod tests;
mod transaction;

use std::{borrow::Cow, fs::File, io, path::PathBuf, sync::Arc, time::Duration};

use sea_orm::{ConnectionTrait as _, DbBackend, DbErr};
use tokio::time::{sleep, timeout};

pub use self::{
    availability::Availability,
    failure::is_unavailable,
    group_commit::TransactionFuture,
    replacement::Replacement,
    schema::Migration,
    shared_read::{ReadById, SharedRead},
    transaction::{CommitError, Reader, Transaction},
};
use self::{availability::LastProbe, deadline::now, group_commit::GroupCommit, pool::Pool};

/// How long to wait for one statement outside a transaction, for a whole transaction, and for all statements of one request
/// (see [`deadline`]). A client learns within 2 seconds that the database is unavailable.
const TIMEOUT: Duration = Duration::from_millis(1_750);
/// How long the follower of the revocation feed and the readiness check wait for one statement.
const FEED_TIMEOUT: Duration = Duration::from_secs(1);
/// How long work in the background may take.
const BACKGROUND_TIMEOUT: Duration = Duration::from_secs(30);
/// How long connections may take to close when the process ends.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// An open database. Cheap to clone: clones share their connections.
#[derive(Clone, Debug)]
pub struct Database {
    reader: Reader,
    writer: Pool,
    feed: Reader,
    group_commit: Arc<GroupCommit>,
    last_probe: Arc<LastProbe>,
    address: Arc<open::DatabaseAddress>,
    /// Held while the database is open, so that no restore replaces its file and no copy misses a change (SQLite).
    _lock: Option<Arc<File>>,
}

/// Why a database cannot be opened or migrated. No message contains the URL, because it may contain a password.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The setting is not valid.
    #[error("database.url {0}.")]
    Url(Cow<'static, str>),
    /// The file of a SQLite database cannot be created or opened.
    #[error("The database file {} cannot be opened", path.display())]
    File {
        /// The path of the file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A restore replaces the file of a SQLite database, or a copy reads it.
    #[error("The database {} is being restored or copied: wait until that is done", path.display())]
    HeldAlone {
        /// The path of the file.
        path: PathBuf,
    },
    /// A restore or a copy cannot have a SQLite database for itself.
    #[error("A server or another command uses the database {}: stop it first", path.display())]
    InUse {
        /// The path of the file.
        path: PathBuf,
    },
    /// No server answers in time.
    #[error("No database answers where database.url points to")]
    Unreachable(#[source] Option<Arc<sqlx::Error>>),
    /// The server is a standby, or its database is set to be read only.
    #[error("The database accepts no writes at present: it is a standby, or set to be read only")]
    ReadOnly,
    /// The database does not store text as UTF-8.
    #[error(
        "The database is encoded in {0}, and Vestibule needs UTF8: make one with CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
    )]
    Encoding(String),
    /// A pooler gives each transaction or statement another session.
    #[error(
        "The pooler that database.url names gives each transaction another session (pool_mode = transaction or statement). Vestibule needs a session for each connection, for LISTEN, prepared statements and its limits: set pool_mode = session for this database, or let database.url name PostgreSQL itself."
    )]
    SharedSessions,
    /// The database refuses the connection, or the file is not a database.
    #[error("The database cannot be opened")]
    Connect(#[source] DbErr),
    /// The database was migrated by a newer version of this program.
    #[error(
        "The database was migrated by a newer version of Vestibule, which added {0}. Start that version, or restore a backup made before it."
    )]
    NewerSchema(String),
    /// The schema cannot be read or changed. Nothing was changed.
    #[error("The database cannot be migrated")]
    Migrate(#[source] DbErr),
}

impl Database {
    /// Returns the reader for statements outside a transaction. On SQLite, its connections cannot write.
    pub fn read(&self) -> &Reader {
        &self.reader
    }

    /// As [`Self::read`], for work that no client waits for.
    pub fn read_in_background(&self) -> Reader {
        Reader { timeout: BACKGROUND_TIMEOUT, ..self.reader.clone() }
    }

    /// Returns the reader of the revocation feed. It has its own connections, so that slow requests do not delay it.
    pub fn read_feed(&self) -> &Reader {
        &self.feed
    }

    /// Returns whether several servers can share this database, as they can on PostgreSQL.
    pub fn is_shared(&self) -> bool {
        self.writer.backend() == DbBackend::Postgres
    }

    /// Returns the number of statements, begun transactions and commits of this process so far.
    pub fn statements(&self) -> u64 {
        self.writer.health().statements()
    }

    /// Returns the name of each pool, and its numbers of busy and idle connections. On PostgreSQL, the reader and the writer
    /// are one pool.
    pub fn pools(&self) -> Vec<(&'static str, usize, usize)> {
        let pools = [("reader", &self.reader.pool), ("writer", &self.writer), ("feed", &self.feed.pool)];
        let count = |(name, pool): (&'static str, &Pool)| {
            let (busy, idle) = pool.count();
            (name, busy, idle)
        };
        pools.into_iter().map(count).collect()
    }

    /// Begins a transaction that will write. It must be committed within 1.75 seconds. On SQLite, waits until no other
    /// transaction writes.
    pub async fn write(&self) -> Result<Transaction, DbErr> {
        Transaction::begin(&self.writer, now() + TIMEOUT).await
    }

    /// As [`Self::write`], for work that no client waits for. The transaction may wait and run for 30 seconds.
    pub async fn write_in_background(&self) -> Result<Transaction, DbErr> {
        let deadline = now() + BACKGROUND_TIMEOUT;
        loop {
            match Transaction::begin(&self.writer, deadline).await {
                Err(err) if is_unavailable(&err) && now() < deadline => sleep(Duration::from_millis(50)).await,
                begun => {
                    let tx = begun?;
                    if self.writer.backend() == DbBackend::Postgres {
                        let millis = BACKGROUND_TIMEOUT.as_millis();
                        let names = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"];
                        let set = names.map(|name| format!("SET LOCAL {name} = {millis};")).concat();
                        tx.execute_unprepared(&set).await?;
                    }
                    return Ok(tx);
                }
            }
        }
    }

    /// Closes each connection when its current use ends, after a second at the latest. Later statements fail.
    pub async fn close(&self) {
        let close = async {
            // The connection that closes last moves SQLite's write-ahead log into the file, so it must be able to write.
            self.feed.pool.close().await;
            self.reader.pool.close().await;
            self.writer.close().await;
        };
        _ = timeout(CLOSE_TIMEOUT, close).await;
    }
}
