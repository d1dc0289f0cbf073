//! A thread of a hashing pool. It runs several jobs at a time, each in a lane, and advances their hashes in step.

use std::{
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use vestibule_lanes::{Bcrypt, advance};

use super::{
    lane::{Computation, Hash, Lane, Verdict, lock},
    queue::{NextJob, Queue},
};

/// How many rounds the hashes advance before the thread looks for another job: about two milliseconds.
const ROUNDS: u32 = 32;

/// Runs jobs of `queue`, at most `lanes` at a time, until the queue is closed and empty.
pub(super) fn run(queue: &Queue, lanes: usize) {
    let mut running: Vec<RunningJob> = Vec::with_capacity(lanes);
    loop {
        while running.len() < lanes
            && let Some(taken) = queue.take(running.is_empty())
        {
            running.extend(RunningJob::start(queue, taken, lanes == 1));
        }
        if running.is_empty() {
            return;
        }
        let rounds = running.iter().map(|job| job.hash.rounds_left()).min().unwrap_or_default();
        let mut hashes: Vec<_> = running.iter_mut().map(|job| &mut *job.hash).collect();
        advance(&mut hashes, rounds.min(ROUNDS));
        running.retain_mut(|job| job.hash.rounds_left() > 0 || job.proceed(queue));
    }
}

/// A job whose hash is being computed.
struct RunningJob {
    job: Computation,
    lane: Arc<Mutex<Hash>>,
    hash: Box<Bcrypt>,
    started_at: Duration,
}

impl RunningJob {
    /// Starts a job. Returns `None` if the job was rejected or needs no hash.
    fn start(queue: &Queue, NextJob { work, started_at, is_late }: NextJob, is_only_lane: bool) -> Option<Self> {
        let lane = Arc::new(Mutex::new(Hash::None));
        let verdict = if is_late { Verdict::Reject } else { Verdict::Run(Lane { hash: Arc::clone(&lane), is_only_lane }) };
        let Some(mut job) = work(verdict) else {
            queue.finish(started_at, false);
            return None;
        };
        let hash = poll(&mut job, &lane);
        if hash.is_none() {
            queue.finish(started_at, true);
        }
        hash.map(|hash| Self { job, lane, hash, started_at })
    }

    /// Passes the computed hash to the job. Returns whether the job goes on to compute another one.
    fn proceed(&mut self, queue: &Queue) -> bool {
        *lock(&self.lane) = Hash::Computed(self.hash.result());
        let next = poll(&mut self.job, &self.lane);
        if let Some(hash) = next {
            self.hash = hash;
            return true;
        }
        queue.finish(self.started_at, true);
        false
    }
}

/// Lets a job run until it requests a hash. Returns `None` if it has ended. When a job panics, its result channel is
/// dropped, so its caller fails; the thread continues.
fn poll(job: &mut Computation, lane: &Mutex<Hash>) -> Option<Box<Bcrypt>> {
    let polled = catch_unwind(AssertUnwindSafe(|| job.as_mut().poll(&mut Context::from_waker(Waker::noop()))));
    match (polled, mem::replace(&mut *lock(lane), Hash::None)) {
        (Ok(Poll::Pending), Hash::Requested(hash)) => Some(hash),
        _ => None,
    }
}
