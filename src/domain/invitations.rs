//! Invitations: administrators invite people, who create their own account with a mailed link. An invitation gives no more than
//! its administrator may give, when it is created and again when it is accepted.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, EntityTrait, IntoActiveModel, ModelTrait, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect,
};
use serde_json::json;

use super::{
    audit::{self, Actor, Event, Kind},
    authority::{self, Authority, By},
    caller::Caller,
    mail::{
        limits::{Addressee, Recipient},
        outbox::{self, NewMail, Queued},
        tickets::{self, NewTicket, Opened},
    },
    paging::{Paging, Slice},
    sign_ups::Choice,
    source::Source,
    throttle,
    users::{self, NewAccount, User},
};
use crate::{
    app::App,
    entity::{invitation, json::JsonText, user},
    error::{Error, Missing, Result},
    live::{clock_trust::TrustedReading, database::Transaction, rate_limits::RateLimit},
    values::{
        email::Email,
        ids::{InvitationId, UserId},
        language::Language,
        mail_kind::MailKind,
        name::Name,
        permission::{OwnPermission, WriteUsers},
        role_name::RoleName,
        ticket_purpose::TicketPurpose,
        ticket_token::TicketToken,
    },
};

/// How long an invitation is listed after it expired, whether or not it was accepted.
const KEPT: TimeDelta = TimeDelta::days(30);

/// What an administrator states of the person to invite.
pub struct NewInvitation {
    /// The e-mail address, which no account has.
    pub email: Email,
    /// The person's name.
    pub name: Option<Name>,
    /// The account's first roles.
    pub roles: Vec<RoleName>,
    /// The language of the mail and of the account.
    pub language: Option<Language>,
}

/// An invitation with the names of its roles.
#[derive(Debug, Clone)]
pub struct Invitation {
    /// The invitation's row.
    pub row: invitation::Model,
    /// The names of the roles, sorted.
    pub roles: Vec<RoleName>,
}

impl TryFrom<invitation::Model> for Invitation {
    type Error = Error;

    fn try_from(row: invitation::Model) -> Result<Self> {
        Ok(Self { roles: row.roles().map_err(Error::internal)?, row })
    }
}

/// The authority of a caller who invites people.
fn by(caller: &Caller) -> By<'_> {
    By::Caller(caller, OwnPermission::of::<WriteUsers>())
}

/// Invites a person. Replaces an earlier invitation of the address, whose link becomes void.
///
/// # Errors
/// [`Error::MailUnavailable`], [`Error::EmailTaken`], a fault of `/roles`; [`Error::EscalationDenied`] unless the caller holds every
/// permission of the roles, and of those of the earlier invitation.
pub async fn create(app: &App, caller: &Caller, new: NewInvitation) -> Result<Invitation> {
    outbox::require(app)?;
    let (tx, authority) = by(caller).begin(app).await?;
    let roles = users::may_give(&authority, &tx, &new.roles).await?;
    let now = app.clock.now();
    if has_account(app, &tx, new.email.as_str(), now).await? {
        return Err(Error::EmailTaken);
    }
    let earlier = invitation::Entity::pending(&tx, new.email.as_str()).await?;
    if let Some(earlier) = &earlier {
        authority.must_hold(&earlier.roles().map_err(Error::internal)?)?;
        remove(app, &tx, earlier.clone(), now).await?;
    }
    let mut row = invitation::Model {
        id: InvitationId::new(now),
        email: new.email.into(),
        name: new.name.map(String::from),
        roles: JsonText(json!(roles)),
        language: new.language,
        created_by: caller.user(),
        created_at: now,
        expires_at: now,
        accepted_at: None,
    };
    let queued;
    (queued, row.expires_at) = queue(app, &tx, now, &row).await?;
    invitation::Entity::insert(row.clone().into_active_model()).exec_without_returning(&tx).await?;
    let details = json!({ "email": row.email, "roles": roles, "replaces": earlier.map(|earlier| earlier.id) });
    let event = Event::on_invitation(Kind::InvitationCreated, row.id).with(details);
    audit::record(&tx, now, &authority.source, authority.actor, event).await?;
    tx.commit().await?;
    queued.wake(app);
    Ok(Invitation { row, roles })
}

/// Returns whether an account has this address, or can still have it back.
async fn has_account(app: &App, tx: &Transaction, email: &str, now: DateTime<Utc>) -> Result<bool> {
    let is_taken = user::Entity::by_identifier(email).count(tx).await? > 0;
    Ok(is_taken || tickets::is_reserved(app, tx, now, email, None).await?)
}

/// Queues the mail of an invitation, and returns when its link expires. A link that is live is sent again.
async fn queue(app: &App, tx: &Transaction, now: DateTime<Utc>, row: &invitation::Model) -> Result<(Queued, DateTime<Utc>)> {
    let recipient = Recipient::lock(app, tx, Addressee::Address(&row.email)).await?;
    let language = row.language.unwrap_or(app.settings.mail.language);
    let new = NewTicket {
        purpose: TicketPurpose::Invite,
        user: None,
        address: Some(&row.email),
        language,
        context: json!({ "invitation": row.id, "name": row.name }),
    };
    let ticket = tickets::issue(app, tx, now, &recipient, true, new).await?;
    let queued = outbox::queue(tx, now, NewMail::with_ticket(MailKind::Invite, &ticket, language)).await?;
    Ok((queued, ticket.expires_at))
}

/// Deletes an invitation, and makes its links void.
async fn remove(app: &App, tx: &Transaction, row: invitation::Model, now: DateTime<Utc>) -> Result<()> {
    tickets::void_address(app, tx, &row.email, &[TicketPurpose::Invite], now).await?;
    row.delete(tx).await?;
    Ok(())
}

/// Returns a page of invitations, newest first. They are listed for 30 days after they expired.
///
/// # Errors
/// A fault of `cursor`.
pub async fn list(app: &App, paging: &Paging) -> Result<Slice<Invitation>> {
    const LIST: &str = "invitations";
    let mut query = invitation::Entity::find().order_by_desc(invitation::COLUMN.id).limit(paging.rows());
    if let Some(id) = paging.position::<InvitationId>(app, LIST)? {
        query = query.filter(invitation::COLUMN.id.lt(id));
    }
    let rows = query.all(app.db.read()).await?.into_iter().map(Invitation::try_from).collect::<Result<_>>()?;
    Ok(paging.slice(app, LIST, rows, |invitation| invitation.row.id))
}

/// Revokes an invitation: it is deleted, and its link becomes void.
///
/// # Errors
/// [`Error::NotFound`], [`Error::EscalationDenied`], [`Error::AlreadyAccepted`].
pub async fn revoke(app: &App, caller: &Caller, id: InvitationId) -> Result<()> {
    let (tx, authority) = by(caller).begin(app).await?;
    let Invitation { row, roles } = target(&tx, &authority, id).await?;
    let now = app.clock.now();
    let details = json!({ "email": row.email, "roles": roles });
    let event = Event::on_invitation(Kind::InvitationRevoked, id).with(details);
    audit::record(&tx, now, &authority.source, authority.actor, event).await?;
    remove(app, &tx, row, now).await?;
    Ok(tx.commit().await?)
}

/// Sends an invitation again. The link stays the same while it is live, and is valid for another week, but for no more than two
/// weeks in all; an invitation that has expired gets another link.
///
/// # Errors
/// [`Error::MailUnavailable`], [`Error::NotFound`], [`Error::EscalationDenied`]; [`Error::AlreadyAccepted`], also if the address
/// has an account by now; [`Error::InviterLacksPermission`] if the invitation could not be accepted.
pub async fn resend(app: &App, caller: &Caller, id: InvitationId) -> Result<()> {
    outbox::require(app)?;
    let (tx, authority) = by(caller).begin(app).await?;
    let invitation = target(&tx, &authority, id).await?;
    let now = app.clock.now();
    if has_account(app, &tx, &invitation.row.email, now).await? {
        return Err(Error::AlreadyAccepted);
    }
    must_be_acceptable(&tx, &invitation.roles, invitation.row.created_by).await?;
    let (queued, expires_at) = queue(app, &tx, now, &invitation.row).await?;
    let mut row = invitation.row.into_active_model();
    row.expires_at = Set(expires_at);
    row.update(&tx).await?;
    let event = Event::on_invitation(Kind::InvitationResent, id);
    audit::record(&tx, now, &authority.source, authority.actor, event).await?;
    tx.commit().await?;
    queued.wake(app);
    Ok(())
}

/// Returns the invitation to act on, which was not accepted. The authority must hold every permission of its roles.
async fn target(tx: &Transaction, authority: &Authority, id: InvitationId) -> Result<Invitation> {
    let row = invitation::Entity::find_by_id(id).one(tx).await?.ok_or(Error::NotFound(Missing::Invitation))?;
    let invitation = Invitation::try_from(row)?;
    authority.must_hold(&invitation.roles)?;
    if invitation.row.accepted_at.is_some() { Err(Error::AlreadyAccepted) } else { Ok(invitation) }
}

/// Fails with [`Error::InviterLacksPermission`] unless the administrator could create an invitation with these roles now. The
/// transaction must hold the lock of the administration.
async fn must_be_acceptable(tx: &Transaction, roles: &[RoleName], administrator: UserId) -> Result<()> {
    let authority = authority::of_user(tx, administrator, OwnPermission::of::<WriteUsers>()).await?;
    let checked = match &authority {
        Some(authority) => users::may_give(authority, tx, roles).await.map(drop),
        None => Err(Error::EscalationDenied),
    };
    checked.map_err(|error| match error {
        // A role that was deleted is a fault of the request that names it.
        Error::EscalationDenied | Error::InsufficientPermission { .. } | Error::Invalid(_) => Error::InviterLacksPermission,
        error => error,
    })
}

/// Creates the account of a person who was invited. Its address is verified. The name and the language are those of the
/// invitation unless the person chooses others; `language` is that of the request. Nobody is logged in.
///
/// # Errors
/// A fault of `/token` or `/password`; [`Error::InviterLacksPermission`], [`Error::EmailTaken`], [`Error::UsernameTaken`],
/// [`Error::TooManyRequests`], [`Error::Overloaded`].
pub async fn accept(app: &App, source: &Source, token: &TicketToken, choice: Choice, language: Option<Language>) -> Result<User> {
    throttle::limit_rate(app, source, RateLimit::Mail)?;
    let opened = tickets::open_link(app, TicketPurpose::Invite, token).await?;
    // Checked twice, as in `users::create`.
    let (_, Invitation { row, roles }) = begin_acceptance(app, &opened).await?;
    let Choice { password, username, name } = choice;
    let invited_name = row.name.as_deref().map(str::parse).transpose().map_err(Error::internal)?;
    let new = NewAccount {
        email: row.email.parse().map_err(Error::internal)?,
        username,
        name: name.or(invited_name),
        password: Some(password),
        roles: roles.clone(),
        language: row.language.or(language),
        email_verified: true,
    };
    let hash = users::hash_for(app, &new).await?;
    let (tx, Invitation { row, .. }) = begin_acceptance(app, &opened).await?;
    let now = app.clock.now();
    opened.redeem(&tx, now).await?;
    let user = users::insert(app, &tx, new, hash).await?;
    let details = json!({ "invitation": row.id, "created_by": row.created_by, "roles": roles });
    let event = Event::on_user(Kind::InvitationAccepted, &user).with(details);
    audit::record(&tx, now, source, Actor::account(&user, None), event).await?;
    let mut accepted = row.into_active_model();
    accepted.accepted_at = Set(Some(now));
    accepted.update(&tx).await?;
    tx.commit().await?;
    Ok(User { profile: user.into(), roles })
}

/// Begins a transaction in which the invitation of a link may be accepted.
async fn begin_acceptance(app: &App, opened: &Opened) -> Result<(Transaction, Invitation)> {
    let id = opened.ticket.context.0["invitation"].as_str().and_then(|id| id.parse().ok()).ok_or_else(|| opened.refused())?;
    let tx = app.db.write().await?;
    authority::lock_administration(&tx).await?;
    let row: Option<invitation::Model> = invitation::Entity::find_by_id::<InvitationId>(id).one(&tx).await?;
    let row = row.filter(|row| row.accepted_at.is_none()).ok_or_else(|| opened.refused())?;
    let invitation = Invitation::try_from(row)?;
    must_be_acceptable(&tx, &invitation.roles, invitation.row.created_by).await?;
    Ok((tx, invitation))
}

/// Deletes the invitations that expired long ago.
pub async fn purge(app: &App, trusted: TrustedReading) -> Result<()> {
    let tx = app.db.write_in_background().await?;
    let old = invitation::COLUMN.expires_at.lte(trusted.purge_before() - KEPT);
    invitation::Entity::delete_many().filter(old).exec(&tx).await?;
    Ok(tx.commit().await?)
}
