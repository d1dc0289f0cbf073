//! A clock that stands still until a test moves it.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use vestibule::live::clock::{Clock, Reading};

const BEGINNING: i64 = 1_767_225_600_000_000;

/// Begins on 2026-01-01. [`TestClock::advance`] lets time pass. [`TestClock::stall`] moves only the time by which staleness
/// is measured, as if nothing had been heard of revocations meanwhile. PostgreSQL's clock says what this clock would say if
/// nobody had set it.
pub struct TestClock {
    wall: AtomicI64,
    uptime: AtomicU64,
    /// By how much somebody has set the wall clock.
    set: AtomicI64,
    /// For how long the machine was off.
    off: AtomicI64,
}

impl Default for TestClock {
    fn default() -> Self {
        Self { wall: BEGINNING.into(), uptime: AtomicU64::default(), set: AtomicI64::default(), off: AtomicI64::default() }
    }
}

impl TestClock {
    /// Time passes, for the wall clock and for the machine.
    pub fn advance(&self, by: Duration) {
        self.wall.fetch_add(micros(by), Ordering::SeqCst);
    }

    pub fn stall(&self, by: Duration) {
        self.uptime.fetch_add(u64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }

    /// Somebody sets the wall clock of this machine.
    pub fn set_by(&self, by: TimeDelta) {
        let by = by.num_microseconds().unwrap();
        self.wall.fetch_add(by, Ordering::SeqCst);
        self.set.fetch_add(by, Ordering::SeqCst);
    }

    /// The machine is switched off for a while.
    pub fn off_for(&self, by: Duration) {
        self.wall.fetch_add(micros(by), Ordering::SeqCst);
        self.off.fetch_add(micros(by), Ordering::SeqCst);
    }

    /// The clock of another machine, which shows the same time.
    pub fn another(&self) -> Self {
        let copy = |it: &AtomicI64| it.load(Ordering::SeqCst).into();
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
