//! Roles: names under which permissions are granted.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

/// A role. The built-in ones, `admin` and `user`, come with the first migration and never go.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "roles")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
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
    /// The names of all roles.
    ///
    /// # Errors
    /// Whatever the database says.
    pub async fn names<C: ConnectionTrait>(conn: &C) -> Result<BTreeSet<String>, DbErr> {
        Ok(Self::find().all(conn).await?.into_iter().map(|role| role.name).collect())
    }
}
