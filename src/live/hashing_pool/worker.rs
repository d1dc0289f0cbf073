//! A thread of a hashing pool. It runs several jobs at a time, each in a lane, and advances their hashes in step.

use std::{
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
    time::Duration,
};

use vestibule_lanes::{Input, LENGTH, Lanes};

use super::{
    lane::{Computation, Hash, Lane, Verdict, lock},
    queue::{NextJob, Queue},
    turns::Turns,
};

/// How many rounds the hashes advance before the thread lets others run and looks for another job: about a quarter of a
/// millisecond.
const ROUNDS: u32 = 4;

/// Runs jobs of `queue`, at most `count` at a time, until the queue is closed and empty.
pub(super) fn run(queue: &Queue, count: usize) {
    let mut lanes = Lanes::new(count);
    // Each job has the number of its hash.
    let mut jobs: Vec<RunningJob> = Vec::with_capacity(count);
    let mut turns = Turns::default();
    loop {
        while jobs.len() < count
            && let Some(next) = queue.take(jobs.is_empty())
        {
            if let Some((job, input)) = RunningJob::start(queue, next, count == 1) {
                lanes.start(&input);
                jobs.push(job);
            }
        }
        if jobs.is_empty() {
            return;
        }
        lanes.advance(ROUNDS);
        while let Some((number, hash)) = lanes.remove_finished() {
            let mut job = jobs.swap_remove(number);
            if let Some(input) = job.proceed(queue, hash) {
                lanes.start(&input);
                jobs.push(job);
            }
        }
        turns.offer();
    }
}

/// A job whose hash is being computed.
struct RunningJob {
    job: Computation,
    lane: Arc<Mutex<Hash>>,
    started_at: Duration,
}

impl RunningJob {
    /// Starts a job. Returns it and the input of its first hash, or `None` if the job was rejected or needs no hash.
    fn start(queue: &Queue, NextJob { work, started_at, is_late }: NextJob, is_only_lane: bool) -> Option<(Self, Input)> {
        let lane = Arc::new(Mutex::new(Hash::None));
        let verdict = if is_late { Verdict::Reject } else { Verdict::Run(Lane { hash: Arc::clone(&lane), is_only_lane }) };
        let Some(mut job) = work(verdict) else {
            queue.finish(started_at, false);
            return None;
        };
        let input = poll(&mut job, &lane);
        if input.is_none() {
            queue.finish(started_at, true);
        }
        input.map(|input| (Self { job, lane, started_at }, input))
    }

    /// Passes the computed hash to the job. Returns the input of its next hash, or `None` if the job has ended.
    fn proceed(&mut self, queue: &Queue, hash: [u8; LENGTH]) -> Option<Input> {
        *lock(&self.lane) = Hash::Computed(hash);
        let next = poll(&mut self.job, &self.lane);
        if next.is_none() {
            queue.finish(self.started_at, true);
        }
        next
    }
}

/// Lets a job run until it requests a hash. Returns `None` if it has ended. When a job panics, its result channel is
/// dropped, so its caller fails; the thread continues.
fn poll(job: &mut Computation, lane: &Mutex<Hash>) -> Option<Input> {
    let polled = catch_unwind(AssertUnwindSafe(|| job.as_mut().poll(&mut Context::from_waker(Waker::noop()))));
    match (polled, mem::replace(&mut *lock(lane), Hash::None)) {
        (Ok(Poll::Pending), Hash::Requested(input)) => Some(input),
        _ => None,
    }
}
