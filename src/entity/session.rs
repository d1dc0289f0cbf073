//! Sessions: where a user is logged in. A row that is gone, or past `expires_at`, is a session that has ended.

use crate::values::ids::{SessionId, UserId};
use chrono::{DateTime, Utc};
use sea_orm::Select;
use sea_orm::entity::prelude::*;

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
    pub last_used_at: DateTime<Utc>,
    /// The absolute end, however active the session is.
    pub expires_at: DateTime<Utc>,
    /// The client's address at log-in.
    pub address: Option<String>,
    pub user_agent: Option<String>,
    #[sea_orm(belongs_to, from = "user_id", to = "id")]
    pub user: BelongsTo<super::user::Entity>,
}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The sessions of one user: whoever asks through this never reaches a stranger's.
    #[must_use]
    pub fn of(user_id: UserId) -> Select<Self> {
        Self::find().filter(COLUMN.user_id.eq(user_id))
    }
}
