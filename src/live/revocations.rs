//! What was taken away while access tokens that say otherwise still live: ended sessions, and for each user the
//! least epoch a token must have. Never evicted, only swept once no such token can be alive.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use chrono::{DateTime, Utc};
use papaya::HashMap;

use super::clock::Reading;
use crate::{
    entity::revocation::{self, Kind},
    values::{
        counters::Epoch,
        ids::{SessionId, UserId},
    },
};

/// How long a revocation is kept: no access token lives longer, whatever today's setting (REQUIREMENTS T08).
pub const KEPT: Duration = Duration::from_hours(1);

/// How much longer a revocation is kept than a token may live: clocks differ by some seconds.
pub const MARGIN: Duration = Duration::from_mins(1);

/// Something that was taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocation {
    /// A session ended: none of its tokens is good any more.
    Session(SessionId),
    /// A user's roles were assigned anew: tokens of a lesser epoch are stale.
    TokensBefore(UserId, Epoch),
    /// What some role grants has changed.
    RoleMap,
    /// A signing key was made or revoked.
    SigningKeys,
}

impl Revocation {
    /// Reads a row of the feed; `None` where a column is missing that its kind needs.
    #[must_use]
    pub fn of(row: &revocation::Model) -> Option<Self> {
        match row.kind {
            Kind::SessionEnded => row.session_id.map(Self::Session),
            Kind::TokensStale => row.user_id.zip(row.least_epoch).map(|(user, least)| Self::TokensBefore(user, least)),
            Kind::RolesChanged => Some(Self::RoleMap),
            Kind::KeysChanged => Some(Self::SigningKeys),
        }
    }
}

/// The revocations this process knows. Reading takes no lock.
#[derive(Default)]
pub struct Revocations {
    ended: HashMap<SessionId, Until>,
    stale: HashMap<UserId, (Epoch, Until)>,
    /// In seconds since the epoch.
    forgotten: AtomicI64,
}

/// How long a revocation is remembered: by the wall clock, which decides when tokens expire, and by uptime as well,
/// because the wall clock may be set.
#[derive(Debug, Clone, Copy)]
struct Until {
    expires_at: DateTime<Utc>,
    /// By [`Reading::monotonic`].
    steady: DateTime<Utc>,
}

impl Until {
    fn later(self, other: Self) -> Self {
        Self { expires_at: self.expires_at.max(other.expires_at), steady: self.steady.max(other.steady) }
    }

    fn is_over(self, reading: Reading) -> bool {
        self.expires_at <= reading.now && self.steady <= reading.monotonic()
    }
}

impl Revocations {
    /// Remembers a revocation until `expires_at`, and for as long as a token may live after this reading of the clock.
    /// Doing so again changes nothing.
    pub fn apply(&self, revocation: Revocation, expires_at: DateTime<Utc>, reading: Reading) {
        let until = Until { expires_at, steady: reading.monotonic() + KEPT + MARGIN };
        match revocation {
            Revocation::Session(session) => {
                self.ended.pin().update_or_insert(session, |known| known.later(until), until);
            }
            Revocation::TokensBefore(user, least) => {
                let newest = |known: &(Epoch, Until)| (known.0.max(least), known.1.later(until));
                self.stale.pin().update_or_insert(user, newest, (least, until));
            }
            Revocation::RoleMap | Revocation::SigningKeys => {}
        }
    }

    /// Whether this session has ended.
    #[must_use]
    pub fn has_ended(&self, session: SessionId) -> bool {
        self.ended.pin().contains_key(&session)
    }

    /// Whether the user's roles were assigned anew since tokens of this epoch were issued.
    #[must_use]
    pub fn is_stale(&self, user: UserId, epoch: Epoch) -> bool {
        self.stale.pin().get(&user).is_some_and(|(least, _)| epoch < *least)
    }

    /// Forgets what no living token can ask about any more.
    pub fn sweep(&self, reading: Reading) {
        self.forget(reading.now);
        self.ended.pin().retain(|_, until| !until.is_over(reading));
        self.stale.pin().retain(|_, (_, until)| !until.is_over(reading));
    }

    /// Notes that revocations which were over before this time are not known here.
    pub fn forget(&self, before: DateTime<Utc>) {
        self.forgotten.fetch_max(before.timestamp(), Ordering::SeqCst);
    }

    /// Whether a token that expires at this time (in seconds since the epoch) was dead for so long that its revocation may
    /// be forgotten. Only a clock that was set back brings such a token back to life.
    #[must_use]
    pub fn has_forgotten(&self, expires: i64) -> bool {
        expires <= self.forgotten.load(Ordering::SeqCst)
    }

    /// How many revocations are held.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ended.len() + self.stale.len()
    }

    /// Whether none is held.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
