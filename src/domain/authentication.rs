//! Authentication of users who are logged in: they prove again that they are present.

use chrono::{DateTime, Utc};
use sea_orm::EntityTrait;
use serde_json::json;

use super::{
    audit::{self, Event, Kind},
    caller::{Caller, CurrentUser},
    credentials::{self, PasswordCheck},
    refresh::SessionAccess,
    sessions,
    throttle::{self, Attempt, Target},
};
use crate::{
    app::App,
    entity::user,
    error::{Error, Result},
    live::database::Transaction,
    values::{
        authentication::{Acr, Method},
        password::Password,
    },
};

/// What a caller presents to prove that they are present.
pub enum Factor {
    /// The password of an account that has no second factor.
    Password(Password),
}

/// Authenticates the caller again: raises their session, and returns an access token that says so.
///
/// # Errors
/// [`Error::WrongFactor`], also for the password of an account that has a second factor; [`Error::TooManyRequests`];
/// [`Error::Overloaded`].
pub async fn again(app: &App, caller: &Caller, factor: &Factor) -> Result<SessionAccess> {
    let Factor::Password(password) = factor;
    if caller.claims().acr_max > Acr::One {
        return Err(Error::WrongFactor);
    }
    let confirmed = confirm_password(app, caller, password, || Error::WrongFactor).await?;
    let (tx, now) = (app.db.write().await?, app.clock.now());
    let CurrentUser { user, roles } = caller.recheck(&tx, now).await?;
    confirmed.must_be_current(&tx, now, &user).await?;
    let method = Method::Password;
    let event = Event::on_user(Kind::AuthenticatedAgain, &user).with(json!({ "method": method.as_str() }));
    audit::record(&tx, now, &caller.source, caller.actor(&user), event).await?;
    let access = sessions::raise(app, &tx, now, caller.session(), &user, roles, method).await?;
    tx.commit().await?;
    Ok(access)
}

/// The caller's password, as it was confirmed before the transaction that needs it.
pub(super) struct ConfirmedPassword {
    user: user::Model,
    attempt: Attempt,
    wrong: fn() -> Error,
}

impl ConfirmedPassword {
    /// Fails if the password has changed since it was confirmed.
    pub(super) async fn must_be_current(&self, tx: &Transaction, now: DateTime<Utc>, user: &user::Model) -> Result<()> {
        self.attempt.succeeded(tx, now).await?;
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
