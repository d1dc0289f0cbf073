//! The administration of users.

use poem::{Request, web::Data};
use poem_openapi::{Enum, Object, OpenApi};

use super::{
    Tag,
    factors::FactorPage,
    guard::{Allowed, Fresh},
    http::{
        body::Body,
        codes::operation_codes,
        params::{Condition, Faults, Param, Path, paging},
        reply::{Created, Json, NoContent, Page, Queued, Reply, Tagged},
        words::{Clearable, Parameter, choose},
    },
    objects::{Language, Session, SessionPage, Status, User, UserPage, tagged},
};
use crate::{
    app::App,
    domain::{
        factors, password_resets, sessions,
        users::{self, Change, Filter, Names, NewAccount, Sort},
    },
    values::{
        Invalid,
        email::Email,
        ids::UserId,
        name::Name,
        password::NewPassword,
        permission::{AssignRoles, DeleteUsers, EndSessions, ReadSessions, ReadUsers, RecoverUsers, WriteUsers},
        query::{Cursor, Limit},
        role_name::RoleName,
        search::SearchTerm,
        username::Username,
    },
};

operation_codes! {
    /// `listUsers`.
    ListUsers: ValidationFailed;
    /// `readUser`.
    ReadUser: NotFound;
    /// `createUser`.
    CreateUser: EscalationDenied EmailTaken UsernameTaken ValidationFailed Overloaded, users::GIVING_ROLES;
    /// `updateUser`.
    UpdateUser: EscalationDenied NotFound OwnAccount LastAdmin EmailTaken UsernameTaken PreconditionFailed ValidationFailed;
    /// `deleteUser`.
    DeleteUser: EscalationDenied NotFound OwnAccount LastAdmin;
    /// `setUserPassword`.
    SetUserPassword: EscalationDenied NotFound OwnAccount ValidationFailed Overloaded;
    /// `sendPasswordReset`.
    SendPasswordReset: EscalationDenied MailUnavailable NotFound;
    /// `setUserRoles`.
    SetUserRoles: EscalationDenied NotFound OwnAccount LastAdmin ValidationFailed;
    /// `listUserSessions`.
    ListUserSessions: NotFound ValidationFailed;
    /// `endUserSessions`.
    EndUserSessions: EscalationDenied NotFound;
    /// `listUserFactors`.
    ListUserFactors: NotFound;
    /// `resetUserFactors`.
    ResetUserFactors: EscalationDenied NotFound OwnAccount;
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
    /// By e-mail address, in descending order.
    #[oai(rename = "-email")]
    EmailDescending,
}

impl Parameter for UserSort {
    fn read(raw: &str) -> Result<Self, Invalid> {
        choose(raw)
    }
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

/// The account to create.
#[derive(Object)]
#[oai(write_only_all)]
struct NewUser {
    /// The e-mail address, which the user can log in with.
    email: Email,
    /// The first password.
    password: Option<NewPassword>,
    /// The username, which the user can log in with as well.
    username: Option<Username>,
    /// The person's name.
    name: Option<Name>,
    /// The account's roles.
    #[oai(validator(max_items = 100))]
    roles: Option<Vec<RoleName>>,
    /// The language in which the person wants to read mails.
    language: Option<Language>,
}

/// The members to change. An absent member stays as it is, and `null` clears a member.
#[derive(Object)]
#[oai(write_only_all)]
struct UserChange {
    /// The e-mail address.
    email: Option<Email>,
    /// The username.
    username: Clearable<Username>,
    /// The person's name.
    name: Clearable<Name>,
    /// The language in which the person wants to read mails.
    language: Clearable<Language>,
    /// Whether the account can be used.
    status: Option<Status>,
}

/// The password to set.
#[derive(Object)]
#[oai(write_only_all)]
struct PasswordSetting {
    /// The new password.
    new_password: NewPassword,
}

/// The roles to set.
#[derive(Object)]
#[oai(write_only_all)]
struct RoleSetting {
    /// The names of the roles.
    #[oai(validator(max_items = 100))]
    roles: Vec<RoleName>,
}

/// The operations on users.
pub struct UsersApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Users")]
impl UsersApi {
    /// List users.
    ///
    /// The newest user comes first, unless `sort` states another order.
    #[oai(path = "/users", method = "get", operation_id = "listUsers")]
    #[expect(clippy::too_many_arguments, reason = "each is a query parameter of the contract")]
    async fn list(
        &self,
        _caller: Allowed<ReadUsers>,
        app: Data<&App>,
        request: &Request,
        /// The beginning of the e-mail address, of the username or of a word of the name.
        search: Param<SearchTerm>,
        /// Only users with this role.
        role: Param<RoleName>,
        /// Only users with this status.
        status: Param<Status>,
        /// Whether `total` counts the users on all pages.
        total: Param<bool>,
        /// The order of the list.
        sort: Param<UserSort>,
        /// The `next_cursor` of the previous page.
        cursor: Param<Cursor>,
        /// The number of items at most.
        limit: Param<Limit>,
    ) -> Reply<Page<UserPage>, ListUsers> {
        let mut faults = Faults::of(request);
        let filter = Filter { search: faults.take(search), role: faults.take(role), status: faults.take(status).map(Into::into) };
        let sort = faults.take(sort).map(Sort::from).unwrap_or_default();
        let is_counted = faults.take(total).unwrap_or_default();
        let paging = faults.paging(cursor, limit);
        faults.none()?;
        let page = users::list(&app, &filter, sort, &paging).await?.map(User::from);
        let total = if is_counted { users::count(&app, &filter).await? } else { None };
        Ok(Page::new(request, page, |items, next_cursor| UserPage { items, next_cursor, total }))
    }

    /// See a user.
    #[oai(path = "/users/:id", method = "get", operation_id = "readUser")]
    async fn read(&self, _caller: Allowed<ReadUsers>, app: Data<&App>, id: Path<UserId>) -> Reply<Tagged<User>, ReadUser> {
        Ok(tagged(users::read(&app, id.0).await?))
    }

    /// Create a user.
    ///
    /// Without `roles`, the account holds the role `user`. Without `password`, nobody can log in to the account until a
    /// password is set.
    #[oai(path = "/users", method = "post", operation_id = "createUser")]
    async fn create(
        &self,
        caller: Fresh<Allowed<WriteUsers>>,
        app: Data<&App>,
        body: Body<NewUser>,
    ) -> Reply<Created<User>, CreateUser> {
        let NewUser { email, password, username, name, roles, language } = body.0;
        let language = language.map(Into::into);
        let roles = roles.unwrap_or_else(|| vec![RoleName::user()]);
        let new = NewAccount { email, username, name, password, roles, language, email_verified: true };
        let user = users::create(&app, caller.authority(), new).await?;
        let location = format!("/v1/users/{}", user.profile.id);
        Ok(Created(user.into(), location))
    }

    /// Change a user.
    ///
    /// Disabling an account ends its sessions, which do not come back when the account is enabled again. Administrators change
    /// their own e-mail address and status under `/v1/me`.
    #[oai(path = "/users/:id", method = "patch", operation_id = "updateUser")]
    async fn update(
        &self,
        caller: Fresh<Allowed<WriteUsers>>,
        app: Data<&App>,
        id: Path<UserId>,
        /// The `ETag` of the state to change. Without this header, any state is changed.
        #[oai(name = "If-Match")]
        if_match: Condition,
        body: Body<UserChange>,
    ) -> Reply<Tagged<User>, UpdateUser> {
        let UserChange { email, username, name, language, status } = body.0;
        let language = language.0.map(|language| language.map(Into::into));
        let names = Names { email, username: username.0, name: name.0, language };
        let change = Change { names, status: status.map(Into::into) };
        Ok(tagged(users::update(&app, caller.authority(), id.0, change, if_match.0.as_ref()).await?))
    }

    /// Delete a user.
    ///
    /// The user's sessions end. The e-mail address and the username become free. A new account with them inherits nothing.
    #[oai(path = "/users/:id", method = "delete", operation_id = "deleteUser")]
    async fn delete(
        &self,
        caller: Fresh<Allowed<DeleteUsers>>,
        app: Data<&App>,
        id: Path<UserId>,
    ) -> Reply<NoContent, DeleteUser> {
        users::delete(&app, caller.authority(), id.0).await?;
        Ok(NoContent)
    }

    /// Set a user's password.
    ///
    /// All sessions of the user end.
    #[oai(path = "/users/:id/password", method = "put", operation_id = "setUserPassword")]
    async fn set_password(
        &self,
        caller: Fresh<Allowed<WriteUsers>>,
        app: Data<&App>,
        id: Path<UserId>,
        body: Body<PasswordSetting>,
    ) -> Reply<NoContent, SetUserPassword> {
        users::set_password(&app, caller.authority(), id.0, &body.0.new_password).await?;
        Ok(NoContent)
    }

    /// Set a user's roles.
    ///
    /// The user holds exactly these roles afterwards. Access tokens issued before become stale at once.
    #[oai(path = "/users/:id/roles", method = "put", operation_id = "setUserRoles")]
    async fn set_roles(
        &self,
        caller: Fresh<Allowed<AssignRoles>>,
        app: Data<&App>,
        id: Path<UserId>,
        body: Body<RoleSetting>,
    ) -> Reply<Tagged<User>, SetUserRoles> {
        Ok(tagged(users::set_roles(&app, caller.authority(), id.0, &body.0.roles).await?))
    }

    /// Send a user a password reset.
    ///
    /// Mails the user a link and a code with which they can set a new password. Nothing else changes until they do.
    #[oai(path = "/users/:id/password-reset", method = "post", operation_id = "sendPasswordReset")]
    async fn send_password_reset(
        &self,
        caller: Allowed<WriteUsers>,
        app: Data<&App>,
        id: Path<UserId>,
    ) -> Reply<Queued, SendPasswordReset> {
        password_resets::send(&app, caller.authority(), id.0).await?;
        Ok(Queued)
    }

    /// List a user's sessions.
    ///
    /// The newest session comes first.
    #[oai(path = "/users/:id/sessions", method = "get", operation_id = "listUserSessions")]
    async fn list_sessions(
        &self,
        caller: Allowed<ReadSessions>,
        app: Data<&App>,
        request: &Request,
        id: Path<UserId>,
        /// The `next_cursor` of the previous page.
        cursor: Param<Cursor>,
        /// The number of items at most.
        limit: Param<Limit>,
    ) -> Reply<Page<SessionPage>, ListUserSessions> {
        let paging = paging(request, cursor, limit)?;
        let page = sessions::list_of(&app, id.0, &paging).await?.map(|session| Session::seen_from(caller.session(), session));
        Ok(Page::new(request, page, |items, next_cursor| SessionPage { items, next_cursor }))
    }

    /// End a user's sessions.
    #[oai(path = "/users/:id/sessions", method = "delete", operation_id = "endUserSessions")]
    async fn end_sessions(
        &self,
        caller: Allowed<EndSessions>,
        app: Data<&App>,
        id: Path<UserId>,
    ) -> Reply<NoContent, EndUserSessions> {
        users::end_sessions(&app, caller.authority(), id.0).await?;
        Ok(NoContent)
    }

    /// List a user's second factors.
    #[oai(path = "/users/:id/factors", method = "get", operation_id = "listUserFactors")]
    async fn list_factors(
        &self,
        _caller: Allowed<ReadUsers>,
        app: Data<&App>,
        id: Path<UserId>,
    ) -> Reply<Json<FactorPage>, ListUserFactors> {
        Ok(Json(factors::list_of(&app, id.0).await?.into()))
    }

    /// Remove a user's second factors.
    ///
    /// For users who have lost all of them. Removes the recovery codes as well, ends all sessions, and tells the owner by mail.
    /// Until the user adds a factor, the password alone is enough to log in. Be sure who asks for it.
    #[oai(path = "/users/:id/factors", method = "delete", operation_id = "resetUserFactors")]
    async fn reset_factors(
        &self,
        caller: Fresh<Allowed<RecoverUsers>>,
        app: Data<&App>,
        id: Path<UserId>,
    ) -> Reply<NoContent, ResetUserFactors> {
        factors::reset(&app, caller.authority(), id.0).await?;
        Ok(NoContent)
    }
}
