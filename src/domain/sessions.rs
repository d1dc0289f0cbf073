//! Sessions: who is signed in, and for how long. Log-in begins one; every access token dies with it.

use chrono::{DateTime, SubsecRound, Utc};
use sea_orm::{ActiveModelTrait, ActiveValue::Set, EntityTrait, IntoActiveModel};

use super::{
    audit::{self, Actor, Event, Kind},
    credentials::{self, Verdict},
    origin::Origin,
    tokens::{self, AccessToken},
    users,
};
use crate::{
    app::App,
    entity::{
        session,
        user::{self, Status},
        user_role,
    },
    error::{Error, Result},
    values::{identifier::Identifier, ids::SessionId, password::Password, password_hash::PasswordHash},
};

/// What a client gets when a session begins.
pub struct Begun {
    /// The session.
    pub session: SessionId,
    /// Its first access token.
    pub access: AccessToken,
    /// How long the session lives if it is not used, in seconds.
    pub idle_for: i64,
}

/// Begins a session for whoever knows the password.
///
/// # Errors
/// [`Error::InvalidCredentials`] for an unknown account and for a wrong password alike; [`Error::AccountDisabled`] only
/// to who knows the password; [`Error::Overloaded`].
pub async fn log_in(app: &App, origin: &Origin, identifier: &Identifier, password: &Password) -> Result<Begun> {
    let found = users::by_identifier(app, identifier).await?;
    let verdict = credentials::check(app, found.as_ref().and_then(|it| it.password_hash.as_ref()), password).await?;
    match (found, verdict) {
        (Some(checked), Verdict::Right { upgrade }) => begin(app, origin, checked, upgrade).await,
        (found, _) => refuse(app, origin, found.as_ref(), Error::InvalidCredentials).await,
    }
}

/// Begins the session if the account is still what it was when its password was checked: an account that was
/// disabled, or whose password was changed, during the hashing wins.
async fn begin(app: &App, origin: &Origin, checked: user::Model, upgrade: Option<PasswordHash>) -> Result<Begun> {
    let tx = app.db.write().await?;
    let now = app.clock.now();
    let user = match user::Entity::locked(&tx, checked.id).await? {
        Some(user) if user.password_hash == checked.password_hash => user,
        _ => return refuse_in(tx, now, origin, Some(&checked), Error::InvalidCredentials).await,
    };
    if user.status == Status::Disabled {
        return refuse_in(tx, now, origin, Some(&user), Error::AccountDisabled).await;
    }
    let roles = user_role::Entity::of(&tx, user.id).await?;
    let session = session::Entity::insert(session::ActiveModel {
        id: Set(SessionId::new(now)),
        user_id: Set(user.id),
        client_id: Set(tokens::CLIENT.to_owned()),
        created_at: Set(now),
        last_used_at: Set(now.trunc_subsecs(0)),
        expires_at: Set(now + app.settings.sessions.max_ttl),
        address: Set(origin.address.map(|it| it.to_string())),
        user_agent: Set(origin.user_agent.clone()),
    })
    .exec_with_returning(&tx)
    .await?;
    let access = tokens::issue(app, now, &user, roles, &session)?;
    let actor = Actor::account(&user, Some(session.id));
    audit::record(&tx, now, origin, actor, Event::on_user(Kind::LoggedIn, &user)).await?;
    remember_log_in(&tx, now, user, upgrade).await?;
    tx.commit().await?;
    let idle_for = app.settings.sessions.idle_ttl.min(app.settings.sessions.max_ttl).as_secs();
    Ok(Begun { session: session.id, access, idle_for: i64::try_from(idle_for).unwrap_or(i64::MAX) })
}

async fn remember_log_in(
    tx: &sea_orm::DatabaseTransaction,
    now: DateTime<Utc>,
    user: user::Model,
    upgrade: Option<PasswordHash>,
) -> Result<()> {
    let revision = user.revision + 1;
    let mut user = user.into_active_model();
    user.last_login_at = Set(Some(now));
    user.revision = Set(revision);
    if let Some(hash) = upgrade {
        user.password_hash = Set(Some(hash));
    }
    user.update(tx).await?;
    Ok(())
}

async fn refuse<T>(app: &App, origin: &Origin, user: Option<&user::Model>, why: Error) -> Result<T> {
    let tx = app.db.write().await?;
    refuse_in(tx, app.clock.now(), origin, user, why).await
}

/// Leaves a trace of a failed log-in. What was given as identifier is not kept: it may be a password.
async fn refuse_in<T>(
    tx: sea_orm::DatabaseTransaction,
    now: DateTime<Utc>,
    origin: &Origin,
    user: Option<&user::Model>,
    why: Error,
) -> Result<T> {
    let event = user.map_or_else(|| Event::of(Kind::LogInFailed), |user| Event::on_user(Kind::LogInFailed, user));
    let disabled = matches!(why, Error::AccountDisabled);
    audit::record(&tx, now, origin, Actor::NOBODY, event.with(serde_json::json!({ "disabled": disabled }))).await?;
    tx.commit().await?;
    Err(why)
}
