//! The roles that each user holds.

use std::{borrow::Borrow, collections::BTreeSet};

use sea_orm::{
    ActiveValue::Set,
    ExprTrait, QueryOrder,
    entity::prelude::*,
    sea_query::{Func, Query},
};

use super::user;
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
        let rows = Self::find().filter(COLUMN.user_id.eq(user_id)).order_by_asc(COLUMN.role).all(conn).await?;
        Ok(rows.into_iter().map(|row| row.role).collect())
    }
}

/// The names of the roles that each user of a query holds, separated by spaces: so one statement reads users and their roles.
/// `NULL` for a user without roles.
pub(super) fn names() -> Expr {
    let names = Func::cust("string_agg").arg(Expr::col((Entity, Column::Role))).arg(" ");
    let holds = Expr::col((Entity, Column::UserId)).equals((user::Entity, user::Column::Id));
    Query::select().expr(names).from(Entity).and_where(holds).to_owned().into()
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
