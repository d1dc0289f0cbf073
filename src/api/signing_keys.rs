//! Signing keys: the public keys for services that verify access tokens offline, and the rotation of the keys.

use poem::{Request, web::Data};
use poem_openapi::{Enum, Object, OpenApi};
use serde::Serialize;
use serde_with::skip_serializing_none;

use super::{
    Tag,
    guard::{Allowed, Fresh},
    http::{
        cache::{Cacheable, Cached, Document},
        codes::operation_codes,
        params::Path,
        reply::{Issued, Json, NoContent, Reply},
        words::Time,
    },
};
use crate::{
    app::App,
    domain::signing_keys,
    values::{
        key_id::KeyId,
        permission::{ReadKeys, RotateKeys},
    },
};

operation_codes! {
    /// `readJwks`.
    ReadJwks:;
    /// `listSigningKeys`.
    ListKeys:;
    /// `rotateSigningKey`.
    RotateKey: RotationPending;
    /// `revokeSigningKey`.
    RevokeKey: NotFound;
}

/// A set of public keys (RFC 7517 section 5).
#[derive(Debug, Object, Serialize)]
struct JwkSet {
    /// The public keys. While an HS256 secret signs, only keys whose tokens may still be valid.
    #[oai(validator(max_items = 100))]
    keys: Vec<Jwk>,
}

impl Cacheable for JwkSet {
    const MEDIA_TYPE: &'static str = "application/jwk-set+json"; // RFC 7517 section 8.5.2
    // Shorter than the time for which a new key is published before it signs (`signing_keys::PUBLISHED_AHEAD`).
    const CACHE_CONTROL: &'static str = "public, max-age=300";
}

/// A public key. Its other members depend on `kty` (RFC 7518 section 6, RFC 8037 section 2).
#[skip_serializing_none]
#[derive(Debug, Object, Serialize)]
#[oai(skip_serializing_if_is_none)]
struct Jwk {
    /// The key type: `OKP`, `EC` or `RSA`.
    #[oai(validator(max_length = 8))]
    kty: String,
    /// The key id, which the header of a token names: the key's thumbprint (RFC 7638).
    #[oai(validator(max_length = 64))]
    kid: String,
    /// Always `sig`.
    #[oai(rename = "use", validator(max_length = 8))]
    #[serde(rename = "use")]
    usage: String,
    /// The only algorithm of the key.
    #[oai(validator(max_length = 8))]
    alg: String,
    /// The curve.
    #[oai(validator(max_length = 16))]
    crv: Option<String>,
    /// The first coordinate, or the public key.
    #[oai(validator(max_length = 64))]
    x: Option<String>,
    /// The second coordinate.
    #[oai(validator(max_length = 64))]
    y: Option<String>,
    /// The modulus.
    #[oai(validator(max_length = 1024))]
    n: Option<String>,
    /// The exponent.
    #[oai(validator(max_length = 16))]
    e: Option<String>,
}

/// The status of a signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize)]
#[oai(rename = "SigningKeyStatus", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
enum Status {
    /// The key is published, and signs from `activates_at` on.
    Next,
    /// The key signs access tokens.
    Active,
    /// The key no longer signs. It is published until its last token has expired.
    Retiring,
    /// Tokens signed with the key are rejected.
    Revoked,
}

impl From<signing_keys::Status> for Status {
    fn from(status: signing_keys::Status) -> Self {
        match status {
            signing_keys::Status::Next => Self::Next,
            signing_keys::Status::Active => Self::Active,
            signing_keys::Status::Retiring => Self::Retiring,
            signing_keys::Status::Revoked => Self::Revoked,
        }
    }
}

/// A key that signs access tokens now, later, or did so before.
#[skip_serializing_none]
#[derive(Debug, Object, Serialize)]
#[oai(skip_serializing_if_is_none)]
struct SigningKey {
    /// The key id, which the key set and the header of a token name.
    #[oai(validator(max_length = 64))]
    kid: String,
    /// The `alg` of tokens signed with the key.
    #[oai(validator(max_length = 8))]
    algorithm: String,
    /// The key's status.
    status: Status,
    /// When the key was created and published.
    created_at: Time,
    /// When the key starts to sign.
    activates_at: Time,
    /// When the last token signed with the key has expired. Absent until the next key is published.
    retires_at: Option<Time>,
}

impl From<signing_keys::SigningKey> for SigningKey {
    fn from(signing_keys::SigningKey { row, status }: signing_keys::SigningKey) -> Self {
        Self {
            kid: row.kid,
            algorithm: row.algorithm,
            status: status.into(),
            created_at: Time(row.created_at),
            activates_at: Time(row.activates_at),
            retires_at: row.retires_at.map(Time),
        }
    }
}

/// All signing keys, on one page.
#[derive(Debug, Object, Serialize)]
struct SigningKeyPage {
    /// The keys by `activates_at`, the latest first. While an HS256 secret signs, only keys whose tokens may still be valid.
    #[oai(validator(max_items = 100))]
    items: Vec<SigningKey>,
}

/// The operations on signing keys.
pub struct SigningKeysApi;

#[OpenApi(tag = "Tag::SigningKeys")]
impl SigningKeysApi {
    /// Get the public keys.
    ///
    /// With the key set, any service can verify access tokens offline (RFC 7517). Cache the set for as long as `Cache-Control`
    /// allows.
    #[oai(path = "/.well-known/jwks.json", method = "get", operation_id = "readJwks")]
    async fn jwks(&self, request: &Request, app: Data<&App>) -> Reply<Cached<JwkSet>, ReadJwks> {
        let keys = Document::new(app.signing.keys.load().jwks(app.clock.now()));
        Ok(Cached::new(request, &keys))
    }

    /// List signing keys.
    ///
    /// The list holds the keys in use, and keys that were revoked within the last hour.
    #[oai(path = "/v1/signing-keys", method = "get", operation_id = "listSigningKeys")]
    async fn list(&self, _caller: Allowed<ReadKeys>, app: Data<&App>) -> Reply<Json<SigningKeyPage>, ListKeys> {
        let items = signing_keys::list(&app).await?.into_iter().map(SigningKey::from).collect();
        Ok(Json(SigningKeyPage { items }))
    }

    /// Rotate the signing key.
    ///
    /// A new key is published at once and starts to sign 20 minutes later, when every verifier has fetched it. The previous
    /// key stays published until its last token has expired. While an HS256 secret signs, this fails with `rotation_pending`,
    /// because only the operator can change the secret.
    #[oai(path = "/v1/signing-keys", method = "post", operation_id = "rotateSigningKey")]
    async fn rotate(&self, caller: Fresh<Allowed<RotateKeys>>, app: Data<&App>) -> Reply<Issued<SigningKey>, RotateKey> {
        Ok(Issued(signing_keys::rotate(&app, caller.authority()).await?.into()))
    }

    /// Revoke a signing key.
    ///
    /// Use this in an emergency. All access tokens signed with the key are rejected at once, perhaps also the caller's own,
    /// and clients must refresh or log in again. If the key was the active one, another key signs from this moment on.
    /// Services that verify tokens offline reject its tokens until they fetch the key set again.
    #[oai(path = "/v1/signing-keys/:kid", method = "delete", operation_id = "revokeSigningKey")]
    async fn revoke(&self, caller: Fresh<Allowed<RotateKeys>>, app: Data<&App>, kid: Path<KeyId>) -> Reply<NoContent, RevokeKey> {
        signing_keys::revoke(&app, caller.authority(), &kid.0).await?;
        Ok(NoContent)
    }
}
