//! Password hashing, away from the async threads: a few threads of its own behind a short queue, so that a storm
//! of log-ins is shed instead of slowing down everybody else.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use tokio::sync::oneshot;

use crate::error::{Error, Result};

/// Jobs that may wait for each thread. At the default cost a job takes some 200 ms: a wait of about 2 s.
const QUEUE_PER_THREAD: usize = 8;

type Job = Box<dyn FnOnce() + Send>;

/// The threads and their queue. Dropping it lets the threads finish what is queued and end.
pub struct Hasher {
    queue: mpsc::SyncSender<Job>,
    waiting: Arc<AtomicUsize>,
}

impl Hasher {
    /// Starts `threads` threads.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub fn start(threads: usize) -> std::io::Result<Self> {
        let (queue, jobs) = mpsc::sync_channel::<Job>(threads * QUEUE_PER_THREAD);
        let jobs = Arc::new(Mutex::new(jobs));
        for number in 0..threads {
            let jobs = Arc::clone(&jobs);
            thread::Builder::new().name(format!("hasher-{number}")).spawn(move || {
                loop {
                    let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok(job) = job else { break };
                    // A job that panics drops its answer, which its caller sees; the thread goes on.
                    _ = catch_unwind(AssertUnwindSafe(job));
                }
            })?;
        }
        Ok(Self { queue, waiting: Arc::default() })
    }

    /// Does `work` on one of the threads. Work whose caller has gone meanwhile is skipped.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when the queue is full: nothing was done.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let (answer, answered) = oneshot::channel();
        let waiting = Arc::clone(&self.waiting);
        let job = move || {
            waiting.fetch_sub(1, Ordering::Relaxed);
            if !answer.is_closed() {
                _ = answer.send(work());
            }
        };
        // Counted before it is queued: a thread may take it at once.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        self.queue.try_send(Box::new(job)).map_err(|_| {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            Error::Overloaded { retry_after: Duration::from_secs(2) }
        })?;
        answered.await.map_err(|_| Error::internal(anyhow::anyhow!("a hashing job panicked")))
    }

    /// How many jobs wait for a thread.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}
