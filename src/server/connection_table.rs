//! The connections of one listener. Their number and the memory that they use are limited. At a limit, the server closes
//! (evicts) the least useful connections, so that a client that only keeps connections open does not block the others.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::{
    limits::Limits,
    progress::{ClientStep, Progress, Wait},
};
use crate::live::clock::{Clock, SystemClock};

/// The highest number of bytes that all connections together may buffer: requests that are not complete, and responses
/// that their clients have not read.
const MAX_BUFFERED: usize = 32 * 1024 * 1024;
/// A connection that buffers fewer bytes is not evicted to free memory.
const MIN_FREED: usize = 4 * 1024;
/// How long to wait for a free slot before evicting again.
const EVICT_AGAIN: Duration = Duration::from_millis(100);
/// The shortest time between two evictions to free memory: each looks at every connection.
const BETWEEN_EVICTIONS: Duration = Duration::from_millis(10);

/// The connections of a listener.
pub(super) struct ConnectionTable {
    capacity: usize,
    pause: Duration,
    slots: Arc<Semaphore>,
    entries: Mutex<HashMap<usize, Arc<Connection>>>,
    buffered: AtomicUsize,
    freed_memory_at: Mutex<Duration>,
    /// How often a new connection found no free slot.
    times_full: AtomicU64,
    /// Notified when a connection has ended.
    pub(super) ended: Notify,
}

impl ConnectionTable {
    /// Returns an empty table.
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        let capacity = limits.connections;
        Arc::new(Self {
            capacity,
            pause: limits.timeouts.pause,
            slots: Arc::new(Semaphore::new(capacity)),
            entries: Mutex::default(),
            buffered: AtomicUsize::new(0),
            freed_memory_at: Mutex::default(),
            times_full: AtomicU64::new(0),
            ended: Notify::new(),
        })
    }

    /// Waits for a free slot. While there is none, evicts the least useful connections.
    pub(super) async fn slot(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return Some(slot);
        }
        let times = self.times_full.fetch_add(1, Ordering::Relaxed) + 1;
        if times.is_power_of_two() {
            tracing::warn!(connections = self.capacity, times, "the connection limit is reached; idle connections are closed");
        }
        loop {
            self.evict_idle();
            if let Ok(slot) = timeout(EVICT_AGAIN, Arc::clone(&self.slots).acquire_owned()).await {
                return slot.ok();
            }
        }
    }

    /// Adds a connection to the table until the returned value is dropped.
    pub(super) fn add(self: &Arc<Self>, slot: Option<OwnedSemaphorePermit>) -> Entry {
        let connection = Arc::new(Connection { progress: Progress::new(), table: Arc::clone(self) });
        self.entries().insert(Arc::as_ptr(&connection).addr(), Arc::clone(&connection));
        Entry { connection, _slot: slot }
    }

    /// Evicts the connection whose client the server has waited for longest. Never evicts a connection with a request in
    /// flight, unless its client stopped reading the response a while ago.
    ///
    /// A large table evicts several connections at once, because each search looks at every connection.
    pub(super) fn evict_idle(&self) {
        let now = SystemClock.uptime();
        let entries = self.entries();
        let mut candidates = Vec::with_capacity(entries.len());
        for connection in entries.values() {
            if let Some(wait) = connection.progress.wait()
                && (wait.step != ClientStep::ReadResponse || self.idle_since(wait) <= now)
            {
                candidates.push((self.idle_since(wait), connection));
            }
        }
        candidates.sort_unstable_by_key(|(idle_since, _)| *idle_since);
        candidates.iter().take((self.capacity / 128).max(1)).for_each(|(_, connection)| connection.progress.evict());
    }

    /// Adds to the bytes that all connections buffer. Above the limit, evicts the connections that have been idle longest.
    fn add_buffered(&self, bytes: usize) {
        if self.buffered.fetch_add(bytes, Ordering::Relaxed) + bytes > MAX_BUFFERED {
            self.evict_to_free_memory();
        }
    }

    fn subtract_buffered(&self, bytes: usize) {
        self.buffered.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn evict_to_free_memory(&self) {
        let now = SystemClock.uptime();
        {
            let mut freed_memory_at = self.freed_memory_at.lock().unwrap_or_else(PoisonError::into_inner);
            if now.saturating_sub(*freed_memory_at) < BETWEEN_EVICTIONS {
                return;
            }
            *freed_memory_at = now;
        }
        let entries = self.entries();
        let large = entries.values().map(|connection| &connection.progress).filter(|progress| progress.buffered() >= MIN_FREED);
        let mut candidates: Vec<_> = large.filter_map(|progress| Some((self.idle_since(progress.wait()?), progress))).collect();
        candidates.sort_unstable_by_key(|(idle_since, _)| *idle_since);
        let mut surplus = self.buffered.load(Ordering::Relaxed).saturating_sub(MAX_BUFFERED / 4 * 3);
        for (_, progress) in candidates {
            if surplus == 0 {
                break;
            }
            surplus = surplus.saturating_sub(progress.buffered());
            progress.evict();
        }
    }

    /// The time since which a connection counts as idle. The connection with the earliest time is evicted first.
    fn idle_since(&self, wait: Wait) -> Duration {
        if wait.step == ClientStep::NextRequest { wait.since } else { wait.since + self.pause }
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<usize, Arc<Connection>>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's place in the table. The connection leaves the table when this is dropped.
pub(super) struct Entry {
    pub(super) connection: Arc<Connection>,
    _slot: Option<OwnedSemaphorePermit>,
}

impl Drop for Entry {
    fn drop(&mut self) {
        let table = &self.connection.table;
        table.entries().remove(&Arc::as_ptr(&self.connection).addr());
        self.connection.forget_received();
        self.connection.forget_unsent();
        table.ended.notify_one();
    }
}

/// A connection, as its stream and its requests share it: its progress, and the memory that it uses in the table's count.
pub(super) struct Connection {
    pub(super) progress: Progress,
    table: Arc<ConnectionTable>,
}

impl Connection {
    /// Counts bytes of a request that is not complete.
    pub(super) fn count_received(&self, bytes: usize) {
        self.progress.add_received(bytes);
        self.table.add_buffered(bytes);
    }

    /// Notes that the request is complete, or that the service does not read the rest of it.
    pub(super) fn forget_received(&self) {
        self.table.subtract_buffered(self.progress.take_received());
    }

    /// Counts bytes of a response that is about to be sent.
    pub(super) fn count_unsent(&self, bytes: usize) {
        self.progress.add_unsent(bytes);
        self.table.add_buffered(bytes);
    }

    /// Notes that the client has accepted everything that was written.
    pub(super) fn forget_unsent(&self) {
        self.table.subtract_buffered(self.progress.take_unsent());
    }
}
