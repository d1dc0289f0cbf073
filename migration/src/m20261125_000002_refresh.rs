//! Refresh tokens: what a session must know to tell its present one from a spent one.

use sea_orm_migration::prelude::*;
use sea_orm_migration::sea_orm::DbBackend;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Sessions from before have no refresh token, so no secret either.
        let nothing = if manager.get_database_backend() == DbBackend::Sqlite { "x''" } else { "''::bytea" };
        let columns = [
            ColumnDef::new(Sessions::RefreshSecret).blob().not_null().default(Expr::cust(nothing)).to_owned(),
            ColumnDef::new(Sessions::Current).big_integer().not_null().default(1).to_owned(),
            ColumnDef::new(Sessions::Parent).big_integer().null().to_owned(),
        ];
        // SQLite adds one at a time.
        for column in columns {
            manager.alter_table(Table::alter().table(Sessions::Table).add_column(column).to_owned()).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in [Sessions::RefreshSecret, Sessions::Current, Sessions::Parent] {
            manager.alter_table(Table::alter().table(Sessions::Table).drop_column(column).to_owned()).await?;
        }
        Ok(())
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

#[derive(DeriveIden)]
enum Sessions {
    Table,
    RefreshSecret,
    Current,
    Parent,
}
