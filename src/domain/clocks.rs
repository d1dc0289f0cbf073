//! Clocks: whether this machine's clock may decide what is deleted. Everything that deletes by time asks here first.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DbBackend, DbErr, Statement};

use super::{
    audit::{self, Event, Kind},
    authority::By,
};
use crate::{
    app::App,
    entity::installation,
    error::{Error, Result},
    live::clock_trust::{ClockMismatch, MAX_SKEW, TrustedReading},
};

/// Judges this machine's clock and records the newest time seen. `None` while the clock is in doubt: then nothing may be
/// deleted. The log says when a doubt begins and when it ends.
///
/// # Errors
/// When the database fails; then nothing may be deleted either.
pub async fn check(app: &App) -> Result<Option<TrustedReading>> {
    let before = app.clock_trust.mismatch();
    let tx = app.db.write().await?;
    let mut row = installation::Entity::locked(&tx).await?;
    let ahead = ahead_of_database(app, &tx).await?;
    let seen = row.clone();
    let judged = app.clock_trust.check(app.clock.read(), ahead, &mut row);
    if row != seen {
        row.write(&tx).await?;
        tx.commit().await?;
    }
    match (judged, before) {
        (Err(doubt), None) => tracing::warn!(
            why = %doubt,
            "this machine's clock may be wrong, so nothing is deleted; if it is right, run `vestibule clock accept`"
        ),
        (Ok(_), Some(_)) => tracing::info!("this machine's clock is trusted again"),
        _ => {}
    }
    Ok(judged.ok())
}

/// Compares this machine's clock with PostgreSQL's, by which other replicas' tokens are judged (SQLite has no other
/// clock), and judges it anew where the answer may have changed.
///
/// # Errors
/// When the database fails.
pub async fn compare(app: &App) -> Result<()> {
    let ahead = ahead_of_database(app, app.db.read_feed()).await?;
    let skew = ahead.unwrap_or_default().abs().to_std().unwrap_or_default();
    app.clock_trust.set_skew(skew);
    let judge_anew = match app.clock_trust.mismatch() {
        None => skew > MAX_SKEW,
        Some(ClockMismatch::Database) => skew <= MAX_SKEW,
        Some(_) => installation::Entity::row(app.db.read_feed()).await?.accepted != app.clock_trust.accepted(),
    };
    if judge_anew {
        check(app).await?;
    }
    Ok(())
}

/// Ends every doubt, because an operator says that this machine's clock is right. Gives the time.
///
/// # Errors
/// When the database's own clock says something else, or the database fails.
pub async fn accept(app: &App) -> Result<DateTime<Utc>> {
    let (tx, authority) = By::Operator.begin(app).await?;
    let mut row = installation::Entity::locked(&tx).await?;
    if let Some(ahead) = ahead_of_database(app, &tx).await?
        && ahead.abs().to_std().is_ok_and(|it| it > MAX_SKEW)
    {
        return Err(Error::internal(anyhow::anyhow!(
            "this machine's clock and the database's are {} s apart: set the wrong one first",
            ahead.num_seconds().abs()
        )));
    }
    let reading = app.clock.read();
    app.clock_trust.accept(reading, &mut row);
    row.write(&tx).await?;
    audit::record(&tx, reading.now, &authority.source, authority.actor, Event::of(Kind::ClockAccepted)).await?;
    tx.commit().await?;
    Ok(reading.now)
}

/// How far this machine's clock is ahead of PostgreSQL's. `None` on SQLite.
async fn ahead_of_database(app: &App, db: &impl ConnectionTrait) -> Result<Option<TimeDelta>> {
    if db.get_database_backend() != DbBackend::Postgres {
        return Ok(None);
    }
    let asked = app.clock.uptime();
    let row = db.query_one_raw(Statement::from_string(DbBackend::Postgres, "SELECT clock_timestamp() AS now")).await?;
    let theirs: DateTime<Utc> = match row {
        Some(row) => row.try_get("", "now")?,
        None => return Err(DbErr::RecordNotFound("the database does not say what time it is".into()).into()),
    };
    let ahead = app.clock.ahead_of(theirs);
    // The answer was on its way meanwhile: a slow network makes no clock wrong.
    let took = TimeDelta::from_std(app.clock.uptime().saturating_sub(asked)).unwrap_or_default();
    Ok(Some(if ahead > TimeDelta::zero() { (ahead - took).max(TimeDelta::zero()) } else { ahead }))
}
