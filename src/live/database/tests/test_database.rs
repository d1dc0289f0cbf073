//! Empty databases for tests: SQLite, and PostgreSQL if it is installed.

use std::{
    mem,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
};

use sea_orm::{ConnectionTrait, DbBackend, Statement};
use secrecy::SecretString;
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use super::postgres::TemporaryPostgres;
use crate::live::database::Database;

/// An empty database, which is deleted when this is dropped.
pub struct TestDatabase {
    pub url: SecretString,
    raw_url: String,
    pub directory: Option<TempDir>,
    _server: Option<Arc<TemporaryPostgres>>,
}

impl TestDatabase {
    pub fn sqlite() -> Self {
        let directory = TempDir::new().unwrap();
        let raw_url = format!("sqlite://{}", directory.path().join("vestibule.db").display());
        Self { url: raw_url.clone().into(), raw_url, directory: Some(directory), _server: None }
    }

    pub async fn postgres() -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let server = spawn_blocking(shared_server).await.unwrap()?;
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let admin = sea_orm::Database::connect(server.url("postgres")).await.unwrap();
        admin.execute_unprepared(&format!("CREATE DATABASE {name}")).await.unwrap();
        admin.close().await.unwrap();
        let raw_url = server.url(&name);
        Some(Self { url: raw_url.clone().into(), raw_url, directory: None, _server: Some(server) })
    }

    /// Returns one database of each kind.
    pub async fn each() -> Vec<Self> {
        [Some(Self::sqlite()), Self::postgres().await].into_iter().flatten().collect()
    }

    pub async fn open(&self) -> Database {
        Database::connect(&self.url).await.unwrap()
    }

    pub async fn migrated(&self) -> Database {
        let db = self.open().await;
        db.migrate().await.unwrap();
        db
    }

    pub fn raw_url(&self) -> &str {
        &self.raw_url
    }
}

impl Database {
    /// Returns the statements that were sent since the last call, oldest first.
    pub(crate) fn take_sent(&self) -> Vec<Statement> {
        mem::take(&mut *self.writer.health().sent.lock().unwrap())
    }
}

pub fn is_sqlite(db: &Database) -> bool {
    db.read().get_database_backend() == DbBackend::Sqlite
}

/// Concurrent tests share a server. The last of them stops it.
fn shared_server() -> Option<Arc<TemporaryPostgres>> {
    static SERVER: Mutex<Weak<TemporaryPostgres>> = Mutex::new(Weak::new());
    let mut shared = SERVER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(server) = shared.upgrade() {
        return Some(server);
    }
    let server = Arc::new(TemporaryPostgres::start()?);
    *shared = Arc::downgrade(&server);
    Some(server)
}
