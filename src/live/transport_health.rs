//! Whether the mail server accepts mails. While it does not, this server tries one mail every half minute, so that the other
//! mails keep their attempts.

use std::sync::{Mutex, MutexGuard, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};

/// The pause after a failure that concerns every mail.
const PAUSE: TimeDelta = TimeDelta::seconds(30);

/// What this process knows of the mail server. Times are those of [`Reading::monotonic`](super::clock::Reading::monotonic).
#[derive(Default)]
pub struct TransportHealth(Mutex<Option<DateTime<Utc>>>);

impl TransportHealth {
    /// When the next mail may be tried, if the last one failed for a reason that concerns every mail.
    fn retry_at(&self) -> MutexGuard<'_, Option<DateTime<Utc>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns whether the last mail did not fail for a reason that concerns every mail.
    pub fn is_up(&self) -> bool {
        self.retry_at().is_none()
    }

    /// Returns how many of `places` mails may be sent now.
    pub fn limit(&self, places: u64, now: DateTime<Utc>) -> u64 {
        match *self.retry_at() {
            None => places,
            Some(at) if at <= now => places.min(1),
            Some(_) => 0,
        }
    }

    /// Records whether the mail server accepted mails at this attempt. Returns true if it did not before.
    pub fn record(&self, is_up: bool, now: DateTime<Utc>) -> bool {
        let next = if is_up { None } else { Some(now + PAUSE) };
        let was = std::mem::replace(&mut *self.retry_at(), next);
        is_up && was.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_failure_one_mail_is_tried_every_half_minute_until_one_succeeds() {
        let (health, start) = (TransportHealth::default(), DateTime::UNIX_EPOCH);
        let at = |seconds| start + TimeDelta::seconds(seconds);
        assert!(health.is_up() && health.limit(4, at(0)) == 4);
        assert!(!health.record(true, at(0)));
        assert!(!health.record(false, at(0)));
        assert_eq!([0, 29, 30, 31].map(|seconds| health.limit(4, at(seconds))), [0, 0, 1, 1]);
        assert!(!health.is_up() && health.limit(0, at(30)) == 0);
        assert!(!health.record(false, at(31)));
        assert_eq!(health.limit(4, at(60)), 0);
        assert!(health.record(true, at(61)) && health.is_up());
        assert_eq!(health.limit(4, at(61)), 4);
    }
}
