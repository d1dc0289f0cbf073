//! Authenticator apps that are about to be enrolled. A row becomes a factor when its owner confirms it with a code; until then
//! the factors of the account stay as they are.

use chrono::{DateTime, Utc};
use sea_orm::{QueryOrder, Select, entity::prelude::*};

use crate::values::ids::{FactorId, UserId};

/// An authenticator app whose owner has not confirmed it yet.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "pending_totps")]
pub struct Model {
    /// The id that the factor will have.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: FactorId,
    pub user_id: UserId,
    pub name: String,
    /// The secret. Bound to the id.
    pub sealed: Vec<u8>,
    /// The number in the label, from 1.
    pub ordinal: i64,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// Selects those of one user, oldest first.
    pub fn of(user: UserId) -> Select<Self> {
        Self::find().filter(COLUMN.user_id.eq(user)).order_by_asc(COLUMN.id)
    }

    /// Deletes a row that becomes a factor. Returns false if another request has done so.
    pub async fn take(tx: &impl ConnectionTrait, id: FactorId) -> Result<bool, DbErr> {
        Ok(Self::delete_by_id(id).exec(tx).await?.rows_affected == 1)
    }

    /// Deletes those of a user.
    pub async fn delete_of(tx: &impl ConnectionTrait, user: UserId) -> Result<(), DbErr> {
        Self::delete_many().filter(COLUMN.user_id.eq(user)).exec(tx).await.map(drop)
    }
}
