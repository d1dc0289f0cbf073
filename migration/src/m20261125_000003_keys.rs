//! The feed also announces changes of the signing keys: one more value of `revocations.kind`.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        set_kinds(manager, "'session_ended', 'tokens_stale', 'roles_changed', 'keys_changed'").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared("DELETE FROM revocations WHERE kind = 'keys_changed'").await?;
        set_kinds(manager, "'session_ended', 'tokens_stale', 'roles_changed'").await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

async fn set_kinds(manager: &SchemaManager<'_>, kinds: &str) -> Result<(), DbErr> {
    let statements = match manager.get_database_backend() {
        DbBackend::Sqlite => rebuild(kinds),
        _ => format!(
            "ALTER TABLE revocations DROP CONSTRAINT revocations_kind_check,
             ADD CONSTRAINT revocations_kind_check CHECK (kind IN ({kinds}))"
        ),
    };
    manager.get_connection().execute_unprepared(&statements).await?;
    Ok(())
}

/// Returns statements that rebuild the table, because SQLite cannot alter a CHECK. The numbers continue after the last one that
/// was used, even if the table is empty: a follower that has read up to 41 would miss a second 41.
fn rebuild(kinds: &str) -> String {
    format!(
        r#"
        ALTER TABLE revocations RENAME TO revocations_before;
        DROP INDEX revocations_expires_at;
        CREATE TABLE revocations (
            "seq" integer NOT NULL PRIMARY KEY AUTOINCREMENT,
            "kind" text NOT NULL CHECK ("kind" IN ({kinds})),
            "session_id" uuid_text NULL,
            "user_id" uuid_text NULL,
            "least_epoch" integer NULL,
            "created_at" timestamp_with_timezone_text NOT NULL,
            "expires_at" timestamp_with_timezone_text NOT NULL
        );
        INSERT INTO revocations SELECT seq, kind, session_id, user_id, least_epoch, created_at, expires_at FROM revocations_before;
        DELETE FROM sqlite_sequence WHERE name = 'revocations';
        INSERT INTO sqlite_sequence (name, seq) SELECT 'revocations', seq FROM sqlite_sequence WHERE name = 'revocations_before';
        DROP TABLE revocations_before;
        CREATE INDEX revocations_expires_at ON revocations (expires_at);
        "#
    )
}
