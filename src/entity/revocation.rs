//! The feed of revocations: numbered in commit order, followed by every process that verifies tokens.

use chrono::{DateTime, Utc};
use sea_orm::{QueryOrder, QuerySelect, entity::prelude::*};

use crate::values::{
    counters::{Epoch, FeedPosition},
    ids::{SessionId, UserId},
};

/// Something was taken away. There are no relations: a row outlives what it speaks of.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "revocations")]
pub struct Model {
    /// Left unset on insert: the database numbers, and uses no number twice.
    #[sea_orm(primary_key)]
    pub seq: FeedPosition,
    pub kind: Kind,
    /// The session that ended.
    pub session_id: Option<SessionId>,
    /// The user whose tokens are stale.
    pub user_id: Option<UserId>,
    /// The least `epoch` that this user's tokens must carry from now on.
    pub least_epoch: Option<Epoch>,
    pub created_at: DateTime<Utc>,
    /// No token it could concern lives beyond this.
    pub expires_at: DateTime<Utc>,
}

impl ActiveModelBehavior for ActiveModel {}

/// What was taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Kind {
    /// The session `session_id`.
    SessionEnded,
    /// The tokens of `user_id` below `least_epoch`.
    TokensStale,
    /// What some role grants: read the role map again.
    RolesChanged,
    /// Which keys sign and are trusted: read the key ring again.
    KeysChanged,
}

/// How many rows [`after`] gives at most.
pub const PAGE: u64 = 5_000;

/// What came after number `seq`, in order: the first [`PAGE`] of it.
///
/// # Errors
/// Whatever the database says.
pub async fn after<C: ConnectionTrait>(conn: &C, position: FeedPosition) -> Result<Vec<Model>, DbErr> {
    Entity::find().filter(COLUMN.seq.gt(position)).order_by_asc(COLUMN.seq).limit(PAGE).all(conn).await
}
