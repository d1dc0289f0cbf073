//! Empty databases for tests: SQLite, and PostgreSQL if it is installed.

use std::{
    fs, mem,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, Ordering},
    },
};

use sea_orm::{ConnectionTrait, DbBackend, Statement};
use secrecy::SecretString;
use tempfile::TempDir;
use tokio::task::spawn_blocking;

use super::{directory, postgres::TemporaryPostgres};
use crate::live::database::Database;

/// An empty database, which is deleted when this is dropped.
pub struct TestDatabase {
    pub url: SecretString,
    raw_url: String,
    pub directory: Option<TempDir>,
    /// The server of PostgreSQL, and the name of the database.
    server: Option<(Arc<TemporaryPostgres>, String)>,
}

impl TestDatabase {
    pub fn sqlite() -> Self {
        let directory = directory::temporary();
        let raw_url = format!("sqlite://{}", directory.path().join("vestibule.db").display());
        Self { url: raw_url.clone().into(), raw_url, directory: Some(directory), server: None }
    }

    pub async fn postgres() -> Option<Self> {
        Some(Self::postgres_like("template1", spawn_blocking(shared_server).await.unwrap()?).await)
    }

    /// Creates a copy of the database `template`.
    async fn postgres_like(template: &str, server: Arc<TemporaryPostgres>) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(1);
        let name = format!("test_{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let admin = sea_orm::Database::connect(server.url("postgres")).await.unwrap();
        admin.execute_unprepared(&format!("CREATE DATABASE {name} TEMPLATE {template}")).await.unwrap();
        admin.close().await.unwrap();
        let raw_url = server.url(&name);
        Self { url: raw_url.clone().into(), raw_url, directory: None, server: Some((server, name)) }
    }

    /// Returns a copy of this database, to which no process is connected.
    pub async fn copy(&self) -> Self {
        if let Some((server, name)) = &self.server {
            return Self::postgres_like(name, server.clone()).await;
        }
        let (copy, file) = (Self::sqlite(), "vestibule.db");
        if let (Some(from), Some(to)) = (&self.directory, &copy.directory)
            && from.path().join(file).exists()
        {
            fs::copy(from.path().join(file), to.path().join(file)).unwrap();
        }
        copy
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
