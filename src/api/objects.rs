//! The objects that several operations answer with, as API.md names them.

use chrono::{DurationRound, TimeDelta};
use poem_openapi::{Enum, Object};
use uuid::Uuid;

use super::http::{
    reply::Tagged,
    words::{Parameter, Time, choose},
};
use crate::{
    domain::{sessions, users},
    entity::user::Status as Stored,
    values::{Invalid, ids::SessionId},
};

/// Whether an account may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename = "UserStatus", rename_all = "snake_case")]
pub enum Status {
    /// It may.
    Active,
    /// An administrator has disabled it: nobody can log in to it.
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

/// An account.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct User {
    /// Names the account for good; the `sub` of its tokens.
    pub id: Uuid,
    /// The e-mail address, in its canonical spelling.
    #[oai(validator(max_length = 254))]
    pub email: String,
    /// The username.
    #[oai(validator(max_length = 32))]
    pub username: Option<String>,
    /// What the person is called.
    #[oai(validator(max_length = 100))]
    pub name: Option<String>,
    /// Whether the account may be used.
    pub status: Status,
    /// The names of the roles it holds, sorted.
    #[oai(validator(max_items = 1000, max_length = 32))]
    pub roles: Vec<String>,
    /// When it was made.
    pub created_at: Time,
    /// When it was last changed.
    pub updated_at: Time,
    /// When somebody last logged in to it.
    pub last_login_at: Option<Time>,
}

impl From<users::User> for User {
    fn from(users::User { profile, roles }: users::User) -> Self {
        Self {
            id: profile.id.into(),
            email: profile.email,
            username: profile.username,
            name: profile.name,
            status: profile.status.into(),
            roles: roles.into_iter().map(String::from).collect(),
            created_at: Time(profile.created_at),
            updated_at: Time(profile.updated_at),
            last_login_at: profile.last_login_at.map(Time),
        }
    }
}

/// A user with the tag of their revision.
pub fn tagged(user: users::User) -> Tagged<User> {
    let tag = user.profile.revision.to_string();
    Tagged(user.into(), tag)
}

/// One page of accounts.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct UserPage {
    /// The accounts, in the order asked for.
    #[oai(validator(max_items = 100))]
    pub items: Vec<User>,
    /// Send it back as `cursor` for the next page; absent on the last.
    #[oai(validator(max_length = 512))]
    pub next_cursor: Option<String>,
    /// The number of users on all pages, if `total=true` asks for it; absent above 10,000.
    #[oai(validator(minimum(value = "0"), maximum(value = "10000")))]
    pub total: Option<u32>,
}

/// A place where somebody is signed in.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct Session {
    /// Names the session; the `sid` of its tokens.
    pub id: Uuid,
    /// When it began.
    pub created_at: Time,
    /// When it was last used, to the minute; never before `created_at`.
    pub last_used_at: Time,
    /// When it ends if it is not used again.
    pub expires_at: Time,
    /// The address it began from.
    #[oai(validator(max_length = 45))]
    pub address: Option<String>,
    /// What the client called itself.
    #[oai(validator(max_length = 256))]
    pub user_agent: Option<String>,
    /// Whether this request belongs to it.
    pub current: bool,
}

impl Session {
    /// A session as the caller of `current` sees it.
    #[must_use]
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
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
pub struct SessionPage {
    /// The sessions, newest first.
    #[oai(validator(max_items = 100))]
    pub items: Vec<Session>,
    /// Send it back as `cursor` for the next page; absent on the last.
    #[oai(validator(max_length = 512))]
    pub next_cursor: Option<String>,
}
