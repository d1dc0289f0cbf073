//! The caller: the user for whom a verified access token speaks, and the permissions that their roles grant at this moment.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use super::{audit::Actor, source::Source};
use crate::{
    entity::{
        installation, session, signing_key,
        user::{self, Status},
        user_role,
    },
    error::{Error, Insufficient, Result},
    live::{database::Transaction, role_map::RoleMap},
    values::{
        authentication::Acr,
        claims::{Claims, LEEWAY},
        ids::{SessionId, UserId},
        permission::{OwnPermission, PermissionName},
        role_name::RoleName,
    },
};

/// How long a proof of presence is fresh, in seconds.
pub const MAX_AGE: i64 = 600;

/// The caller of a guarded operation. Only [`tokens::verify`](super::tokens::verify) creates one.
#[derive(Clone)]
pub struct Caller {
    /// The key that signed the token.
    pub(super) key_id: Arc<str>,
    pub(super) claims: Arc<Claims>,
    pub(super) roles: Arc<RoleMap>,
    /// Where the request comes from.
    pub source: Source,
}

impl Caller {
    /// Returns the user to whom the token was issued.
    pub fn user(&self) -> UserId {
        self.claims.sub
    }

    /// Returns the session to which the token belongs.
    pub fn session(&self) -> SessionId {
        self.claims.sid
    }

    /// Returns the claims of the token.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Fails with [`Error::InsufficientPermission`] unless one of the caller's roles grants `permission`.
    pub fn require(&self, permission: OwnPermission) -> Result<()> {
        self.roles.require(&self.claims.roles, permission)
    }

    /// Fails with [`Error::InsufficientAuthentication`] unless the caller has shown a second factor in this session.
    pub fn require_second_factor(&self) -> Result<()> {
        self.require_level(Acr::Two)
    }

    /// Fails with [`Error::InsufficientAuthentication`] unless the caller was authenticated within the last [`MAX_AGE`] seconds,
    /// at the best level of the account: a password proves presence only where the account has no second factor.
    pub fn require_fresh_proof(&self, now: DateTime<Utc>) -> Result<()> {
        let Claims { auth_time, acr_max, .. } = *self.claims;
        // A proof of the future was made when the clock was wrong.
        let is_recent = (-LEEWAY..=MAX_AGE).contains(&(now.timestamp() - auth_time));
        if is_recent { self.require_level(acr_max) } else { Err(self.insufficient(acr_max)) }
    }

    fn require_level(&self, acr: Acr) -> Result<()> {
        if self.claims.acr >= acr { Ok(()) } else { Err(self.insufficient(acr)) }
    }

    fn insufficient(&self, acr: Acr) -> Error {
        Error::InsufficientAuthentication(Insufficient { acr, enrol: acr > self.claims.acr_max })
    }

    /// Returns the names of all permissions that the caller's roles grant. For the built-in administrator, these are
    /// Vestibule's own permissions and those that any role grants.
    pub fn permissions(&self) -> Vec<PermissionName> {
        self.roles.permissions(&self.claims.roles)
    }
}

/// A caller as the database holds them now. Their access token may be older.
pub struct CurrentUser {
    /// The user's row.
    pub user: user::Model,
    /// The names of the roles that the user holds, sorted.
    pub roles: Vec<RoleName>,
}

impl Caller {
    /// Locks and reads the caller's row again, in a transaction that makes a change. An administrator who was demoted a
    /// moment ago thus changes nothing, not even through a replica that has not read the revocation yet.
    ///
    /// # Errors
    /// [`Error::InvalidToken`] if the key that signed the token was revoked; [`Error::SessionEnded`] if the session or the
    /// account was deleted, the account is disabled, or the token was issued before a backup was restored;
    /// [`Error::StaleToken`] if roles were assigned to the user since the token was issued.
    pub async fn recheck(&self, tx: &Transaction, now: DateTime<Utc>) -> Result<CurrentUser> {
        let key = signing_key::Entity::find_by_id(&*self.key_id).one(tx).await?;
        if key.is_some_and(|key| key.revoked_at.is_some()) {
            return Err(Error::InvalidToken);
        }
        if installation::Entity::row(tx).await?.generation().is_later_than(self.claims.iat) {
            return Err(Error::SessionEnded);
        }
        let user = user::Entity::locked(tx, self.user()).await?.ok_or(Error::SessionEnded)?;
        let session = session::Entity::of(user.id).filter(session::COLUMN.id.eq(self.session())).one(tx).await?;
        if user.status == Status::Disabled || session.is_none_or(|session| session.expires_at <= now) {
            return Err(Error::SessionEnded);
        }
        if user.epoch != self.claims.epoch {
            return Err(Error::StaleToken);
        }
        Ok(CurrentUser { roles: user_role::Entity::of(tx, user.id).await?, user })
    }

    /// Returns the caller as the actor of an audit event.
    pub fn actor(&self, user: &user::Model) -> Actor {
        Actor::account(user, Some(self.session()))
    }
}
