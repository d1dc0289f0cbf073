//! Verification of the address: a signed-in user shows with a mailed link or code that the address of the account is theirs.

use serde_json::json;

use super::{
    audit::{self, Event, Kind},
    caller::{Caller, CurrentUser},
    mail::{
        limits::{Addressee, Recipient},
        outbox::{self, NewMail},
        tickets::{self, NewTicket, Opened, OwnProof, Pending},
    },
    users,
};
use crate::{
    app::App,
    error::{Error, Result},
    values::{language::Language, mail_kind::MailKind, ticket_purpose::TicketPurpose},
};

/// Mails the caller a link and a code. `language` is that of the request.
///
/// # Errors
/// [`Error::MailUnavailable`], [`Error::AlreadyVerified`].
pub async fn request(app: &App, caller: &Caller, language: Option<Language>) -> Result<Pending> {
    outbox::require(app)?;
    let (tx, now) = (app.db.write().await?, app.clock.now());
    let CurrentUser { user, .. } = caller.recheck(&tx, now).await?;
    if user.email_verified {
        return Err(Error::AlreadyVerified);
    }
    let language = user.language.or(language).unwrap_or(app.settings.mail.language);
    let recipient = Recipient::lock(app, &tx, Addressee::Address(&user.email)).await?;
    let sends = recipient.count_mail(&tx, now).await?;
    let new = NewTicket {
        purpose: TicketPurpose::Verify,
        user: Some(user.id),
        address: Some(&user.email),
        language,
        context: json!({}),
    };
    let ticket = tickets::issue(app, &tx, now, &recipient, sends, new).await?;
    let pending = tickets::hand_out(app, &tx, now, &ticket).await?;
    let mail = NewMail::with_ticket(MailKind::Verify, &ticket, language);
    let queued = if sends { Some(outbox::queue(&tx, now, mail).await?) } else { None };
    let event = Event::on_user(Kind::VerificationRequested, &user);
    audit::record(&tx, now, &caller.source, caller.actor(&user), event).await?;
    tx.commit().await?;
    outbox::wake(app, queued);
    Ok(pending)
}

/// Records that the address of the caller's account is theirs. Succeeds again if the request is repeated.
///
/// # Errors
/// A fault of `/token` or `/code`.
pub async fn complete(app: &App, caller: &Caller, proof: &OwnProof) -> Result<()> {
    let (tx, now) = (app.db.write().await?, app.clock.now());
    let CurrentUser { user, .. } = caller.recheck(&tx, now).await?;
    let opened = tickets::open_own(app, &tx, now, &user, TicketPurpose::Verify, proof).await?;
    // The ticket of an address that has changed since is void.
    let is_current = |opened: &Opened| opened.ticket.address.as_ref() == Some(&user.email);
    let opened = opened.and_then(|opened| if is_current(&opened) { Ok(opened) } else { Err(opened.spent()) });
    let opened = match opened {
        Ok(opened) => opened,
        Err(refusal) => {
            tx.commit().await?; // counts a wrong code
            return Err(refusal.at(""));
        }
    };
    if user.email_verified && opened.ticket.used_at.is_some() {
        return Ok(());
    }
    let opened = opened.still_live(now)?;
    opened.redeem(&tx, now).await?;
    let user = users::set_verified(app, &tx, user).await?;
    let event = Event::on_user(Kind::EmailVerified, &user);
    audit::record(&tx, now, &caller.source, caller.actor(&user), event).await?;
    Ok(tx.commit().await?)
}
