//! Second factors: authenticator apps and passkeys, recovery codes, and the log-ins that wait for a factor. After this migration,
//! the program removes grants of the permission that is Vestibule's own from now on.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in tables() {
            manager.create_table(table).await?;
        }
        for index in indexes() {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tables = [
            RedeemedCeremonies::Table.into_iden(),
            Challenges::Table.into_iden(),
            RecoveryCodes::Table.into_iden(),
            PendingTotps::Table.into_iden(),
            Factors::Table.into_iden(),
        ];
        for table in tables {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
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
    ColumnDef::new(column).big_integer().to_owned()
}

fn blob(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).blob().to_owned()
}

fn time(column: impl IntoIden) -> ColumnDef {
    ColumnDef::new(column).timestamp_with_time_zone().to_owned()
}

fn one_of<const N: usize>(column: impl IntoIden, values: [&'static str; N]) -> ColumnDef {
    let column = column.into_iden();
    text(column.clone()).not_null().check(Expr::col(column).is_in(values)).to_owned()
}

/// The rows of a table are deleted with the user whom they name.
fn of_user(table: impl IntoIden, column: impl IntoIden) -> ForeignKeyCreateStatement {
    let (table, column) = (table.into_iden(), column.into_iden());
    ForeignKey::create().from(table, column).to(Users::Table, Users::Id).on_delete(ForeignKeyAction::Cascade).to_owned()
}

fn tables() -> Vec<TableCreateStatement> {
    vec![
        Table::create()
            .table(Factors::Table)
            .col(id(Factors::Id).not_null().primary_key())
            .col(id(Factors::UserId).not_null())
            .col(one_of(Factors::Kind, ["totp", "passkey"]))
            .col(text(Factors::Name).not_null())
            .col(blob(Factors::Sealed).not_null())
            .col(number(Factors::Ordinal).null())
            .col(number(Factors::LastStep).null())
            .col(blob(Factors::CredentialId).null())
            .col(text(Factors::RpId).null())
            .col(ColumnDef::new(Factors::BackedUp).boolean().null())
            .col(time(Factors::CreatedAt).not_null())
            .col(time(Factors::LastUsedAt).null())
            .foreign_key(&mut of_user(Factors::Table, Factors::UserId))
            .to_owned(),
        Table::create()
            .table(PendingTotps::Table)
            .col(id(PendingTotps::Id).not_null().primary_key())
            .col(id(PendingTotps::UserId).not_null())
            .col(text(PendingTotps::Name).not_null())
            .col(blob(PendingTotps::Sealed).not_null())
            .col(number(PendingTotps::Ordinal).not_null())
            .col(time(PendingTotps::CreatedAt).not_null())
            .col(time(PendingTotps::ExpiresAt).not_null())
            .foreign_key(&mut of_user(PendingTotps::Table, PendingTotps::UserId))
            .to_owned(),
        Table::create()
            .table(RecoveryCodes::Table)
            .col(blob(RecoveryCodes::Digest).primary_key())
            .col(id(RecoveryCodes::UserId).not_null())
            .col(time(RecoveryCodes::CreatedAt).not_null())
            .col(time(RecoveryCodes::UsedAt).null())
            .foreign_key(&mut of_user(RecoveryCodes::Table, RecoveryCodes::UserId))
            .to_owned(),
        Table::create()
            .table(Challenges::Table)
            .col(blob(Challenges::Digest).primary_key())
            .col(id(Challenges::UserId).not_null())
            .col(one_of(Challenges::Purpose, ["log_in", "reset", "revert"]))
            .col(id(Challenges::TicketId).null())
            .col(blob(Challenges::AccountState).not_null())
            .col(number(Challenges::Attempts).not_null())
            .col(time(Challenges::CreatedAt).not_null())
            .col(time(Challenges::ExpiresAt).not_null())
            .col(time(Challenges::UsedAt).null())
            .col(time(Challenges::VoidAt).null())
            .foreign_key(&mut of_user(Challenges::Table, Challenges::UserId))
            .to_owned(),
        // No foreign key: which ceremonies there were is recorded nowhere, only which of them were redeemed.
        Table::create()
            .table(RedeemedCeremonies::Table)
            .col(id(RedeemedCeremonies::Id).not_null().primary_key())
            .col(time(RedeemedCeremonies::ExpiresAt).not_null())
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
        index("factors_user_id", Factors::Table, [Factors::UserId.into_iden(), Factors::Id.into_iden()]),
        index("factors_credential_id", Factors::Table, [Factors::CredentialId.into_iden()])
            .and_where(Expr::col(Factors::CredentialId).is_not_null())
            .unique()
            .to_owned(),
        index("pending_totps_user_id", PendingTotps::Table, [PendingTotps::UserId.into_iden(), PendingTotps::Id.into_iden()]),
        index("pending_totps_expires_at", PendingTotps::Table, [PendingTotps::ExpiresAt.into_iden()]),
        index("recovery_codes_user_id", RecoveryCodes::Table, [RecoveryCodes::UserId.into_iden()]),
        index("challenges_user_id", Challenges::Table, [Challenges::UserId.into_iden()]),
        index("challenges_expires_at", Challenges::Table, [Challenges::ExpiresAt.into_iden()]),
        index("redeemed_ceremonies_expires_at", RedeemedCeremonies::Table, [RedeemedCeremonies::ExpiresAt.into_iden()]),
    ]
}

#[derive(DeriveIden)]
enum Users {
    Table,
    Id,
}

#[derive(DeriveIden)]
enum Factors {
    Table,
    Id,
    UserId,
    Kind,
    Name,
    Sealed,
    Ordinal,
    LastStep,
    CredentialId,
    RpId,
    BackedUp,
    CreatedAt,
    LastUsedAt,
}

#[derive(DeriveIden)]
enum PendingTotps {
    Table,
    Id,
    UserId,
    Name,
    Sealed,
    Ordinal,
    CreatedAt,
    ExpiresAt,
}

#[derive(DeriveIden)]
enum RecoveryCodes {
    Table,
    Digest,
    UserId,
    CreatedAt,
    UsedAt,
}

#[derive(DeriveIden)]
enum Challenges {
    Table,
    Digest,
    UserId,
    Purpose,
    TicketId,
    AccountState,
    Attempts,
    CreatedAt,
    ExpiresAt,
    UsedAt,
    VoidAt,
}

#[derive(DeriveIden)]
enum RedeemedCeremonies {
    Table,
    Id,
    ExpiresAt,
}
