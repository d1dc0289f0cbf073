//! The connections of one listener. Their number and the memory they hold are limited; where a limit is reached, the
//! least useful connections are closed, so that clients that only hold a connection keep nobody else out.

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
    listen::Limits,
    pace::{Awaited, Pace},
};
use crate::live::clock::{Clock, SystemClock};

/// The most that all connections together may hold of requests that are not complete and of responses that are not
/// read, in bytes.
const MOST_HELD: usize = 32 * 1024 * 1024;
/// Closing a connection that holds less than this frees nothing worth it.
const WORTH_FREEING: usize = 4 * 1024;
/// How long to wait for a place before looking again for a connection to close.
const REST: Duration = Duration::from_millis(100);
/// The least time between two searches for memory.
const BETWEEN_SEARCHES: Duration = Duration::from_millis(10);

/// All connections of a listener.
pub(super) struct Crowd {
    most: usize,
    pause: Duration,
    places: Arc<Semaphore>,
    members: Mutex<HashMap<usize, Arc<Pace>>>,
    held: AtomicUsize,
    searched_at: Mutex<Duration>,
    /// How often there was no place left.
    full: AtomicU64,
    /// A connection has ended.
    pub(super) ended: Notify,
}

impl Crowd {
    /// A crowd within these limits.
    pub(super) fn new(limits: Limits) -> Arc<Self> {
        let most = limits.connections;
        Arc::new(Self {
            most,
            pause: limits.timeouts.pause,
            places: Arc::new(Semaphore::new(most)),
            members: Mutex::default(),
            held: AtomicUsize::new(0),
            searched_at: Mutex::default(),
            full: AtomicU64::new(0),
            ended: Notify::new(),
        })
    }

    /// Waits for a place. If there is none, closes the least useful connections.
    pub(super) async fn place(&self) -> Option<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Some(place);
        }
        let times = self.full.fetch_add(1, Ordering::Relaxed) + 1;
        if times.is_power_of_two() {
            tracing::warn!(connections = self.most, times, "no connection is left for a new client: idle ones are closed");
        }
        loop {
            self.make_room();
            if let Ok(place) = timeout(REST, Arc::clone(&self.places).acquire_owned()).await {
                return place.ok();
            }
        }
    }

    /// Adds a connection, for as long as the returned value lives.
    pub(super) fn join(self: &Arc<Self>, place: Option<OwnedSemaphorePermit>) -> Member {
        let member = Member { pace: Arc::new(Pace::new(Arc::clone(self))), _place: place };
        self.members().insert(Arc::as_ptr(&member.pace).addr(), Arc::clone(&member.pace));
        member
    }

    /// Closes the connection whose client has been waited for the longest. A connection whose request is being answered
    /// is never closed, unless its client has long stopped reading the response.
    ///
    /// In a large crowd it closes several at once: a search looks at every connection.
    pub(super) fn make_room(&self) {
        let now = SystemClock.uptime();
        let members = self.members();
        let mut waits = Vec::with_capacity(members.len());
        for pace in members.values() {
            if let Some(awaited) = pace.awaited()
                && (awaited.0 != Awaited::Reading || self.idle_from(awaited) <= now)
            {
                waits.push((self.idle_from(awaited), pace));
            }
        }
        waits.sort_unstable_by_key(|(idle_from, _)| *idle_from);
        waits.iter().take((self.most / 128).max(1)).for_each(|(_, pace)| pace.ask_to_leave());
    }

    /// Counts bytes that a connection holds in memory. If all together hold too many, closes the connections that have
    /// held theirs for the longest.
    pub(super) fn hold(&self, bytes: usize) {
        if self.held.fetch_add(bytes, Ordering::Relaxed) + bytes > MOST_HELD {
            self.free_memory();
        }
    }

    /// The opposite of [`Self::hold`].
    pub(super) fn release(&self, bytes: usize) {
        self.held.fetch_sub(bytes, Ordering::Relaxed);
    }

    fn free_memory(&self) {
        let now = SystemClock.uptime();
        {
            let mut searched_at = self.searched_at.lock().unwrap_or_else(PoisonError::into_inner);
            if now.saturating_sub(*searched_at) < BETWEEN_SEARCHES {
                return;
            }
            *searched_at = now;
        }
        let members = self.members();
        let holding = members.values().filter(|pace| pace.held() >= WORTH_FREEING);
        let mut waits: Vec<_> = holding.filter_map(|pace| Some((self.idle_from(pace.awaited()?), pace))).collect();
        waits.sort_unstable_by_key(|(idle_from, _)| *idle_from);
        let mut surplus = self.held.load(Ordering::Relaxed).saturating_sub(MOST_HELD / 4 * 3);
        for (_, pace) in waits {
            if surplus == 0 {
                break;
            }
            surplus = surplus.saturating_sub(pace.held());
            pace.ask_to_leave();
        }
    }

    /// From when on a connection counts as idle: the earliest is closed first.
    fn idle_from(&self, (awaited, since): (Awaited, Duration)) -> Duration {
        if awaited == Awaited::NextRequest { since } else { since + self.pause }
    }

    fn members(&self) -> MutexGuard<'_, HashMap<usize, Arc<Pace>>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection in the crowd.
pub(super) struct Member {
    pub(super) pace: Arc<Pace>,
    _place: Option<OwnedSemaphorePermit>,
}

impl Drop for Member {
    fn drop(&mut self) {
        let crowd = &self.pace.crowd;
        crowd.members().remove(&Arc::as_ptr(&self.pace).addr());
        self.pace.forget_all();
        crowd.ended.notify_one();
    }
}
