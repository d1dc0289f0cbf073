//! Refresh: a session continues. Its refresh token is exchanged for the next one. A lost response does no harm; a spent token
//! that is presented again means that two parties hold the session, so it ends.
//!
//! A session stores the serial of the token to be used next, `current`, and the serial for which that one was issued, `parent`:
//!
//! | presented serial | response |
//! |---|---|
//! | `current` | a token with the next serial |
//! | `parent`, within `sessions.replay_window` | the token with the serial `current` again: another tab or a repeated request |
//! | `parent`, later | `current` was never used, so its delivery is in doubt: it becomes void, and another one is issued |
//! | any older one | 401, and the session ends |
//! | one that was not issued yet | 401: a restored backup holds an older state of the session |
//! | none: the token is not genuine, or the session has ended | 401, with the same body |

use std::time::Duration;

use aws_lc_rs::{hmac, rand};
use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{DbErr, EntityTrait, prelude::async_trait::async_trait};
use serde_json::json;
use zeroize::Zeroizing;

use super::{
    audit::{self, Actor, Event, Kind},
    revocations::{self, SessionSelection},
    source::Source,
    throttle,
    tokens::{self, AccessToken},
};
use crate::{
    app::App,
    entity::{
        session,
        user::{self, Status},
        user_role,
    },
    error::{Error, Result},
    live::{
        database::{ReadById, Reader, Transaction},
        rate_limits::RateLimit,
    },
    values::{
        counters::Serial,
        ids::SessionId,
        refresh_token::{MAC_LEN, RefreshToken},
        role_name::RoleName,
    },
};

/// The tokens that a client receives when a session begins or is refreshed.
pub struct IssuedTokens {
    /// The session and an access token.
    pub access: SessionAccess,
    /// The refresh token to be used next.
    pub refresh_token: Zeroizing<String>,
}

/// An access token of a session.
pub struct SessionAccess {
    /// The session.
    pub session: SessionId,
    /// The token.
    pub token: AccessToken,
    /// When the session ends unless it is refreshed, in seconds from now.
    pub refresh_expires_in: i64,
}

/// Issues the tokens of a session at `now`.
pub(super) fn issue_tokens(
    app: &App,
    now: DateTime<Utc>,
    user: &user::Model,
    roles: Vec<RoleName>,
    session: &session::Model,
) -> Result<IssuedTokens> {
    let access = issue_access(app, now, user, roles, session)?;
    Ok(IssuedTokens { access, refresh_token: Zeroizing::new(token(app, session).to_string()) })
}

/// Issues an access token of a session at `now`. The refresh token to be used next stays the same.
pub(super) fn issue_access(
    app: &App,
    now: DateTime<Utc>,
    user: &user::Model,
    roles: Vec<RoleName>,
    session: &session::Model,
) -> Result<SessionAccess> {
    Ok(SessionAccess {
        session: session.id,
        token: tokens::issue(app, now, user, roles, session)?,
        refresh_expires_in: (session.ends_at(app.settings.sessions.idle_ttl) - now).num_seconds(),
    })
}

/// Exchanges a refresh token for an access token and the refresh token to be used next.
///
/// # Errors
/// [`Error::InvalidRefreshToken`] for every reason; [`Error::TooManyRequests`].
pub async fn exchange(app: &App, source: &Source, presented: &str) -> Result<IssuedTokens> {
    throttle::limit_rate(app, source, RateLimit::Refresh)?;
    // Before the transaction, so that a token that is not genuine costs one read and delays no other request.
    let (session, token) = session_of(app, presented).await?.ok_or(Error::InvalidRefreshToken)?;
    let (inside, from) = (app.clone(), source.clone());
    let rotated = app.db.write_in_group(move |tx| Box::pin(async move { rotate(&inside, tx, &from, session, token).await }));
    match rotated.await? {
        Rotation::Accepted { now, user, roles, session } => issue_tokens(app, now, &user, roles, &session),
        Rotation::SessionEnded => Err(Error::InvalidRefreshToken),
        Rotation::Rejected(kind) => {
            record_rejection(app, source, &token, kind).await?;
            Err(Error::InvalidRefreshToken)
        }
    }
}

/// Returns the session of a genuine refresh token, whatever its serial; `None` for any other text.
pub(super) async fn session_of(app: &App, presented: &str) -> Result<Option<(session::Model, RefreshToken)>> {
    let Ok(token) = presented.parse::<RefreshToken>() else { return Ok(None) };
    let session = app.shared_reads.sessions.row(app.db.read(), token.session).await?;
    Ok(session.filter(|session| is_genuine(app, session, &token)).map(|session| (session, token)))
}

#[async_trait]
impl ReadById for session::Model {
    type Id = SessionId;

    fn id(&self) -> SessionId {
        self.id
    }

    async fn read(db: &Reader, ids: &[SessionId]) -> Result<Vec<Self>, DbErr> {
        session::Entity::with_ids(db, ids).await
    }
}

/// The outcome for a genuine token.
enum Rotation {
    /// The token is good. The session holds its present serial.
    Accepted { now: DateTime<Utc>, user: Box<user::Model>, roles: Vec<RoleName>, session: Box<session::Model> },
    /// The session has ended.
    SessionEnded,
    /// The token was spent already, or was not issued yet. The event says which.
    Rejected(Kind),
}

/// How a token's serial relates to its session.
enum SerialState {
    /// The token is the one to be used next.
    Current,
    /// The token was exchanged within the replay window: another tab sent it, or the request was repeated.
    Repeated,
    /// The token was exchanged before that, and its successor was never used: it may never have arrived.
    DeliveryInDoubt,
    /// The token is older than that.
    Spent,
    /// The session has not issued this serial yet.
    NotYetIssued,
}

fn serial_state(session: &session::Model, serial: Serial, now: DateTime<Utc>, replay_window: Duration) -> SerialState {
    if serial == session.current {
        SerialState::Current
    } else if serial > session.current {
        SerialState::NotYetIssued
    } else if session.parent != Some(serial) {
        SerialState::Spent
    } else if now < session.last_used_at + replay_window {
        SerialState::Repeated
    } else {
        SerialState::DeliveryInDoubt
    }
}

/// Exchanges the token, if its serial allows that. `read` is the session as it was before the transaction.
async fn rotate(app: &App, tx: &Transaction, source: &Source, read: session::Model, token: RefreshToken) -> Result<Rotation> {
    let now = app.clock.now();
    // Locks the user first, as every transaction does that ends sessions: so the rows stay as they are read here.
    let user = user::Entity::locked(tx, read.user_id).await?.filter(|user| user.status == Status::Active);
    let session = session::Entity::find_by_id(read.id).one(tx).await?;
    let (Some(user), Some(mut session)) = (user, session) else { return Ok(Rotation::SessionEnded) };
    if has_ended(app, &session, now) {
        return Ok(Rotation::SessionEnded);
    }
    let state = serial_state(&session, token.serial, now, app.settings.sessions.replay_window);
    match state {
        SerialState::Spent => return Ok(Rotation::Rejected(Kind::RefreshReused)),
        SerialState::NotYetIssued => return Ok(Rotation::Rejected(Kind::RefreshAhead)),
        SerialState::Repeated => {}
        SerialState::Current | SerialState::DeliveryInDoubt => {
            if !session::Entity::rotate(tx, &session, token.serial, now).await? {
                return Err(Error::Unavailable(sea_orm::DbErr::RecordNotUpdated));
            }
            session =
                session::Model { current: session.current.next(), parent: Some(token.serial), last_used_at: now, ..session };
        }
    }
    if matches!(state, SerialState::DeliveryInDoubt) {
        let event = Event::on_user(Kind::RefreshDoubted, &user);
        audit::record(tx, now, source, Actor::account(&user, Some(session.id)), event).await?;
    }
    let roles = user_role::Entity::of(tx, user.id).await?;
    Ok(Rotation::Accepted { now, user: Box::new(user), roles, session: Box::new(session) })
}

/// Returns whether a session has ended or ends too soon for another access token, which lives at least a whole second.
pub(super) fn has_ended(app: &App, session: &session::Model, now: DateTime<Utc>) -> bool {
    session.ends_at(app.settings.sessions.idle_ttl) < now + TimeDelta::seconds(1)
}

/// Writes an audit event for a rejected token, and ends the session if the token was spent: then two parties hold it.
async fn record_rejection(app: &App, source: &Source, token: &RefreshToken, kind: Kind) -> Result<()> {
    let tx = app.db.write().await?;
    let Some(session) = session::Entity::find_by_id(token.session).one(&tx).await? else { return Ok(()) };
    let Some(user) = user::Entity::locked(&tx, session.user_id).await? else { return Ok(()) };
    let mut ended = revocations::PendingRevocations::default();
    if kind == Kind::RefreshReused {
        ended = revocations::end_sessions(&tx, user.id, SessionSelection::One(session.id)).await?;
        if ended.is_empty() {
            return Ok(());
        }
    }
    let event = Event::on_user(kind, &user).with(json!({ "presented": token.serial, "current": session.current }));
    let actor = Actor { session: Some(session.id), ..Actor::NONE };
    audit::record(&tx, app.clock.now(), source, actor, event).await?;
    ended.commit(app, tx).await
}

/// Returns the secret of a new session, from which the key of its refresh tokens' MACs is derived.
pub(super) fn secret() -> Result<Vec<u8>> {
    let mut secret = vec![0; MAC_LEN];
    rand::fill(&mut secret).map_err(|_| Error::internal(anyhow::anyhow!("no randomness")))?;
    Ok(secret)
}

/// Returns the current refresh token of a session. The same serial always yields the same token.
fn token(app: &App, session: &session::Model) -> RefreshToken {
    let message = RefreshToken::message(session.id, session.current);
    let mut mac = [0; MAC_LEN];
    mac.copy_from_slice(hmac::sign(&mac_key(app, session), &message).as_ref());
    RefreshToken { session: session.id, serial: session.current, mac }
}

fn is_genuine(app: &App, session: &session::Model, token: &RefreshToken) -> bool {
    let message = RefreshToken::message(token.session, token.serial);
    hmac::verify(&mac_key(app, session), &message, &token.mac).is_ok()
}

/// Derives the MAC key of a session. Neither a copy of the database alone nor the master key alone reveals it.
fn mac_key(app: &App, session: &session::Model) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&app.refresh_root, &session.refresh_secret).as_ref())
}
