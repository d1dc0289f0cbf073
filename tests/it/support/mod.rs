//! What every story needs: an app of its own, callers, a clock to move, and a client that trusts no answer until the
//! contract says it may be given.

pub mod binary;
pub mod caller;
pub mod checked;
pub mod clock;
#[path = "../../../src/live/database/tests/postgres.rs"]
mod postgres;

use std::sync::{
    Arc, Mutex, PoisonError, Weak,
    atomic::{AtomicU32, Ordering},
};

use poem::{Endpoint, EndpointExt, Request, Response, endpoint::BoxEndpoint};
use sea_orm::{ActiveModelTrait, ActiveValue::Set, ConnectionTrait, EntityTrait};
use tempfile::TempDir;
use vestibule::{
    app::App,
    config::Settings,
    domain::setup,
    entity::{role, role_permission, user, user_role},
    live::{clock::Clock, role_map::RoleMap},
    server,
    values::ids::UserId,
};

use self::{caller::Caller, clock::TestClock, postgres::TemporaryPostgres};

/// The password of everybody who registers in a test.
pub const PASSWORD: &str = "correct horse battery staple";

/// A running Vestibule with its own directory, database and clock.
pub struct TestApp {
    pub app: App,
    pub clock: Arc<TestClock>,
    pub directory: TempDir,
    endpoint: Arc<BoxEndpoint<'static, Response>>,
    admin_password: String,
    _postgres: Option<Arc<TemporaryPostgres>>,
}

impl TestApp {
    pub async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// Starts with settings of its own. bcrypt costs as little as it can: only tests may go below 10.
    pub async fn start_with(change: impl FnOnce(&mut Settings)) -> Self {
        let directory = TempDir::new().unwrap();
        let mut settings = Settings::default();
        settings.data_dir = directory.path().join("data");
        settings.password.bcrypt_cost = 4;
        let postgres = database(&mut settings).await;
        change(&mut settings);
        let clock = Arc::new(TestClock::default());
        let app = App::open(settings, Arc::clone(&clock) as Arc<dyn Clock>).await.unwrap();
        let admin_password = setup::first_administrator(&app).await.unwrap().unwrap();
        let endpoint = Arc::new(server::endpoint(app.clone()).unwrap().boxed());
        Self { app, clock, directory, endpoint, admin_password, _postgres: postgres }
    }

    /// Sends a request as it is. The answer is checked against the contract by whoever sent it.
    pub async fn raw(&self, request: Request) -> Response {
        self.endpoint.get_response(request).await
    }

    /// Somebody without a token.
    pub fn nobody(&self) -> Caller<'_> {
        Caller::new(self, None)
    }

    /// Somebody with this token.
    pub fn bearer(&self, token: &str) -> Caller<'_> {
        Caller::new(self, Some(token.to_owned()))
    }

    /// The first administrator, signed in.
    pub async fn admin(&self) -> Caller<'_> {
        self.nobody().log_in("admin", &self.admin_password).await
    }

    /// Somebody who has registered under this username and signed in.
    pub async fn user(&self, name: &str) -> Caller<'_> {
        self.register(name).await;
        self.nobody().log_in(name, PASSWORD).await
    }

    /// Registers `name` with the e-mail address `name@example.org`; gives the id.
    pub async fn register(&self, name: &str) -> UserId {
        let body = serde_json::json!({ "email": format!("{name}@example.org"), "username": name, "password": PASSWORD });
        let user = self.nobody().post("/v1/accounts", body).await.expect(201);
        user["id"].as_str().unwrap().parse().unwrap()
    }

    /// Somebody whose one role grants exactly these permissions.
    pub async fn holding(&self, name: &str, permissions: &[&str]) -> Caller<'_> {
        let user = self.register(name).await;
        let (tx, now) = (self.app.db.write().await.unwrap(), self.app.clock.now());
        let made = role::ActiveModel {
            name: Set(format!("role-{name}")),
            description: Set(None),
            built_in: Set(false),
            created_at: Set(now),
            updated_at: Set(now),
        };
        let role = made.insert(&tx).await.unwrap().name;
        let rows =
            permissions.iter().map(|it| role_permission::ActiveModel { role: Set(role.clone()), permission: Set((*it).into()) });
        role_permission::Entity::insert_many(rows).exec_without_returning(&tx).await.unwrap();
        user_role::replace(&tx, user, [role]).await.unwrap();
        tx.commit().await.unwrap();
        self.app.roles.store(Arc::new(RoleMap::load(self.app.db.read()).await.unwrap()));
        self.nobody().log_in(name, PASSWORD).await
    }

    /// The row of a user, to see what the API does not show.
    pub async fn row(&self, id: UserId) -> user::Model {
        user::Entity::find_by_id(id).one(self.app.db.read()).await.unwrap().unwrap()
    }
}

/// With `VESTIBULE_TEST_DATABASE=postgres` every app gets a database of its own on a server that all tests share.
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

fn shared_postgres() -> Arc<TemporaryPostgres> {
    static SERVER: Mutex<Weak<TemporaryPostgres>> = Mutex::new(Weak::new());
    let mut shared = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    shared.upgrade().unwrap_or_else(|| {
        let server = Arc::new(TemporaryPostgres::start().expect("VESTIBULE_TEST_DATABASE=postgres needs PostgreSQL"));
        *shared = Arc::downgrade(&server);
        server
    })
}
