//! The networks from which each account has logged in. A key is a digest of both, so the table reveals neither.

use chrono::{DateTime, Utc};
use sea_orm::{
    entity::prelude::*,
    sea_query::{Expr, OnConflict},
};

/// A network from which an account has logged in.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "known_networks")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: Vec<u8>,
    /// When the network is no longer known to the account.
    pub expires_at: DateTime<Utc>,
}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// Returns whether a network is known at `now`.
    pub async fn is_known(conn: &impl ConnectionTrait, key: &[u8], now: DateTime<Utc>) -> Result<bool, DbErr> {
        Ok(Self::find_by_id(key.to_vec()).one(conn).await?.is_some_and(|known| known.expires_at > now))
    }

    /// Makes a network known until `expires_at`. Returns whether it was not known at `now`.
    pub async fn remember(
        tx: &impl ConnectionTrait,
        key: &[u8],
        now: DateTime<Utc>,
        expires_at: DateTime<Utc>,
    ) -> Result<bool, DbErr> {
        let known = Self::update_many().col_expr(Column::ExpiresAt, Expr::value(expires_at)).filter(Column::Key.eq(key.to_vec()));
        if known.filter(COLUMN.expires_at.gt(now)).exec(tx).await?.rows_affected > 0 {
            return Ok(false);
        }
        let over = OnConflict::column(Column::Key).update_column(Column::ExpiresAt).to_owned();
        let row = ActiveModel::from(Model { key: key.to_vec(), expires_at });
        Self::insert(row).on_conflict(over).exec_without_returning(tx).await?;
        Ok(true)
    }
}
