//! Roles: named sets of permissions. Editing a role requires every permission that it grants before and after.

use std::collections::BTreeSet;

use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, EntityTrait, IntoActiveModel, ModelTrait, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect, SqlErr,
};
use serde_json::json;

use super::{
    audit::{self, Event, Kind},
    authority::By,
    paging::{Paging, Slice},
    revocations,
};
use crate::{
    app::App,
    entity::{role, role_permission, user_role},
    error::{Error, Fault, Missing, Result},
    live::{database::Transaction, role_map::RoleMap},
    values::{
        Invalid,
        description::Description,
        permission::{Grants, PermissionName},
        role_name::RoleName,
    },
};

/// A role with its permissions.
#[derive(Debug, Clone)]
pub struct Role {
    /// The role's row.
    pub row: role::Model,
    /// The names of the permissions, sorted.
    pub permissions: Vec<PermissionName>,
}

/// The new contents of a role.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The purpose of the role.
    pub description: Option<Description>,
    /// The permissions, both Vestibule's own and the application's.
    pub permissions: Vec<PermissionName>,
}

impl Draft {
    /// Returns the permissions, once each. A permission that looks like a misspelt one of Vestibule's own is a fault of
    /// `/permissions/N`, unless it is one of those `granted` already.
    fn permissions(&self, granted: &[PermissionName]) -> Result<BTreeSet<PermissionName>> {
        let fault = |(at, name): (usize, &PermissionName)| {
            let nearest = name.suggestion().filter(|_| !granted.contains(name))?;
            let detail = format!("Vestibule has no such permission. The nearest one is {nearest}.");
            Some(Fault::at(format!("/permissions/{at}"), Invalid::new("unknown_permission", detail)))
        };
        let faults: Vec<_> = self.permissions.iter().enumerate().filter_map(fault).collect();
        if faults.is_empty() { Ok(self.permissions.iter().cloned().collect()) } else { Err(Error::Invalid(faults)) }
    }
}

/// Returns a page of the roles, by name.
///
/// # Errors
/// A fault of `cursor`.
pub async fn list(app: &App, paging: &Paging) -> Result<Slice<Role>> {
    const LIST: &str = "roles";
    let db = app.db.read();
    let mut query = role::Entity::find().order_by_asc(role::COLUMN.name).limit(paging.rows());
    if let Some(name) = paging.position::<RoleName>(app, LIST)? {
        query = query.filter(role::COLUMN.name.gt(name));
    }
    let page = paging.slice(app, LIST, query.all(db).await?, |role| role.name.clone());
    let map = RoleMap::load(db).await?;
    Ok(page.map(|row| with_permissions(row, &map)))
}

/// Returns a role, or [`Error::NotFound`].
pub async fn read(app: &App, name: &RoleName) -> Result<Role> {
    let db = app.db.read();
    let row = role::Entity::find_by_id(name.clone()).one(db).await?.ok_or(Error::NotFound(Missing::Role))?;
    Ok(with_permissions(row, &RoleMap::load(db).await?))
}

fn with_permissions(row: role::Model, map: &RoleMap) -> Role {
    Role { permissions: map.permissions(std::slice::from_ref(&row.name)), row }
}

/// Creates a role.
///
/// # Errors
/// [`Error::RoleExists`], [`Error::TooManyRoles`], [`Error::EscalationDenied`], or a fault of `/permissions`.
pub async fn create(app: &App, by: By<'_>, name: &RoleName, draft: Draft) -> Result<Role> {
    let permissions = draft.permissions(&[])?;
    let (tx, authority) = by.begin(app).await?;
    authority.must_cover(&Grants::Listed(permissions.clone()))?;
    let now = app.clock.now();
    let row = role::ActiveModel {
        name: Set(name.clone()),
        description: Set(draft.description.map(String::from)),
        built_in: Set(false),
        created_at: Set(now),
        updated_at: Set(now),
    };
    let row = row.insert(&tx).await.map_err(|error| match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_)) => Error::RoleExists,
        _ => error.into(),
    })?;
    // Only one transaction at a time creates roles, because `begin` locks the row of the role `admin`.
    if role::Entity::find().count(&tx).await? > RoleName::MOST as u64 {
        return Err(Error::TooManyRoles);
    }
    let permissions = set_permissions(&tx, name, permissions).await?;
    let details = json!({ "description": row.description, "permissions": permissions });
    let event = Event::on_role(Kind::RoleCreated, name).with(details);
    audit::record(&tx, now, &authority.source, authority.actor, event).await?;
    revocations::roles_changed().commit(app, tx).await?;
    Ok(Role { row, permissions })
}

/// Replaces the description and the permissions of a role. The change takes effect at the next request of every user who holds
/// the role. `stated` is the name in the replacement, because a role cannot be renamed.
///
/// # Errors
/// [`Error::NotFound`], [`Error::RoleBuiltIn`], [`Error::EscalationDenied`], or a fault of `/name` or `/permissions`.
pub async fn replace(app: &App, by: By<'_>, name: &RoleName, stated: Option<&RoleName>, draft: Draft) -> Result<Role> {
    if stated.is_some_and(|stated| stated != name) {
        let detail = "A role cannot be renamed: leave the name out, or send the present one.";
        return Err(Fault::at("/name", Invalid::new("not_allowed", detail)).into());
    }
    let (tx, authority) = by.begin(app).await?;
    let Role { row, permissions: before } = editable(&tx, name).await?;
    let permissions = draft.permissions(&before)?;
    authority.must_cover(&before.iter().chain(&permissions).cloned().collect())?;
    let now = app.clock.now();
    let old = json!({ "description": row.description, "permissions": before });
    let mut row = row.into_active_model();
    row.description = Set(draft.description.map(String::from));
    row.updated_at = Set(now);
    let row = row.update(&tx).await?;
    let permissions = set_permissions(&tx, name, permissions).await?;
    let event = Event::on_role(Kind::RoleReplaced, name).with(json!({
        "before": old,
        "after": { "description": row.description, "permissions": permissions },
    }));
    audit::record(&tx, now, &authority.source, authority.actor, event).await?;
    revocations::roles_changed().commit(app, tx).await?;
    Ok(Role { row, permissions })
}

/// Deletes a role that nobody holds.
///
/// # Errors
/// [`Error::NotFound`], [`Error::RoleBuiltIn`], [`Error::RoleInUse`], [`Error::EscalationDenied`].
pub async fn delete(app: &App, by: By<'_>, name: &RoleName) -> Result<()> {
    let (tx, authority) = by.begin(app).await?;
    let Role { row, permissions } = editable(&tx, name).await?;
    authority.must_cover(&permissions.iter().cloned().collect())?;
    if user_role::Entity::find().filter(user_role::COLUMN.role.eq(name.clone())).count(&tx).await? > 0 {
        return Err(Error::RoleInUse);
    }
    row.delete(&tx).await?;
    let event = Event::on_role(Kind::RoleDeleted, name).with(json!({ "permissions": permissions }));
    audit::record(&tx, app.clock.now(), &authority.source, authority.actor, event).await?;
    revocations::roles_changed().commit(app, tx).await
}

/// Returns a role that may be edited, with its permissions.
async fn editable(tx: &Transaction, name: &RoleName) -> Result<Role> {
    let row = role::Entity::find_by_id(name.clone()).one(tx).await?.ok_or(Error::NotFound(Missing::Role))?;
    if row.built_in {
        return Err(Error::RoleBuiltIn);
    }
    Ok(with_permissions(row, &RoleMap::load(tx).await?))
}

/// Makes a role grant exactly these permissions, and returns them sorted.
async fn set_permissions(
    tx: &Transaction,
    name: &RoleName,
    permissions: BTreeSet<PermissionName>,
) -> Result<Vec<PermissionName>> {
    role_permission::replace(tx, name, permissions.iter().cloned()).await?;
    Ok(permissions.into_iter().collect())
}
