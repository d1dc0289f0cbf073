//! Second factors: what a session says about how its user was authenticated, and whether a user holds a second factor.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // The defaults are for sessions that a replica of the former version begins while the upgrade is rolled out. Such a
        // session was authenticated by its password, too long ago for any operation that requires fresh proof.
        let columns = [
            ColumnDef::new(Sessions::AuthTime)
                .timestamp_with_time_zone()
                .not_null()
                .default("1970-01-01T00:00:00+00:00")
                .to_owned(),
            ColumnDef::new(Sessions::Acr).text().not_null().default("1").to_owned(),
            ColumnDef::new(Sessions::Amr).text().not_null().default("pwd").to_owned(),
            ColumnDef::new(Sessions::Factors).text().not_null().default("").to_owned(),
        ];
        // SQLite adds one column per statement.
        for column in columns {
            manager.alter_table(Table::alter().table(Sessions::Table).add_column(column).to_owned()).await?;
        }
        manager.get_connection().execute_unprepared("UPDATE sessions SET auth_time = created_at").await?;
        let column = ColumnDef::new(Users::SecondFactor).boolean().not_null().default(false).to_owned();
        manager.alter_table(Table::alter().table(Users::Table).add_column(column).to_owned()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.alter_table(Table::alter().table(Users::Table).drop_column(Users::SecondFactor).to_owned()).await?;
        for column in [Sessions::Factors, Sessions::Amr, Sessions::Acr, Sessions::AuthTime] {
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
    AuthTime,
    Acr,
    Amr,
    Factors,
}

#[derive(DeriveIden)]
enum Users {
    Table,
    SecondFactor,
}
