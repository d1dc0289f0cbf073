//! Changes of one's own address, where mail can be sent: the new mailbox confirms the change, and for seven days the old one can
//! undo it, whatever happened to the account since.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ActiveValue::Set, EntityTrait, IntoActiveModel};
use serde_json::json;

use super::{
    audit::{self, Actor, Event, Kind},
    caller::{Caller, CurrentUser, MAX_AGE},
    credentials,
    factors::{self, FactorProof},
    mail::{
        limits::{Addressee, Recipient},
        outbox::{self, NewMail, Queued},
        tickets::{self, NewTicket, OwnProof},
    },
    revocations::{self, SessionSelection},
    source::Source,
    throttle,
    users::{self, Names},
};
use crate::{
    app::App,
    entity::{factor, session, ticket::YOUNG, user},
    error::{Error, Fault, Missing, Result},
    live::{database::Transaction, mail::Values, rate_limits::RateLimit},
    values::{
        authentication::Acr, email::Email, language::Language, mail_kind::MailKind, password::NewPassword,
        ticket_purpose::TicketPurpose, ticket_token::TicketToken,
    },
};

/// Mails a link and a code to the address that the caller wants, in the transaction that checked their password. `language` is
/// that of the request. Whether another account has the address is not looked up, so the caller does not learn it.
pub(super) async fn request(
    app: &App,
    tx: &Transaction,
    now: DateTime<Utc>,
    caller: &Caller,
    user: user::Model,
    address: Email,
    language: Option<Language>,
) -> Result<(user::Model, Vec<Queued>)> {
    let is_repeated = user.pending_email.as_deref() == Some(address.as_str());
    if !is_repeated {
        tickets::void_purpose(tx, user.id, TicketPurpose::Change, now).await?;
    }
    let recipient = Recipient::lock(app, tx, Addressee::Address(address.as_str())).await?;
    let sends = recipient.count_mail(tx, now).await?;
    let language = user.language.or(language).unwrap_or(app.settings.mail.language);
    let new = NewTicket {
        purpose: TicketPurpose::Change,
        user: Some(user.id),
        address: Some(address.as_str()),
        language,
        context: json!({}),
    };
    let ticket = tickets::issue(app, tx, now, &recipient, sends, new).await?;
    let mut queued = Vec::new();
    if sends {
        queued.push(outbox::queue(tx, now, NewMail::with_ticket(MailKind::Change, &ticket, language)).await?);
    }
    let mut row = user.clone().into_active_model();
    row.pending_email = Set(Some(address.as_str().to_owned()));
    let user = users::save(app, tx, user, row).await?;
    let event = Event::on_user(Kind::EmailChangeRequested, &user).with(json!({ "pending_email": address }));
    audit::record(tx, now, &caller.source, caller.actor(&user), event).await?;
    if !is_repeated {
        let values = Values { new_address: Some(address), ..Values::at(now) };
        queued.extend(outbox::notify(app, tx, now, MailKind::EmailChangeRequested, &user, values).await?);
    }
    Ok((user, queued))
}

/// Gives the caller's account the address whose mailbox they read. Succeeds again if the request is repeated.
///
/// # Errors
/// [`Error::EmailTaken`] if another account has the address; a fault of `/token` or `/code`.
pub async fn complete(app: &App, caller: &Caller, proof: &OwnProof) -> Result<()> {
    let (tx, now) = (app.db.write().await?, app.clock.now());
    let CurrentUser { user: before, .. } = caller.recheck(&tx, now).await?;
    let opened = tickets::open_own(app, &tx, now, &before, TicketPurpose::Change, proof).await?;
    let opened = match opened {
        Ok(opened) => opened,
        Err(refusal) => {
            tx.commit().await?; // counts a wrong code
            return Err(refusal.at(""));
        }
    };
    if opened.ticket.used_at.is_some() && opened.ticket.address.as_ref() == Some(&before.email) {
        return Ok(());
    }
    // A cancelled change, and a request for another address, have made the ticket void.
    let opened = opened.still_live(now)?;
    opened.redeem(&tx, now).await?;
    users::void_requests(&tx, before.id, now).await?;
    let address = opened.ticket.address.as_deref().ok_or_else(|| opened.refused())?;
    let after = set_address(app, &tx, before.clone(), address).await?;
    let details = json!({ "before": before.email, "after": after.email });
    let event = Event::on_user(Kind::EmailChanged, &after).with(details);
    audit::record(&tx, now, &caller.source, caller.actor(&after), event).await?;
    let queued = if may_be_undone(&before) && !was_proven_by_old_factor(&tx, now, caller).await? {
        offer_undo(app, &tx, now, &before, &after).await?
    } else {
        users::notify_of_address(app, &tx, &before, &after).await?
    };
    tx.commit().await?;
    outbox::wake(app, queued);
    Ok(())
}

/// Withdraws the caller's request for another address. Its link and code become void.
///
/// # Errors
/// [`Error::NotFound`] if no change waits for its confirmation.
pub async fn cancel(app: &App, caller: &Caller) -> Result<()> {
    let (tx, now) = (app.db.write().await?, app.clock.now());
    let CurrentUser { user, .. } = caller.recheck(&tx, now).await?;
    let pending = user.pending_email.clone().ok_or(Error::NotFound(Missing::PendingEmail))?;
    tickets::void_purpose(&tx, user.id, TicketPurpose::Change, now).await?;
    let mut row = user.clone().into_active_model();
    row.pending_email = Set(None);
    let user = users::save(app, &tx, user, row).await?;
    let event = Event::on_user(Kind::EmailChangeCancelled, &user).with(json!({ "pending_email": pending }));
    audit::record(&tx, now, &caller.source, caller.actor(&user), event).await?;
    Ok(tx.commit().await?)
}

/// How long ago the factor may have been proven: as long as a proof is fresh.
const RECENTLY: TimeDelta = TimeDelta::seconds(MAX_AGE);

/// Returns whether the caller has just proven an old factor in this session. Then the change cannot be undone: the old mailbox is the
/// weaker proof.
async fn was_proven_by_old_factor(tx: &Transaction, now: DateTime<Utc>, caller: &Caller) -> Result<bool> {
    let Some(session) = session::Entity::find_by_id(caller.session()).one(tx).await? else { return Ok(false) };
    if session.acr < Acr::Two || session.auth_time <= now - RECENTLY {
        return Ok(false);
    }
    let held = factor::Entity::of(caller.user(), Some(now - YOUNG)).all(tx).await?;
    let was_just_used = |factor: &factor::Model| factor.last_used_at.is_some_and(|at| at > now - RECENTLY);
    Ok(held.iter().any(|factor| session.factors.contains(factor.id) && was_just_used(factor)))
}

/// Returns whether the old mailbox can undo a change that the owner makes now. Nobody has proven an address that is not verified,
/// so its mailbox may be a stranger's.
fn may_be_undone(before: &user::Model) -> bool {
    before.email_verified && outbox::is_reachable(&before.email)
}

/// Mails the old address the link that undoes the change, and tells the new one. The old address stays reserved for as long as
/// the link is valid.
async fn offer_undo(
    app: &App,
    tx: &Transaction,
    now: DateTime<Utc>,
    before: &user::Model,
    after: &user::Model,
) -> Result<Vec<Queued>> {
    let language = outbox::language_of(app, after);
    let recipient = Recipient::lock(app, tx, Addressee::Address(&before.email)).await?;
    let new = NewTicket {
        purpose: TicketPurpose::Revert,
        user: Some(before.id),
        address: Some(&before.email),
        language,
        context: json!({}),
    };
    // Each change has a ticket of its own, because using one undoes what came after it.
    let ticket = tickets::issue_another(app, tx, now, &recipient, new).await?;
    let values = users::addresses(before, after);
    let link = NewMail { values: values.clone(), ..NewMail::with_ticket(MailKind::Revert, &ticket, language) };
    let mut queued = vec![outbox::queue(tx, now, link).await?];
    queued.extend(outbox::notify(app, tx, now, MailKind::EmailChanged, after, values).await?);
    Ok(queued)
}

/// Gives the account the address back from whose mailbox the token comes, with a new password. All sessions and tickets end, and
/// with them the undoing of later changes. Nobody is logged in, and a disabled account stays disabled. If the account still has a
/// second factor that was not young when the address changed, it is needed as well; the others are removed.
///
/// # Errors
/// [`Error::SecondFactorRequired`]; [`Error::WrongFactor`];
/// A fault of `/token` or `/new_password`; [`Error::TooManyRequests`]; [`Error::Overloaded`].
pub async fn revert(
    app: &App,
    source: &Source,
    token: &TicketToken,
    new: &NewPassword,
    factor: Option<&FactorProof>,
) -> Result<()> {
    throttle::limit_rate(app, source, RateLimit::Mail)?;
    let opened = tickets::open_link(app, TicketPurpose::Revert, token).await?;
    let (Some(id), Some(address)) = (opened.ticket.user_id, &opened.ticket.address) else { return Err(opened.refused()) };
    let user = user::Entity::find_by_id(id).one(app.db.read()).await?.ok_or_else(|| opened.refused())?;
    new.check_policy(app.settings.password.min_length, address, user.username.as_deref())
        .map_err(|invalid| Fault::at("/new_password", invalid))?;
    factors::require_beside(app, source, &user, &opened.ticket, factor).await?;
    let hash = credentials::hash(app, new).await?;
    let tx = app.db.write().await?;
    let before = user::Entity::locked(&tx, id).await?.ok_or_else(|| opened.refused())?;
    let now = app.clock.now();
    let (tx, mut queued) = factors::prove_beside(app, tx, now, source, &before, &opened.ticket, factor).await?;
    opened.redeem(&tx, now).await?;
    users::void_requests(&tx, id, now).await?;
    tickets::void_later(&tx, &opened.ticket, now).await?;
    // Whoever guesses at the account must not keep its owner out afterwards.
    throttle::recognise(app, &tx, source, &before, now).await?;
    let pending = revocations::end_sessions(&tx, id, SessionSelection::All).await?;
    let after = match set_address(app, &tx, before.clone(), address).await {
        // The reservation has just ended, by the clock of another server.
        Err(Error::EmailTaken) => return Err(opened.refused()),
        after => after?,
    };
    let (after, removed) = factors::remove_young(app, &tx, after, &opened.ticket).await?;
    let details = json!({ "before": before.email, "after": after.email, "removed": removed });
    let event = Event::on_user(Kind::EmailChangeReverted, &after).with(details);
    audit::record(&tx, now, source, Actor::account(&after, None), event).await?;
    for user in [&before, &after].into_iter().take(if before.email == after.email { 1 } else { 2 }) {
        queued.extend(outbox::notify(app, &tx, now, MailKind::EmailChangeUndone, user, Values::at(now)).await?);
    }
    users::set_password_hash(app, &tx, after, hash).await?;
    pending.commit(app, tx).await?;
    outbox::wake(app, queued);
    Ok(())
}

/// Gives an account a proven address, in place of the present and of the pending one.
async fn set_address(app: &App, tx: &Transaction, user: user::Model, address: &str) -> Result<user::Model> {
    let mut row = user.clone().into_active_model();
    Names { email: Some(Email::stored(address)), ..Names::default() }.write(&mut row, true);
    users::save(app, tx, user, row).await
}
