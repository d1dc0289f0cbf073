//! Signing keys: their sealed private halves, their public halves, and when each is in use.

use super::json::JsonText;
use chrono::{DateTime, Utc};
use sea_orm::{Condition, QueryOrder, entity::prelude::*};

/// A key that signs access tokens, will, or did.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "signing_keys")]
pub struct Model {
    /// The thumbprint of the public key (RFC 7638).
    #[sea_orm(primary_key, auto_increment = false)]
    pub kid: String,
    /// The `alg` of every token it signs (RFC 7518 section 3.1).
    pub algorithm: String,
    /// Sealed under the master key, bound to `kid`. Empty once the key is revoked.
    pub private_key: Vec<u8>,
    /// As the JWKS shows it.
    pub public_jwk: JsonText,
    pub created_at: DateTime<Utc>,
    /// It signs from here on; it was published before.
    pub activates_at: DateTime<Utc>,
    /// The last token it signed is dead by then. Only the newest key has no such time.
    pub retires_at: Option<DateTime<Utc>>,
    /// Its tokens are refused from here on.
    pub revoked_at: Option<DateTime<Utc>>,
}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// Whether a token that it signed may be good at `now`.
    #[must_use]
    pub fn is_trusted(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && self.retires_at.is_none_or(|it| it > now)
    }

    /// Whether it waits for its time to sign.
    #[must_use]
    pub fn is_next(&self, now: DateTime<Utc>) -> bool {
        self.is_trusted(now) && self.activates_at > now
    }
}

/// Which of these keys signs at `now`: the last whose time has come. The clock decides it alone, so that no job has to
/// run for it, and all replicas agree.
pub fn signer<'a>(keys: impl Iterator<Item = &'a Model> + Clone, now: DateTime<Utc>) -> Option<&'a Model> {
    let trusted = keys.filter(|it| it.is_trusted(now));
    let order = |it: &&Model| (it.activates_at, it.kid.clone());
    // Where this clock is behind that of whoever made the first key, its time has come all the same.
    trusted.clone().filter(|it| it.activates_at <= now).max_by_key(order).or_else(|| trusted.min_by_key(order))
}

impl Entity {
    /// Every key that was not revoked, oldest first.
    ///
    /// # Errors
    /// Whatever the database says.
    pub async fn unrevoked<C: ConnectionTrait>(conn: &C) -> Result<Vec<Model>, DbErr> {
        Self::find().filter(COLUMN.revoked_at.is_null()).order_by_asc(COLUMN.created_at).all(conn).await
    }

    /// Says when the newest key's last token is dead, because another one follows it. How many keys that was for.
    ///
    /// # Errors
    /// Whatever the database says.
    pub async fn retire<C: ConnectionTrait>(conn: &C, at: DateTime<Utc>) -> Result<u64, DbErr> {
        let newest = Self::update_many().filter(COLUMN.revoked_at.is_null()).filter(COLUMN.retires_at.is_null());
        Ok(newest.col_expr(Column::RetiresAt, Expr::value(at)).exec(conn).await?.rows_affected)
    }

    /// Deletes keys whose tokens are all dead, and those revoked so long ago.
    ///
    /// # Errors
    /// Whatever the database says.
    pub async fn delete_dead<C: ConnectionTrait>(conn: &C, now: DateTime<Utc>, revoked_by: DateTime<Utc>) -> Result<u64, DbErr> {
        let dead = Condition::any().add(COLUMN.retires_at.lte(now)).add(COLUMN.revoked_at.lte(revoked_by));
        Ok(Self::delete_many().filter(dead).exec(conn).await?.rows_affected)
    }
}
