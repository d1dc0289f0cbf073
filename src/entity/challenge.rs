//! Challenges: a password, or a mail, was proven, and a second factor is to follow. A challenge opens nothing by itself.

use chrono::{DateTime, Utc};
use sea_orm::{ExprTrait, entity::prelude::*, sea_query::Expr};

use crate::values::{
    challenge::{ChallengeDigest, ChallengePurpose},
    ids::{TicketId, UserId},
};

/// How many wrong factors a challenge permits.
pub const MAX_ATTEMPTS: i64 = 5;

/// A challenge.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "challenges")]
pub struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub digest: ChallengeDigest,
    pub user_id: UserId,
    /// What the second factor completes.
    pub purpose: ChallengePurpose,
    /// The ticket of the mail that was proven; absent for a log-in, where the password was.
    pub ticket_id: Option<TicketId>,
    /// A digest of the account's password and epoch. After a change of either, the challenge is void.
    pub account_state: Vec<u8>,
    /// The wrong factors.
    pub attempts: i64,
    pub created_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub used_at: Option<DateTime<Utc>>,
    /// When a change of the account made it void.
    pub void_at: Option<DateTime<Utc>>,
}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// Uses a challenge, once. Returns false if it was used, became void or has expired, or if it was tried too often.
    pub async fn redeem(tx: &impl ConnectionTrait, digest: &ChallengeDigest, now: DateTime<Utc>) -> Result<bool, DbErr> {
        let redeemed = Self::update_many()
            .col_expr(Column::UsedAt, Expr::value(now))
            .filter(COLUMN.digest.eq(digest.clone()))
            .filter(COLUMN.used_at.is_null())
            .filter(COLUMN.void_at.is_null())
            .filter(COLUMN.expires_at.gt(now))
            .filter(COLUMN.attempts.lt(MAX_ATTEMPTS));
        Ok(redeemed.exec(tx).await?.rows_affected == 1)
    }

    /// Counts a wrong factor. The caller has locked the user's row, so no two requests count at the same time.
    pub async fn count_attempt(tx: &impl ConnectionTrait, digest: &ChallengeDigest) -> Result<(), DbErr> {
        let counted = Self::update_many().col_expr(Column::Attempts, Expr::col(Column::Attempts).add(1));
        counted.filter(COLUMN.digest.eq(digest.clone())).exec(tx).await.map(drop)
    }

    /// Makes the challenges of a user void.
    pub async fn void(tx: &impl ConnectionTrait, user: UserId, now: DateTime<Utc>) -> Result<(), DbErr> {
        let voided = Self::update_many().col_expr(Column::VoidAt, Expr::value(now));
        voided.filter(COLUMN.user_id.eq(user)).filter(COLUMN.void_at.is_null()).exec(tx).await.map(drop)
    }
}
