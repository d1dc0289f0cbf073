//! The permissions that each role grants.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, entity::prelude::*};
use serde_json::json;

use super::{audit_event, json::JsonText};
use crate::values::{ids::EventId, permission::PermissionName, role_name::RoleName};

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

/// The kind of the audit event that [`reclaim`] writes.
pub const RECLAIMED: &str = "role.permissions_removed";

/// Takes permissions from every role, because their names have become Vestibule's own: a role that an application gave such a
/// name must not give access to Vestibule. Writes an audit event for each role, and returns the roles.
pub async fn reclaim<C: ConnectionTrait>(
    conn: &C,
    names: &[&&str],
    now: DateTime<Utc>,
) -> Result<BTreeMap<RoleName, BTreeSet<PermissionName>>, DbErr> {
    let named = Column::Permission.is_in(names.iter().map(|name| **name));
    let mut removed = BTreeMap::<_, BTreeSet<_>>::new();
    for row in Entity::find().filter(named.clone()).all(conn).await? {
        removed.entry(row.role).or_default().insert(row.permission);
    }
    Entity::delete_many().filter(named).exec(conn).await?;
    for (role, permissions) in &removed {
        let event = audit_event::ActiveModel {
            id: Set(EventId::new(now)),
            at: Set(now),
            kind: Set(RECLAIMED.to_owned()),
            actor_id: Set(None),
            actor_name: Set(None),
            subject_type: Set(Some("role".to_owned())),
            subject_id: Set(Some(role.to_string())),
            subject_name: Set(None),
            address: Set(None),
            session_id: Set(None),
            request_id: Set(None),
            details: Set(JsonText(json!({ "permissions": permissions }))),
        };
        audit_event::Entity::insert(event).exec_without_returning(conn).await?;
    }
    Ok(removed)
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
