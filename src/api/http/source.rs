//! Where a request comes from: the facts that sessions, the audit trail and the log keep about it.

use std::sync::{Arc, OnceLock};

use poem::{Request, http::header};

use crate::{domain::source::Source, values::ids::UserId};

/// Who turned out to be calling, for the log line. A guard notes it.
#[derive(Clone, Default)]
pub struct SignedIn(Arc<OnceLock<UserId>>);

impl SignedIn {
    /// Notes the caller of `request`.
    pub fn note(request: &Request, user: UserId) {
        if let Some(Self(cell)) = request.data() {
            _ = cell.set(user);
        }
    }

    /// Who was noted.
    #[must_use]
    pub fn get(&self) -> Option<&UserId> {
        self.0.get()
    }
}

/// What the server noted about a request when it arrived, with the client's own words for itself.
pub fn of(request: &Request) -> Source {
    request.data::<Source>().cloned().unwrap_or_default()
}

/// The `User-Agent` header, at most 256 characters of it. It need not be ASCII.
#[must_use]
pub fn user_agent(request: &Request) -> Option<String> {
    let name = String::from_utf8_lossy(request.headers().get(header::USER_AGENT)?.as_bytes());
    Some(name.chars().filter(|it| !it.is_control()).take(256).collect())
}
