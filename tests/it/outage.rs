//! PostgreSQL falls silent, locks rows, refuses to write or is not available yet (H10, D04): the responses, and the recovery of
//! the service. The trials of `faults` do the same under load.

use std::{sync::Arc, time::Duration};

use sea_orm::ConnectionTrait;
use serde_json::json;
use tokio::{task::spawn_blocking, time::timeout};
use vestibule::live::database::{CommitError, Database, Error};

use crate::{
    assert_problem,
    faults::{
        cluster::{self, Cluster, DATABASE},
        proxy::{Flow, Proxy},
    },
    support::TestApp,
};

/// Longer than any operation with a deadline takes, even on a busy machine. An operation without one would never end.
const PATIENCE: Duration = Duration::from_secs(20);

/// An app whose database is behind a proxy.
struct Site {
    cluster: Arc<Cluster>,
    proxy: Proxy,
    app: TestApp,
}

async fn start_cluster() -> Option<(Arc<Cluster>, Proxy)> {
    spawn_blocking(|| {
        let cluster = Cluster::start()?;
        let proxy = Proxy::start(cluster.socket());
        Some((Arc::new(cluster), proxy))
    })
    .await
    .unwrap()
}

impl Site {
    /// Returns `None` if PostgreSQL is not installed.
    async fn start() -> Option<Self> {
        let (cluster, proxy) = start_cluster().await?;
        let port = proxy.port;
        let app = TestApp::start_with(|settings| {
            settings.database.url = Some(cluster::url(port).into());
            settings.master_key = Some("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".into());
        });
        let app = app.await;
        Some(Self { cluster, proxy, app })
    }

    async fn sql(&self, statement: String) {
        let cluster = Arc::clone(&self.cluster);
        spawn_blocking(move || cluster.sql("postgres", &statement)).await.unwrap();
    }

    /// Drops the site on a blocking thread, because the proxy's runtime cannot be dropped by a task.
    async fn end(self) {
        let Self { cluster, proxy, app } = self;
        drop(app);
        spawn_blocking(move || drop((proxy, cluster))).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h10_a_silent_connection_is_abandoned_in_time_and_replaced() {
    let Some(site) = Site::start().await else { return };
    let ada = site.app.user("ada").await;
    for flow in [Flow::Nothing, Flow::ToServer, Flow::ToClient] {
        site.proxy.set_existing(flow, "");
        let read = timeout(PATIENCE, ada.get("/v1/me")).await.expect("an answer");
        assert!([200, 503].contains(&read.status), "{:?}", read.problem());
        site.proxy.set_existing(flow, "");
        let write = timeout(PATIENCE, ada.patch("/v1/me", json!({ "name": "Ada" }))).await.expect("a response");
        assert!([200, 503].contains(&write.status), "{:?}", write.problem());
        ada.get("/v1/token").await.expect(200);
        // New connections work, so no other request fails, although the old connections are still silent.
        ada.get("/v1/me").await.expect(200);
        ada.patch("/v1/me", json!({ "name": "Ada Lovelace" })).await.expect(200);
        site.app.anonymous().get("/readyz").await.expect(200);
    }
    site.proxy.set(Flow::Nothing);
    for answer in
        [ada.get("/v1/me").await, ada.patch("/v1/me", json!({ "name": "Ada" })).await, site.app.anonymous().get("/readyz").await]
    {
        assert_eq!(assert_problem!(answer, 503, "unavailable").header("retry-after"), "1");
    }
    ada.get("/v1/token").await.expect(200);
    timeout(PATIENCE, site.app.app.db.close()).await.expect("the end of the connections");
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d04_a_commit_without_an_answer_has_an_unknown_outcome_and_makes_nothing_stale() {
    let Some(site) = Site::start().await else { return };
    let ada = site.app.user("ada").await;
    let tx = site.app.app.db.write().await.unwrap();
    tx.execute_unprepared("UPDATE users SET name = 'Ada'").await.unwrap();
    site.proxy.set_existing(Flow::ToServer, "");
    let err = timeout(PATIENCE, tx.commit()).await.expect("an end").unwrap_err();
    assert!(matches!(err, CommitError::Unknown(_)), "{err:?}");
    ada.get("/v1/token").await.expect(200);
    assert_eq!(ada.get("/v1/me").await.expect(200)["name"], "Ada");
    // After a failed statement PostgreSQL rolls back at COMMIT, and reports success.
    let tx = site.app.app.db.write().await.unwrap();
    tx.execute_unprepared("UPDATE users SET nonsense = 1").await.unwrap_err();
    assert!(matches!(tx.commit().await.unwrap_err(), CommitError::Failed(_)));
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h10_a_change_of_a_locked_row_is_refused_in_time() {
    let Some(site) = Site::start().await else { return };
    let ada = site.app.user("ada").await;
    let cluster = Arc::clone(&site.cluster);
    let lock = spawn_blocking(move || cluster.hold("BEGIN; SELECT id FROM users FOR UPDATE")).await.unwrap();
    let refused = timeout(PATIENCE, ada.patch("/v1/me", json!({ "name": "Ada" }))).await.expect("a response");
    assert_problem!(refused, 503, "unavailable");
    ada.get("/v1/me").await.expect(200);
    spawn_blocking(move || drop(lock)).await.unwrap();
    while ada.patch("/v1/me", json!({ "name": "Ada" })).await.status != 200 {} // until the server has recovered
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn h10_a_read_only_database_is_not_ready_and_its_connections_are_replaced() {
    let Some(site) = Site::start().await else { return };
    let ada = site.app.user("ada").await;
    site.sql(format!("ALTER DATABASE {DATABASE} SET default_transaction_read_only = on")).await;
    // The setting applies to connections that are opened from now on. One that is open gets it here, and keeps it.
    let tx = site.app.app.db.write().await.unwrap();
    tx.execute_unprepared("SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY").await.unwrap();
    tx.commit().await.unwrap();
    while ada.patch("/v1/me", json!({ "name": "Ada" })).await.status == 200 {} // until a request uses that connection
    assert_problem!(ada.patch("/v1/me", json!({ "name": "Ada" })).await, 503, "unavailable");
    ada.get("/v1/me").await.expect(200);
    let answer = assert_problem!(site.app.anonymous().get("/readyz").await, 503, "unavailable");
    assert!(answer.body["detail"].as_str().unwrap().contains("the database does not accept writes"), "{:#}", answer.body);

    site.sql(format!("ALTER DATABASE {DATABASE} RESET default_transaction_read_only")).await;
    while site.app.anonymous().get("/readyz").await.status != 200 {}
    ada.patch("/v1/me", json!({ "name": "Ada" })).await.expect(200);
    site.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_waits_for_an_unreachable_database_and_fails_at_once_on_other_errors() {
    let Some((cluster, proxy)) = start_cluster().await else { return };
    let url = cluster::url(proxy.port);
    let connect = |url: String, wait: Duration| async move { Database::connect_to_write(&url.into(), wait).await.map(drop) };
    proxy.set(Flow::Cut);
    assert!(matches!(connect(url.clone(), Duration::ZERO).await, Err(Error::Unreachable(_))));
    let waits = tokio::spawn(connect(url.clone(), PATIENCE * 100));
    tokio::task::yield_now().await;
    proxy.set(Flow::Both);
    timeout(PATIENCE, waits).await.expect("the database").unwrap().unwrap();

    let unknown = url.replace(DATABASE, "nowhere");
    let refused = timeout(PATIENCE, connect(unknown, PATIENCE * 100)).await.expect("a refusal at once");
    assert!(matches!(refused, Err(Error::Connect(_))), "{refused:?}");

    let cluster = spawn_blocking(move || {
        cluster.sql("postgres", "CREATE DATABASE ascii ENCODING 'SQL_ASCII' LOCALE 'C' LOCALE_PROVIDER libc TEMPLATE template0");
        cluster.sql("postgres", "GRANT ALL ON DATABASE ascii TO PUBLIC");
        cluster
    });
    let cluster = cluster.await.unwrap();
    let refused = connect(url.replace(DATABASE, "ascii"), PATIENCE * 100).await;
    assert!(matches!(&refused, Err(Error::Encoding(name)) if name == "SQL_ASCII"), "{refused:?}");
    spawn_blocking(move || drop((proxy, cluster))).await.unwrap();
}
