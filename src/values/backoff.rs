//! Exponential backoff for attempts, such as at guessing a password. A number of attempts are free. Each further attempt
//! doubles the wait before the next one, from one second up to the time in which one attempt expires. Nothing is ever
//! locked: a caller who keeps trying gets one attempt in that time.

use chrono::{DateTime, TimeDelta, Utc};

/// How far apart the clocks of servers that share a database may be.
const SKEW: TimeDelta = TimeDelta::minutes(1);

/// A backoff policy: how many attempts are free, and how soon one attempt expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    free_attempts: i64,
    lifetime: TimeDelta,
}

/// The attempts that have been counted so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempts {
    /// When the last of them expires.
    pub expires_at: DateTime<Utc>,
    /// When the last of them was made.
    pub last_at: DateTime<Utc>,
}

impl Attempts {
    /// No attempt yet.
    pub const NONE: Self = Self { expires_at: DateTime::UNIX_EPOCH, last_at: DateTime::UNIX_EPOCH };
}

impl Backoff {
    /// Allows `free_attempts`, of which one expires every `seconds`.
    pub const fn new(free_attempts: i64, seconds: i64) -> Self {
        Self { free_attempts, lifetime: TimeDelta::seconds(seconds) }
    }

    /// Returns how long the next attempt must wait; `None` if it may be made now.
    pub fn wait(&self, attempts: Attempts, now: DateTime<Utc>) -> Option<TimeDelta> {
        let remaining = (attempts.expires_at - attempts.last_at).num_milliseconds();
        let lifetime = self.lifetime.num_milliseconds();
        let excess = (remaining + lifetime - 1) / lifetime - self.free_attempts;
        if excess <= 0 {
            return None;
        }
        let pause = TimeDelta::seconds(1 << (excess - 1).min(30)).min(self.lifetime);
        let wait = attempts.last_at + pause - now;
        // An attempt far in the future was dated by a wrong clock and delays nobody.
        (wait > TimeDelta::zero() && wait <= pause + SKEW).then_some(wait)
    }

    /// Counts one more attempt.
    #[must_use]
    pub fn count(&self, attempts: Attempts, now: DateTime<Utc>) -> Attempts {
        let ahead = attempts.last_at - now;
        let expires_at = if ahead > SKEW { attempts.expires_at - ahead } else { attempts.expires_at };
        Attempts { expires_at: expires_at.max(now) + self.lifetime, last_at: now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BACKOFF: Backoff = Backoff::new(3, 60);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(1) + TimeDelta::seconds(seconds)
    }

    #[test]
    fn after_the_free_attempts_each_wait_doubles_up_to_the_lifetime_of_an_attempt() {
        let (mut now, mut attempts, mut waits) = (at(0), Attempts::NONE, Vec::new());
        for _ in 0..14 {
            let wait = BACKOFF.wait(attempts, now).unwrap_or_default();
            waits.push(wait.num_seconds());
            now += wait;
            assert_eq!(BACKOFF.wait(attempts, now), None, "the attempt may be made after the wait");
            attempts = BACKOFF.count(attempts, now);
        }
        assert_eq!(waits, [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 32, 60, 60, 60]);
    }

    #[test]
    fn an_attempt_that_a_wrong_clock_dated_in_the_future_counts_as_made_now() {
        let attempts = (0..9).fold(Attempts::NONE, |attempts, _| BACKOFF.count(attempts, at(0)));
        let wrong = (0..9).fold(Attempts::NONE, |attempts, _| BACKOFF.count(attempts, at(400 * 86_400)));
        assert_eq!(BACKOFF.wait(wrong, at(0)), None);
        assert_eq!(BACKOFF.count(wrong, at(0)), BACKOFF.count(attempts, at(0)));
    }

    #[test]
    fn an_expired_attempt_is_free_again() {
        let attempts = (0..9).fold(Attempts::NONE, |attempts, _| BACKOFF.count(attempts, at(0)));
        assert!(BACKOFF.wait(attempts, at(0)).is_some());
        assert_eq!(attempts.expires_at, at(9 * 60));
        let attempts = BACKOFF.count(attempts, at(7 * 60));
        assert_eq!(BACKOFF.wait(attempts, at(7 * 60)), None);
    }
}
