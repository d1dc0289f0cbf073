//! What each role grants.

use sea_orm::ActiveValue::Set;
use sea_orm::entity::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

/// A permission that a role grants.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "role_permissions")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub role: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub permission: String,
    #[sea_orm(belongs_to, from = "role", to = "name", relation_enum = "Grantor")]
    pub grantor: BelongsTo<super::role::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}

/// Every role that grants something, with what it grants. `admin` is not among them: it grants everything.
///
/// # Errors
/// Whatever the database says.
pub async fn all<C: ConnectionTrait>(conn: &C) -> Result<BTreeMap<String, BTreeSet<String>>, DbErr> {
    let mut granted = BTreeMap::<_, BTreeSet<_>>::new();
    for row in Entity::find().all(conn).await? {
        granted.entry(row.role).or_default().insert(row.permission);
    }
    Ok(granted)
}

/// Makes a role grant exactly these permissions.
///
/// # Errors
/// Whatever the database says.
pub async fn replace(tx: &impl ConnectionTrait, role: &str, permissions: impl Iterator<Item = String>) -> Result<(), DbErr> {
    let rows: Vec<_> = permissions.map(|it| ActiveModel { role: Set(role.to_owned()), permission: Set(it) }).collect();
    Entity::delete_many().filter(COLUMN.role.eq(role)).exec(tx).await?;
    Entity::insert_many(rows).exec_without_returning(tx).await?;
    Ok(())
}
