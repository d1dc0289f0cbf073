//! How long one request waits for the database: all its statements together, so that its client is told in time that the
//! database is away. Time spent on anything else, such as a password's hash, does not count.

use std::{
    future::Future,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::{LIMIT, lease::now};

tokio::task_local! {
    /// How long this request has waited for the database, in microseconds. Work without a client has no such count.
    static WAITED: AtomicU64;
}

/// Runs a request. Its waits for the database, taken together, have the limit that each has elsewhere.
pub async fn share_one_deadline<T>(request: impl Future<Output = T>) -> T {
    WAITED.scope(AtomicU64::new(0), request).await
}

/// `until`, or the moment at which this request has waited long enough.
pub(super) fn at_most(until: Instant) -> Instant {
    WAITED
        .try_with(|waited| until.min(now() + LIMIT.saturating_sub(Duration::from_micros(waited.load(Ordering::Relaxed)))))
        .unwrap_or(until)
}

/// Counts the time that `wait` takes.
pub(super) async fn count<T>(wait: impl Future<Output = T>) -> T {
    let began = now();
    let done = wait.await;
    let micros = u64::try_from(now().saturating_duration_since(began).as_micros()).unwrap_or(u64::MAX);
    _ = WAITED.try_with(|waited| waited.fetch_add(micros, Ordering::Relaxed));
    done
}
