//! Tallies: the times of recent events that a limit counts, such as the mails to an address. Keys are digests, so the table
//! reveals neither addresses nor networks.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, QueryOrder, QuerySelect, entity::prelude::*};

use crate::values::recent_times::RecentTimes;

/// The recent events under one key.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "tallies")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: Vec<u8>,
    pub times: RecentTimes,
    /// When the last event no longer counts.
    pub expires_at: DateTime<Utc>,
}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// Returns the rows with these keys in the order of the keys given, locked until the transaction ends. Missing rows are
    /// inserted.
    pub async fn locked<const N: usize>(tx: &impl ConnectionTrait, keys: &[Vec<u8>; N]) -> Result<[Model; N], DbErr> {
        let empty = |key: &Vec<u8>| Model { key: key.clone(), times: RecentTimes::default(), expires_at: DateTime::UNIX_EPOCH };
        let rows = keys.iter().map(|key| ActiveModel::from(empty(key)));
        Self::insert_many(rows).on_conflict_do_nothing().exec_without_returning(tx).await?;
        // Locked in the order of the keys, so that two transactions do not wait for each other.
        let rows = Self::find().filter(Column::Key.is_in(keys.iter().cloned())).order_by_asc(Column::Key);
        let rows = rows.lock_exclusive().all(tx).await?;
        Ok(keys.each_ref().map(|key| rows.iter().find(|row| row.key == *key).cloned().unwrap_or_else(|| empty(key))))
    }
}

impl Entity {
    /// Forgets the events under a key.
    pub async fn forget(tx: &impl ConnectionTrait, key: &[u8]) -> Result<(), DbErr> {
        let nothing = ActiveModel { times: Set(RecentTimes::default()), ..Default::default() };
        Self::update_many().set(nothing).filter(Column::Key.eq(key.to_vec())).exec(tx).await.map(drop)
    }
}

impl Model {
    /// Writes the row, which is locked.
    pub async fn write(self, tx: &impl ConnectionTrait) -> Result<(), DbErr> {
        let row = ActiveModel { times: Set(self.times), expires_at: Set(self.expires_at), ..Default::default() };
        Entity::update_many().set(row).filter(Column::Key.eq(self.key)).exec(tx).await.map(drop)
    }
}
