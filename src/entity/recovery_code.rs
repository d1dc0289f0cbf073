//! Recovery codes: what lets users log in who have lost their second factors. A row holds no code, only a MAC of it whose key is
//! sealed.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, PaginatorTrait, QuerySelect, Select, entity::prelude::*, sea_query::Expr};

use crate::values::ids::UserId;

/// A recovery code.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "recovery_codes")]
pub struct Model {
    /// The MAC of user and code.
    #[sea_orm(primary_key, auto_increment = false)]
    pub digest: Vec<u8>,
    pub user_id: UserId,
    pub created_at: DateTime<Utc>,
    pub used_at: Option<DateTime<Utc>>,
}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// Selects the codes of a user that were not used, and that were created before a time if there is one.
    fn unused(user: UserId, before: Option<DateTime<Utc>>) -> Select<Self> {
        let unused = Self::find().filter(COLUMN.user_id.eq(user)).filter(COLUMN.used_at.is_null());
        match before {
            Some(before) => unused.filter(COLUMN.created_at.lt(before)),
            None => unused,
        }
    }

    /// Counts the codes that are left to a user.
    pub async fn left(conn: &impl ConnectionTrait, user: UserId, before: Option<DateTime<Utc>>) -> Result<u64, DbErr> {
        Self::unused(user, before).count(conn).await
    }

    /// Returns the users to whom codes are left.
    pub async fn owners(conn: &impl ConnectionTrait) -> Result<Vec<UserId>, DbErr> {
        let unused = Self::find().select_only().column(Column::UserId).distinct().filter(COLUMN.used_at.is_null());
        unused.into_tuple().all(conn).await
    }

    /// Uses a code, once. Returns false, and changes nothing, if the user has no such code or it was used.
    pub async fn redeem(
        tx: &impl ConnectionTrait,
        user: UserId,
        digest: &[u8],
        before: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Result<bool, DbErr> {
        let mut redeemed = Self::update_many()
            .col_expr(Column::UsedAt, Expr::value(now))
            .filter(Column::Digest.eq(digest.to_vec()))
            .filter(COLUMN.user_id.eq(user))
            .filter(COLUMN.used_at.is_null());
        if let Some(before) = before {
            redeemed = redeemed.filter(COLUMN.created_at.lt(before));
        }
        Ok(redeemed.exec(tx).await?.rows_affected == 1)
    }

    /// Gives a user exactly these codes.
    pub async fn replace(
        tx: &impl ConnectionTrait,
        user: UserId,
        digests: Vec<Vec<u8>>,
        now: DateTime<Utc>,
    ) -> Result<(), DbErr> {
        Self::delete_of(tx, user, None).await?;
        let row = |digest| ActiveModel { digest: Set(digest), user_id: Set(user), created_at: Set(now), used_at: Set(None) };
        Self::insert_many(digests.into_iter().map(row)).exec_without_returning(tx).await.map(drop)
    }

    /// Deletes the codes of a user that were created at or after a time, or all of them. Returns how many
    /// there were.
    pub async fn delete_of(tx: &impl ConnectionTrait, user: UserId, since: Option<DateTime<Utc>>) -> Result<u64, DbErr> {
        let mut deleted = Self::delete_many().filter(COLUMN.user_id.eq(user));
        if let Some(since) = since {
            deleted = deleted.filter(COLUMN.created_at.gte(since));
        }
        Ok(deleted.exec(tx).await?.rows_affected)
    }
}
