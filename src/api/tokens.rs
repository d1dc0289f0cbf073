//! Access tokens: what one says.

use chrono::DateTime;
use poem_openapi::{Object, OpenApi};
use uuid::Uuid;

use super::{
    Tag,
    guard::Signed,
    problem::refusals,
    reply::{Json, Reply},
    words::Time,
};

refusals! {
    /// `readToken`.
    ReadToken:;
}

/// What the presented access token says, and what its roles grant at this moment.
#[derive(Debug, Object)]
struct Token {
    /// The user.
    subject: Uuid,
    /// The session.
    session_id: Uuid,
    /// The application.
    #[oai(validator(max_length = 64))]
    client_id: String,
    /// The names of the roles.
    roles: Vec<String>,
    /// What the roles grant, sorted.
    permissions: Vec<String>,
    /// When it was issued.
    issued_at: Time,
    /// From when on it is refused.
    expires_at: Time,
}

/// The operations on access tokens.
pub struct Tokens;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Tokens")]
impl Tokens {
    /// See what my token says.
    #[oai(path = "/token", method = "get", operation_id = "readToken")]
    async fn read(&self, caller: Signed) -> Reply<Json<Token>, ReadToken> {
        let claims = caller.claims();
        Ok(Json(Token {
            subject: claims.sub.into(),
            session_id: claims.sid.into(),
            client_id: claims.client_id.clone(),
            roles: claims.roles.clone(),
            permissions: caller.permissions(),
            issued_at: at(claims.iat),
            expires_at: at(claims.exp),
        }))
    }
}

/// Seconds since 1970 as a time.
fn at(seconds: i64) -> Time {
    Time(DateTime::from_timestamp(seconds, 0).unwrap_or_default())
}
