//! Access tokens: JWTs (RFC 9068) that live fifteen minutes by default. A token is signed when a session begins or is
//! refreshed, and verified at every guarded request without reading the database (RFC 8725, T04 to T10).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;
use uuid::Uuid;

use super::{caller::Caller, revocations, source::Source};
use crate::{
    app::App,
    entity::{
        session,
        user::{self, Status},
    },
    error::{Error, Result},
    live::{key_ring::TOKEN_TYPE, revocations::MAX_TOKEN_LIFETIME, verified_tokens::VerifiedToken},
    values::{
        claims::{Audience, Claims, LEEWAY},
        json,
        role_name::RoleName,
    },
};

/// The `client_id` of every token, until applications can be registered.
pub const CLIENT: &str = "vestibule";

/// The maximum length of a token, in bytes.
const LONGEST: usize = 8 * 1024;

/// The header of a token, with exactly these members.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
}

/// A freshly signed access token.
pub struct AccessToken {
    /// The token.
    pub token: String,
    /// The lifetime of the token, in seconds: `exp - iat`.
    pub expires_in: i64,
}

/// Signs a token for a session that begins or is refreshed at `now`. The token never outlives the session.
pub fn issue(
    app: &App,
    now: DateTime<Utc>,
    user: &user::Model,
    roles: Vec<RoleName>,
    session: &session::Model,
) -> Result<AccessToken> {
    if app.access.generation.is_history_lost() {
        // Its session may have ended in what was lost.
        return Err(revocations::history_lost());
    }
    let settings = &app.settings;
    let until = (now + settings.tokens.access_ttl).min(session.ends_at(settings.sessions.idle_ttl));
    let claims = Claims {
        iss: app.signing.issuer.clone(),
        aud: Audience::One(settings.tokens.audience.clone()),
        sub: user.id,
        client_id: session.client_id.clone(),
        sid: session.id,
        jti: Uuid::new_v4(),
        iat: now.timestamp(),
        exp: until.timestamp(),
        roles,
        epoch: user.epoch,
        auth_time: session.auth_time.timestamp(),
        acr: session.acr,
        amr: session.amr,
        acr_max: user.best_acr(),
    };
    let token = app.signing.keys.load().sign(&claims, now).map_err(Error::internal)?;
    let token = token.ok_or_else(|| Error::Unavailable(DbErr::Custom("no key signs access tokens".into())))?;
    Ok(AccessToken { token, expires_in: claims.exp - claims.iat })
}

/// Verifies an access token, and returns the caller for whom it speaks.
///
/// # Errors
/// In this order: [`Error::InvalidToken`] unless the token is authentic, [`Error::ExpiredToken`], [`Error::SessionEnded`],
/// [`Error::StaleToken`], and [`Error::AuthorizationStale`] if this process has not read the revocation feed for too long.
pub async fn verify(app: &App, token: &str, source: Source) -> Result<Caller> {
    if token.len() > LONGEST {
        return Err(Error::InvalidToken);
    }
    let VerifiedToken { key_id, claims } =
        app.signing.verified.get_or_verify(token, || authenticate(app, token)).ok_or(Error::InvalidToken)?;
    let now = app.clock.now();
    if app.signing.keys.load().verifier(&key_id, now).is_none() {
        return Err(Error::InvalidToken);
    }
    if now.timestamp() >= claims.exp {
        return Err(Error::ExpiredToken);
    }
    if app.access.generation.is_later_than(claims.iat) || app.access.revocations.has_ended(claims.sid) {
        return Err(Error::SessionEnded);
    }
    if app.access.revocations.is_stale(claims.sub, claims.epoch) {
        return Err(Error::StaleToken);
    }
    if !app.access.feed.is_fresh(app.clock.uptime(), app.settings.revocation.max_staleness) {
        return Err(Error::AuthorizationStale);
    }
    if app.access.revocations.may_be_purged(claims.exp) {
        check_session(app, &claims).await?;
    }
    Ok(Caller { key_id, claims, roles: app.access.roles.load_full(), source })
}

/// Checks in the database that a token's session exists and that the token is not stale. Only a clock that was set back makes
/// this necessary: then a token that expired long ago is valid again, and its revocation is no longer in memory.
async fn check_session(app: &App, claims: &Claims) -> Result<()> {
    let user = user::Entity::find_by_id(claims.sub).one(app.db.read()).await?;
    let user = user.filter(|user| user.status == Status::Active).ok_or(Error::SessionEnded)?;
    let session = session::Entity::of(user.id).filter(session::COLUMN.id.eq(claims.sid)).one(app.db.read()).await?;
    match session {
        None => Err(Error::SessionEnded),
        Some(_) if user.epoch != claims.epoch => Err(Error::StaleToken),
        Some(_) => Ok(()),
    }
}

/// Verifies an access token for another service (RFC 7662). Returns `None` for a token that no guard would accept; fails with
/// [`Error::AuthorizationStale`] like [`verify`].
pub async fn introspect(app: &App, token: &str) -> Result<Option<Caller>> {
    match verify(app, token, Source::default()).await {
        Ok(caller) => Ok(Some(caller)),
        Err(Error::InvalidToken | Error::ExpiredToken | Error::SessionEnded | Error::StaleToken) => Ok(None),
        Err(err) => Err(err),
    }
}

/// Checks what never changes for a token, and so is checked once: its format, its signature and its claims. The caller does not
/// learn why a check failed.
fn authenticate(app: &App, token: &str) -> Option<VerifiedToken> {
    let (message, signature) = token.rsplit_once('.')?;
    let (header, payload) = message.split_once('.')?;
    let header: Header = object(&decode(header)?)?;
    decode(signature)?;
    let keys = app.signing.keys.load();
    let now = app.clock.now();
    let key = keys.verifier(&header.kid, now)?;
    if header.typ != TOKEN_TYPE || header.alg != key.algorithm_name() || !key.verifies(message, signature) {
        return None;
    }
    let payload: Value = object(&decode(payload)?)?;
    let begins = payload.get("nbf").is_none_or(|nbf| nbf.as_f64().is_some_and(|seconds| has_come(seconds, now)));
    let claims: Claims = serde_json::from_value(payload).ok()?;
    let is_ours = claims.iss == app.signing.issuer
        && claims.aud.contains(&app.settings.tokens.audience)
        && (1..=MAX_TOKEN_LIFETIME.as_secs()).contains(&u64::try_from(claims.exp.checked_sub(claims.iat)?).ok()?)
        && claims.iat <= now.timestamp() + LEEWAY
        && begins;
    is_ours.then(|| VerifiedToken { key_id: header.kid.into(), claims: claims.into() })
}

/// Returns whether a time in seconds since 1970, perhaps with a fraction (RFC 7519 section 2, `NumericDate`), is not after
/// `now`.
fn has_come(seconds: f64, now: DateTime<Utc>) -> bool {
    seconds <= f64::from(u32::try_from(now.timestamp() + LEEWAY).unwrap_or(u32::MAX))
}

/// Decodes strict base64url: no padding, no white space, no trailing bits. A token with a fourth part fails here, because a
/// part then contains a dot.
fn decode(part: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(part).ok()
}

/// Parses one JSON object strictly. serde alone would also accept an array of the right values.
fn object<T: DeserializeOwned>(part: &[u8]) -> Option<T> {
    let value = json::strict(part).ok().filter(Value::is_object)?;
    serde_json::from_value(value).ok()
}
