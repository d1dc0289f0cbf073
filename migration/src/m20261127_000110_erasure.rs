//! Erasure: the accounts that were closed and whose people are to be erased, and the indexes that find what names them.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        // Text that is compared byte by byte, which is the default of SQLite.
        let name = |column: ClosedAccounts| {
            let mut column = ColumnDef::new(column);
            column.text().null();
            if manager.get_database_backend() == DbBackend::Postgres {
                column.extra(r#"COLLATE "C""#);
            }
            column
        };
        let time = |column: ClosedAccounts| ColumnDef::new(column).timestamp_with_time_zone().to_owned();
        // No foreign key: the user is deleted in the transaction that inserts the row.
        let table = Table::create()
            .table(ClosedAccounts::Table)
            .col(ColumnDef::new(ClosedAccounts::Id).uuid().not_null().primary_key())
            .col(name(ClosedAccounts::Email))
            .col(name(ClosedAccounts::Username))
            .col(time(ClosedAccounts::ClosedAt).not_null())
            .col(time(ClosedAccounts::DueAt).null())
            .col(ColumnDef::new(ClosedAccounts::Erased).boolean().not_null())
            .to_owned();
        manager.create_table(table).await?;
        for index in indexes() {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for (name, table) in [
            ("audit_events_of_nobody", AuditEvents::Table.into_iden()),
            ("invitations_email", Invitations::Table.into_iden()),
            ("mails_to_nobody", Mails::Table.into_iden()),
            ("mails_to_user", Mails::Table.into_iden()),
        ] {
            manager.drop_index(Index::drop().name(name).table(table).to_owned()).await?;
        }
        manager.drop_table(Table::drop().table(ClosedAccounts::Table).to_owned()).await
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

fn indexes() -> Vec<IndexCreateStatement> {
    fn index<const N: usize>(name: &str, table: impl IntoIden, columns: [DynIden; N]) -> IndexCreateStatement {
        let mut index = Index::create().name(name).table(table.into_iden()).to_owned();
        for column in columns {
            index.col(column);
        }
        index
    }
    use ClosedAccounts as Closed;
    vec![
        index("closed_accounts_closed_at", Closed::Table, [Closed::ClosedAt.into_iden()])
            .and_where(Expr::col(Closed::DueAt).is_null())
            .to_owned(),
        index("closed_accounts_due_at", Closed::Table, [Closed::DueAt.into_iden()])
            .and_where(Expr::col(Closed::DueAt).is_not_null())
            .to_owned(),
        index("closed_accounts_email", Closed::Table, [Closed::Email.into_iden(), Closed::Id.into_iden()]),
        index("closed_accounts_username", Closed::Table, [Closed::Username.into_iden(), Closed::Id.into_iden()]),
        index("mails_to_user", Mails::Table, [Mails::UserId.into_iden()])
            .and_where(Expr::col(Mails::UserId).is_not_null())
            .to_owned(),
        index("mails_to_nobody", Mails::Table, [Mails::ToAddress.into_iden()])
            .and_where(Expr::col(Mails::UserId).is_null())
            .to_owned(),
        index("invitations_email", Invitations::Table, [Invitations::Email.into_iden()]),
        // Events of callers who were not logged in and named no account.
        index("audit_events_of_nobody", AuditEvents::Table, [AuditEvents::Address.into_iden(), AuditEvents::Id.into_iden()])
            .and_where(Expr::col(AuditEvents::ActorId).is_null())
            .and_where(Expr::col(AuditEvents::SubjectId).is_null())
            .to_owned(),
    ]
}

#[derive(DeriveIden)]
enum ClosedAccounts {
    Table,
    Id,
    Email,
    Username,
    ClosedAt,
    DueAt,
    Erased,
}

#[derive(DeriveIden)]
enum Mails {
    Table,
    UserId,
    ToAddress,
}

#[derive(DeriveIden)]
enum Invitations {
    Table,
    Email,
}

#[derive(DeriveIden)]
enum AuditEvents {
    Table,
    Id,
    ActorId,
    SubjectId,
    Address,
}
