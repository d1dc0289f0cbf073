//! Sessions: who is logged in, and for how long. A log-in begins a session. When a session ends, all its access tokens
//! are refused.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, DbErr, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect,
};
use serde_json::json;

use super::{
    audit::{self, Actor, Event, Kind},
    browsers::Browser,
    caller::{Caller, CurrentUser},
    challenges,
    credentials::{self, PasswordCheck},
    mail::outbox::{self, Queued},
    paging::{Paging, Slice},
    refresh::{self, IssuedTokens, SessionAccess},
    revocations::{self, SessionSelection},
    source::Source,
    throttle::{self, Attempt, Target},
    tokens, users,
};
use crate::{
    app::App,
    entity::{
        installation, session,
        user::{self, Status},
        user_role,
    },
    error::{Error, Missing, Result},
    live::{clock_trust::TrustedReading, database::Transaction, mail::Values, revocations::MAX_TOKEN_LIFETIME},
    values::{
        authentication::{Authentication, Method},
        browser_name::browser_name,
        challenge::ChallengePurpose,
        counters::Serial,
        identifier::Identifier,
        ids::{SessionId, UserId},
        mail_kind::MailKind,
        password::Password,
        password_hash::PasswordHash,
        role_name::RoleName,
        time::rfc3339,
    },
};

/// How often a password is checked if the account changes during the check: another log-in may have upgraded the hash of the
/// same password.
const MAX_CHECKS: usize = 3;

/// The shortest time between two notices of log-ins to one account, so that nobody floods the owner's mailbox with them.
const BETWEEN_NOTICES: TimeDelta = TimeDelta::hours(1);

/// A session that has just begun.
pub struct LogIn {
    /// The tokens of the session.
    pub issued: IssuedTokens,
    /// The browser as it is from now on. Absent if there was none, and if the server sends no notices.
    pub browser: Option<Browser>,
}

/// Begins a session for a caller who knows the password of the account, unless it has a second factor. The owner is told if the
/// `browser` is new to the account, or, without one, if the network is.
///
/// # Errors
/// [`Error::SecondFactorRequired`], and there is no session yet;
/// [`Error::InvalidCredentials`] for an unknown account and for a wrong password alike; [`Error::AccountDisabled`] only if the
/// password is correct; [`Error::TooManyRequests`]; [`Error::Overloaded`].
pub async fn log_in(
    app: &App,
    source: &Source,
    identifier: &Identifier,
    password: &Password,
    browser: Option<&Browser>,
) -> Result<LogIn> {
    app.passwords.pool.check_capacity()?;
    for _ in 0..MAX_CHECKS {
        let found = users::by_identifier(app, identifier).await?;
        let target = found.as_ref().map_or(Target::Unknown(identifier), |user| Target::Account(user.id));
        let attempt = throttle::attempt(app, source, target).await?;
        let check = credentials::check(app, found.as_ref().and_then(|user| user.password_hash.as_ref()), password).await?;
        let (Some(checked), PasswordCheck::Correct { upgrade }) = (&found, check) else {
            return fail(app, source, &attempt, found.as_ref()).await;
        };
        if let Some(begun) = begin(app, source, &attempt, checked, upgrade, browser).await? {
            return Ok(begun);
        }
    }
    let attempt = throttle::attempt(app, source, Target::Unknown(identifier)).await?;
    fail(app, source, &attempt, None).await
}

/// Goes on with the log-in after the password was found to be correct. Returns `None` if the password or the roles of the account
/// changed while the password was hashed; then the password is checked again.
async fn begin(
    app: &App,
    source: &Source,
    attempt: &Attempt,
    checked: &user::Model,
    upgrade: Option<PasswordHash>,
    browser: Option<&Browser>,
) -> Result<Option<LogIn>> {
    let tx = app.db.write().await?;
    let now = app.clock.now();
    let Some(mut user) = user::Entity::locked(&tx, checked.id).await? else { return Ok(None) };
    if user.password_hash != checked.password_hash || user.epoch != checked.epoch {
        return Ok(None);
    }
    attempt.check(&tx, now).await?;
    if let Some(hash) = upgrade {
        user = users::upgrade_password_hash(&tx, user, hash).await?;
    }
    open(app, tx, now, source, user, &[Method::Password], browser).await.map(Some)
}

/// Opens a session for a user whose row is locked and who has been authenticated by `methods`, and commits. Every log-in ends
/// here, whatever the way in: only this decides whether the methods suffice for an account that has a second factor.
///
/// Only a complete log-in resets the limits of wrong passwords and factors, remembers network and browser, and may send a notice.
///
/// # Errors
/// [`Error::SecondFactorRequired`]; [`Error::AccountDisabled`].
pub(super) async fn open(
    app: &App,
    tx: Transaction,
    now: DateTime<Utc>,
    source: &Source,
    user: user::Model,
    methods: &[Method],
    browser: Option<&Browser>,
) -> Result<LogIn> {
    if user.status == Status::Disabled {
        return record_failure(tx, now, source, Some(&user), Error::AccountDisabled).await;
    }
    let authentication = Authentication::by(methods, now);
    if authentication.acr < user.best_acr() {
        let challenged = challenges::issue(app, &tx, now, &user, ChallengePurpose::LogIn, None).await?;
        audit::record(&tx, now, source, Actor::NONE, Event::on_user(Kind::LogInChallenged, &user)).await?;
        tx.commit().await?;
        return Err(Error::SecondFactorRequired(Box::new(challenged)));
    }
    must_be_of_generation(app, &tx, now).await?;
    let is_network_new = throttle::recognise(app, &tx, source, &user, now).await?;
    let roles = user_role::Entity::of(&tx, user.id).await?;
    let session = insert(app, &tx, now, source, user.id, authentication).await?;
    let issued = refresh::issue_tokens(app, now, &user, roles, &session)?;
    let actor = Actor::account(&user, Some(session.id));
    let event = Event::on_user(Kind::LoggedIn, &user).with(json!({ "amr": session.amr }));
    audit::record(&tx, now, source, actor, event).await?;
    let is_new = browser.map_or(is_network_new, |browser| !browser.knows(app, user.id, now));
    let notice = if is_new { notify(app, &tx, now, source, &user).await? } else { None };
    let browser = browser.filter(|_| !app.mail.transport.is_none()).map(|browser| browser.with(app, user.id, now));
    save_log_in(&tx, now, user, notice.is_some()).await?;
    tx.commit().await?;
    outbox::wake(app, notice);
    Ok(LogIn { issued, browser })
}

/// Fails with [`Error::Unavailable`] for a moment after a restore: until this process has read of the new generation, whose keys it
/// lacks, and until that has begun. The session's first token would be refused.
async fn must_be_of_generation(app: &App, tx: &Transaction, now: DateTime<Utc>) -> Result<()> {
    let generation = installation::Entity::row(tx).await?.generation();
    let cause = match generation.not_before {
        Some(begins) if begins > now => format!("the database was restored, and nobody is logged in before {}", rfc3339(begins)),
        _ if !app.access.generation.is(generation) => "the database was restored, and this server has not read it yet".to_owned(),
        _ => return Ok(()),
    };
    Err(Error::Unavailable(DbErr::Custom(cause)))
}

async fn insert(
    app: &App,
    tx: &Transaction,
    now: DateTime<Utc>,
    source: &Source,
    user: UserId,
    authentication: Authentication,
) -> Result<session::Model> {
    let Authentication { auth_time, acr, amr, factors } = authentication;
    let row = session::ActiveModel {
        id: Set(SessionId::new(now)),
        user_id: Set(user),
        client_id: Set(tokens::CLIENT.to_owned()),
        created_at: Set(now),
        last_used_at: Set(now),
        expires_at: Set(now + app.settings.sessions.max_ttl),
        address: Set(source.address.map(|address| address.to_string())),
        user_agent: Set(source.user_agent.clone()),
        refresh_secret: Set(refresh::secret()?),
        current: Set(Serial::FIRST),
        parent: Set(None),
        auth_time: Set(auth_time),
        acr: Set(acr),
        amr: Set(amr),
        factors: Set(factors),
    };
    Ok(session::Entity::insert(row).exec_with_returning(tx).await?)
}

/// Tells the owner of a log-in with a browser or from a network that is new to the account, unless it is the first log-in.
async fn notify(app: &App, tx: &Transaction, now: DateTime<Utc>, source: &Source, user: &user::Model) -> Result<Option<Queued>> {
    let was_just_told = user.sign_in_notice_at.is_some_and(|at| at > now - BETWEEN_NOTICES);
    if user.last_login_at.is_none() || was_just_told {
        return Ok(None);
    }
    let language = outbox::language_of(app, user);
    let browser = source.user_agent.as_ref().and_then(|user_agent| browser_name(user_agent, language));
    let values = Values { browser, network: source.address, ..Values::at(now) };
    outbox::notify(app, tx, now, MailKind::NewSignIn, user, values).await
}

async fn save_log_in(tx: &Transaction, now: DateTime<Utc>, user: user::Model, was_told: bool) -> Result<()> {
    // The revision stays, so that a log-in does not make a conditional change fail.
    let mut user = user.into_active_model();
    user.last_login_at = Set(Some(now));
    if was_told {
        user.sign_in_notice_at = Set(Some(now));
    }
    user.update(tx).await?;
    Ok(())
}

async fn fail<T>(app: &App, source: &Source, attempt: &Attempt, user: Option<&user::Model>) -> Result<T> {
    let (tx, now) = (app.db.write().await?, app.clock.now());
    attempt.failed(&tx, now).await?;
    record_failure(tx, now, source, user, Error::InvalidCredentials).await
}

/// Writes the audit event of a failed log-in, and returns the error. The event does not contain the identifier, which may be a
/// password by mistake.
async fn record_failure<T>(
    tx: Transaction,
    now: DateTime<Utc>,
    source: &Source,
    user: Option<&user::Model>,
    error: Error,
) -> Result<T> {
    let event = user.map_or_else(|| Event::of(Kind::LogInFailed), |user| Event::on_user(Kind::LogInFailed, user));
    let disabled = matches!(error, Error::AccountDisabled);
    audit::record(&tx, now, source, Actor::NONE, event.with(json!({ "disabled": disabled }))).await?;
    tx.commit().await?;
    Err(error)
}

/// Records in a session that its user has just been authenticated again, by `method`, and issues an access token that says so.
/// Its refresh token stays. Only this raises `auth_time`, `acr` and `amr` of a session. The transaction must have locked the
/// user's row, and `user` must have the epoch that the transaction will commit.
///
/// # Errors
/// [`Error::SessionEnded`].
pub(super) async fn raise(
    app: &App,
    tx: &Transaction,
    now: DateTime<Utc>,
    session: SessionId,
    user: &user::Model,
    roles: Vec<RoleName>,
    method: Method,
) -> Result<SessionAccess> {
    let found = session::Entity::of(user.id).filter(session::COLUMN.id.eq(session)).one(tx).await?;
    let found = found.filter(|session| !refresh::has_ended(app, session, now)).ok_or(Error::SessionEnded)?;
    let Authentication { auth_time, acr, amr, factors } = found.authentication().and(method, now);
    let mut row = found.into_active_model();
    (row.auth_time, row.acr, row.amr, row.factors) = (Set(auth_time), Set(acr), Set(amr), Set(factors));
    let session = row.update(tx).await?;
    refresh::issue_access(app, now, user, roles, &session)
}

/// A session that has not ended.
#[derive(Debug, Clone)]
pub struct Session {
    /// The session's row.
    pub row: session::Model,
    /// When the session ends unless it is refreshed.
    pub expires_at: DateTime<Utc>,
}

/// Returns a page of a user's sessions that have not ended, newest first.
///
/// # Errors
/// A fault of `cursor`.
pub async fn list(app: &App, user: UserId, paging: &Paging) -> Result<Slice<Session>> {
    const LIST: &str = "sessions";
    let (now, idle) = (app.clock.now(), app.settings.sessions.idle_ttl);
    let mut query = session::Entity::of(user)
        .filter(session::COLUMN.expires_at.gt(now))
        .filter(session::COLUMN.last_used_at.gt(now - idle))
        .order_by_desc(session::COLUMN.id)
        .limit(paging.rows());
    if let Some(id) = paging.position::<SessionId>(app, LIST)? {
        query = query.filter(session::COLUMN.id.lt(id));
    }
    let page = paging.slice(app, LIST, query.all(app.db.read()).await?, |session| session.id);
    Ok(page.map(|row| Session { expires_at: row.ends_at(idle), row }))
}

/// Returns a page of the sessions of any account that have not ended.
///
/// # Errors
/// [`Error::NotFound`]; a fault of `cursor`.
pub async fn list_of(app: &App, user: UserId, paging: &Paging) -> Result<Slice<Session>> {
    users::read(app, user).await?;
    list(app, user, paging).await
}

/// Ends the selected sessions of the caller, and returns their ids. Fails with [`Error::NotFound`] if the one session that is
/// selected is not the caller's.
pub async fn end(app: &App, caller: &Caller, selection: SessionSelection) -> Result<Vec<SessionId>> {
    let tx = app.db.write().await?;
    let CurrentUser { user, .. } = caller.recheck(&tx, app.clock.now()).await?;
    let pending = revocations::end_sessions(&tx, user.id, selection).await?;
    if pending.is_empty() && matches!(selection, SessionSelection::One(_)) {
        return Err(Error::NotFound(Missing::Session));
    }
    commit_end(app, tx, &caller.source, caller.actor(&user), &user, pending).await
}

/// Ends the session of a genuine refresh token, even of a spent one. Any other text changes nothing, and neither does the
/// token of a session that has ended.
pub async fn log_out(app: &App, source: &Source, presented: &str) -> Result<()> {
    let Some((session, _)) = refresh::session_of(app, presented).await? else { return Ok(()) };
    let tx = app.db.write().await?;
    let Some(user) = user::Entity::locked(&tx, session.user_id).await? else { return Ok(()) };
    let pending = revocations::end_sessions(&tx, user.id, SessionSelection::One(session.id)).await?;
    if !pending.is_empty() {
        commit_end(app, tx, source, Actor::account(&user, Some(session.id)), &user, pending).await?;
    }
    Ok(())
}

async fn commit_end(
    app: &App,
    tx: Transaction,
    source: &Source,
    actor: Actor,
    user: &user::Model,
    pending: revocations::PendingRevocations,
) -> Result<Vec<SessionId>> {
    let ended = pending.sessions();
    let event = Event::on_user(Kind::SessionEnded, user).with(json!({ "sessions": ended }));
    audit::record(&tx, app.clock.now(), source, actor, event).await?;
    pending.commit(app, tx).await?;
    Ok(ended)
}

/// Deletes the sessions that ended long ago. A row is kept for as long as an access token of the session may live under any
/// setting, because ending a session revokes only what has a row.
///
/// No index finds the sessions that were not used for long, because each refresh would have to change it. The old sessions are
/// read a part at a time, so that no other writer waits for it.
pub async fn purge(app: &App, trusted: TrustedReading) -> Result<()> {
    let expired = trusted.purge_before() - MAX_TOKEN_LIFETIME;
    let unused = expired - app.settings.sessions.idle_ttl;
    let (reader, mut last) = (app.db.read_in_background(), None);
    loop {
        let part = session::Entity::begun_before(&reader, expired, last).await?;
        let Some(end) = part.last() else { return Ok(()) };
        last = Some(end.id);
        let over = part.iter().filter(|session| session.expires_at <= expired || session.last_used_at <= unused);
        let over: Vec<_> = over.map(|session| session.id).collect();
        if !over.is_empty() {
            let tx = app.db.write_in_background().await?;
            session::Entity::delete_many().filter(session::COLUMN.id.is_in(over)).exec(&tx).await?;
            tx.commit().await?;
        }
    }
}
