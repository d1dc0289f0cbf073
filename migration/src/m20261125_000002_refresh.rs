//! Refresh tokens: the columns by which a session distinguishes its current token from used ones.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Existing sessions have no refresh token and need no secret.
        let empty = if manager.get_database_backend() == DbBackend::Sqlite { "x''" } else { "''::bytea" };
        let columns = [
            ColumnDef::new(Sessions::RefreshSecret).blob().not_null().default(Expr::cust(empty)).to_owned(),
            ColumnDef::new(Sessions::Current).big_integer().not_null().default(1).to_owned(),
            ColumnDef::new(Sessions::Parent).big_integer().null().to_owned(),
        ];
        // SQLite adds one column per statement.
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
