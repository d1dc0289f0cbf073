//! Budgets: how often something may be tried. So many tries are free; each further one doubles the wait before the next,
//! from a second up to the time in which one try is forgiven. So nothing is ever locked, and who goes on trying gets one
//! try in that time.

use chrono::{DateTime, TimeDelta, Utc};

/// How far the clocks of servers that share a database may be apart.
const SKEW: TimeDelta = TimeDelta::minutes(1);

/// How many tries are free, and how soon one is forgiven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    free: i64,
    forgiven_in: TimeDelta,
}

/// What was spent of a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spent {
    /// When all of it will be forgiven.
    pub forgiven_at: DateTime<Utc>,
    /// When the last try was.
    pub last_at: DateTime<Utc>,
}

impl Spent {
    /// Nothing, ever.
    pub const NOTHING: Self = Self { forgiven_at: DateTime::UNIX_EPOCH, last_at: DateTime::UNIX_EPOCH };
}

impl Budget {
    /// `free` tries, and another one every `seconds`.
    #[must_use]
    pub const fn new(free: i64, seconds: i64) -> Self {
        Self { free, forgiven_in: TimeDelta::seconds(seconds) }
    }

    /// How long the next try has to wait at this moment; `None` when it need not.
    #[must_use]
    pub fn wait(&self, spent: Spent, now: DateTime<Utc>) -> Option<TimeDelta> {
        let unforgiven = (spent.forgiven_at - spent.last_at).num_milliseconds();
        let one = self.forgiven_in.num_milliseconds();
        let beyond = (unforgiven + one - 1) / one - self.free;
        if beyond <= 0 {
            return None;
        }
        let pause = TimeDelta::seconds(1 << (beyond - 1).min(30)).min(self.forgiven_in);
        let wait = spent.last_at + pause - now;
        // A try in the future was dated by a clock that was wrong: nobody waits for that.
        (wait > TimeDelta::zero() && wait <= pause + SKEW).then_some(wait)
    }

    /// What is spent after one more try.
    #[must_use]
    pub fn spend(&self, spent: Spent, now: DateTime<Utc>) -> Spent {
        let early = spent.last_at - now;
        let before = if early > SKEW { spent.forgiven_at - early } else { spent.forgiven_at };
        Spent { forgiven_at: before.max(now) + self.forgiven_in, last_at: now }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Budget = Budget::new(3, 60);

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::days(1) + TimeDelta::seconds(seconds)
    }

    #[test]
    fn beyond_the_free_tries_each_wait_is_twice_the_last_up_to_the_time_of_forgiveness() {
        let (mut now, mut spent, mut waits) = (at(0), Spent::NOTHING, Vec::new());
        for _ in 0..14 {
            let wait = BUDGET.wait(spent, now).unwrap_or_default();
            waits.push(wait.num_seconds());
            now += wait;
            assert_eq!(BUDGET.wait(spent, now), None, "after the wait the try is made");
            spent = BUDGET.spend(spent, now);
        }
        assert_eq!(waits, [0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 32, 60, 60, 60]);
    }

    #[test]
    fn a_try_that_a_wrong_clock_dated_in_the_future_counts_as_one_of_now() {
        let spent = (0..9).fold(Spent::NOTHING, |spent, _| BUDGET.spend(spent, at(0)));
        let wrong = (0..9).fold(Spent::NOTHING, |spent, _| BUDGET.spend(spent, at(400 * 86_400)));
        assert_eq!(BUDGET.wait(wrong, at(0)), None);
        assert_eq!(BUDGET.spend(wrong, at(0)), BUDGET.spend(spent, at(0)));
    }

    #[test]
    fn what_is_forgiven_is_free_again() {
        let spent = (0..9).fold(Spent::NOTHING, |spent, _| BUDGET.spend(spent, at(0)));
        assert!(BUDGET.wait(spent, at(0)).is_some());
        assert_eq!(spent.forgiven_at, at(9 * 60));
        let spent = BUDGET.spend(spent, at(7 * 60));
        assert_eq!(BUDGET.wait(spent, at(7 * 60)), None);
    }
}
