//! The generation of the data in this process's memory. A restore begins another one: whatever the process remembers of the former
//! generation is wrong, and whatever was issued in it is no longer valid.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicBool, AtomicI64, Ordering},
};

use chrono::{DateTime, Utc};

use crate::entity::installation::Generation;

/// The generation that this process knows.
pub struct KnownGeneration {
    known: Mutex<Generation>,
    /// The beginning of the generation, as a Unix time. Read for every token, so it takes no lock.
    not_before: AtomicI64,
    is_history_lost: AtomicBool,
}

impl KnownGeneration {
    /// Begins with the generation of the database.
    pub fn new(generation: Generation) -> Self {
        let (known, not_before, is_history_lost) = (Mutex::default(), AtomicI64::new(i64::MIN), AtomicBool::default());
        let this = Self { known, not_before, is_history_lost };
        this.replace(generation);
        this
    }

    /// Returns whether this is the generation that the process knows.
    pub fn is(&self, generation: Generation) -> bool {
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) == generation
    }

    /// Returns whether another generation is a later one than the process knows. An earlier one comes with an older state of the data.
    pub fn is_earlier_than(&self, other: Generation, now: DateTime<Utc>) -> bool {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).not_before;
        // If the clock was ahead, it was set right, and then the command repeated.
        other.not_before > known || known > Some(now)
    }

    /// Refuses what was issued before this generation began. The process does not know it until [`Self::replace`].
    pub fn refuse_before(&self, generation: Generation) {
        self.not_before.store(generation.not_before.map_or(i64::MIN, |time| time.timestamp()), Ordering::SeqCst);
    }

    /// Knows this generation from now on: everything in memory was read from it.
    pub fn replace(&self, generation: Generation) {
        self.refuse_before(generation);
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = generation;
    }

    /// Returns whether something that was issued at this Unix time was issued before the generation began.
    pub fn is_later_than(&self, issued_at: i64) -> bool {
        issued_at < self.not_before.load(Ordering::SeqCst)
    }

    /// As [`Self::is_later_than`], for a time with a fraction. The generation begins at a whole second.
    pub fn began_after(&self, issued_at: DateTime<Utc>) -> bool {
        self.is_later_than(issued_at.timestamp())
    }

    /// Records whether the database holds an older state than this process has seen, without a generation of its own.
    pub fn set_history_lost(&self, is_lost: bool) {
        self.is_history_lost.store(is_lost, Ordering::SeqCst);
    }

    /// Returns whether the database has lost changes that this process has seen. Then nothing may be granted.
    pub fn is_history_lost(&self) -> bool {
        self.is_history_lost.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn whatever_was_issued_before_the_generation_began_is_too_old() {
        let known = KnownGeneration::new(Generation::default());
        assert!(!known.is_later_than(0) && known.is(Generation::default()));
        let next = Generation { id: Some(Uuid::max()), not_before: DateTime::from_timestamp(100, 0) };
        assert!(!known.is(next));
        known.replace(next);
        assert!(known.is(next) && known.is_later_than(99) && !known.is_later_than(100));
        let (at, now) = (|seconds| DateTime::from_timestamp(seconds, 0), DateTime::from_timestamp(150, 0).unwrap());
        let began_at = |not_before| Generation { id: Some(Uuid::nil()), not_before };
        assert!(known.is_earlier_than(began_at(at(101)), now));
        assert!(!known.is_earlier_than(began_at(at(99)), now) && !known.is_earlier_than(Generation::default(), now));
        assert!(known.is_earlier_than(began_at(at(99)), at(98).unwrap()), "the clock was ahead");
        assert!(known.began_after(DateTime::from_timestamp_millis(99_999).unwrap()));
    }
}
