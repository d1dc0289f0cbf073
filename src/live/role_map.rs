//! The role map: what each role grants, in memory, so that a guard reads no database.

use std::collections::{BTreeMap, BTreeSet};

use sea_orm::{ConnectionTrait, DbErr};

use crate::{
    entity::role_permission,
    error::Error,
    values::{
        permission::{self, Grants, PermissionName},
        role_name::RoleName,
    },
};

/// Role names and what they grant. A role that is not here grants nothing.
#[derive(Debug, Default)]
pub struct RoleMap(BTreeMap<String, Grants>);

impl RoleMap {
    /// Reads the map. The built-in `admin` grants everything, whatever the rows say.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn load(db: &impl ConnectionTrait) -> Result<Self, DbErr> {
        let rows = role_permission::all(db).await?;
        let grants =
            |names: BTreeSet<String>| Grants::Listed(names.iter().filter_map(|it| it.parse::<PermissionName>().ok()).collect());
        let mut map: BTreeMap<_, _> = rows.into_iter().map(|(role, names)| (role, grants(names))).collect();
        map.insert(RoleName::ADMIN.to_owned(), Grants::All);
        Ok(Self(map))
    }

    /// Whether one of `roles` grants `permission`.
    #[must_use]
    pub fn allows(&self, roles: &[String], permission: &str) -> bool {
        roles.iter().filter_map(|role| self.0.get(role)).any(|grants| grants.contains(permission))
    }

    /// Goes on only if one of `roles` grants `permission`.
    ///
    /// # Errors
    /// [`Error::InsufficientPermission`], with the roles that would do.
    pub fn require(&self, roles: &[String], permission: &'static str) -> Result<(), Error> {
        if self.allows(roles, permission) { Ok(()) } else { Err(self.lacking(permission)) }
    }

    /// What somebody is told who lacks `permission`.
    #[must_use]
    pub fn lacking(&self, permission: &'static str) -> Error {
        Error::InsufficientPermission { required: permission, granted_by: self.granting(permission) }
    }

    /// All that `roles` grant together.
    #[must_use]
    pub fn grants(&self, roles: &[String]) -> Grants {
        roles.iter().filter_map(|role| self.0.get(role)).cloned().fold(Grants::none(), Grants::union)
    }

    /// The roles that grant `permission`, sorted. At most as many as there can be: older databases may hold more.
    fn granting(&self, permission: &str) -> Vec<String> {
        let granting = self.0.iter().filter(|(_, grants)| grants.contains(permission));
        granting.map(|(role, _)| role.clone()).take(RoleName::MOST).collect()
    }

    /// What `roles` grant together, by name and sorted. Everything is each of Vestibule's own permissions and each
    /// that some role names.
    #[must_use]
    pub fn permissions(&self, roles: &[String]) -> Vec<String> {
        match self.grants(roles) {
            Grants::Listed(names) => names.into_iter().map(String::from).collect(),
            Grants::All => {
                let own = permission::ALL.iter().map(|(name, _)| (*name).to_owned());
                own.chain(self.named().map(ToString::to_string)).collect::<BTreeSet<_>>().into_iter().collect()
            }
        }
    }

    fn named(&self) -> impl Iterator<Item = &PermissionName> {
        self.0.values().filter_map(|grants| if let Grants::Listed(names) = grants { Some(names) } else { None }).flatten()
    }
}
