//! Tests of the migrations, on both databases.

use std::{
    collections::BTreeSet,
    env,
    process::{Command, Stdio},
};

use chrono::DateTime;
use sea_orm::{ConnectionTrait, DbBackend, EntityTrait, PaginatorTrait, QueryOrder, Statement, TransactionTrait};
use serde_json::json;
use vestibule_migration::{Migrator, MigratorTrait};

use super::test_database::{TestDatabase, is_sqlite};
use crate::{
    entity::{audit_event, role_permission, session, user, user_word},
    live::database::{Database, Error},
    values::{
        authentication::{Authentication, Method},
        role_name::RoleName,
    },
};

#[tokio::test]
async fn a_second_migration_changes_nothing() {
    for database in TestDatabase::each().await {
        let db = database.open().await;
        assert!(db.migrations().await.unwrap().iter().all(|change| !change.applied));
        db.migrate().await.unwrap();
        db.migrate().await.unwrap();
        assert!(db.migrations().await.unwrap().iter().all(|change| change.applied));
    }
}

#[tokio::test]
async fn every_migration_can_be_undone_before_the_first_release() {
    for database in TestDatabase::each().await {
        let db = database.migrated().await;
        let tx = db.migration_connection().begin().await.unwrap();
        Migrator::down(&tx, None).await.unwrap();
        Migrator::up(&tx, None).await.unwrap();
        tx.commit().await.unwrap();
    }
}

#[tokio::test]
async fn sessions_older_than_refresh_tokens_have_no_refresh_secret() {
    for database in TestDatabase::each().await {
        let db = database.open().await;
        let tx = db.migration_connection().begin().await.unwrap();
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
        assert_eq!((session.refresh_secret, session.current, session.parent), (Vec::new(), 1.into(), None));
    }
}

#[tokio::test]
async fn users_older_than_the_search_are_found_by_their_names() {
    for database in TestDatabase::each().await {
        let db = database.open().await;
        let tx = db.migration_connection().begin().await.unwrap();
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
async fn the_upgrade_to_mail_verifies_administrators_and_takes_its_permissions_from_roles() {
    for database in TestDatabase::each().await {
        let db = database.open().await;
        let tx = db.migration_connection().begin().await.unwrap();
        let earlier = vestibule_migration::known().iter().position(|name| name == vestibule_migration::MAIL).unwrap();
        Migrator::up(&tx, Some(u32::try_from(earlier).unwrap())).await.unwrap();
        let now = "'2026-11-22T12:00:00+00:00'";
        for (number, name, role) in [(10, "ada", "user"), (11, "root", "admin")] {
            let id = format!("0198c5e0000070008000{number:012x}");
            let id = if is_sqlite(&db) { format!("X'{id}'") } else { format!("'{id}'") };
            tx.execute_unprepared(&format!(
                "INSERT INTO users (id, email, status, epoch, revision, created_at, updated_at) \
                 VALUES ({id}, '{name}@example.org', 'active', 0, 0, {now}, {now})"
            ))
            .await
            .unwrap();
            tx.execute_unprepared(&format!("INSERT INTO user_roles (user_id, role) VALUES ({id}, '{role}')")).await.unwrap();
        }
        tx.execute_unprepared(&format!(
            "INSERT INTO roles (name, built_in, created_at, updated_at) VALUES ('clerk', FALSE, {now}, {now})"
        ))
        .await
        .unwrap();
        let permissions = "INSERT INTO role_permissions (role, permission) VALUES \
                           ('clerk', 'mails:read'), ('clerk', 'mails:write'), ('clerk', 'mails:print')";
        tx.execute_unprepared(permissions).await.unwrap();
        tx.commit().await.unwrap();

        db.migrate().await.unwrap();
        let users = user::Entity::find().order_by_asc(user::COLUMN.email).all(db.read()).await.unwrap();
        let verified: Vec<_> = users.iter().map(|user| (user.email.as_str(), user.email_verified)).collect();
        assert_eq!(verified, [("ada@example.org", false), ("root@example.org", true)]);
        let clerk = "clerk".parse().unwrap();
        assert_eq!(role_permission::all(db.read()).await.unwrap()[&clerk], BTreeSet::from(["mails:print".parse().unwrap()]));
        let events = audit_event::Entity::find().all(db.read()).await.unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!((events[0].kind.as_str(), events[0].subject_id.as_deref()), (role_permission::RECLAIMED, Some("clerk")));
        assert_eq!(events[0].details.0, json!({ "permissions": ["mails:read", "mails:write"] }));

        // Only the upgrade does this. A permission that is granted later stays.
        let granted = ["mails:read".parse().unwrap()];
        let tx = db.write().await.unwrap();
        role_permission::replace(&tx, &clerk, granted).await.unwrap();
        tx.commit().await.unwrap();
        db.migrate().await.unwrap();
        assert_eq!(role_permission::all(db.read()).await.unwrap()[&clerk].len(), 1);
    }
}

#[tokio::test]
async fn the_upgrade_to_second_factors_takes_its_permission_from_roles_and_leaves_those_of_mail() {
    for database in TestDatabase::each().await {
        let db = database.open().await;
        let tx = db.migration_connection().begin().await.unwrap();
        let earlier = vestibule_migration::known().iter().position(|name| name == vestibule_migration::SECOND_FACTORS).unwrap();
        Migrator::up(&tx, Some(u32::try_from(earlier).unwrap())).await.unwrap();
        let now = "'2026-11-22T12:00:00+00:00'";
        tx.execute_unprepared(&format!(
            "INSERT INTO roles (name, built_in, created_at, updated_at) VALUES ('clerk', FALSE, {now}, {now})"
        ))
        .await
        .unwrap();
        let permissions =
            "INSERT INTO role_permissions (role, permission) VALUES ('clerk', 'mails:read'), ('clerk', 'users:recover')";
        tx.execute_unprepared(permissions).await.unwrap();
        tx.commit().await.unwrap();

        db.migrate().await.unwrap();
        let clerk: RoleName = "clerk".parse().unwrap();
        assert_eq!(role_permission::all(db.read()).await.unwrap()[&clerk], BTreeSet::from(["mails:read".parse().unwrap()]));
        let events = audit_event::Entity::find().all(db.read()).await.unwrap();
        assert_eq!(events.len(), 1);
        assert_eq!(events[0].details.0, json!({ "permissions": ["users:recover"] }));
    }
}

#[tokio::test]
async fn the_feed_keeps_its_positions_when_a_migration_adds_a_kind() {
    const INSERT: &str =
        "INSERT INTO revocations (kind, created_at, expires_at) VALUES ('roles_changed', '2026-01-01', '2026-01-02')";
    let (kept, emptied) = (TestDatabase::each().await, TestDatabase::each().await);
    for (database, purged) in kept.iter().map(|database| (database, false)).chain(emptied.iter().map(|database| (database, true)))
    {
        let db = database.open().await;
        let tx = db.migration_connection().begin().await.unwrap();
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

/// Returns SQLite's description of the columns of the feed.
async fn columns_of(tx: &impl ConnectionTrait) -> Vec<String> {
    let columns =
        "SELECT cid || name || type || \"notnull\" || pk || coalesce(dflt_value, '') FROM pragma_table_info('revocations')";
    if tx.get_database_backend() == DbBackend::Sqlite { texts(tx, columns).await } else { Vec::new() }
}

async fn texts(tx: &impl ConnectionTrait, sql: &str) -> Vec<String> {
    let rows = tx.query_all_raw(Statement::from_string(tx.get_database_backend(), sql)).await.unwrap();
    rows.iter().map(|row| row.try_get_by_index(0).unwrap()).collect()
}

#[tokio::test]
async fn a_program_older_than_the_database_names_the_unknown_migration() {
    for database in TestDatabase::each().await {
        let db = database.migrated().await;
        let tx = db.write().await.unwrap();
        tx.execute_unprepared("INSERT INTO seaql_migrations (version, applied_at) VALUES ('m29990101_000001_later', 0)")
            .await
            .unwrap();
        tx.commit().await.unwrap();
        for error in [db.migrate().await.unwrap_err(), db.migrations().await.unwrap_err()] {
            assert!(matches!(&error, Error::NewerSchema(name) if name == "m29990101_000001_later"), "{error}");
        }
    }
}

#[tokio::test]
async fn many_processes_that_start_at_once_migrate_once() {
    const ROLE: &str = "VESTIBULE_TEST_MIGRATES";
    if let Ok(url) = env::var(ROLE) {
        let db = Database::connect(&url.into()).await.unwrap();
        return db.migrate().await.unwrap();
    }
    let this = concat!(module_path!(), "::many_processes_that_start_at_once_migrate_once");
    let this = this.split_once("::").unwrap().1;
    for database in TestDatabase::each().await {
        let start = |_| {
            let mut command = Command::new(env::current_exe().unwrap());
            command.args(["--exact", this, "--nocapture"]).env(ROLE, database.raw_url());
            command.stdout(Stdio::null()).spawn().unwrap()
        };
        for mut child in (0..8).map(start).collect::<Vec<_>>() {
            assert!(child.wait().unwrap().success());
        }
        let db = database.open().await;
        assert_eq!(vestibule_migration::applied(&db.migration_connection()).await.unwrap(), vestibule_migration::known());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_that_start_at_once_migrate_once() {
    for database in TestDatabase::each().await {
        let opened = (0..8).map(|_| {
            let url = database.url.clone();
            tokio::spawn(async move { Database::connect(&url).await.unwrap().migrate().await.unwrap() })
        });
        for task in opened.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        let db = database.open().await;
        assert_eq!(vestibule_migration::applied(&db.migration_connection()).await.unwrap(), vestibule_migration::known());
    }
}

#[tokio::test]
async fn sessions_older_than_second_factors_were_authenticated_by_a_password_when_they_began() {
    for database in TestDatabase::each().await {
        let db = database.open().await;
        let tx = db.migration_connection().begin().await.unwrap();
        let earlier = vestibule_migration::known().iter().position(|name| name == vestibule_migration::ASSURANCE).unwrap();
        Migrator::up(&tx, Some(u32::try_from(earlier).unwrap())).await.unwrap();
        let begun = "'2026-11-22T12:00:00.123456+00:00'";
        let id = |number: u8| {
            let id = format!("0198c5e000007000800000000000{number:04x}");
            if is_sqlite(&db) { format!("X'{id}'") } else { format!("'{id}'") }
        };
        tx.execute_unprepared(&format!(
            "INSERT INTO users (id, email, status, epoch, revision, created_at, updated_at) \
             VALUES ({}, 'ada@example.org', 'active', 0, 0, {begun}, {begun})",
            id(1)
        ))
        .await
        .unwrap();
        let insert = |number: u8| {
            format!(
                "INSERT INTO sessions (id, user_id, client_id, created_at, last_used_at, expires_at) \
                 VALUES ({}, {}, 'vestibule', {begun}, {begun}, {begun})",
                id(number),
                id(1)
            )
        };
        tx.execute_unprepared(&insert(2)).await.unwrap();
        tx.commit().await.unwrap();
        db.migrate().await.unwrap();
        // A replica of the former version goes on beginning sessions.
        let tx = db.write().await.unwrap();
        tx.execute_unprepared(&insert(3)).await.unwrap();
        tx.commit().await.unwrap();
        let sessions = session::Entity::find().order_by_asc(session::COLUMN.id).all(db.read()).await.unwrap();
        let times: Vec<_> = sessions.iter().map(|session| session.auth_time).collect();
        assert_eq!(times, [sessions[0].created_at, DateTime::UNIX_EPOCH]);
        assert!(
            sessions.iter().all(|session| session.authentication() == Authentication::by(&[Method::Password], session.auth_time))
        );
    }
}
