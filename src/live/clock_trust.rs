//! Clock trust: whether this machine's clock may decide what is deleted, because a deletion cannot be undone. The clock is
//! compared with the newest time recorded in the database, with the machine's uptime and, on PostgreSQL, with the database's
//! clock.

use std::{
    fmt,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};

use super::clock::Reading;
use crate::entity::installation::Model;

/// How far this machine's clock and the database's may differ. Beyond it, the service is not ready.
pub const MAX_SKEW: Duration = Duration::from_secs(2);

/// How long data is kept after it stops being valid. A clock error of less than this deletes no valid data.
const PURGE_DELAY: TimeDelta = TimeDelta::days(1);
/// How far the clock may drift from the uptime in a day. Machines that pause for a moment cause a small drift.
const MAX_DRIFT: TimeDelta = TimeDelta::minutes(1);
/// How far the clock may be ahead of the newest recorded time: a machine that was off at night is trusted in the morning.
/// Less than [`PURGE_DELAY`], so that a clock error too small to be noticed deletes no valid data.
const MAX_AHEAD: TimeDelta = TimeDelta::hours(18);
/// How long an untrusted clock must agree with the uptime before it is trusted.
const PROBATION: TimeDelta = TimeDelta::days(1);
/// How long a machine may be off while its clock is on probation: a weekend. After a longer pause the probation starts again.
const MAX_PAUSE: TimeDelta = TimeDelta::days(3);

/// A reading of a clock that may decide what is deleted. Only [`ClockTrust::check`] makes one.
#[derive(Debug, Clone, Copy)]
pub struct TrustedReading(Reading);

impl TrustedReading {
    /// Returns the reading.
    pub fn reading(self) -> Reading {
        self.0
    }

    /// Returns the time before which data must have expired to be deleted.
    pub fn purge_before(self) -> DateTime<Utc> {
        self.0.now - PURGE_DELAY
    }
}

/// Why a clock is not trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockMismatch {
    /// It differs from PostgreSQL's clock.
    Database,
    /// It is this far ahead of the newest time recorded in the database.
    Ahead(TimeDelta),
    /// It is this far behind the newest time recorded in the database.
    Behind(TimeDelta),
    /// It was set by this much while the process ran.
    Set(TimeDelta),
}

impl fmt::Display for ClockMismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database => write!(f, "it differs from the database's clock"),
            Self::Ahead(by) => write!(f, "it is {} ahead of the newest time recorded in the database", Span(*by)),
            Self::Behind(by) => write!(f, "it is {} behind the newest time recorded in the database", Span(*by)),
            Self::Set(by) if *by < TimeDelta::zero() => write!(f, "it was set back by {}", Span(-*by)),
            Self::Set(by) => write!(f, "it was set forward by {}", Span(*by)),
        }
    }
}

/// Formats a span of time in minutes, hours or days.
struct Span(TimeDelta);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.num_minutes() {
            minutes @ ..120 => write!(f, "{minutes} min"),
            minutes @ 120..2_880 => write!(f, "{} h", minutes / 60),
            minutes => write!(f, "{} days", minutes / 1_440),
        }
    }
}

/// What this process knows about the machine's clock.
pub struct ClockTrust {
    state: Mutex<State>,
    /// The last measured difference from the database's clock, in milliseconds.
    skew: AtomicU64,
}

#[derive(Default)]
struct State {
    /// The reading that later ones are compared with. The clock was trusted then, less than a day ago.
    trusted: Option<Reading>,
    /// The first reading of an untrusted clock on probation in this process.
    probation_start: Option<Reading>,
    /// The last reading of an untrusted clock.
    last_untrusted: Option<Reading>,
    newest_at: Option<DateTime<Utc>>,
    accepted: i64,
    mismatch: Option<ClockMismatch>,
}

impl ClockTrust {
    /// Begins with what the database has recorded.
    pub fn new(row: &Model) -> Self {
        let state = State { newest_at: row.newest_at, accepted: row.accepted, ..State::default() };
        Self { state: Mutex::new(state), skew: AtomicU64::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns why the clock was not trusted at the last check, if it was not.
    pub fn mismatch(&self) -> Option<ClockMismatch> {
        self.state().mismatch
    }

    /// Returns how many times an operator had accepted the clock by the last check.
    pub fn accepted(&self) -> i64 {
        self.state().accepted
    }

    /// Returns the later of `now` and the newest recorded time. No valid token was issued after it, whichever of the two is
    /// wrong.
    pub fn latest(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.state().newest_at.map_or(now, |newest| newest.max(now))
    }

    /// Returns the last measured difference between this machine's clock and the database's.
    pub fn skew(&self) -> Duration {
        Duration::from_millis(self.skew.load(Ordering::SeqCst))
    }

    /// Records the difference between this machine's clock and the database's.
    pub fn set_skew(&self, skew: Duration) {
        self.skew.store(u64::try_from(skew.as_millis()).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// Checks the clock and records the result in `row`. `ahead` is how far the clock is ahead of the database's clock, if
    /// the database has one.
    pub fn check(&self, reading: Reading, ahead: Option<TimeDelta>, row: &mut Model) -> Result<TrustedReading, ClockMismatch> {
        let mut state = self.state();
        let checked = state.check(reading, ahead, row);
        state.newest_at = row.newest_at;
        state.mismatch = checked.err();
        checked
    }

    /// Trusts the clock because an operator has accepted it.
    pub fn accept(&self, reading: Reading, row: &mut Model) {
        let mut state = self.state();
        row.accepted += 1;
        state.accepted = row.accepted;
        state.trust_anew(reading, row);
        state.newest_at = row.newest_at;
        state.mismatch = None;
    }
}

impl State {
    fn check(&mut self, reading: Reading, ahead: Option<TimeDelta>, row: &mut Model) -> Result<TrustedReading, ClockMismatch> {
        if let Some(ahead) = ahead.filter(|ahead| ahead.abs().to_std().is_ok_and(|skew| skew > MAX_SKEW)) {
            record_behind(reading.now, Some(reading.now - ahead), row);
            return Err(ClockMismatch::Database);
        }
        if self.accepted != row.accepted {
            *self = Self { accepted: row.accepted, ..Self::default() };
        }
        let Some(mismatch) = self.find_mismatch(reading, ahead.is_some(), row) else {
            self.trust(reading, row);
            return Ok(TrustedReading(reading));
        };
        self.continue_probation(reading, row);
        if row.watched_for < PROBATION.num_seconds() {
            return Err(mismatch);
        }
        self.trust_anew(reading, row);
        Ok(TrustedReading(reading))
    }

    /// Compares the clock with the uptime and with the newest recorded time. The uptime is the better reference, but a new
    /// process has no earlier reading to compare it with. If the clock was set and the database's clock agrees with it, both
    /// clocks were corrected.
    fn find_mismatch(&self, reading: Reading, database_agrees: bool, row: &Model) -> Option<ClockMismatch> {
        let drift = self.trusted.map(|trusted| drift(trusted, reading));
        if drift.is_some_and(|drift| drift.abs() <= MAX_DRIFT) {
            return None;
        }
        if let Some(drift) = drift.filter(|_| !database_agrees) {
            return Some(ClockMismatch::Set(drift));
        }
        let ahead = reading.now - row.newest_at?;
        if ahead < -MAX_DRIFT {
            Some(ClockMismatch::Behind(-ahead))
        } else {
            (ahead > MAX_AHEAD).then_some(ClockMismatch::Ahead(ahead))
        }
    }

    fn trust(&mut self, reading: Reading, row: &mut Model) {
        let is_recent = |trusted: &Reading| reading.uptime - trusted.uptime < PROBATION;
        let kept = self.trusted.filter(|trusted| drift(*trusted, reading).abs() <= MAX_DRIFT && is_recent(trusted));
        self.trusted = kept.or(Some(reading));
        (self.probation_start, self.last_untrusted) = (None, None);
        row.newest_at = row.newest_at.max(Some(reading.now));
        (row.doubted_at, row.watched_for) = (None, 0);
    }

    /// Adds the time since the last check to the probation if the clock agrees with the uptime, and otherwise starts the
    /// probation again. A new process continues the probation that another one has recorded.
    fn continue_probation(&mut self, reading: Reading, row: &mut Model) {
        let since = row.doubted_at.map(|doubted_at| reading.now - doubted_at);
        row.watched_for = match (self.probation_start, self.last_untrusted, since) {
            (Some(start), Some(last), Some(since)) if drift(start, reading).abs() <= MAX_DRIFT => {
                row.watched_for + since.min(reading.uptime - last.uptime).num_seconds().max(0)
            }
            (None, _, Some(since)) if (TimeDelta::zero()..=MAX_PAUSE).contains(&since) => row.watched_for,
            _ => {
                self.probation_start = None;
                0
            }
        };
        self.probation_start = self.probation_start.or(Some(reading));
        self.last_untrusted = Some(reading);
        row.doubted_at = Some(reading.now);
        record_behind(reading.now, row.newest_at, row);
    }

    /// Trusts the clock and discards every earlier reading and time that contradicts it.
    fn trust_anew(&mut self, reading: Reading, row: &mut Model) {
        self.trusted = None;
        (row.newest_at, row.behind_at) = (None, row.behind_at.filter(|behind_at| *behind_at <= reading.now));
        self.trust(reading, row);
    }
}

/// Records in `row` that audit events written now carry a date that is too early. Once the clock is right, they would be
/// deleted too early.
fn record_behind(now: DateTime<Utc>, right: Option<DateTime<Utc>>, row: &mut Model) {
    row.behind_at = row.behind_at.max(right.filter(|right| *right - now > PURGE_DELAY));
}

/// Returns how far the wall clock moved against the uptime between two readings.
fn drift(from: Reading, to: Reading) -> TimeDelta {
    (to.now - from.now) - (to.uptime - from.uptime)
}
