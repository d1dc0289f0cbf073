//! The times of recent events, such as the mails to an address: what a limit for a period counts.

use std::{fmt, num::ParseIntError, str::FromStr};

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::DeriveValueType;

/// How far apart the clocks of servers that share a database may be.
const SKEW: TimeDelta = TimeDelta::minutes(1);

/// The times of the events under one key, oldest first, to the microsecond.
#[derive(Clone, Debug, Default, PartialEq, Eq, DeriveValueType)]
#[sea_orm(value_type = "String", column_type = "Text")]
pub struct RecentTimes(Vec<DateTime<Utc>>);

impl RecentTimes {
    /// Returns the number of events in the `period` that ends now. An event far in the future was dated by a wrong clock, and
    /// limits nobody.
    pub fn within(&self, period: TimeDelta, now: DateTime<Utc>) -> usize {
        self.0.iter().filter(|at| **at > now - period && **at <= now + SKEW).count()
    }

    /// Adds an event now, and removes those that are older than `keep` or far in the future.
    pub fn add(&mut self, now: DateTime<Utc>, keep: TimeDelta) {
        self.0.retain(|at| *at > now - keep && *at <= now + SKEW);
        self.0.push(now);
    }
}

impl fmt::Display for RecentTimes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, at) in self.0.iter().enumerate() {
            let space = if index > 0 { " " } else { "" };
            write!(out, "{space}{}", at.timestamp_micros())?;
        }
        Ok(())
    }
}

impl FromStr for RecentTimes {
    type Err = ParseIntError;

    fn from_str(raw: &str) -> Result<Self, Self::Err> {
        let time = |micros: &str| Ok(DateTime::from_timestamp_micros(micros.parse()?).unwrap_or_default());
        raw.split_whitespace().map(time).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_800_000_000 + seconds, 123_456_000).unwrap()
    }

    fn times(seconds: &[i64]) -> RecentTimes {
        RecentTimes(seconds.iter().map(|seconds| at(*seconds)).collect())
    }

    #[test]
    fn events_count_for_a_period_and_are_then_removed() {
        let mut events = RecentTimes::default();
        for seconds in [0, 10, 20] {
            events.add(at(seconds), TimeDelta::seconds(60));
        }
        let count = |period, now| events.within(TimeDelta::seconds(period), at(now));
        assert_eq!((count(60, 20), count(20, 20), count(10, 20), count(10, 29), count(10, 30)), (3, 2, 1, 1, 0));
        events.add(at(70), TimeDelta::seconds(60));
        assert_eq!(events, times(&[20, 70]));
    }

    #[test]
    fn an_event_that_a_wrong_clock_dated_in_the_future_does_not_count() {
        let mut events = times(&[400 * 86_400, 30]);
        assert_eq!(events.within(TimeDelta::days(1), at(0)), 1, "another server's clock may be a little ahead");
        events.add(at(0), TimeDelta::days(1));
        assert_eq!(events, times(&[30, 0]));
    }

    #[test]
    fn the_text_of_times_parses_to_the_same_times() {
        for events in [times(&[]), times(&[0]), times(&[0, 7, 86_400])] {
            assert_eq!(events.to_string().parse(), Ok(events));
        }
        assert!("now".parse::<RecentTimes>().is_err());
    }
}
