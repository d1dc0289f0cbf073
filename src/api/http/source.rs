//! The source of a request: what sessions, the audit trail and the log record about it.

use std::sync::{Arc, OnceLock};

use poem::{Request, http::header};

use crate::{
    domain::source::Source,
    values::{ids::UserId, language::Language},
};

/// The caller of a request, for the log line. A guard sets it.
#[derive(Clone, Default)]
pub struct SignedIn(Arc<OnceLock<UserId>>);

impl SignedIn {
    /// Sets the caller of `request`.
    pub fn note(request: &Request, user: UserId) {
        if let Some(Self(cell)) = request.data() {
            _ = cell.set(user);
        }
    }

    /// The caller, if a guard has accepted one.
    pub fn get(&self) -> Option<&UserId> {
        self.0.get()
    }
}

/// Returns the source that the server recorded when the request arrived.
pub fn of(request: &Request) -> Source {
    request.data::<Source>().cloned().unwrap_or_default()
}

/// Returns the language that the request's `Accept-Language` prefers, if it is one of ours.
pub fn language(request: &Request) -> Option<Language> {
    Language::preferred(request.headers().get(header::ACCEPT_LANGUAGE)?.to_str().ok()?)
}

/// Returns the `User-Agent` header without control characters, at most 256 characters. It need not be ASCII.
pub fn user_agent(request: &Request) -> Option<String> {
    let name = String::from_utf8_lossy(request.headers().get(header::USER_AGENT)?.as_bytes());
    Some(name.chars().filter(|character| !character.is_control()).take(256).collect())
}
