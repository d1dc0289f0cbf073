//! From where an account has logged in. Keys are digests of both: the table tells neither.

use chrono::{DateTime, Utc};
use sea_orm::{entity::prelude::*, sea_query::OnConflict};

/// Some account has logged in from some network.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "known_networks")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: Vec<u8>,
    /// When that was too long ago.
    pub expires_at: DateTime<Utc>,
}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// Writes a row, over that of the same key.
    ///
    /// # Errors
    /// Whatever the database says.
    pub async fn write(tx: &impl ConnectionTrait, row: Model) -> Result<(), DbErr> {
        let over = OnConflict::column(Column::Key).update_column(Column::ExpiresAt).to_owned();
        Self::insert(ActiveModel::from(row)).on_conflict(over).exec_without_returning(tx).await?;
        Ok(())
    }
}
