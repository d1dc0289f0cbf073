//! The caller: who a verified access token speaks for, and what their roles grant at this moment.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use super::{audit::Actor, source::Source};
use crate::{
    entity::{
        session, signing_key,
        user::{self, Status},
        user_role,
    },
    error::{Error, Result},
    live::{database::Transaction, role_map::RoleMap},
    values::{
        claims::Claims,
        ids::{SessionId, UserId},
    },
};

/// A valid caller. Only [`super::tokens::verify`] makes one.
#[derive(Clone)]
pub struct Caller {
    /// The key that signed the token.
    pub(super) key_id: String,
    pub(super) claims: Arc<Claims>,
    pub(super) roles: Arc<RoleMap>,
    /// Where the request comes from.
    pub source: Source,
}

impl Caller {
    /// The user the token was issued to.
    #[must_use]
    pub fn user(&self) -> UserId {
        self.claims.sub
    }

    /// The session the token belongs to.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.claims.sid
    }

    /// What the token says.
    #[must_use]
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// Goes on only if one of the caller's roles grants `permission`.
    ///
    /// # Errors
    /// [`Error::InsufficientPermission`], with the roles that would do.
    pub fn require(&self, permission: &'static str) -> Result<()> {
        self.roles.require(&self.claims.roles, permission)
    }

    /// Everything the caller's roles grant by name: for the built-in administrator each of Vestibule's own
    /// permissions, and each an application uses in some role.
    #[must_use]
    pub fn permissions(&self) -> Vec<String> {
        self.roles.permissions(&self.claims.roles)
    }
}

/// What the database knows of a caller at this moment; their token may be older.
pub struct Standing {
    /// The caller's row.
    pub user: user::Model,
    /// The names of the roles they hold now.
    pub roles: Vec<String>,
}

impl Caller {
    /// Reads the caller's standing again inside a transaction that changes something: a just-demoted administrator
    /// changes nothing, not even through a replica that has not heard of it. Nor does whoever holds a revoked key.
    ///
    /// # Errors
    /// [`Error::InvalidToken`] when the key that signed the token was revoked;
    /// [`Error::SessionEnded`] when the session or the account is gone, or the account disabled; [`Error::StaleToken`]
    /// when its roles were assigned anew since the token was issued.
    pub async fn recheck(&self, tx: &Transaction, now: DateTime<Utc>) -> Result<Standing> {
        let key = signing_key::Entity::find_by_id(&self.key_id).one(tx).await?;
        if key.is_some_and(|it| it.revoked_at.is_some()) {
            return Err(Error::InvalidToken);
        }
        let user = user::Entity::locked(tx, self.user()).await?.ok_or(Error::SessionEnded)?;
        let session = session::Entity::of(user.id).filter(session::COLUMN.id.eq(self.session())).one(tx).await?;
        if user.status == Status::Disabled || session.is_none_or(|it| it.expires_at <= now) {
            return Err(Error::SessionEnded);
        }
        if user.epoch != self.claims.epoch {
            return Err(Error::StaleToken);
        }
        Ok(Standing { roles: user_role::Entity::of(tx, user.id).await?, user })
    }

    /// Who the audit trail says has acted.
    #[must_use]
    pub fn actor(&self, user: &user::Model) -> Actor {
        Actor::account(user, Some(self.session()))
    }
}
