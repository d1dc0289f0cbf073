//! Sending: a server leases mails from the outbox, renders each one, gives it to the transport, and records the outcome. A server
//! that dies loses its lease, and another one sends the mail again with the same `Message-ID`.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ColumnTrait, EntityTrait, PaginatorTrait, QueryFilter, QuerySelect};
use tokio::sync::OwnedSemaphorePermit;

use super::tickets;
use crate::{
    app::App,
    entity::{
        mail::{self, MailState, Outcome, Precedence},
        ticket, user,
    },
    error::{Error, Result, with_causes},
    live::mail::{Draft, SendError, Values},
    values::email::Email,
};

/// How long a mail is leased to a server. The transport gives up earlier.
const LEASE: TimeDelta = TimeDelta::seconds(120);
/// The pauses after failed attempts, in seconds. The last one is repeated.
const RETRIES: [i64; 7] = [30, 2 * 60, 10 * 60, 30 * 60, 3_600, 2 * 3_600, 4 * 3_600];
/// How long a mail without a ticket is tried.
const PATIENCE: TimeDelta = TimeDelta::hours(24);

/// A mail that is leased to this server, and one of the places for mails that are sent at the same time.
pub struct Leased {
    mail: mail::Model,
    _place: OwnedSemaphorePermit,
}

/// Wakes the job of this process that sends mails.
pub fn wake(app: &App) {
    app.mail.due.notify_one();
}

/// Waits until [`wake`] is called.
pub async fn woken(app: &App) {
    app.mail.due.notified().await;
}

/// Waits until this process is sending no mail.
pub async fn idle(app: &App) {
    app.mail.idle().await;
}

/// Counts the mails that wait, for the metrics.
pub async fn count_waiting(app: &App) -> Result<()> {
    for state in [MailState::Queued, MailState::Sending] {
        let waiting = mail::Entity::find().filter(mail::COLUMN.state.eq(state)).count(app.db.read()).await?;
        app.metrics.set_mails_waiting(state.as_str(), waiting);
    }
    Ok(())
}

/// Leases the mails that are due, as many as there are free places and as `mail.max_per_hour` permits. Several servers that
/// lease at the same moment may exceed that by a few mails.
pub async fn lease(app: &App) -> Result<Vec<Leased>> {
    let (db, now) = (app.db.read(), app.clock.now());
    let mut free = app.mail.free_places(app.clock.read().monotonic());
    // Read first, because nothing is due at most times.
    if free == 0 || !mail::Entity::is_any_due(db, now).await? {
        return Ok(Vec::new());
    }
    let sent = mail::Entity::find().filter(mail::COLUMN.sent_at.gt(now - TimeDelta::hours(1))).count(db).await?;
    let sending = mail::Entity::find().filter(mail::COLUMN.state.eq(MailState::Sending)).count(db).await?;
    let most = u64::from(app.settings.mail.max_per_hour);
    let mut leased = Vec::new();
    for precedence in Precedence::ALL {
        let count = precedence.share_of(most).saturating_sub(sent + sending + leased.len() as u64).min(free);
        if count == 0 || mail::Entity::due(precedence, now).limit(1).one(db).await?.is_none() {
            continue;
        }
        let tx = app.db.write().await?;
        let mails = mail::Entity::lease(&tx, precedence, count, now, now + LEASE).await?;
        tx.commit().await?;
        free -= mails.len() as u64;
        leased.extend(mails);
    }
    let place = |mail| Some(Leased { mail, _place: app.mail.places.clone().try_acquire_owned().ok()? });
    Ok(leased.into_iter().filter_map(place).collect())
}

/// Sends a mail, and records the outcome. If the outcome cannot be recorded, the mail is sent again when the lease ends.
pub async fn deliver(app: &App, leased: Leased) {
    let id = leased.mail.id;
    if let Err(error) = attempt(app, leased).await {
        tracing::warn!(mail = %id, cause = with_causes(&error), "cannot send a mail, and will try again");
    }
}

async fn attempt(app: &App, leased: Leased) -> Result<()> {
    let mail = &leased.mail;
    let Some(to) = &mail.to_address else {
        let tx = app.db.write_in_background().await?;
        mail::Entity::delete_by_id(mail.id).exec(&tx).await?;
        return Ok(tx.commit().await?);
    };
    let ticket = ticket_of(app, mail).await?;
    let now = app.clock.now();
    if mail.ticket_id.is_some() && !ticket.as_ref().is_some_and(|ticket| ticket.is_live(now)) {
        return finish(app, mail, ended(MailState::Dropped, "The link of the mail is no longer valid.".into())).await;
    }
    let to: Email = to.parse().map_err(Error::internal)?;
    let values = values(app, mail, ticket.as_ref(), now).await?;
    let rendered = app.mail.templates.render(&Draft {
        id: mail.id.into(),
        kind: mail.kind,
        language: mail.language,
        to,
        created_at: mail.created_at,
        values,
    });
    let message = match rendered {
        Ok(message) => message,
        Err(error) => {
            tracing::error!(mail = %mail.id, kind = %mail.kind, cause = with_causes(error.as_ref()), "cannot render a mail");
            return finish(app, mail, ended(MailState::Failed, "The template is faulty; the log says why.".into())).await;
        }
    };
    let sent = app.mail.transport.send(&message).await;
    record(app, leased, sent).await
}

async fn ticket_of(app: &App, mail: &mail::Model) -> Result<Option<ticket::Model>> {
    match mail.ticket_id {
        Some(id) => Ok(ticket::Entity::find_by_id(id).one(app.db.read()).await?),
        None => Ok(None),
    }
}

/// Returns what the text of a mail mentions.
async fn values(app: &App, mail: &mail::Model, ticket: Option<&ticket::Model>, now: DateTime<Utc>) -> Result<Values> {
    let mut values: Values = serde_json::from_value(mail.params.0.clone()).map_err(Error::internal)?;
    if let Some(user) = mail.user_id {
        let user = user::Entity::find_by_id(user).one(app.db.read()).await?;
        values.name = user.and_then(|user| user.name);
    }
    if let Some(ticket) = ticket {
        values.token = tickets::token(app, ticket).map(|token| token.to_string());
        values.code = Some(tickets::code(app, ticket).expose());
        values.valid_for = (ticket.expires_at - now).to_std().ok();
    }
    Ok(values)
}

/// Records the outcome of an attempt, and when the next one is due.
pub async fn record(app: &App, leased: Leased, sent: Result<(), SendError>) -> Result<()> {
    let mail = &leased.mail;
    let (now, id, kind) = (app.clock.now(), mail.id, mail.kind);
    let is_transport_up = !matches!(sent, Err(SendError::Transport(_)));
    let has_recovered = app.mail.health.record(is_transport_up, app.clock.read().monotonic());
    let outcome = match sent {
        Ok(()) => {
            tracing::info!(mail = %id, %kind, attempts = mail.attempts, "mail sent");
            Outcome { state: MailState::Sent, next_at: None, last_error: None, sent_at: Some(now) }
        }
        Err(SendError::Refused(cause)) => {
            tracing::warn!(mail = %id, %kind, cause, "mail refused");
            ended(MailState::Failed, cause)
        }
        Err(SendError::Temporary(cause) | SendError::Transport(cause)) => {
            let (until, late) = match ticket_of(app, mail).await? {
                Some(ticket) => (ticket.expires_at, MailState::Dropped),
                None => (mail.created_at + PATIENCE, MailState::Failed),
            };
            let failures = usize::try_from(mail.attempts).unwrap_or_default().clamp(1, RETRIES.len());
            let next_at = now + TimeDelta::seconds(RETRIES[failures - 1]);
            let again = next_at < until;
            tracing::warn!(mail = %id, %kind, attempts = mail.attempts, again, cause, "mail not sent");
            if again {
                Outcome { state: MailState::Queued, next_at: Some(next_at), last_error: Some(cause), sent_at: None }
            } else {
                ended(late, cause)
            }
        }
    };
    finish(app, mail, outcome).await?;
    if has_recovered {
        tracing::info!("the mail server accepts mails again");
        let tx = app.db.write_in_background().await?;
        mail::Entity::hasten(&tx, now).await?;
        tx.commit().await?;
        wake(app);
    }
    Ok(())
}

fn ended(state: MailState, error: String) -> Outcome {
    Outcome { state, next_at: None, last_error: Some(error), sent_at: None }
}

async fn finish(app: &App, mail: &mail::Model, outcome: Outcome) -> Result<()> {
    let state = outcome.state;
    let tx = app.db.write_in_background().await?;
    let finished = mail::Entity::finish(&tx, mail, outcome).await?;
    tx.commit().await?;
    if finished {
        app.metrics.count_mail(mail.kind, state.as_str());
    }
    Ok(())
}
