//! A clock that stands still until a test advances it.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use vestibule::live::clock::{Clock, Reading};

const BEGINNING: i64 = 1_767_225_600_000_000;

/// A clock that starts at the beginning of 2026. [`TestClock::advance`] lets time pass. [`TestClock::stall`] advances only the
/// uptime by which staleness is measured, as if the revocation feed had been silent. The clock of PostgreSQL shows the time of
/// this clock without the changes of [`TestClock::set_by`].
pub struct TestClock {
    wall: AtomicI64,
    uptime: AtomicU64,
    /// By how much the wall clock was set, in microseconds.
    set: AtomicI64,
    /// For how long the machine was off, in microseconds.
    off: AtomicI64,
}

impl Default for TestClock {
    fn default() -> Self {
        Self { wall: BEGINNING.into(), uptime: AtomicU64::default(), set: AtomicI64::default(), off: AtomicI64::default() }
    }
}

impl TestClock {
    /// Lets time pass while the machine runs.
    pub fn advance(&self, by: Duration) {
        self.wall.fetch_add(micros(by), Ordering::SeqCst);
    }

    pub fn stall(&self, by: Duration) {
        self.uptime.fetch_add(u64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }

    /// Sets the wall clock of this machine forward or back.
    pub fn set_by(&self, by: TimeDelta) {
        let by = by.num_microseconds().unwrap();
        self.wall.fetch_add(by, Ordering::SeqCst);
        self.set.fetch_add(by, Ordering::SeqCst);
    }

    /// Lets time pass while the machine is off.
    pub fn off_for(&self, by: Duration) {
        self.wall.fetch_add(micros(by), Ordering::SeqCst);
        self.off.fetch_add(micros(by), Ordering::SeqCst);
    }

    /// Returns the clock of another machine that shows the same time.
    pub fn another(&self) -> Self {
        let copy = |number: &AtomicI64| number.load(Ordering::SeqCst).into();
        Self { wall: copy(&self.wall), uptime: AtomicU64::default(), set: copy(&self.set), off: copy(&self.off) }
    }
}

impl Clock for TestClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.wall.load(Ordering::SeqCst)).unwrap()
    }

    fn uptime(&self) -> Duration {
        Duration::from_micros(self.uptime.load(Ordering::SeqCst))
    }

    fn read(&self) -> Reading {
        let not_run = BEGINNING + self.set.load(Ordering::SeqCst) + self.off.load(Ordering::SeqCst);
        Reading { now: self.now(), uptime: TimeDelta::microseconds(self.wall.load(Ordering::SeqCst) - not_run) }
    }

    fn ahead_of(&self, _: DateTime<Utc>) -> TimeDelta {
        TimeDelta::microseconds(self.set.load(Ordering::SeqCst))
    }
}

fn micros(duration: Duration) -> i64 {
    duration.as_micros().try_into().unwrap()
}

pub const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}
