//! Sign-ups: people create their own account once they have proven that they read its mailbox. Until then there is no account, so
//! nobody can occupy the address of another. A sign-up with an address that has an account gets the same response, writes the
//! same rows and does the same work, and its owner is told.

use serde_json::json;

use super::{
    audit::{self, Actor, Event, Kind},
    mail::{
        limits::{Addressee, Recipient},
        outbox::{self, NewMail},
        tickets::{self, NewTicket, Pending, Proof},
    },
    source::Source,
    throttle,
    users::{self, NewAccount, User},
};
use crate::{
    app::App,
    entity::user,
    error::{Error, Result},
    live::{mail::Values, rate_limits::RateLimit},
    values::{
        email::Email, language::Language, mail_kind::MailKind, name::Name, password::NewPassword,
        registration_mode::RegistrationMode, role_name::RoleName, ticket_purpose::TicketPurpose, username::Username,
    },
};

/// Mails a link and a code with which an account for this address can be created; or, if there is one, mails its owner that there
/// is. `language` is that of the caller.
///
/// # Errors
/// [`Error::RegistrationClosed`], [`Error::MailUnavailable`], [`Error::TooManyRequests`].
pub async fn start(app: &App, source: &Source, email: &Email, language: Option<Language>) -> Result<Pending> {
    if !are_open(app) {
        return Err(Error::RegistrationClosed);
    }
    outbox::require(app)?;
    throttle::limit_rate(app, source, RateLimit::Mail)?;
    let tx = app.db.write().await?;
    let address = email.as_str();
    let owner = user::Entity::by_identifier(address).one(&tx).await?;
    let (owner, now) = (owner.as_ref(), app.clock.now());
    let recipient = Recipient::lock(app, &tx, Addressee::Address(address)).await?;
    let sends = recipient.count_mail(&tx, now).await?;
    let language = language.unwrap_or(app.settings.mail.language);
    let new = NewTicket {
        purpose: TicketPurpose::SignUp,
        user: None,
        address: if owner.is_none() { Some(address) } else { None },
        language,
        context: json!({}),
    };
    let ticket = tickets::issue(app, &tx, now, &recipient, sends, new).await?;
    let pending = tickets::hand_out(app, &tx, now, &ticket).await?;
    let mail = owner.map_or_else(
        || NewMail::with_ticket(MailKind::SignUp, &ticket, language),
        |owner| NewMail {
            kind: MailKind::AccountExists,
            user: Some(owner.id),
            to: Some(address),
            language: owner.language.unwrap_or(language),
            ticket: None,
            values: Values::default(),
        },
    );
    let queued = if sends { Some(outbox::queue(&tx, now, mail).await?) } else { None };
    let kind = Kind::SignUpStarted;
    let event = owner.map_or_else(|| Event::of(kind), |owner| Event::on_user(kind, owner));
    audit::record(&tx, now, source, Actor::NONE, event).await?;
    tx.commit().await?;
    outbox::wake(app, queued);
    Ok(pending)
}

/// What somebody chooses for the account that they sign up for.
pub struct Choice {
    /// The password.
    pub password: NewPassword,
    /// The username, which no other account has.
    pub username: Option<Username>,
    /// The person's name.
    pub name: Option<Name>,
}

/// Creates the account for which somebody has signed up, with the role `user`. Its address is verified, and its language is that
/// of the mail. Nobody is logged in. Fails as for a spent ticket if `registration.mode` has changed since.
///
/// # Errors
/// A fault of `/proof/token`, `/proof/code` or `/password`; [`Error::EmailTaken`], [`Error::UsernameTaken`],
/// [`Error::TooManyRequests`], [`Error::Overloaded`].
pub async fn complete(app: &App, source: &Source, proof: &Proof, choice: Choice) -> Result<User> {
    throttle::limit_rate(app, source, RateLimit::Mail)?;
    let opened = tickets::open(app, source, TicketPurpose::SignUp, proof).await?;
    if !are_open(app) {
        return Err(opened.refused());
    }
    let email = opened.ticket.address.as_deref().ok_or_else(|| opened.refused())?;
    let Choice { password, username, name } = choice;
    let roles = vec![RoleName::user()];
    let new = NewAccount {
        email: email.parse().map_err(Error::internal)?,
        username,
        name,
        password: Some(password),
        roles: roles.clone(),
        language: Some(opened.ticket.language),
        email_verified: true,
    };
    let hash = users::hash_for(app, &new).await?;
    let tx = app.db.write().await?;
    opened.redeem(&tx, app.clock.now()).await?;
    let user = users::insert(app, &tx, new, hash).await?;
    let event = Event::on_user(Kind::AccountRegistered, &user);
    audit::record(&tx, user.created_at, source, Actor::account(&user, None), event).await?;
    tx.commit().await?;
    Ok(User { profile: user.into(), roles })
}

fn are_open(app: &App) -> bool {
    app.settings.registration.mode == RegistrationMode::Verified
}
