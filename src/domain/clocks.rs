//! Clocks: whether this machine's clock may decide what is deleted. Every deletion by time requires a reading that is trusted
//! here.

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

/// Checks this machine's clock, and records the newest trusted time. Returns `None` while the clock is in doubt; nothing may be
/// deleted then. The log shows when a doubt begins and ends.
pub async fn check(app: &App) -> Result<Option<TrustedReading>> {
    let before = app.clock_trust.mismatch();
    let tx = app.db.write().await?;
    let mut row = installation::Entity::locked(&tx).await?;
    let ahead = ahead_of_database(app, &tx).await?;
    let seen = row.clone();
    let checked = app.clock_trust.check(app.clock.read(), ahead, &mut row);
    if row != seen {
        row.write(&tx).await?;
        tx.commit().await?;
    }
    match (checked, before) {
        (Err(doubt), None) => tracing::warn!(
            why = %doubt,
            "this machine's clock may be wrong, so nothing is deleted; if it is right, run `vestibule clock accept`"
        ),
        (Ok(_), Some(_)) => tracing::info!("this machine's clock is trusted again"),
        _ => {}
    }
    Ok(checked.ok())
}

/// Compares this machine's clock with that of PostgreSQL, which all replicas share, and checks the clock again if the result
/// may have changed. SQLite has no clock of its own.
pub async fn compare(app: &App) -> Result<()> {
    let ahead = ahead_of_database(app, app.db.read_feed()).await?;
    let skew = ahead.unwrap_or_default().abs().to_std().unwrap_or_default();
    app.clock_trust.set_skew(skew);
    let needs_check = match app.clock_trust.mismatch() {
        None => skew > MAX_SKEW,
        Some(ClockMismatch::Database) => skew <= MAX_SKEW,
        Some(_) => installation::Entity::row(app.db.read_feed()).await?.accepted != app.clock_trust.accepted(),
    };
    if needs_check {
        check(app).await?;
    }
    Ok(())
}

/// Trusts this machine's clock, because an operator confirms that it is right, and returns its time. Fails if the database's
/// clock differs.
pub async fn accept(app: &App) -> Result<DateTime<Utc>> {
    let (tx, authority) = By::Operator.begin(app).await?;
    let mut row = installation::Entity::locked(&tx).await?;
    if let Some(ahead) = ahead_of_database(app, &tx).await?
        && ahead.abs().to_std().is_ok_and(|skew| skew > MAX_SKEW)
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

/// Returns how far this machine's clock is ahead of PostgreSQL's; `None` on SQLite.
async fn ahead_of_database(app: &App, db: &impl ConnectionTrait) -> Result<Option<TimeDelta>> {
    if db.get_database_backend() != DbBackend::Postgres {
        return Ok(None);
    }
    let queried_at = app.clock.uptime();
    let row = db.query_one_raw(Statement::from_string(DbBackend::Postgres, "SELECT clock_timestamp() AS now")).await?;
    let database_time: DateTime<Utc> = match row {
        Some(row) => row.try_get("", "now")?,
        None => return Err(DbErr::RecordNotFound("the database returned no time".into()).into()),
    };
    let ahead = app.clock.ahead_of(database_time);
    // The time of the query is subtracted, so that a slow network does not make the clock look wrong.
    let took = TimeDelta::from_std(app.clock.uptime().saturating_sub(queried_at)).unwrap_or_default();
    Ok(Some(if ahead > TimeDelta::zero() { (ahead - took).max(TimeDelta::zero()) } else { ahead }))
}
