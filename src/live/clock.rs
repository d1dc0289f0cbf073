//! Time, as a parameter: the service reads it here and nowhere else, so that tests move it and never sleep.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

/// What the service asks about time.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock in UTC, to the microsecond: what both databases keep.
    fn now(&self) -> DateTime<Utc>;

    /// Time that never goes back and counts while the machine is suspended: what deadlines are measured by.
    fn uptime(&self) -> Duration;

    /// The wall clock together with the uptime that it is checked against. (In most tests nobody follows the feed of
    /// revocations, so the test clock keeps an uptime of its own for that.)
    fn read(&self) -> Reading {
        Reading { now: self.now(), ran: TimeDelta::from_std(self.uptime()).unwrap_or_default() }
    }

    /// How far the wall clock is ahead of another clock that was read at this moment.
    fn ahead_of(&self, other: DateTime<Utc>) -> TimeDelta {
        self.now() - other
    }
}

/// The wall clock at some moment, and for how long the machine had run by then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The wall clock.
    pub now: DateTime<Utc>,
    /// The machine's uptime.
    pub ran: TimeDelta,
}

impl Reading {
    /// A time for what only this process counts: it runs along with uptime, however the wall clock is set.
    #[must_use]
    pub fn steady(self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + self.ran
    }
}

/// The machine's own clock.
pub struct System;

impl Clock for System {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now().trunc_subsecs(6)
    }

    fn uptime(&self) -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
    }
}
