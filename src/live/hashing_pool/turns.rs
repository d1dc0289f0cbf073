//! When a hashing thread lets other threads run. A kernel lets a thread that computes go on for some milliseconds before it
//! switches to one that has something to do, so hashing threads offer their turn more often. A lower priority would not help:
//! it shortens no turn, and beside another busy program, a log-in would take several times as long.

use std::{thread, time::Duration};

use rustix::time::{ClockId, Timespec, clock_gettime};

use crate::live::clock::{Clock, SystemClock};

/// A turn of another thread that is longer than this is no request.
const LONG_TURN: Duration = Duration::from_millis(1);
/// How long a hashing thread keeps its turn when other programs compete for the processor. Beside a program that always
/// computes, an offered turn comes back after some 10 ms, more than the fair share of that program: at 20 ms, a log-in would take
/// twice as long as at 50 ms.
const KEEP: Duration = Duration::from_millis(50);

/// Decides when the current thread offers its turn.
#[derive(Default)]
pub(super) struct Turns {
    /// By the machine's uptime.
    next_at: Duration,
}

/// What the clocks show.
#[derive(Clone, Copy)]
struct Times {
    uptime: Duration,
    /// The processor time that this process has used, all threads together.
    process: Duration,
}

impl Turns {
    /// Lets other threads run, unless the last turn went to another program.
    pub(super) fn offer(&mut self) {
        let before = Times::now();
        if before.uptime >= self.next_at {
            thread::yield_now();
            self.note(before, Times::now());
        }
    }

    /// Decides by an offered turn when the next one is offered.
    fn note(&mut self, before: Times, after: Times) {
        let turn = after.uptime.saturating_sub(before.uptime);
        let own = after.process.saturating_sub(before.process);
        let is_of_another_program = turn > LONG_TURN && own < turn / 2;
        self.next_at = if is_of_another_program { after.uptime + KEEP } else { after.uptime };
    }
}

impl Times {
    fn now() -> Self {
        let Timespec { tv_sec, tv_nsec } = clock_gettime(ClockId::ProcessCPUTime);
        let process = Duration::new(tv_sec.unsigned_abs(), u32::try_from(tv_nsec).unwrap_or_default());
        Self { uptime: SystemClock.uptime(), process }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn turns_are_offered_until_another_program_takes_one() {
        let before = Times { uptime: 100 * MS, process: 40 * MS };
        let next_at = |turn: Duration, own: Duration| {
            let mut turns = Turns::default();
            turns.note(before, Times { uptime: before.uptime + turn, process: before.process + own });
            turns.next_at
        };
        assert_eq!(next_at(MS / 500, MS / 1_000), before.uptime + MS / 500, "nobody had anything to do");
        assert_eq!(next_at(MS / 5, MS / 1_000), before.uptime + MS / 5, "another program had little to do");
        assert_eq!(next_at(7 * MS, 6 * MS), before.uptime + 7 * MS, "this process had many requests");
        assert_eq!(next_at(3 * MS, MS), before.uptime + 3 * MS + KEEP, "another program computes");
    }
}
