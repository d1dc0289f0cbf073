//! Reading a link: what the page behind it shows before the holder decides. Opening a link changes nothing.

use chrono::{DateTime, Utc};
use sea_orm::EntityTrait;

use super::tickets;
use crate::{
    app::App,
    domain::{source::Source, throttle},
    entity::{factor, user},
    error::Result,
    live::rate_limits::RateLimit,
    values::{factor_kind::FactorProofKind, language::Language, ticket_purpose::TicketPurpose, ticket_token::TicketToken},
};

/// What a link is for.
pub struct ReadTicket {
    /// What it permits.
    pub purpose: TicketPurpose,
    /// The address whose mailbox received it.
    pub email: String,
    /// The name of the account's owner, or of the person who is invited.
    pub name: Option<String>,
    /// The language of the mail.
    pub language: Language,
    /// How the second factor can be proven that the link needs as well. Empty if it needs none.
    pub factors: Vec<FactorProofKind>,
    /// When it expires.
    pub expires_at: DateTime<Utc>,
}

/// Returns what a link is for.
///
/// # Errors
/// A fault of `/token`; [`Error::TooManyRequests`](crate::error::Error::TooManyRequests).
pub async fn read(app: &App, source: &Source, token: &TicketToken) -> Result<ReadTicket> {
    throttle::limit_rate(app, source, RateLimit::Mail)?;
    let ticket = tickets::read(app, token).await?;
    let user = match ticket.user_id {
        Some(user) => user::Entity::find_by_id(user).one(app.db.read()).await?,
        None => None,
    };
    let factors = match (ticket.purpose, ticket.user_id) {
        (TicketPurpose::Reset | TicketPurpose::Revert, Some(user)) => {
            factor::Entity::provable(app.db.read(), user, ticket.undoes_since(), app.rp_id()).await?
        }
        _ => Vec::new(),
    };
    Ok(ReadTicket {
        factors,
        purpose: ticket.purpose,
        name: user.map_or_else(|| ticket.name(), |user| user.name),
        email: ticket.address.unwrap_or_default(),
        language: ticket.language,
        expires_at: ticket.expires_at,
    })
}
