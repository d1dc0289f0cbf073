//! The background jobs of a server: follow the revocation feed, compare clocks, write denials to the audit trail, maintain
//! the signing keys, purge old data, and erase people who have left.

use std::time::Duration;

use chrono::TimeDelta;
use tokio::{
    select,
    task::JoinSet,
    time::{Interval, MissedTickBehavior, interval, sleep, timeout},
};

use crate::{
    app::App,
    domain::{
        audit, clocks, erasure, factors, invitations,
        mail::{self, outbox, sending},
        revocations, sessions, signing_keys, throttle,
    },
    error::{Result, with_causes},
    live::clock_trust::MAX_SKEW,
};

/// The longest time between two polls of the feed.
const POLL_INTERVAL: Duration = Duration::from_millis(250);
/// How long a poll may take.
const POLL_TIMEOUT: Duration = Duration::from_secs(2);
/// The time before listening for notifications again after an error.
const LISTEN_AGAIN: Duration = Duration::from_secs(1);
/// The time between two comparisons of the clocks.
const CLOCKS_INTERVAL: Duration = Duration::from_secs(5);
/// The time between two writes of denials to the audit trail.
const DENIALS_INTERVAL: Duration = Duration::from_secs(5);
/// The time between two purges.
const PURGE_INTERVAL: Duration = Duration::from_mins(10);
/// The time between two checks of whether a new signing key is due.
const KEYS_INTERVAL: Duration = Duration::from_mins(5);

/// The longest time between two looks for mails to send.
const MAILS_INTERVAL: Duration = Duration::from_secs(1);
/// How long the mails that are being sent delay the end of the process. A mail that takes longer is sent again.
const MAILS_TIMEOUT: Duration = Duration::from_secs(3);
/// The time between two counts of the mails that wait.
const MAILS_COUNT_INTERVAL: Duration = Duration::from_secs(15);

/// Starts all jobs. They run until [`stop`].
#[must_use = "dropping the set ends the jobs"]
pub fn start(app: &App) -> JoinSet<()> {
    let mut jobs = JoinSet::new();
    if app.db.is_shared() {
        jobs.spawn(listen_for_revocations(app.clone()));
        jobs.spawn(listen_for_mails(app.clone()));
    }
    jobs.spawn(follow_revocations(app.clone()));
    jobs.spawn(compare_clocks(app.clone()));
    jobs.spawn(write_denials(app.clone()));
    jobs.spawn(maintain_signing_keys(app.clone()));
    jobs.spawn(purge_regularly(app.clone()));
    jobs.spawn(send_mails(app.clone()));
    jobs.spawn(count_mails(app.clone()));
    jobs
}

/// Stops all jobs, and writes the remaining denials to the audit trail.
pub async fn stop(mut jobs: JoinSet<()>, app: &App) {
    _ = timeout(MAILS_TIMEOUT, sending::idle(app)).await;
    jobs.shutdown().await;
    log_failure("write denials", audit::write_denials(app, app.clock.now() + TimeDelta::minutes(1)).await);
}

/// Polls the revocation feed. Cancels a poll that takes too long and starts the next one. Until a poll succeeds, the data
/// in memory grows older, and guards return 503 once it is older than `revocation.max_staleness`.
async fn follow_revocations(app: App) {
    let mut is_failing = false;
    loop {
        let failure = match timeout(POLL_TIMEOUT, revocations::follow(&app)).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(with_causes(&error)),
            Err(_) => Some("no response within 2 s".to_owned()),
        };
        match (&failure, is_failing) {
            (Some(cause), false) => tracing::warn!(cause, "cannot follow revocations"),
            (None, true) => tracing::info!("following revocations again"),
            _ => {}
        }
        is_failing = failure.is_some();
        _ = timeout(POLL_INTERVAL, app.access.feed.poll_requested()).await;
    }
}

/// Requests a poll as soon as another replica commits a revocation (PostgreSQL). A missed notification is harmless, because
/// the feed is also polled regularly.
async fn listen_for_revocations(app: App) {
    loop {
        let listener = app.clone();
        app.db.listen(revocations::CHANNEL, move || listener.access.feed.request_poll()).await;
        sleep(LISTEN_AGAIN).await;
    }
}

/// Sends the mails that are due, until the process is about to stop.
async fn send_mails(app: App) {
    let (mut sending, mut is_failing) = (JoinSet::new(), false);
    loop {
        if !app.stopping.is_cancelled() {
            let failure = match sending::lease(&app).await {
                Ok(mails) => {
                    for mail in mails {
                        let app = app.clone();
                        sending.spawn(async move { sending::deliver(&app, mail).await });
                    }
                    None
                }
                Err(error) => Some(with_causes(&error)),
            };
            match (&failure, is_failing) {
                (Some(cause), false) => tracing::warn!(cause, "cannot look for mails to send"),
                (None, true) => tracing::info!("looking for mails to send again"),
                _ => {}
            }
            is_failing = failure.is_some();
        }
        select! {
            () = sending::woken(&app) => {}
            () = sleep(MAILS_INTERVAL) => {}
            // A place is free again.
            Some(_) = sending.join_next() => {}
        }
    }
}

/// Wakes the sender as soon as another replica commits a mail (PostgreSQL).
async fn listen_for_mails(app: App) {
    loop {
        let listener = app.clone();
        app.db.listen(outbox::CHANNEL, move || sending::wake(&listener)).await;
        sleep(LISTEN_AGAIN).await;
    }
}

async fn count_mails(app: App) {
    let mut ticks = ticks(MAILS_COUNT_INTERVAL);
    loop {
        ticks.tick().await;
        // Failures are not logged here: if the database does not respond, the feed's job logs it.
        _ = timeout(POLL_TIMEOUT, sending::count_waiting(&app)).await;
    }
}

async fn compare_clocks(app: App) {
    let mut ticks = ticks(CLOCKS_INTERVAL);
    loop {
        ticks.tick().await;
        // Failures are not logged here: if the database does not respond, the feed's job logs it.
        _ = timeout(POLL_TIMEOUT, clocks::compare(&app)).await;
        let skew = app.clock_trust.skew();
        if skew > MAX_SKEW {
            tracing::warn!(skew_ms = %skew.as_millis(), "this machine's clock and the database's clock differ");
        }
    }
}

async fn write_denials(app: App) {
    let mut ticks = ticks(DENIALS_INTERVAL);
    loop {
        ticks.tick().await;
        log_failure("write denials", audit::write_denials(&app, app.clock.now()).await);
    }
}

async fn maintain_signing_keys(app: App) {
    let mut ticks = ticks(KEYS_INTERVAL);
    loop {
        ticks.tick().await;
        log_failure("maintain the signing keys", signing_keys::maintain(&app).await);
    }
}

async fn purge_regularly(app: App) {
    let mut ticks = ticks(PURGE_INTERVAL);
    loop {
        ticks.tick().await;
        purge(&app).await;
    }
}

/// Checks the clock. If it is trusted, deletes the data that is no longer needed, and erases people whose time has come.
pub async fn purge(app: &App) {
    app.throttle.rate_limits.sweep(app.clock.read().monotonic());
    let trusted = match clocks::check(app).await {
        Ok(Some(trusted)) => trusted,
        Ok(None) => return,
        Err(error) => return log_failure("check the clock", Err(error)),
    };
    log_failure("purge revocations", revocations::purge(app, trusted).await);
    log_failure("purge sessions", sessions::purge(app, trusted).await);
    log_failure("purge the throttle", throttle::purge(app, trusted).await);
    log_failure("purge second factors", factors::purge(app, trusted).await);
    log_failure("purge invitations", invitations::purge(app, trusted).await);
    log_failure("purge mails", mail::purge(app, trusted).await);
    log_failure("purge audit events", audit::purge(app, trusted).await);
    log_failure("erase people", erasure::erase_due(app, trusted).await);
}

/// Returns the ticks of a job. A job that takes longer than its interval skips ticks.
fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn log_failure(action: &str, result: Result<()>) {
    if let Err(error) = result {
        tracing::warn!(cause = with_causes(&error), "cannot {action}");
    }
}
