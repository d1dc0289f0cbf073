//! The hashing pool: passwords are hashed by a few threads of their own behind a short queue. Under overload, jobs that would
//! wait too long are rejected, and other requests keep their latency.

mod lane;
mod queue;
mod turns;
mod worker;

use std::{io, sync::Arc, thread, time::Duration};

use prometheus_client::metrics::histogram::Histogram;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

pub use self::lane::Lane;
use self::{
    lane::{Verdict, Work},
    queue::Queue,
};
use crate::{
    error::{Error, Panicked, Result},
    live::log::request,
    values::network::Network,
};

tokio::task_local! {
    /// The connection of the client that waits for the result of the current task. The result of a task without one is
    /// always wanted.
    pub static CLIENT_CONNECTION: ClientConnection;
}

/// The connection of a client that waits for a hash.
#[derive(Clone)]
pub struct ClientConnection {
    /// Cancelled when the client disconnects.
    pub disconnected: CancellationToken,
    /// The client's network. When the queue is full, jobs of the network that has the most are rejected first.
    pub network: Network,
}

/// The threads and their queue. Dropping the pool lets the threads finish the queued jobs and end.
pub struct HashingPool(Arc<Queue>);

impl HashingPool {
    /// Starts `threads` threads, each of which runs up to `lanes` jobs at a time. A job is accepted if it is expected to wait
    /// for `max_wait` at most. Each job's actual wait is recorded in `waits`, in seconds.
    pub fn start(threads: usize, lanes: usize, max_wait: Duration, waits: Histogram) -> io::Result<Self> {
        let queue = Arc::new(Queue::new(threads * lanes, max_wait, waits));
        for number in 0..threads {
            let queue = Arc::clone(&queue);
            thread::Builder::new().name(format!("hasher-{number}")).spawn(move || worker::run(&queue, lanes))?;
        }
        Ok(Self(queue))
    }

    /// Fails with [`Error::Overloaded`] if a job that came now would wait too long. Called before any other work for the job.
    pub fn check_capacity(&self) -> Result<()> {
        let network = CLIENT_CONNECTION.try_with(|connection| connection.network).ok();
        self.0.check_capacity(network)
    }

    /// Runs `work` on one of the threads, in a lane. `work` awaits nothing but the hashes that it computes there. If the client
    /// disconnects while the job is queued, the job is removed. A job that has started is finished, because its result counts.
    ///
    /// # Errors
    /// [`Error::Overloaded`] when the job would wait or has waited too long, [`Error::ClientDisconnected`]. In both cases
    /// `work` did not run.
    pub async fn run<T, F>(&self, work: impl FnOnce(Lane) -> F + Send + 'static) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send,
    {
        let (sender, mut result) = oneshot::channel();
        let (overloaded, request) = (self.0.overloaded(), request::current());
        let connection = CLIENT_CONNECTION.try_with(ClientConnection::clone).ok();
        let network = connection.as_ref().map(|connection| connection.network);
        let disconnected = connection.map(|connection| connection.disconnected).unwrap_or_default();
        let client_has_left = disconnected.clone();
        let work: Work = Box::new(move |verdict| {
            let rejection = match verdict {
                _ if sender.is_closed() => return None,
                // The thread can take the job before the select below has removed it.
                _ if client_has_left.is_cancelled() => Error::ClientDisconnected,
                Verdict::Run(lane) => {
                    return Some(Box::pin(request::scope(request, async move { _ = sender.send(Ok(work(lane).await)) })));
                }
                Verdict::Reject => overloaded,
            };
            _ = sender.send(Err(rejection));
            None
        });
        let job = QueuedJob { queue: &self.0, number: self.0.push(network, work)? };
        let result = tokio::select! {
            biased;
            result = &mut result => result,
            () = disconnected.cancelled() => {
                if job.remove() {
                    return Err(Error::ClientDisconnected);
                }
                result.await
            }
        };
        result.map_err(|_| Error::internal(Panicked))?
    }

    /// Returns the number of jobs that wait for a thread.
    pub fn queued(&self) -> usize {
        self.0.len()
    }
}

impl Drop for HashingPool {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// A job that may still be queued. Dropping this removes it.
struct QueuedJob<'a> {
    queue: &'a Queue,
    number: u64,
}

impl QueuedJob<'_> {
    /// Removes the job from the queue. Returns `false` if a thread has started it.
    fn remove(&self) -> bool {
        self.queue.remove(self.number)
    }
}

impl Drop for QueuedJob<'_> {
    fn drop(&mut self) {
        self.remove();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, mpsc};

    use prometheus_client::metrics::histogram::exponential_buckets;
    use tokio::time::sleep;

    use super::*;

    const MAX_WAIT: Duration = Duration::from_millis(300);

    #[tokio::test]
    async fn a_job_that_waited_far_too_long_is_rejected_while_others_wait() {
        let pool = Arc::new(HashingPool::start(1, 1, MAX_WAIT, Histogram::new(exponential_buckets(1.0, 2.0, 1))).unwrap());
        let (release, released) = mpsc::channel::<()>();
        let run = |work: Box<dyn FnOnce() -> u8 + Send>| {
            let pool = Arc::clone(&pool);
            tokio::spawn(async move { pool.run(|_| async { work() }).await })
        };
        let queued = async |count| {
            while pool.queued() != count {
                sleep(Duration::from_millis(1)).await;
            }
        };
        let held = run(Box::new(move || {
            _ = released.recv();
            1
        }));
        while pool.0.running() == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        let late = run(Box::new(|| 2));
        queued(1).await;
        assert!(matches!(pool.check_capacity(), Err(Error::Overloaded { retry_after: MAX_WAIT })), "two hashes are 400 ms");
        sleep(MAX_WAIT * 2).await;
        pool.0.set_average(Duration::ZERO);
        let next = run(Box::new(|| 3));
        queued(2).await;
        release.send(()).unwrap();
        assert_eq!(held.await.unwrap().unwrap(), 1);
        assert!(matches!(late.await.unwrap(), Err(Error::Overloaded { .. })));
        assert_eq!(next.await.unwrap().unwrap(), 3);
    }

    #[tokio::test]
    async fn jobs_of_one_thread_advance_in_step_and_do_not_disturb_each_other() {
        let pool = HashingPool::start(1, 3, MAX_WAIT, Histogram::new(exponential_buckets(1.0, 2.0, 1))).unwrap();
        let order = Mutex::new(Vec::new());
        let hash = async |name: &'static str, password: &'static [u8], cost| {
            let hash = pool.run(move |lane| async move { lane.bcrypt(password, [7; 16], cost).await }).await.unwrap();
            let key: Vec<u8> = password.iter().copied().chain([0]).collect();
            assert_eq!(hash, bcrypt::bcrypt(cost, [7; 16], &key)[..23], "{name}");
            order.lock().unwrap().push(name);
        };
        let panicking = async {
            let work = |lane: Lane| async move {
                lane.bcrypt(b"password", [7; 16], 4).await;
                panic!("after the first hash");
            };
            assert!(matches!(pool.run::<(), _>(work).await, Err(Error::Internal(_))));
        };
        // The long one is queued first, so that a thread that took one job at a time would finish it first.
        tokio::join!(hash("long", b"one", 9), panicking, hash("short", b"another", 4));
        assert_eq!(order.into_inner().unwrap(), ["short", "long"]);
    }
}
