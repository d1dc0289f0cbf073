//! The connection of the database driver, for either database.

use std::sync::Arc;

use sea_orm::RuntimeErr;
use sqlx::{Connection as _, Executor, PgConnection, SqliteConnection};

/// The connection of the database driver. When dropped, it is closed without waiting for the other end.
#[derive(Debug)]
pub(super) enum Driver {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

impl Driver {
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
