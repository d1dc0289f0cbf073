//! The revocation feed: how far this process has read it, and whether the last successful poll is recent enough to grant
//! access.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::Duration,
};

use tokio::sync::Notify;

use crate::values::counters::FeedPosition;

/// How far this process has read the feed, and when. What it knows is current as of the *start* of its last successful poll.
#[derive(Default)]
pub struct FeedProgress {
    position: AtomicI64,
    /// Which tables the rows come from; `0` before the first poll.
    tables: AtomicI64,
    /// The uptime at the start of the last successful poll, in milliseconds.
    current_as_of: AtomicU64,
    poll_requested: Notify,
}

/// A poll that has started.
pub struct Poll {
    started_at: Duration,
}

impl FeedProgress {
    /// Starts a poll at this [`Clock::uptime`](super::clock::Clock::uptime).
    pub fn start_poll(&self, uptime: Duration) -> Poll {
        Poll { started_at: uptime }
    }

    /// Records that every row up to `position` has been applied.
    pub fn advance(&self, position: FeedPosition) {
        self.position.fetch_max(position.into(), Ordering::SeqCst);
    }

    /// Begins again, because another generation of the data has a feed of its own.
    pub fn restart(&self) {
        self.position.store(0, Ordering::SeqCst);
        self.tables.store(0, Ordering::SeqCst);
    }

    /// Returns whether these are the tables of the first poll. If not, they were created anew meanwhile.
    pub fn comes_from(&self, tables: i64) -> bool {
        match self.tables.compare_exchange(0, tables, Ordering::SeqCst, Ordering::SeqCst) {
            Ok(_) => true,
            Err(first) => first == tables,
        }
    }

    /// Records that the poll has read and applied every row that there was.
    pub fn finish_poll(&self, poll: &Poll) {
        self.current_as_of.fetch_max(millis(poll.started_at), Ordering::SeqCst);
    }

    /// Makes the follower poll at once.
    pub fn request_poll(&self) {
        self.poll_requested.notify_one();
    }

    /// Waits until a poll is requested.
    pub async fn poll_requested(&self) {
        self.poll_requested.notified().await;
    }

    /// Returns the position of the last row that was applied.
    pub fn position(&self) -> FeedPosition {
        self.position.load(Ordering::SeqCst).into()
    }

    /// Returns the time since the start of the last successful poll.
    pub fn age(&self, uptime: Duration) -> Duration {
        uptime.saturating_sub(Duration::from_millis(self.current_as_of.load(Ordering::SeqCst)))
    }

    /// Returns whether the last successful poll is recent enough to grant access.
    pub fn is_fresh(&self, uptime: Duration, max_staleness: Duration) -> bool {
        self.age(uptime) <= max_staleness
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn d03_the_age_counts_from_the_start_of_the_last_successful_poll() {
        let feed = FeedProgress::default();
        let poll = feed.start_poll(at(100));
        feed.advance(7.into());
        feed.finish_poll(&poll);
        assert_eq!((feed.position(), feed.age(at(103))), (7.into(), at(3)));
        assert!(feed.is_fresh(at(105), at(5)) && !feed.is_fresh(at(106), at(5)));
    }
}
