//! The feed also tells that a signing key was made or revoked: one more word in `revocations.kind`.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        allow(manager, "'session_ended', 'tokens_stale', 'roles_changed', 'keys_changed'").await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.get_connection().execute_unprepared("DELETE FROM revocations WHERE kind = 'keys_changed'").await?;
        allow(manager, "'session_ended', 'tokens_stale', 'roles_changed'").await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

async fn allow(manager: &SchemaManager<'_>, kinds: &str) -> Result<(), DbErr> {
    let statements = match manager.get_database_backend() {
        DbBackend::Sqlite => rebuilt(kinds),
        _ => format!(
            "ALTER TABLE revocations DROP CONSTRAINT revocations_kind_check,
             ADD CONSTRAINT revocations_kind_check CHECK (kind IN ({kinds}))"
        ),
    };
    manager.get_connection().execute_unprepared(&statements).await?;
    Ok(())
}

/// SQLite alters no CHECK, so the table is made anew. Its numbers go on where they were, rows or none: a follower that
/// asks for "after 41" would never see a second 41.
fn rebuilt(kinds: &str) -> String {
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
