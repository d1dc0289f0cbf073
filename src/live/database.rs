//! The database: how it is opened, written to and migrated, alike for SQLite and PostgreSQL.

use sea_orm::sqlx::postgres::PgConnectOptions;
use sea_orm::sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sea_orm::sqlx::{ConnectOptions as _, Connection as _};
use sea_orm::{
    ConnectOptions, ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, RuntimeErr,
    SqliteTransactionMode, TransactionOptions, TransactionTrait,
};
use secrecy::{ExposeSecret, SecretString};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use vestibule_migration::{Migrator, MigratorTrait};

mod group;
#[cfg(test)]
mod tests;

use group::Group;
pub use group::Inside;

/// How long a request waits for a connection before it is told that the database is away.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection that rested longer is tried before it is used, so that a restarted server costs no failed request.
const PING_AFTER: Duration = Duration::from_secs(1);
/// How long one statement may take or wait for a lock (PostgreSQL).
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a writer waits for its turn in this process, and then for another process (SQLite): together 2 seconds.
const TURN_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a migration waits for another process's migration (SQLite), which is no fault.
const MIGRATION_TIMEOUT: Duration = Duration::from_secs(30);
/// A replica that freezes inside a transaction gives its locks back after this long (PostgreSQL).
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(10);
const POSTGRES_CONNECTIONS: u32 = 20;
const SQLITE_READERS: u32 = 4;
/// `vestibul` in ASCII: the advisory lock of whoever migrates (PostgreSQL).
const MIGRATION_LOCK: i64 = 0x7665_7374_6962_756C;

/// An open database. Cheap to clone: clones share their connections.
#[derive(Clone, Debug)]
pub struct Database {
    reader: DatabaseConnection,
    writer: DatabaseConnection,
    feed: DatabaseConnection,
    group: Arc<Group>,
}

/// What can go wrong with the database as a whole. No message repeats the URL: it may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The setting is unusable, whatever the database does.
    #[error("database.url {0}.")]
    Url(&'static str),
    /// The file of a SQLite database cannot be made or reached.
    #[error("The database file {} cannot be opened", path.display())]
    File {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No server answers in time.
    #[error("No database answers where database.url points to; is it running?")]
    Silent,
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

/// One change of the schema, and whether the database has had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its file's name, which begins with its date.
    pub name: String,
    /// Whether the database has had it.
    pub applied: bool,
}

impl Database {
    /// Opens `sqlite://path` (the file is made, with mode 0600, if it is missing; its directory is not) or
    /// `postgres://user:password@host/name`. In a path, `%`, `?` and `#` are percent-encoded. Waits about 2 seconds for a server.
    ///
    /// # Errors
    /// [`Error::Url`], [`Error::File`], [`Error::Silent`] or [`Error::Connect`].
    pub async fn connect(url: &SecretString) -> Result<Self, Error> {
        let url = url.expose_secret();
        match url.split_once(':').map(|(scheme, _)| scheme) {
            Some("sqlite") => open_sqlite(&sqlite_path(url)?).await,
            Some("postgres" | "postgresql") => open_postgres(postgres_options(url)?).await,
            _ => Err(Error::Url("must start with sqlite:// or postgres://")),
        }
    }

    /// For queries outside a transaction. On SQLite these connections refuse to write.
    #[must_use]
    pub fn read(&self) -> &DatabaseConnection {
        &self.reader
    }

    /// For following the feed of revocations: a connection of its own, so that no slow list keeps it waiting.
    #[must_use]
    pub fn feed(&self) -> &DatabaseConnection {
        &self.feed
    }

    /// Each pool's name, its connections in use, and those at rest. (PostgreSQL: one pool serves both.)
    #[must_use]
    pub fn pools(&self) -> Vec<(&'static str, usize, usize)> {
        let pools = [("reader", &self.reader), ("writer", &self.writer), ("feed", &self.feed)];
        let count = |(name, pool): (&'static str, &DatabaseConnection)| {
            let (size, idle) = if pool.get_database_backend() == DbBackend::Sqlite {
                let pool = pool.get_sqlite_connection_pool();
                (pool.size() as usize, pool.num_idle())
            } else {
                let pool = pool.get_postgres_connection_pool();
                (pool.size() as usize, pool.num_idle())
            };
            (name, size.saturating_sub(idle), idle)
        };
        pools.into_iter().map(count).collect()
    }

    /// Begins a transaction that will write. Dropped without `commit`, it is rolled back.
    /// On SQLite it waits here until it is the only one (a deferred one would fail later, and at once).
    ///
    /// # Errors
    /// Whatever the database says; `DbErr::ConnectionAcquire` when no connection came free in 2 seconds (SQLite: 1, and 1
    /// more for other processes).
    pub async fn write(&self) -> Result<DatabaseTransaction, DbErr> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        self.writer.begin_with_options(options).await
    }

    /// Brings the schema up to date, all changes or none, however many processes start at once and wherever one is killed.
    ///
    /// # Errors
    /// [`Error::Newer`] or [`Error::Migrate`].
    pub async fn migrate(&self) -> Result<(), Error> {
        self.wait_for_others(MIGRATION_TIMEOUT).await?;
        let migrated = self.migrate_in_turn().await;
        self.wait_for_others(TURN_TIMEOUT).await?;
        migrated
    }

    /// How long the next transaction waits for other processes (SQLite).
    async fn wait_for_others(&self, limit: Duration) -> Result<(), Error> {
        if self.writer.get_database_backend() == DbBackend::Sqlite {
            let pragma = format!("PRAGMA busy_timeout = {}", limit.as_millis());
            self.writer.execute_unprepared(&pragma).await.map_err(Error::Migrate)?;
        }
        Ok(())
    }

    async fn migrate_in_turn(&self) -> Result<(), Error> {
        let tx = self.write().await.map_err(Error::Migrate)?;
        if tx.get_database_backend() == DbBackend::Postgres {
            // Waiting for another replica's migration is no fault, so it has no end.
            let lock = format!("SET LOCAL statement_timeout = 0; SELECT pg_advisory_xact_lock({MIGRATION_LOCK})");
            tx.execute_unprepared(&lock).await.map_err(Error::Migrate)?;
        }
        let applied = vestibule_migration::applied(&tx).await.map_err(Error::Migrate)?;
        changes(&applied)?;
        Migrator::up(&tx, None).await.map_err(Error::Migrate)?;
        tx.commit().await.map_err(Error::Migrate)
    }

    /// The changes of the schema that this program knows, oldest first. Changes nothing.
    ///
    /// # Errors
    /// [`Error::Newer`] or [`Error::Migrate`].
    pub async fn migrations(&self) -> Result<Vec<Change>, Error> {
        changes(&vestibule_migration::applied(&self.reader).await.map_err(Error::Migrate)?)
    }

    /// As [`Self::migrations`], of a database that may not be there yet: it is not made.
    ///
    /// # Errors
    /// As [`Self::connect`] and [`Self::migrations`].
    pub async fn migrations_at(url: &SecretString) -> Result<Vec<Change>, Error> {
        if url.expose_secret().starts_with("sqlite:") {
            let path = sqlite_path(url.expose_secret())?;
            if !path.try_exists().map_err(|source| Error::File { path, source })? {
                return changes(&[]);
            }
        }
        let db = Self::connect(url).await?;
        let changes = db.migrations().await;
        db.close().await.map_err(Error::Connect)?;
        changes
    }

    /// Closes every connection, after what they do now. Later queries fail.
    ///
    /// # Errors
    /// Whatever the database says.
    pub async fn close(&self) -> Result<(), DbErr> {
        // The last to leave folds SQLite's write-ahead log into the file, and must be allowed to write.
        self.feed.close_by_ref().await?;
        self.reader.close_by_ref().await?;
        self.writer.close_by_ref().await
    }
}

fn changes(applied: &[String]) -> Result<Vec<Change>, Error> {
    let known = vestibule_migration::known();
    if let Some(stranger) = applied.iter().find(|name| !known.contains(name)) {
        return Err(Error::Newer(stranger.clone()));
    }
    let change = |name: String| Change { applied: applied.contains(&name), name };
    Ok(known.into_iter().map(change).collect())
}

fn sqlite_path(url: &str) -> Result<PathBuf, Error> {
    let (path, parameters) = url.split_once('?').unwrap_or((url, ""));
    if path.ends_with(":memory:") || parameters.contains("mode=memory") {
        return Err(Error::Url("must name a file: a database in memory would lose every account"));
    }
    if !["", "mode=rw", "mode=rwc"].contains(&parameters) {
        return Err(Error::Url("takes no parameters for SQLite; a ? in the path is written %3F"));
    }
    let options: SqliteConnectOptions = path.parse().map_err(|_| Error::Url("is not a valid sqlite:// URL"))?;
    match options.get_filename() {
        path if path.as_os_str().is_empty() => Err(Error::Url("must name a file")),
        path => Ok(path.to_owned()),
    }
}

async fn open_sqlite(path: &Path) -> Result<Database, Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let turn = take_turn(path).await.map_err(failed)?;
    create(path).map_err(failed)?;
    // `create_if_missing` stays off: when the file goes away under a running process, that is an error, not a fresh start.
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(TURN_TIMEOUT)
        .disable_statement_logging();
    let writer = open_pool("sqlite://", 1, {
        let options = options.clone();
        move |pool| {
            pool.acquire_timeout(TURN_TIMEOUT)
                .map_sqlx_sqlite_opts(move |_| options.clone())
                .map_sqlx_sqlite_pool_opts(|pool| pool.after_release(|connection, _| Box::pin(is_sound(connection))))
        }
    })
    .await?;
    drop(turn);
    let options = options.pragma("query_only", "ON");
    let readers = async |connections| {
        let options = options.clone();
        open_pool("sqlite://", connections, move |pool| pool.map_sqlx_sqlite_opts(move |_| options.clone())).await
    };
    let (reader, feed) = (readers(SQLITE_READERS).await?, readers(1).await?);
    Ok(Database { reader, writer, feed, group: Arc::default() })
}

/// Where SQLite has ended a transaction by itself (the disk is full), sqlx believes it goes on, and would begin the next
/// one inside of it: then whatever is committed afterwards is not. Such a connection is not used again.
async fn is_sound(connection: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    connection.ping().await?; // after whatever was begun
    Ok(!connection.is_in_transaction())
}

/// Turning the write-ahead log on needs a lock that SQLite does not wait for, so first starts take turns.
/// The lock is on the directory: closing a second handle of the file itself would drop SQLite's own locks.
async fn take_turn(path: &Path) -> io::Result<File> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let directory = File::open(directory)?;
    tokio::task::spawn_blocking(move || directory.lock().map(|()| directory)).await.map_err(io::Error::other)?
}

/// Makes the file before SQLite does, readable by its owner alone; SQLite gives its `-wal` and `-shm` the same mode.
fn create(path: &Path) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result.map(drop),
    }
}

fn postgres_options(url: &str) -> Result<PgConnectOptions, Error> {
    // A parser would take the rest of such a password for parameters, and log the ones it does not know.
    if url.split_once(['?', '#']).is_some_and(|(_, rest)| rest.contains('@')) {
        return Err(Error::Url("has a ? or # before its @: write them %3F and %23 in a password"));
    }
    let options: PgConnectOptions = url.parse().map_err(|_| Error::Url("is not a valid postgres:// URL"))?;
    Ok(options
        .application_name("vestibule")
        .options([
            ("statement_timeout", STATEMENT_TIMEOUT.as_millis()),
            ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION.as_millis()),
        ])
        .disable_statement_logging())
}

async fn open_postgres(options: PgConnectOptions) -> Result<Database, Error> {
    let pool = async |connections| {
        let options = options.clone();
        open_pool("postgres://", connections, move |pool| pool.map_sqlx_postgres_opts(move |_| options.clone())).await
    };
    let (both, feed) = (pool(POSTGRES_CONNECTIONS).await?, pool(1).await?);
    Ok(Database { reader: both.clone(), writer: both, feed, group: Arc::default() })
}

/// The true options come through `configure`, not through the URL: SeaORM puts the latter into errors and trace spans.
async fn open_pool(
    scheme: &str,
    connections: u32,
    configure: impl FnOnce(&mut ConnectOptions) -> &mut ConnectOptions,
) -> Result<DatabaseConnection, Error> {
    let mut pool = ConnectOptions::new(scheme);
    pool.max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire_if_idle_for(PING_AFTER)
        .record_stmt_in_spans(false);
    configure(&mut pool);
    sea_orm::Database::connect(pool).await.map_err(|err| match &err {
        // sqlx tries until its time is up, and then tells of the pool, not of the server that refused it.
        DbErr::Conn(RuntimeErr::SqlxError(cause)) if matches!(**cause, sqlx::Error::PoolTimedOut) => Error::Silent,
        _ => Error::Connect(err),
    })
}
