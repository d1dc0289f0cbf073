//! Authentication beyond the password of a log-in: a second factor completes the log-in, and users who are logged in prove again
//! that they are present.

use chrono::{DateTime, Utc};
use sea_orm::EntityTrait;
use serde_json::json;

use super::{
    audit::{self, Actor, Event, Kind},
    browsers::Browser,
    caller::{Caller, CurrentUser},
    ceremonies::Purpose,
    challenges,
    credentials::{self, PasswordCheck},
    factors::{self, FactorProof, Occasion, Proven},
    mail::outbox,
    passkeys::{self, Started},
    refresh::SessionAccess,
    sessions::{self, LogIn},
    source::Source,
    throttle::{self, Attempt, Target},
};
use crate::{
    app::App,
    entity::{challenge, user},
    error::{Error, Result},
    live::{database::Transaction, rate_limits::RateLimit},
    values::{
        authentication::{Acr, Method},
        challenge::{Challenge, ChallengePurpose},
        password::Password,
        role_name::RoleName,
    },
};

/// Completes a log-in with a second factor.
///
/// # Errors
/// [`Error::InvalidChallenge`]; [`Error::WrongFactor`], of which a challenge permits five; [`Error::AccountDisabled`];
/// [`Error::TooManyRequests`].
pub async fn complete_log_in(
    app: &App,
    source: &Source,
    challenge: &Challenge,
    proof: &FactorProof,
    browser: Option<&Browser>,
) -> Result<LogIn> {
    throttle::limit_rate(app, source, RateLimit::Challenge)?;
    // Before the transaction, so that a text that is no challenge costs one read and delays no other request.
    challenges::must_exist(app, challenge).await?;
    let (tx, now) = (app.db.write().await?, app.clock.now());
    let (row, user) = challenges::open(&tx, now, challenge, ChallengePurpose::LogIn).await?;
    let occasion = Occasion { purpose: Purpose::LogIn, source, actor: Actor::NONE, challenge: Some(&row), before: None };
    let Proven { tx, method, queued } = factors::prove(app, tx, now, &user, occasion, proof).await?;
    if !challenge::Entity::redeem(&tx, &row.digest, now).await? {
        return Err(Error::InvalidChallenge);
    }
    let begun = sessions::open(app, tx, now, source, user, &[Method::Password, method], browser).await?;
    outbox::wake(app, queued);
    Ok(begun)
}

/// What a caller presents to prove that they are present.
pub enum Factor {
    /// The password of an account that has no second factor.
    Password(Password),
    /// A second factor.
    Second(FactorProof),
}

/// Authenticates the caller again: raises their session, and returns an access token that says so.
///
/// # Errors
/// [`Error::WrongFactor`], also for the password of an account that has a second factor; [`Error::TooManyRequests`];
/// [`Error::Overloaded`].
pub async fn again(app: &App, caller: &Caller, factor: &Factor) -> Result<SessionAccess> {
    let password = match factor {
        Factor::Password(password) => password,
        Factor::Second(proof) => return again_with_factor(app, caller, proof).await,
    };
    if caller.claims().acr_max > Acr::One {
        return Err(Error::WrongFactor);
    }
    let confirmed = confirm_password(app, caller, password, || Error::WrongFactor).await?;
    let (tx, now) = (app.db.write().await?, app.clock.now());
    let CurrentUser { user, roles } = caller.recheck(&tx, now).await?;
    confirmed.must_be_current(&tx, now, &user).await?;
    let access = raise(app, &tx, now, caller, &user, roles, Method::Password).await?;
    tx.commit().await?;
    Ok(access)
}

async fn again_with_factor(app: &App, caller: &Caller, proof: &FactorProof) -> Result<SessionAccess> {
    let (tx, now) = (app.db.write().await?, app.clock.now());
    let CurrentUser { user, roles } = caller.recheck(&tx, now).await?;
    let occasion =
        Occasion { purpose: Purpose::Proof, source: &caller.source, actor: caller.actor(&user), challenge: None, before: None };
    let Proven { tx, method, queued } = factors::prove(app, tx, now, &user, occasion, proof).await?;
    let access = raise(app, &tx, now, caller, &user, roles, method).await?;
    tx.commit().await?;
    outbox::wake(app, queued);
    Ok(access)
}

/// Raises the session of the caller, who has just been authenticated by `method`.
async fn raise(
    app: &App,
    tx: &Transaction,
    now: DateTime<Utc>,
    caller: &Caller,
    user: &user::Model,
    roles: Vec<RoleName>,
    method: Method,
) -> Result<SessionAccess> {
    let event = Event::on_user(Kind::AuthenticatedAgain, user).with(json!({ "method": method.as_str() }));
    audit::record(tx, now, &caller.source, caller.actor(user), event).await?;
    sessions::raise(app, tx, now, caller.session(), user, roles, method).await
}

/// The caller's password, as it was confirmed before the transaction that needs it.
pub(super) struct ConfirmedPassword {
    user: user::Model,
    attempt: Attempt,
    wrong: fn() -> Error,
}

impl ConfirmedPassword {
    /// Fails if the password has changed since it was confirmed, or if other attempts have failed meanwhile. Forgives no attempts: a
    /// password in a session is no complete log-in, and the session may be stolen.
    pub(super) async fn must_be_current(&self, tx: &Transaction, now: DateTime<Utc>, user: &user::Model) -> Result<()> {
        self.attempt.check(tx, now).await?;
        if user.password_hash == self.user.password_hash { Ok(()) } else { Err((self.wrong)()) }
    }
}

/// Checks the caller's password. A wrong one counts as an attempt, is written into the audit trail, and is the error `wrong`.
pub(super) async fn confirm_password(
    app: &App,
    caller: &Caller,
    password: &Password,
    wrong: fn() -> Error,
) -> Result<ConfirmedPassword> {
    let user = user::Entity::find_by_id(caller.user()).one(app.db.read()).await?.ok_or(Error::SessionEnded)?;
    let attempt = throttle::attempt(app, &caller.source, Target::Account(user.id)).await?;
    if let PasswordCheck::Correct { .. } = credentials::check(app, user.password_hash.as_ref(), password).await? {
        return Ok(ConfirmedPassword { user, attempt, wrong });
    }
    let (tx, now) = (app.db.write().await?, app.clock.now());
    attempt.failed(&tx, now).await?;
    let event = Event::on_user(Kind::PasswordRefused, &user);
    audit::record(&tx, now, &caller.source, caller.actor(&user), event).await?;
    tx.commit().await?;
    Err(wrong())
}

/// Begins a proof of presence by one of the caller's passkeys.
///
/// # Errors
/// [`Error::PasskeysUnavailable`].
pub async fn start_passkey(app: &App, caller: &Caller) -> Result<Started> {
    passkeys::start_proof(app, Purpose::Proof, caller.user()).await
}
