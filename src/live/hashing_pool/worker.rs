//! A thread of a hashing pool. It runs several jobs at a time, each in a lane, and advances their hashes in step.

use std::{
    array::from_fn,
    future::poll_fn,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use vestibule_lanes::{Bcrypt, LENGTH, advance};

use super::queue::{Queue, Taken};

/// How many rounds the hashes advance before the thread looks for another job: about two milliseconds.
const ROUNDS: u32 = 32;

/// What a thread calls with its verdict on a job. Returns the future of a job that runs.
pub(super) type Work = Box<dyn FnOnce(Verdict) -> Option<Job> + Send>;

/// The rest of a job. It awaits nothing but its lane.
pub(super) type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Whether a job runs.
pub(super) enum Verdict {
    Run(Lane),
    /// The job has waited too long, or made room for a job of another network.
    Reject,
}

/// Where a job computes its hashes, one after another, while other jobs compute theirs.
pub struct Lane {
    hash: Arc<Mutex<Hash>>,
    is_alone: bool,
}

/// The hash that a job waits for.
enum Hash {
    None,
    Requested(Box<Bcrypt>),
    Computed([u8; LENGTH]),
}

impl Lane {
    /// Computes the bcrypt hash of `password` with 2^`cost` rounds. Of a password, bcrypt reads at most 71 bytes.
    pub async fn bcrypt(&self, password: &[u8], salt: [u8; 16], cost: u32) -> [u8; LENGTH] {
        if self.is_alone {
            let mut key = zeroize::Zeroizing::new(password.to_vec());
            key.push(0);
            let hash = bcrypt::bcrypt(cost, salt, &key);
            return from_fn(|at| hash[at]);
        }
        *lock(&self.hash) = Hash::Requested(Box::new(Bcrypt::new(password, salt, cost)));
        poll_fn(|_| {
            let mut hash = lock(&self.hash);
            match *hash {
                Hash::Computed(result) => {
                    *hash = Hash::None;
                    Poll::Ready(result)
                }
                _ => Poll::Pending,
            }
        })
        .await
    }
}

fn lock(hash: &Mutex<Hash>) -> MutexGuard<'_, Hash> {
    hash.lock().unwrap_or_else(PoisonError::into_inner)
}

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
    job: Job,
    lane: Arc<Mutex<Hash>>,
    hash: Box<Bcrypt>,
    started_at: Duration,
}

impl RunningJob {
    /// Starts a job. Returns `None` if the job was rejected or needs no hash.
    fn start(queue: &Queue, Taken { work, started_at, is_late }: Taken, is_alone: bool) -> Option<Self> {
        let lane = Arc::new(Mutex::new(Hash::None));
        let verdict = if is_late { Verdict::Reject } else { Verdict::Run(Lane { hash: Arc::clone(&lane), is_alone }) };
        let Some(mut job) = work(verdict) else {
            queue.finish(started_at, false);
            return None;
        };
        match poll(&mut job, &lane) {
            Some(hash) => Some(Self { job, lane, hash, started_at }),
            None => {
                queue.finish(started_at, true);
                None
            }
        }
    }

    /// Passes the computed hash to the job. Returns whether the job goes on to compute another one.
    fn proceed(&mut self, queue: &Queue) -> bool {
        *lock(&self.lane) = Hash::Computed(self.hash.result());
        match poll(&mut self.job, &self.lane) {
            Some(hash) => {
                self.hash = hash;
                true
            }
            None => {
                queue.finish(self.started_at, true);
                false
            }
        }
    }
}

/// Lets a job run until it requests a hash. Returns `None` if it has ended. When a job panics, its result channel is
/// dropped, so its caller fails; the thread continues.
fn poll(job: &mut Job, lane: &Mutex<Hash>) -> Option<Box<Bcrypt>> {
    let polled = catch_unwind(AssertUnwindSafe(|| job.as_mut().poll(&mut Context::from_waker(Waker::noop()))));
    match (polled, mem::replace(&mut *lock(lane), Hash::None)) {
        (Ok(Poll::Pending), Hash::Requested(hash)) => Some(hash),
        _ => None,
    }
}
