//! Refusals by guards on their way into the audit trail: counted here by caller, operation and minute, so that a flood
//! of them becomes one event.

use std::{
    collections::HashMap,
    mem,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, DurationRound, TimeDelta, Utc};

use crate::values::ids::UserId;

/// How many different refusals are counted between two visits of whoever writes them down; more are dropped, and logged.
const MOST: usize = 10_000;

/// Who was refused what, in which minute.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Refusal {
    /// The caller.
    pub user: UserId,
    /// The operation's id in the contract.
    pub operation: &'static str,
    /// The permission that was missing.
    pub permission: &'static str,
    /// The address of the first of them.
    pub address: Option<IpAddr>,
    /// The beginning of the minute.
    pub minute: DateTime<Utc>,
}

/// The refusals of this and the last minutes, with their counts.
#[derive(Default)]
pub struct Refusals(Mutex<HashMap<Refusal, u64>>);

impl Refusals {
    /// Counts one more. `refusal.minute` may be any time within the minute.
    pub fn note(&self, mut refusal: Refusal) {
        refusal.minute = refusal.minute.duration_trunc(TimeDelta::minutes(1)).unwrap_or(refusal.minute);
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() < MOST || counts.contains_key(&refusal) {
            *counts.entry(refusal).or_default() += 1;
        } else {
            tracing::warn!(user = %refusal.user, operation = refusal.operation, "too many refusals to write down");
        }
    }

    /// Takes out those whose minute is over at `now`.
    pub fn take(&self, now: DateTime<Utc>) -> Vec<(Refusal, u64)> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (over, going_on) = mem::take(&mut *counts).into_iter().partition(|(it, _)| it.minute + TimeDelta::minutes(1) <= now);
        *counts = going_on;
        let over: HashMap<_, _> = over;
        over.into_iter().collect()
    }
}
