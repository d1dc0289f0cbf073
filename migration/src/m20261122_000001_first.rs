//! The first schema: users, roles, sessions, the revocation feed, signing keys, secrets and the audit trail.

use sea_orm_migration::{prelude::*, sea_orm::DbBackend};

#[derive(DeriveMigrationName)]
pub struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let columns = Columns(manager.get_database_backend());
        for table in accounts(&columns).into_iter().chain(records(&columns)) {
            manager.create_table(table).await?;
        }
        for index in indexes() {
            manager.create_index(index).await?;
        }
        manager.execute(built_in_roles(&columns)).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let tables = [
            AuditEvents::Table.into_iden(),
            Secrets::Table.into_iden(),
            SigningKeys::Table.into_iden(),
            Revocations::Table.into_iden(),
            Sessions::Table.into_iden(),
            UserRoles::Table.into_iden(),
            RolePermissions::Table.into_iden(),
            Roles::Table.into_iden(),
            Users::Table.into_iden(),
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

/// Columns that behave the same on both databases.
struct Columns(DbBackend);

impl Columns {
    /// Text that is compared and sorted byte by byte, which is the default of SQLite.
    fn name(&self, column: impl IntoIden) -> ColumnDef {
        let mut column = ColumnDef::new(column);
        column.text();
        if self.0 == DbBackend::Postgres {
            column.extra(r#"COLLATE "C""#);
        }
        column
    }

    /// The current time in whole seconds, in the format that the program writes.
    fn now(&self) -> Expr {
        match self.0 {
            DbBackend::Sqlite => Expr::cust("strftime('%Y-%m-%dT%H:%M:%S+00:00', 'now')"),
            _ => Expr::cust("date_trunc('second', now())"),
        }
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

/// Users, roles and sessions.
fn accounts(columns: &Columns) -> Vec<TableCreateStatement> {
    vec![
        Table::create()
            .table(Users::Table)
            .col(id(Users::Id).not_null().primary_key())
            .col(columns.name(Users::Email).not_null())
            .col(columns.name(Users::Username).null())
            .col(text(Users::Name).null())
            .col(one_of(Users::Status, ["active", "disabled"]))
            .col(text(Users::PasswordHash).null())
            .col(number(Users::Epoch).not_null())
            .col(number(Users::Revision).not_null())
            .col(time(Users::CreatedAt).not_null())
            .col(time(Users::UpdatedAt).not_null())
            .col(time(Users::LastLoginAt).null())
            .to_owned(),
        Table::create()
            .table(Roles::Table)
            .col(columns.name(Roles::Name).not_null().primary_key())
            .col(text(Roles::Description).null())
            .col(ColumnDef::new(Roles::BuiltIn).boolean().not_null())
            .col(time(Roles::CreatedAt).not_null())
            .col(time(Roles::UpdatedAt).not_null())
            .to_owned(),
        Table::create()
            .table(RolePermissions::Table)
            .col(columns.name(RolePermissions::Role).not_null())
            .col(columns.name(RolePermissions::Permission).not_null())
            .primary_key(Index::create().col(RolePermissions::Role).col(RolePermissions::Permission))
            .foreign_key(
                ForeignKey::create()
                    .from(RolePermissions::Table, RolePermissions::Role)
                    .to(Roles::Table, Roles::Name)
                    .on_delete(ForeignKeyAction::Cascade),
            )
            .to_owned(),
        Table::create()
            .table(UserRoles::Table)
            .col(id(UserRoles::UserId).not_null())
            .col(columns.name(UserRoles::Role).not_null())
            .primary_key(Index::create().col(UserRoles::UserId).col(UserRoles::Role))
            .foreign_key(
                ForeignKey::create()
                    .from(UserRoles::Table, UserRoles::UserId)
                    .to(Users::Table, Users::Id)
                    .on_delete(ForeignKeyAction::Cascade),
            )
            // RESTRICT would prevent the same deletions, but with other error codes (1811 on SQLite, 23001 on PostgreSQL 18).
            .foreign_key(
                ForeignKey::create()
                    .from(UserRoles::Table, UserRoles::Role)
                    .to(Roles::Table, Roles::Name)
                    .on_delete(ForeignKeyAction::NoAction),
            )
            .to_owned(),
        Table::create()
            .table(Sessions::Table)
            .col(id(Sessions::Id).not_null().primary_key())
            .col(id(Sessions::UserId).not_null())
            .col(text(Sessions::ClientId).not_null())
            .col(time(Sessions::CreatedAt).not_null())
            .col(time(Sessions::LastUsedAt).not_null())
            .col(time(Sessions::ExpiresAt).not_null())
            .col(text(Sessions::Address).null())
            .col(text(Sessions::UserAgent).null())
            .foreign_key(
                ForeignKey::create()
                    .from(Sessions::Table, Sessions::UserId)
                    .to(Users::Table, Users::Id)
                    .on_delete(ForeignKeyAction::Cascade),
            )
            .to_owned(),
    ]
}

/// Revocations, signing keys, secrets and audit events.
fn records(columns: &Columns) -> Vec<TableCreateStatement> {
    vec![
        // No foreign keys: a revocation outlives its user and its session.
        Table::create()
            .table(Revocations::Table)
            // AUTOINCREMENT on SQLite, so that a number is not used again after its row was purged. A follower that has read up
            // to 41 would miss a second 41.
            .col(number(Revocations::Seq).not_null().auto_increment().primary_key())
            .col(one_of(Revocations::Kind, ["session_ended", "tokens_stale", "roles_changed"]))
            .col(id(Revocations::SessionId).null())
            .col(id(Revocations::UserId).null())
            .col(number(Revocations::LeastEpoch).null())
            .col(time(Revocations::CreatedAt).not_null())
            .col(time(Revocations::ExpiresAt).not_null())
            .to_owned(),
        Table::create()
            .table(SigningKeys::Table)
            .col(columns.name(SigningKeys::Kid).not_null().primary_key())
            .col(text(SigningKeys::Algorithm).not_null())
            .col(blob(SigningKeys::PrivateKey).not_null())
            .col(text(SigningKeys::PublicJwk).not_null())
            .col(time(SigningKeys::CreatedAt).not_null())
            .col(time(SigningKeys::ActivatesAt).not_null())
            .col(time(SigningKeys::RetiresAt).null())
            .col(time(SigningKeys::RevokedAt).null())
            .to_owned(),
        Table::create()
            .table(Secrets::Table)
            .col(columns.name(Secrets::Name).not_null().primary_key())
            .col(blob(Secrets::Sealed).not_null())
            .col(time(Secrets::CreatedAt).not_null())
            .to_owned(),
        Table::create()
            .table(AuditEvents::Table)
            .col(id(AuditEvents::Id).not_null().primary_key())
            .col(time(AuditEvents::At).not_null())
            .col(columns.name(AuditEvents::Kind).not_null())
            .col(id(AuditEvents::ActorId).null())
            .col(text(AuditEvents::ActorName).null())
            .col(text(AuditEvents::SubjectType).null())
            .col(columns.name(AuditEvents::SubjectId).null())
            .col(text(AuditEvents::SubjectName).null())
            .col(text(AuditEvents::Address).null())
            .col(id(AuditEvents::SessionId).null())
            .col(id(AuditEvents::RequestId).null())
            .col(text(AuditEvents::Details).not_null())
            .to_owned(),
    ]
}

/// `entity/user.rs` uses the names of the unique indexes to find out whether the e-mail address or the username is taken.
fn indexes() -> Vec<IndexCreateStatement> {
    fn index<const N: usize>(name: &str, table: impl IntoIden, columns: [DynIden; N]) -> IndexCreateStatement {
        let mut index = Index::create().name(name).table(table.into_iden()).to_owned();
        for column in columns {
            index.col(column);
        }
        index
    }
    use AuditEvents as A;
    vec![
        index("users_email", Users::Table, [Users::Email.into_iden()]).unique().to_owned(),
        index("users_username", Users::Table, [Users::Username.into_iden()]).unique().to_owned(),
        index("users_status", Users::Table, [Users::Status.into_iden(), Users::Id.into_iden()]),
        index("users_status_email", Users::Table, [Users::Status.into_iden(), Users::Email.into_iden()]),
        index("user_roles_role", UserRoles::Table, [UserRoles::Role.into_iden(), UserRoles::UserId.into_iden()]),
        index("sessions_user_id", Sessions::Table, [Sessions::UserId.into_iden(), Sessions::Id.into_iden()]),
        index("revocations_expires_at", Revocations::Table, [Revocations::ExpiresAt.into_iden()]),
        index("audit_events_actor_id", A::Table, [A::ActorId.into_iden(), A::Id.into_iden()]),
        index("audit_events_subject_id", A::Table, [A::SubjectId.into_iden(), A::Id.into_iden()]),
        index("audit_events_kind", A::Table, [A::Kind.into_iden(), A::Id.into_iden()]),
        index("audit_events_at", A::Table, [A::At.into_iden()]),
    ]
}

fn built_in_roles(columns: &Columns) -> InsertStatement {
    let mut insert = Query::insert();
    insert.into_table(Roles::Table).columns([
        Roles::Name,
        Roles::Description,
        Roles::BuiltIn,
        Roles::CreatedAt,
        Roles::UpdatedAt,
    ]);
    for (name, description) in [
        ("admin", "Grants every permission. Cannot be changed."),
        ("user", "Grants no permission; users manage their own account without one."),
    ] {
        insert.values_panic([name.into(), description.into(), true.into(), columns.now(), columns.now()]);
    }
    insert
}

#[derive(DeriveIden)]
enum Users {
    Table,
    Id,
    Email,
    Username,
    Name,
    Status,
    PasswordHash,
    Epoch,
    Revision,
    CreatedAt,
    UpdatedAt,
    LastLoginAt,
}

#[derive(DeriveIden)]
enum Roles {
    Table,
    Name,
    Description,
    BuiltIn,
    CreatedAt,
    UpdatedAt,
}

#[derive(DeriveIden)]
enum RolePermissions {
    Table,
    Role,
    Permission,
}

#[derive(DeriveIden)]
enum UserRoles {
    Table,
    UserId,
    Role,
}

#[derive(DeriveIden)]
enum Sessions {
    Table,
    Id,
    UserId,
    ClientId,
    CreatedAt,
    LastUsedAt,
    ExpiresAt,
    Address,
    UserAgent,
}

#[derive(DeriveIden)]
enum Revocations {
    Table,
    Seq,
    Kind,
    SessionId,
    UserId,
    LeastEpoch,
    CreatedAt,
    ExpiresAt,
}

#[derive(DeriveIden)]
enum SigningKeys {
    Table,
    Kid,
    Algorithm,
    PrivateKey,
    PublicJwk,
    CreatedAt,
    ActivatesAt,
    RetiresAt,
    RevokedAt,
}

#[derive(DeriveIden)]
enum Secrets {
    Table,
    Name,
    Sealed,
    CreatedAt,
}

#[derive(DeriveIden)]
enum AuditEvents {
    Table,
    Id,
    At,
    Kind,
    ActorId,
    ActorName,
    SubjectType,
    SubjectId,
    SubjectName,
    Address,
    SessionId,
    RequestId,
    Details,
}
