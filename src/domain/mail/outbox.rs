//! The outbox: a mail is a row in the transaction of the change that causes it, so that it is sent if and only if the change is
//! committed. A row contains no secret: link and code are derived when the mail is sent.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ActiveValue::Set, ConnectionTrait, DbBackend, EntityTrait};
use serde_json::json;

use crate::{
    app::App,
    entity::{
        json::JsonText,
        mail::{self, MailState, Precedence},
        ticket, user,
    },
    error::{Error, Result},
    live::{database::Transaction, mail::Values},
    values::{
        ids::{MailId, TicketId, UserId},
        language::Language,
        mail_kind::MailKind,
    },
};

/// The channel on which PostgreSQL wakes the servers that send mails.
pub const CHANNEL: &str = "vestibule_mails";

/// A mail that is about to be queued.
pub struct NewMail<'a> {
    /// What the mail is about.
    pub kind: MailKind,
    /// The account that it is about, if there is one. The mail greets its owner by name.
    pub user: Option<UserId>,
    /// The canonical address; `None` makes a decoy, which is deleted instead of sent.
    pub to: Option<&'a str>,
    /// The language of the mail.
    pub language: Language,
    /// The ticket whose link and code the mail contains, if its kind has one.
    pub ticket: Option<TicketId>,
    /// What else the text mentions. Link, code and name are added when the mail is sent.
    pub values: Values,
}

impl NewMail<'_> {
    /// The mail with the link and the code of a ticket. That of a decoy is a decoy.
    pub fn with_ticket(kind: MailKind, ticket: &ticket::Model, language: Language) -> NewMail<'_> {
        let (user, to) = (ticket.user_id, ticket.address.as_deref());
        let values = Values { name: ticket.name(), ..Values::default() };
        NewMail { kind, user, to, language, ticket: Some(ticket.id), values }
    }
}

/// A mail that was queued in a transaction which is not committed yet.
#[must_use = "wake the sender after the commit, or the mail is sent a second later"]
pub struct Queued {
    /// The mail.
    pub id: MailId,
}

impl Queued {
    /// Wakes the sender of this process. On PostgreSQL, the commit itself wakes every server.
    pub fn wake(self, app: &App) {
        app.mail.due.notify_one();
    }
}

/// Fails with [`Error::MailUnavailable`] if no mail can be sent. An operation that needs mail calls this first.
pub fn require(app: &App) -> Result<()> {
    if app.mail.transport.can_send() { Ok(()) } else { Err(Error::MailUnavailable) }
}

/// Queues a mail in the transaction of the change that causes it. Call [`Queued::wake`] after the commit.
pub async fn queue(tx: &Transaction, now: DateTime<Utc>, new: NewMail<'_>) -> Result<Queued> {
    let precedence = precedence(new.kind);
    queue_with(tx, now, new, precedence).await
}

/// As [`queue`], for a mail that anybody can cause: it has a high precedence only if the account has logged in from the network
/// of the request, so that a flood of requests from elsewhere does not delay it.
pub async fn queue_requested(tx: &Transaction, now: DateTime<Utc>, new: NewMail<'_>, is_network_known: bool) -> Result<Queued> {
    let precedence = if is_network_known { Precedence::High } else { Precedence::Normal };
    queue_with(tx, now, new, precedence).await
}

async fn queue_with(tx: &Transaction, now: DateTime<Utc>, new: NewMail<'_>, precedence: Precedence) -> Result<Queued> {
    let id = MailId::new(now);
    mail::Entity::insert(row(id, now, &new, precedence)).exec_without_returning(tx).await?;
    announce(tx).await?;
    Ok(Queued { id })
}

fn row(id: MailId, now: DateTime<Utc>, new: &NewMail<'_>, precedence: Precedence) -> mail::ActiveModel {
    mail::ActiveModel {
        id: Set(id),
        kind: Set(new.kind),
        user_id: Set(new.user),
        to_address: Set(new.to.map(str::to_owned)),
        language: Set(new.language),
        ticket_id: Set(new.ticket),
        params: Set(JsonText(json!(&new.values))),
        precedence: Set(precedence),
        state: Set(MailState::Queued),
        attempts: Set(0),
        next_at: Set(Some(now)),
        last_error: Set(None),
        created_at: Set(now),
        sent_at: Set(None),
    }
}

/// Wakes the sender of this process after the commit of a transaction that may have queued notices.
pub fn wake(app: &App, queued: impl IntoIterator<Item = Queued>) {
    queued.into_iter().for_each(|queued| queued.wake(app));
}

/// The notices to one account in an hour that come before other mails. More cannot take the room of other people's mails.
const NOTICES: u64 = 5;

/// Queues a notice to the user's address, in the transaction of the change. There are no notices without a transport, and none
/// to an address that receives no mail. An address that is not verified may be a stranger's, so it receives a few an hour, after
/// all other mails.
pub async fn notify(
    app: &App,
    tx: &Transaction,
    now: DateTime<Utc>,
    kind: MailKind,
    user: &user::Model,
    values: Values,
) -> Result<Option<Queued>> {
    if app.mail.transport.is_none() || !is_reachable(&user.email) {
        return Ok(None);
    }
    let are_many = mail::Entity::count_notices(tx, user.id, now - TimeDelta::hours(1), NOTICES).await? == NOTICES;
    if are_many && !user.email_verified {
        return Ok(None);
    }
    let precedence = if are_many || !user.email_verified { Precedence::Low } else { Precedence::High };
    let language = language_of(app, user);
    let new = NewMail { kind, user: Some(user.id), to: Some(&user.email), language, ticket: None, values };
    queue_with(tx, now, new, precedence).await.map(Some)
}

/// Queues the same notice to up to 1,000 users whom an operator's command concerns, in one statement. There are none where
/// [`notify`] queues none.
pub async fn notify_all(
    app: &App,
    tx: &Transaction,
    now: DateTime<Utc>,
    kind: MailKind,
    users: &[user::Model],
    values: &Values,
) -> Result<()> {
    if app.mail.transport.is_none() {
        return Ok(());
    }
    let notice = |user: &user::Model| {
        let precedence = if user.email_verified { Precedence::High } else { Precedence::Low };
        let (language, values) = (language_of(app, user), values.clone());
        let new = NewMail { kind, user: Some(user.id), to: Some(&user.email), language, ticket: None, values };
        row(MailId::new(now), now, &new, precedence)
    };
    let rows = users.iter().filter(|user| is_reachable(&user.email)).map(notice);
    mail::Entity::insert_many(rows).exec_without_returning(tx).await?;
    announce(tx).await
}

/// Returns the language of the notices to a user.
pub fn language_of(app: &App, user: &user::Model) -> Language {
    user.language.unwrap_or(app.settings.mail.language)
}

/// Returns whether mail can reach an address. It reaches none whose domain ends with `.invalid` (RFC 6761 section 6.4), like that
/// of the first administrator.
pub fn is_reachable(address: &str) -> bool {
    !address.ends_with(".invalid")
}

/// Makes a mail due now that is not being sent. Call [`Queued::wake`] after the commit.
pub(super) async fn requeue(tx: &Transaction, id: MailId, now: DateTime<Utc>) -> Result<Queued> {
    mail::Entity::requeue(tx, id, now).await?;
    announce(tx).await?;
    Ok(Queued { id })
}

/// Wakes every server when the transaction is committed.
async fn announce(tx: &Transaction) -> Result<()> {
    if tx.get_database_backend() == DbBackend::Postgres {
        tx.execute_unprepared(&format!("NOTIFY {CHANNEL}")).await?;
    }
    Ok(())
}

/// Returns the precedence of mails of this kind.
const fn precedence(kind: MailKind) -> Precedence {
    match kind {
        MailKind::SignUp | MailKind::AccountExists | MailKind::Verify => Precedence::Low,
        // Whoever has an account can request one for any address.
        MailKind::Change => Precedence::Normal,
        _ => Precedence::High,
    }
}
