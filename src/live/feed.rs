//! The feed: how far this process has followed the numbered table of revocations, and whether what it knows is fresh
//! enough to let anybody in.

use std::{
    sync::atomic::{AtomicI64, AtomicU64, Ordering},
    time::Duration,
};

use tokio::sync::Notify;

/// How far this machine's clock and the database's may be apart before the service is not ready.
pub const MOST_SKEW: Duration = Duration::from_secs(2);

/// Where this process stands. A poll begins, reads what came after [`Feed::seen`], and succeeds or does not.
///
/// What is known is current as of the *start* of the last good poll.
#[derive(Default)]
pub struct Feed {
    seen: AtomicI64,
    good_since: AtomicU64,
    skew: AtomicU64,
    news: Notify,
}

/// A poll under way.
pub struct Poll {
    began: Duration,
}

impl Feed {
    /// Begins a poll at this [`crate::live::clock::Clock::uptime`].
    pub fn begin(&self, uptime: Duration) -> Poll {
        Poll { began: uptime }
    }

    /// Everything up to the row `seen` has been applied.
    pub fn advance(&self, seen: i64) {
        self.seen.fetch_max(seen, Ordering::SeqCst);
    }

    /// The poll has read and applied everything there was.
    pub fn succeed(&self, poll: &Poll) {
        self.good_since.fetch_max(millis(poll.began), Ordering::SeqCst);
    }

    /// Has the next poll begin at once: there may be something new.
    pub fn wake(&self) {
        self.news.notify_one();
    }

    /// Waits until there may be something new.
    pub async fn woken(&self) {
        self.news.notified().await;
    }

    /// The number of the last row that was applied.
    #[must_use]
    pub fn seen(&self) -> i64 {
        self.seen.load(Ordering::SeqCst)
    }

    /// How far this machine's clock and the database's are apart, as last compared.
    #[must_use]
    pub fn skew(&self) -> Duration {
        Duration::from_millis(self.skew.load(Ordering::SeqCst))
    }

    /// Notes how far the clocks are apart.
    pub fn note_skew(&self, skew: Duration) {
        self.skew.store(millis(skew), Ordering::SeqCst);
    }

    /// How old what is known is, at this uptime.
    #[must_use]
    pub fn age(&self, uptime: Duration) -> Duration {
        uptime.saturating_sub(Duration::from_millis(self.good_since.load(Ordering::SeqCst)))
    }

    /// Whether what is known may decide who gets in.
    #[must_use]
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
    fn d03_knowledge_is_as_old_as_the_start_of_the_last_good_poll() {
        let feed = Feed::default();
        let poll = feed.begin(at(100));
        feed.advance(7);
        feed.succeed(&poll);
        assert_eq!((feed.seen(), feed.age(at(103))), (7, at(3)));
        assert!(feed.is_fresh(at(105), at(5)) && !feed.is_fresh(at(106), at(5)));
    }
}
