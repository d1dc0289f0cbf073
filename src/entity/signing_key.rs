//! Signing keys: the sealed private key, the public key, and when the key is in use.

use chrono::{DateTime, Utc};
use sea_orm::{Condition, QueryOrder, entity::prelude::*};

use super::json::JsonText;

/// A key that signs access tokens, will sign them, or has signed them.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "signing_keys")]
pub struct Model {
    /// The thumbprint of the public key (RFC 7638).
    #[sea_orm(primary_key, auto_increment = false)]
    pub kid: String,
    /// The `alg` header of the key's tokens (RFC 7518 section 3.1).
    pub algorithm: String,
    /// Sealed under the master key and bound to `kid`. Empty after the key is revoked.
    pub private_key: Vec<u8>,
    /// The public key, as in the JWKS.
    pub public_jwk: JsonText,
    pub created_at: DateTime<Utc>,
    /// When the key starts to sign. It is published before.
    pub activates_at: DateTime<Utc>,
    /// When the key's last token has expired. The newest key has no such time.
    pub retires_at: Option<DateTime<Utc>>,
    /// When the key was revoked. Its tokens are rejected from then on.
    pub revoked_at: Option<DateTime<Utc>>,
}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// Returns whether a token of this key may be valid at `now`.
    pub fn is_trusted(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && self.retires_at.is_none_or(|retires_at| retires_at > now)
    }

    /// Returns whether the key is published but does not sign yet at `now`.
    pub fn is_next(&self, now: DateTime<Utc>) -> bool {
        self.is_trusted(now) && self.activates_at > now
    }
}

/// Returns the key that signs at `now`: the one that started to sign last. Only the clock decides, so that no job is needed
/// and all replicas agree.
pub fn signer<'a>(keys: impl Iterator<Item = &'a Model> + Clone, now: DateTime<Utc>) -> Option<&'a Model> {
    let trusted = keys.filter(|key| key.is_trusted(now));
    let order = |key: &&Model| (key.activates_at, key.kid.clone());
    // If this clock is behind that of the server that created the first key, the first key signs all the same.
    trusted.clone().filter(|key| key.activates_at <= now).max_by_key(order).or_else(|| trusted.min_by_key(order))
}

impl Entity {
    /// Returns the keys that are not revoked, oldest first.
    pub async fn unrevoked<C: ConnectionTrait>(conn: &C) -> Result<Vec<Model>, DbErr> {
        Self::find().filter(COLUMN.revoked_at.is_null()).order_by_asc(COLUMN.created_at).all(conn).await
    }

    /// Sets when the newest key retires, because another key follows it. Returns the number of keys changed.
    pub async fn retire<C: ConnectionTrait>(conn: &C, at: DateTime<Utc>) -> Result<u64, DbErr> {
        let newest = Self::update_many().filter(COLUMN.revoked_at.is_null()).filter(COLUMN.retires_at.is_null());
        Ok(newest.col_expr(Column::RetiresAt, Expr::value(at)).exec(conn).await?.rows_affected)
    }

    /// Deletes the keys that retired by `now` and the keys that were revoked by `revoked_by`.
    pub async fn delete_retired<C: ConnectionTrait>(
        conn: &C,
        now: DateTime<Utc>,
        revoked_by: DateTime<Utc>,
    ) -> Result<u64, DbErr> {
        let retired = Condition::any().add(COLUMN.retires_at.lte(now)).add(COLUMN.revoked_at.lte(revoked_by));
        Ok(Self::delete_many().filter(retired).exec(conn).await?.rows_affected)
    }
}
