//! Time, as a parameter: the service reads it here and nowhere else, so that tests move it and never sleep.

use std::time::Duration;

use chrono::{DateTime, SubsecRound, Utc};

/// What the service asks about time.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock in UTC, to the microsecond: what both databases keep.
    fn now(&self) -> DateTime<Utc>;

    /// Time that never goes back and counts while the machine is suspended: what deadlines are measured by.
    fn uptime(&self) -> Duration;
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
