//! Users: the accounts of others, as administrators list, create, change and delete them.

use std::collections::BTreeSet;

use sea_orm::{ActiveValue::Set, ConnectionTrait, DbErr, IntoActiveModel, prelude::async_trait::async_trait};
use serde_json::json;

use super::{
    audit::{self, Event, Kind},
    authority::{Authority, By, ExtraPermission, keep_an_administrator},
    credentials,
    mail::{
        outbox::{self, Queued},
        tickets,
    },
    revocations::{self, PendingRevocations, SessionSelection},
};
use crate::{
    app::App,
    entity::{
        role,
        user::{self, ProfileWithRoles, Status},
        user_role,
    },
    error::{Error, Fault, Missing, Result},
    live::{
        database::{ReadById, Reader, Transaction},
        mail::Values,
    },
    values::{
        Invalid,
        identifier::Identifier,
        ids::UserId,
        mail_kind::MailKind,
        password::NewPassword,
        permission::{AssignRoles, OwnPermission},
        revision::IfMatch,
        role_name::RoleName,
        ticket_purpose::TicketPurpose,
    },
};

mod account;
mod list;

pub(super) use account::{
    EndOfPerson, addresses, difference, factors_changed, hash_for, insert, remove, save, set_verified, upgrade_password_hash,
    void_requests,
};
pub use account::{Names, NewAccount, User, set_password_hash};
pub use list::{Filter, MOST_COUNTED, Sort, count, list};

/// The changes of an account that an administrator requests.
#[derive(Default)]
pub struct Change {
    /// The new names.
    pub names: Names,
    /// The new status; `None` leaves it unchanged.
    pub status: Option<Status>,
}

#[async_trait]
impl ReadById for ProfileWithRoles {
    type Id = UserId;

    fn id(&self) -> UserId {
        self.profile.id
    }

    async fn read(db: &Reader, ids: &[UserId]) -> Result<Vec<Self>, DbErr> {
        user::Entity::profiles(db, ids).await
    }
}

/// Returns a user, or [`Error::NotFound`].
pub async fn read(app: &App, id: UserId) -> Result<User> {
    let row = app.shared_reads.users.row(app.db.read(), id).await?;
    row.map(User::from).ok_or(Error::NotFound(Missing::User))
}

/// Returns the account that a log-in or a command names, with its password hash.
pub async fn by_identifier(app: &App, identifier: &Identifier) -> Result<Option<user::Model>> {
    named(app.db.read(), identifier).await
}

/// Returns the account with this name. Reads the table even if the identifier is malformed, so that the work is the same.
pub(super) async fn named(conn: &impl ConnectionTrait, identifier: &Identifier) -> Result<Option<user::Model>> {
    let name = match identifier {
        Identifier::Email(email) => email.as_str(),
        Identifier::Username(username) => username.as_str(),
        Identifier::Malformed => "",
    };
    Ok(user::Entity::by_identifier(name).one(conn).await?)
}

/// Creates an account.
///
/// # Errors
/// [`Error::EscalationDenied`], [`Error::EmailTaken`], [`Error::UsernameTaken`], [`Error::Overloaded`], or a fault of
/// `/password` or `/roles`.
pub async fn create(app: &App, by: By<'_>, new: NewAccount) -> Result<User> {
    // Checked twice: before hashing, so that a caller without permission learns nothing and costs nothing, and again in the
    // transaction that makes the change.
    {
        let (tx, authority) = by.begin(app).await?;
        may_give(&authority, &tx, &new.roles).await?;
    }
    let hash = hash_for(app, &new).await?;
    let (tx, authority) = by.begin(app).await?;
    let roles = may_give(&authority, &tx, &new.roles).await?;
    let user = insert(app, &tx, new, hash).await?;
    let event = Event::on_user(Kind::UserCreated, &user).with(json!({ "roles": roles }));
    audit::record(&tx, user.created_at, &authority.source, authority.actor, event).await?;
    tx.commit().await?;
    Ok(User { profile: user.into(), roles })
}

/// What the roles of a new account require.
pub const GIVING_ROLES: ExtraPermission =
    ExtraPermission { permission: OwnPermission::of::<AssignRoles>(), case: "for any role but `user`" };

/// Returns the roles of a new account, sorted, if the authority may give them.
///
/// # Errors
/// [`Error::InsufficientPermission`], [`Error::EscalationDenied`], or a fault of `/roles`.
pub(super) async fn may_give(authority: &Authority, tx: &Transaction, roles: &[RoleName]) -> Result<Vec<RoleName>> {
    if roles.iter().any(|role| role.as_str() != RoleName::USER) {
        authority.require(GIVING_ROLES.permission)?;
    }
    let roles = existing(tx, roles).await?;
    authority.must_hold(&roles)?;
    Ok(roles)
}

/// Changes an account. Disabling an account ends its sessions.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EscalationDenied`], [`Error::LastAdmin`], [`Error::EmailTaken`], [`Error::UsernameTaken`];
/// [`Error::PreconditionFailed`] if `condition` does not allow the present revision; [`Error::OwnAccount`] if the caller would
/// change the address or the status of their own account.
pub async fn update(app: &App, by: By<'_>, id: UserId, change: Change, condition: Option<&IfMatch>) -> Result<User> {
    if change.names.email.is_some() || change.status.is_some() {
        by.must_not_be(id)?;
    }
    let (tx, authority) = by.begin(app).await?;
    let (before, roles) = target(&tx, &authority, id).await?;
    if condition.is_some_and(|condition| !condition.matches(before.revision)) {
        return Err(Error::PreconditionFailed);
    }
    let mut row = before.clone().into_active_model();
    change.names.write(&mut row, true);
    if let Some(status) = change.status {
        row.status = Set(status);
        if status == Status::Disabled {
            row.pending_email = Set(None);
        }
    }
    let after = save(app, &tx, before.clone(), row).await?;
    let is_disabled_now = after.status == Status::Disabled && before.status == Status::Active;
    if after.email != before.email || is_disabled_now {
        void_requests(&tx, id, app.clock.now()).await?;
    }
    let mut notices = Vec::new();
    if after.email != before.email {
        // Whoever had an earlier address could otherwise take the account back from the person for whom the administrator acts.
        tickets::void_purpose(&tx, id, TicketPurpose::Revert, app.clock.now()).await?;
        notices.extend(notify_of_address(app, &tx, &before, &after).await?);
    }
    let mut pending = PendingRevocations::default();
    if is_disabled_now {
        let now = after.updated_at;
        notices.extend(outbox::notify(app, &tx, now, MailKind::AccountDisabled, &after, Values::at(now)).await?);
        pending = revocations::end_sessions(&tx, id, SessionSelection::All).await?;
        keep_an_administrator(&tx, &roles).await?;
    }
    if after.revision != before.revision {
        let event = Event::on_user(Kind::UserUpdated, &after).with(difference(&before.into(), &after));
        audit::record(&tx, after.updated_at, &authority.source, authority.actor, event).await?;
    }
    pending.commit(app, tx).await?;
    outbox::wake(app, notices);
    Ok(User { profile: after.into(), roles })
}

/// Tells the old and the new mailbox that the account has another address.
pub(super) async fn notify_of_address(
    app: &App,
    tx: &Transaction,
    before: &user::Model,
    after: &user::Model,
) -> Result<Vec<Queued>> {
    let mut queued = Vec::new();
    for mailbox in [before, after] {
        let values = addresses(before, after);
        queued.extend(outbox::notify(app, tx, after.updated_at, MailKind::EmailChanged, mailbox, values).await?);
    }
    Ok(queued)
}

/// Sets an account's password and ends all its sessions.
///
/// # Errors
/// [`Error::NotFound`], [`Error::OwnAccount`], [`Error::EscalationDenied`], [`Error::Overloaded`], or a fault of
/// `/new_password`.
pub async fn set_password(app: &App, by: By<'_>, id: UserId, new: &NewPassword) -> Result<()> {
    by.must_not_be(id)?;
    // Checked twice, as in `create`.
    let (user, _) = {
        let (tx, authority) = by.begin(app).await?;
        target(&tx, &authority, id).await?
    };
    new.check_policy(app.settings.password.min_length, &user.email, user.username.as_deref())
        .map_err(|invalid| Fault::at("/new_password", invalid))?;
    let hash = credentials::hash(app, new).await?;
    let (tx, authority) = by.begin(app).await?;
    let (user, _) = target(&tx, &authority, id).await?;
    let now = app.clock.now();
    let event = Event::on_user(Kind::UserPasswordSet, &user);
    audit::record(&tx, now, &authority.source, authority.actor, event).await?;
    void_requests(&tx, id, now).await?;
    let notice = outbox::notify(app, &tx, now, MailKind::PasswordChanged, &user, Values::at(now)).await?;
    let pending = revocations::end_sessions(&tx, id, SessionSelection::All).await?;
    set_password_hash(app, &tx, user, hash).await?;
    pending.commit(app, tx).await?;
    outbox::wake(app, notice);
    Ok(())
}

/// Deletes an account and ends its sessions. Other accounts may take its names.
///
/// # Errors
/// [`Error::NotFound`], [`Error::OwnAccount`], [`Error::EscalationDenied`], [`Error::LastAdmin`].
pub async fn delete(app: &App, by: By<'_>, id: UserId) -> Result<()> {
    by.must_not_be(id)?;
    delete_and(app, by, id, EndOfPerson::Later).await
}

/// Deletes an account as [`delete`] does, by the operator and for a person who is erased right afterwards. No mail says so, because
/// it would keep the address.
pub(super) async fn delete_to_erase(app: &App, id: UserId) -> Result<()> {
    delete_and(app, By::Operator, id, EndOfPerson::AtOnce).await
}

async fn delete_and(app: &App, by: By<'_>, id: UserId, end: EndOfPerson) -> Result<()> {
    let (tx, authority) = by.begin(app).await?;
    let (user, roles) = target(&tx, &authority, id).await?;
    let event = Event::on_user(Kind::UserDeleted, &user).with(json!({ "roles": roles }));
    let now = app.clock.now();
    audit::record(&tx, now, &authority.source, authority.actor, event).await?;
    tickets::void_all(app, &tx, &user, now).await?;
    let notice = match end {
        EndOfPerson::Later => outbox::notify(app, &tx, now, MailKind::AccountClosed, &user, Values::at(now)).await?,
        EndOfPerson::AtOnce => None,
    };
    let pending = revocations::end_sessions(&tx, id, SessionSelection::All).await?;
    remove(&tx, user, now, end).await?;
    keep_an_administrator(&tx, &roles).await?;
    pending.commit(app, tx).await?;
    outbox::wake(app, notice);
    Ok(())
}

/// Sets exactly these roles on an account. Access tokens that were issued before become stale.
///
/// # Errors
/// [`Error::NotFound`], [`Error::OwnAccount`], [`Error::EscalationDenied`], [`Error::LastAdmin`], or a fault of `/roles`.
pub async fn set_roles(app: &App, by: By<'_>, id: UserId, names: &[RoleName]) -> Result<User> {
    by.must_not_be(id)?;
    let (tx, authority) = by.begin(app).await?;
    let (user, before) = target(&tx, &authority, id).await?;
    let after = existing(&tx, names).await?;
    authority.must_hold(&after)?;
    if before == after {
        return Ok(User { profile: user.into(), roles: after });
    }
    user_role::replace(&tx, id, &after).await?;
    let mut row = user.clone().into_active_model();
    row.epoch = Set(user.epoch.next());
    let user = save(app, &tx, user, row).await?;
    keep_an_administrator(&tx, &before).await?;
    let event = Event::on_user(Kind::UserRolesSet, &user).with(json!({ "before": before, "after": after }));
    audit::record(&tx, user.updated_at, &authority.source, authority.actor, event).await?;
    revocations::revoke_older_tokens(&tx, &user).await?.commit(app, tx).await?;
    Ok(User { profile: user.into(), roles: after })
}

/// Ends all sessions of an account.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EscalationDenied`].
pub async fn end_sessions(app: &App, by: By<'_>, id: UserId) -> Result<()> {
    let (tx, authority) = by.begin(app).await?;
    let (user, _) = target(&tx, &authority, id).await?;
    let event = Event::on_user(Kind::UserSessionsEnded, &user);
    audit::record(&tx, app.clock.now(), &authority.source, authority.actor, event).await?;
    revocations::end_sessions(&tx, id, SessionSelection::All).await?.commit(app, tx).await
}

/// Locks the user to act on, and returns the user with their roles. Fails with [`Error::EscalationDenied`] unless the authority
/// holds every permission that the user holds.
pub(super) async fn target(tx: &Transaction, authority: &Authority, id: UserId) -> Result<(user::Model, Vec<RoleName>)> {
    let user = user::Entity::locked(tx, id).await?.ok_or(Error::NotFound(Missing::User))?;
    let roles = user_role::Entity::of(tx, id).await?;
    authority.must_hold(&roles)?;
    Ok((user, roles))
}

/// Returns the names, sorted and once each. Each role that does not exist is a fault of `/roles/N`.
async fn existing(tx: &Transaction, names: &[RoleName]) -> Result<Vec<RoleName>> {
    let known = role::Entity::names(tx).await?;
    let unknown = names.iter().enumerate().filter(|(_, name)| !known.contains(*name));
    let fault = |(index, _)| Fault::at(format!("/roles/{index}"), Invalid::new("unknown_role", "There is no such role."));
    let faults: Vec<_> = unknown.map(fault).collect();
    if !faults.is_empty() {
        return Err(Error::Invalid(faults));
    }
    Ok(names.iter().cloned().collect::<BTreeSet<_>>().into_iter().collect())
}
