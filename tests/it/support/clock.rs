//! A clock that stands still until a test moves it.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::Duration,
};

use chrono::{DateTime, Utc};
use vestibule::live::clock::Clock;

/// Begins on 2026-01-01. [`TestClock::advance`] moves the wall clock, [`TestClock::stall`] the time by which staleness
/// is measured, as if nothing had been heard of revocations meanwhile.
pub struct TestClock {
    wall: AtomicI64,
    uptime: AtomicU64,
}

impl Default for TestClock {
    fn default() -> Self {
        Self { wall: AtomicI64::new(1_767_225_600_000_000), uptime: AtomicU64::default() }
    }
}

impl TestClock {
    pub fn advance(&self, by: Duration) {
        self.wall.fetch_add(i64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }

    pub fn stall(&self, by: Duration) {
        self.uptime.fetch_add(u64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.wall.load(Ordering::SeqCst)).unwrap()
    }

    fn uptime(&self) -> Duration {
        Duration::from_micros(self.uptime.load(Ordering::SeqCst))
    }
}

pub const fn minutes(count: u64) -> Duration {
    Duration::from_secs(60 * count)
}
