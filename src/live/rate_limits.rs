//! RateLimits that everybody may knock at, and how often each network has. It is counted in memory, by each process: what is
//! counted there costs no write, and guards no secret.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};

use crate::values::{
    budget::{Budget, Spent},
    network::Network,
};

/// How many networks are counted at once; some 20 MB. Beyond them, others pass uncounted.
const MOST: usize = 100_000;

/// An operation that anybody may call and that costs us something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RateLimit {
    /// Makes an account, and tells whether an e-mail address has one.
    Registration,
    /// Looks a refresh token up.
    Refresh,
}

impl RateLimit {
    /// A whole company behind one address registers in a morning and refreshes every few minutes.
    const fn budget(self) -> Budget {
        match self {
            Self::Registration => Budget::new(100, 36),
            Self::Refresh => Budget::new(3_000, 1),
        }
    }
}

/// What each network has spent at each door, by a clock that nobody sets (`Reading::steady`).
#[derive(Default)]
pub struct RateLimits(Mutex<HashMap<(RateLimit, Network), Spent>>);

impl RateLimits {
    /// Counts somebody at a door; else tells how long they have to wait.
    ///
    /// # Errors
    /// The wait.
    pub fn pass(&self, door: RateLimit, network: Network, now: DateTime<Utc>) -> Result<(), TimeDelta> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= MOST && !all.contains_key(&(door, network)) {
            return Ok(());
        }
        let spent = all.entry((door, network)).or_insert(Spent::NOTHING);
        if let Some(wait) = door.budget().wait(*spent, now) {
            return Err(wait);
        }
        *spent = door.budget().spend(*spent, now);
        Ok(())
    }

    /// Forgets whose tries are all forgiven.
    pub fn sweep(&self, now: DateTime<Utc>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, spent| spent.forgiven_at > now);
    }
}
