//! The watch over this machine's clock: a clock that may be wrong decides nothing that cannot be taken back. It is
//! compared with the newest time that the database has seen, with uptime, and on PostgreSQL with the database's clock.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};

use super::{clock::Reading, feed::MOST_SKEW};
use crate::entity::installation::Model;

/// For how long data is kept that means nothing any more. A clock that is wrong by less deletes nothing of value.
pub const SPARE: TimeDelta = TimeDelta::days(1);
/// How far the clock may stray from uptime in a day, as machines do that pause for a moment.
const STRAY: TimeDelta = TimeDelta::minutes(1);
/// How far the clock may be ahead of the newest time seen: a machine that is off at night is in no doubt in the morning.
/// Less than [`SPARE`], so that a clock error too small to be noticed does no harm.
const OFF: TimeDelta = TimeDelta::hours(18);
/// How long a clock in doubt has to keep step with uptime until it is trusted.
const STEADY: TimeDelta = TimeDelta::days(1);
/// How long a machine may be off while its clock is in doubt: a weekend. After a longer time the watch begins anew.
const PAUSE: TimeDelta = TimeDelta::days(3);

/// A clock that may decide what is deleted. Only [`ClockTrust::judge`] makes one.
#[derive(Debug, Clone, Copy)]
pub struct TrustedReading(Reading);

impl TrustedReading {
    /// What the clock says.
    #[must_use]
    pub fn reading(self) -> Reading {
        self.0
    }

    /// Everything that ended before this time may be deleted.
    #[must_use]
    pub fn long_ago(self) -> DateTime<Utc> {
        self.0.now - SPARE
    }
}

/// Why a clock is in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doubt {
    /// PostgreSQL's clock says something else.
    Database,
    /// The clock is so far ahead of the newest time that the database has seen.
    Ahead(TimeDelta),
    /// The clock is so far behind the newest time that the database has seen.
    Behind(TimeDelta),
    /// Somebody has set the clock while this process ran.
    Set(TimeDelta),
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Database => write!(f, "it differs from the database's clock"),
            Self::Ahead(by) => write!(f, "it is {} ahead of the newest time that the database has seen", Span(*by)),
            Self::Behind(by) => write!(f, "it is {} behind the newest time that the database has seen", Span(*by)),
            Self::Set(by) if *by < TimeDelta::zero() => write!(f, "it was set back by {}", Span(-*by)),
            Self::Set(by) => write!(f, "it was set forward by {}", Span(*by)),
        }
    }
}

/// A span of time in the largest units that say enough.
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

/// What this process knows of the clock.
#[derive(Default)]
pub struct ClockTrust(Mutex<State>);

#[derive(Default)]
struct State {
    /// The clock when it was trusted, a day ago at most.
    trusted: Option<Reading>,
    /// The clock in doubt when the watch over it began here.
    watched: Option<Reading>,
    /// The clock in doubt when it was last looked at.
    looked: Option<Reading>,
    newest_at: Option<DateTime<Utc>>,
    accepted: i64,
    doubt: Option<Doubt>,
}

impl ClockTrust {
    /// Begins with what the database has seen.
    #[must_use]
    pub fn of(row: &Model) -> Self {
        Self(Mutex::new(State { newest_at: row.newest_at, accepted: row.accepted, ..State::default() }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the clock was in doubt when it was last judged.
    #[must_use]
    pub fn doubt(&self) -> Option<Doubt> {
        self.state().doubt
    }

    /// How many times an operator had said that the clock is right, when it was last judged.
    #[must_use]
    pub fn accepted(&self) -> i64 {
        self.state().accepted
    }

    /// `now`, or the newest time seen where that is later: no token that is alive was issued after it, whichever of the
    /// two is wrong.
    #[must_use]
    pub fn latest(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.state().newest_at.map_or(now, |newest| newest.max(now))
    }

    /// Judges the clock, and notes in `row` what was seen. `ahead` is how far the clock is ahead of the database's own,
    /// where the database has one.
    ///
    /// # Errors
    /// Why the clock is in doubt.
    pub fn judge(&self, reading: Reading, ahead: Option<TimeDelta>, row: &mut Model) -> Result<TrustedReading, Doubt> {
        let mut state = self.state();
        let judged = state.judge(reading, ahead, row);
        state.newest_at = row.newest_at;
        state.doubt = judged.err();
        judged
    }

    /// Believes the clock because an operator says that it is right.
    pub fn accept(&self, reading: Reading, row: &mut Model) {
        let mut state = self.state();
        row.accepted += 1;
        state.accepted = row.accepted;
        state.settle(reading, row);
        state.newest_at = row.newest_at;
        state.doubt = None;
    }
}

impl State {
    fn judge(&mut self, reading: Reading, ahead: Option<TimeDelta>, row: &mut Model) -> Result<TrustedReading, Doubt> {
        if let Some(ahead) = ahead.filter(|it| it.abs().to_std().is_ok_and(|it| it > MOST_SKEW)) {
            note_behind(reading.now, Some(reading.now - ahead), row);
            return Err(Doubt::Database);
        }
        if self.accepted != row.accepted {
            *self = Self { accepted: row.accepted, ..Self::default() };
        }
        let Some(doubt) = self.doubt(reading, ahead.is_some(), row) else {
            self.believe(reading, row);
            return Ok(TrustedReading(reading));
        };
        self.watch(reading, row);
        if row.watched_for < STEADY.num_seconds() {
            return Err(doubt);
        }
        self.settle(reading, row);
        Ok(TrustedReading(reading))
    }

    /// What there is to say against the clock. Uptime is the better witness, but it does not outlive this process; where
    /// the database has a clock that agrees, somebody has set both right.
    fn doubt(&self, reading: Reading, agrees: bool, row: &Model) -> Option<Doubt> {
        let strayed = self.trusted.map(|it| strayed(it, reading));
        if strayed.is_some_and(|by| by.abs() <= STRAY) {
            return None;
        }
        if let Some(by) = strayed.filter(|_| !agrees) {
            return Some(Doubt::Set(by));
        }
        let ahead = reading.now - row.newest_at?;
        if ahead < -STRAY { Some(Doubt::Behind(-ahead)) } else { (ahead > OFF).then_some(Doubt::Ahead(ahead)) }
    }

    fn believe(&mut self, reading: Reading, row: &mut Model) {
        let since = self.trusted.filter(|it| strayed(*it, reading).abs() <= STRAY && reading.ran - it.ran < STEADY);
        self.trusted = since.or(Some(reading));
        (self.watched, self.looked) = (None, None);
        row.newest_at = row.newest_at.max(Some(reading.now));
        (row.doubted_at, row.watched_for) = (None, 0);
    }

    /// Counts for how long the clock has kept step with uptime. A process that has just started goes on where another one
    /// stopped.
    fn watch(&mut self, reading: Reading, row: &mut Model) {
        let since = row.doubted_at.map(|it| reading.now - it);
        row.watched_for = match (self.watched, self.looked, since) {
            (Some(begun), Some(looked), Some(since)) if strayed(begun, reading).abs() <= STRAY => {
                row.watched_for + since.min(reading.ran - looked.ran).num_seconds().max(0)
            }
            (None, _, Some(since)) if (TimeDelta::zero()..=PAUSE).contains(&since) => row.watched_for,
            _ => {
                self.watched = None;
                0
            }
        };
        self.watched = self.watched.or(Some(reading));
        self.looked = Some(reading);
        row.doubted_at = Some(reading.now);
        note_behind(reading.now, row.newest_at, row);
    }

    /// This clock is right, whatever was seen before.
    fn settle(&mut self, reading: Reading, row: &mut Model) {
        self.trusted = None;
        (row.newest_at, row.behind_at) = (None, row.behind_at.filter(|it| *it <= reading.now));
        self.believe(reading, row);
    }
}

/// Notes that events written now are dated too early, and would be deleted too early once the clock is right.
fn note_behind(now: DateTime<Utc>, right: Option<DateTime<Utc>>, row: &mut Model) {
    row.behind_at = row.behind_at.max(right.filter(|right| *right - now > SPARE));
}

/// By how much the clock was set between two readings.
fn strayed(from: Reading, to: Reading) -> TimeDelta {
    (to.now - from.now) - (to.ran - from.ran)
}
