//! Pools of connections, and connections borrowed from them. A connection whose use was broken off half-way is closed at
//! once and never used again: sqlx would wait for its answer, for ever if the other end is silent.

use std::{
    fmt, io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use sea_orm::{ConnAcquireErr, DbBackend, DbErr, ExecResult, QueryResult, RuntimeErr, Statement};
use sea_query_sqlx::SqlxValues;
use sqlx::{
    AssertSqlSafe, Connection as _, Executor, PgPool, Postgres, Sqlite, SqlitePool,
    pool::{PoolConnection, PoolConnectionMetadata, PoolOptions},
    postgres::{PgConnectOptions, PgConnection},
    sqlite::SqliteConnectOptions,
};
use tokio::{
    runtime::Handle,
    time::{Instant, timeout},
};

use super::failure;

/// A connection that rested for longer is tried before it is used, so that a restarted server costs no failed request.
const PING_AFTER: Duration = Duration::from_secs(1);
/// How long a connection at rest may take to show that it is alive.
const PING: Duration = Duration::from_millis(300);
/// How long a connection may take to roll back and to return to its pool.
const RETURN: Duration = Duration::from_secs(1);

/// The present moment, as the runtime's timers count it.
#[expect(clippy::disallowed_methods, reason = "time-outs follow this machine's monotonic clock, not the product's clock")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// What was learned about the connections of a database, shared by all its pools.
#[derive(Debug)]
pub(super) struct Condition {
    began: Instant,
    /// Connections opened before this moment are not used again.
    retired: AtomicU64,
    /// Connections that have rested since before this moment are tried before they are used.
    suspect: AtomicU64,
    /// Whether the database has refused a write and has not accepted one since, as far as is known.
    refuses_writes: AtomicBool,
}

impl Default for Condition {
    fn default() -> Self {
        let (retired, suspect, refuses_writes) = Default::default();
        Self { began: now(), retired, suspect, refuses_writes }
    }
}

impl Condition {
    fn millis(&self) -> u64 {
        u64::try_from(now().saturating_duration_since(self.began).as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether something that began so long ago began before `moment`.
    fn is_before(&self, age: Duration, moment: &AtomicU64) -> bool {
        let moment = moment.load(Ordering::SeqCst);
        moment > 0 && self.millis().saturating_sub(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)) <= moment
    }

    /// Has every connection closed that is open now, each when its present use ends.
    pub(super) fn retire_all(&self) {
        self.retired.store(self.millis().max(1), Ordering::SeqCst);
    }

    /// Has every connection tried before its next use: one of them did not answer.
    pub(super) fn suspect_all(&self) {
        self.suspect.store(self.millis().max(1), Ordering::SeqCst);
    }

    pub(super) fn refuses_writes(&self) -> bool {
        self.refuses_writes.load(Ordering::SeqCst)
    }

    pub(super) fn accepts_writes(&self) {
        self.refuses_writes.store(false, Ordering::SeqCst);
    }

    /// Takes note of what an error says about the other connections.
    fn learn(&self, err: &sqlx::Error) {
        if failure::is_read_only(err) {
            // PostgreSQL sets the mode when a connection is opened: one of these would go on refusing.
            self.retire_all();
        }
        if failure::refuses_writes(err) {
            self.refuses_writes.store(true, Ordering::SeqCst);
        }
    }

    /// Decides whether a connection of the pool is used again.
    async fn allows(&self, connection: &mut PgConnection, meta: PoolConnectionMetadata) -> Result<bool, sqlx::Error> {
        if self.is_before(meta.age, &self.retired) {
            return Ok(false);
        }
        if meta.idle_for >= PING_AFTER || self.is_before(meta.idle_for, &self.suspect) {
            let silent = |_| sqlx::Error::Io(io::ErrorKind::TimedOut.into());
            timeout(PING, connection.ping()).await.map_err(silent)??;
        }
        Ok(true)
    }
}

/// Connections to one database. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    pub(super) kind: Kind,
    pub(super) condition: Arc<Condition>,
}

#[derive(Clone, Debug)]
pub(super) enum Kind {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Pool {
    /// A pool that opens its connections when they are needed, each within `limit`.
    pub(super) fn sqlite(options: SqliteConnectOptions, connections: u32, limit: Duration, condition: &Arc<Condition>) -> Self {
        let pool = PoolOptions::new().max_connections(connections).acquire_timeout(limit).test_before_acquire(false);
        Self { kind: Kind::Sqlite(pool.connect_lazy_with(options)), condition: Arc::clone(condition) }
    }

    /// As [`Self::sqlite`].
    pub(super) fn postgres(options: PgConnectOptions, connections: u32, limit: Duration, condition: &Arc<Condition>) -> Self {
        let judge = Arc::clone(condition);
        let pool =
            PoolOptions::new().max_connections(connections).acquire_timeout(limit).test_before_acquire(false).before_acquire(
                move |connection, meta| {
                    let judge = Arc::clone(&judge);
                    Box::pin(async move { judge.allows(connection, meta).await })
                },
            );
        Self { kind: Kind::Postgres(pool.connect_lazy_with(options)), condition: Arc::clone(condition) }
    }

    pub(super) fn backend(&self) -> DbBackend {
        match self.kind {
            Kind::Sqlite(_) => DbBackend::Sqlite,
            Kind::Postgres(_) => DbBackend::Postgres,
        }
    }

    /// The numbers of connections in use and at rest.
    pub(super) fn count(&self) -> (usize, usize) {
        let (size, idle) = match &self.kind {
            Kind::Sqlite(pool) => (pool.size(), pool.num_idle()),
            Kind::Postgres(pool) => (pool.size(), pool.num_idle()),
        };
        ((size as usize).saturating_sub(idle), idle)
    }

    /// Borrows a connection.
    pub(super) async fn lease(&self) -> Result<Lease, DbErr> {
        let acquired = match &self.kind {
            Kind::Sqlite(pool) => Box::pin(pool.acquire()).await.map(Held::Sqlite),
            Kind::Postgres(pool) => Box::pin(pool.acquire()).await.map(Held::Postgres),
        };
        let held = acquired.map_err(|err| match err {
            sqlx::Error::PoolTimedOut => DbErr::ConnectionAcquire(ConnAcquireErr::Timeout),
            sqlx::Error::PoolClosed => DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed),
            err => DbErr::Conn(runtime(err)),
        })?;
        Ok(Lease { held: Owned(Some(held)), condition: Arc::clone(&self.condition), is_sound: true, is_in_transaction: false })
    }

    /// Closes every connection, after its present use.
    pub(super) async fn close(&self) {
        match &self.kind {
            Kind::Sqlite(pool) => pool.close().await,
            Kind::Postgres(pool) => pool.close().await,
        }
    }
}

enum Held {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

/// A connection that is closed, without a word to the other end, unless it is returned to its pool.
struct Owned(Option<Held>);

impl Drop for Owned {
    fn drop(&mut self) {
        match self.0.take() {
            Some(Held::Sqlite(connection)) => drop(connection.detach()),
            Some(Held::Postgres(connection)) => drop(connection.detach()),
            None => {}
        }
    }
}

/// A borrowed connection. Dropped, it returns to its pool if it is sound, and is closed if not.
pub(super) struct Lease {
    held: Owned,
    condition: Arc<Condition>,
    /// False while a statement is under way, and for ever if it was broken off or its failure makes the connection useless.
    is_sound: bool,
    is_in_transaction: bool,
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease").field("is_sound", &self.is_sound).finish_non_exhaustive()
    }
}

/// Runs `$body` with the connection as `$connection`, of whichever database it is, and notes how it went.
macro_rules! run {
    ($lease:expr, $error:path, $connection:ident => $body:expr) => {{
        let lease: &mut Lease = $lease;
        if !lease.is_sound {
            return Err(failure::broken());
        }
        lease.is_sound = false;
        let result = match &mut lease.held.0 {
            Some(Held::Sqlite($connection)) => $body,
            Some(Held::Postgres($connection)) => $body,
            None => return Err(failure::broken()),
        };
        lease.note(result.as_ref().err());
        result.map_err(|err| $error(runtime(err)))
    }};
}

impl Lease {
    /// Decides after a statement whether the connection may be used again.
    fn note(&mut self, err: Option<&sqlx::Error>) {
        if let Some(err) = err {
            self.condition.learn(err);
        }
        self.is_sound = err.is_none_or(|err| !failure::breaks(err, self.is_in_transaction));
    }

    /// Whether the connection can be used.
    pub(super) fn is_sound(&self) -> bool {
        self.is_sound
    }

    pub(super) async fn execute(&mut self, statement: Statement) -> Result<ExecResult, DbErr> {
        let (sql, values) = parts(statement);
        run!(self, DbErr::Exec, connection => sqlx::query_with(sql, values).execute(&mut **connection).await.map(ExecResult::from))
    }

    pub(super) async fn execute_unprepared(&mut self, sql: &str) -> Result<ExecResult, DbErr> {
        let sql = AssertSqlSafe(sql.to_owned());
        run!(self, DbErr::Exec, connection => (&mut **connection).execute(sql).await.map(ExecResult::from))
    }

    pub(super) async fn query_one(&mut self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        let (sql, values) = parts(statement);
        run!(self, DbErr::Query, connection => {
            sqlx::query_with(sql, values).fetch_optional(&mut **connection).await.map(|row| row.map(QueryResult::from))
        })
    }

    pub(super) async fn query_all(&mut self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        let (sql, values) = parts(statement);
        run!(self, DbErr::Query, connection => {
            let rows = sqlx::query_with(sql, values).fetch_all(&mut **connection).await;
            rows.map(|rows| rows.into_iter().map(QueryResult::from).collect())
        })
    }

    pub(super) async fn begin(&mut self) -> Result<(), DbErr> {
        // A deferred transaction of SQLite would fail later, and at once, where this one waits.
        let begin = if matches!(self.held.0, Some(Held::Sqlite(_))) { "BEGIN IMMEDIATE" } else { "BEGIN" };
        Box::pin(self.execute_unprepared(begin)).await?;
        self.is_in_transaction = true;
        Ok(())
    }

    /// Ends the transaction with `COMMIT` or `ROLLBACK`.
    pub(super) async fn end(&mut self, how: &str) -> Result<(), DbErr> {
        Box::pin(self.execute_unprepared(how)).await?;
        self.is_in_transaction = false;
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let (true, Ok(runtime)) = (self.is_sound, Handle::try_current()) {
            let held = Owned(self.held.0.take());
            runtime.spawn(give_back(held, self.is_in_transaction));
        }
    }
}

/// Returns a connection to its pool, or closes it where that takes too long.
async fn give_back(mut owned: Owned, roll_back: bool) {
    const ROLLBACK: &str = "ROLLBACK";
    if roll_back {
        let done = timeout(RETURN, async {
            match &mut owned.0 {
                Some(Held::Sqlite(connection)) => connection.execute(ROLLBACK).await.is_ok(),
                Some(Held::Postgres(connection)) => connection.execute(ROLLBACK).await.is_ok(),
                None => false,
            }
        });
        if done.await != Ok(true) {
            return;
        }
    }
    // sqlx tries the connection again here. Breaking that off closes it.
    match owned.0.take() {
        Some(Held::Sqlite(mut connection)) => _ = timeout(RETURN, connection.return_to_pool()).await,
        Some(Held::Postgres(mut connection)) => _ = timeout(RETURN, connection.return_to_pool()).await,
        None => {}
    }
}

fn parts(statement: Statement) -> (AssertSqlSafe<String>, SqlxValues) {
    let values = statement.values.unwrap_or_else(|| sea_orm::Values(Vec::new()));
    (AssertSqlSafe(statement.sql), SqlxValues(values))
}

fn runtime(err: sqlx::Error) -> RuntimeErr {
    RuntimeErr::SqlxError(Arc::new(err))
}
