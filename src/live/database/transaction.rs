//! Statements with deadlines: a reader for statements outside a transaction, and a transaction that writes.

use std::{future::Future, time::Duration};

use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement, prelude::async_trait::async_trait};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout_at},
};

use super::{
    connection::Connection,
    deadline::{self, now},
    failure,
    pool::Pool,
};
use crate::error::Error;

/// The minimum time for a COMMIT, however late it is sent: when it is cancelled, its outcome is unknown.
const COMMIT_TIMEOUT: Duration = Duration::from_millis(200);

/// Cancels `work` at `deadline`, or when the current request has waited for the database long enough.
pub(super) async fn by<T>(deadline: Instant, pool: &Pool, work: impl Future<Output = Result<T, DbErr>>) -> Result<T, DbErr> {
    let deadline = deadline::at_most(deadline);
    if deadline <= now() {
        return Err(failure::timed_out());
    }
    run_until(deadline, pool, work).await
}

/// Ends a transaction with `COMMIT` or `ROLLBACK`, which may exceed the deadline a little.
async fn end(connection: &mut Connection, statement: &str, deadline: Instant, pool: &Pool) -> Result<(), DbErr> {
    run_until(deadline::at_most(deadline).max(now() + COMMIT_TIMEOUT), pool, connection.end(statement)).await
}

async fn run_until<T>(deadline: Instant, pool: &Pool, work: impl Future<Output = Result<T, DbErr>>) -> Result<T, DbErr> {
    pool.health().count_statement();
    deadline::count(timeout_at(deadline, work)).await.unwrap_or_else(|_| {
        pool.health().suspect_all();
        Err(failure::timed_out())
    })
}

/// Runs statements outside a transaction. Each must finish within the timeout.
#[derive(Clone, Debug)]
pub struct Reader {
    pub(super) pool: Pool,
    pub(super) timeout: Duration,
}

/// Runs one statement on a borrowed connection.
macro_rules! read {
    ($reader:expr, $connection:ident => $work:expr) => {{
        let pool = &$reader.pool;
        by(now() + $reader.timeout, pool, async {
            let mut $connection = Connection::of(pool).await?;
            $work.await
        })
        .await
    }};
}

#[async_trait]
impl ConnectionTrait for Reader {
    fn get_database_backend(&self) -> DbBackend {
        self.pool.backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        read!(self, connection => connection.execute(statement))
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        read!(self, connection => connection.execute_unprepared(sql))
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        read!(self, connection => connection.query_one(statement))
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        read!(self, connection => connection.query_all(statement))
    }
}

/// A transaction that will write, with one deadline for all its statements. It is rolled back when it is dropped without
/// [`Transaction::commit`].
#[derive(Debug)]
pub struct Transaction {
    state: Mutex<State>,
    pool: Pool,
    deadline: Instant,
}

#[derive(Debug)]
struct State {
    connection: Connection,
    /// Whether a statement has failed. PostgreSQL then rolls back at COMMIT, and reports success.
    has_failed: bool,
}

/// Why a transaction was not committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The transaction has changed nothing.
    #[error(transparent)]
    Failed(DbErr),
    /// No answer arrived, so it is unknown whether the transaction was committed.
    #[error("it is unknown whether the transaction was committed")]
    Unknown(#[source] DbErr),
}

impl From<CommitError> for DbErr {
    fn from(err: CommitError) -> Self {
        let (CommitError::Failed(cause) | CommitError::Unknown(cause)) = err;
        cause
    }
}

impl From<CommitError> for Error {
    fn from(err: CommitError) -> Self {
        match err {
            CommitError::Failed(cause) => cause.into(),
            CommitError::Unknown(cause) => Self::Unavailable(cause),
        }
    }
}

impl Transaction {
    pub(super) async fn begin(pool: &Pool, deadline: Instant) -> Result<Self, DbErr> {
        let connection = by(deadline, pool, async {
            let mut connection = Connection::of(pool).await?;
            connection.begin().await?;
            Ok(connection)
        });
        let state = State { connection: connection.await?, has_failed: false };
        Ok(Self { state: Mutex::new(state), pool: pool.clone(), deadline })
    }

    /// Commits the transaction. When this returns, the changes are durable.
    pub async fn commit(self) -> Result<(), CommitError> {
        let State { mut connection, has_failed } = self.state.into_inner();
        if has_failed && self.pool.backend() == DbBackend::Postgres {
            return Err(CommitError::Failed(DbErr::Custom("a statement of the transaction failed".to_owned())));
        }
        if !connection.is_usable() {
            return Err(CommitError::Failed(failure::unusable_connection()));
        }
        let committed = end(&mut connection, "COMMIT", self.deadline, &self.pool).await;
        committed.map_err(|err| if failure::is_rolled_back(&err) { CommitError::Failed(err) } else { CommitError::Unknown(err) })
    }

    /// Rolls the transaction back, and waits until that is done. If no answer arrives, the database rolls back all the same.
    pub async fn rollback(self) -> Result<(), DbErr> {
        let mut state = self.state.into_inner();
        end(&mut state.connection, "ROLLBACK", self.deadline, &self.pool).await
    }
}

/// Runs one statement of a transaction.
macro_rules! run_in {
    ($transaction:expr, $connection:ident => $work:expr) => {{
        let Transaction { state, pool, deadline } = $transaction;
        by(*deadline, pool, async {
            let mut state = state.lock().await;
            let $connection = &mut state.connection;
            let result = $work.await;
            state.has_failed |= result.is_err();
            result
        })
        .await
    }};
}

#[async_trait]
impl ConnectionTrait for Transaction {
    fn get_database_backend(&self) -> DbBackend {
        self.pool.backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        run_in!(self, connection => connection.execute(statement))
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        run_in!(self, connection => connection.execute_unprepared(sql))
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        run_in!(self, connection => connection.query_one(statement))
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        run_in!(self, connection => connection.query_all(statement))
    }
}
