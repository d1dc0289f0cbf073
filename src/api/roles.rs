//! Roles and permissions.

use poem::{Request, web::Data};
use poem_openapi::{Object, OpenApi};

use super::{
    Tag,
    guard::Allowed,
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

/// A name under which permissions are granted.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct Role {
    /// The name, as it stands in tokens.
    #[oai(validator(max_length = 32))]
    name: String,
    /// What it is for.
    #[oai(validator(max_length = 300))]
    description: Option<String>,
    /// What it grants, sorted. For `admin`, which grants everything: all that is known by name.
    #[oai(validator(max_items = 260_000, max_length = 64))]
    permissions: Vec<String>,
    /// Whether it comes with Vestibule: then it cannot be changed.
    built_in: bool,
    /// When it was made.
    created_at: Time,
    /// When it was last changed.
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
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct RolePage {
    /// The roles, by name.
    #[oai(validator(max_items = 100))]
    items: Vec<Role>,
    /// Send it back as `cursor` for the next page; absent on the last.
    #[oai(validator(max_length = 512))]
    next_cursor: Option<String>,
}

/// A new role.
#[derive(Object)]
#[oai(write_only_all)]
struct NewRole {
    /// Its name.
    name: RoleName,
    /// What it is for.
    description: Option<Description>,
    /// What it grants: Vestibule's permissions, and any of the application's own.
    #[oai(validator(max_items = 256))]
    permissions: Vec<PermissionName>,
}

/// What a role is to be.
#[derive(Object)]
#[oai(write_only_all)]
struct RoleDraft {
    /// The role's name, if it is stated at all: it cannot be changed.
    name: Option<RoleName>,
    /// What it is for; without it the description goes.
    description: Option<Description>,
    /// What it grants: Vestibule's permissions, and any of the application's own.
    #[oai(validator(max_items = 256))]
    permissions: Vec<PermissionName>,
}

/// One of Vestibule's own permissions.
#[derive(Debug, Object)]
#[oai(rename = "Permission")]
struct PermissionObject {
    /// The name, as guards and roles use it.
    #[oai(validator(max_length = 64))]
    name: String,
    /// What it allows.
    #[oai(validator(max_length = 300))]
    description: String,
}

/// All of Vestibule's own permissions: they fit one page.
#[derive(Debug, Object)]
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
        /// `next_cursor` of the page before.
        cursor: Param<Cursor>,
        /// How many items at most.
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

    /// Make a role.
    ///
    /// Nobody puts into a role what they do not hold themselves.
    #[oai(path = "/roles", method = "post", operation_id = "createRole")]
    async fn create(
        &self,
        caller: Allowed<WriteRoles>,
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
    /// It bites on the next request of whoever holds it. Takes holding all that it grants, and all that it will.
    #[oai(path = "/roles/:name", method = "put", operation_id = "replaceRole")]
    async fn replace(
        &self,
        caller: Allowed<WriteRoles>,
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
    /// Only one that nobody holds.
    #[oai(path = "/roles/:name", method = "delete", operation_id = "deleteRole")]
    async fn delete(&self, caller: Allowed<WriteRoles>, app: Data<&App>, name: Path<RoleName>) -> Reply<NoContent, DeleteRole> {
        roles::delete(&app, caller.authority(), &name.0).await?;
        Ok(NoContent)
    }

    /// List permissions.
    ///
    /// Vestibule's own. A role may grant any others that the application gives a meaning to.
    #[oai(path = "/permissions", method = "get", operation_id = "listPermissions")]
    async fn permissions(&self, _caller: Allowed<ReadRoles>) -> Reply<Json<PermissionPage>, ListPermissions> {
        let object =
            |(name, description): &(&str, &str)| PermissionObject { name: (*name).into(), description: (*description).into() };
        Ok(Json(PermissionPage { items: permission::ALL.iter().map(object).collect() }))
    }
}
