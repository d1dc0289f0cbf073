//! Accounts, as their owners see them: register, look, change, close.

use chrono::{DateTime, Utc};
use sea_orm::{EntityTrait, IntoActiveModel, ModelTrait};
use serde_json::json;

use super::{
    audit::{self, Actor, Event, Kind},
    authority::{keep_an_administrator, lock_administration},
    caller::{Caller, Standing},
    credentials::{self, Verdict},
    revocations::{self, Which},
    source::Source,
    throttle::{self, Attempt, Target},
    users::{self, Names, NewAccount, User},
};
use crate::{
    app::App,
    entity::{
        user::{self, Profile},
        user_role,
    },
    error::{Error, Fault, Result},
    live::{database::Transaction, rate_limits::RateLimit},
    values::{
        Invalid,
        ids::SessionId,
        password::{NewPassword, Password},
        revision::IfMatch,
    },
};

/// Makes an account for somebody who asks for one.
///
/// # Errors
/// [`Error::RegistrationClosed`], [`Error::EmailTaken`], [`Error::UsernameTaken`], [`Error::TooManyRequests`],
/// [`Error::Overloaded`], or a fault of the password.
pub async fn register(app: &App, source: &Source, new: NewAccount) -> Result<User> {
    if !app.settings.registration.open {
        return Err(Error::RegistrationClosed);
    }
    throttle::limit_rate(app, source, RateLimit::Registration)?;
    let hash = users::hash_for(app, &new).await?;
    let tx = app.db.write().await?;
    let user = users::insert(app, &tx, new, hash).await?;
    let actor = Actor::account(&user, None);
    audit::record(&tx, user.created_at, source, actor, Event::on_user(Kind::AccountRegistered, &user)).await?;
    let roles = user_role::Entity::of(&tx, user.id).await?;
    tx.commit().await?;
    Ok(User { profile: user.into(), roles })
}

/// The caller's own account.
///
/// # Errors
/// [`Error::SessionEnded`] when it is gone.
pub async fn read(app: &App, caller: &Caller) -> Result<User> {
    users::read(app, caller.user()).await.map_err(|err| if matches!(err, Error::NotFound(_)) { Error::SessionEnded } else { err })
}

/// Changes the caller's own account. A new address requires the current password as proof that the owner asks; the present
/// address, in any spelling, is not a new one.
///
/// # Errors
/// [`Error::PreconditionFailed`] when `condition` names another state; [`Error::EmailTaken`],
/// [`Error::UsernameTaken`]; a fault of `/current_password` when a new address comes without the right one.
pub async fn update(
    app: &App,
    caller: &Caller,
    names: Names,
    current_password: Option<&Password>,
    condition: Option<&IfMatch>,
) -> Result<User> {
    let proof = match (&names.email, current_password) {
        (Some(email), Some(password)) if read(app, caller).await?.profile.email != email.as_str() => {
            Some(prove(app, caller, password).await?)
        }
        _ => None,
    };
    let tx = app.db.write().await?;
    let Standing { user, roles } = caller.recheck(&tx, app.clock.now()).await?;
    if let Some(proof) = proof {
        proof.holds(&tx, app.clock.now(), &user).await?;
    } else if names.email.as_ref().is_some_and(|it| it.as_str() != user.email) {
        return Err(Fault::at("/current_password", Invalid::new("required", "A new e-mail address requires it.")).into());
    }
    if condition.is_some_and(|it| !it.allows(user.revision)) {
        return Err(Error::PreconditionFailed);
    }
    let before = Profile::from(user.clone());
    let mut row = user.clone().into_active_model();
    names.write(&mut row);
    let after = users::save(app, &tx, user, row).await?;
    if after.revision != before.revision {
        let event = Event::on_user(Kind::AccountUpdated, &after).with(users::difference(&before, &after));
        audit::record(&tx, after.updated_at, &caller.source, caller.actor(&after), event).await?;
    }
    tx.commit().await?;
    Ok(User { profile: after.into(), roles })
}

/// Changes the caller's password. This session goes on, the others end.
///
/// # Errors
/// A fault of `/current_password` or `/new_password`; [`Error::TooManyRequests`]; [`Error::Overloaded`].
pub async fn change_password(app: &App, caller: &Caller, current: &Password, new: &NewPassword) -> Result<()> {
    // First, for it tells nothing of the current password, and costs no hash.
    let user = user::Entity::find_by_id(caller.user()).one(app.db.read()).await?.ok_or(Error::SessionEnded)?;
    new.fits(app.settings.password.min_length, &user.email, user.username.as_deref())
        .map_err(|it| Fault::at("/new_password", it))?;
    let proof = prove(app, caller, current).await?;
    let hash = credentials::hash(app, new).await?;
    let tx = app.db.write().await?;
    let Standing { user, .. } = caller.recheck(&tx, app.clock.now()).await?;
    let now = app.clock.now();
    proof.holds(&tx, now, &user).await?;
    audit::record(&tx, now, &caller.source, caller.actor(&user), Event::on_user(Kind::PasswordChanged, &user)).await?;
    let taken = revocations::end_sessions(&tx, user.id, Which::Except(caller.session())).await?;
    users::set_password_hash(&tx, user, hash).await?;
    taken.commit(app, tx).await
}

/// Closes the caller's account: it is deleted, and its sessions end. Returns their ids.
///
/// # Errors
/// A fault of `/current_password`; [`Error::LastAdmin`]; [`Error::TooManyRequests`]; [`Error::Overloaded`].
pub async fn close(app: &App, caller: &Caller, current: &Password) -> Result<Vec<SessionId>> {
    let proof = prove(app, caller, current).await?;
    let tx = app.db.write().await?;
    lock_administration(&tx).await?;
    let Standing { user, roles } = caller.recheck(&tx, app.clock.now()).await?;
    let now = app.clock.now();
    proof.holds(&tx, now, &user).await?;
    let event = Event::on_user(Kind::AccountClosed, &user).with(json!({ "roles": roles }));
    audit::record(&tx, now, &caller.source, caller.actor(&user), event).await?;
    let taken = revocations::end_sessions(&tx, user.id, Which::All).await?;
    let ended = taken.sessions();
    user.delete(&tx).await?;
    keep_an_administrator(&tx, &roles).await?;
    taken.commit(app, tx).await?;
    Ok(ended)
}

/// The caller knew the password when it was checked. Whoever changes something asks again in its transaction.
struct Proof {
    user: user::Model,
    attempt: Attempt,
}

impl Proof {
    /// Goes on if the password is still the one that was checked.
    async fn holds(&self, tx: &Transaction, now: DateTime<Utc>, user: &user::Model) -> Result<()> {
        self.attempt.succeeded(tx, now).await?;
        if user.password_hash == self.user.password_hash { Ok(()) } else { Err(wrong_password()) }
    }
}

/// Checks that `password` is the caller's.
async fn prove(app: &App, caller: &Caller, password: &Password) -> Result<Proof> {
    let user = user::Entity::find_by_id(caller.user()).one(app.db.read()).await?.ok_or(Error::SessionEnded)?;
    let attempt = throttle::attempt(app, &caller.source, Target::Account(user.id)).await?;
    if let Verdict::Right { .. } = credentials::check(app, user.password_hash.as_ref(), password).await? {
        return Ok(Proof { user, attempt });
    }
    let (tx, now) = (app.db.write().await?, app.clock.now());
    attempt.failed(&tx, now).await?;
    let event = Event::on_user(Kind::PasswordRefused, &user);
    audit::record(&tx, now, &caller.source, caller.actor(&user), event).await?;
    tx.commit().await?;
    Err(wrong_password())
}

fn wrong_password() -> Error {
    Fault::at("/current_password", Invalid::new("wrong_password", "Is not the current password.")).into()
}
