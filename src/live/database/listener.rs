//! Listening for notifications (PostgreSQL). A notification that is missed is no loss: the follower of the feed polls too.

use std::{thread, time::Duration};

use sqlx::{
    pool::PoolOptions,
    postgres::{PgConnectOptions, PgListener},
};
use tokio::{runtime, sync::oneshot, time::timeout};

use super::{Database, open::DatabaseAddress};

/// How long a listener hears nothing before it asks whether its connection is alive.
const SILENCE: Duration = Duration::from_secs(5);
/// How long the answer, and each step of opening the connection, may take.
const ANSWER: Duration = Duration::from_secs(2);

impl Database {
    /// Calls `heard` for each notification on `channel`, and once as soon as it listens, until the connection fails or is
    /// silent. Returns at once on SQLite.
    ///
    /// The connection lives on a runtime of its own, which ends with it: a [`PgListener`] that is dropped would wait for an
    /// answer of its connection, for ever if the other end is frozen.
    pub async fn listen(&self, channel: &'static str, heard: impl Fn() + Send + 'static) {
        let DatabaseAddress::Postgres(options) = &*self.address else { return };
        let options = (**options).clone();
        // Dropping `_stop` ends the thread when the caller is dropped; `ended` is ready when the thread ends.
        let ((_stop, stopped), (end, ended)) = (oneshot::channel::<()>(), oneshot::channel::<()>());
        let started = thread::Builder::new().name("listener".into()).spawn(move || {
            let _end = end;
            let Ok(runtime) = runtime::Builder::new_current_thread().enable_all().build() else { return };
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    _ = listen(options, channel, heard) => {}
                }
            });
            runtime.shutdown_background();
        });
        if started.is_ok() {
            _ = ended.await;
        }
    }
}

async fn listen(options: PgConnectOptions, channel: &str, heard: impl Fn()) -> Option<()> {
    let pool = PoolOptions::new().max_connections(1).acquire_timeout(ANSWER).connect_lazy_with(options);
    let mut listener = PgListener::connect_with(&pool).await.ok()?;
    timeout(ANSWER, listener.listen(channel)).await.ok()?.ok()?;
    heard();
    loop {
        match timeout(SILENCE, listener.try_recv()).await {
            Ok(Ok(Some(_))) => heard(),
            Ok(_) => return None,
            Err(_) => _ = timeout(ANSWER, sqlx::query("SELECT 1").execute(&mut listener)).await.ok()?.ok()?,
        }
    }
}
