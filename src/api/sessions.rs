//! Sessions: log-in.

use poem::web::Data;
use poem_openapi::{Enum, Object, OpenApi};
use uuid::Uuid;

use super::{
    Tag,
    body::Body,
    problem::refusals,
    reply::{Issued, Reply},
    source,
};
use crate::{
    app::App,
    domain::sessions::{self, Begun},
    values::{identifier::Identifier, password::Password},
};

refusals! {
    /// `logIn`.
    LogIn: InvalidCredentials AccountDisabled ValidationFailed Overloaded;
}

/// Who wants to log in, and the proof.
#[derive(Object)]
#[oai(write_only_all)]
struct Credentials {
    /// The e-mail address or the username.
    identifier: Identifier,
    /// The password.
    password: Password,
    /// How the refresh token travels.
    transport: Option<Transport>,
}

/// How the refresh token travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
enum Transport {
    /// In the body.
    Body,
}

/// What a session hands out.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct Tokens {
    /// Send it as `Authorization: Bearer …`.
    #[oai(validator(max_length = 8192))]
    access_token: String,
    /// How to send it.
    token_type: TokenType,
    /// How long the access token is good for, in seconds.
    #[oai(validator(minimum(value = "1"), maximum(value = "3600")))]
    expires_in: i64,
    /// How long the session lives unless it is used again, in seconds.
    refresh_expires_in: i64,
    /// Names the session.
    session_id: Uuid,
}

/// The one kind of access token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
enum TokenType {
    /// RFC 6750.
    Bearer,
}

impl From<Begun> for Tokens {
    fn from(begun: Begun) -> Self {
        Self {
            access_token: begun.access.token,
            token_type: TokenType::Bearer,
            expires_in: begun.access.expires_in,
            refresh_expires_in: begun.idle_for,
            session_id: begun.session.into(),
        }
    }
}

/// The operations on sessions.
pub struct Sessions;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Sessions")]
impl Sessions {
    /// Log in.
    ///
    /// Begins a session. An unknown account and a wrong password are answered alike, and take as long.
    #[oai(path = "/sessions", method = "post", operation_id = "logIn")]
    async fn log_in(&self, app: Data<&App>, source: source::From, body: Body<Credentials>) -> Reply<Issued<Tokens>, LogIn> {
        let Credentials { identifier, password, transport: None | Some(Transport::Body) } = body.0;
        let begun = sessions::log_in(&app, &source.0, &identifier, &password).await?;
        Ok(Issued(begun.into()))
    }
}
