//! THE WORDS: the vocabulary of the product, one type per meaning. Text from outside is parsed into these types once, at the
//! boundary, without I/O; a value of such a type is always valid.

pub mod authentication;
pub mod backoff;
pub mod bcrypt_hash;
pub mod browser_name;
pub mod ceremony;
pub mod challenge;
mod characters;
pub mod claims;
mod client_secret;
mod common_passwords;
pub mod counters;
pub mod description;
mod digits;
pub mod email;
pub mod factor_kind;
pub mod identifier;
pub mod ids;
pub mod json;
pub mod key_id;
pub mod language;
pub mod mail_kind;
pub mod mailbox;
pub mod name;
pub mod network;
pub mod passkey_credential;
pub mod passkeys_unavailable;
pub mod password;
pub mod password_hash;
pub mod permission;
pub mod query;
pub mod recent_times;
pub mod recovery_code;
pub mod refresh_token;
pub mod registration_mode;
pub mod revision;
pub mod role_name;
pub mod search;
pub mod second_factor_policy;
mod string_newtype;
pub mod ticket_code;
pub mod ticket_handle;
pub mod ticket_purpose;
pub mod ticket_token;
pub mod time;
pub mod totp_code;
pub mod username;

use std::borrow::Cow;

/// Why a text is not a valid value. The text itself is not included, so that an `Invalid` may be logged and sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Invalid {
    /// The API's code for the fault: `format`, `too_short`, `too_long`, `pattern`, `not_allowed`, `common_password`,
    /// `contains_identity`, and so on.
    pub code: &'static str,
    /// A whole sentence for people.
    pub detail: Cow<'static, str>,
}

impl Invalid {
    /// `detail` must be a whole sentence and must not repeat the invalid text.
    pub fn new(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into() }
    }
}
