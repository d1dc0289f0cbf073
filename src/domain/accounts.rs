//! Accounts: people register, read, change and close their own account.

use sea_orm::{EntityTrait, IntoActiveModel};
use serde_json::json;

use super::{
    audit::{self, Actor, Event, Kind},
    authentication,
    authority::{keep_an_administrator, lock_administration},
    caller::{Caller, CurrentUser},
    credentials, email_changes,
    mail::{outbox, tickets},
    revocations::{self, SessionSelection},
    source::Source,
    throttle,
    users::{self, EndOfPerson, Names, NewAccount, User},
};
use crate::{
    app::App,
    entity::{user, user_role},
    error::{Error, Fault, Result},
    live::{mail::Values, rate_limits::RateLimit},
    values::{
        Invalid,
        ids::SessionId,
        language::Language,
        mail_kind::MailKind,
        password::{NewPassword, Password},
        registration_mode::RegistrationMode,
        revision::IfMatch,
    },
};

/// Creates an account for a person who is not logged in.
///
/// # Errors
/// [`Error::RegistrationClosed`], [`Error::EmailTaken`], [`Error::UsernameTaken`], [`Error::TooManyRequests`],
/// [`Error::Overloaded`], or a fault of `/password`.
pub async fn register(app: &App, source: &Source, new: NewAccount) -> Result<User> {
    if app.settings.registration.mode != RegistrationMode::Open {
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

/// Returns the caller's account, or [`Error::SessionEnded`] if it was deleted.
pub async fn read(app: &App, caller: &Caller) -> Result<User> {
    users::read(app, caller.user()).await.map_err(|error| match error {
        Error::NotFound(_) => Error::SessionEnded,
        error => error,
    })
}

/// Changes the caller's account. A new e-mail address requires the current password, so that a stolen token cannot take the
/// account over. The present address, in any spelling, is not a new one. Where mail can be sent, the new address waits until its
/// mailbox confirms it. `language` is that of the request.
///
/// # Errors
/// [`Error::PreconditionFailed`] if `condition` does not allow the present revision; [`Error::EmailTaken`];
/// [`Error::UsernameTaken`]; a fault of `/current_password`.
pub async fn update(
    app: &App,
    caller: &Caller,
    mut names: Names,
    current_password: Option<&Password>,
    condition: Option<&IfMatch>,
    language: Option<Language>,
) -> Result<User> {
    let confirmed = match (&names.email, current_password) {
        (Some(email), Some(password)) if read(app, caller).await?.profile.email != email.as_str() => {
            Some(authentication::confirm_password(app, caller, password, wrong_password).await?)
        }
        _ => None,
    };
    let tx = app.db.write().await?;
    let CurrentUser { user, roles } = caller.recheck(&tx, app.clock.now()).await?;
    if let Some(confirmed) = confirmed {
        confirmed.must_be_current(&tx, app.clock.now(), &user).await?;
    } else if names.email.as_ref().is_some_and(|email| email.as_str() != user.email) {
        return Err(Fault::at("/current_password", Invalid::new("required", "A new e-mail address requires it.")).into());
    }
    if condition.is_some_and(|condition| !condition.matches(user.revision)) {
        return Err(Error::PreconditionFailed);
    }
    let to_confirm = names.email.take_if(|email| app.mail.transport.can_send() && email.as_str() != user.email);
    let mut row = user.clone().into_active_model();
    names.write(&mut row, false);
    let mut after = users::save(app, &tx, user.clone(), row).await?;
    let mut queued = Vec::new();
    if after.email != user.email {
        users::void_requests(&tx, after.id, app.clock.now()).await?;
        queued = users::notify_of_address(app, &tx, &user, &after).await?;
    }
    if after.revision != user.revision {
        let event = Event::on_user(Kind::AccountUpdated, &after).with(users::difference(&user.into(), &after));
        audit::record(&tx, after.updated_at, &caller.source, caller.actor(&after), event).await?;
    }
    if let Some(address) = to_confirm {
        let now = app.clock.now();
        (after, queued) = email_changes::request(app, &tx, now, caller, after, address, language).await?;
    }
    tx.commit().await?;
    outbox::wake(app, queued);
    Ok(User { profile: after.into(), roles })
}

/// Changes the caller's password. The caller's session continues; all their other sessions end.
///
/// # Errors
/// A fault of `/current_password` or `/new_password`; [`Error::TooManyRequests`]; [`Error::Overloaded`].
pub async fn change_password(app: &App, caller: &Caller, current: &Password, new: &NewPassword) -> Result<()> {
    // The new password is checked first: that costs no hash and reveals nothing about the current password.
    let user = user::Entity::find_by_id(caller.user()).one(app.db.read()).await?.ok_or(Error::SessionEnded)?;
    new.check_policy(app.settings.password.min_length, &user.email, user.username.as_deref())
        .map_err(|invalid| Fault::at("/new_password", invalid))?;
    let confirmed = authentication::confirm_password(app, caller, current, wrong_password).await?;
    let hash = credentials::hash(app, new).await?;
    let tx = app.db.write().await?;
    let CurrentUser { user, .. } = caller.recheck(&tx, app.clock.now()).await?;
    let now = app.clock.now();
    confirmed.must_be_current(&tx, now, &user).await?;
    audit::record(&tx, now, &caller.source, caller.actor(&user), Event::on_user(Kind::PasswordChanged, &user)).await?;
    users::void_requests(&tx, user.id, now).await?;
    let notice = outbox::notify(app, &tx, now, MailKind::PasswordChanged, &user, Values::at(now)).await?;
    let pending = revocations::end_sessions(&tx, user.id, SessionSelection::AllExcept(caller.session())).await?;
    users::set_password_hash(app, &tx, user, hash).await?;
    pending.commit(app, tx).await?;
    outbox::wake(app, notice);
    Ok(())
}

/// Closes the caller's account: deletes it, ends its sessions, and returns their ids.
///
/// # Errors
/// A fault of `/current_password`; [`Error::LastAdmin`]; [`Error::TooManyRequests`]; [`Error::Overloaded`].
pub async fn close(app: &App, caller: &Caller, current: &Password) -> Result<Vec<SessionId>> {
    let confirmed = authentication::confirm_password(app, caller, current, wrong_password).await?;
    let tx = app.db.write().await?;
    lock_administration(&tx).await?;
    let CurrentUser { user, roles } = caller.recheck(&tx, app.clock.now()).await?;
    let now = app.clock.now();
    confirmed.must_be_current(&tx, now, &user).await?;
    let event = Event::on_user(Kind::AccountClosed, &user).with(json!({ "roles": roles }));
    audit::record(&tx, now, &caller.source, caller.actor(&user), event).await?;
    tickets::void_all(app, &tx, &user, now).await?;
    let notice = outbox::notify(app, &tx, now, MailKind::AccountClosed, &user, Values::at(now)).await?;
    let pending = revocations::end_sessions(&tx, user.id, SessionSelection::All).await?;
    let ended = pending.sessions();
    users::remove(&tx, user, now, EndOfPerson::Later).await?;
    keep_an_administrator(&tx, &roles).await?;
    pending.commit(app, tx).await?;
    outbox::wake(app, notice);
    Ok(ended)
}

fn wrong_password() -> Error {
    Fault::at("/current_password", Invalid::new("wrong_password", "Is not the current password.")).into()
}
