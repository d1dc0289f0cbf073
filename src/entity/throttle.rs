//! The attempts that the throttle has counted. Keys are digests, so the table reveals neither accounts nor addresses.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, QueryOrder, QuerySelect, entity::prelude::*, sea_query::OnConflict};

/// The attempts that count against one backoff.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "throttles")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: Vec<u8>,
    /// When the last of the attempts expires.
    #[sea_orm(column_name = "forgiven_at")]
    pub expires_at: DateTime<Utc>,
    pub last_at: DateTime<Utc>,
}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// Returns the rows with these keys, as far as they exist.
    pub async fn of<C: ConnectionTrait>(conn: &C, keys: &[Vec<u8>]) -> Result<Vec<Model>, DbErr> {
        Self::find().filter(Column::Key.is_in(keys.iter().cloned())).all(conn).await
    }

    /// Returns the rows with these keys, locked until the transaction ends. Missing rows are inserted.
    pub async fn locked(tx: &impl ConnectionTrait, keys: &[Vec<u8>]) -> Result<Vec<Model>, DbErr> {
        let never = DateTime::UNIX_EPOCH;
        let rows = keys.iter().map(|key| Model { key: key.clone(), expires_at: never, last_at: never }.into());
        Self::insert_many::<ActiveModel, _>(rows).on_conflict_do_nothing().exec_without_returning(tx).await?;
        // Locked in the order of the keys, so that two transactions do not wait for each other.
        let rows = Self::find().filter(Column::Key.is_in(keys.iter().cloned())).order_by_asc(Column::Key);
        rows.lock_exclusive().all(tx).await
    }

    /// Resets the attempts of a row. The row stays, because another transaction may be waiting for its lock.
    pub async fn forgive(tx: &impl ConnectionTrait, key: &[u8]) -> Result<(), DbErr> {
        let never = DateTime::UNIX_EPOCH;
        let nothing = ActiveModel { expires_at: Set(never), last_at: Set(never), ..Default::default() };
        Self::update_many().set(nothing).filter(Column::Key.eq(key)).exec(tx).await?;
        Ok(())
    }

    /// Inserts rows, or replaces the rows with the same keys.
    pub async fn write(tx: &impl ConnectionTrait, rows: Vec<Model>) -> Result<(), DbErr> {
        let rows = rows.into_iter().map(ActiveModel::from);
        let over = OnConflict::column(Column::Key).update_columns([Column::ExpiresAt, Column::LastAt]).to_owned();
        Self::insert_many(rows).on_conflict(over).exec_without_returning(tx).await?;
        Ok(())
    }
}
