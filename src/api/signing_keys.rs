//! Signing keys: the public halves, for services that verify access tokens themselves, and the keys' lives, for
//! whoever may turn them over.

use poem::{Request, web::Data};
use poem_openapi::{Enum, Object, OpenApi};

use super::{
    Tag,
    guard::Allowed,
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
#[derive(Debug, Object)]
struct JwkSet {
    /// The keys; while an HS256 secret signs, only those whose tokens may still live.
    #[oai(validator(max_items = 100))]
    keys: Vec<Jwk>,
}

impl Cacheable for JwkSet {
    const MEDIA_TYPE: &'static str = "application/jwk-set+json"; // RFC 7517 section 8.5.2
    // Shorter than the time for which a new key is published before it signs (`signing_keys::AHEAD`).
    const CACHE_CONTROL: &'static str = "public, max-age=300";
}

/// A public key. Which other members it has depends on `kty` (RFC 7518 section 6, RFC 8037 section 2).
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct Jwk {
    /// The family: `OKP`, `EC` or `RSA`.
    #[oai(validator(max_length = 8))]
    kty: String,
    /// Names the key in a token's header: its RFC 7638 thumbprint.
    #[oai(validator(max_length = 64))]
    kid: String,
    /// Always `sig`.
    #[oai(rename = "use", validator(max_length = 8))]
    usage: String,
    /// The one algorithm it is for.
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

/// Where a signing key stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename = "SigningKeyStatus", rename_all = "snake_case")]
enum Status {
    /// It is published, and will sign from `activates_at` on.
    Next,
    /// It signs.
    Active,
    /// It signs no more, and is kept until its last token is dead.
    Retiring,
    /// Its tokens are refused.
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

/// A key that signs access tokens, will, or did.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct SigningKey {
    /// Names it, here, in the key set and in the header of its tokens.
    #[oai(validator(max_length = 64))]
    kid: String,
    /// The `alg` of its tokens.
    #[oai(validator(max_length = 8))]
    algorithm: String,
    /// Where it stands.
    status: Status,
    /// When it was made and published.
    created_at: Time,
    /// From when on it signs.
    activates_at: Time,
    /// From when on none of its tokens can be alive; absent until another key follows it.
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

/// All signing keys: they fit one page.
#[derive(Debug, Object)]
struct SigningKeyPage {
    /// The keys by `activates_at`, the last first; while an HS256 secret signs, only those whose tokens may still live.
    #[oai(validator(max_items = 100))]
    items: Vec<SigningKey>,
}

/// The operations on signing keys.
pub struct SigningKeysApi;

#[OpenApi(tag = "Tag::Keys")]
impl SigningKeysApi {
    /// Get the public keys.
    ///
    /// With them any service verifies access tokens by itself (RFC 7517). Keep the set for as long as `Cache-Control` says.
    #[oai(path = "/.well-known/jwks.json", method = "get", operation_id = "readJwks")]
    async fn jwks(&self, request: &Request, app: Data<&App>) -> Reply<Cached<JwkSet>, ReadJwks> {
        let keys = Document::new(app.signing.keys.load().jwks(app.clock.now()));
        Ok(Cached::new(request, &keys))
    }

    /// List signing keys.
    ///
    /// Those in use, and those revoked within the hour.
    #[oai(path = "/v1/signing-keys", method = "get", operation_id = "listSigningKeys")]
    async fn list(&self, _caller: Allowed<ReadKeys>, app: Data<&App>) -> Reply<Json<SigningKeyPage>, ListKeys> {
        let items = signing_keys::list(&app).await?.into_iter().map(SigningKey::from).collect();
        Ok(Json(SigningKeyPage { items }))
    }

    /// Rotate the signing key.
    ///
    /// A new key is published at once, and signs 20 minutes later, when every verifier has read it. The one before is
    /// kept until its last token is dead. Where an HS256 secret signs, only its owner can change it: that is refused too.
    #[oai(path = "/v1/signing-keys", method = "post", operation_id = "rotateSigningKey")]
    async fn rotate(&self, caller: Allowed<RotateKeys>, app: Data<&App>) -> Reply<Issued<SigningKey>, RotateKey> {
        Ok(Issued(signing_keys::rotate(&app, caller.authority()).await?.into()))
    }

    /// Revoke a signing key.
    ///
    /// For emergencies: all its tokens are refused at once, perhaps the caller's own too, and people log in or refresh
    /// again. If it was the key that signs, another one does so from this moment on, and services that verify tokens
    /// themselves cannot know that one before they read the key set again.
    #[oai(path = "/v1/signing-keys/:kid", method = "delete", operation_id = "revokeSigningKey")]
    async fn revoke(&self, caller: Allowed<RotateKeys>, app: Data<&App>, kid: Path<KeyId>) -> Reply<NoContent, RevokeKey> {
        signing_keys::revoke(&app, caller.authority(), &kid.0).await?;
        Ok(NoContent)
    }
}
