//! Accounts: registration.

use poem::web::Data;
use poem_openapi::{Object, OpenApi};

use super::{
    Tag,
    http::{
        body::Body,
        codes::operation_codes,
        reply::{Created, Reply},
    },
    objects::User,
};
use crate::{
    app::App,
    domain::{accounts, source::Source, users::NewAccount},
    values::{email::Email, name::Name, password::NewPassword, role_name::RoleName, username::Username},
};

operation_codes! {
    /// `registerAccount`.
    Register: RegistrationClosed EmailTaken UsernameTaken ValidationFailed TooManyRequests Overloaded;
}

/// What somebody says of themselves when they register.
#[derive(Object)]
#[oai(write_only_all)]
struct Registration {
    /// The e-mail address to log in with.
    email: Email,
    /// Any characters, at least 8 of them; common ones and ones made of the account's own names are refused.
    password: NewPassword,
    /// A second name to log in with. It is kept in lower case.
    username: Option<Username>,
    /// What they want to be called.
    name: Option<Name>,
}

/// The operations on accounts.
pub struct AccountsApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Accounts")]
impl AccountsApi {
    /// Register.
    ///
    /// Makes an account with the role `user`. Roles and status cannot be chosen here.
    #[oai(path = "/accounts", method = "post", operation_id = "registerAccount")]
    async fn register(&self, app: Data<&App>, source: Data<&Source>, body: Body<Registration>) -> Reply<Created<User>, Register> {
        let Registration { email, password, username, name } = body.0;
        let new = NewAccount { email, username, name, password: Some(password), roles: vec![RoleName::user()] };
        let user = accounts::register(&app, &source, new).await?;
        Ok(Created(user.into(), "/v1/me".into()))
    }
}
