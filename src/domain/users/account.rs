//! An account: its parts, and the code that writes them, for administrators and for the owner alike.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveEnum, ActiveModelTrait, ActiveValue::Set, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, ModelTrait,
    PaginatorTrait, TryIntoModel,
};
use serde_json::{Map, Value, json};

use crate::{
    app::App,
    domain::{challenges, credentials, mail::tickets},
    entity::{
        closed_account,
        user::{self, NameConflict, Profile, ProfileWithRoles, Status},
        user_role,
    },
    error::{Error, Fault, Result},
    live::{database::Transaction, mail::Values},
    values::{
        counters::{Epoch, Revision},
        email::Email,
        ids::UserId,
        language::Language,
        name::Name,
        password::NewPassword,
        password_hash::PasswordHash,
        role_name::RoleName,
        username::Username,
    },
};

/// A user with the names of their roles, sorted.
#[derive(Debug, Clone)]
pub struct User {
    /// The user's row, without the password hash.
    pub profile: Profile,
    /// The names of the roles.
    pub roles: Vec<RoleName>,
}

impl From<ProfileWithRoles> for User {
    fn from(row: ProfileWithRoles) -> Self {
        Self { roles: row.roles(), profile: row.profile }
    }
}

/// The parts of a new account.
pub struct NewAccount {
    /// The e-mail address, which no other account has.
    pub email: Email,
    /// The username, which no other account has.
    pub username: Option<Username>,
    /// The user's name.
    pub name: Option<Name>,
    /// The password. An account without a password cannot log in.
    pub password: Option<NewPassword>,
    /// The user's first roles.
    pub roles: Vec<RoleName>,
    /// The language in which the user wants to read mails.
    pub language: Option<Language>,
    /// Whether the address is the user's for sure: an administrator or the operator vouches for it, or the user has proven it.
    pub email_verified: bool,
}

/// New names for an account. `None` leaves a member unchanged; `Some(None)` clears it.
#[derive(Default)]
pub struct Names {
    /// The new e-mail address.
    pub email: Option<Email>,
    /// The new username.
    pub username: Option<Option<Username>>,
    /// The user's new name.
    pub name: Option<Option<Name>>,
    /// The language in which the user wants to read mails.
    pub language: Option<Option<Language>>,
}

impl Names {
    /// Sets the names in a row that is about to be saved. A new address is verified only if its mailbox is proven, or somebody
    /// else than the user vouches for it. It takes the place of one that waits for its confirmation.
    pub fn write(self, row: &mut user::ActiveModel, is_verified: bool) {
        if let Some(email) = self.email {
            let is_new = row.email.as_ref() != email.as_str();
            if is_verified || is_new {
                row.email_verified = Set(is_verified);
            }
            if is_new {
                row.pending_email = Set(None);
            }
            row.email = Set(email.into());
        }
        if let Some(language) = self.language {
            row.language = Set(language);
        }
        if let Some(username) = self.username {
            row.username = Set(username.map(String::from));
        }
        if let Some(name) = self.name {
            row.name = Set(name.map(String::from));
        }
    }
}

/// Hashes the password of a new account, if it has one. Checks first that the password fits the account and that the names are
/// free, so that a request that fails costs no hash.
///
/// # Errors
/// [`Error::EmailTaken`], [`Error::UsernameTaken`], [`Error::Overloaded`], or a fault of `/password`.
pub async fn hash_for(app: &App, new: &NewAccount) -> Result<Option<PasswordHash>> {
    let Some(password) = &new.password else { return Ok(None) };
    let least = app.settings.password.min_length;
    let username = new.username.as_ref().map(Username::as_str);
    password.check_policy(least, new.email.as_str(), username).map_err(|invalid| Fault::at("/password", invalid))?;
    let db = app.db.read();
    if user::Entity::by_identifier(new.email.as_str()).count(db).await? > 0 {
        return Err(Error::EmailTaken);
    }
    must_not_be_reserved(app, db, new.email.as_str(), None).await?;
    if let Some(username) = username
        && user::Entity::by_identifier(username).count(db).await? > 0
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
        epoch: Set(Epoch::default()),
        revision: Set(Revision::default()),
        created_at: Set(now),
        updated_at: Set(now),
        last_login_at: Set(None),
        email_verified: Set(new.email_verified),
        language: Set(new.language),
        pending_email: Set(None),
        sign_in_notice_at: Set(None),
        second_factor: Set(false),
    };
    let user = user.insert(tx).await.map_err(name_conflict)?;
    must_not_be_reserved(app, tx, &user.email, Some(user.id)).await?;
    user_role::replace(tx, user.id, &new.roles).await?;
    Ok(user)
}

/// Saves a changed row with the next revision. A row that is equal to `before` is not written.
///
/// # Errors
/// [`Error::EmailTaken`], [`Error::UsernameTaken`].
pub async fn save(app: &App, tx: &Transaction, before: user::Model, mut row: user::ActiveModel) -> Result<user::Model> {
    if row.clone().try_into_model()? == before {
        return Ok(before);
    }
    let now = app.clock.now();
    row.revision = Set(before.revision.next());
    row.updated_at = Set(now);
    if *row.email.as_ref() != before.email {
        tickets::void_address(app, tx, &before.email, &tickets::OF_NEW_ACCOUNTS, now).await?;
    }
    let after = row.update(tx).await.map_err(name_conflict)?;
    if after.email != before.email {
        must_not_be_reserved(app, tx, &after.email, Some(after.id)).await?;
    }
    Ok(after)
}

/// Fails with [`Error::EmailTaken`] if another user can still have the address back. Called after the address was written: the
/// index makes a transaction that gives the address up finish first, and only then is the reservation visible.
async fn must_not_be_reserved(app: &App, conn: &impl ConnectionTrait, address: &str, user: Option<UserId>) -> Result<()> {
    if tickets::is_reserved(app, conn, app.clock.now(), address, user).await? { Err(Error::EmailTaken) } else { Ok(()) }
}

/// When the person of a deleted account is erased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndOfPerson {
    /// When the settings say so.
    Later,
    /// As soon as possible.
    AtOnce,
}

/// Deletes the row of a user, and whatever belongs to it. What is left of the person waits for its erasure.
pub async fn remove(tx: &Transaction, user: user::Model, now: DateTime<Utc>, end: EndOfPerson) -> Result<()> {
    let due_at = (end == EndOfPerson::AtOnce).then_some(now);
    let closed = closed_account::Model { due_at, ..closed_account::Model::of(&user, now) };
    closed_account::Entity::insert(closed.into_active_model()).exec_without_returning(tx).await?;
    user.delete(tx).await?;
    Ok(())
}

/// Records that the user has proven that the address is theirs.
pub async fn set_verified(app: &App, tx: &Transaction, user: user::Model) -> Result<user::Model> {
    let mut row = user.clone().into_active_model();
    row.email_verified = Set(true);
    save(app, tx, user, row).await
}

/// Records whether the user still has a second factor, after one was added or removed. All tokens become stale, because they say how
/// well the user can prove who they are.
pub async fn factors_changed(app: &App, tx: &Transaction, user: user::Model, second_factor: bool) -> Result<user::Model> {
    let mut row = user.clone().into_active_model();
    row.second_factor = Set(second_factor);
    // A reader sees whether there is a factor, but not the epoch, so only the former changes the revision.
    let user = save(app, tx, user, row).await?;
    let epoch = user.epoch.next();
    let mut row = user.into_active_model();
    row.epoch = Set(epoch);
    Ok(row.update(tx).await?)
}

/// Makes void what was requested for an account and does not survive a change of it: the links and codes in mails, and the log-ins
/// that wait for a second factor.
pub async fn void_requests(tx: &Transaction, user: UserId, now: DateTime<Utc>) -> Result<()> {
    tickets::void(tx, user, now).await?;
    challenges::void(tx, user, now).await
}

/// Replaces a user's password hash, and withdraws a change of address that waits for its confirmation: somebody else may have
/// requested it. Only that changes the revision, because no reader sees the hash.
pub async fn set_password_hash(app: &App, tx: &Transaction, user: user::Model, hash: PasswordHash) -> Result<()> {
    let mut row = user.clone().into_active_model();
    row.pending_email = Set(None);
    let mut row = save(app, tx, user, row).await?.into_active_model();
    row.password_hash = Set(Some(hash));
    row.update(tx).await?;
    Ok(())
}

/// Stores a hash of the same password with another cost. Nothing else changes.
pub async fn upgrade_password_hash(tx: &Transaction, user: user::Model, hash: PasswordHash) -> Result<user::Model> {
    let mut row = user.into_active_model();
    row.password_hash = Set(Some(hash));
    Ok(row.update(tx).await?)
}

/// Returns the details of the audit event of a change: each member that differs, with its value before and after.
pub fn difference(before: &Profile, after: &user::Model) -> Value {
    let mut members = Map::new();
    let mut note = |member: &str, before: Value, after: Value| {
        if before != after {
            members.insert(member.into(), json!({ "before": before, "after": after }));
        }
    };
    note("email", json!(before.email), json!(after.email));
    note("username", json!(before.username), json!(after.username));
    note("name", json!(before.name), json!(after.name));
    note("pending_email", json!(before.pending_email), json!(after.pending_email));
    note("email_verified", json!(before.email_verified), json!(after.email_verified));
    note("second_factor", json!(before.second_factor), json!(after.second_factor));
    note("language", json!(before.language.map(Language::as_str)), json!(after.language.map(Language::as_str)));
    note("status", json!(before.status.to_value()), json!(after.status.to_value()));
    members.into()
}

/// Returns what a mail about a changed address mentions.
pub fn addresses(before: &user::Model, after: &user::Model) -> Values {
    let (old, new) = (Email::stored(&before.email), Email::stored(&after.email));
    Values { old_address: Some(old), new_address: Some(new), ..Values::at(after.updated_at) }
}

fn name_conflict(error: DbErr) -> Error {
    match NameConflict::from_error(&error) {
        Some(NameConflict::Email) => Error::EmailTaken,
        Some(NameConflict::Username) => Error::UsernameTaken,
        None => error.into(),
    }
}
