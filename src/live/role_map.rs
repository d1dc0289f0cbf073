//! The role map: the permissions that each role grants. It is in memory, so that a guard does not read the database.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::{ConnectionTrait, DbErr};

use crate::{
    entity::role_permission,
    error::Error,
    values::{
        permission::{Grants, OwnPermission, PermissionName},
        role_name::RoleName,
    },
};

/// The permissions of each role. A role that is not in the map grants nothing.
#[derive(Debug, Default)]
pub struct RoleMap {
    grants: BTreeMap<RoleName, Grants>,
    /// What a role that grants every permission grants, sorted: Vestibule's permissions and those that other roles list.
    all: Vec<PermissionName>,
}

impl RoleMap {
    /// Loads the map. The built-in role `admin` grants every permission, whatever the rows contain.
    pub async fn load(db: &impl ConnectionTrait) -> Result<Self, DbErr> {
        let rows = role_permission::all(db).await?;
        let listed = rows.values().flatten().cloned();
        let all: BTreeSet<_> = OwnPermission::all().map(PermissionName::from).chain(listed).collect();
        let mut grants: BTreeMap<_, _> = rows.into_iter().map(|(role, names)| (role, Grants::Listed(names))).collect();
        grants.insert(RoleName::admin(), Grants::All);
        Ok(Self { grants, all: all.into_iter().collect() })
    }

    /// Returns whether one of `roles` grants `permission`.
    pub fn allows(&self, roles: &[RoleName], permission: OwnPermission) -> bool {
        roles.iter().filter_map(|role| self.grants.get(role)).any(|grants| grants.contains(permission.as_str()))
    }

    /// Returns whether a user with these roles is an administrator: one of them grants a permission of Vestibule's own.
    pub fn administers(&self, roles: &[RoleName]) -> bool {
        OwnPermission::all().any(|permission| self.allows(roles, permission))
    }

    /// Fails with [`Error::InsufficientPermission`] unless one of `roles` grants `permission`.
    pub fn require(&self, roles: &[RoleName], permission: OwnPermission) -> Result<(), Error> {
        if self.allows(roles, permission) { Ok(()) } else { Err(self.insufficient_permission(permission)) }
    }

    /// Returns the error for a caller without `permission`. It names the roles that grant it.
    pub fn insufficient_permission(&self, permission: OwnPermission) -> Error {
        Error::InsufficientPermission { required: permission, granted_by: self.roles_granting(permission) }
    }

    /// Returns all permissions that `roles` grant.
    pub fn grants(&self, roles: &[RoleName]) -> Grants {
        roles.iter().filter_map(|role| self.grants.get(role)).cloned().fold(Grants::none(), Grants::union)
    }

    /// Returns the roles that grant `permission`, sorted. Older databases may hold more roles than the limit; the rest is left
    /// out.
    fn roles_granting(&self, permission: OwnPermission) -> Vec<RoleName> {
        let granting = self.grants.iter().filter(|(_, grants)| grants.contains(permission.as_str()));
        granting.map(|(role, _)| role.clone()).take(RoleName::MOST).collect()
    }

    /// Returns the names of all permissions that `roles` grant, sorted. A role that grants every permission grants those of
    /// Vestibule and those that other roles list.
    pub fn permissions(&self, roles: &[RoleName]) -> Vec<PermissionName> {
        match self.grants(roles) {
            Grants::Listed(names) => names.into_iter().collect(),
            Grants::All => self.all.clone(),
        }
    }
}
