//! Browsers: whether a user has logged in with a browser before. The browser itself knows: a cookie holds a mark for each of the
//! last users, and the service stores nothing. A mark gives no access. It only spares its user the notice of a new log-in.

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use crate::{app::App, values::ids::UserId};

/// How long a browser is known to a user after a log-in.
pub const KNOWN: TimeDelta = TimeDelta::days(365);

/// The number of users whose marks a browser keeps.
const USERS: usize = 8;

/// The length of a mark: the time of the log-in in seconds, and half of an HMAC-SHA-256.
const LENGTH: usize = 8 + MAC;
const MAC: usize = 16;

/// What a browser knows about the users who have logged in with it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Browser {
    /// The marks, newest first.
    marks: Vec<[u8; LENGTH]>,
}

impl Browser {
    /// Reads the value of the cookie. A damaged value has no marks.
    pub fn from_cookie(value: &[u8]) -> Self {
        let bytes = URL_SAFE_NO_PAD.decode(value).unwrap_or_default();
        Self { marks: bytes.as_chunks().0.iter().take(USERS).copied().collect() }
    }

    /// Returns the value of the cookie.
    pub fn to_cookie(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.marks.as_flattened())
    }

    /// Returns whether the user has logged in with this browser in the last year.
    pub fn knows(&self, app: &App, user: UserId, now: DateTime<Utc>) -> bool {
        self.marks.iter().any(|mark| is_of(app, mark, user) && logged_in_at(mark) > (now - KNOWN).timestamp())
    }

    /// Returns the browser after the user has logged in.
    #[must_use]
    pub fn with(&self, app: &App, user: UserId, now: DateTime<Utc>) -> Self {
        let others = self.marks.iter().filter(|mark| !is_of(app, mark, user)).copied();
        Self { marks: std::iter::once(mark(app, user, now.timestamp())).chain(others).take(USERS).collect() }
    }
}

fn mark(app: &App, user: UserId, at: i64) -> [u8; LENGTH] {
    let message = [b"browser\0".as_slice(), Uuid::from(user).as_bytes(), &at.to_be_bytes()].concat();
    let mac = hmac::sign(&app.throttle.key, &message);
    let mut mark = [0; LENGTH];
    mark[..8].copy_from_slice(&at.to_be_bytes());
    mark[8..].copy_from_slice(&mac.as_ref()[..MAC]);
    mark
}

fn is_of(app: &App, presented: &[u8; LENGTH], user: UserId) -> bool {
    verify_slices_are_equal(&mark(app, user, logged_in_at(presented)), presented).is_ok()
}

fn logged_in_at(mark: &[u8; LENGTH]) -> i64 {
    i64::from_be_bytes(mark[..8].try_into().expect("a mark begins with eight bytes of time"))
}
