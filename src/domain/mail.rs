//! Mail: what a link or a code permits, which mails are to be sent, and how many. A flow that sends a mail does so in the
//! transaction of its change: it locks the recipient ([`limits`]), issues a ticket ([`tickets`]) and queues the mail
//! ([`outbox`]). The mail is rendered and sent afterwards ([`sending`]), and no request waits for it.

pub mod administration;
pub mod limits;
pub mod outbox;
pub mod reading;
pub mod sending;
pub mod tickets;

use chrono::TimeDelta;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};

use crate::{
    app::App,
    entity::{mail, tally, ticket},
    error::Result,
    live::clock_trust::TrustedReading,
    values::ids::MailId,
};

/// How long a mail is listed after it was queued.
const KEPT: TimeDelta = TimeDelta::days(30);

/// Deletes the tickets and tallies that expired long ago, and the mails that were done long ago.
pub async fn purge(app: &App, trusted: TrustedReading) -> Result<()> {
    let purge_before = trusted.purge_before();
    let oldest = MailId::first_of(purge_before - KEPT);
    let tx = app.db.write_in_background().await?;
    ticket::Entity::delete_many().filter(ticket::COLUMN.expires_at.lte(purge_before)).exec(&tx).await?;
    tally::Entity::delete_many().filter(tally::COLUMN.expires_at.lte(purge_before)).exec(&tx).await?;
    let done = mail::Entity::delete_many().filter(mail::COLUMN.id.lt(oldest)).filter(mail::COLUMN.next_at.is_null());
    done.exec(&tx).await?;
    Ok(tx.commit().await?)
}
