//! Rate limits of public operations: how many calls each network has made. Each process counts in memory: the limits protect
//! no secret, so a count need not be exact, and counting needs no write.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};

use crate::values::{
    budget::{Budget, Spent},
    network::Network,
};

/// The most entries kept, about 20 MB. When the table is full, calls from networks that are not in it are not limited.
const MAX_ENTRIES: usize = 100_000;

/// A public operation that is expensive to serve or that reveals something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RateLimit {
    /// Registration creates an account and reveals whether an e-mail address has one.
    Registration,
    /// A refresh looks up the session of a refresh token.
    Refresh,
}

impl RateLimit {
    /// The budgets allow for a company behind one address whose staff register in one morning and refresh every few minutes.
    const fn budget(self) -> Budget {
        match self {
            Self::Registration => Budget::new(100, 36),
            Self::Refresh => Budget::new(3_000, 1),
        }
    }
}

/// The part of its budget that each network has spent on each rate-limited operation. Times are those of
/// [`Reading::monotonic`](super::clock::Reading::monotonic), so setting the clock changes no limit.
#[derive(Default)]
pub struct RateLimits(Mutex<HashMap<(RateLimit, Network), Spent>>);

impl RateLimits {
    /// Counts a call from `network`. Fails with the time to wait when the network's budget is spent.
    pub fn count_call(&self, limit: RateLimit, network: Network, now: DateTime<Utc>) -> Result<(), TimeDelta> {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= MAX_ENTRIES && !entries.contains_key(&(limit, network)) {
            return Ok(());
        }
        let spent = entries.entry((limit, network)).or_insert(Spent::NOTHING);
        if let Some(wait) = limit.budget().wait(*spent, now) {
            return Err(wait);
        }
        *spent = limit.budget().spend(*spent, now);
        Ok(())
    }

    /// Removes the networks whose budgets are whole again.
    pub fn sweep(&self, now: DateTime<Utc>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, spent| spent.forgiven_at > now);
    }
}
