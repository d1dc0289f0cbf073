//! The schema: which changes the database has had, and making the rest, however many processes start at once.

use std::{
    fs,
    io::ErrorKind::{NotADirectory, NotFound},
    time::Duration,
};

use sea_orm::{
    ConnectionTrait as _, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, SqliteTransactionMode, Statement,
    TransactionOptions, TransactionTrait as _,
};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{PgPool, SqlitePool, pool::PoolOptions};
use tokio::time::{sleep, timeout};
use vestibule_migration::{Migrator, MigratorTrait as _};

use super::{
    Database, Error, failure,
    open::{DatabaseAddress, sqlite_path},
};
use crate::entity::user_word;

/// How long each answer may take while it is this process's turn, but for the changes themselves.
const ANSWER: Duration = Duration::from_secs(10);
/// How long the changes may take. It is there for a connection that has died; a large table takes its time.
const CHANGES: Duration = Duration::from_hours(1);
/// How long a migration waits for another process that writes (SQLite), which is no fault.
const BUSY: Duration = Duration::from_secs(30);
/// How often it is asked whether another replica's migration is over (PostgreSQL).
const AGAIN: Duration = Duration::from_millis(250);
/// `vestibul` in ASCII: the advisory lock of whoever migrates (PostgreSQL).
const MIGRATION_LOCK: i64 = 0x7665_7374_6962_756C;

/// One change of the schema, and whether the database has had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its file's name, which begins with its date.
    pub name: String,
    /// Whether the database has had it.
    pub applied: bool,
}

impl Database {
    /// Brings the schema up to date, all changes or none, however many processes start at once and wherever one is killed.
    /// Waiting for another replica's migration is no fault, so it has no end; each answer of the database has a deadline.
    ///
    /// # Errors
    /// [`Error::Newer`] or [`Error::Migrate`].
    pub async fn migrate(&self) -> Result<(), Error> {
        let connection = self.connection();
        let tx = loop {
            if let Some(tx) = answer(take_turn(&connection)).await? {
                break tx;
            }
            tracing::info!("another process is migrating the database: waiting for it");
            sleep(AGAIN).await;
        };
        let applied = answer(vestibule_migration::applied(&tx)).await?;
        changes(&applied)?;
        within(CHANGES, async {
            Migrator::up(&tx, None).await?;
            if !applied.iter().any(|name| name == vestibule_migration::SEARCH) {
                user_word::fill(&tx).await?;
            }
            tx.commit().await
        })
        .await?;
        // SQLite folds its log into the file only when the last connection closes.
        answer(connection.close()).await
    }

    /// The changes of the schema that this program knows, oldest first. Changes nothing.
    ///
    /// # Errors
    /// [`Error::Newer`] or [`Error::Migrate`].
    pub async fn migrations(&self) -> Result<Vec<Change>, Error> {
        let connection = self.connection();
        let applied = answer(vestibule_migration::applied(&connection)).await?;
        answer(connection.close()).await?;
        changes(&applied)
    }

    /// As [`Self::migrations`], of a database that may not be there yet: it is not made.
    ///
    /// # Errors
    /// As [`Self::connect`] and [`Self::migrations`].
    pub async fn migrations_at(url: &SecretString) -> Result<Vec<Change>, Error> {
        if url.expose_secret().starts_with("sqlite:") {
            let path = sqlite_path(url.expose_secret())?;
            // SQLite would write to an empty file.
            match fs::metadata(&path) {
                Ok(file) if file.len() > 0 => {}
                Err(source) if ![NotFound, NotADirectory].contains(&source.kind()) => {
                    return Err(Error::File { path, source });
                }
                _ => return changes(&[]),
            }
        }
        let db = Self::connect(url).await?;
        let changes = db.migrations().await;
        db.close().await;
        changes
    }

    /// A connection for SeaORM's migrations, which take none but its own. It is of no pool that requests use.
    pub(super) fn connection(&self) -> DatabaseConnection {
        match &*self.address {
            DatabaseAddress::Sqlite(_, options) => {
                let pool: SqlitePool =
                    PoolOptions::new().max_connections(1).connect_lazy_with(options.clone().busy_timeout(BUSY));
                pool.into()
            }
            DatabaseAddress::Postgres(options) => {
                let pool: PgPool = PoolOptions::new().max_connections(1).connect_lazy_with((**options).clone());
                pool.into()
            }
        }
    }
}

/// Begins the transaction of a migration; `None` while another process is migrating.
async fn take_turn(connection: &DatabaseConnection) -> Result<Option<DatabaseTransaction>, DbErr> {
    let options =
        TransactionOptions { sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate), ..TransactionOptions::default() };
    let tx = connection.begin_with_options(options).await?;
    if tx.get_database_backend() == DbBackend::Postgres {
        // The last of these gives the locks of a replica back that freezes half-way.
        let limits =
            "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = '60s'";
        tx.execute_unprepared(limits).await?;
        let lock = format!("SELECT pg_try_advisory_xact_lock({MIGRATION_LOCK})");
        let row = tx.query_one_raw(Statement::from_string(DbBackend::Postgres, lock)).await?;
        if !row.is_some_and(|row| row.try_get_by_index(0).unwrap_or(false)) {
            tx.rollback().await?;
            return Ok(None);
        }
    }
    Ok(Some(tx))
}

async fn answer<T>(work: impl Future<Output = Result<T, DbErr>>) -> Result<T, Error> {
    within(BUSY + ANSWER, work).await
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, DbErr>>) -> Result<T, Error> {
    timeout(limit, work).await.unwrap_or_else(|_| Err(failure::late())).map_err(Error::Migrate)
}

fn changes(applied: &[String]) -> Result<Vec<Change>, Error> {
    let known = vestibule_migration::known();
    if let Some(stranger) = applied.iter().find(|name| !known.contains(name)) {
        return Err(Error::Newer(stranger.clone()));
    }
    let change = |name: String| Change { applied: applied.contains(&name), name };
    Ok(known.into_iter().map(change).collect())
}
