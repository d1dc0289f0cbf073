//! The roles that each user holds.

use std::{
    borrow::Borrow,
    collections::{BTreeMap, BTreeSet},
};

use sea_orm::{ActiveValue::Set, QueryOrder, entity::prelude::*};

use crate::values::{ids::UserId, role_name::RoleName};

/// A role that a user holds.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "user_roles")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub user_id: UserId,
    #[sea_orm(primary_key, auto_increment = false)]
    pub role: RoleName,
    #[sea_orm(belongs_to, from = "user_id", to = "id")]
    pub holder: BelongsTo<super::user::Entity>,
    #[sea_orm(belongs_to, from = "role", to = "name")]
    pub held: BelongsTo<super::role::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// Returns the names of the roles that a user holds, sorted by their bytes.
    pub async fn of<C: ConnectionTrait>(conn: &C, user_id: UserId) -> Result<Vec<RoleName>, DbErr> {
        Ok(Self::of_each(conn, [user_id]).await?.remove(&user_id).unwrap_or_default())
    }

    /// Does the same for many users in one query. A user without roles is missing from the map.
    pub async fn of_each<C: ConnectionTrait>(
        conn: &C,
        user_ids: impl IntoIterator<Item = UserId>,
    ) -> Result<BTreeMap<UserId, Vec<RoleName>>, DbErr> {
        let rows = Self::find().filter(COLUMN.user_id.is_in(user_ids)).order_by_asc(COLUMN.role).all(conn).await?;
        let mut roles = BTreeMap::<_, Vec<_>>::new();
        for row in rows {
            roles.entry(row.user_id).or_default().push(row.role);
        }
        Ok(roles)
    }
}

/// Makes a user hold exactly these roles. A role that is named twice counts once. Fails with a violation of a foreign key if
/// the user or one of the roles does not exist.
pub async fn replace(
    tx: &impl ConnectionTrait,
    user_id: UserId,
    roles: impl IntoIterator<Item: Borrow<RoleName>>,
) -> Result<(), DbErr> {
    let roles: BTreeSet<_> = roles.into_iter().map(|role| role.borrow().clone()).collect();
    let rows = roles.into_iter().map(|role| ActiveModel { user_id: Set(user_id), role: Set(role) });
    Entity::delete_many().filter(COLUMN.user_id.eq(user_id)).exec(tx).await?;
    Entity::insert_many(rows).exec_without_returning(tx).await?;
    Ok(())
}
