//! The common parts of the tests: an app with its own database and clock, and callers whose responses are checked against the contract.

pub mod authenticator;
pub mod binary;
pub mod caller;
pub mod checked;
pub mod client;
pub mod clock;
pub mod daemon;
#[path = "../../../src/live/database/tests/directory.rs"]
pub mod directory;
pub mod inside;
pub mod mail_server;
pub mod mail_text;
pub mod observed;
pub mod outbox;
pub mod passkey_device;
pub mod pgbouncer;
#[path = "../../../src/live/database/tests/postgres.rs"]
pub mod postgres;
pub mod small_disk;
pub mod wire;

use std::sync::{
    Arc, Mutex, PoisonError, Weak,
    atomic::{AtomicU32, Ordering},
};

use poem::{Endpoint, EndpointExt, Request, Response, endpoint::BoxEndpoint};
use sea_orm::{ConnectionTrait, EntityTrait};
use serde_json::json;
use tempfile::TempDir;
use vestibule::{
    app::App,
    config::Settings,
    domain::{clocks, setup, signing_keys},
    entity::user,
    live::{clock::Clock, clock_trust::TrustedReading},
    server,
    values::ids::UserId,
};

use self::{caller::Caller, clock::TestClock, postgres::TemporaryPostgres};

/// The password of every user that a test registers.
pub const PASSWORD: &str = "correct horse battery staple";

/// A running service with its own directory, database and clock.
pub struct TestApp {
    pub app: App,
    pub clock: Arc<TestClock>,
    pub directory: Arc<TempDir>,
    endpoint: Arc<BoxEndpoint<'static, Response>>,
    admin_password: String,
    /// Runs for as long as an app uses its database.
    postgres: Option<Arc<TemporaryPostgres>>,
}

impl TestApp {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts with changed settings. bcrypt has its lowest cost, 4; a configured service allows 10 or more.
    pub async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        let directory = directory::temporary();
        let mut settings = Settings { data_dir: directory.path().join("data"), ..Settings::default() };
        settings.password.bcrypt_cost = 4;
        // The clock stands still, so no budget would recover. Only the tests of the throttle turn it on.
        settings.throttle.enabled = false;
        let postgres = database(&mut settings).await;
        change(&mut settings);
        let clock = Arc::new(TestClock::default());
        let app = App::open(settings, Arc::clone(&clock) as Arc<dyn Clock>).await.unwrap();
        signing_keys::maintain(&app).await.unwrap();
        let admin_password = setup::first_administrator(&app).await.unwrap().unwrap();
        Self::around(app, clock, Arc::new(directory), admin_password, postgres)
    }

    fn around(
        app: App,
        clock: Arc<TestClock>,
        directory: Arc<TempDir>,
        admin_password: String,
        postgres: Option<Arc<TemporaryPostgres>>,
    ) -> Self {
        let endpoint = Arc::new(server::endpoint(app.clone()).unwrap().boxed());
        Self { app, clock, directory, endpoint, admin_password, postgres }
    }

    /// Sends a request unchanged. The response is not checked against the contract.
    pub async fn raw(&self, request: Request) -> Response {
        self.endpoint.get_response(request).await
    }

    /// Returns a caller without a token.
    pub fn anonymous(&self) -> Caller<'_> {
        Caller::new(self, None)
    }

    /// Returns a caller with this access token.
    pub fn bearer(&self, token: &str) -> Caller<'_> {
        Caller::new(self, Some(token.to_owned()))
    }

    /// Logs the first administrator in.
    pub async fn admin(&self) -> Caller<'_> {
        self.anonymous().log_in("admin", &self.admin_password).await
    }

    pub fn admin_password(&self) -> &str {
        &self.admin_password
    }

    /// Registers a user of this name and logs the user in.
    pub async fn user(&self, name: &str) -> Caller<'_> {
        self.register(name).await;
        self.anonymous().log_in(name, PASSWORD).await
    }

    /// Registers a user with the address `name@example.org` and returns the id.
    pub async fn register(&self, name: &str) -> UserId {
        let body = json!({ "email": format!("{name}@example.org"), "username": name, "password": PASSWORD });
        let user = self.anonymous().post("/v1/accounts", body).await.expect(201);
        user["id"].as_str().unwrap().parse().unwrap()
    }

    /// Logs a new user in who has one role, `role-<name>`, which grants exactly these permissions.
    pub async fn holding(&self, name: &str, permissions: &[&str]) -> Caller<'_> {
        let user = self.register(name).await;
        let (admin, role) = (self.admin().await, format!("role-{name}"));
        admin.post("/v1/roles", json!({ "name": role, "permissions": permissions })).await.expect(201);
        admin.put(&format!("/v1/users/{user}/roles"), json!({ "roles": [role] })).await.expect(200);
        self.anonymous().log_in(name, PASSWORD).await
    }

    /// Starts another process on the same data directory. It reads the revocation feed only when a test calls for it.
    pub async fn replica(&self) -> Self {
        self.replica_with(|_| {}).await
    }

    /// Starts another process with changed settings.
    pub async fn replica_with(&self, change: impl FnOnce(&mut Settings)) -> Self {
        self.replica_by(Arc::clone(&self.clock), change).await
    }

    /// Starts another process on a machine with another clock.
    pub async fn replica_by(&self, clock: Arc<TestClock>, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = self.app.settings.clone();
        change(&mut settings);
        let app = App::open(settings, Arc::clone(&clock) as Arc<dyn Clock>).await.unwrap();
        Self::around(app, clock, Arc::clone(&self.directory), self.admin_password.clone(), self.postgres.clone())
    }

    /// Reads the clock, which must be trusted.
    pub async fn trusted(&self) -> TrustedReading {
        clocks::check(&self.app).await.unwrap().expect("the clock is trusted")
    }

    /// Returns a user's row, which has columns that the API does not show.
    pub async fn row(&self, id: UserId) -> user::Model {
        user::Entity::find_by_id(id).one(self.app.db.read()).await.unwrap().unwrap()
    }
}

/// Creates a database for one app on a server that all tests share, if `VESTIBULE_TEST_DATABASE` is `postgres`.
async fn database(settings: &mut Settings) -> Option<Arc<TemporaryPostgres>> {
    static COUNT: AtomicU32 = AtomicU32::new(1);
    if std::env::var("VESTIBULE_TEST_DATABASE").as_deref() != Ok("postgres") {
        return None;
    }
    let server = tokio::task::spawn_blocking(shared_postgres).await.unwrap();
    let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
    let postgres = sea_orm::Database::connect(server.url("postgres")).await.unwrap();
    postgres.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
    postgres.close().await.unwrap();
    settings.database.url = Some(server.url(&name).into());
    settings.master_key = Some("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".into());
    Some(server)
}

/// Starts a PostgreSQL server for one test, if PostgreSQL is installed.
pub fn postgres() -> Option<TemporaryPostgres> {
    TemporaryPostgres::start()
}

fn shared_postgres() -> Arc<TemporaryPostgres> {
    static SERVER: Mutex<Weak<TemporaryPostgres>> = Mutex::new(Weak::new());
    let mut shared = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let server = Arc::new(TemporaryPostgres::start().expect("VESTIBULE_TEST_DATABASE=postgres needs PostgreSQL"));
        *shared = Arc::downgrade(&server);
        server
    })
}
