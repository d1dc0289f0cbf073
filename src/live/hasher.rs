//! Password hashing, away from the async threads: a few threads of its own that yield to everybody else, behind a queue
//! that is as long as can be served in time, so that a storm of log-ins is shed and slows nobody down.

use std::{
    collections::{HashMap, VecDeque},
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

use super::clock::{Clock, SystemClock};
use crate::{
    error::{Error, Panicked, Result},
    values::network::Network,
};

/// How long a job is taken to last before one was measured: a hash of the default cost.
const FIRST_GUESS: Duration = Duration::from_millis(200);
/// The least that a job is taken to last. It bounds the queue where hashes cost next to nothing.
const LEAST: Duration = Duration::from_millis(1);
/// The last of a moving average's jobs counts for one in so many.
const MEMORY: u32 = 8;
/// A hash occupies a processor for a fifth of a second, so it yields to requests that only verify a token. At the lowest
/// priority, 19, it would also starve beside any other busy program: at 5 it gets a third of such a program's share.
#[cfg(target_os = "linux")]
const NICE: i32 = 5;

tokio::task_local! {
    /// The client that waits for what the present task does. A task without one is always waited for.
    pub static CLIENT: Client;
}

/// The client that a password is hashed for.
#[derive(Clone)]
pub struct Client {
    /// Cancelled when the client has hung up.
    pub gone: CancellationToken,
    /// Where it is. When the queue is full, the network with the most jobs in it gives way to the others.
    pub network: Network,
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
    /// The number of the next job.
    next: u64,
    running: usize,
    average: Duration,
    closed: bool,
}

struct Job {
    number: u64,
    /// `None` for a job that gives way to no other.
    network: Option<Network>,
    /// When it came. The time of the machine: threads work while a test's clock stands still.
    came: Duration,
    work: Box<dyn FnOnce(Turn) + Send>,
}

/// What becomes of a job.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turn {
    InTime,
    /// It is not done: its turn came too late, or it gave way.
    TooLate,
}

impl Hasher {
    /// Starts `threads` threads; a job is taken when it will wait for one of them no longer than `max_wait`. How long each
    /// did is noted in `waits`, in seconds.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start(threads: usize, max_wait: Duration, waits: Histogram) -> io::Result<Self> {
        let state = State { queue: VecDeque::new(), next: 0, running: 0, average: FIRST_GUESS, closed: false };
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

    /// Fails unless a job that came now would be done in time. Called before anything else is done for it.
    ///
    /// # Errors
    /// [`Error::Overloaded`].
    pub fn has_room(&self) -> Result<()> {
        let network = CLIENT.try_with(|client| client.network).ok();
        self.0.room_in(&self.0.state(), network).map(|_| ())
    }

    /// Does `work` on one of the threads. Work that has begun is waited for, even if its caller has gone meanwhile: what
    /// comes of it counts. Work that waits for a thread when its caller goes is taken out of the queue. Work whose turn
    /// comes far too late while other work waits is skipped.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when it cannot be done in time, [`Error::ClientDisconnected`]: nothing was done.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let (answer, mut answered) = oneshot::channel();
        let (overloaded, span) = (self.0.overloaded(), Span::current());
        let work = move |turn| {
            let _inside = span.entered();
            if !answer.is_closed() {
                _ = answer.send(if turn == Turn::InTime { Ok(work()) } else { Err(overloaded) });
            }
        };
        let client = CLIENT.try_with(Client::clone).ok();
        let network = client.as_ref().map(|client| client.network);
        let job = Queued { shared: &self.0, number: self.0.push(network, Box::new(work))? };
        let gone = client.map(|client| client.gone).unwrap_or_default();
        let answer = tokio::select! {
            biased;
            answer = &mut answered => answer,
            () = gone.cancelled() => {
                if job.leave() {
                    return Err(Error::ClientDisconnected);
                }
                answered.await
            }
        };
        answer.map_err(|_| Error::internal(Panicked))?
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

    /// Refuses a job whose turn would come too late, judging by the average of the last jobs. Where only a job of another
    /// network that has more of them stands in its way, returns the position of that job.
    fn room_in(&self, state: &State, network: Option<Network>) -> Result<Option<usize>> {
        let ahead = (state.queue.len() + state.running + 1).saturating_sub(self.threads);
        let count = |it: usize| u32::try_from(it).unwrap_or(u32::MAX);
        let wait = state.average.max(LEAST).saturating_mul(count(ahead)) / count(self.threads);
        if wait <= self.max_wait {
            return Ok(None);
        }
        let mut jobs = HashMap::<Network, usize>::new();
        state.queue.iter().filter_map(|job| job.network).for_each(|network| *jobs.entry(network).or_default() += 1);
        let own = network.and_then(|network| jobs.get(&network)).copied().unwrap_or_default();
        // With one job more, the newcomer must still have fewer than the network that gives way.
        let largest = jobs.into_iter().max_by_key(|(_, count)| *count).filter(|(_, count)| *count > own + 1);
        let position = largest.and_then(|(largest, _)| state.queue.iter().rposition(|job| job.network == Some(largest)));
        position.map(Some).ok_or_else(|| self.overloaded())
    }

    /// Returns the number of the job.
    fn push(&self, network: Option<Network>, work: Box<dyn FnOnce(Turn) + Send>) -> Result<u64> {
        let mut state = self.state();
        let given_way = self.room_in(&state, network)?.and_then(|position| state.queue.remove(position));
        let number = state.next;
        state.next += 1;
        state.queue.push_back(Job { number, network, came: SystemClock.uptime(), work });
        self.changed.notify_one();
        drop(state);
        if let Some(job) = given_way {
            (job.work)(Turn::TooLate);
        }
        Ok(number)
    }

    /// What each thread does until the end.
    fn work(&self) {
        let mut state = self.state();
        loop {
            let Some(Job { came, work, .. }) = state.queue.pop_front() else {
                if state.closed {
                    return;
                }
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let began = SystemClock.uptime();
            // A job that is far too late is skipped for the sake of those behind it. A little too late it is done: its
            // caller has waited for it.
            let waited = began.saturating_sub(came);
            let turn = if waited <= self.max_wait * 3 / 2 || state.queue.is_empty() { Turn::InTime } else { Turn::TooLate };
            state.running += 1;
            drop(state);
            self.waits.observe(waited.as_secs_f64());
            // A job that panics drops its answer, which its caller sees; the thread goes on.
            _ = catch_unwind(AssertUnwindSafe(|| work(turn)));
            let took = SystemClock.uptime().saturating_sub(began);
            state = self.state();
            state.running -= 1;
            if turn == Turn::InTime {
                state.average = (state.average * (MEMORY - 1) + took) / MEMORY;
            }
        }
    }
}

/// A job that may still wait in the queue. Dropping this takes it out.
struct Queued<'a> {
    shared: &'a Shared,
    number: u64,
}

impl Queued<'_> {
    /// Takes the job out of the queue; `false` if a thread has begun it.
    fn leave(&self) -> bool {
        let mut state = self.shared.state();
        let position = state.queue.iter().position(|job| job.number == self.number);
        let job = position.and_then(|position| state.queue.remove(position));
        drop(state);
        job.is_some()
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.leave();
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
