//! The ceremonies of passkeys that were redeemed. A ceremony is text that the client keeps, so that strangers cannot write rows;
//! only its redemption is a row.

use chrono::{DateTime, Utc};
use sea_orm::{TryInsertResult, entity::prelude::*};
use uuid::Uuid;

/// A ceremony that cannot be redeemed again.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "redeemed_ceremonies")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// When the ceremony expires, and the row is no longer needed.
    pub expires_at: DateTime<Utc>,
}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// Redeems a ceremony, once. Returns false if it was redeemed before.
    pub async fn redeem(tx: &impl ConnectionTrait, id: Uuid, expires_at: DateTime<Utc>) -> Result<bool, DbErr> {
        let row = ActiveModel::from(Model { id, expires_at });
        let inserted = Self::insert_many([row]).on_conflict_do_nothing().exec_without_returning(tx).await?;
        Ok(matches!(inserted, TryInsertResult::Inserted(1)))
    }
}
