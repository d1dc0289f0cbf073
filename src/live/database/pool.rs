//! Pools of connections to one database.

use std::{sync::Arc, time::Duration};

use sea_orm::{ConnAcquireErr, DbBackend, DbErr};
use sqlx::{PgPool, SqlitePool, pool::PoolOptions, postgres::PgConnectOptions, sqlite::SqliteConnectOptions};

use super::{
    connection::{Connection, Driver, runtime_error},
    pool_health::PoolHealth,
};

/// A pool. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    pub(super) kind: Kind,
    pub(super) health: Arc<PoolHealth>,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Pool {
    /// Makes a pool that opens its connections when they are needed. [`Self::acquire`] waits for `timeout` at most.
    pub(super) fn sqlite(options: SqliteConnectOptions, connections: u32, timeout: Duration, health: &Arc<PoolHealth>) -> Self {
        let pool = PoolOptions::new().max_connections(connections).acquire_timeout(timeout).test_before_acquire(false);
        Self { kind: Kind::Sqlite(pool.connect_lazy_with(options)), health: Arc::clone(health) }
    }

    /// As [`Self::sqlite`].
    pub(super) fn postgres(options: PgConnectOptions, connections: u32, timeout: Duration, health: &Arc<PoolHealth>) -> Self {
        let for_pool = Arc::clone(health);
        let pool =
            PoolOptions::new().max_connections(connections).acquire_timeout(timeout).test_before_acquire(false).before_acquire(
                move |connection, meta| {
                    let health = Arc::clone(&for_pool);
                    Box::pin(async move { health.allows(connection, meta).await })
                },
            );
        Self { kind: Kind::Postgres(pool.connect_lazy_with(options)), health: Arc::clone(health) }
    }

    pub(super) fn backend(&self) -> DbBackend {
        match self.kind {
            Kind::Sqlite(_) => DbBackend::Sqlite,
            Kind::Postgres(_) => DbBackend::Postgres,
        }
    }

    /// Returns the numbers of busy and idle connections.
    pub(super) fn count(&self) -> (usize, usize) {
        let (size, idle) = match &self.kind {
            Kind::Sqlite(pool) => (pool.size(), pool.num_idle()),
            Kind::Postgres(pool) => (pool.size(), pool.num_idle()),
        };
        ((size as usize).saturating_sub(idle), idle)
    }

    /// Borrows a connection.
    pub(super) async fn acquire(&self) -> Result<Connection, DbErr> {
        let acquired = match &self.kind {
            Kind::Sqlite(pool) => Box::pin(pool.acquire()).await.map(Driver::Sqlite),
            Kind::Postgres(pool) => Box::pin(pool.acquire()).await.map(Driver::Postgres),
        };
        let driver = acquired.map_err(|err| match err {
            sqlx::Error::PoolTimedOut => DbErr::ConnectionAcquire(ConnAcquireErr::Timeout),
            sqlx::Error::PoolClosed => DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed),
            err => DbErr::Conn(runtime_error(err)),
        })?;
        Ok(Connection::new(driver, Arc::clone(&self.health)))
    }

    /// Closes each connection when its current use ends.
    pub(super) async fn close(&self) {
        match &self.kind {
            Kind::Sqlite(pool) => pool.close().await,
            Kind::Postgres(pool) => pool.close().await,
        }
    }
}
