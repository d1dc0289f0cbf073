//! Password resets: somebody who has forgotten the password sets a new one with a mailed link or code. Requests about accounts
//! that do not exist get the same response, write the same rows and do the same work.

use sea_orm::EntityTrait;
use uuid::Uuid;

use super::{
    audit::{self, Actor, Event, Kind},
    authority::By,
    credentials,
    factors::{self, FactorProof},
    mail::{
        limits::{Addressee, Recipient},
        outbox::{self, NewMail},
        tickets::{self, NewTicket, Pending, Proof},
    },
    revocations::{self, SessionSelection},
    source::Source,
    throttle, users,
};
use crate::{
    app::App,
    entity::user,
    error::{Fault, Result},
    live::{mail::Values, rate_limits::RateLimit},
    values::{
        identifier::Identifier, ids::UserId, language::Language, mail_kind::MailKind, password::NewPassword,
        ticket_purpose::TicketPurpose,
    },
};

/// Mails the account's owner a link and a code with which they can set a new password. Somebody who is invited gets the mail of
/// the invitation again, because they may think that they have an account. `language` is that of the caller.
///
/// # Errors
/// [`Error::MailUnavailable`](crate::error::Error::MailUnavailable),
/// [`Error::TooManyRequests`](crate::error::Error::TooManyRequests).
pub async fn request(app: &App, source: &Source, identifier: &Identifier, language: Option<Language>) -> Result<Pending> {
    outbox::require(app)?;
    throttle::limit_rate(app, source, RateLimit::Mail)?;
    let tx = app.db.write().await?;
    let user = users::named(&tx, identifier).await?;
    let user = user.as_ref();
    let now = app.clock.now();
    let language = user.and_then(|user| user.language).or(language).unwrap_or(app.settings.mail.language);
    let addressee = user.map_or(Addressee::Nobody(identifier), |user| Addressee::Address(&user.email));
    let recipient = Recipient::lock(app, &tx, addressee).await?;
    let new = new_ticket(user, language);
    let sends = recipient.count_mail(&tx, now).await?;
    let ticket = tickets::issue(app, &tx, now, &recipient, sends, new).await?;
    let pending = tickets::hand_out(app, &tx, now, &ticket).await?;
    // Looked up for an unknown account, too, so that the work is the same.
    let id = user.map_or_else(|| Uuid::nil().into(), |user| user.id);
    let is_network_known = throttle::knows_network(app, &tx, source, id, now).await?;
    // Looked up for every recipient, so that the work does not reveal who is invited.
    let invitation = tickets::invitation(&tx, now, &recipient).await?;
    let mail = match &invitation {
        Some(invitation) if user.is_none() => NewMail::with_ticket(MailKind::Invite, invitation, invitation.language),
        _ => NewMail::with_ticket(MailKind::Reset, &ticket, language),
    };
    let queued = if sends { Some(outbox::queue_requested(&tx, now, mail, is_network_known).await?) } else { None };
    let kind = Kind::PasswordResetRequested;
    let event = user.map_or_else(|| Event::of(kind), |user| Event::on_user(kind, user));
    audit::record(&tx, now, source, Actor::NONE, event).await?;
    tx.commit().await?;
    outbox::wake(app, queued);
    Ok(pending)
}

fn new_ticket(user: Option<&user::Model>, language: Language) -> NewTicket<'_> {
    let (user, address) = user.map_or((None, None), |user| (Some(user.id), Some(user.email.as_str())));
    NewTicket { purpose: TicketPurpose::Reset, user, address, language, context: serde_json::json!({}) }
}

/// Mails the owner of an account a link and a code, because an administrator asks for it.
///
/// # Errors
/// [`Error::MailUnavailable`](crate::error::Error::MailUnavailable), [`Error::NotFound`](crate::error::Error::NotFound),
/// [`Error::EscalationDenied`](crate::error::Error::EscalationDenied).
pub async fn send(app: &App, by: By<'_>, id: UserId) -> Result<()> {
    outbox::require(app)?;
    let (tx, authority) = by.begin(app).await?;
    let (user, _) = users::target(&tx, &authority, id).await?;
    let now = app.clock.now();
    let language = outbox::language_of(app, &user);
    let recipient = Recipient::lock(app, &tx, Addressee::Address(&user.email)).await?;
    let ticket = tickets::issue(app, &tx, now, &recipient, true, new_ticket(Some(&user), language)).await?;
    let queued = outbox::queue(&tx, now, NewMail::with_ticket(MailKind::Reset, &ticket, language)).await?;
    let event = Event::on_user(Kind::UserPasswordResetSent, &user);
    audit::record(&tx, now, &authority.source, authority.actor, event).await?;
    tx.commit().await?;
    queued.wake(app);
    Ok(())
}

/// Sets the password of the account whose mailbox the caller reads, and ends all its sessions and tickets. Nobody is logged in,
/// and a disabled account stays disabled. An account that has a second factor needs it as well: mail alone does not replace it.
///
/// # Errors
/// [`Error::SecondFactorRequired`](crate::error::Error::SecondFactorRequired);
/// [`Error::WrongFactor`](crate::error::Error::WrongFactor);
/// A fault of `/proof/token`, `/proof/code` or `/new_password`; [`Error::TooManyRequests`](crate::error::Error::TooManyRequests);
/// [`Error::Overloaded`](crate::error::Error::Overloaded).
pub async fn complete(app: &App, source: &Source, proof: &Proof, new: &NewPassword, factor: Option<&FactorProof>) -> Result<()> {
    throttle::limit_rate(app, source, RateLimit::Mail)?;
    let opened = tickets::open(app, source, TicketPurpose::Reset, proof).await?;
    let holder = |user: Option<user::Model>| {
        let is_holder = |user: &user::Model| opened.ticket.address.as_ref() == Some(&user.email);
        user.filter(is_holder).ok_or_else(|| opened.refused())
    };
    let id = opened.ticket.user_id.ok_or_else(|| opened.refused())?;
    let user = holder(user::Entity::find_by_id(id).one(app.db.read()).await?)?;
    new.check_policy(app.settings.password.min_length, &user.email, user.username.as_deref())
        .map_err(|invalid| Fault::at("/new_password", invalid))?;
    factors::require_beside(app, source, &user, &opened.ticket, factor).await?;
    let hash = credentials::hash(app, new).await?;
    let tx = app.db.write().await?;
    let user = holder(user::Entity::locked(&tx, id).await?)?;
    let now = app.clock.now();
    // In the transaction of the change, so that a failure spends no recovery code.
    let (tx, mut queued) = factors::prove_beside(app, tx, now, source, &user, &opened.ticket, factor).await?;
    opened.redeem(&tx, now).await?;
    users::void_requests(&tx, id, now).await?;
    // Whoever guesses at the account must not keep its owner out after the reset.
    throttle::recognise(app, &tx, source, &user, now).await?;
    let event = Event::on_user(Kind::PasswordReset, &user);
    audit::record(&tx, now, source, Actor::account(&user, None), event).await?;
    queued.extend(outbox::notify(app, &tx, now, MailKind::PasswordReset, &user, Values::at(now)).await?);
    let pending = revocations::end_sessions(&tx, id, SessionSelection::All).await?;
    let user = users::set_verified(app, &tx, user).await?;
    users::set_password_hash(app, &tx, user, hash).await?;
    pending.commit(app, tx).await?;
    outbox::wake(app, queued);
    Ok(())
}
