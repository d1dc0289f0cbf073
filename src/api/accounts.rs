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

/// The request of a registration.
#[derive(Object)]
#[oai(write_only_all)]
struct Registration {
    /// The e-mail address, which the user can log in with.
    email: Email,
    /// At least 8 characters of any kind. Common passwords and passwords that contain the account's names are rejected.
    password: NewPassword,
    /// The username, which the user can log in with as well. It is stored in lower case.
    username: Option<Username>,
    /// The person's name.
    name: Option<Name>,
}

/// The operations on accounts.
pub struct AccountsApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Accounts")]
impl AccountsApi {
    /// Register.
    ///
    /// Creates an account with the role `user`. The request cannot choose roles or a status.
    #[oai(path = "/accounts", method = "post", operation_id = "registerAccount")]
    async fn register(&self, app: Data<&App>, source: Data<&Source>, body: Body<Registration>) -> Reply<Created<User>, Register> {
        let Registration { email, password, username, name } = body.0;
        let new = NewAccount { email, username, name, password: Some(password), roles: vec![RoleName::user()] };
        let user = accounts::register(&app, &source, new).await?;
        Ok(Created(user.into(), "/v1/me".into()))
    }
}
