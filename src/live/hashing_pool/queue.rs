//! The queue of a hashing pool: which jobs are accepted, in which order they run, and which are rejected under overload.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prometheus_client::metrics::histogram::Histogram;

use super::lane::{Verdict, Work};
use crate::{
    error::{Error, Result},
    live::clock::{Clock, SystemClock},
    values::network::Network,
};

/// The expected duration of a job until one was measured: a hash of the default cost.
const INITIAL_AVERAGE: Duration = Duration::from_millis(200);
/// The minimum expected duration of a job. It bounds the queue when hashes cost almost nothing.
const MIN_AVERAGE: Duration = Duration::from_millis(1);
/// The last job counts for one part in this many of the moving average.
const AVERAGE_PARTS: u32 = 8;

/// Jobs in the order in which they came.
pub(super) struct Queue {
    /// How many jobs can run at the same time.
    lanes: usize,
    max_wait: Duration,
    waits: Histogram,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    jobs: VecDeque<Job>,
    /// The number of the next job.
    next: u64,
    running: usize,
    /// The moving average of the jobs' durations.
    average: Duration,
    is_closed: bool,
}

struct Job {
    number: u64,
    /// `None` for a job that is not rejected for the sake of other networks.
    network: Option<Network>,
    /// By the machine's uptime: the threads run while a test's clock stands still.
    queued_at: Duration,
    work: Work,
}

/// A job that a thread has taken out of the queue.
pub(super) struct NextJob {
    pub(super) work: Work,
    pub(super) started_at: Duration,
    /// The job has waited so long that it is rejected for the sake of the jobs behind it.
    pub(super) is_late: bool,
}

impl Queue {
    pub(super) fn new(lanes: usize, max_wait: Duration, waits: Histogram) -> Self {
        let state = State { jobs: VecDeque::new(), next: 0, running: 0, average: INITIAL_AVERAGE, is_closed: false };
        Self { lanes, max_wait, waits, state: Mutex::new(state), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the error of a rejected job. After `max_wait`, every job that may wait now has run.
    pub(super) fn overloaded(&self) -> Error {
        Error::Overloaded { retry_after: self.max_wait }
    }

    /// Returns the number of jobs that wait for a thread.
    pub(super) fn len(&self) -> usize {
        self.state().jobs.len()
    }

    /// Fails with [`Error::Overloaded`] if a job of this network would be rejected now.
    pub(super) fn check_capacity(&self, network: Option<Network>) -> Result<()> {
        self.find_room(&self.state(), network).map(drop)
    }

    /// Fails with [`Error::Overloaded`] if a new job would wait too long, to judge by the moving average. If there is room
    /// only in place of a job of a network that has more jobs, returns the position of that job.
    fn find_room(&self, state: &State, network: Option<Network>) -> Result<Option<usize>> {
        let ahead = (state.jobs.len() + state.running + 1).saturating_sub(self.lanes);
        let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let wait = state.average.max(MIN_AVERAGE).saturating_mul(count(ahead)) / count(self.lanes);
        if wait <= self.max_wait {
            return Ok(None);
        }
        let mut jobs = HashMap::<Network, usize>::new();
        state.jobs.iter().filter_map(|job| job.network).for_each(|network| *jobs.entry(network).or_default() += 1);
        let own = network.and_then(|network| jobs.get(&network)).copied().unwrap_or_default();
        // With one more job, this network must still have fewer than the network that loses one.
        let largest = jobs.into_iter().max_by_key(|(_, count)| *count).filter(|(_, count)| *count > own + 1);
        let position = largest.and_then(|(largest, _)| state.jobs.iter().rposition(|job| job.network == Some(largest)));
        position.map(Some).ok_or_else(|| self.overloaded())
    }

    /// Adds a job and returns its number. Fails with [`Error::Overloaded`] if there is no room for it.
    pub(super) fn push(&self, network: Option<Network>, work: Work) -> Result<u64> {
        let mut state = self.state();
        let rejected = self.find_room(&state, network)?.and_then(|position| state.jobs.remove(position));
        let number = state.next;
        state.next += 1;
        state.jobs.push_back(Job { number, network, queued_at: SystemClock.uptime(), work });
        self.changed.notify_one();
        drop(state);
        if let Some(job) = rejected {
            _ = (job.work)(Verdict::Reject);
        }
        Ok(number)
    }

    /// Removes a job. Returns `false` if it is not queued.
    pub(super) fn remove(&self, number: u64) -> bool {
        let mut state = self.state();
        let position = state.jobs.iter().position(|job| job.number == number);
        let job = position.and_then(|position| state.jobs.remove(position));
        drop(state);
        job.is_some()
    }

    /// Lets the threads end when the queue is empty.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.changed.notify_all();
    }

    /// Takes the first job. If there is none, waits for one if `may_wait`; returns `None` if the queue is closed.
    pub(super) fn take(&self, may_wait: bool) -> Option<NextJob> {
        let mut state = self.state();
        loop {
            if let Some(Job { queued_at, work, .. }) = state.jobs.pop_front() {
                let started_at = SystemClock.uptime();
                let waited = started_at.saturating_sub(queued_at);
                self.waits.observe(waited.as_secs_f64());
                state.running += 1;
                // A job that is a little too late runs, because its caller has waited for it.
                let is_late = waited > self.max_wait * 3 / 2 && !state.jobs.is_empty();
                return Some(NextJob { work, started_at, is_late });
            }
            if !may_wait || state.is_closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Counts a job as done. The duration of a job that ran counts for the moving average.
    pub(super) fn finish(&self, started_at: Duration, ran: bool) {
        let took = SystemClock.uptime().saturating_sub(started_at);
        let mut state = self.state();
        state.running -= 1;
        if ran {
            state.average = (state.average * (AVERAGE_PARTS - 1) + took) / AVERAGE_PARTS;
        }
    }
}

#[cfg(test)]
impl Queue {
    pub(super) fn running(&self) -> usize {
        self.state().running
    }

    pub(super) fn set_average(&self, average: Duration) {
        self.state().average = average;
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::histogram::exponential_buckets;

    use super::*;

    #[test]
    fn a_job_is_accepted_while_a_lane_is_free_however_slow_the_hashes_are() {
        let queue = Queue::new(2, Duration::from_secs(2), Histogram::new(exponential_buckets(1.0, 2.0, 1)));
        queue.set_average(Duration::from_hours(1));
        for _ in 0..2 {
            queue.push(None, Box::new(|_| None)).unwrap();
            assert!(queue.take(false).is_some());
        }
        assert!(matches!(queue.push(None, Box::new(|_| None)), Err(Error::Overloaded { .. })), "both lanes are taken");
        queue.finish(SystemClock.uptime(), false);
        queue.push(None, Box::new(|_| None)).unwrap();
    }
}
