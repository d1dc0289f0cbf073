//! Accounts, as their owners see them: register, look, change, close.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveEnum, ActiveModelTrait, ActiveValue::Set, DbErr, EntityTrait, IntoActiveModel, ModelTrait, PaginatorTrait, TryIntoModel,
};
use serde_json::json;

use super::{
    audit::{self, Actor, Event, Kind},
    caller::{Caller, Standing, lock_administration},
    credentials::{self, Verdict},
    revocations::{self, Which},
    source::Source,
    throttle::{self, Attempt, Target},
    users::{self, User},
};
use crate::{
    app::App,
    entity::{
        user::{self, NameConflict, Profile, Status},
        user_role,
    },
    error::{Error, Fault, Result},
    live::{database::Transaction, rate_limits::RateLimit},
    values::{
        Invalid,
        email::Email,
        ids::{SessionId, UserId},
        name::Name,
        password::{NewPassword, Password},
        password_hash::PasswordHash,
        revision::IfMatch,
        role_name::RoleName,
        username::Username,
    },
};

/// A new account's facts.
pub struct NewAccount {
    /// The address; no other account has it.
    pub email: Email,
    /// The username, if they want one; no other account has it.
    pub username: Option<Username>,
    /// What they are called.
    pub name: Option<Name>,
    /// The password; an account without one cannot log in.
    pub password: Option<NewPassword>,
    /// The roles it begins with.
    pub roles: Vec<RoleName>,
}

/// What an account is called. `None` leaves a member alone; `Some(None)` clears it.
#[derive(Default)]
pub struct Names {
    /// A new address.
    pub email: Option<Email>,
    /// A new username, or none.
    pub username: Option<Option<Username>>,
    /// A new name, or none.
    pub name: Option<Option<Name>>,
}

impl Names {
    /// Writes them into a row that is about to be saved.
    pub(super) fn write(self, row: &mut user::ActiveModel) {
        if let Some(email) = self.email {
            row.email = Set(email.into());
        }
        if let Some(username) = self.username {
            row.username = Set(username.map(String::from));
        }
        if let Some(name) = self.name {
            row.name = Set(name.map(String::from));
        }
    }
}

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
    let hash = hash_for(app, &new).await?;
    let tx = app.db.write().await?;
    let user = insert(app, &tx, new, hash).await?;
    let actor = Actor::account(&user, None);
    audit::record(&tx, user.created_at, source, actor, Event::on_user(Kind::AccountRegistered, &user)).await?;
    let roles = user_role::Entity::of(&tx, user.id).await?;
    tx.commit().await?;
    Ok(User { profile: user.into(), roles })
}

/// Checks that the password fits the account and that the names are free, then hashes: a refusal costs no hash.
///
/// # Errors
/// As [`register`].
pub async fn hash_for(app: &App, new: &NewAccount) -> Result<Option<PasswordHash>> {
    let Some(password) = &new.password else { return Ok(None) };
    let least = app.settings.password.min_length;
    password
        .fits(least, new.email.as_str(), new.username.as_ref().map(Username::as_str))
        .map_err(|it| Fault::at("/password", it))?;
    let db = app.db.read();
    if user::Entity::by_identifier(new.email.as_str()).count(db).await? > 0 {
        return Err(Error::EmailTaken);
    }
    if let Some(username) = &new.username
        && user::Entity::by_identifier(username.as_str()).count(db).await? > 0
    {
        return Err(Error::UsernameTaken);
    }
    credentials::hash(app, password).await.map(Some)
}

/// Inserts an account with its roles.
///
/// # Errors
/// [`Error::EmailTaken`], [`Error::UsernameTaken`].
pub async fn insert(app: &App, tx: &Transaction, new: NewAccount, hash: Option<PasswordHash>) -> Result<user::Model> {
    let now = app.clock.now();
    let user = user::ActiveModel {
        id: Set(UserId::new(now)),
        email: Set(new.email.into()),
        username: Set(new.username.map(String::from)),
        name: Set(new.name.map(String::from)),
        status: Set(Status::Active),
        password_hash: Set(hash),
        epoch: Set(0),
        revision: Set(0),
        created_at: Set(now),
        updated_at: Set(now),
        last_login_at: Set(None),
    };
    let user = user.insert(tx).await.map_err(name_conflict)?;
    user_role::replace(tx, user.id, &new.roles).await?;
    Ok(user)
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
    let after = save(app, &tx, user, row).await?;
    if after.revision != before.revision {
        let event = Event::on_user(Kind::AccountUpdated, &after).with(difference(&before, &after));
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
    set_password_hash(&tx, user, hash).await?;
    taken.commit(app, tx).await
}

/// Replaces a user's password hash. Nothing that others see of the user changes.
///
/// # Errors
/// When the database fails.
pub async fn set_password_hash(tx: &Transaction, user: user::Model, hash: PasswordHash) -> Result<()> {
    let mut row = user.into_active_model();
    row.password_hash = Set(Some(hash));
    row.update(tx).await?;
    Ok(())
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
    users::keep_an_administrator(&tx, &roles).await?;
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

/// Writes what changed of a user, and counts the change. What changed nothing leaves no trace.
///
/// # Errors
/// [`Error::EmailTaken`], [`Error::UsernameTaken`].
pub async fn save(app: &App, tx: &Transaction, before: user::Model, mut row: user::ActiveModel) -> Result<user::Model> {
    if row.clone().try_into_model()? == before {
        return Ok(before);
    }
    row.revision = Set(before.revision + 1);
    row.updated_at = Set(app.clock.now());
    row.update(tx).await.map_err(name_conflict)
}

/// What an audit event tells of a change: each member that differs, before and after.
#[must_use]
pub fn difference(before: &Profile, after: &user::Model) -> serde_json::Value {
    let mut members = serde_json::Map::new();
    let mut note = |member: &str, before: serde_json::Value, after: serde_json::Value| {
        if before != after {
            members.insert(member.into(), json!({ "before": before, "after": after }));
        }
    };
    note("email", json!(before.email), json!(after.email));
    note("username", json!(before.username), json!(after.username));
    note("name", json!(before.name), json!(after.name));
    note("status", json!(before.status.to_value()), json!(after.status.to_value()));
    members.into()
}

fn name_conflict(err: DbErr) -> Error {
    match NameConflict::from_error(&err) {
        Some(NameConflict::Email) => Error::EmailTaken,
        Some(NameConflict::Username) => Error::UsernameTaken,
        None => err.into(),
    }
}
