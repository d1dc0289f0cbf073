//! The revocation feed, numbered in commit order. Every process that verifies tokens follows it.

use chrono::{DateTime, Utc};
use sea_orm::{QueryOrder, QuerySelect, entity::prelude::*};

use crate::values::{
    counters::{Epoch, FeedPosition},
    ids::{SessionId, UserId},
};

/// A revocation. There are no relations, because a row outlives the session and the user that it names.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "revocations")]
pub struct Model {
    /// Unset on insert: the database draws the number, and never draws one twice.
    #[sea_orm(primary_key)]
    pub seq: FeedPosition,
    pub kind: RevocationKind,
    /// The ended session.
    pub session_id: Option<SessionId>,
    /// The user with stale tokens.
    pub user_id: Option<UserId>,
    /// The minimum epoch that the user's tokens must carry.
    pub least_epoch: Option<Epoch>,
    pub created_at: DateTime<Utc>,
    /// When every token that the row concerns has expired.
    pub expires_at: DateTime<Utc>,
}

impl ActiveModelBehavior for ActiveModel {}

/// The kind of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum RevocationKind {
    /// The session `session_id` has ended.
    SessionEnded,
    /// The tokens of `user_id` with an older epoch than `least_epoch` are stale.
    TokensStale,
    /// The permissions of a role have changed: load the role map again.
    RolesChanged,
    /// The signing keys have changed: load the key ring again.
    KeysChanged,
}

/// The maximum number of rows that [`after`] returns.
pub const PAGE: u64 = 5_000;

/// Returns the first [`PAGE`] rows after a position, in order.
pub async fn after<C: ConnectionTrait>(conn: &C, position: FeedPosition) -> Result<Vec<Model>, DbErr> {
    Entity::find().filter(COLUMN.seq.gt(position)).order_by_asc(COLUMN.seq).limit(PAGE).all(conn).await
}
