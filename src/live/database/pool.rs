//! Pools of connections to one database. The pool of sqlx is not used: it sends a test through the database for each
//! connection that is returned, which takes as long as reading a row.

use std::{
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sea_orm::{ConnAcquireErr, DbBackend, DbErr};
use sqlx::{ConnectOptions as _, postgres::PgConnectOptions, sqlite::SqliteConnectOptions};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep, timeout},
};

use super::{
    deadline::now,
    driver::{Driver, runtime_error},
    failure,
    pool_health::PoolHealth,
};

/// When an open connection is replaced: a server's process for a connection grows, and the address of a database may come to
/// mean another server.
const MAX_AGE: Duration = Duration::from_mins(30);
/// When a connection that is not needed is closed.
const MAX_IDLE: Duration = Duration::from_mins(10);
/// The first pause before another attempt to open a connection. Each further pause is twice as long.
const RETRY_AFTER: Duration = Duration::from_millis(10);

/// A pool. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Pool(Arc<State>);

#[derive(Debug)]
struct State {
    options: Options,
    size: u32,
    /// How long [`Pool::acquire`] waits.
    timeout: Duration,
    /// One for each connection that may be open. They are granted in the order in which they are requested.
    permits: Arc<Semaphore>,
    /// The connections that nobody uses. The last one was used last, and is used next: so a database sees as few connections
    /// as the load needs.
    idle: Mutex<Vec<OpenConnection>>,
    is_closed: AtomicBool,
    health: Arc<PoolHealth>,
}

#[derive(Debug)]
enum Options {
    Sqlite(Box<SqliteConnectOptions>),
    Postgres(Box<PgConnectOptions>),
}

/// An open connection of a pool.
#[derive(Debug)]
struct OpenConnection {
    driver: Driver,
    opened_at: Instant,
    /// When its last use ended.
    used_at: Instant,
}

impl OpenConnection {
    fn new(driver: Driver) -> Self {
        let opened_at = now();
        Self { driver, opened_at, used_at: opened_at }
    }
}

/// A connection that is in use. When dropped, it is closed: only [`Pool::give_back`] returns it.
pub(super) struct Borrowed {
    open: OpenConnection,
    permit: OwnedSemaphorePermit,
}

impl Borrowed {
    pub(super) fn driver(&mut self) -> &mut Driver {
        &mut self.open.driver
    }
}

impl Pool {
    /// Makes a pool that opens its connections when they are needed. [`Self::acquire`] waits for `timeout` at most.
    pub(super) fn sqlite(options: SqliteConnectOptions, size: u32, timeout: Duration, health: &Arc<PoolHealth>) -> Self {
        Self::new(Options::Sqlite(Box::new(options)), size, timeout, health)
    }

    /// As [`Self::sqlite`].
    pub(super) fn postgres(options: PgConnectOptions, size: u32, timeout: Duration, health: &Arc<PoolHealth>) -> Self {
        Self::new(Options::Postgres(Box::new(options)), size, timeout, health)
    }

    fn new(options: Options, size: u32, timeout: Duration, health: &Arc<PoolHealth>) -> Self {
        Self(Arc::new(State {
            options,
            size,
            timeout,
            permits: Arc::new(Semaphore::new(size as usize)),
            idle: Mutex::default(),
            is_closed: AtomicBool::new(false),
            health: Arc::clone(health),
        }))
    }

    pub(super) fn backend(&self) -> DbBackend {
        match self.0.options {
            Options::Sqlite(_) => DbBackend::Sqlite,
            Options::Postgres(_) => DbBackend::Postgres,
        }
    }

    pub(super) fn health(&self) -> &Arc<PoolHealth> {
        &self.0.health
    }

    /// Returns the numbers of busy and idle connections.
    pub(super) fn count(&self) -> (usize, usize) {
        let busy = (self.0.size as usize).saturating_sub(self.0.permits.available_permits());
        (busy, self.idle().len())
    }

    /// Borrows a connection.
    pub(super) async fn acquire(&self) -> Result<Borrowed, DbErr> {
        let permit = Arc::clone(&self.0.permits).acquire_owned();
        let acquired = timeout(self.0.timeout, async {
            let permit = permit.await.ok().filter(|_| !self.is_closed());
            let permit = permit.ok_or(DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed))?;
            let open = match self.take_idle().await {
                Some(open) => open,
                None => {
                    OpenConnection::new(Box::pin(self.0.options.open()).await.map_err(|err| DbErr::Conn(runtime_error(err)))?)
                }
            };
            Ok(Borrowed { open, permit })
        });
        acquired.await.unwrap_or(Err(DbErr::ConnectionAcquire(ConnAcquireErr::Timeout)))
    }

    /// Takes an idle connection that can be used, and closes those that cannot.
    async fn take_idle(&self) -> Option<OpenConnection> {
        loop {
            let mut open = self.idle().pop()?;
            let (age, idle_for) = (open.opened_at.elapsed(), open.used_at.elapsed());
            if age < MAX_AGE && self.0.health.allows(&mut open.driver, age, idle_for).await {
                return Some(open);
            }
        }
    }

    /// Takes a connection back whose use has ended. The caller that has waited longest gets it.
    pub(super) fn give_back(&self, Borrowed { mut open, permit }: Borrowed) {
        open.used_at = now();
        let mut idle = self.idle();
        // The first one has been idle for longest.
        let unneeded = idle.first().is_some_and(|first| first.used_at + MAX_IDLE < open.used_at).then(|| idle.remove(0));
        idle.push(open);
        drop(idle);
        drop((unneeded, permit));
    }

    fn is_closed(&self) -> bool {
        self.0.is_closed.load(Ordering::SeqCst)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<OpenConnection>> {
        self.0.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the idle connections older, as if this time had passed.
    #[cfg(test)]
    pub(super) fn age(&self, by: Duration) {
        for open in &mut *self.idle() {
            open.opened_at -= by;
            open.used_at -= by;
        }
    }

    /// Closes each connection when its current use ends, and waits until all are closed.
    pub(super) async fn close(&self) {
        self.0.is_closed.store(true, Ordering::SeqCst);
        let _permits = self.0.permits.acquire_many(self.0.size).await;
        let idle = mem::take(&mut *self.idle());
        for open in idle {
            open.driver.close().await;
        }
    }
}

impl Options {
    /// Opens a connection. Waits while the server refuses connections, because it may be starting.
    async fn open(&self) -> Result<Driver, sqlx::Error> {
        let mut pause = RETRY_AFTER;
        loop {
            let opened = match self {
                Self::Sqlite(options) => options.connect().await.map(Driver::Sqlite),
                Self::Postgres(options) => Driver::open_postgres(options).await,
            };
            match opened {
                Err(err) if failure::is_starting(&err) => sleep(pause).await,
                opened => return opened,
            }
            pause *= 2;
        }
    }
}
