//! What was taken away while access tokens that say otherwise still live: ended sessions, and for each user the
//! least epoch a token must have. Never evicted, only swept once no such token can be alive.

use std::time::Duration;

use chrono::{DateTime, Utc};
use papaya::HashMap;

use crate::{
    entity::revocation::{self, Kind},
    values::ids::{SessionId, UserId},
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
    Tokens(UserId, i64),
    /// What some role grants has changed.
    Roles,
    /// A signing key was made or revoked.
    Keys,
}

impl Revocation {
    /// Reads a row of the feed; `None` where a column is missing that its kind needs.
    #[must_use]
    pub fn of(row: &revocation::Model) -> Option<Self> {
        match row.kind {
            Kind::SessionEnded => row.session_id.map(Self::Session),
            Kind::TokensStale => row.user_id.zip(row.least_epoch).map(|(user, least)| Self::Tokens(user, least)),
            Kind::RolesChanged => Some(Self::Roles),
            Kind::KeysChanged => Some(Self::Keys),
        }
    }
}

/// The revocations this process knows. Reading takes no lock.
#[derive(Default)]
pub struct Revocations {
    ended: HashMap<SessionId, DateTime<Utc>>,
    stale: HashMap<UserId, (i64, DateTime<Utc>)>,
}

impl Revocations {
    /// Remembers a revocation until `expires_at`. Doing so again changes nothing.
    pub fn apply(&self, revocation: Revocation, expires_at: DateTime<Utc>) {
        match revocation {
            Revocation::Session(session) => _ = self.ended.pin().insert(session, expires_at),
            Revocation::Tokens(user, least) => {
                let newest = |known: &(i64, DateTime<Utc>)| (known.0.max(least), known.1.max(expires_at));
                self.stale.pin().update_or_insert(user, newest, (least, expires_at));
            }
            Revocation::Roles | Revocation::Keys => {}
        }
    }

    /// Whether this session has ended.
    #[must_use]
    pub fn has_ended(&self, session: SessionId) -> bool {
        self.ended.pin().contains_key(&session)
    }

    /// Whether the user's roles were assigned anew since tokens of this epoch were issued.
    #[must_use]
    pub fn is_stale(&self, user: UserId, epoch: i64) -> bool {
        self.stale.pin().get(&user).is_some_and(|(least, _)| epoch < *least)
    }

    /// Forgets what no living token can ask about any more.
    pub fn sweep(&self, now: DateTime<Utc>) {
        self.ended.pin().retain(|_, expires_at| *expires_at > now);
        self.stale.pin().retain(|_, (_, expires_at)| *expires_at > now);
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
