//! Denials by guards on their way into the audit trail: counted here by caller, operation and minute, so that a flood
//! of them becomes one event.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};

use crate::values::ids::UserId;

/// How many different refusals are counted between two visits of whoever writes them down; more are dropped, and logged.
const MOST: usize = 10_000;

/// Who was refused what, in which minute.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Denial {
    /// The caller.
    pub user: UserId,
    /// The operation's id in the contract.
    pub operation: &'static str,
    /// The permission that was missing.
    pub permission: &'static str,
    /// The beginning of the minute.
    pub minute: DateTime<Utc>,
}

/// The refusals of this and the last minutes, with their counts.
#[derive(Default)]
pub struct Denials(Mutex<HashMap<Denial, Count>>);

/// How often, and from where.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// How many there were.
    pub times: u64,
    /// The address of the first of them.
    pub address: Option<IpAddr>,
}

impl Denials {
    /// Counts one more. `refusal.minute` may be any time within the minute.
    pub fn note(&self, mut refusal: Denial, address: Option<IpAddr>) {
        refusal.minute = refusal.minute.duration_trunc(TimeDelta::minutes(1)).unwrap_or(refusal.minute);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() < MOST || counts.contains_key(&refusal) {
            counts.entry(refusal).or_insert(Count { times: 0, address }).times += 1;
        } else {
            tracing::warn!(user = %refusal.user, operation = refusal.operation, "too many refusals to write down");
        }
    }

    /// Takes out those of every minute but this one: a clock that was set back must not keep those of later ones.
    pub fn take(&self, now: DateTime<Utc>) -> Vec<(Denial, Count)> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let this_minute = now.duration_trunc(TimeDelta::minutes(1)).unwrap_or(now);
        counts.extract_if(|it, _| it.minute != this_minute).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_who_changes_address_is_one_caller() {
        let refusals = Denials::default();
        let now = DateTime::UNIX_EPOCH;
        let user = UserId::new(now);
        let refusal = |minute| Denial { user, operation: "listUsers", permission: "users:read", minute };
        for last in 1..=200 {
            refusals.note(refusal(now + TimeDelta::milliseconds(100)), Some([192, 0, 2, last].into()));
        }
        assert_eq!(refusals.take(now + TimeDelta::seconds(59)), []);
        refusals.note(refusal(now + TimeDelta::minutes(1)), None);
        let first = Count { times: 200, address: Some([192, 0, 2, 1].into()) };
        assert_eq!(refusals.take(now + TimeDelta::seconds(60)), [(refusal(now), first)]);
        assert_eq!(refusals.take(now).len(), 1, "the clock was set back");
    }
}
