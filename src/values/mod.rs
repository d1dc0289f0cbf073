//! THE WORDS: what people and programs say to us, parsed once, pure, without I/O. A value that exists is valid.

pub mod budget;
mod characters;
pub mod claims;
pub mod description;
pub mod email;
pub mod identifier;
pub mod ids;
pub mod json;
pub mod key_id;
pub mod name;
pub mod network;
pub mod password;
pub mod password_hash;
pub mod permission;
pub mod query;
pub mod refresh_token;
pub mod revision;
pub mod role_name;
pub mod search;
pub mod time;
pub mod username;
mod word;

use std::borrow::Cow;

/// What is wrong with a word. It never holds the word itself, so it may be logged and sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Invalid {
    /// One of the API's codes for a bad member: `format`, `too_short`, `too_long`, `pattern`, `not_allowed`,
    /// `common_password`, `contains_identity`, ...
    pub code: &'static str,
    /// A sentence for people.
    pub detail: Cow<'static, str>,
}

impl Invalid {
    /// `detail` is a whole sentence and must not repeat what was sent.
    pub fn new(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into() }
    }
}
