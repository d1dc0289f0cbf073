//! Authority: what the caller of a change may grant, remove and change. A caller grants and removes only permissions that they hold, and changes
//! only accounts and roles whose permissions they hold. The last active administrator cannot be removed. The operator holds every
//! permission.

use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, ExprTrait, PaginatorTrait, QueryFilter, QuerySelect, QueryTrait};

use super::{
    audit::Actor,
    caller::{Caller, CurrentUser},
    source::Source,
};
use crate::{
    app::App,
    entity::{
        role,
        user::{self, Status},
        user_role,
    },
    error::{Error, Result},
    live::{database::Transaction, role_map::RoleMap},
    values::{
        ids::UserId,
        permission::{Grants, OwnPermission},
        role_name::RoleName,
    },
};

/// The authority on which a change is requested.
#[derive(Clone, Copy)]
pub enum By<'a> {
    /// A logged-in caller, and the permission that allows the operation.
    Caller(&'a Caller, OwnPermission),
    /// The operator, who runs a command on the server.
    Operator,
}

/// An authority as the database holds it in the transaction that makes the change.
pub(super) struct Authority {
    pub(super) actor: Actor,
    pub(super) source: Source,
    grants: Grants,
    role_map: RoleMap,
}

/// A permission that an operation requires in some cases only, in addition to the permission of its guard. The contract and the
/// access matrix show it.
#[derive(Debug, Clone, Copy)]
pub struct ExtraPermission {
    /// The permission.
    pub permission: OwnPermission,
    /// The cases, as they follow "Needs the permission".
    pub case: &'static str,
}

impl By<'_> {
    /// Begins the transaction of a change, and reads the authority again in it. The authority cannot change before the
    /// transaction ends.
    ///
    /// # Errors
    /// [`Error::InsufficientPermission`] if the caller has lost the permission since the guard checked it, and the errors of
    /// [`Caller::recheck`].
    pub(super) async fn begin(self, app: &App) -> Result<(Transaction, Authority)> {
        let tx = app.db.write().await?;
        lock_administration(&tx).await?;
        let role_map = RoleMap::load(&tx).await?;
        let authority = match self {
            Self::Operator => Authority { actor: Actor::operator(), source: Source::default(), grants: Grants::All, role_map },
            Self::Caller(caller, permission) => {
                let CurrentUser { user, roles } = caller.recheck(&tx, app.clock.now()).await?;
                role_map.require(&roles, permission)?;
                let grants = role_map.grants(&roles);
                Authority { actor: caller.actor(&user), source: caller.source.clone(), grants, role_map }
            }
        };
        Ok((tx, authority))
    }

    /// Fails with [`Error::OwnAccount`] if the caller would change their own account as an administrator. The administrative
    /// operation requires no password, so a stolen token could take the account over. The operations under `/v1/me` require it.
    pub(super) fn must_not_be(self, id: UserId) -> Result<()> {
        match self {
            Self::Caller(caller, _) if caller.user() == id => Err(Error::OwnAccount),
            _ => Ok(()),
        }
    }
}

/// Returns the authority that an administrator has now, for a change that they permitted earlier; `None` if they may no longer
/// use `permission`, are disabled, or their account was deleted. The transaction must hold [`lock_administration`], so that this
/// cannot change before it ends.
pub(super) async fn of_user(tx: &Transaction, id: UserId, permission: OwnPermission) -> Result<Option<Authority>> {
    let user = user::Entity::find_by_id(id).one(tx).await?.filter(|user| user.status == Status::Active);
    let Some(user) = user else { return Ok(None) };
    let (role_map, roles) = (RoleMap::load(tx).await?, user_role::Entity::of(tx, id).await?);
    let grants = role_map.grants(&roles);
    let authority = Authority { actor: Actor::account(&user, None), source: Source::default(), grants, role_map };
    Ok(Some(authority).filter(|authority| authority.require(permission).is_ok()))
}

impl Authority {
    /// Fails with [`Error::EscalationDenied`] unless the authority holds every permission in `grants`.
    pub(super) fn must_cover(&self, grants: &Grants) -> Result<()> {
        if self.grants.covers(grants) { Ok(()) } else { Err(Error::EscalationDenied) }
    }

    /// Fails with [`Error::EscalationDenied`] unless the authority holds every permission that these roles grant.
    pub(super) fn must_hold(&self, roles: &[RoleName]) -> Result<()> {
        self.must_cover(&self.role_map.grants(roles))
    }

    /// Fails with [`Error::InsufficientPermission`] unless the authority holds `permission`.
    pub(super) fn require(&self, permission: OwnPermission) -> Result<()> {
        if self.grants.contains(permission.as_str()) { Ok(()) } else { Err(self.role_map.insufficient_permission(permission)) }
    }
}

/// Locks the row of the administrator's role, so that only one transaction at a time can take an administrator away. A
/// transaction takes this lock before it locks any user's row; otherwise two of them could wait for each other.
pub(super) async fn lock_administration(tx: &Transaction) -> Result<()> {
    Ok(role::Entity::lock_admin(tx).await?)
}

/// Fails with [`Error::LastAdmin`] if this transaction took the last active administrator away: an account that held the roles
/// `lost`. The transaction must hold [`lock_administration`]; otherwise two administrators could remove each other at once.
pub(super) async fn keep_an_administrator(tx: &Transaction, lost: &[RoleName]) -> Result<()> {
    // An installation that had no administrator before may go on without one.
    let was_administrator = lost.iter().any(|role| role.as_str() == RoleName::ADMIN);
    if was_administrator && !any_administrator(tx).await? { Err(Error::LastAdmin) } else { Ok(()) }
}

/// Returns the names of the active administrators who hold no second factor, sorted: of everyone one of whose roles grants a
/// permission of Vestibule's.
pub async fn administrators_without_factor(db: &impl ConnectionTrait) -> Result<Vec<String>> {
    let role_map = RoleMap::load(db).await?;
    let roles = role::Entity::names(db).await?.into_iter().filter(|role| role_map.administers(std::slice::from_ref(role)));
    let holders = user_role::Entity::find().select_only().column(user_role::Column::UserId);
    let holders = holders.filter(user_role::COLUMN.role.is_in(roles)).into_query();
    let active = user::COLUMN.status.eq(Status::Active).and(user::COLUMN.id.in_subquery(holders));
    let users = user::Entity::find().filter(active.and(user::COLUMN.second_factor.eq(false))).all(db).await?;
    let mut names: Vec<_> = users.into_iter().map(|user| user.username.unwrap_or(user.email)).collect();
    names.sort_unstable();
    Ok(names)
}

/// Returns whether there is an active administrator.
pub async fn any_administrator(db: &impl ConnectionTrait) -> Result<bool> {
    let holders = user_role::Entity::find().select_only().column(user_role::Column::UserId);
    let holders = holders.filter(user_role::COLUMN.role.eq(RoleName::ADMIN)).into_query();
    let active = user::COLUMN.status.eq(Status::Active).and(user::COLUMN.id.in_subquery(holders));
    Ok(user::Entity::find().filter(active).limit(1).count(db).await? > 0)
}
