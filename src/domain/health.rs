//! Health: whether this process can serve requests at this moment.

use crate::{
    app::App,
    error::{Error, Result, Unready},
    live::{
        clock_trust::{ClockMismatch, MAX_SKEW},
        database::Availability,
    },
};

/// Fails with [`Error::NotReady`] and every reason unless the service can serve.
pub async fn readiness(app: &App) -> Result<()> {
    let failed: Vec<_> = checks(app).await.into_iter().filter(|(_, passed)| !passed).map(|(reason, _)| reason).collect();
    if failed.is_empty() { Ok(()) } else { Err(Error::NotReady(failed)) }
}

/// Checks everything that the service needs in order to serve. Returns each reason for which it might not be ready, and whether
/// the check passed. Takes two seconds at most while the database does not respond.
pub async fn checks(app: &App) -> [(Unready, bool); 8] {
    let database = app.db.availability().await;
    let is_fresh = app.access.feed.is_fresh(app.clock.uptime(), app.settings.revocation.max_staleness);
    let clocks_agree = app.clock_trust.skew() <= MAX_SKEW && app.clock_trust.mismatch() != Some(ClockMismatch::Database);
    [
        (Unready::Stopping, !app.stopping.is_cancelled()),
        (Unready::DatabaseUnreachable, database != Availability::Unreachable),
        (Unready::DatabaseReadOnly, database != Availability::ReadOnly),
        (Unready::HistoryLost, !app.access.generation.is_history_lost()),
        (Unready::RevocationsStale, is_fresh),
        (Unready::ClockSkew, clocks_agree),
        (Unready::ClockInDoubt, !is_clock_in_doubt(app)),
        (Unready::NoActiveKey, app.signing.keys.load().signer(app.clock.now()).is_some()),
    ]
}

/// Returns whether the clock is in doubt for another reason than a difference from the database's clock. A server that does not
/// share its database stays ready: no other server could take over.
fn is_clock_in_doubt(app: &App) -> bool {
    app.db.is_shared() && app.clock_trust.mismatch().is_some_and(|mismatch| mismatch != ClockMismatch::Database)
}
