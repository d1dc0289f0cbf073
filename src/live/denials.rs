//! Denials: 403 responses of guards that are not in the audit trail yet. They are counted here by caller, operation and
//! minute, so that a flood of them becomes one audit event.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};

use crate::values::{ids::UserId, permission::OwnPermission};

/// The maximum number of different denials kept between two writes to the audit trail. Others are dropped, and each is logged.
const MAX_DENIALS: usize = 10_000;

/// A caller who lacks the permission for an operation, in one minute.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Denial {
    /// The caller.
    pub user: UserId,
    /// The operation's id in the contract.
    pub operation: &'static str,
    /// The permission that the caller lacks.
    pub permission: OwnPermission,
    /// The start of the minute.
    pub minute: DateTime<Utc>,
}

/// The denials that are not in the audit trail yet, with their counts.
#[derive(Default)]
pub struct Denials(Mutex<HashMap<Denial, Count>>);

/// How often an operation was denied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Count {
    /// The number of denials.
    pub times: u64,
    /// The client's address at the first denial.
    pub address: Option<IpAddr>,
}

impl Denials {
    /// Counts a denial. `denial.minute` may be any time within the minute.
    pub fn count(&self, mut denial: Denial, address: Option<IpAddr>) {
        denial.minute = denial.minute.duration_trunc(TimeDelta::minutes(1)).unwrap_or(denial.minute);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() < MAX_DENIALS || counts.contains_key(&denial) {
            counts.entry(denial).or_insert(Count { times: 0, address }).times += 1;
        } else {
            tracing::warn!(user = %denial.user, operation = denial.operation, "too many denials: this one is not audited");
        }
    }

    /// Removes and returns the denials of every minute but the current one. This includes later minutes, which appear when
    /// the clock is set back.
    pub fn take_complete(&self, now: DateTime<Utc>) -> Vec<(Denial, Count)> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let this_minute = now.duration_trunc(TimeDelta::minutes(1)).unwrap_or(now);
        counts.extract_if(|denial, _| denial.minute != this_minute).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::permission::ReadUsers;

    #[test]
    fn denials_of_one_caller_are_counted_together_whatever_the_address() {
        let denials = Denials::default();
        let now = DateTime::UNIX_EPOCH;
        let user = UserId::new(now);
        let denial = |minute| Denial { user, operation: "listUsers", permission: OwnPermission::of::<ReadUsers>(), minute };
        for last in 1..=200 {
            denials.count(denial(now + TimeDelta::milliseconds(100)), Some([192, 0, 2, last].into()));
        }
        assert_eq!(denials.take_complete(now + TimeDelta::seconds(59)), []);
        denials.count(denial(now + TimeDelta::minutes(1)), None);
        let first = Count { times: 200, address: Some([192, 0, 2, 1].into()) };
        assert_eq!(denials.take_complete(now + TimeDelta::seconds(60)), [(denial(now), first)]);
        assert_eq!(denials.take_complete(now).len(), 1, "the clock was set back");
    }
}
