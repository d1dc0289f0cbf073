//! Roles: named sets of permissions.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sea_orm::{QuerySelect, entity::prelude::*};

use crate::values::role_name::RoleName;

/// A role. The first migration inserts the built-in roles `admin` and `user`, which are never deleted.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "roles")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: RoleName,
    pub description: Option<String>,
    pub built_in: bool,
    pub created_at: DateTime<Utc>,
    pub updated_at: DateTime<Utc>,
    #[sea_orm(has_many)]
    pub permissions: HasMany<super::role_permission::Entity>,
    #[sea_orm(has_many, via = "user_role")]
    pub users: HasMany<super::user::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// Returns the names of all roles.
    pub async fn names<C: ConnectionTrait>(conn: &C) -> Result<BTreeSet<RoleName>, DbErr> {
        Ok(Self::find().all(conn).await?.into_iter().map(|role| role.name).collect())
    }

    /// Locks the row of the built-in role `admin` until the transaction ends.
    pub async fn lock_admin(tx: &impl ConnectionTrait) -> Result<(), DbErr> {
        Self::find_by_id(RoleName::admin()).lock_exclusive().one(tx).await.map(drop)
    }
}
