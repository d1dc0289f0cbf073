//! The migrations of the schema: which of them the database has, and applying the rest, also when many processes start at
//! once.

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
use crate::{
    entity::{role_permission, user_word},
    live::clock::{Clock, SystemClock},
    values::permission::PermissionName,
};

/// How long each statement of a migration may take, except the changes themselves.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the changes may take. Large tables take long; the limit ends the wait for a dead connection.
const CHANGES_TIMEOUT: Duration = Duration::from_hours(1);
/// How long a migration waits for another process that writes (SQLite).
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
/// The pause before the next attempt while another replica is migrating (PostgreSQL).
const RETRY_AFTER: Duration = Duration::from_millis(250);
/// The key of the advisory lock of a migration (PostgreSQL): `vestibul` in ASCII.
const MIGRATION_LOCK: i64 = 0x7665_7374_6962_756C;

/// The permissions that are Vestibule's own since a migration.
const RECLAIMED: [(&str, &[&str]); 2] =
    [(vestibule_migration::MAIL, &["mails:read", "mails:write"]), (vestibule_migration::SECOND_FACTORS, &["users:recover"])];

/// A migration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Migration {
    /// The name of its file, which begins with its date.
    pub name: String,
    /// Whether the database has it.
    pub applied: bool,
}

impl Database {
    /// Applies every migration that the database does not have, in one transaction. Waits without limit while another replica
    /// is migrating; each statement has a deadline.
    pub async fn migrate(&self) -> Result<(), Error> {
        let connection = self.migration_connection();
        let mut has_waited = false;
        let tx = loop {
            if let Some(tx) = with_deadline(begin_migration(&connection)).await? {
                break tx;
            }
            if !has_waited {
                tracing::info!("waiting for another process that is migrating the database or copies into it");
                has_waited = true;
            }
            sleep(RETRY_AFTER).await;
        };
        let applied = with_deadline(vestibule_migration::applied(&tx)).await?;
        if migrations(&applied)?.iter().all(|migration| migration.applied) {
            with_deadline(tx.rollback()).await?;
            return with_deadline(connection.close()).await;
        }
        let lacks = |migration: &str| !applied.iter().any(|name| name == migration);
        let reclaimed = within(CHANGES_TIMEOUT, async {
            Migrator::up(&tx, None).await?;
            if lacks(vestibule_migration::SEARCH) {
                user_word::fill(&tx).await?;
            }
            let names: Vec<_> =
                RECLAIMED.iter().filter(|(migration, _)| lacks(migration)).flat_map(|(_, names)| *names).collect();
            let reclaimed = role_permission::reclaim(&tx, &names, SystemClock.now()).await?;
            tx.commit().await?;
            Ok(reclaimed)
        })
        .await?;
        for (role, permissions) in reclaimed {
            let permissions = permissions.iter().map(PermissionName::as_str).collect::<Vec<_>>().join(", ");
            tracing::warn!(%role, permissions, "a role no longer grants permissions whose names are Vestibule's own from now on");
        }
        // SQLite moves its log into the file only when the last connection closes.
        with_deadline(connection.close()).await
    }

    /// Returns the migrations that this program knows, oldest first.
    pub async fn migrations(&self) -> Result<Vec<Migration>, Error> {
        let connection = self.migration_connection();
        let applied = with_deadline(vestibule_migration::applied(&connection)).await?;
        with_deadline(connection.close()).await?;
        migrations(&applied)
    }

    /// Returns the name of the newest migration of this program.
    pub fn newest_migration() -> String {
        Migrator::migrations().last().map(|migration| migration.name().to_owned()).unwrap_or_default()
    }

    /// As [`Self::migrations`], for a database that may not exist yet. Does not create it.
    pub async fn migrations_at(url: &SecretString) -> Result<Vec<Migration>, Error> {
        if url.expose_secret().starts_with("sqlite:") {
            let path = sqlite_path(url.expose_secret())?;
            // Not opened if it is empty: SQLite would write to it.
            match fs::metadata(&path) {
                Ok(file) if file.len() > 0 => {}
                Err(source) if ![NotFound, NotADirectory].contains(&source.kind()) => {
                    return Err(Error::File { path, source });
                }
                _ => return migrations(&[]),
            }
        }
        let db = Self::connect(url).await?;
        let migrations = db.migrations().await;
        db.close().await;
        migrations
    }

    /// Returns a connection of the type that SeaORM's migrations need. It belongs to none of the pools that requests use.
    pub(super) fn migration_connection(&self) -> DatabaseConnection {
        match &*self.address {
            DatabaseAddress::Sqlite(_, options) => {
                let pool: SqlitePool =
                    PoolOptions::new().max_connections(1).connect_lazy_with(options.clone().busy_timeout(BUSY_TIMEOUT));
                pool.into()
            }
            DatabaseAddress::Postgres(options) => {
                let pool: PgPool = PoolOptions::new().max_connections(1).connect_lazy_with((**options).clone());
                pool.into()
            }
        }
    }
}

/// Begins the transaction of a migration. Returns `None` while another process is migrating.
async fn begin_migration(connection: &DatabaseConnection) -> Result<Option<DatabaseTransaction>, DbErr> {
    let options =
        TransactionOptions { sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate), ..TransactionOptions::default() };
    let tx = connection.begin_with_options(options).await?;
    if tx.get_database_backend() == DbBackend::Postgres && !lock_for_migration(&tx).await? {
        tx.rollback().await?;
        return Ok(None);
    }
    Ok(Some(tx))
}

/// Sets the limits of a long transaction, and takes the lock of migrations until it ends (PostgreSQL). Returns whether no other
/// process has it.
pub(super) async fn lock_for_migration(tx: &DatabaseTransaction) -> Result<bool, DbErr> {
    // The last of these releases the locks of a process that freezes or whose connection is lost.
    let timeouts =
        "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; SET LOCAL idle_in_transaction_session_timeout = '60s'";
    tx.execute_unprepared(timeouts).await?;
    let lock = format!("SELECT pg_try_advisory_xact_lock({MIGRATION_LOCK})");
    let row = tx.query_one_raw(Statement::from_string(DbBackend::Postgres, lock)).await?;
    Ok(row.is_some_and(|row| row.try_get_by_index(0).unwrap_or(false)))
}

async fn with_deadline<T>(work: impl Future<Output = Result<T, DbErr>>) -> Result<T, Error> {
    within(BUSY_TIMEOUT + STATEMENT_TIMEOUT, work).await
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, DbErr>>) -> Result<T, Error> {
    timeout(limit, work).await.unwrap_or_else(|_| Err(failure::timed_out())).map_err(Error::Migrate)
}

/// Returns the migrations that this program knows, oldest first. Fails if a newer program has applied another one.
pub(super) fn migrations(applied: &[String]) -> Result<Vec<Migration>, Error> {
    let known = vestibule_migration::known();
    if let Some(unknown) = applied.iter().find(|name| !known.contains(name)) {
        return Err(Error::NewerSchema(unknown.clone()));
    }
    let migration = |name: String| Migration { applied: applied.contains(&name), name };
    Ok(known.into_iter().map(migration).collect())
}
