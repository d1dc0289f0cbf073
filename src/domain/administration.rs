//! Administration: what some may do to the accounts of others. Nobody grants, takes or touches what they do not hold
//! themselves, and there is always an active administrator. The operator at the command line holds everything.

use std::collections::BTreeSet;

use sea_orm::{ActiveValue::Set, IntoActiveModel, ModelTrait};
use serde_json::json;

use super::{
    accounts::{self, Names, NewAccount},
    audit::{self, Actor, Event, Kind},
    caller::{Caller, Standing, lock_administration},
    credentials,
    revocations::{self, Which},
    source::Source,
    users::{self, User},
};
use crate::{
    app::App,
    entity::{
        role,
        user::{self, Status},
        user_role,
    },
    error::{Error, Fault, Missing, Result},
    live::{database::Transaction, role_map::RoleMap},
    values::{
        Invalid,
        ids::UserId,
        password::NewPassword,
        permission::{AssignRoles, Grants, Permission},
        revision::IfMatch,
        role_name::RoleName,
    },
};

/// On whose authority something is done.
#[derive(Clone, Copy)]
pub enum By<'a> {
    /// Somebody who is signed in, by virtue of this permission.
    Caller(&'a Caller, &'static str),
    /// Whoever has a shell on the server.
    Operator,
}

/// An authority as it stands inside the transaction of the change.
pub(super) struct Authority {
    pub(super) actor: Actor,
    pub(super) source: Source,
    grants: Grants,
    map: RoleMap,
}

impl By<'_> {
    /// Begins a transaction, reads the authority's standing again in it, and keeps that from changing until it ends.
    ///
    /// # Errors
    /// [`Error::InsufficientPermission`] when the permission was lost since the guard let them in;
    /// [`Error::SessionEnded`], [`Error::StaleToken`].
    pub(super) async fn begin(self, app: &App) -> Result<(Transaction, Authority)> {
        let tx = app.db.write().await?;
        lock_administration(&tx).await?;
        let map = RoleMap::load(&tx).await?;
        let authority = match self {
            Self::Operator => Authority { actor: Actor::operator(), source: Source::default(), grants: Grants::Everything, map },
            Self::Caller(caller, permission) => {
                let Standing { user, roles } = caller.recheck(&tx, app.clock.now()).await?;
                map.require(&roles, permission)?;
                Authority { actor: caller.actor(&user), source: caller.source.clone(), grants: map.grants(&roles), map }
            }
        };
        Ok((tx, authority))
    }
}

impl By<'_> {
    /// Fails where callers act on their own account as administrators: that takes no proof, so a stolen token could take the
    /// account over. Under `/v1/me` they give their password.
    ///
    /// # Errors
    /// [`Error::OwnAccount`].
    fn must_not_be(self, id: UserId) -> Result<()> {
        match self {
            Self::Caller(caller, _) if caller.user() == id => Err(Error::OwnAccount),
            _ => Ok(()),
        }
    }
}

impl Authority {
    /// Goes on only if the authority holds all of `grants`.
    pub(super) fn must_cover(&self, grants: &Grants) -> Result<()> {
        if self.grants.covers(grants) { Ok(()) } else { Err(Error::EscalationDenied) }
    }

    /// Goes on only if the authority holds all that these roles grant.
    fn must_hold(&self, roles: &[String]) -> Result<()> {
        self.must_cover(&self.map.grants(roles))
    }

    /// The user to act on, locked, and their roles; only if the authority holds all that they hold.
    async fn target(&self, tx: &Transaction, id: UserId) -> Result<(user::Model, Vec<String>)> {
        let user = user::Entity::locked(tx, id).await?.ok_or(Error::NotFound(Missing::User))?;
        let roles = user_role::Entity::of(tx, id).await?;
        self.must_hold(&roles)?;
        Ok((user, roles))
    }
}

/// What an administrator changes of an account.
#[derive(Default)]
pub struct Change {
    /// What it is called.
    pub names: Names,
    /// Whether it may be used; `None` leaves that alone.
    pub status: Option<Status>,
}

/// Makes an account.
///
/// # Errors
/// [`Error::EscalationDenied`], [`Error::EmailTaken`], [`Error::UsernameTaken`], [`Error::Overloaded`], or a fault of
/// `/password` or `/roles`.
pub async fn create(app: &App, by: By<'_>, new: NewAccount) -> Result<User> {
    // Once before hashing, so that who may not learns nothing of the account and costs nothing; once where it counts.
    {
        let (tx, authority) = by.begin(app).await?;
        may_create(&authority, &tx, &new.roles).await?;
    }
    let hash = accounts::hash_for(app, &new).await?;
    let (tx, authority) = by.begin(app).await?;
    let roles = may_create(&authority, &tx, &new.roles).await?;
    let user = accounts::insert(app, &tx, new, hash).await?;
    let event = Event::on_user(Kind::UserCreated, &user).with(json!({ "roles": roles }));
    audit::record(&tx, user.created_at, &authority.source, authority.actor, event).await?;
    tx.commit().await?;
    Ok(User { profile: user.into(), roles })
}

/// The roles of a new account, if the authority may give them: others than `user` take `roles:assign` as well.
async fn may_create(authority: &Authority, tx: &Transaction, roles: &[RoleName]) -> Result<Vec<String>> {
    let is_other = |name: &RoleName| name.as_str() != RoleName::USER;
    if roles.iter().any(is_other) && !authority.grants.allows(AssignRoles::NAME) {
        return Err(authority.map.lacking(AssignRoles::NAME));
    }
    let roles = existing(tx, roles).await?;
    authority.must_hold(&roles)?;
    Ok(roles)
}

/// Changes an account. Disabling it ends its sessions.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EscalationDenied`], [`Error::LastAdmin`], [`Error::EmailTaken`],
/// [`Error::UsernameTaken`]; [`Error::PreconditionFailed`] when `condition` names another state; [`Error::OwnAccount`] when
/// callers name an address or a status for themselves.
pub async fn update(app: &App, by: By<'_>, id: UserId, change: Change, condition: Option<&IfMatch>) -> Result<User> {
    if change.names.email.is_some() || change.status.is_some() {
        by.must_not_be(id)?;
    }
    let (tx, authority) = by.begin(app).await?;
    let (before, roles) = authority.target(&tx, id).await?;
    if condition.is_some_and(|it| !it.allows(before.revision)) {
        return Err(Error::PreconditionFailed);
    }
    let mut row = before.clone().into_active_model();
    change.names.write(&mut row);
    if let Some(status) = change.status {
        row.status = Set(status);
    }
    let after = accounts::save(app, &tx, before.clone(), row).await?;
    let mut taken = revocations::PendingRevocations::default();
    if after.status == Status::Disabled && before.status == Status::Active {
        taken = revocations::end_sessions(&tx, id, Which::All).await?;
        users::keep_an_administrator(&tx, &roles).await?;
    }
    if after.revision != before.revision {
        let event = Event::on_user(Kind::UserUpdated, &after).with(accounts::difference(&before.into(), &after));
        audit::record(&tx, after.updated_at, &authority.source, authority.actor, event).await?;
    }
    taken.commit(app, tx).await?;
    Ok(User { profile: after.into(), roles })
}

/// Sets an account's password and ends all its sessions.
///
/// # Errors
/// [`Error::NotFound`], [`Error::OwnAccount`], [`Error::EscalationDenied`], [`Error::Overloaded`], or a fault of
/// `/new_password`.
pub async fn set_password(app: &App, by: By<'_>, id: UserId, new: &NewPassword) -> Result<()> {
    by.must_not_be(id)?;
    // Once before hashing, and once more where it counts.
    let (known, _) = {
        let (tx, authority) = by.begin(app).await?;
        authority.target(&tx, id).await?
    };
    new.fits(app.settings.password.min_length, &known.email, known.username.as_deref())
        .map_err(|it| Fault::at("/new_password", it))?;
    let hash = credentials::hash(app, new).await?;
    let (tx, authority) = by.begin(app).await?;
    let (user, _) = authority.target(&tx, id).await?;
    let now = app.clock.now();
    audit::record(&tx, now, &authority.source, authority.actor, Event::on_user(Kind::UserPasswordSet, &user)).await?;
    let taken = revocations::end_sessions(&tx, id, Which::All).await?;
    accounts::set_password_hash(&tx, user, hash).await?;
    taken.commit(app, tx).await
}

/// Deletes an account and ends its sessions. Its names are free again.
///
/// # Errors
/// [`Error::NotFound`], [`Error::OwnAccount`], [`Error::EscalationDenied`], [`Error::LastAdmin`].
pub async fn delete(app: &App, by: By<'_>, id: UserId) -> Result<()> {
    by.must_not_be(id)?;
    let (tx, authority) = by.begin(app).await?;
    let (user, roles) = authority.target(&tx, id).await?;
    let now = app.clock.now();
    let event = Event::on_user(Kind::UserDeleted, &user).with(json!({ "roles": roles }));
    audit::record(&tx, now, &authority.source, authority.actor, event).await?;
    let taken = revocations::end_sessions(&tx, id, Which::All).await?;
    user.delete(&tx).await?;
    users::keep_an_administrator(&tx, &roles).await?;
    taken.commit(app, tx).await
}

/// Sets exactly these roles on an account. Tokens issued before are stale.
///
/// # Errors
/// [`Error::NotFound`], [`Error::OwnAccount`], [`Error::EscalationDenied`], [`Error::LastAdmin`], or a fault of `/roles`.
pub async fn set_roles(app: &App, by: By<'_>, id: UserId, names: &[RoleName]) -> Result<User> {
    by.must_not_be(id)?;
    let (tx, authority) = by.begin(app).await?;
    let (user, before) = authority.target(&tx, id).await?;
    let after = existing(&tx, names).await?;
    authority.must_hold(&after)?;
    if before == after {
        return Ok(User { profile: user.into(), roles: after });
    }
    user_role::replace(&tx, id, &after).await?;
    let epoch = user.epoch + 1;
    let mut row = user.clone().into_active_model();
    row.epoch = Set(epoch);
    let user = accounts::save(app, &tx, user, row).await?;
    users::keep_an_administrator(&tx, &before).await?;
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
    let (user, _) = authority.target(&tx, id).await?;
    audit::record(&tx, app.clock.now(), &authority.source, authority.actor, Event::on_user(Kind::UserSessionsEnded, &user))
        .await?;
    revocations::end_sessions(&tx, id, Which::All).await?.commit(app, tx).await
}

/// The names of these roles, sorted and once each.
///
/// # Errors
/// A fault of `/roles/N` for each that does not exist.
async fn existing(tx: &Transaction, names: &[RoleName]) -> Result<Vec<String>> {
    let known = role::Entity::names(tx).await?;
    let faults: Vec<_> = (0..)
        .zip(names)
        .filter(|(_, name)| !known.contains(name.as_str()))
        .map(|(at, _): (usize, _)| Fault::at(format!("/roles/{at}"), Invalid::new("unknown_role", "There is no such role.")))
        .collect();
    if !faults.is_empty() {
        return Err(Error::Invalid(faults));
    }
    Ok(names.iter().map(ToString::to_string).collect::<BTreeSet<_>>().into_iter().collect())
}
