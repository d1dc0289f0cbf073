//! Reading and writing with deadlines: what `Database` hands out.

use std::{future::Future, time::Duration};

use sea_orm::{ConnectionTrait, DbBackend, DbErr, ExecResult, QueryResult, Statement, prelude::async_trait::async_trait};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout_at},
};

use super::{
    deadline, failure,
    lease::{Lease, Pool, now},
};
use crate::error::Error;

/// How long a COMMIT may take at least, however late it is sent: given up, its outcome is unknown.
const COMMIT: Duration = Duration::from_millis(200);

/// Gives `work` up when `until` has come, or when this request has waited for the database long enough.
pub(super) async fn by<T>(until: Instant, pool: &Pool, work: impl Future<Output = Result<T, DbErr>>) -> Result<T, DbErr> {
    let until = deadline::at_most(until);
    if until <= now() {
        return Err(failure::late());
    }
    answered(until, pool, work).await
}

/// Ends a transaction with `COMMIT` or `ROLLBACK`, which is worth waiting for a little longer.
async fn end(lease: &mut Lease, how: &str, until: Instant, pool: &Pool) -> Result<(), DbErr> {
    answered(deadline::at_most(until).max(now() + COMMIT), pool, lease.end(how)).await
}

async fn answered<T>(until: Instant, pool: &Pool, work: impl Future<Output = Result<T, DbErr>>) -> Result<T, DbErr> {
    deadline::count(timeout_at(until, work)).await.unwrap_or_else(|_| {
        pool.condition.suspect_all();
        Err(failure::late())
    })
}

/// For queries outside a transaction. Each must be answered within a limit.
#[derive(Clone, Debug)]
pub struct Reader {
    pub(super) pool: Pool,
    pub(super) limit: Duration,
}

/// Runs one statement on a connection borrowed for it.
macro_rules! read {
    ($reader:expr, $lease:ident => $work:expr) => {{
        let pool = &$reader.pool;
        by(now() + $reader.limit, pool, async {
            let mut $lease = pool.lease().await?;
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
        read!(self, lease => lease.execute(statement))
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        read!(self, lease => lease.execute_unprepared(sql))
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        read!(self, lease => lease.query_one(statement))
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        read!(self, lease => lease.query_all(statement))
    }
}

/// A transaction that will write. All of it must be done by a deadline. Dropped without [`Transaction::commit`], it is
/// rolled back.
#[derive(Debug)]
pub struct Transaction {
    inside: Mutex<Inside>,
    pool: Pool,
    until: Instant,
}

#[derive(Debug)]
struct Inside {
    lease: Lease,
    /// Whether a statement has failed: PostgreSQL answers COMMIT with success then, and rolls back.
    has_failed: bool,
}

/// Why a transaction was not committed.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// It has changed nothing.
    #[error(transparent)]
    Failed(DbErr),
    /// The answer is missing: it may be committed or not.
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
    pub(super) async fn begin(pool: &Pool, until: Instant) -> Result<Self, DbErr> {
        let lease = by(until, pool, async {
            let mut lease = pool.lease().await?;
            lease.begin().await?;
            Ok(lease)
        });
        let inside = Inside { lease: lease.await?, has_failed: false };
        Ok(Self { inside: Mutex::new(inside), pool: pool.clone(), until })
    }

    /// Makes all of it durable, or nothing.
    ///
    /// # Errors
    /// [`CommitError::Failed`] when nothing was changed, and [`CommitError::Unknown`] when that cannot be said.
    pub async fn commit(self) -> Result<(), CommitError> {
        let Inside { mut lease, has_failed } = self.inside.into_inner();
        if has_failed && self.pool.backend() == DbBackend::Postgres {
            return Err(CommitError::Failed(DbErr::Custom("a statement of the transaction failed".to_owned())));
        }
        if !lease.is_sound() {
            return Err(CommitError::Failed(failure::broken()));
        }
        end(&mut lease, "COMMIT", self.until, &self.pool)
            .await
            .map_err(|err| if failure::is_certain(&err) { CommitError::Failed(err) } else { CommitError::Unknown(err) })
    }

    /// Undoes all of it, and waits until that is done.
    ///
    /// # Errors
    /// When the database did not answer; it rolls back all the same.
    pub async fn rollback(self) -> Result<(), DbErr> {
        let mut inside = self.inside.into_inner();
        end(&mut inside.lease, "ROLLBACK", self.until, &self.pool).await
    }
}

/// Runs one statement of a transaction.
macro_rules! inside {
    ($transaction:expr, $lease:ident => $work:expr) => {{
        let Transaction { inside, pool, until } = $transaction;
        by(*until, pool, async {
            let mut inside = inside.lock().await;
            let $lease = &mut inside.lease;
            let result = $work.await;
            inside.has_failed |= result.is_err();
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
        inside!(self, lease => lease.execute(statement))
    }

    async fn execute_unprepared(&self, sql: &str) -> Result<ExecResult, DbErr> {
        inside!(self, lease => lease.execute_unprepared(sql))
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        inside!(self, lease => lease.query_one(statement))
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        inside!(self, lease => lease.query_all(statement))
    }
}
