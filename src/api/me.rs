//! One's own account: what everybody who is signed in may do.

use poem::{Request, web::Data};
use poem_openapi::{Object, OpenApi};

use super::{
    Tag,
    guard::Signed,
    http::{
        body::Body,
        codes::operation_codes,
        cookie,
        params::{Condition, Faults, Param, Path, paging},
        reply::{NoContent, Page, Reply, Tagged, WithCookie},
        words::Clearable,
    },
    objects::{Session, SessionPage, User, tagged},
};
use crate::{
    app::App,
    domain::{accounts, revocations::SessionSelection, sessions, users::Names},
    values::{
        email::Email,
        ids::SessionRef,
        name::Name,
        password::{NewPassword, Password},
        query::{Cursor, Limit},
        username::Username,
    },
};

operation_codes! {
    /// `readMe`.
    ReadMe:;
    /// `updateMe`.
    UpdateMe: EmailTaken UsernameTaken PreconditionFailed ValidationFailed TooManyRequests Overloaded;
    /// `changePassword`.
    ChangePassword: ValidationFailed TooManyRequests Overloaded;
    /// `closeAccount`.
    CloseAccount: LastAdmin ValidationFailed TooManyRequests Overloaded;
    /// `listMySessions`.
    ListMySessions: ValidationFailed;
    /// `endMySessions`.
    EndMySessions: ValidationFailed;
    /// `endMySession`.
    EndMySession: NotFound;
}

/// What to change. A member that is absent stays as it is; `null` clears it.
#[derive(Object)]
#[oai(write_only_all)]
struct MyChange {
    /// What to be called.
    name: Clearable<Name>,
    /// The username.
    username: Clearable<Username>,
    /// The e-mail address.
    email: Option<Email>,
    /// Needed to change the e-mail address.
    current_password: Option<Password>,
}

/// Two passwords.
#[derive(Object)]
#[oai(write_only_all)]
struct PasswordChange {
    /// The password as it is.
    current_password: Password,
    /// The password as it shall be.
    new_password: NewPassword,
}

/// The proof that the owner is asking.
#[derive(Object)]
#[oai(write_only_all)]
struct Closing {
    /// The password.
    current_password: Password,
}

/// The operations on one's own account.
pub struct MeApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Me")]
impl MeApi {
    /// See my account.
    #[oai(path = "/me", method = "get", operation_id = "readMe")]
    async fn read(&self, caller: Signed, app: Data<&App>) -> Reply<Tagged<User>, ReadMe> {
        Ok(tagged(accounts::read(&app, &caller).await?))
    }

    /// Change my account.
    ///
    /// A new e-mail address needs the current password.
    #[oai(path = "/me", method = "patch", operation_id = "updateMe")]
    async fn update(
        &self,
        caller: Signed,
        app: Data<&App>,
        /// The `ETag` of the state to change; without it any state is changed.
        #[oai(name = "If-Match")]
        if_match: Condition,
        body: Body<MyChange>,
    ) -> Reply<Tagged<User>, UpdateMe> {
        let MyChange { name, username, email, current_password } = body.0;
        let names = Names { email, username: username.0, name: name.0 };
        Ok(tagged(accounts::update(&app, &caller, names, current_password.as_ref(), if_match.0.as_ref()).await?))
    }

    /// Close my account.
    ///
    /// Deletes it and ends its sessions. A cookie with the refresh token of one of them is cleared. Its names are free again,
    /// and whoever takes them inherits nothing.
    #[oai(path = "/me", method = "delete", operation_id = "closeAccount")]
    async fn close(
        &self,
        caller: Signed,
        app: Data<&App>,
        request: &Request,
        body: Body<Closing>,
    ) -> Reply<WithCookie<NoContent>, CloseAccount> {
        let ended = accounts::close(&app, &caller, &body.0.current_password).await?;
        Ok(WithCookie(NoContent, cookie::cleared(request, &app.settings, &ended)))
    }

    /// Change my password.
    ///
    /// This session goes on; all others end.
    #[oai(path = "/me/password", method = "put", operation_id = "changePassword")]
    async fn change_password(
        &self,
        caller: Signed,
        app: Data<&App>,
        body: Body<PasswordChange>,
    ) -> Reply<NoContent, ChangePassword> {
        accounts::change_password(&app, &caller, &body.0.current_password, &body.0.new_password).await?;
        Ok(NoContent)
    }

    /// List my sessions.
    ///
    /// Where I am signed in, newest first.
    #[oai(path = "/me/sessions", method = "get", operation_id = "listMySessions")]
    async fn list_sessions(
        &self,
        caller: Signed,
        app: Data<&App>,
        request: &Request,
        /// `next_cursor` of the page before.
        cursor: Param<Cursor>,
        /// How many items at most.
        limit: Param<Limit>,
    ) -> Reply<Page<SessionPage>, ListMySessions> {
        let paging = paging(request, cursor, limit)?;
        let page = sessions::list(&app, caller.user(), &paging).await?.map(|it| Session::seen_from(caller.session(), it));
        Ok(Page::new(request, page, |items, next_cursor| SessionPage { items, next_cursor }))
    }

    /// End my sessions.
    ///
    /// Signs me out everywhere, or everywhere else. A cookie with the refresh token of a session that has ended is cleared.
    #[oai(path = "/me/sessions", method = "delete", operation_id = "endMySessions")]
    async fn end_sessions(
        &self,
        caller: Signed,
        app: Data<&App>,
        request: &Request,
        /// Whether the session of this request goes on.
        except_current: Param<bool>,
    ) -> Reply<WithCookie<NoContent>, EndMySessions> {
        let mut faults = Faults::of(request);
        let except_current = faults.take(except_current).unwrap_or_default();
        faults.none()?;
        let selection = if except_current { SessionSelection::AllExcept(caller.session()) } else { SessionSelection::All };
        let ended = sessions::end(&app, &caller, selection).await?;
        Ok(WithCookie(NoContent, cookie::cleared(request, &app.settings, &ended)))
    }

    /// End one of my sessions.
    ///
    /// `current` is the session of this request: logging out. A cookie with its refresh token is taken away.
    #[oai(path = "/me/sessions/:id", method = "delete", operation_id = "endMySession")]
    async fn end_session(
        &self,
        caller: Signed,
        app: Data<&App>,
        request: &Request,
        id: Path<SessionRef>,
    ) -> Reply<WithCookie<NoContent>, EndMySession> {
        let session = match id.0 {
            SessionRef::Current => caller.session(),
            SessionRef::Id(session) => session,
        };
        let ended = sessions::end(&app, &caller, SessionSelection::One(session)).await?;
        Ok(WithCookie(NoContent, cookie::cleared(request, &app.settings, &ended)))
    }
}
