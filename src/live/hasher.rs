//! Password hashing, away from the async threads: a few threads of its own that yield to everybody else, behind a queue
//! that is as long as can be served in time, so that a storm of log-ins is shed and slows nobody down.

use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::Span;

use super::clock::{Clock, System};
use crate::error::{Error, Panicked, Result};

/// How long a job is taken to last before one was measured: a hash of the default cost.
const FIRST_GUESS: Duration = Duration::from_millis(200);
/// The least that a job is taken to last. It bounds the queue where hashes cost next to nothing.
const LEAST: Duration = Duration::from_millis(1);
/// The last of a moving average's jobs counts for one in so many.
const MEMORY: u32 = 8;
/// The lowest priority there is. A hash needs a processor for so long that without it whoever only verifies a token
/// would wait for many of them.
#[cfg(target_os = "linux")]
const NICE: i32 = 19;

tokio::task_local! {
    /// Cancelled when nobody waits any more for what the present task does. A task that has none is always waited for.
    pub static CALLER_GONE: CancellationToken;
}

/// The threads and their queue. Dropping it lets the threads finish what is queued and end.
pub struct Hasher(Arc<Shared>);

struct Shared {
    threads: usize,
    max_wait: Duration,
    waits: Histogram,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    queue: VecDeque<Job>,
    running: usize,
    average: Duration,
    closed: bool,
}

struct Job {
    /// When it came. The time of the machine: threads work while a test's clock stands still.
    came: Duration,
    work: Box<dyn FnOnce(Turn) + Send>,
}

/// Whether a job's turn came in time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    InTime,
    TooLate,
}

impl Hasher {
    /// Starts `threads` threads; a job is taken when it will wait for one of them no longer than `max_wait`. How long each
    /// did is noted in `waits`, in seconds.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start(threads: usize, max_wait: Duration, waits: Histogram) -> io::Result<Self> {
        let state = State { queue: VecDeque::new(), running: 0, average: FIRST_GUESS, closed: false };
        let shared = Arc::new(Shared { threads, max_wait, waits, state: Mutex::new(state), changed: Condvar::new() });
        for number in 0..threads {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name(format!("hasher-{number}")).spawn(move || {
                yield_to_others();
                shared.work();
            })?;
        }
        Ok(Self(shared))
    }

    /// Goes on only if a job that came now would be done in time. Asked before anything else is done for it.
    ///
    /// # Errors
    /// [`Error::Overloaded`].
    pub fn has_room(&self) -> Result<()> {
        self.0.room_in(&self.0.state())
    }

    /// Does `work` on one of the threads. Work whose caller has gone meanwhile is skipped; so is work whose turn comes
    /// far too late while other work waits.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when it cannot be done in time, [`Error::CallerGone`]: nothing was done.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let gone = CALLER_GONE.try_with(CancellationToken::clone).unwrap_or_default();
        let (overloaded, hung_up) = (self.0.overloaded(), gone.clone());
        let span = Span::current();
        let work = move |turn| {
            let _inside = span.entered();
            if !hung_up.is_cancelled() && !answer.is_closed() {
                _ = answer.send(if turn == Turn::InTime { Ok(work()) } else { Err(overloaded) });
            }
        };
        self.0.push(Box::new(work))?;
        tokio::select! {
            biased;
            () = gone.cancelled() => Err(Error::CallerGone),
            answer = answered => answer.map_err(|_| Error::internal(Panicked))?,
        }
    }

    /// How many jobs wait for a thread.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.state().queue.len()
    }
}

impl Drop for Hasher {
    fn drop(&mut self) {
        self.0.state().closed = true;
        self.0.changed.notify_all();
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// By then all that may wait now has been done.
    fn overloaded(&self) -> Error {
        Error::Overloaded { retry_after: self.max_wait }
    }

    /// Refuses a job whose turn would come too late, as far as the average of the last jobs tells.
    fn room_in(&self, state: &State) -> Result<()> {
        let ahead = (state.queue.len() + state.running + 1).saturating_sub(self.threads);
        let count = |it: usize| u32::try_from(it).unwrap_or(u32::MAX);
        let wait = state.average.max(LEAST).saturating_mul(count(ahead)) / count(self.threads);
        if wait > self.max_wait { Err(self.overloaded()) } else { Ok(()) }
    }

    fn push(&self, work: Box<dyn FnOnce(Turn) + Send>) -> Result<()> {
        let mut state = self.state();
        self.room_in(&state)?;
        state.queue.push_back(Job { came: System.uptime(), work });
        self.changed.notify_one();
        Ok(())
    }

    /// What each thread does until the end.
    fn work(&self) {
        let mut state = self.state();
        loop {
            let Some(Job { came, work }) = state.queue.pop_front() else {
                if state.closed {
                    return;
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let began = System.uptime();
            // A job that is far too late is skipped for the sake of those behind it. A little too late it is done: its
            // caller has waited for it.
            let waited = began.saturating_sub(came);
            let turn = if waited <= self.max_wait * 3 / 2 || state.queue.is_empty() { Turn::InTime } else { Turn::TooLate };
            state.running += 1;
            drop(state);
            self.waits.observe(waited.as_secs_f64());
            // A job that panics drops its answer, which its caller sees; the thread goes on.
            _ = catch_unwind(AssertUnwindSafe(|| work(turn)));
            let took = System.uptime().saturating_sub(began);
            state = self.state();
            state.running -= 1;
            if turn == Turn::InTime {
                state.average = (state.average * (MEMORY - 1) + took) / MEMORY;
            }
        }
    }
}

/// On Linux a thread has a priority of its own. Where it has none, hashes compete with the rest.
fn yield_to_others() {
    #[cfg(target_os = "linux")]
    if let Err(err) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
        tracing::warn!(%err, "passwords are hashed at normal priority, and slow other requests down");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use prometheus_client::metrics::histogram::exponential_buckets;

    use super::*;

    const MAX_WAIT: Duration = Duration::from_millis(300);

    #[tokio::test]
    async fn what_is_far_too_late_makes_room_for_what_comes_after() {
        let hasher = Arc::new(Hasher::start(1, MAX_WAIT, Histogram::new(exponential_buckets(1.0, 2.0, 1))).unwrap());
        let (release, released) = mpsc::channel::<()>();
        let run = |work: Box<dyn FnOnce() -> u8 + Send>| {
            let hasher = Arc::clone(&hasher);
            tokio::spawn(async move { hasher.run(work).await })
        };
        let queued = async |count| {
            while hasher.waiting() != count {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let held = run(Box::new(move || {
            _ = released.recv();
            1
        }));
        while hasher.0.state().running == 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let late = run(Box::new(|| 2));
        queued(1).await;
        assert!(matches!(hasher.has_room(), Err(Error::Overloaded { retry_after: MAX_WAIT })), "two hashes are 400 ms");
        tokio::time::sleep(MAX_WAIT * 2).await;
        hasher.0.state().average = LEAST;
        let next = run(Box::new(|| 3));
        queued(2).await;
        release.send(()).unwrap();
        assert_eq!(held.await.unwrap().unwrap(), 1);
        assert!(matches!(late.await.unwrap(), Err(Error::Overloaded { .. })));
        assert_eq!(next.await.unwrap().unwrap(), 3);
    }
}
