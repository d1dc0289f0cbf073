//! A connection borrowed from a pool. If its use is cancelled before an answer has arrived, it is closed at once and never used
//! again: sqlx would wait for that answer, for ever if the other end is silent.

use std::{fmt, sync::Arc, time::Duration};

use sea_orm::{DbErr, ExecResult, QueryResult, RuntimeErr, Statement, Values};
use sea_query_sqlx::SqlxValues;
use sqlx::{AssertSqlSafe, Executor, Postgres, Sqlite, pool::PoolConnection};
use tokio::{runtime::Handle, time::timeout};

use super::{failure, pool_health::PoolHealth};

/// How long a connection may take to roll back and to return to its pool.
const RETURN_TIMEOUT: Duration = Duration::from_secs(1);

/// The connection of the database driver.
pub(super) enum Driver {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

/// Closes the connection when dropped, without waiting for the other end, unless it was taken out before.
struct CloseOnDrop(Option<Driver>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        match self.0.take() {
            Some(Driver::Sqlite(connection)) => drop(connection.detach()),
            Some(Driver::Postgres(connection)) => drop(connection.detach()),
            None => {}
        }
    }
}

/// A borrowed connection. When dropped, it returns to its pool if it is usable, and is closed otherwise.
pub(super) struct Connection {
    driver: CloseOnDrop,
    health: Arc<PoolHealth>,
    /// False while a statement runs, and from then on if the statement was cancelled or its error makes the connection
    /// unusable.
    is_usable: bool,
    is_in_transaction: bool,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("is_usable", &self.is_usable).finish_non_exhaustive()
    }
}

/// Runs `$body` with the driver's connection as `$driver`, for either database, and records the outcome.
macro_rules! run {
    ($connection:expr, $error:path, $driver:ident => $body:expr) => {{
        let connection: &mut Connection = $connection;
        if !connection.is_usable {
            return Err(failure::unusable_connection());
        }
        connection.is_usable = false;
        let result = match &mut connection.driver.0 {
            Some(Driver::Sqlite($driver)) => $body,
            Some(Driver::Postgres($driver)) => $body,
            None => return Err(failure::unusable_connection()),
        };
        connection.record_outcome(result.as_ref().err());
        result.map_err(|err| $error(runtime_error(err)))
    }};
}

impl Connection {
    pub(super) fn new(driver: Driver, health: Arc<PoolHealth>) -> Self {
        Self { driver: CloseOnDrop(Some(driver)), health, is_usable: true, is_in_transaction: false }
    }

    /// Decides after a statement whether the connection remains usable.
    fn record_outcome(&mut self, err: Option<&sqlx::Error>) {
        if let Some(err) = err {
            self.health.record_error(err);
        }
        self.is_usable = err.is_none_or(|err| !failure::makes_unusable(err, self.is_in_transaction));
    }

    pub(super) fn is_usable(&self) -> bool {
        self.is_usable
    }

    pub(super) async fn execute(&mut self, statement: Statement) -> Result<ExecResult, DbErr> {
        let (sql, values) = parts(statement);
        run!(self, DbErr::Exec, driver => sqlx::query_with(sql, values).execute(&mut **driver).await.map(ExecResult::from))
    }

    pub(super) async fn execute_unprepared(&mut self, sql: &str) -> Result<ExecResult, DbErr> {
        let sql = AssertSqlSafe(sql.to_owned());
        run!(self, DbErr::Exec, driver => (&mut **driver).execute(sql).await.map(ExecResult::from))
    }

    pub(super) async fn query_one(&mut self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let (sql, values) = parts(statement);
        run!(self, DbErr::Query, driver => {
            sqlx::query_with(sql, values).fetch_optional(&mut **driver).await.map(|row| row.map(QueryResult::from))
        })
    }

    pub(super) async fn query_all(&mut self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let (sql, values) = parts(statement);
        run!(self, DbErr::Query, driver => {
            let rows = sqlx::query_with(sql, values).fetch_all(&mut **driver).await;
            rows.map(|rows| rows.into_iter().map(QueryResult::from).collect())
        })
    }

    pub(super) async fn begin(&mut self) -> Result<(), DbErr> {
        // SQLite: a deferred transaction would fail at its first write, and without waiting, where this one waits.
        let begin = if matches!(self.driver.0, Some(Driver::Sqlite(_))) { "BEGIN IMMEDIATE" } else { "BEGIN" };
        Box::pin(self.execute_unprepared(begin)).await?;
        self.is_in_transaction = true;
        Ok(())
    }

    /// Ends the transaction. `statement` is `COMMIT` or `ROLLBACK`.
    pub(super) async fn end(&mut self, statement: &str) -> Result<(), DbErr> {
        Box::pin(self.execute_unprepared(statement)).await?;
        self.is_in_transaction = false;
        Ok(())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let (true, Ok(runtime)) = (self.is_usable, Handle::try_current()) {
            let driver = CloseOnDrop(self.driver.0.take());
            runtime.spawn(return_to_pool(driver, self.is_in_transaction));
        }
    }
}

/// Returns a connection to its pool, or closes it if that takes too long.
async fn return_to_pool(mut driver: CloseOnDrop, roll_back: bool) {
    const ROLLBACK: &str = "ROLLBACK";
    if roll_back {
        let rolled_back = timeout(RETURN_TIMEOUT, async {
            match &mut driver.0 {
                Some(Driver::Sqlite(connection)) => connection.execute(ROLLBACK).await.is_ok(),
                Some(Driver::Postgres(connection)) => connection.execute(ROLLBACK).await.is_ok(),
                None => false,
            }
        });
        if rolled_back.await != Ok(true) {
            return;
        }
    }
    // sqlx tests the connection here. Cancelling the test closes the connection.
    match driver.0.take() {
        Some(Driver::Sqlite(mut connection)) => _ = timeout(RETURN_TIMEOUT, connection.return_to_pool()).await,
        Some(Driver::Postgres(mut connection)) => _ = timeout(RETURN_TIMEOUT, connection.return_to_pool()).await,
        None => {}
    }
}

fn parts(statement: Statement) -> (AssertSqlSafe<String>, SqlxValues) {
    let values = statement.values.unwrap_or_else(|| Values(Vec::new()));
    (AssertSqlSafe(statement.sql), SqlxValues(values))
}

pub(super) fn runtime_error(err: sqlx::Error) -> RuntimeErr {
    RuntimeErr::SqlxError(Arc::new(err))
}
