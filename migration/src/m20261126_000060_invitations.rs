//! Invitations: people whom administrators have invited to create an account.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let mut email = ColumnDef::new(Invitations::Email);
        email.text().not_null();
        // Text that is compared byte by byte, which is the default of SQLite.
        if manager.get_database_backend() == DbBackend::Postgres {
            email.extra(r#"COLLATE "C""#);
        }
        let time = |column: Invitations| ColumnDef::new(column).timestamp_with_time_zone().to_owned();
        // No foreign keys: the administrator and the roles may be deleted before the invitation is accepted.
        let table = Table::create()
            .table(Invitations::Table)
            .col(ColumnDef::new(Invitations::Id).uuid().not_null().primary_key())
            .col(email)
            .col(ColumnDef::new(Invitations::Name).text().null())
            .col(ColumnDef::new(Invitations::Roles).text().not_null())
            .col(ColumnDef::new(Invitations::Language).text().null())
            .col(ColumnDef::new(Invitations::CreatedBy).uuid().not_null())
            .col(time(Invitations::CreatedAt).not_null())
            .col(time(Invitations::ExpiresAt).not_null())
            .col(time(Invitations::AcceptedAt).null())
            .to_owned();
        manager.create_table(table).await?;
        // An address has one invitation that was not accepted.
        let pending = Index::create()
            .name("invitations_pending")
            .table(Invitations::Table)
            .col(Invitations::Email)
            .and_where(Expr::col(Invitations::AcceptedAt).is_null())
            .unique()
            .to_owned();
        manager.create_index(pending).await?;
        let expiry =
            Index::create().name("invitations_expires_at").table(Invitations::Table).col(Invitations::ExpiresAt).to_owned();
        manager.create_index(expiry).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.drop_table(Table::drop().table(Invitations::Table).to_owned()).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

#[derive(DeriveIden)]
enum Invitations {
    Table,
    Id,
    Email,
    Name,
    Roles,
    Language,
    CreatedBy,
    CreatedAt,
    ExpiresAt,
    AcceptedAt,
}
