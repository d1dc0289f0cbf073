//! Roles and the permissions that they grant.

use poem::{Request, web::Data};
use poem_openapi::{Object, OpenApi};
use serde::Serialize;
use serde_with::skip_serializing_none;

use super::{
    Tag,
    guard::{Allowed, Fresh},
    http::{
        body::Body,
        codes::operation_codes,
        params::{Param, Path, paging},
        reply::{Created, Json, NoContent, Page, Reply},
        words::Time,
    },
};
use crate::{
    app::App,
    domain::roles::{self, Draft},
    values::{
        description::Description,
        permission::{self, PermissionName, ReadRoles, WriteRoles},
        query::{Cursor, Limit},
        role_name::RoleName,
    },
};

operation_codes! {
    /// `listRoles`.
    ListRoles: ValidationFailed;
    /// `readRole`.
    ReadRole: NotFound;
    /// `createRole`.
    CreateRole: EscalationDenied RoleExists TooManyRoles ValidationFailed;
    /// `replaceRole`.
    ReplaceRole: EscalationDenied NotFound RoleBuiltIn ValidationFailed;
    /// `deleteRole`.
    DeleteRole: EscalationDenied NotFound RoleInUse RoleBuiltIn;
    /// `listPermissions`.
    ListPermissions:;
}

/// A role: a named set of permissions.
#[skip_serializing_none]
#[derive(Debug, Object, Serialize)]
#[oai(skip_serializing_if_is_none)]
struct Role {
    /// The role's name, which access tokens contain.
    #[oai(validator(max_length = 32))]
    name: String,
    /// The purpose of the role.
    #[oai(validator(max_length = 300))]
    description: Option<String>,
    /// The permissions that the role grants, sorted. `admin` grants every permission, so its list holds all known names.
    #[oai(validator(max_items = 260_000, max_length = 64))]
    permissions: Vec<String>,
    /// Whether the role is part of Vestibule and cannot be changed.
    built_in: bool,
    /// When the role was created.
    created_at: Time,
    /// When the role was last changed.
    updated_at: Time,
}

impl From<roles::Role> for Role {
    fn from(roles::Role { row, permissions }: roles::Role) -> Self {
        Self {
            name: row.name.into(),
            description: row.description,
            permissions: permissions.into_iter().map(String::from).collect(),
            built_in: row.built_in,
            created_at: Time(row.created_at),
            updated_at: Time(row.updated_at),
        }
    }
}

/// One page of roles.
#[skip_serializing_none]
#[derive(Debug, Object, Serialize)]
#[oai(skip_serializing_if_is_none)]
struct RolePage {
    /// The roles, by name.
    #[oai(validator(max_items = 100))]
    items: Vec<Role>,
    /// The `cursor` of the next page. Absent on the last page.
    #[oai(validator(max_length = 512))]
    next_cursor: Option<String>,
}

/// The role to create.
#[derive(Object)]
#[oai(write_only_all)]
struct NewRole {
    /// The role's name.
    name: RoleName,
    /// The purpose of the role.
    description: Option<Description>,
    /// The permissions that the role grants: Vestibule's own, and any that the application defines.
    #[oai(validator(max_items = 256))]
    permissions: Vec<PermissionName>,
}

/// The new state of a role.
#[derive(Object)]
#[oai(write_only_all)]
struct RoleDraft {
    /// The role's name. It may be left out, but cannot be changed.
    name: Option<RoleName>,
    /// The purpose of the role. Without it, the role has no description.
    description: Option<Description>,
    /// The permissions that the role grants: Vestibule's own, and any that the application defines.
    #[oai(validator(max_items = 256))]
    permissions: Vec<PermissionName>,
}

/// One of Vestibule's own permissions.
#[derive(Debug, Object, Serialize)]
#[oai(rename = "Permission")]
struct PermissionObject {
    /// The permission's name, which roles and operations use.
    #[oai(validator(max_length = 64))]
    name: String,
    /// What the permission allows.
    #[oai(validator(max_length = 300))]
    description: String,
}

/// All of Vestibule's own permissions, on one page.
#[derive(Debug, Object, Serialize)]
struct PermissionPage {
    /// The permissions.
    #[oai(validator(max_items = 100))]
    items: Vec<PermissionObject>,
}

/// The operations on roles and permissions.
pub struct RolesApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Roles")]
impl RolesApi {
    /// List roles.
    #[oai(path = "/roles", method = "get", operation_id = "listRoles")]
    async fn list(
        &self,
        _caller: Allowed<ReadRoles>,
        app: Data<&App>,
        request: &Request,
        /// The `next_cursor` of the previous page.
        cursor: Param<Cursor>,
        /// The number of items at most.
        limit: Param<Limit>,
    ) -> Reply<Page<RolePage>, ListRoles> {
        let page = roles::list(&app, &paging(request, cursor, limit)?).await?.map(Role::from);
        Ok(Page::new(request, page, |items, next_cursor| RolePage { items, next_cursor }))
    }

    /// See a role.
    #[oai(path = "/roles/:name", method = "get", operation_id = "readRole")]
    async fn read(&self, _caller: Allowed<ReadRoles>, app: Data<&App>, name: Path<RoleName>) -> Reply<Json<Role>, ReadRole> {
        Ok(Json(roles::read(&app, &name.0).await?.into()))
    }

    /// Create a role.
    ///
    /// The caller must hold every permission that the role grants.
    #[oai(path = "/roles", method = "post", operation_id = "createRole")]
    async fn create(
        &self,
        caller: Fresh<Allowed<WriteRoles>>,
        app: Data<&App>,
        body: Body<NewRole>,
    ) -> Reply<Created<Role>, CreateRole> {
        let NewRole { name, description, permissions } = body.0;
        let draft = Draft { description, permissions };
        let role = roles::create(&app, caller.authority(), &name, draft).await?;
        Ok(Created(role.into(), format!("/v1/roles/{name}")))
    }

    /// Replace a role.
    ///
    /// The change takes effect at the next request of each user with this role. The caller must hold every permission that the
    /// role grants, before and after the change.
    #[oai(path = "/roles/:name", method = "put", operation_id = "replaceRole")]
    async fn replace(
        &self,
        caller: Fresh<Allowed<WriteRoles>>,
        app: Data<&App>,
        name: Path<RoleName>,
        body: Body<RoleDraft>,
    ) -> Reply<Json<Role>, ReplaceRole> {
        let RoleDraft { name: stated, description, permissions } = body.0;
        let draft = Draft { description, permissions };
        Ok(Json(roles::replace(&app, caller.authority(), &name.0, stated.as_ref(), draft).await?.into()))
    }

    /// Delete a role.
    ///
    /// Only a role that no user holds can be deleted.
    #[oai(path = "/roles/:name", method = "delete", operation_id = "deleteRole")]
    async fn delete(
        &self,
        caller: Fresh<Allowed<WriteRoles>>,
        app: Data<&App>,
        name: Path<RoleName>,
    ) -> Reply<NoContent, DeleteRole> {
        roles::delete(&app, caller.authority(), &name.0).await?;
        Ok(NoContent)
    }

    /// List permissions.
    ///
    /// These are Vestibule's own. A role may also grant permissions that the application defines.
    #[oai(path = "/permissions", method = "get", operation_id = "listPermissions")]
    async fn permissions(&self, _caller: Allowed<ReadRoles>) -> Reply<Json<PermissionPage>, ListPermissions> {
        let object =
            |(name, description): &(&str, &str)| PermissionObject { name: (*name).into(), description: (*description).into() };
        Ok(Json(PermissionPage { items: permission::ALL.iter().map(object).collect() }))
    }
}
