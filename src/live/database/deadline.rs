//! The deadline of a request: all its waits for the database share one limit, so that its client learns in time that the
//! database is unavailable. Time spent on anything else, such as hashing a password, does not count.

use std::{
    future::Future,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use tokio::time::Instant;

use super::TIMEOUT;

tokio::task_local! {
    /// How long the current request has waited for the database, in microseconds. Work without a client has no such count.
    static WAITED: AtomicU64;
}

/// Returns the current time of the runtime's timers.
#[expect(clippy::disallowed_methods, reason = "time-outs follow this machine's monotonic clock, not the product's clock")]
pub(super) fn now() -> Instant {
    Instant::now()
}

/// Runs a request. All its waits for the database together have the limit that a single wait has elsewhere.
pub fn share_one_deadline<T>(request: impl Future<Output = T>) -> impl Future<Output = T> {
    // Not an `async fn`: that would store the large future twice.
    WAITED.scope(AtomicU64::new(0), request)
}

/// Returns `deadline`, or the deadline of the current request if that is earlier.
pub(super) fn at_most(deadline: Instant) -> Instant {
    WAITED
        .try_with(|waited| deadline.min(now() + TIMEOUT.saturating_sub(Duration::from_micros(waited.load(Ordering::Relaxed)))))
        .unwrap_or(deadline)
}

/// Awaits `wait`, and counts the time that it takes towards the limit of the current request.
pub(super) async fn count<T>(wait: impl Future<Output = T>) -> T {
    let began = now();
    let output = wait.await;
    let micros = u64::try_from(now().saturating_duration_since(began).as_micros()).unwrap_or(u64::MAX);
    _ = WAITED.try_with(|waited| waited.fetch_add(micros, Ordering::Relaxed));
    output
}
