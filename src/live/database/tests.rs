//! What opening, writing and migrating promise, on both databases.

mod group;
pub(crate) mod places;
mod postgres;
mod rows;

use super::*;
use crate::entity::{session, user_word};
use crate::live::database::{lease::Kind, open::SQLITE_READERS};
use places::{TestDatabase, is_sqlite};
use sea_orm::{ConnectionTrait, EntityTrait, PaginatorTrait, QueryOrder, TransactionTrait};
use std::process::Command;
use vestibule_migration::{Migrator, MigratorTrait};

#[tokio::test]
async fn d01_every_sqlite_connection_is_durable_and_keeps_foreign_keys() {
    let place = TestDatabase::sqlite();
    let db = place.open().await;
    for (pool, size, query_only) in [(&db.writer, 1, 0), (&db.reader.pool, SQLITE_READERS, 1)] {
        let Kind::Sqlite(pool) = &pool.kind else { panic!() };
        let mut held = Vec::new();
        for _ in 0..size {
            held.push(pool.acquire().await.unwrap());
        }
        assert!(pool.try_acquire().is_none(), "no connection beyond those looked at");
        for conn in &mut held {
            let mut numbers = Vec::new();
            for pragma in ["synchronous", "foreign_keys", "busy_timeout", "query_only"] {
                let sql = sea_orm::sqlx::AssertSqlSafe(format!("PRAGMA {pragma}"));
                numbers.push(sea_orm::sqlx::query_scalar::<_, i64>(sql).fetch_one(&mut **conn).await.unwrap());
            }
            assert_eq!(numbers, [2, 1, 850, query_only]);
            let mode: String = sea_orm::sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut **conn).await.unwrap();
            assert_eq!(mode, "wal");
        }
    }
}

#[tokio::test]
async fn postgres_connections_carry_their_limits() {
    let Some(place) = TestDatabase::postgres().await else { return };
    let db = place.open().await;
    for (setting, value) in [
        ("application_name", "vestibule"),
        ("statement_timeout", "5s"),
        ("lock_timeout", "1500ms"),
        ("idle_in_transaction_session_timeout", "3s"),
    ] {
        let sql = format!("SHOW {setting}");
        let row = db.read().query_one_raw(sea_orm::Statement::from_string(DbBackend::Postgres, sql)).await.unwrap().unwrap();
        assert_eq!(row.try_get_by_index::<String>(0).unwrap(), value);
    }
}

#[tokio::test]
async fn a_database_file_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let place = TestDatabase::sqlite();
    let db = place.migrated().await;
    let directory = place.directory.as_ref().unwrap().path();
    for file in ["vestibule.db", "vestibule.db-wal", "vestibule.db-shm"] {
        let mode = std::fs::metadata(directory.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    db.close().await;
    let left: Vec<_> = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["vestibule.db"], "the log is folded into the file at the end");
}

#[tokio::test]
async fn a_second_migration_changes_nothing() {
    for place in TestDatabase::each().await {
        let db = place.open().await;
        assert!(db.migrations().await.unwrap().iter().all(|change| !change.applied));
        db.migrate().await.unwrap();
        db.migrate().await.unwrap();
        assert!(db.migrations().await.unwrap().iter().all(|change| change.applied));
    }
}

#[tokio::test]
async fn a_migration_can_be_undone_while_nothing_is_released() {
    for place in TestDatabase::each().await {
        let db = place.migrated().await;
        let tx = db.connection().begin().await.unwrap();
        Migrator::down(&tx, None).await.unwrap();
        Migrator::up(&tx, None).await.unwrap();
        tx.commit().await.unwrap();
    }
}

#[tokio::test]
async fn sessions_from_before_there_were_refresh_tokens_go_on_without_one() {
    for place in TestDatabase::each().await {
        let db = place.open().await;
        let tx = db.connection().begin().await.unwrap();
        Migrator::up(&tx, Some(1)).await.unwrap();
        let id = if is_sqlite(&db) { "X'0198c5e000007000800000000000000a'" } else { "'0198c5e0-0000-7000-8000-00000000000a'" };
        let now = "'2026-11-22T12:00:00+00:00'";
        tx.execute_unprepared(&format!(
            "INSERT INTO users (id, email, status, epoch, revision, created_at, updated_at) \
             VALUES ({id}, 'ada@example.org', 'active', 0, 0, {now}, {now})"
        ))
        .await
        .unwrap();
        tx.execute_unprepared(&format!(
            "INSERT INTO sessions (id, user_id, client_id, created_at, last_used_at, expires_at) \
             VALUES ({id}, {id}, 'vestibule', {now}, {now}, {now})"
        ))
        .await
        .unwrap();
        tx.commit().await.unwrap();
        db.migrate().await.unwrap();
        let session = session::Entity::find().one(db.read()).await.unwrap().unwrap();
        assert_eq!((session.refresh_secret, session.current, session.parent), (Vec::new(), 1, None));
    }
}

#[tokio::test]
async fn users_from_before_the_search_are_found_by_their_names() {
    for place in TestDatabase::each().await {
        let db = place.open().await;
        let tx = db.connection().begin().await.unwrap();
        Migrator::up(&tx, Some(1)).await.unwrap();
        let now = "'2026-11-22T12:00:00+00:00'";
        for (number, email, name) in [
            (10, "ada@example.org", "'Ada King  Lovelace'"),
            (11, "eva@xn--exmple-cua.org", "'E\u{301}va Meier-Bräu'"),
            (12, "joe@example.org", "NULL"),
        ] {
            let id = format!("0198c5e0000070008000{number:012x}");
            let id = if is_sqlite(&db) { format!("X'{id}'") } else { format!("'{id}'") };
            tx.execute_unprepared(&format!(
                "INSERT INTO users (id, email, name, status, epoch, revision, created_at, updated_at) \
                 VALUES ({id}, '{email}', {name}, 'active', 0, 0, {now}, {now})"
            ))
            .await
            .unwrap();
        }
        tx.commit().await.unwrap();
        db.migrate().await.unwrap();
        let words = user_word::Entity::find().order_by_asc(user_word::COLUMN.word).all(db.read()).await.unwrap();
        let words: Vec<_> = words.iter().map(|row| row.word.as_str()).collect();
        let expected =
            ["ada king lovelace", "bräu", "eva@exämple.org", "king lovelace", "lovelace", "meier-bräu", "éva meier-bräu"];
        assert_eq!(words, expected);
        db.migrate().await.unwrap();
        assert_eq!(user_word::Entity::find().count(db.read()).await.unwrap(), 7, "filled once");
    }
}

#[tokio::test]
async fn the_feed_goes_on_where_it_was_when_it_learns_another_word() {
    const INSERT: &str =
        "INSERT INTO revocations (kind, created_at, expires_at) VALUES ('roles_changed', '2026-01-01', '2026-01-02')";
    let (kept, emptied) = (TestDatabase::each().await, TestDatabase::each().await);
    for (place, purged) in kept.iter().map(|it| (it, false)).chain(emptied.iter().map(|it| (it, true))) {
        let db = place.open().await;
        let tx = db.connection().begin().await.unwrap();
        Migrator::up(&tx, Some(1)).await.unwrap();
        let columns = columns_of(&tx).await;
        for _ in 0..3 {
            tx.execute_unprepared(INSERT).await.unwrap();
        }
        if purged {
            tx.execute_unprepared("DELETE FROM revocations").await.unwrap();
        }
        Migrator::up(&tx, None).await.unwrap();
        assert_eq!(columns_of(&tx).await, columns);
        tx.execute_unprepared(&INSERT.replace("roles", "keys")).await.unwrap();
        let seqs = texts(&tx, "SELECT CAST(seq AS text) FROM revocations ORDER BY seq").await;
        assert_eq!(seqs, if purged { vec!["4"] } else { vec!["1", "2", "3", "4"] });
        tx.commit().await.unwrap();
    }
}

/// What SQLite says of the feed's columns.
async fn columns_of(tx: &impl ConnectionTrait) -> Vec<String> {
    let columns =
        "SELECT cid || name || type || \"notnull\" || pk || coalesce(dflt_value, '') FROM pragma_table_info('revocations')";
    if tx.get_database_backend() == DbBackend::Sqlite { texts(tx, columns).await } else { Vec::new() }
}

async fn texts(tx: &impl ConnectionTrait, sql: &str) -> Vec<String> {
    let rows = tx.query_all_raw(sea_orm::Statement::from_string(tx.get_database_backend(), sql)).await.unwrap();
    rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}

#[tokio::test]
async fn an_older_program_explains_itself_to_a_newer_database() {
    for place in TestDatabase::each().await {
        let db = place.migrated().await;
        let tx = db.write().await.unwrap();
        tx.execute_unprepared("INSERT INTO seaql_migrations (version, applied_at) VALUES ('m29990101_000001_later', 0)")
            .await
            .unwrap();
        tx.commit().await.unwrap();
        for error in [db.migrate().await.unwrap_err(), db.migrations().await.unwrap_err()] {
            assert!(matches!(&error, Error::Newer(name) if name == "m29990101_000001_later"), "{error}");
        }
    }
}

#[tokio::test]
async fn many_processes_that_start_at_once_migrate_once() {
    const ROLE: &str = "VESTIBULE_TEST_MIGRATES";
    if let Ok(url) = std::env::var(ROLE) {
        let db = Database::connect(&url.into()).await.unwrap();
        return db.migrate().await.unwrap();
    }
    let this = concat!(module_path!(), "::many_processes_that_start_at_once_migrate_once");
    let this = this.split_once("::").unwrap().1;
    for place in TestDatabase::each().await {
        let start = |_| {
            let mut command = Command::new(std::env::current_exe().unwrap());
            command.args(["--exact", this, "--nocapture"]).env(ROLE, place.raw_url());
            command.stdout(std::process::Stdio::null()).spawn().unwrap()
        };
        for mut child in (0..8).map(start).collect::<Vec<_>>() {
            assert!(child.wait().unwrap().success());
        }
        let db = place.open().await;
        assert_eq!(vestibule_migration::applied(&db.connection()).await.unwrap(), vestibule_migration::known());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_with_pools_of_their_own_migrate_once() {
    for place in TestDatabase::each().await {
        let opened = (0..8).map(|_| {
            let url = place.url.clone();
            tokio::spawn(async move { Database::connect(&url).await.unwrap().migrate().await.unwrap() })
        });
        for task in opened.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        let db = place.open().await;
        assert_eq!(vestibule_migration::applied(&db.connection()).await.unwrap(), vestibule_migration::known());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_file_can_be_opened_by_many_at_once() {
    for _ in 0..10 {
        let place = TestDatabase::sqlite();
        let opened = (0..16).map(|_| {
            let url = place.url.clone();
            tokio::spawn(async move { Database::connect(&url).await.map(drop) })
        });
        for task in opened.collect::<Vec<_>>() {
            task.await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn readers_of_sqlite_refuse_to_write() {
    let db = TestDatabase::sqlite().migrated().await;
    let error = db.read().execute_unprepared("DELETE FROM users").await.unwrap_err();
    assert!(error.to_string().contains("readonly"), "{error}");
}

#[tokio::test]
async fn a_writer_refused_by_another_process_leaves_its_connection_usable() {
    let place = TestDatabase::sqlite();
    let (ours, theirs) = (place.migrated().await, place.open().await);
    let tx = ours.write().await.unwrap();
    let refused = theirs.write().await.unwrap_err();
    assert!(refused.to_string().contains("locked"), "{refused}");
    tx.commit().await.unwrap();
    theirs.write().await.unwrap().commit().await.unwrap();
}

#[tokio::test]
async fn h10_all_waits_of_one_request_share_one_limit() {
    let place = TestDatabase::sqlite();
    let (db, other) = (place.migrated().await, place.open().await);
    let locked = other.write().await.unwrap();
    let request = deadline::share_one_deadline(async {
        for _ in 0..3 {
            assert!(is_away(&db.write().await.unwrap_err()));
        }
        // The database is free again, but the client has been waiting for too long.
        locked.rollback().await.unwrap();
        assert!(is_away(&db.write().await.unwrap_err()));
    });
    request.await;
    db.write().await.unwrap();
}

#[tokio::test]
async fn urls_that_cannot_work_are_named_without_their_password() {
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
async fn h10_a_database_that_is_away_is_reported_within_two_seconds() {
    let url = "postgres://ada:hunter2@127.0.0.1:1/db".into();
    let result = tokio::time::timeout(Duration::from_secs(3), Database::connect(&url)).await.unwrap();
    let error = result.unwrap_err();
    assert!(matches!(error, Error::Silent(_)));
    assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
}

#[tokio::test]
async fn a_file_that_cannot_be_made_or_read_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let missing = format!("sqlite://{}/no/such.db", directory.path().display()).into();
    assert!(matches!(Database::connect(&missing).await, Err(Error::File { .. })));
    let path = directory.path().join("text.db");
    std::fs::write(&path, "This is no database. ".repeat(100)).unwrap();
    let text = format!("sqlite://{}", path.display()).into();
    assert!(matches!(Database::connect(&text).await, Err(Error::Connect(_))));
}

#[tokio::test]
async fn a_path_may_hold_any_character() {
    let directory = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}/a%20b%3Fc%25d.db", directory.path().display()).into();
    let db = Database::connect(&url).await.unwrap();
    assert!(is_sqlite(&db));
    assert!(directory.path().join("a b?c%d.db").exists());
}
