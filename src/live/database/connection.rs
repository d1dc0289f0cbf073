//! A connection borrowed from a pool. If its use is cancelled before an answer has arrived, it is closed at once and never used
//! again: sqlx would wait for that answer, for ever if the other end is silent.

use std::{fmt, time::Duration};

use sea_orm::{DbBackend, DbErr, ExecResult, QueryResult, Statement, Value, Values};
use sea_query_sqlx::SqlxValues;
use sqlx::{AssertSqlSafe, Executor};
use tokio::{runtime::Handle, time::timeout};

use super::{
    driver::{Driver, runtime_error},
    failure,
    pool::{Borrowed, Pool},
};

/// How long a connection may take to roll back.
const ROLLBACK_TIMEOUT: Duration = Duration::from_secs(1);

/// A borrowed connection. When dropped, it returns to its pool if it is usable, and is closed otherwise.
pub(super) struct Connection {
    /// Absent once the connection has returned.
    borrowed: Option<Borrowed>,
    pool: Pool,
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
        let result = match connection.driver() {
            Some(Driver::Sqlite($driver)) => $body,
            Some(Driver::Postgres($driver)) => $body,
            None => return Err(failure::unusable_connection()),
        };
        connection.record_outcome(result.as_ref().err());
        result.map_err(|err| $error(runtime_error(err)))
    }};
}

impl Connection {
    /// Borrows a connection from this pool.
    pub(super) async fn of(pool: &Pool) -> Result<Self, DbErr> {
        let borrowed = Some(pool.acquire().await?);
        Ok(Self { borrowed, pool: pool.clone(), is_usable: true, is_in_transaction: false })
    }

    fn driver(&mut self) -> Option<&mut Driver> {
        self.borrowed.as_mut().map(Borrowed::driver)
    }

    /// Decides after a statement whether the connection remains usable.
    fn record_outcome(&mut self, err: Option<&sqlx::Error>) {
        if let Some(err) = err {
            self.pool.health().record_error(err);
        }
        self.is_usable = err.is_none_or(|err| !failure::makes_unusable(err, self.is_in_transaction));
    }

    pub(super) fn is_usable(&self) -> bool {
        self.is_usable
    }

    pub(super) async fn execute(&mut self, statement: Statement) -> Result<ExecResult, DbErr> {
        let (sql, values) = parts(&self.pool, statement);
        run!(self, DbErr::Exec, driver => sqlx::query_with(sql, values).execute(&mut *driver).await.map(ExecResult::from))
    }

    pub(super) async fn execute_unprepared(&mut self, sql: &str) -> Result<ExecResult, DbErr> {
        let sql = AssertSqlSafe(sql.to_owned());
        run!(self, DbErr::Exec, driver => (&mut *driver).execute(sql).await.map(ExecResult::from))
    }

    pub(super) async fn query_one(&mut self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let (sql, values) = parts(&self.pool, statement);
        run!(self, DbErr::Query, driver => {
            sqlx::query_with(sql, values).fetch_optional(&mut *driver).await.map(|row| row.map(QueryResult::from))
        })
    }

    pub(super) async fn query_all(&mut self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let (sql, values) = parts(&self.pool, statement);
        run!(self, DbErr::Query, driver => {
            let rows = sqlx::query_with(sql, values).fetch_all(&mut *driver).await;
            rows.map(|rows| rows.into_iter().map(QueryResult::from).collect())
        })
    }

    pub(super) async fn begin(&mut self) -> Result<(), DbErr> {
        // SQLite: a deferred transaction would fail at its first write, and without waiting, where this one waits.
        let begin = if self.pool.backend() == DbBackend::Sqlite { "BEGIN IMMEDIATE" } else { "BEGIN" };
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
        let Some(mut borrowed) = self.borrowed.take().filter(|_| self.is_usable) else { return };
        let pool = self.pool.clone();
        if !self.is_in_transaction {
            return pool.give_back(borrowed);
        }
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                if timeout(ROLLBACK_TIMEOUT, borrowed.driver().roll_back()).await == Ok(true) {
                    pool.give_back(borrowed);
                }
            });
        }
    }
}

/// Returns the text and the values of a statement that is about to be sent.
#[cfg_attr(not(test), expect(unused_variables, reason = "only tests record what is sent"))]
fn parts(pool: &Pool, statement: Statement) -> (AssertSqlSafe<String>, SqlxValues) {
    let statement = with_literal_limit(statement);
    #[cfg(test)]
    pool.health().sent.lock().unwrap().push(statement.clone());
    (AssertSqlSafe(statement.sql), SqlxValues(statement.values.unwrap_or_else(|| Values(Vec::new()))))
}

/// Writes the LIMIT at the end of a statement of SQLite into its text. SQLite would plan a statement with a bound LIMIT anew
/// at each execution.
fn with_literal_limit(mut statement: Statement) -> Statement {
    if statement.db_backend == DbBackend::Sqlite
        && let Some(before) = statement.sql.strip_suffix("LIMIT ?").map(str::len)
        && let Some(Values(values)) = &mut statement.values
        && let Some(Value::BigUnsigned(Some(limit))) = values.pop_if(|last| matches!(last, Value::BigUnsigned(Some(_))))
    {
        statement.sql.replace_range(before.., &format!("LIMIT {limit}"));
    }
    statement
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_statement_of_sqlite_contains_its_limit() {
        let statement = |sql: &str, values: &[u64]| {
            let values = values.iter().map(|value| Value::from(*value));
            Statement::from_sql_and_values(DbBackend::Sqlite, sql, values)
        };
        let literal = |sql, values| with_literal_limit(statement(sql, values));
        assert_eq!(literal("SELECT ? LIMIT ?", &[3, 7]), statement("SELECT ? LIMIT 7", &[3]));
        for unchanged in ["SELECT ?", "SELECT ? LIMIT 7", "SELECT ? FROM (SELECT 1 LIMIT ?)"] {
            assert_eq!(literal(unchanged, &[3, 7]), statement(unchanged, &[3, 7]));
        }
    }
}
