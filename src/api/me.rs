//! One's own account: what everybody who is signed in may do.

use poem::web::Data;
use poem_openapi::{Object, OpenApi, param::Header, types::MaybeUndefined};

use super::{
    Tag,
    body::Body,
    guard::Signed,
    objects::{User, tagged},
    problem::refusals,
    reply::{NoContent, Reply, Tagged},
};
use crate::{
    app::App,
    domain::accounts::{self, Change},
    values::{
        email::Email,
        name::Name,
        password::{NewPassword, Password},
        revision::IfMatch,
        username::Username,
    },
};

refusals! {
    /// `readMe`.
    ReadMe:;
    /// `updateMe`.
    UpdateMe: EmailTaken UsernameTaken PreconditionFailed ValidationFailed Overloaded;
    /// `changePassword`.
    ChangePassword: ValidationFailed Overloaded;
    /// `closeAccount`.
    CloseAccount: LastAdmin ValidationFailed Overloaded;
}

/// What to change. A member that is absent stays as it is; `null` clears it.
#[derive(Object)]
#[oai(write_only_all)]
struct MyChange {
    /// What to be called.
    name: MaybeUndefined<Name>,
    /// The username.
    username: MaybeUndefined<Username>,
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
pub struct Me;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Me")]
impl Me {
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
        if_match: Header<Option<IfMatch>>,
        body: Body<MyChange>,
    ) -> Reply<Tagged<User>, UpdateMe> {
        let MyChange { name, username, email, current_password } = body.0;
        let change = Change { email, username: given(username), name: given(name), current_password };
        Ok(tagged(accounts::update(&app, &caller, change, if_match.0.as_ref()).await?))
    }

    /// Close my account.
    ///
    /// Deletes it and ends its sessions. Its names are free again, and whoever takes them inherits nothing.
    #[oai(path = "/me", method = "delete", operation_id = "closeAccount")]
    async fn close(&self, caller: Signed, app: Data<&App>, body: Body<Closing>) -> Reply<NoContent, CloseAccount> {
        accounts::close(&app, &caller, &body.0.current_password).await?;
        Ok(NoContent)
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
}

/// A member of a PATCH: absent, `null`, or a value.
fn given<T>(member: MaybeUndefined<T>) -> Option<Option<T>> {
    match member {
        MaybeUndefined::Undefined => None,
        MaybeUndefined::Null => Some(None),
        MaybeUndefined::Value(value) => Some(Some(value)),
    }
}
