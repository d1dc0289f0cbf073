//! The claims of an access token (RFC 9068 section 2.2). They hold no personal data.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    authentication::{Acr, Amr},
    counters::Epoch,
    ids::{SessionId, UserId},
    role_name::RoleName,
};

/// How far the clock of the server that issued a token may be ahead of this one's, in seconds.
pub const LEEWAY: i64 = 5;

/// The claims of an access token. Every member has exactly this JSON type, and is required unless it has a default.
///
/// A token from before the upgrade lacks the members with a default. They then say what is true of it: its user was
/// authenticated by the password, and nobody held a second factor. When is unknown, so it is no fresh proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The issuer: the setting `tokens.issuer`.
    pub iss: String,
    /// The audience: the setting `tokens.audience`.
    pub aud: Audience,
    /// The subject: the user.
    pub sub: UserId,
    /// The application that the user logged in to.
    pub client_id: String,
    /// The session. The token is not accepted after the session has ended.
    pub sid: SessionId,
    /// The id of this token.
    pub jti: Uuid,
    /// When the token was issued, in seconds since 1970.
    pub iat: i64,
    /// When the token expires, in seconds since 1970.
    pub exp: i64,
    /// The names of the user's roles when the token was issued.
    pub roles: Vec<RoleName>,
    /// The user's epoch when the token was issued. A newer epoch makes the token stale.
    pub epoch: Epoch,
    /// When the user was last authenticated, in seconds since 1970.
    #[serde(default)]
    pub auth_time: i64,
    /// The level at which the session's user was authenticated.
    #[serde(default)]
    pub acr: Acr,
    /// The methods by which the session's user was authenticated.
    #[serde(default)]
    pub amr: Amr,
    /// The best level that the account can reach with the factors that it held when the token was issued. A factor that is
    /// added or removed raises the epoch.
    #[serde(default)]
    pub acr_max: Acr,
}

/// The `aud` claim: one name or several (RFC 7519 section 4.1.3). Vestibule writes one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Audience {
    /// One audience.
    One(String),
    /// Several audiences.
    Several(Vec<String>),
}

impl Audience {
    /// Returns whether `name` is one of the audiences.
    pub fn contains(&self, name: &str) -> bool {
        match self {
            Self::One(audience) => audience == name,
            Self::Several(audiences) => audiences.iter().any(|audience| audience == name),
        }
    }
}
