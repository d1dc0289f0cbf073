//! Authentication of callers who are logged in: proofs of presence.

use poem::web::Data;
use poem_openapi::{Enum, Object, OpenApi};

use super::{
    Tag,
    factors::{PasskeyFactor, RecoveryCodeFactor, TotpFactor},
    guard::Enrolling,
    http::{
        body::Body,
        codes::operation_codes,
        reply::{Json, Reply},
        union::union,
    },
    objects::Tokens,
};
use crate::{
    app::App,
    domain::authentication::{self, Factor},
    values::password::Password,
};

operation_codes! {
    /// `authenticateAgain`.
    AuthenticateAgain: WrongFactor ValidationFailed TooManyRequests Overloaded;
}

/// What the caller presents.
#[derive(Object)]
#[oai(write_only_all)]
struct AuthenticationRequest {
    /// The factor.
    factor: AuthenticationFactor,
}

union! {
    /// What proves that the caller is present.
    pub enum AuthenticationFactor {
        "totp" TotpFactor,
        "passkey" PasskeyFactor,
        "recovery_code" RecoveryCodeFactor,
        "password" PasswordFactor,
    }
}

/// The kind of factor: a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
enum PasswordKind {
    /// A password.
    Password,
}

/// The password. It proves presence only where the account has no second factor.
#[derive(Object)]
#[oai(write_only_all)]
pub struct PasswordFactor {
    /// Always `password`.
    kind: PasswordKind,
    /// The password of the account.
    password: Password,
}

impl From<AuthenticationFactor> for Factor {
    fn from(factor: AuthenticationFactor) -> Self {
        match factor {
            AuthenticationFactor::TotpFactor(factor) => Self::Second(factor.into()),
            AuthenticationFactor::PasskeyFactor(factor) => Self::Second(factor.into()),
            AuthenticationFactor::RecoveryCodeFactor(factor) => Self::Second(factor.into()),
            AuthenticationFactor::PasswordFactor(PasswordFactor { kind: PasswordKind::Password, password }) => {
                Self::Password(password)
            }
        }
    }
}

/// The operations on proofs of presence.
pub struct AuthenticationApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Me")]
impl AuthenticationApi {
    /// Authenticate again.
    ///
    /// Proves that the user of this session is present. Operations that change accounts, roles or keys require such a proof
    /// within the last ten minutes; a log-in is one. Returns an access token of the same session with a new `auth_time`. The
    /// refresh token stays the same, and so does the cookie. An account without a second factor proves presence by its password.
    #[oai(path = "/me/authentication", method = "post", operation_id = "authenticateAgain")]
    async fn authenticate(
        &self,
        caller: Enrolling,
        app: Data<&App>,
        body: Body<AuthenticationRequest>,
    ) -> Reply<Json<Tokens>, AuthenticateAgain> {
        Ok(Json(authentication::again(&app, &caller, &body.0.factor.into()).await?.into()))
    }
}
