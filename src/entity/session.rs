//! Sessions. A session has ended if its row was deleted or `expires_at` has passed.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::{DerivePartialModel, QueryOrder, QuerySelect, Select, entity::prelude::*, sea_query::Expr};

use crate::values::{
    authentication::{Acr, Amr, Authentication, FactorIds},
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
    /// When the session began or was last refreshed: when `current` was issued.
    pub last_used_at: DateTime<Utc>,
    /// When the session ends, however often it is refreshed.
    pub expires_at: DateTime<Utc>,
    /// The client's address at the log-in.
    pub address: Option<String>,
    pub user_agent: Option<String>,
    /// 32 random bytes, from which the key of the refresh tokens' MACs is derived.
    pub refresh_secret: Vec<u8>,
    /// The serial of the refresh token to be used next. No serial is issued twice.
    pub current: Serial,
    /// The serial for which `current` was issued.
    pub parent: Option<Serial>,
    /// When the user was last authenticated in this session. A refresh changes neither this nor the next three columns.
    pub auth_time: DateTime<Utc>,
    pub acr: Acr,
    pub amr: Amr,
    /// The factors with which the session was begun or raised. It ends when one of them is removed.
    pub factors: FactorIds,
    #[sea_orm(belongs_to, from = "user_id", to = "id")]
    pub user: BelongsTo<super::user::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}

/// The columns that decide when a session has ended.
#[derive(Clone, Copy, Debug, DerivePartialModel)]
#[sea_orm(entity = "Entity", from_query_result)]
pub struct Ends {
    pub id: SessionId,
    pub last_used_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

impl Model {
    /// Returns how the session's user was authenticated.
    pub fn authentication(&self) -> Authentication {
        let Self { auth_time, acr, amr, .. } = *self;
        Authentication { auth_time, acr, amr, factors: self.factors.clone() }
    }

    /// Returns when the session ends unless it is refreshed: it is idle for too long, or too old.
    pub fn ends_at(&self, idle_ttl: Duration) -> DateTime<Utc> {
        self.expires_at.min(self.last_used_at + idle_ttl)
    }
}

impl Entity {
    /// Gives a session its next serial in exchange for `presented`, in one statement. Returns false, and changes nothing, if
    /// another refresh has changed the session since it was read.
    pub async fn rotate(tx: &impl ConnectionTrait, read: &Model, presented: Serial, now: DateTime<Utc>) -> Result<bool, DbErr> {
        let updated = Self::update_many()
            .col_expr(Column::Current, Expr::value(read.current.next()))
            .col_expr(Column::Parent, Expr::value(presented))
            .col_expr(Column::LastUsedAt, Expr::value(now))
            .filter(COLUMN.id.eq(read.id))
            .filter(COLUMN.current.eq(read.current))
            .exec(tx)
            .await?;
        Ok(updated.rows_affected == 1)
    }

    /// Returns the sessions with these ids, in any order.
    pub async fn with_ids(conn: &impl ConnectionTrait, ids: &[SessionId]) -> Result<Vec<Model>, DbErr> {
        Self::find().filter(COLUMN.id.is_in(ids.iter().copied())).all(conn).await
    }

    /// Returns when the sessions end that began before `before`: the first thousand whose ids come after `last`.
    pub async fn begun_before(
        conn: &impl ConnectionTrait,
        before: DateTime<Utc>,
        last: Option<SessionId>,
    ) -> Result<Vec<Ends>, DbErr> {
        let mut query = Self::find().filter(COLUMN.id.lt(SessionId::first_of(before)));
        if let Some(last) = last {
            query = query.filter(COLUMN.id.gt(last));
        }
        query.order_by_asc(COLUMN.id).limit(1_000).into_partial_model().all(conn).await
    }

    /// Selects the sessions of one user, so that a caller never reaches the session of another user.
    pub fn of(user_id: UserId) -> Select<Self> {
        Self::find().filter(COLUMN.user_id.eq(user_id))
    }
}
