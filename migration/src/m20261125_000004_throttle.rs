//! The throttle: the counted attempts, and the networks from which each account has logged in.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let throttles = Table::create()
            .table(Throttles::Table)
            .col(ColumnDef::new(Throttles::Key).blob().not_null().primary_key())
            .col(ColumnDef::new(Throttles::ForgivenAt).timestamp_with_time_zone().not_null())
            .col(ColumnDef::new(Throttles::LastAt).timestamp_with_time_zone().not_null())
            .to_owned();
        let known_networks = Table::create()
            .table(KnownNetworks::Table)
            .col(ColumnDef::new(KnownNetworks::Key).blob().not_null().primary_key())
            .col(ColumnDef::new(KnownNetworks::ExpiresAt).timestamp_with_time_zone().not_null())
            .to_owned();
        manager.create_table(throttles).await?;
        manager.create_table(known_networks).await?;
        // Expired rows are deleted regularly.
        let throttles =
            Index::create().name("throttles_forgiven_at").table(Throttles::Table).col(Throttles::ForgivenAt).to_owned();
        manager.create_index(throttles).await?;
        let known_networks = Index::create()
            .name("known_networks_expires_at")
            .table(KnownNetworks::Table)
            .col(KnownNetworks::ExpiresAt)
            .to_owned();
        manager.create_index(known_networks).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(KnownNetworks::Table).to_owned()).await?;
        manager.drop_table(Table::drop().table(Throttles::Table).to_owned()).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

#[derive(DeriveIden)]
enum Throttles {
    Table,
    Key,
    ForgivenAt,
    LastAt,
}

#[derive(DeriveIden)]
enum KnownNetworks {
    Table,
    Key,
    ExpiresAt,
}
