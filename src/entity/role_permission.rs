//! The permissions that each role grants.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::{ActiveValue::Set, entity::prelude::*};

use crate::values::{permission::PermissionName, role_name::RoleName};

/// A permission that a role grants.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "role_permissions")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub role: RoleName,
    #[sea_orm(primary_key, auto_increment = false)]
    pub permission: PermissionName,
    #[sea_orm(belongs_to, from = "role", to = "name", relation_enum = "Grantor")]
    pub grantor: BelongsTo<super::role::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}

/// Returns every role that has rows here, with its permissions. The role `admin` has none: it grants every permission.
pub async fn all<C: ConnectionTrait>(conn: &C) -> Result<BTreeMap<RoleName, BTreeSet<PermissionName>>, DbErr> {
    let mut granted = BTreeMap::<_, BTreeSet<_>>::new();
    for row in Entity::find().all(conn).await? {
        granted.entry(row.role).or_default().insert(row.permission);
    }
    Ok(granted)
}

/// Makes a role grant exactly these permissions.
pub async fn replace(
    tx: &impl ConnectionTrait,
    role: &RoleName,
    permissions: impl IntoIterator<Item = PermissionName>,
) -> Result<(), DbErr> {
    let row = |permission| ActiveModel { role: Set(role.clone()), permission: Set(permission) };
    let rows: Vec<_> = permissions.into_iter().map(row).collect();
    Entity::delete_many().filter(COLUMN.role.eq(role.clone())).exec(tx).await?;
    Entity::insert_many(rows).exec_without_returning(tx).await?;
    Ok(())
}
