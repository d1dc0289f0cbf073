//! The state of an installation, in one row: the newest time that it has seen, and its issuer.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let table = Table::create()
            .table(Installation::Table)
            .col(ColumnDef::new(Installation::Id).big_integer().not_null().primary_key().check(Expr::col(Installation::Id).eq(1)))
            .col(ColumnDef::new(Installation::Issuer).text().null())
            .col(ColumnDef::new(Installation::NewestAt).timestamp_with_time_zone().null())
            .col(ColumnDef::new(Installation::DoubtedAt).timestamp_with_time_zone().null())
            .col(ColumnDef::new(Installation::WatchedFor).big_integer().not_null())
            .col(ColumnDef::new(Installation::Accepted).big_integer().not_null())
            .col(ColumnDef::new(Installation::BehindAt).timestamp_with_time_zone().null())
            .col(ColumnDef::new(Installation::PurgedBefore).timestamp_with_time_zone().null())
            .to_owned();
        manager.create_table(table).await?;
        // SQLite has no clock of its own. The time of the last audit event is the first evidence of the time.
        let newest = match manager.get_database_backend() {
            DbBackend::Sqlite => "(SELECT at FROM audit_events ORDER BY id DESC LIMIT 1)",
            _ => "NULL",
        };
        let row = format!("INSERT INTO installation (id, newest_at, watched_for, accepted) VALUES (1, {newest}, 0, 0)");
        manager.get_connection().execute_unprepared(&row).await?;
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(Installation::Table).to_owned()).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

#[derive(DeriveIden)]
enum Installation {
    Table,
    Id,
    Issuer,
    NewestAt,
    DoubtedAt,
    WatchedFor,
    Accepted,
    BehindAt,
    PurgedBefore,
}
