//! Opening a database: its URL, the options of its connections, and the wait for a database that is not available yet.

use std::{
    error,
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use sea_orm::{DbErr, RuntimeErr};
use secrecy::{ExposeSecret, SecretString};
use sqlx::{
    ConnectOptions as _, Connection as _, Row as _,
    postgres::PgConnectOptions,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use tokio::{
    task::spawn_blocking,
    time::{sleep, timeout},
};
use tracing::field;

use super::{
    Database, Error, FEED_TIMEOUT, Reader, TIMEOUT, connection::Connection, deadline::now, failure, lock, pool::Pool,
    pool_health::PoolHealth, session,
};
use crate::{config::database_url, live::files};

/// How long an attempt to open the first connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The pause before the next attempt.
const RETRY_AFTER: Duration = Duration::from_millis(500);
/// How long a writer waits for other writers of this process, and again for those of other processes (SQLite). Twice this is
/// less than [`TIMEOUT`].
const WRITE_LOCK_TIMEOUT: Duration = Duration::from_millis(850);
const POSTGRES_CONNECTIONS: u32 = 20;
pub(super) const SQLITE_READERS: u32 = 4;
/// The connections for the feed: one for its follower, and one for a request that reloads the role map or the key ring.
const FEED_CONNECTIONS: u32 = 2;

/// Where a database is, and how to connect to it.
#[derive(Clone, Debug)]
pub(super) enum DatabaseAddress {
    Sqlite(PathBuf, Box<SqliteConnectOptions>),
    Postgres(Box<PgConnectOptions>),
}

impl Database {
    /// Opens `sqlite://path` or `postgres://user:password@host/name`. In a path, `%`, `?` and `#` are percent-encoded. Creates
    /// the file of a SQLite database with mode 0600 if it does not exist, but not its directory.
    pub async fn connect(url: &SecretString) -> Result<Self, Error> {
        open(parse_address(url)?).await.map(|(db, _)| db)
    }

    /// Returns the path of a SQLite database, and `None` for PostgreSQL.
    pub fn file(url: &SecretString) -> Result<Option<PathBuf>, Error> {
        let url = url.expose_secret();
        url.starts_with("sqlite:").then(|| sqlite_path(url)).transpose()
    }

    /// As [`Self::connect`], for a process that will write. While the database is unavailable or accepts no writes, waits for
    /// `wait` at most, and logs that it waits. Fails at once with an error that waiting cannot resolve.
    pub async fn connect_to_write(url: &SecretString, wait: Duration) -> Result<Self, Error> {
        let (address, deadline) = (parse_address(url)?, now() + wait);
        let mut has_waited = false;
        loop {
            let err = match open(address.clone()).await {
                Ok((db, true)) => {
                    if has_waited {
                        tracing::info!("the database is available");
                    }
                    return Ok(db);
                }
                Ok((db, false)) => {
                    db.close().await;
                    Error::ReadOnly
                }
                Err(err) => err,
            };
            if now() >= deadline || !err.is_transient() {
                return Err(err);
            }
            if !has_waited {
                let cause = error::Error::source(&err).map(field::display);
                tracing::warn!(why = %err, cause, seconds = wait.as_secs(), "waiting for the database");
                has_waited = true;
            }
            sleep(RETRY_AFTER.min(deadline.saturating_duration_since(now()))).await;
        }
    }
}

impl Error {
    /// Returns whether the database may be available a little later.
    fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable(_) | Self::ReadOnly | Self::HeldAlone { .. } => true,
            Self::Connect(DbErr::Conn(RuntimeErr::SqlxError(cause))) => failure::may_become_available(cause),
            _ => false,
        }
    }
}

fn parse_address(url: &SecretString) -> Result<DatabaseAddress, Error> {
    let url = url.expose_secret();
    database_url::check(url).map_err(|sentence| Error::Url(sentence.into()))?;
    if url.starts_with("sqlite:") {
        let path = sqlite_path(url)?;
        let options = sqlite_options(&path);
        return Ok(DatabaseAddress::Sqlite(path, Box::new(options)));
    }
    let options: PgConnectOptions = url.parse().map_err(|_| Error::Url("is not a valid postgres:// URL".into()))?;
    // PgBouncer refuses `extra_float_digits`, which PostgreSQL needs no more to return numbers whole.
    let options = options.application_name("vestibule").extra_float_digits(None).disable_statement_logging();
    Ok(DatabaseAddress::Postgres(Box::new(options)))
}

/// Opens the database, and returns it with whether it accepts writes.
async fn open(address: DatabaseAddress) -> Result<(Database, bool), Error> {
    match &address {
        DatabaseAddress::Sqlite(path, options) => {
            let lock = lock::share(path)?;
            Ok((sqlite(path, options, Some(lock)).await?, true))
        }
        DatabaseAddress::Postgres(options) => {
            let health = Arc::default();
            let writable = try_postgres(options).await?;
            let pool = |connections| Pool::postgres((**options).clone(), connections, TIMEOUT, &health);
            let (both, feed) = (pool(POSTGRES_CONNECTIONS), pool(FEED_CONNECTIONS));
            Ok((database(both.clone(), both, feed, address, None), writable))
        }
    }
}

/// Opens a SQLite database whose lock this process holds alone.
pub(super) async fn open_unlocked(path: &Path) -> Result<Database, Error> {
    sqlite(path, &sqlite_options(path), None).await
}

async fn sqlite(path: &Path, options: &SqliteConnectOptions, lock: Option<File>) -> Result<Database, Error> {
    let (reader, writer, feed) = open_sqlite(path, options, &Arc::default()).await?;
    let address = DatabaseAddress::Sqlite(path.to_owned(), Box::new(options.clone()));
    Ok(database(reader, writer, feed, address, lock))
}

fn database(reader: Pool, writer: Pool, feed: Pool, address: DatabaseAddress, lock: Option<File>) -> Database {
    Database {
        reader: Reader { pool: reader, timeout: TIMEOUT },
        writer,
        feed: Reader { pool: feed, timeout: FEED_TIMEOUT },
        group_commit: Arc::default(),
        last_probe: Arc::default(),
        address: Arc::new(address),
        _lock: lock.map(Arc::new),
    }
}

/// Returns the path in a `sqlite:` URL.
pub(super) fn sqlite_path(url: &str) -> Result<PathBuf, Error> {
    let path = url.split_once('?').map_or(url, |(path, _)| path);
    let options: SqliteConnectOptions = path.parse().map_err(|_| Error::Url("is not a valid sqlite:// URL".into()))?;
    match options.get_filename() {
        path if path.as_os_str().is_empty() => Err(Error::Url("must name a file".into())),
        path => Ok(path.to_owned()),
    }
}

fn sqlite_options(path: &Path) -> SqliteConnectOptions {
    // Without `create_if_missing`: if the file disappears while the process runs, that is an error and not a new database.
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        // Deleted rows are overwritten with zeros, so that an erased person is not left in the free space of the file.
        .pragma("secure_delete", "ON")
        .busy_timeout(WRITE_LOCK_TIMEOUT)
        .disable_statement_logging()
}

async fn open_sqlite(path: &Path, options: &SqliteConnectOptions, health: &Arc<PoolHealth>) -> Result<(Pool, Pool, Pool), Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let lock = lock_directory(path).await.map_err(failed)?;
    create(path).map_err(failed)?;
    let writer = Pool::sqlite(options.clone(), 1, WRITE_LOCK_TIMEOUT, health);
    Connection::of(&writer).await.map_err(Error::Connect)?;
    drop(lock);
    let reads = options.clone().pragma("query_only", "ON");
    let readers = |connections| Pool::sqlite(reads.clone(), connections, TIMEOUT, health);
    let (reader, feed) = (readers(SQLITE_READERS), readers(FEED_CONNECTIONS));
    Connection::of(&reader).await.map_err(Error::Connect)?;
    Ok((reader, writer, feed))
}

/// Locks the directory while the database is opened for the first time: to enable the write-ahead log, SQLite needs a lock for
/// which it does not wait. The lock is not on the file, because closing a second handle of it would drop SQLite's own locks.
async fn lock_directory(path: &Path) -> io::Result<File> {
    let directory = File::open(files::directory_of(path))?;
    spawn_blocking(move || directory.lock().map(|()| directory)).await.map_err(io::Error::other)?
}

/// Creates the file before SQLite does, so that only its owner can read it. SQLite gives `-wal` and `-shm` the same mode.
fn create(path: &Path) -> io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(err) if err.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => files::give_to_directory_owner(&result?, path),
    }
}

/// Opens a connection without a pool, which would retry until its timeout and hide the cause. Returns whether the database
/// accepts writes.
async fn try_postgres(options: &PgConnectOptions) -> Result<bool, Error> {
    const STATE: &str = "SELECT current_setting('server_encoding'), current_setting('transaction_read_only') = 'off'";
    let attempt = async {
        let mut connection = options.connect().await?;
        if session::is_shared(&mut connection, options).await? {
            return Ok(None);
        }
        let row = sqlx::query(STATE).fetch_one(&mut connection).await?;
        let state: (String, bool) = (row.try_get(0)?, row.try_get(1)?);
        connection.close().await?;
        Ok::<_, sqlx::Error>(Some(state))
    };
    let (encoding, writable) = match timeout(CONNECT_TIMEOUT, attempt).await {
        Ok(Ok(Some(state))) => state,
        Ok(Ok(None)) => return Err(Error::SharedSessions),
        Ok(Err(err @ sqlx::Error::Io(_))) => return Err(Error::Unreachable(Some(Arc::new(err)))),
        Ok(Err(err)) => return Err(Error::Connect(DbErr::Conn(RuntimeErr::SqlxError(Arc::new(err))))),
        Err(_) => return Err(Error::Unreachable(None)),
    };
    if encoding == "UTF8" { Ok(writable) } else { Err(Error::Encoding(encoding)) }
}
