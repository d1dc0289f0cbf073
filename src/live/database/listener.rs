//! Notifications of PostgreSQL. A missed notification does no harm, because the follower of the feed polls too.

use std::{thread, time::Duration};

use sqlx::{
    pool::PoolOptions,
    postgres::{PgConnectOptions, PgListener},
};
use tokio::{runtime, sync::oneshot, time::timeout};

use super::{Database, open::DatabaseAddress};

/// After this time without a notification the connection is tested.
const TEST_AFTER: Duration = Duration::from_secs(5);
/// How long the test, and each step of opening the connection, may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

impl Database {
    /// Calls `on_notification` for each notification on `channel`, and once at the beginning. Returns when the connection
    /// fails or does not answer. On SQLite, returns at once.
    ///
    /// The connection has its own runtime, which ends with it: a [`PgListener`] that is dropped waits for an answer of its
    /// connection, for ever if the other end is frozen.
    pub async fn listen(&self, channel: &'static str, on_notification: impl Fn() + Send + 'static) {
        let DatabaseAddress::Postgres(options) = &*self.address else { return };
        let options = (**options).clone();
        // Dropping `_stop` ends the thread when the caller is dropped; `ended` completes when the thread ends.
        let ((_stop, stopped), (end, ended)) = (oneshot::channel::<()>(), oneshot::channel::<()>());
        let started = thread::Builder::new().name("listener".into()).spawn(move || {
            let _end = end;
            let Ok(runtime) = runtime::Builder::new_current_thread().enable_all().build() else { return };
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    _ = listen(options, channel, on_notification) => {}
                }
            });
            runtime.shutdown_background();
        });
        if started.is_ok() {
            _ = ended.await;
        }
    }
}

async fn listen(options: PgConnectOptions, channel: &str, on_notification: impl Fn()) -> Option<()> {
    let pool = PoolOptions::new().max_connections(1).acquire_timeout(ANSWER_TIMEOUT).connect_lazy_with(options);
    let mut listener = PgListener::connect_with(&pool).await.ok()?;
    timeout(ANSWER_TIMEOUT, listener.listen(channel)).await.ok()?.ok()?;
    on_notification();
    loop {
        match timeout(TEST_AFTER, listener.try_recv()).await {
            Ok(Ok(Some(_))) => on_notification(),
            Ok(_) => return None,
            Err(_) => _ = timeout(ANSWER_TIMEOUT, sqlx::query("SELECT 1").execute(&mut listener)).await.ok()?.ok()?,
        }
    }
}
