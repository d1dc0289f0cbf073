//! Tests of opening, reading and writing, on both databases.

mod copy;
pub(crate) mod directory;
mod group_commit;
pub(crate) mod kills;
mod migrations;
mod pool;
mod postgres;
mod rows;
mod shared_read;
pub(crate) mod test_database;

use std::{fs, os::unix::fs::PermissionsExt};

use sea_orm::Statement;
use tempfile::tempdir;

use self::test_database::{TestDatabase, is_sqlite};
use super::{connection::Connection, open::SQLITE_READERS, *};

#[tokio::test]
async fn d01_every_sqlite_connection_is_durable_and_keeps_foreign_keys() {
    let database = TestDatabase::sqlite();
    let db = database.open().await;
    for (pool, size, query_only) in [(&db.writer, 1, 0), (&db.reader.pool, SQLITE_READERS, 1)] {
        let mut held = Vec::new();
        for _ in 0..size {
            held.push(Connection::of(pool).await.unwrap());
        }
        assert!(timeout(Duration::ZERO, Connection::of(pool)).await.is_err(), "these are all connections of the pool");
        for connection in &mut held {
            let mut pragma = async |name: &str| {
                let sql = Statement::from_string(DbBackend::Sqlite, format!("PRAGMA {name}"));
                connection.query_one(sql).await.unwrap().unwrap()
            };
            for (name, value) in [("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", 850), ("query_only", query_only)] {
                assert_eq!(pragma(name).await.try_get_by_index::<i32>(0).unwrap(), value, "{name}");
            }
            assert_eq!(pragma("journal_mode").await.try_get_by_index::<String>(0).unwrap(), "wal");
        }
    }
}

#[tokio::test]
async fn postgres_connections_carry_their_limits() {
    let Some(database) = TestDatabase::postgres().await else { return };
    let db = database.open().await;
    for (setting, value) in [
        ("application_name", "vestibule"),
        ("statement_timeout", "5s"),
        ("lock_timeout", "1500ms"),
        ("idle_in_transaction_session_timeout", "3s"),
    ] {
        let sql = format!("SHOW {setting}");
        let row = db.read().query_one_raw(Statement::from_string(DbBackend::Postgres, sql)).await.unwrap().unwrap();
        assert_eq!(row.try_get_by_index::<String>(0).unwrap(), value);
    }
}

#[tokio::test]
async fn only_its_owner_can_read_a_database_file() {
    let database = TestDatabase::sqlite();
    let db = database.migrated().await;
    let directory = database.directory.as_ref().unwrap().path();
    for file in ["vestibule.db", "vestibule.db-wal", "vestibule.db-shm"] {
        let mode = fs::metadata(directory.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    db.close().await;
    let mut left: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["vestibule.db", "vestibule.lock"], "the log was moved into the file");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_can_open_a_new_file_at_once() {
    for _ in 0..10 {
        let database = TestDatabase::sqlite();
        let opened = (0..16).map(|_| {
            let url = database.url.clone();
            tokio::spawn(async move { Database::connect(&url).await.map(drop) })
        });
        for task in opened.collect::<Vec<_>>() {
            task.await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn readers_of_sqlite_cannot_write() {
    let db = TestDatabase::sqlite().migrated().await;
    let error = db.read().execute_unprepared("DELETE FROM users").await.unwrap_err();
    assert!(error.to_string().contains("readonly"), "{error}");
}

#[tokio::test]
async fn a_connection_stays_usable_after_another_process_held_the_write_lock() {
    let database = TestDatabase::sqlite();
    let (ours, theirs) = (database.migrated().await, database.open().await);
    let tx = ours.write().await.unwrap();
    let refused = theirs.write().await.unwrap_err();
    assert!(refused.to_string().contains("locked"), "{refused}");
    tx.commit().await.unwrap();
    theirs.write().await.unwrap().commit().await.unwrap();
}

#[tokio::test]
async fn h10_all_waits_of_one_request_share_one_deadline() {
    let database = TestDatabase::sqlite();
    let (db, other) = (database.migrated().await, database.open().await);
    let locked = other.write().await.unwrap();
    let request = deadline::share_one_deadline(async {
        for _ in 0..3 {
            assert!(is_unavailable(&db.write().await.unwrap_err()));
        }
        // The database is free again, but the request has used up its time.
        locked.rollback().await.unwrap();
        assert!(is_unavailable(&db.write().await.unwrap_err()));
    });
    request.await;
    db.write().await.unwrap();
}

#[tokio::test]
async fn an_invalid_url_is_reported_without_its_password() {
    for url in [
        "",
        "hunter2",
        "mysql://ada:hunter2@localhost/db",
        "sqlite::memory:",
        "sqlite://",
        "sqlite://hunter2.db?mode=memory",
        "sqlite://hunter2.db?immutable=1",
        "postgres://ada:hunter2@localhost:port/db",
        "postgres://ada:12?hunter2@localhost/db",
        "postgres://ada:hunter2#x@localhost/db",
        "postgres://ada:hunter2@localhost/db?sslmode=hunter2",
    ] {
        let error = Database::connect(&url.into()).await.unwrap_err();
        assert!(matches!(error, Error::Url(_)), "{url}");
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}

#[tokio::test]
async fn h10_an_unreachable_database_is_reported_in_time() {
    let url = "postgres://ada:hunter2@127.0.0.1:1/db".into();
    let result = timeout(Duration::from_secs(3), Database::connect(&url)).await.unwrap();
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Unreachable(_)));
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}

#[tokio::test]
async fn a_file_that_cannot_be_created_or_read_is_reported() {
    let directory = tempdir().unwrap();
    let missing = format!("sqlite://{}/no/such.db", directory.path().display()).into();
    assert!(matches!(Database::connect(&missing).await, Err(Error::File { .. })));
    let path = directory.path().join("text.db");
    fs::write(&path, "This is no database. ".repeat(100)).unwrap();
    let text = format!("sqlite://{}", path.display()).into();
    assert!(matches!(Database::connect(&text).await, Err(Error::Connect(_))));
}

#[tokio::test]
async fn a_path_may_contain_any_character() {
    let directory = tempdir().unwrap();
    let url = format!("sqlite://{}/a%20b%3Fc%25d.db", directory.path().display()).into();
    let db = Database::connect(&url).await.unwrap();
    assert!(is_sqlite(&db));
    assert!(directory.path().join("a b?c%d.db").exists());
}
