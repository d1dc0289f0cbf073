//! The handles of tickets. Each client that requests a mail gets its own handle, with its own attempts at the code.

use chrono::{DateTime, Utc};
use sea_orm::{
    ExprTrait, QuerySelect, QueryTrait,
    entity::prelude::*,
    sea_query::{Expr, SelectStatement},
};

use crate::values::{ids::TicketId, ticket_handle::HandleDigest};

/// How many wrong codes a ticket, or one of its handles, permits.
pub const MAX_ATTEMPTS: i64 = 5;

/// A handle.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "ticket_handles")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub digest: HandleDigest,
    pub ticket_id: TicketId,
    /// The wrong codes that were sent with the handle.
    pub attempts: i64,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// Returns a handle, with the row locked until the transaction ends.
    pub async fn locked(tx: &impl ConnectionTrait, digest: &HandleDigest) -> Result<Option<Model>, DbErr> {
        Self::find_by_id(digest.clone()).lock_exclusive().one(tx).await
    }

    /// Counts a wrong code. The row is locked.
    pub async fn count_attempt(tx: &impl ConnectionTrait, digest: &HandleDigest) -> Result<(), DbErr> {
        let counted = Self::update_many().col_expr(Column::Attempts, Expr::col(Column::Attempts).add(1));
        counted.filter(COLUMN.digest.eq(digest.clone())).exec(tx).await.map(drop)
    }
}

/// Selects the ticket of a handle with which a code may be tried at `now`.
pub(super) fn usable(digest: &HandleDigest, now: DateTime<Utc>) -> SelectStatement {
    let handle = Entity::find().select_only().column(Column::TicketId).filter(COLUMN.digest.eq(digest.clone()));
    handle.filter(COLUMN.attempts.lt(MAX_ATTEMPTS)).filter(COLUMN.expires_at.gt(now)).into_query()
}
