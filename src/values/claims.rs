//! Claims: what an access token says (RFC 9068 section 2.2). Nothing personal is among them.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::ids::{SessionId, UserId};

/// The claims of an access token. Every member is required and has exactly this JSON type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Who issued it: `tokens.issuer`.
    pub iss: String,
    /// For whom: `tokens.audience`.
    pub aud: Audience,
    /// The user.
    pub sub: UserId,
    /// The application that the user signed in to.
    pub client_id: String,
    /// The session; the token dies with it.
    pub sid: SessionId,
    /// Names this token.
    pub jti: Uuid,
    /// When it was issued, in seconds since 1970.
    pub iat: i64,
    /// From when on it is refused, in seconds since 1970.
    pub exp: i64,
    /// The names of the user's roles when it was issued.
    pub roles: Vec<String>,
    /// Which assignment of roles it carries: a later one makes it stale.
    pub epoch: i64,
}

/// `aud` is one name or several (RFC 7519 section 4.1.3). We write one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// One audience.
    One(String),
    /// Several audiences.
    Several(Vec<String>),
}

impl Audience {
    /// Whether the token is for `name`, perhaps among others.
    #[must_use]
    pub fn holds(&self, name: &str) -> bool {
        match self {
            Self::One(audience) => audience == name,
            Self::Several(audiences) => audiences.iter().any(|it| it == name),
        }
    }
}
