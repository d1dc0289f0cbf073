//! Rate limits of public operations: how many calls each network has made. Each process counts in memory: the limits protect
//! no secret, so a count need not be exact, and counting needs no write.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};

use crate::values::{
    backoff::{Attempts, Backoff},
    network::Network,
};

/// The maximum number of entries kept, about 20 MB. When the table is full, calls from networks that are not in it are not
/// limited.
const MAX_ENTRIES: usize = 100_000;

/// A public operation that is expensive to serve or that reveals something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RateLimit {
    /// Registration creates an account and reveals whether an e-mail address has one.
    Registration,
    /// A request for a mail, or with the link or the code from one, may write many rows and reveals whether codes are right.
    Mail,
    /// A refresh looks up the session of a refresh token.
    Refresh,
    /// The completion of a log-in looks up a challenge.
    Challenge,
    /// A log-in by passkey looks up the passkey and checks a signature.
    Passkey,
}

impl RateLimit {
    /// The limits allow for a company behind one address whose staff register in one morning, and refresh and open a page with a
    /// log-in every few minutes.
    const fn backoff(self) -> Backoff {
        match self {
            Self::Registration | Self::Mail => Backoff::new(100, 36),
            Self::Refresh | Self::Challenge | Self::Passkey => Backoff::new(3_000, 1),
        }
    }
}

/// The calls that each network has made to each rate-limited operation. Times are those of
/// [`Reading::monotonic`](super::clock::Reading::monotonic), so setting the clock changes no limit.
#[derive(Default)]
pub struct RateLimits(Mutex<HashMap<(RateLimit, Network), Attempts>>);

impl RateLimits {
    /// Counts a call from `network`. Fails with the time to wait if the network has made too many calls.
    pub fn count_call(&self, limit: RateLimit, network: Network, now: DateTime<Utc>) -> Result<(), TimeDelta> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= MAX_ENTRIES && !entries.contains_key(&(limit, network)) {
            return Ok(());
        }
        let calls = entries.entry((limit, network)).or_insert(Attempts::NONE);
        if let Some(wait) = limit.backoff().wait(*calls, now) {
            return Err(wait);
        }
        *calls = limit.backoff().count(*calls, now);
        Ok(())
    }

    /// Removes the networks whose calls have all expired.
    pub fn sweep(&self, now: DateTime<Utc>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, calls| calls.expires_at > now);
    }
}
