//! The networks from which each account has logged in. A key is a digest of both, so the table reveals neither.

use chrono::{DateTime, Utc};
use sea_orm::{entity::prelude::*, sea_query::OnConflict};

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

    /// Inserts a row, or replaces the row with the same key.
    pub async fn write(tx: &impl ConnectionTrait, row: Model) -> Result<(), DbErr> {
        let over = OnConflict::column(Column::Key).update_column(Column::ExpiresAt).to_owned();
        Self::insert(ActiveModel::from(row)).on_conflict(over).exec_without_returning(tx).await?;
        Ok(())
    }
}
