//! What runs by itself: follow the feed of revocations, write refusals down, turn keys over, make room.

use std::time::Duration;

use chrono::TimeDelta;
use tokio::{
    task::JoinSet,
    time::{MissedTickBehavior, interval, sleep, timeout},
};

use crate::{
    app::App,
    domain::{audit, clocks, revocations, sessions, signing_keys, throttle},
    error::{Result, with_causes},
    live::clock_trust::MAX_SKEW,
};

/// How often the feed is read, whether or not something woke us.
const POLL: Duration = Duration::from_millis(250);
/// How long a poll may take before it is given up.
const GIVE_UP: Duration = Duration::from_secs(2);
/// How often the clocks are compared.
const CLOCKS: Duration = Duration::from_secs(5);
/// How often refusals are written down.
const REFUSALS: Duration = Duration::from_secs(5);
/// How often the clock is judged, and room is made.
const PURGE: Duration = Duration::from_mins(10);
/// How often it is asked whether a new signing key is due. When one signs, the clock decides.
const KEYS: Duration = Duration::from_mins(5);

/// Starts everything. It runs until [`stop`], or until what this gives is dropped.
#[must_use = "the jobs stop when this is dropped"]
pub fn start(app: &App) -> JoinSet<()> {
    let mut jobs = JoinSet::new();
    if app.db.is_shared() {
        jobs.spawn(listen(app.clone()));
    }
    jobs.spawn(follow(app.clone()));
    jobs.spawn(compare_clocks(app.clone()));
    jobs.spawn(write_refusals(app.clone()));
    jobs.spawn(turn_keys_over(app.clone()));
    jobs.spawn(purge(app.clone()));
    jobs
}

/// Stops everything, and writes down what would be lost.
pub async fn stop(mut jobs: JoinSet<()>, app: &App) {
    jobs.shutdown().await;
    report("write refusals down", audit::write_denials(app, app.clock.now() + TimeDelta::minutes(1)).await);
}

/// Follows the feed for ever. A poll that hangs is given up, and the next one tried: until one succeeds, what is known
/// grows old, and guards refuse once it is older than `revocation.max_staleness`.
async fn follow(app: App) {
    let mut complained = false;
    loop {
        let poll = timeout(GIVE_UP, revocations::follow(&app)).await;
        let failure = match poll {
            Ok(Ok(())) => None,
            Ok(Err(err)) => Some(with_causes(&err)),
            Err(_) => Some("no answer within 2 s".to_owned()),
        };
        match (&failure, complained) {
            (Some(why), false) => tracing::warn!(why, "cannot follow revocations"),
            (None, true) => tracing::info!("following revocations again"),
            _ => {}
        }
        complained = failure.is_some();
        _ = timeout(POLL, app.access.feed.poll_requested()).await;
    }
}

/// Wakes the follower as soon as another replica commits a revocation (PostgreSQL). Polling heals what this misses.
async fn listen(app: App) {
    loop {
        let follower = app.clone();
        app.db.listen(revocations::CHANNEL, move || follower.access.feed.request_poll()).await;
        sleep(Duration::from_secs(1)).await;
    }
}

async fn compare_clocks(app: App) {
    let mut ticks = interval(CLOCKS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        // Where the database does not answer, the follower says so.
        _ = timeout(GIVE_UP, clocks::compare(&app)).await;
        if app.clock_trust.skew() > MAX_SKEW {
            tracing::warn!(skew_ms = %app.clock_trust.skew().as_millis(), "this machine's clock and the database's differ");
        }
    }
}

async fn write_refusals(app: App) {
    let mut ticks = interval(REFUSALS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        report("write refusals down", audit::write_denials(&app, app.clock.now()).await);
    }
}

async fn turn_keys_over(app: App) {
    let mut ticks = interval(KEYS);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        report("turn signing keys over", signing_keys::maintain(&app).await);
    }
}

async fn purge(app: App) {
    let mut ticks = interval(PURGE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        make_room(&app).await;
    }
}

/// Judges the clock, and deletes what means nothing any more unless the clock is in doubt.
pub async fn make_room(app: &App) {
    app.throttle.rate_limits.sweep(app.clock.read().monotonic());
    let trusted = match clocks::check(app).await {
        Ok(Some(trusted)) => trusted,
        Ok(None) => return,
        Err(err) => return report("check the clock", Err(err)),
    };
    report("purge revocations", revocations::purge(app, trusted).await);
    report("purge sessions", sessions::purge(app, trusted).await);
    report("purge the throttle", throttle::purge(app, trusted).await);
    report("purge audit events", audit::purge(app, trusted).await);
}

fn report(what: &str, result: Result<()>) {
    if let Err(err) = result {
        tracing::warn!(cause = with_causes(&err), "cannot {what}");
    }
}
