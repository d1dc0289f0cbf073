//! Users, for those whose roles let them look at others.

use poem::{Request, web::Data};
use poem_openapi::{Enum, OpenApi, param::Path};

use super::{
    Tag,
    guard::Allowed,
    objects::{Status, User, UserPage, tagged},
    params::{Faults, Param},
    problem::refusals,
    reply::{Page, Reply, Tagged},
};
use crate::{
    app::App,
    domain::users::{self, Filter, Sort},
    values::{
        ids::UserId,
        permission::ReadUsers,
        query::{Cursor, Limit, Search},
        role_name::RoleName,
    },
};

refusals! {
    /// `listUsers`.
    ListUsers: ValidationFailed;
    /// `readUser`.
    ReadUser: NotFound;
}

/// The order of a list of users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename = "UserSort")]
enum UserSort {
    /// Oldest first.
    #[oai(rename = "created_at")]
    Oldest,
    /// Newest first.
    #[oai(rename = "-created_at")]
    Newest,
    /// By e-mail address.
    #[oai(rename = "email")]
    Email,
    /// By e-mail address, from the end.
    #[oai(rename = "-email")]
    EmailDescending,
}

impl From<UserSort> for Sort {
    fn from(sort: UserSort) -> Self {
        match sort {
            UserSort::Oldest => Self::Oldest,
            UserSort::Newest => Self::Newest,
            UserSort::Email => Self::Email,
            UserSort::EmailDescending => Self::EmailDescending,
        }
    }
}

/// The operations on users.
pub struct Users;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Users")]
impl Users {
    /// List users.
    ///
    /// Newest first, unless `sort` says otherwise.
    #[oai(path = "/users", method = "get", operation_id = "listUsers")]
    #[expect(clippy::too_many_arguments, reason = "each is a query parameter of the contract")]
    async fn list(
        &self,
        _caller: Allowed<ReadUsers>,
        app: Data<&App>,
        request: &Request,
        /// The beginning of the e-mail address or the username.
        search: Param<Search>,
        /// Only users with this role.
        role: Param<RoleName>,
        /// Only users with this status.
        status: Param<Status>,
        /// The order.
        sort: Param<UserSort>,
        /// `next_cursor` of the page before.
        cursor: Param<Cursor>,
        /// How many items at most.
        limit: Param<Limit>,
    ) -> Reply<Page<UserPage>, ListUsers> {
        let mut faults = Faults::default();
        let filter = Filter { search: faults.take(search), role: faults.take(role), status: faults.take(status).map(Into::into) };
        let sort = faults.take(sort).map(Sort::from).unwrap_or_default();
        let paging = faults.paging(cursor, limit);
        faults.none()?;
        let page = users::list(&app, &filter, sort, &paging).await?;
        Ok(Page::new(request, page, |items, next_cursor| UserPage { items, next_cursor }))
    }

    /// See a user.
    #[oai(path = "/users/:id", method = "get", operation_id = "readUser")]
    async fn read(&self, _caller: Allowed<ReadUsers>, app: Data<&App>, id: Path<UserId>) -> Reply<Tagged<User>, ReadUser> {
        Ok(tagged(users::read(&app, id.0).await?))
    }
}
