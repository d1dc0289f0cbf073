//! The objects that several operations return.

use chrono::{DurationRound, TimeDelta};
use poem_openapi::{Enum, Object};
use serde::Serialize;
use serde_with::skip_serializing_none;
use uuid::Uuid;

use super::http::{
    reply::Tagged,
    union::union,
    words::{Parameter, Time, choose},
};
use crate::{
    domain::{mail::tickets, refresh::SessionAccess, sessions, users},
    entity::user::Status as Stored,
    values::{
        Invalid, ids::SessionId, language, ticket_code::TicketCode, ticket_handle::TicketHandle, ticket_token::TicketToken,
    },
};

/// Whether an account can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize)]
#[oai(rename = "UserStatus", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// The account can be used.
    Active,
    /// An administrator has disabled the account, and nobody can log in to it.
    Disabled,
}

impl Parameter for Status {
    fn read(raw: &str) -> Result<Self, Invalid> {
        choose(raw)
    }
}

impl From<Stored> for Status {
    fn from(stored: Stored) -> Self {
        match stored {
            Stored::Active => Self::Active,
            Stored::Disabled => Self::Disabled,
        }
    }
}

impl From<Status> for Stored {
    fn from(status: Status) -> Self {
        match status {
            Status::Active => Self::Active,
            Status::Disabled => Self::Disabled,
        }
    }
}

/// A language of mails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize)]
pub enum Language {
    /// English.
    #[oai(rename = "en")]
    #[serde(rename = "en")]
    English,
    /// German.
    #[oai(rename = "de")]
    #[serde(rename = "de")]
    German,
}

impl From<language::Language> for Language {
    fn from(language: language::Language) -> Self {
        match language {
            language::Language::English => Self::English,
            language::Language::German => Self::German,
        }
    }
}

impl From<Language> for language::Language {
    fn from(language: Language) -> Self {
        match language {
            Language::English => Self::English,
            Language::German => Self::German,
        }
    }
}

/// An account.
#[skip_serializing_none]
#[derive(Debug, Object, Serialize)]
#[oai(skip_serializing_if_is_none)]
pub struct User {
    /// The account's id, which never changes: the `sub` of its access tokens.
    pub id: Uuid,
    /// The e-mail address in its canonical spelling.
    #[oai(validator(max_length = 254))]
    pub email: String,
    /// Whether the address is the user's for sure: the user has proven it, or an administrator vouches for it.
    pub email_verified: bool,
    /// The address that the user wants, until its mailbox confirms it.
    #[oai(validator(max_length = 254))]
    pub pending_email: Option<String>,
    /// The username.
    #[oai(validator(max_length = 32))]
    pub username: Option<String>,
    /// The person's name.
    #[oai(validator(max_length = 100))]
    pub name: Option<String>,
    /// The language in which the user wants to read mails.
    pub language: Option<Language>,
    /// Whether the account can be used.
    pub status: Status,
    /// The names of the account's roles, sorted.
    #[oai(validator(max_items = 1000, max_length = 32))]
    pub roles: Vec<String>,
    /// Whether the account has a second factor.
    pub second_factor: bool,
    /// When the account was created.
    pub created_at: Time,
    /// When the account was last changed.
    pub updated_at: Time,
    /// When the user last logged in.
    pub last_login_at: Option<Time>,
}

impl From<users::User> for User {
    fn from(users::User { profile, roles }: users::User) -> Self {
        Self {
            id: profile.id.into(),
            email: profile.email,
            email_verified: profile.email_verified,
            pending_email: profile.pending_email,
            username: profile.username,
            name: profile.name,
            language: profile.language.map(Into::into),
            status: profile.status.into(),
            roles: roles.into_iter().map(String::from).collect(),
            second_factor: profile.second_factor,
            created_at: Time(profile.created_at),
            updated_at: Time(profile.updated_at),
            last_login_at: profile.last_login_at.map(Time),
        }
    }
}

/// Replies with a user and the tag of the user's revision.
pub fn tagged(user: users::User) -> Tagged<User> {
    let tag = user.profile.revision.to_string();
    Tagged(user.into(), tag)
}

/// What a client needs to use the code from a mail that it has requested.
#[derive(Debug, Object, Serialize)]
pub struct Pending {
    /// A secret of this client. A code counts only together with it.
    #[oai(validator(max_length = 64))]
    pub handle: String,
    /// How long the handle is valid, in seconds.
    #[oai(validator(minimum(value = "1"), maximum(value = "604800")))]
    pub expires_in: i64,
    /// When the mail may be requested again, in seconds.
    #[oai(validator(minimum(value = "0"), maximum(value = "3600")))]
    pub resend_after: i64,
}

impl From<tickets::Pending> for Pending {
    fn from(pending: tickets::Pending) -> Self {
        Self { handle: pending.handle.expose(), expires_in: pending.expires_in, resend_after: pending.resend_after }
    }
}

/// The kind of proof: a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
enum LinkKind {
    /// A link.
    Link,
}

/// The kind of proof: a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "snake_case")]
enum CodeKind {
    /// A code.
    Code,
}

/// The link from a mail, which works on any device.
#[derive(Object)]
#[oai(write_only_all)]
pub struct LinkProof {
    /// Always `link`.
    kind: LinkKind,
    /// The token from the link.
    token: TicketToken,
}

/// The code from a mail, with the handle of the client that has requested the mail.
#[derive(Object)]
#[oai(write_only_all)]
pub struct CodeProof {
    /// Always `code`.
    kind: CodeKind,
    /// The handle from the response to the request.
    handle: TicketHandle,
    /// The code. Spaces and hyphens in it do not count.
    code: TicketCode,
}

union! {
    /// What shows that the caller reads a mailbox: the link or the code from a mail.
    pub enum Proof {
        "link" LinkProof,
        "code" CodeProof,
    }
}

impl From<Proof> for tickets::Proof {
    fn from(proof: Proof) -> Self {
        match proof {
            Proof::LinkProof(LinkProof { kind: LinkKind::Link, token }) => Self::Link(token),
            Proof::CodeProof(CodeProof { kind: CodeKind::Code, handle, code }) => Self::Code { handle, code },
        }
    }
}

/// One page of accounts.
#[skip_serializing_none]
#[derive(Debug, Object, Serialize)]
#[oai(skip_serializing_if_is_none)]
pub struct UserPage {
    /// The accounts in the requested order.
    #[oai(validator(max_items = 100))]
    pub items: Vec<User>,
    /// The `cursor` of the next page. Absent on the last page.
    #[oai(validator(max_length = 512))]
    pub next_cursor: Option<String>,
    /// The number of users on all pages, if the query has `total=true`. Absent above 10,000.
    #[oai(validator(minimum(value = "0"), maximum(value = "10000")))]
    pub total: Option<u32>,
}

/// The tokens of a session.
#[skip_serializing_none]
#[derive(Object, Serialize)]
#[oai(skip_serializing_if_is_none)]
pub struct Tokens {
    /// The access token, to be sent as `Authorization: Bearer …`.
    #[oai(validator(max_length = 8192))]
    pub access_token: String,
    /// The type of the access token.
    pub token_type: TokenType,
    /// The lifetime of the access token in seconds.
    #[oai(validator(minimum(value = "1"), maximum(value = "3600")))]
    pub expires_in: i64,
    /// The refresh token, which `refreshSession` exchanges for new tokens once. Absent if the cookie holds it, and if
    /// the one that the client has stays valid.
    #[oai(validator(max_length = 128))]
    pub refresh_token: Option<String>,
    /// The lifetime of the session in seconds, unless it is refreshed before.
    #[oai(validator(minimum(value = "0"), maximum(value = "315360000")))]
    pub refresh_expires_in: i64,
    /// The session's id.
    pub session_id: Uuid,
}

impl From<SessionAccess> for Tokens {
    /// The tokens of a client that has a refresh token already.
    fn from(SessionAccess { session, token, refresh_expires_in }: SessionAccess) -> Self {
        Self {
            access_token: token.token,
            token_type: TokenType::Bearer,
            expires_in: token.expires_in,
            refresh_token: None,
            refresh_expires_in,
            session_id: session.into(),
        }
    }
}

/// The type of an access token. There is only one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum, Serialize)]
pub enum TokenType {
    /// A bearer token (RFC 6750).
    Bearer,
}

/// A session: one log-in of a user and all its tokens.
#[skip_serializing_none]
#[derive(Debug, Object, Serialize)]
#[oai(skip_serializing_if_is_none)]
pub struct Session {
    /// The session's id: the `sid` of its access tokens.
    pub id: Uuid,
    /// When the session started.
    pub created_at: Time,
    /// When the session was last used, to the minute. Never before `created_at`.
    pub last_used_at: Time,
    /// When the session ends unless it is refreshed before.
    pub expires_at: Time,
    /// The address of the client at log-in.
    #[oai(validator(max_length = 45))]
    pub address: Option<String>,
    /// The `User-Agent` of the client at log-in.
    #[oai(validator(max_length = 256))]
    pub user_agent: Option<String>,
    /// Whether this is the session of the request.
    pub current: bool,
}

impl Session {
    /// Shows a session to the caller whose own session is `current`.
    pub fn seen_from(current: SessionId, session: sessions::Session) -> Self {
        let sessions::Session { row, expires_at } = session;
        let minute = row.last_used_at.duration_trunc(TimeDelta::minutes(1)).unwrap_or(row.last_used_at);
        Self {
            id: row.id.into(),
            created_at: Time(row.created_at),
            last_used_at: Time(minute.max(row.created_at)),
            expires_at: Time(expires_at),
            address: row.address,
            user_agent: row.user_agent,
            current: row.id == current,
        }
    }
}

/// One page of sessions.
#[skip_serializing_none]
#[derive(Debug, Object, Serialize)]
#[oai(skip_serializing_if_is_none)]
pub struct SessionPage {
    /// The sessions, newest first.
    #[oai(validator(max_items = 100))]
    pub items: Vec<Session>,
    /// The `cursor` of the next page. Absent on the last page.
    #[oai(validator(max_length = 512))]
    pub next_cursor: Option<String>,
}
