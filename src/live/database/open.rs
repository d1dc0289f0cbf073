//! Opening: what a URL names, what a connection is told, and waiting for a database that is not there yet.

use std::{
    fs::{File, OpenOptions},
    io,
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
use tokio::time::{sleep, timeout};

use super::{
    Database, Error, FEED_LIMIT, LIMIT, Reader, failure,
    lease::{Condition, Pool, now},
};
use crate::{config::database_url, live::files};

/// How long one attempt to open a connection may take at the start.
const CONNECT: Duration = Duration::from_secs(5);
/// How long to wait before the next attempt.
const AGAIN: Duration = Duration::from_millis(500);
/// How long one statement may take that nobody waits for any more (PostgreSQL).
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one statement may wait for a lock (PostgreSQL).
const LOCK_TIMEOUT: Duration = Duration::from_millis(1_500);
/// A replica that freezes inside a transaction gives its locks back after this long (PostgreSQL).
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(3);
/// How long a writer waits for its turn in this process, and then for another process (SQLite): together less than `LIMIT`.
pub(super) const TURN_TIMEOUT: Duration = Duration::from_millis(850);
const POSTGRES_CONNECTIONS: u32 = 20;
pub(super) const SQLITE_READERS: u32 = 4;
/// Connections for the feed: the follower's, and one for a request that reads the role map or the key ring again.
const FEED_CONNECTIONS: u32 = 2;

/// How to reach a database.
#[derive(Clone, Debug)]
pub(super) enum DatabaseAddress {
    Sqlite(PathBuf, Box<SqliteConnectOptions>),
    Postgres(Box<PgConnectOptions>),
}

impl Database {
    /// Opens `sqlite://path` (the file is made, with mode 0600, if it is missing; its directory is not) or
    /// `postgres://user:password@host/name`. In a path, `%`, `?` and `#` are percent-encoded.
    ///
    /// # Errors
    /// [`Error::Url`], [`Error::File`], [`Error::Silent`], [`Error::Encoding`] or [`Error::Connect`].
    pub async fn connect(url: &SecretString) -> Result<Self, Error> {
        open(address(url)?).await.map(|(db, _)| db)
    }

    /// The file of a SQLite database.
    ///
    /// # Errors
    /// [`Error::Url`].
    pub fn file(url: &SecretString) -> Result<Option<PathBuf>, Error> {
        let url = url.expose_secret();
        url.starts_with("sqlite:").then(|| sqlite_path(url)).transpose()
    }

    /// As [`Self::connect`], for a process that will write. Waits for so long for a database that is not there yet or
    /// accepts no writes yet, and says so in the log. What time will not mend is reported at once.
    ///
    /// # Errors
    /// As [`Self::connect`], and [`Error::ReadOnly`].
    pub async fn connect_to_write(url: &SecretString, wait: Duration) -> Result<Self, Error> {
        let (address, until) = (address(url)?, now() + wait);
        let mut has_waited = false;
        loop {
            let err = match open(address.clone()).await {
                Ok((db, true)) => {
                    if has_waited {
                        tracing::info!("the database is there");
                    }
                    return Ok(db);
                }
                Ok((db, false)) => {
                    db.close().await;
                    Error::ReadOnly
                }
                Err(err) => err,
            };
            if now() >= until || !err.may_pass() {
                return Err(err);
            }
            if !has_waited {
                let cause = std::error::Error::source(&err).map(tracing::field::display);
                tracing::warn!(why = %err, cause, seconds = wait.as_secs(), "waiting for the database");
                has_waited = true;
            }
            sleep(AGAIN.min(until.saturating_duration_since(now()))).await;
        }
    }
}

impl Error {
    /// Whether the database may be there a little later.
    fn may_pass(&self) -> bool {
        match self {
            Self::Silent(_) | Self::ReadOnly => true,
            Self::Connect(DbErr::Conn(RuntimeErr::SqlxError(cause))) => failure::may_come(cause),
            _ => false,
        }
    }
}

fn address(url: &SecretString) -> Result<DatabaseAddress, Error> {
    let url = url.expose_secret();
    database_url::check(url).map_err(|sentence| Error::Url(sentence.into()))?;
    if url.starts_with("sqlite:") {
        let path = sqlite_path(url)?;
        let options = sqlite_options(&path);
        return Ok(DatabaseAddress::Sqlite(path, Box::new(options)));
    }
    let options: PgConnectOptions = url.parse().map_err(|_| Error::Url("is not a valid postgres:// URL".into()))?;
    let limits = [
        ("statement_timeout", STATEMENT_TIMEOUT.as_millis()),
        ("lock_timeout", LOCK_TIMEOUT.as_millis()),
        ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION.as_millis()),
    ];
    Ok(DatabaseAddress::Postgres(Box::new(options.application_name("vestibule").options(limits).disable_statement_logging())))
}

/// Opens the database, and says whether it accepts writes at present.
async fn open(address: DatabaseAddress) -> Result<(Database, bool), Error> {
    let condition = Arc::default();
    let (reader, writer, feed, writable) = match &address {
        DatabaseAddress::Sqlite(path, options) => {
            let (reader, writer, feed) = open_sqlite(path, options, &condition).await?;
            (reader, writer, feed, true)
        }
        DatabaseAddress::Postgres(options) => {
            let writable = try_postgres(options).await?;
            let pool = |connections| Pool::postgres((**options).clone(), connections, LIMIT, &condition);
            let both = pool(POSTGRES_CONNECTIONS);
            (both.clone(), both, pool(FEED_CONNECTIONS), writable)
        }
    };
    let db = Database {
        reader: Reader { pool: reader, limit: LIMIT },
        writer,
        feed: Reader { pool: feed, limit: FEED_LIMIT },
        group: Arc::default(),
        probe: Arc::default(),
        address: Arc::new(address),
    };
    Ok((db, writable))
}

/// The file that a `sqlite:` URL names.
pub(super) fn sqlite_path(url: &str) -> Result<PathBuf, Error> {
    let path = url.split_once('?').map_or(url, |(path, _)| path);
    let options: SqliteConnectOptions = path.parse().map_err(|_| Error::Url("is not a valid sqlite:// URL".into()))?;
    match options.get_filename() {
        path if path.as_os_str().is_empty() => Err(Error::Url("must name a file".into())),
        path => Ok(path.to_owned()),
    }
}

fn sqlite_options(path: &Path) -> SqliteConnectOptions {
    // `create_if_missing` stays off: when the file goes away under a running process, that is an error, not a fresh start.
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .foreign_keys(true)
        .busy_timeout(TURN_TIMEOUT)
        .disable_statement_logging()
}

async fn open_sqlite(
    path: &Path,
    options: &SqliteConnectOptions,
    condition: &Arc<Condition>,
) -> Result<(Pool, Pool, Pool), Error> {
    let failed = |source| Error::File { path: path.to_owned(), source };
    let turn = take_turn(path).await.map_err(failed)?;
    create(path).map_err(failed)?;
    let writer = Pool::sqlite(options.clone(), 1, TURN_TIMEOUT, condition);
    writer.lease().await.map_err(Error::Connect)?;
    drop(turn);
    let reads = options.clone().pragma("query_only", "ON");
    let readers = |connections| Pool::sqlite(reads.clone(), connections, LIMIT, condition);
    let (reader, feed) = (readers(SQLITE_READERS), readers(FEED_CONNECTIONS));
    reader.lease().await.map_err(Error::Connect)?;
    Ok((reader, writer, feed))
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
        result => files::give_to_directory_owner(&result?, path),
    }
}

/// Opens one connection, for its reason if it is refused: a pool would try again until its time is up and not say why.
/// Gives whether the database accepts writes.
async fn try_postgres(options: &PgConnectOptions) -> Result<bool, Error> {
    const STATE: &str = "SELECT current_setting('server_encoding'), current_setting('transaction_read_only') = 'off'";
    let attempt = async {
        let mut connection = options.connect().await?;
        let row = sqlx::query(STATE).fetch_one(&mut connection).await?;
        let state: (String, bool) = (row.try_get(0)?, row.try_get(1)?);
        connection.close().await?;
        Ok::<_, sqlx::Error>(state)
    };
    let (encoding, writable) = match timeout(CONNECT, attempt).await {
        Ok(Ok(state)) => state,
        Ok(Err(err @ sqlx::Error::Io(_))) => return Err(Error::Silent(Some(Arc::new(err)))),
        Ok(Err(err)) => return Err(Error::Connect(DbErr::Conn(RuntimeErr::SqlxError(Arc::new(err))))),
        Err(_) => return Err(Error::Silent(None)),
    };
    if encoding == "UTF8" { Ok(writable) } else { Err(Error::Encoding(encoding)) }
}
