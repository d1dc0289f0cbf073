//! Sessions: where a user is logged in. A row that is gone, or past `expires_at`, is a session that has ended.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::{Select, entity::prelude::*, sea_query::Expr};

use crate::values::{
    counters::Serial,
    ids::{SessionId, UserId},
};

/// A session.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "sessions")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: SessionId,
    pub user_id: UserId,
    pub client_id: String,
    pub created_at: DateTime<Utc>,
    /// When it began or was last refreshed: when `current` was made.
    pub last_used_at: DateTime<Utc>,
    /// The absolute end, however active the session is.
    pub expires_at: DateTime<Utc>,
    /// The client's address at log-in.
    pub address: Option<String>,
    pub user_agent: Option<String>,
    /// 32 random bytes: with them goes the proof in every refresh token of the session.
    pub refresh_secret: Vec<u8>,
    /// The serial of the refresh token to be used next. No serial is given out twice.
    pub current: Serial,
    /// The serial that `current` was given out for.
    pub parent: Option<Serial>,
    #[sea_orm(belongs_to, from = "user_id", to = "id")]
    pub user: BelongsTo<super::user::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// When it ends unless it is used again: idle for too long, or too old.
    #[must_use]
    pub fn ends_at(&self, idle_ttl: Duration) -> DateTime<Utc> {
        self.expires_at.min(self.last_used_at + idle_ttl)
    }
}

impl Entity {
    /// Gives a session its next serial, in exchange for `presented`. Decided by this one statement: false when another
    /// refresh has changed the session since it was read, and then nothing is changed here.
    ///
    /// # Errors
    /// Whatever the database says.
    pub async fn rotate(tx: &impl ConnectionTrait, read: &Model, presented: Serial, now: DateTime<Utc>) -> Result<bool, DbErr> {
        let done = Self::update_many()
            .col_expr(Column::Current, Expr::value(read.current.next()))
            .col_expr(Column::Parent, Expr::value(presented))
            .col_expr(Column::LastUsedAt, Expr::value(now))
            .filter(COLUMN.id.eq(read.id))
            .filter(COLUMN.current.eq(read.current))
            .exec(tx)
            .await?;
        Ok(done.rows_affected == 1)
    }

    /// The sessions of one user: whoever asks through this never reaches a stranger's.
    #[must_use]
    pub fn of(user_id: UserId) -> Select<Self> {
        Self::find().filter(COLUMN.user_id.eq(user_id))
    }
}
