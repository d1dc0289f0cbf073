//! What administrators see of the outbox, and what they do with it: list mails, send one again, and send a test.

use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::outbox::{self, NewMail};
use crate::{
    app::App,
    domain::{
        audit::{self, Event, Kind},
        authority::By,
        paging::{Paging, Slice},
    },
    entity::mail::{self, MailState},
    error::{Error, Missing, Result},
    live::mail::Values,
    values::{email::Email, ids::MailId, language::Language, mail_kind::MailKind},
};

/// The mails to list. An absent member does not filter.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// The state.
    pub state: Option<MailState>,
    /// The kind.
    pub kind: Option<MailKind>,
}

/// A mail that has a recipient. Decoys are not listed.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The mail's row.
    pub row: mail::Model,
    /// The recipient.
    pub to: String,
}

/// Returns a page of mails, newest first.
///
/// # Errors
/// A fault of `cursor`.
pub async fn list(app: &App, filter: &Filter, paging: &Paging) -> Result<Slice<Listed>> {
    const LIST: &str = "mails";
    let mut condition = Condition::all()
        .add(mail::COLUMN.to_address.is_not_null())
        .add_option(filter.state.map(|state| mail::COLUMN.state.eq(state)))
        .add_option(filter.kind.map(|kind| mail::COLUMN.kind.eq(kind)));
    if let Some(id) = paging.position::<MailId>(app, LIST)? {
        condition = condition.add(mail::COLUMN.id.lt(id));
    }
    let query = mail::Entity::find().filter(condition).order_by_desc(mail::COLUMN.id).limit(paging.rows());
    let page = paging.slice(app, LIST, query.all(app.db.read()).await?, |mail| mail.id);
    Ok(page.map(|row| Listed { to: row.to_address.clone().unwrap_or_default(), row }))
}

/// Makes a mail due now that waits, has failed or was dropped. A mail that is being sent stays as it is.
///
/// # Errors
/// [`Error::NotFound`], [`Error::MailAlreadySent`].
pub async fn retry(app: &App, by: By<'_>, id: MailId) -> Result<()> {
    let (tx, authority) = by.begin(app).await?;
    let found = mail::Entity::locked(&tx, id).await?.filter(|mail| mail.to_address.is_some());
    let mail = found.ok_or(Error::NotFound(Missing::Mail))?;
    match mail.state {
        MailState::Sent => return Err(Error::MailAlreadySent),
        MailState::Sending => return Ok(()),
        MailState::Queued | MailState::Failed | MailState::Dropped => {}
    }
    let now = app.clock.now();
    let queued = outbox::requeue(&tx, id, now).await?;
    audit::record(&tx, now, &authority.source, authority.actor, Event::on_mail(Kind::MailRetried, id)).await?;
    tx.commit().await?;
    queued.wake(app);
    Ok(())
}

/// Sends a mail that shows whether mail arrives.
///
/// # Errors
/// [`Error::MailUnavailable`].
pub async fn send_test(app: &App, by: By<'_>, to: &Email, language: Option<Language>) -> Result<()> {
    outbox::require(app)?;
    let (tx, authority) = by.begin(app).await?;
    let now = app.clock.now();
    let language = language.unwrap_or(app.settings.mail.language);
    let new =
        NewMail { kind: MailKind::Test, user: None, to: Some(to.as_str()), language, ticket: None, values: Values::at(now) };
    let queued = outbox::queue(&tx, now, new).await?;
    let event = Event::on_mail(Kind::TestMailSent, queued.id);
    audit::record(&tx, now, &authority.source, authority.actor, event).await?;
    tx.commit().await?;
    queued.wake(app);
    Ok(())
}
