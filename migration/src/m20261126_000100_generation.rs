//! Backups and restores: when a backup was made, and in which generation of its data an installation is.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let columns = [
            ColumnDef::new(Installation::Generation).uuid().null().to_owned(),
            ColumnDef::new(Installation::NotBefore).timestamp_with_time_zone().null().to_owned(),
            ColumnDef::new(Installation::BackedUpAt).timestamp_with_time_zone().null().to_owned(),
        ];
        // SQLite adds one column per statement.
        for column in columns {
            manager.alter_table(Table::alter().table(Installation::Table).add_column(column).to_owned()).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for column in [Installation::BackedUpAt, Installation::NotBefore, Installation::Generation] {
            manager.alter_table(Table::alter().table(Installation::Table).drop_column(column).to_owned()).await?;
        }
        Ok(())
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

#[derive(DeriveIden)]
enum Installation {
    Table,
    Generation,
    NotBefore,
    BackedUpAt,
}
