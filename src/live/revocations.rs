//! The revocations in memory: ended sessions, and for each user the minimum epoch that a token must have. An entry is never
//! evicted; it is removed when no token that it affects can be valid.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::Duration,
};

use chrono::{DateTime, Utc};
use papaya::HashMap;

use super::clock::Reading;
use crate::{
    entity::revocation::{self, RevocationKind},
    values::{
        counters::Epoch,
        ids::{SessionId, UserId},
    },
};

/// The longest lifetime that an access token can have, whatever the setting (T08). A revocation is kept at least as long.
pub const MAX_TOKEN_LIFETIME: Duration = Duration::from_hours(1);

/// How much longer a revocation is kept, because clocks differ by some seconds.
pub const CLOCK_MARGIN: Duration = Duration::from_mins(1);

/// What a row of the revocation feed revokes or changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revocation {
    /// A session ended, so none of its tokens is valid.
    Session(SessionId),
    /// Roles were assigned to a user, so tokens with an earlier epoch are stale.
    TokensBefore(UserId, Epoch),
    /// The permissions of a role changed.
    RoleMap,
    /// A signing key was created or revoked.
    SigningKeys,
}

impl Revocation {
    /// Reads a row of the feed. Returns `None` if a column is missing that its kind needs.
    pub fn from_row(row: &revocation::Model) -> Option<Self> {
        match row.kind {
            RevocationKind::SessionEnded => row.session_id.map(Self::Session),
            RevocationKind::TokensStale => row.user_id.zip(row.least_epoch).map(|(user, least)| Self::TokensBefore(user, least)),
            RevocationKind::RolesChanged => Some(Self::RoleMap),
            RevocationKind::KeysChanged => Some(Self::SigningKeys),
        }
    }
}

/// The revocations that this process knows. Reading takes no lock.
#[derive(Default)]
pub struct Revocations {
    ended_sessions: HashMap<SessionId, Expiry>,
    least_epochs: HashMap<UserId, (Epoch, Expiry)>,
    /// Revocations that expired before this time may be unknown. A Unix time.
    purged_before: AtomicI64,
}

/// When an entry is removed. Both times must have passed: that of the wall clock, which decides when tokens expire, and that
/// of the uptime, because the wall clock may be set.
#[derive(Debug, Clone, Copy)]
struct Expiry {
    expires_at: DateTime<Utc>,
    /// By [`Reading::monotonic`].
    monotonic: DateTime<Utc>,
}

impl Expiry {
    fn later(self, other: Self) -> Self {
        Self { expires_at: self.expires_at.max(other.expires_at), monotonic: self.monotonic.max(other.monotonic) }
    }

    fn has_passed(self, reading: Reading) -> bool {
        self.expires_at <= reading.now && self.monotonic <= reading.monotonic()
    }
}

impl Revocations {
    /// Adds a revocation until `expires_at`, and for at least the longest lifetime of a token from `reading` on. Adding it
    /// again has no effect.
    pub fn apply(&self, revocation: Revocation, expires_at: DateTime<Utc>, reading: Reading) {
        let expiry = Expiry { expires_at, monotonic: reading.monotonic() + MAX_TOKEN_LIFETIME + CLOCK_MARGIN };
        match revocation {
            Revocation::Session(session) => {
                self.ended_sessions.pin().update_or_insert(session, |known| known.later(expiry), expiry);
            }
            Revocation::TokensBefore(user, least) => {
                let update = |known: &(Epoch, Expiry)| (known.0.max(least), known.1.later(expiry));
                self.least_epochs.pin().update_or_insert(user, update, (least, expiry));
            }
            Revocation::RoleMap | Revocation::SigningKeys => {}
        }
    }

    /// Returns whether the session has ended.
    pub fn has_ended(&self, session: SessionId) -> bool {
        self.ended_sessions.pin().contains_key(&session)
    }

    /// Returns whether roles were assigned to the user after tokens of this epoch were issued.
    pub fn is_stale(&self, user: UserId, epoch: Epoch) -> bool {
        self.least_epochs.pin().get(&user).is_some_and(|(least, _)| epoch < *least)
    }

    /// Removes the revocations that affect no valid token.
    pub fn sweep(&self, reading: Reading) {
        self.record_purge(reading.now);
        self.ended_sessions.pin().retain(|_, expiry| !expiry.has_passed(reading));
        self.least_epochs.pin().retain(|_, (_, expiry)| !expiry.has_passed(reading));
    }

    /// Forgets every revocation, because the data have another generation: sessions and epochs of the former one mean nothing, and
    /// its tokens are too old for any guard.
    pub fn clear(&self) {
        self.ended_sessions.pin().clear();
        self.least_epochs.pin().clear();
    }

    /// Records that revocations which expired before this time may be unknown.
    pub fn record_purge(&self, before: DateTime<Utc>) {
        self.purged_before.fetch_max(before.timestamp(), Ordering::SeqCst);
    }

    /// Returns whether the revocations of a token that expires at this Unix time may have been purged. Such
    /// a token is valid only by a clock that was set back.
    pub fn may_be_purged(&self, expires_at: i64) -> bool {
        expires_at <= self.purged_before.load(Ordering::SeqCst)
    }

    /// Returns the number of revocations.
    pub fn count(&self) -> usize {
        self.ended_sessions.len() + self.least_epochs.len()
    }
}
