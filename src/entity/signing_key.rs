//! Signing keys: their sealed private halves, their public halves, and when each is in use.

use super::json::JsonText;
use chrono::{DateTime, Utc};
use sea_orm::{QueryOrder, entity::prelude::*};

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
    /// Sealed under the master key, bound to `kid`.
    pub private_key: Vec<u8>,
    /// As the JWKS shows it.
    pub public_jwk: JsonText,
    pub created_at: DateTime<Utc>,
    /// It signs from here on; it was published before.
    pub activates_at: DateTime<Utc>,
    /// The last token it signed is dead by then.
    pub retires_at: Option<DateTime<Utc>>,
    /// Its tokens are refused from here on.
    pub revoked_at: Option<DateTime<Utc>>,
}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// Every key whose tokens are still good, oldest first.
    ///
    /// # Errors
    /// Whatever the database says.
    pub async fn unrevoked<C: ConnectionTrait>(conn: &C) -> Result<Vec<Model>, DbErr> {
        Self::find().filter(COLUMN.revoked_at.is_null()).order_by_asc(COLUMN.created_at).all(conn).await
    }
}
