//! The database schema, with one dated file per change. A released file is never edited: every further change is a new file.

use sea_orm_migration::{prelude::*, sea_orm::EntityTrait, seaql_migrations};

pub use sea_orm_migration::MigratorTrait;

mod m20261122_000001_first;
mod m20261125_000002_refresh;
mod m20261125_000003_keys;
mod m20261125_000004_throttle;
mod m20261126_000010_installation;
mod m20261126_000040_search;
mod m20261126_000050_mail;
mod m20261126_000060_invitations;
mod m20261126_000070_sign_in_notices;
mod m20261126_000071_pending_email;
mod m20261126_000080_assurance;
mod m20261126_000090_second_factors;
mod m20261126_000100_generation;
mod m20261127_000110_erasure;

/// The migration after which the program fills the table `user_words`.
pub const SEARCH: &str = "m20261126_000040_search";
/// The migration after which the program removes grants of permissions whose names have become Vestibule's own.
pub const MAIL: &str = "m20261126_000050_mail";
/// The migration after which sessions say how their users were authenticated.
pub const ASSURANCE: &str = "m20261126_000080_assurance";
/// As [`MAIL`], for one more permission.
pub const SECOND_FACTORS: &str = "m20261126_000090_second_factors";

/// All migrations, oldest first.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261122_000001_first::Migration),
            Box::new(m20261125_000002_refresh::Migration),
            Box::new(m20261125_000003_keys::Migration),
            Box::new(m20261125_000004_throttle::Migration),
            Box::new(m20261126_000010_installation::Migration),
            Box::new(m20261126_000040_search::Migration),
            Box::new(m20261126_000050_mail::Migration),
            Box::new(m20261126_000060_invitations::Migration),
            Box::new(m20261126_000070_sign_in_notices::Migration),
            Box::new(m20261126_000071_pending_email::Migration),
            Box::new(m20261126_000080_assurance::Migration),
            Box::new(m20261126_000090_second_factors::Migration),
            Box::new(m20261126_000100_generation::Migration),
            Box::new(m20261127_000110_erasure::Migration),
        ]
    }
}

/// Returns the names of all migrations of this program, oldest first.
pub fn known() -> Vec<String> {
    Migrator::migrations().iter().map(|migration| migration.name().to_owned()).collect()
}

/// Returns the names of the migrations that were applied to the database, including those that this program does not know.
pub async fn applied<C: ConnectionTrait>(conn: &C) -> Result<Vec<String>, DbErr>
where
    for<'c> &'c C: IntoSchemaManagerConnection<'c>,
{
    let table = Migrator::migration_table_name().to_string();
    if !SchemaManager::new(conn).has_table(table).await? {
        return Ok(Vec::new());
    }
    let rows = seaql_migrations::Entity::find().all(conn).await?;
    Ok(rows.into_iter().map(|row| row.version).collect())
}
