//! Generations: what a restore ends. A backup does not know what was ended, used or sent after it was made, so everything that could
//! become valid again ends when it is restored, and whatever was issued before is too old from then on.
//!
//! | what | becomes |
//! |---|---|
//! | access tokens, ceremonies of passkeys | too old: they were issued before `not_before` |
//! | sessions, and with them refresh tokens | deleted |
//! | signing keys | revoked, and a new one signs |
//! | links and codes in mails | void |
//! | log-ins that wait for a factor, apps that wait for their confirmation | deleted |
//! | codes of authenticator apps | used, up to the step that follows `not_before` |
//! | recovery codes | deleted, and their owners receive a notice |
//! | mails that wait | dropped |

use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::EntityTrait;
use serde_json::json;
use uuid::Uuid;

use super::{
    audit::{self, Actor, Event, Kind},
    authority::lock_administration,
    factors::totp,
    mail::outbox,
    revocations, signing_keys,
    source::Source,
};
use crate::{
    app::App,
    entity::{
        challenge, factor, installation, mail, pending_totp, recovery_code, revocation, session, ticket, ticket_handle,
        user::{self, Status},
    },
    error::Result,
    live::{clock_trust::MAX_SKEW, database::Transaction, mail::Values},
    values::{ids::UserId, mail_kind::MailKind, time::rfc3339},
};

/// The maximum number of users in one statement.
const BATCH: usize = 1_000;

/// What ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// When the new generation begins. Tokens that were issued earlier are refused, so whoever begins it waits until then.
    pub not_before: DateTime<Utc>,
    /// The sessions that ended.
    pub sessions: u64,
    /// The users whose recovery codes no longer work.
    pub users_without_codes: usize,
}

/// Begins another generation, after a backup was restored. Everything that the backup could bring back to life ends in one
/// transaction. Running servers read everything again.
pub async fn begin(app: &App) -> Result<Ended> {
    let new = signing_keys::generate(app).await?;
    let tx = app.db.write_in_background().await?;
    lock_administration(&tx).await?;
    let now = app.clock.now();
    let not_before = beginning(now, app.db.is_shared());
    let mut row = installation::Entity::locked(&tx).await?;
    let backed_up_at = row.backed_up_at.take();
    row.generation = Some(Uuid::new_v4());
    row.not_before = Some(not_before);
    row.write(&tx).await?;

    revocation::Entity::delete_many().exec(&tx).await?; // of tokens that are too old
    let sessions = session::Entity::delete_many().exec(&tx).await?.rows_affected;
    signing_keys::replace_all(app, &tx, new, now).await?;
    ticket::Entity::void_all(&tx, now).await?;
    ticket_handle::Entity::delete_many().exec(&tx).await?;
    challenge::Entity::delete_many().exec(&tx).await?;
    pending_totp::Entity::delete_many().exec(&tx).await?;
    factor::Entity::use_steps(&tx, totp::last_step(not_before)).await?;
    mail::Entity::drop_waiting(&tx).await?;
    let users_without_codes = void_recovery_codes(app, &tx, now).await?;

    let details = json!({ "backed_up_at": backed_up_at.map(rfc3339), "sessions": sessions });
    let event = Event::of(Kind::DatabaseRestored).with(details);
    audit::record(&tx, now, &Source::default(), Actor::operator(), event).await?;
    revocations::signing_keys_changed().commit(app, tx).await?;
    Ok(Ended { not_before, sessions, users_without_codes })
}

/// Returns when a generation begins: at the first whole second that comes after the time of every token that a server has issued.
/// Servers on one machine share its clock; others may be ahead.
fn beginning(now: DateTime<Utc>, is_shared: bool) -> DateTime<Utc> {
    let latest = now + if is_shared { MAX_SKEW } else { Duration::ZERO };
    DateTime::from_timestamp(latest.timestamp() + 1, 0).unwrap_or(latest)
}

/// Deletes all recovery codes, because some may have been used since the backup. Returns how many users had any.
async fn void_recovery_codes(app: &App, tx: &Transaction, now: DateTime<Utc>) -> Result<usize> {
    let owners: Vec<UserId> = recovery_code::Entity::owners(tx).await?;
    recovery_code::Entity::delete_many().exec(tx).await?;
    for batch in owners.chunks(BATCH) {
        let users = user::Entity::with_ids(tx, batch).await?;
        let active: Vec<_> = users.into_iter().filter(|user| user.status == Status::Active).collect();
        outbox::notify_all(app, tx, now, MailKind::RecoveryCodesVoid, &active, &Values::at(now)).await?;
    }
    Ok(owners.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_begins_after_every_token_that_a_server_may_have_issued() {
        let at = |millis| DateTime::from_timestamp_millis(millis).unwrap();
        for (now, is_shared, begins) in [(100_000, false, 101), (100_999, false, 101), (100_000, true, 103), (100_999, true, 103)]
        {
            assert_eq!(beginning(at(now), is_shared).timestamp_millis(), begins * 1_000, "{now} {is_shared}");
        }
    }
}
