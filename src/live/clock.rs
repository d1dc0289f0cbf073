//! The clock. All code reads the time through [`Clock`], so that tests can advance it and need not sleep.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

/// A source of the time.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock in UTC, in whole microseconds, which is the precision of both databases.
    fn now(&self) -> DateTime<Utc>;

    /// The time since the machine started, including time in suspension. It never goes back, so deadlines are measured by it.
    fn uptime(&self) -> Duration;

    /// Reads the wall clock and the uptime that it is checked against. (The test clock has a separate uptime here: in most
    /// tests nothing follows the revocation feed, so [`Self::uptime`] must not advance with the wall clock.)
    fn read(&self) -> Reading {
        Reading { now: self.now(), uptime: TimeDelta::from_std(self.uptime()).unwrap_or_default() }
    }

    /// How far the wall clock is ahead of `other`, the time that another clock shows at this moment.
    fn ahead_of(&self, other: DateTime<Utc>) -> TimeDelta {
        self.now() - other
    }
}

/// The wall clock and the uptime at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reading {
    /// The wall clock.
    pub now: DateTime<Utc>,
    /// The machine's uptime.
    pub uptime: TimeDelta,
}

impl Reading {
    /// A time that advances with the uptime, even when the wall clock is set. It has a meaning in this process only.
    pub fn monotonic(self) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + self.uptime
    }
}

/// The machine's clock.
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the machine's clock")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now().trunc_subsecs(6)
    }

    fn uptime(&self) -> Duration {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or_default())
    }
}
