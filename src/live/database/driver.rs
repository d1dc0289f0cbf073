//! The connection of the database driver, for either database.

use std::sync::Arc;

use sea_orm::RuntimeErr;
use sqlx::{ConnectOptions as _, Connection as _, Executor, PgConnection, SqliteConnection, postgres::PgConnectOptions};

/// The limits of PostgreSQL: for a statement whose client no longer waits, for the wait for a lock, and for the transaction of a
/// replica that has frozen, whose locks are then released. Set by a statement, because PgBouncer refuses them in the request for
/// a connection.
const LIMITS: &str = "SET statement_timeout = '5s'; SET lock_timeout = '1500ms'; SET idle_in_transaction_session_timeout = '3s'";

/// The connection of the database driver. When dropped, it is closed without waiting for the other end.
#[derive(Debug)]
pub(super) enum Driver {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Driver {
    /// Opens a connection to PostgreSQL, and sets the limits of its session.
    pub(super) async fn open_postgres(options: &PgConnectOptions) -> Result<Self, sqlx::Error> {
        let mut connection = options.connect().await?;
        connection.execute(LIMITS).await?;
        Ok(Self::Postgres(connection))
    }

    /// Closes the connection, and waits until it is closed.
    pub(super) async fn close(self) {
        // The connection is closed even if this fails.
        _ = match self {
            Self::Sqlite(connection) => connection.close().await,
            Self::Postgres(connection) => connection.close().await,
        };
    }

    /// Rolls the transaction back. Returns whether that succeeded.
    pub(super) async fn roll_back(&mut self) -> bool {
        const ROLLBACK: &str = "ROLLBACK";
        match self {
            Self::Sqlite(connection) => connection.execute(ROLLBACK).await.is_ok(),
            Self::Postgres(connection) => connection.execute(ROLLBACK).await.is_ok(),
        }
    }
}

pub(super) fn runtime_error(err: sqlx::Error) -> RuntimeErr {
    RuntimeErr::SqlxError(Arc::new(err))
}
