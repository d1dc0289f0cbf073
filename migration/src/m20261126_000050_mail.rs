//! Mail: the outbox, the tickets behind its links and codes, the tallies that limit both, and what an account says about its
//! address. After this migration, the program removes grants of permissions whose names are Vestibule's own from now on.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let columns = [
            ColumnDef::new(Users::EmailVerified).boolean().not_null().default(false).to_owned(),
            ColumnDef::new(Users::Language).text().null().to_owned(),
        ];
        // SQLite adds one column per statement.
        for column in columns {
            manager.alter_table(Table::alter().table(Users::Table).add_column(column).to_owned()).await?;
        }
        // The first administrator's address receives no mail, and the operator vouches for administrators.
        let verified = "UPDATE users SET email_verified = TRUE WHERE id IN (SELECT user_id FROM user_roles WHERE role = 'admin')";
        manager.get_connection().execute_unprepared(verified).await?;
        for table in tables(manager.get_database_backend()) {
            manager.create_table(table).await?;
        }
        for index in indexes() {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tables =
            [Mails::Table.into_iden(), Tallies::Table.into_iden(), TicketHandles::Table.into_iden(), Tickets::Table.into_iden()];
        for table in tables {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        for column in [Users::Language, Users::EmailVerified] {
            manager.alter_table(Table::alter().table(Users::Table).drop_column(column).to_owned()).await?;
        }
        Ok(())
    }

    fn use_transaction(&self) -> Option<bool> {
        Some(true)
    }
}

fn id(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).uuid().to_owned()
}

fn text(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).text().to_owned()
}

fn number(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).big_integer().not_null().to_owned()
}

fn blob(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).blob().not_null().to_owned()
}

fn time(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).timestamp_with_time_zone().to_owned()
}

fn one_of<const N: usize>(column: impl IntoIden, values: [&'static str; N]) -> ColumnDef {
    let column = column.into_iden();
    text(column.clone()).not_null().check(Expr::col(column).is_in(values)).to_owned()
}

fn tables(backend: DbBackend) -> Vec<TableCreateStatement> {
    // Text that is compared byte by byte, which is the default of SQLite.
    let name = |column: DynIden| {
        let mut column = text(column);
        if backend == DbBackend::Postgres {
            column.extra(r#"COLLATE "C""#);
        }
        column
    };
    vec![
        // No foreign key to users: the ticket of a deleted account is void, and says so until it is purged.
        Table::create()
            .table(Tickets::Table)
            .col(id(Tickets::Id).not_null().primary_key())
            .col(one_of(Tickets::Purpose, ["sign_up", "verify", "reset", "change", "revert", "invite"]))
            .col(id(Tickets::UserId).null())
            .col(name(Tickets::Address.into_iden()).null())
            .col(blob(Tickets::Recipient))
            .col(text(Tickets::Language).not_null())
            .col(number(Tickets::Attempts))
            .col(text(Tickets::Context).not_null())
            .col(time(Tickets::CreatedAt).not_null())
            .col(time(Tickets::ExpiresAt).not_null())
            .col(time(Tickets::UsedAt).null())
            .col(time(Tickets::VoidAt).null())
            .to_owned(),
        Table::create()
            .table(TicketHandles::Table)
            .col(blob(TicketHandles::Digest).primary_key())
            .col(id(TicketHandles::TicketId).not_null())
            .col(number(TicketHandles::Attempts))
            .col(time(TicketHandles::CreatedAt).not_null())
            .col(time(TicketHandles::ExpiresAt).not_null())
            .foreign_key(
                ForeignKey::create()
                    .from(TicketHandles::Table, TicketHandles::TicketId)
                    .to(Tickets::Table, Tickets::Id)
                    .on_delete(ForeignKeyAction::Cascade),
            )
            .to_owned(),
        Table::create()
            .table(Tallies::Table)
            .col(blob(Tallies::Key).primary_key())
            .col(text(Tallies::Times).not_null())
            .col(time(Tallies::ExpiresAt).not_null())
            .to_owned(),
        // No foreign keys: a mail may say that an account was closed.
        Table::create()
            .table(Mails::Table)
            .col(id(Mails::Id).not_null().primary_key())
            .col(name(Mails::Kind.into_iden()).not_null())
            .col(id(Mails::UserId).null())
            .col(text(Mails::ToAddress).null())
            .col(text(Mails::Language).not_null())
            .col(id(Mails::TicketId).null())
            .col(text(Mails::Params).not_null())
            .col(ColumnDef::new(Mails::Precedence).small_integer().not_null())
            .col(one_of(Mails::State, ["queued", "sending", "sent", "failed", "dropped"]))
            .col(number(Mails::Attempts))
            .col(time(Mails::NextAt).null())
            .col(text(Mails::LastError).null())
            .col(time(Mails::CreatedAt).not_null())
            .col(time(Mails::SentAt).null())
            .to_owned(),
    ]
}

fn indexes() -> Vec<IndexCreateStatement> {
    fn index<const N: usize>(name: &str, table: impl IntoIden, columns: [DynIden; N]) -> IndexCreateStatement {
        let mut index = Index::create().name(name).table(table.into_iden()).to_owned();
        for column in columns {
            index.col(column);
        }
        index
    }
    vec![
        index("tickets_recipient", Tickets::Table, [Tickets::Recipient.into_iden(), Tickets::Purpose.into_iden()]),
        // Without decoys, which are found by their recipient only.
        index("tickets_user_id", Tickets::Table, [Tickets::UserId.into_iden(), Tickets::Purpose.into_iden()])
            .and_where(Expr::col(Tickets::UserId).is_not_null())
            .to_owned(),
        index("tickets_expires_at", Tickets::Table, [Tickets::ExpiresAt.into_iden()]),
        index("ticket_handles_ticket_id", TicketHandles::Table, [TicketHandles::TicketId.into_iden()]),
        index("tallies_expires_at", Tallies::Table, [Tallies::ExpiresAt.into_iden()]),
        // Only mails that are not done have a `next_at`.
        index("mails_next_at", Mails::Table, [Mails::Precedence.into_iden(), Mails::NextAt.into_iden()]),
        index("mails_state", Mails::Table, [Mails::State.into_iden(), Mails::Id.into_iden()]),
        index("mails_kind", Mails::Table, [Mails::Kind.into_iden(), Mails::Id.into_iden()]),
        index("mails_sent_at", Mails::Table, [Mails::SentAt.into_iden()]),
        // The notices to an account.
        index("mails_user_id", Mails::Table, [Mails::UserId.into_iden(), Mails::CreatedAt.into_iden()])
            .and_where(Expr::col(Mails::TicketId).is_null())
            .to_owned(),
        // The list of mails, which has no decoys.
        index("mails_listed", Mails::Table, [Mails::Id.into_iden()])
            .and_where(Expr::col(Mails::ToAddress).is_not_null())
            .to_owned(),
    ]
}

#[derive(DeriveIden)]
enum Users {
    Table,
    EmailVerified,
    Language,
}

#[derive(DeriveIden)]
enum Tickets {
    Table,
    Id,
    Purpose,
    UserId,
    Address,
    Recipient,
    Language,
    Attempts,
    Context,
    CreatedAt,
    ExpiresAt,
    UsedAt,
    VoidAt,
}

#[derive(DeriveIden)]
enum TicketHandles {
    Table,
    Digest,
    TicketId,
    Attempts,
    CreatedAt,
    ExpiresAt,
}

#[derive(DeriveIden)]
enum Tallies {
    Table,
    Key,
    Times,
    ExpiresAt,
}

#[derive(DeriveIden)]
enum Mails {
    Table,
    Id,
    Kind,
    UserId,
    ToAddress,
    Language,
    TicketId,
    Params,
    Precedence,
    State,
    Attempts,
    NextAt,
    LastError,
    CreatedAt,
    SentAt,
}
