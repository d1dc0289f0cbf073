//! Tickets: what the holder of a mailed link or code may do. Link and code are derived from the id of the ticket under a sealed
//! root, and stored nowhere: a copy of the database permits nothing without the master key.
//!
//! The first mail of a ticket and every repeated one carry the same link and the same code, so that mails that arrive late or
//! out of order work. A request about an account that does not exist issues a *decoy*: the same rows and the same work, but
//! nobody is sent its code.

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac};
use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ActiveModelTrait, ActiveValue::Set, ConnectionTrait, EntityTrait};
use serde_json::Value;
use uuid::Uuid;

use super::limits::{Addressee, Guesses, Recipient};
use crate::{
    app::App,
    domain::source::Source,
    entity::{
        json::JsonText,
        ticket,
        ticket_handle::{self, MAX_ATTEMPTS},
        user,
    },
    error::{Error, Fault, Result},
    live::{database::Transaction, random},
    values::{
        Invalid,
        ids::UserId,
        language::Language,
        ticket_code::TicketCode,
        ticket_handle::{HandleDigest, TicketHandle},
        ticket_purpose::TicketPurpose,
        ticket_token::TicketToken,
    },
};

/// How long a client should wait before it requests the same mail again, in seconds: the recipient is sent one mail a minute.
const RESEND_AFTER: i64 = 60;

/// How long an invitation is valid.
const INVITATION: TimeDelta = TimeDelta::days(7);

/// The purposes whose tickets end when the account changes: all but the undoing of a changed address, which would otherwise be
/// void after a second change.
const ENDED_BY_CHANGES: [TicketPurpose; 5] =
    [TicketPurpose::SignUp, TicketPurpose::Verify, TicketPurpose::Reset, TicketPurpose::Change, TicketPurpose::Invite];

/// Returns how long a ticket for this purpose lives after each request.
pub fn life(app: &App, purpose: TicketPurpose) -> TimeDelta {
    match purpose {
        TicketPurpose::SignUp | TicketPurpose::Verify | TicketPurpose::Change => TimeDelta::hours(24),
        TicketPurpose::Reset => TimeDelta::from_std(app.settings.mail.reset_ttl).unwrap_or_default(),
        TicketPurpose::Revert => TimeDelta::days(7),
        TicketPurpose::Invite => INVITATION,
    }
}

/// A ticket that is about to be issued.
pub struct NewTicket<'a> {
    /// What it permits.
    pub purpose: TicketPurpose,
    /// The account, if there is one yet.
    pub user: Option<UserId>,
    /// The canonical address of the mailbox; `None` makes a decoy.
    pub address: Option<&'a str>,
    /// The language of the page behind the link.
    pub language: Language,
    /// What the purpose needs, as a JSON object without secrets.
    pub context: Value,
}

/// What a client receives that requests a mail.
pub struct Pending {
    /// The handle, without which the client cannot use a code.
    pub handle: TicketHandle,
    /// How long the handle is valid, in seconds. A constant of the purpose.
    pub expires_in: i64,
    /// When the client may request the mail again, in seconds.
    pub resend_after: i64,
}

/// Issues a ticket, or returns the live one of the same purpose, account and address: during its first life it is renewed, so
/// that no ticket lives for more than two lives. `sends` is whether a mail follows; if none does, the ticket of the last mail is
/// the better one for as long as it is live.
pub async fn issue(
    app: &App,
    tx: &Transaction,
    now: DateTime<Utc>,
    recipient: &Recipient,
    sends: bool,
    new: NewTicket<'_>,
) -> Result<ticket::Model> {
    let life = life(app, new.purpose);
    let newest = ticket::Entity::newest(tx, new.purpose, new.user, &recipient.digest, now - life * 2).await?;
    let reusable = newest.filter(|ticket| ticket.created_at + life > now || (!sends && ticket.expires_at > now));
    // Since a decoy was issued, its address may have become one that can receive a link, and the other way round.
    let reusable = reusable.filter(|ticket| ticket.address.as_deref() == new.address);
    if let Some(mut ticket) = reusable {
        let latest = ticket.created_at + life * 2;
        ticket.expires_at = if ticket.created_at + life > now { now + life } else { ticket.expires_at }.min(latest);
        ticket.attempts = 0;
        // A change of the account may have made it void since it was read.
        if ticket::Entity::renew(tx, ticket.id, ticket.expires_at).await? {
            return Ok(ticket);
        }
    }
    issue_another(app, tx, now, recipient, new).await
}

/// Issues a ticket, even if there is a live one of the same purpose, account and address.
pub async fn issue_another(
    app: &App,
    tx: &Transaction,
    now: DateTime<Utc>,
    recipient: &Recipient,
    new: NewTicket<'_>,
) -> Result<ticket::Model> {
    let row = ticket::ActiveModel {
        id: Set(Uuid::from_bytes(*random::bytes().map_err(Error::internal)?).into()),
        purpose: Set(new.purpose),
        user_id: Set(new.user),
        address: Set(new.address.map(str::to_owned)),
        recipient: Set(recipient.digest.clone()),
        language: Set(new.language),
        attempts: Set(0),
        context: Set(JsonText(new.context)),
        created_at: Set(now),
        expires_at: Set(now + life(app, new.purpose)),
        used_at: Set(None),
        void_at: Set(None),
    };
    Ok(row.insert(tx).await?)
}

/// Makes a handle of a ticket for a client that requests a mail.
pub async fn hand_out(app: &App, tx: &Transaction, now: DateTime<Utc>, ticket: &ticket::Model) -> Result<Pending> {
    let (handle, life) = (TicketHandle::new(random::bytes().map_err(Error::internal)?), life(app, ticket.purpose));
    let row = ticket_handle::ActiveModel {
        digest: Set(handle.digest()),
        ticket_id: Set(ticket.id),
        attempts: Set(0),
        created_at: Set(now),
        expires_at: Set(now + life),
    };
    ticket_handle::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(Pending { handle, expires_in: life.num_seconds(), resend_after: RESEND_AFTER })
}

/// Makes the tickets of a user void after a change that they do not survive: another password or address, or a disabled account.
/// Tickets that undo a change of address stay live.
pub async fn void(tx: &Transaction, user: UserId, now: DateTime<Utc>) -> Result<()> {
    Ok(ticket::Entity::void(tx, user, ENDED_BY_CHANGES, now).await?)
}

/// Makes the tickets of a user for one purpose void.
pub async fn void_purpose(tx: &Transaction, user: UserId, purpose: TicketPurpose, now: DateTime<Utc>) -> Result<()> {
    Ok(ticket::Entity::void(tx, user, [purpose], now).await?)
}

/// Makes the tickets of the same user and purpose void that were issued after this one.
pub async fn void_later(tx: &Transaction, ticket: &ticket::Model, now: DateTime<Utc>) -> Result<()> {
    Ok(ticket::Entity::void_later(tx, ticket, now).await?)
}

/// Returns whether an address is reserved for another user: they had it until a few days ago, and can have it back.
pub async fn is_reserved(
    app: &App,
    conn: &impl ConnectionTrait,
    now: DateTime<Utc>,
    address: &str,
    user: Option<UserId>,
) -> Result<bool> {
    let recipient = Addressee::Address(address).digest(app);
    let owner = ticket::Entity::live(conn, TicketPurpose::Revert, &recipient, now).await?;
    Ok(owner.iter().any(|ticket| ticket.user_id != user))
}

/// The purposes of tickets that create an account. When an account gives up its address, by another address or by its end, such
/// tickets become void: a forgotten link must not bring back an account that was deleted.
pub const OF_NEW_ACCOUNTS: [TicketPurpose; 2] = [TicketPurpose::SignUp, TicketPurpose::Invite];

/// Makes the tickets of an address void that belong to no account and have these purposes.
pub async fn void_address(
    app: &App,
    tx: &Transaction,
    address: &str,
    purposes: &[TicketPurpose],
    now: DateTime<Utc>,
) -> Result<()> {
    let recipient = Addressee::Address(address).digest(app);
    Ok(ticket::Entity::void_of_recipient(tx, &recipient, purposes.iter().copied(), now).await?)
}

/// Returns the live ticket of an invitation to this recipient.
pub async fn invitation(tx: &Transaction, now: DateTime<Utc>, recipient: &Recipient) -> Result<Option<ticket::Model>> {
    let newest = ticket::Entity::newest(tx, TicketPurpose::Invite, None, &recipient.digest, now - INVITATION * 2).await?;
    Ok(newest.filter(|ticket| ticket.is_live(now)))
}

/// Makes every ticket of an account void that is about to be deleted, and every ticket that could create it again.
pub async fn void_all(app: &App, tx: &Transaction, user: &user::Model, now: DateTime<Utc>) -> Result<()> {
    ticket::Entity::void(tx, user.id, TicketPurpose::ALL.iter().copied(), now).await?;
    void_address(app, tx, &user.email, &OF_NEW_ACCOUNTS, now).await
}

/// Deletes the tickets of these addresses that belong to no account and were made by a time.
pub async fn delete_to(app: &App, tx: &Transaction, addresses: &[String], until: DateTime<Utc>) -> Result<()> {
    let recipients = addresses.iter().map(|address| Addressee::Address(address).digest(app)).collect();
    Ok(ticket::Entity::delete_of_recipients(tx, recipients, until).await?)
}

/// Returns the token in the link of a ticket; `None` for a decoy.
pub fn token(app: &App, ticket: &ticket::Model) -> Option<TicketToken> {
    let user = ticket.user_id.map_or_else(Uuid::nil, Uuid::from);
    let (purpose, address) = (ticket.purpose.as_str().as_bytes(), ticket.address.as_deref()?.as_bytes());
    // The parts between the NULs have a fixed length or contain no NUL.
    let message = [b"ticket\0", purpose, b"\0", Uuid::from(ticket.id).as_bytes(), user.as_bytes(), address].concat();
    let mac = hmac::sign(&app.ticket_root, &message);
    Some(TicketToken { ticket: ticket.id, mac: mac.as_ref().try_into().ok()? })
}

/// Returns the code of a ticket.
pub fn code(app: &App, ticket: &ticket::Model) -> TicketCode {
    let digest = hmac::sign(&app.ticket_root, &[b"code\0".as_slice(), Uuid::from(ticket.id).as_bytes()].concat());
    TicketCode::from_bytes(digest.as_ref()[..8].try_into().expect("an HMAC-SHA-256 has 32 bytes"))
}

/// What a caller sends to show that they read a mailbox.
pub enum Proof {
    /// The token from a link. It works on any device.
    Link(TicketToken),
    /// A code, and the handle that the client received when it requested the mail.
    Code {
        /// The handle.
        handle: TicketHandle,
        /// The code.
        code: TicketCode,
    },
}

/// What a signed-in caller sends to show that they read a mailbox. Their session takes the place of the handle.
pub enum OwnProof {
    /// The token from a link.
    Link(TicketToken),
    /// A code.
    Code(TicketCode),
}

impl OwnProof {
    /// Returns the one that a caller has sent. Fails with a fault of `/code` if there is none, or if there are both.
    pub fn either(token: Option<TicketToken>, code: Option<TicketCode>) -> Result<Self> {
        match (token, code) {
            (Some(token), None) => Ok(Self::Link(token)),
            (None, Some(code)) => Ok(Self::Code(code)),
            (None, None) => Err(Fault::at("/code", Invalid::new("required", "Either this or `token` is required.")).into()),
            (Some(_), Some(_)) => {
                Err(Fault::at("/code", Invalid::new("not_allowed", "Must be absent if there is a `token`.")).into())
            }
        }
    }
}

/// Why a proof is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The token is not genuine, serves another purpose, or belongs to another account.
    Invalid,
    /// The ticket of the link has expired.
    Expired,
    /// The handle of the code has expired, or the ticket where a session takes the place of a handle.
    ExpiredCode,
    /// The ticket was used, or another change made it void.
    Spent,
    /// The code is wrong, or may not be tried any more. This is also the answer for a code whose ticket was used or became
    /// void: any other one would reveal that the account exists.
    WrongCode,
}

impl Refusal {
    /// Returns the error for a proof in the member `parent` of the body; `""` means the body itself.
    pub fn at(self, parent: &'static str) -> Error {
        let (member, code, detail) = match self {
            Self::Invalid => ("token", "invalid_ticket", "Is not the token of a link for this purpose."),
            Self::Expired => ("token", "expired_ticket", "Has expired. Request another mail."),
            Self::ExpiredCode => ("code", "expired_ticket", "Has expired. Request another mail."),
            Self::Spent => ("token", "spent_ticket", "Was used, or is no longer valid. Request another mail."),
            Self::WrongCode => ("code", "wrong_code", "Is not the code from the latest mail, or was tried too often."),
        };
        Fault::at(format!("{parent}/{member}"), Invalid::new(code, detail)).into()
    }
}

/// A ticket whose proof was correct when it was checked. Nothing is permitted before [`Self::redeem`] succeeds.
#[derive(Debug)]
pub struct Opened {
    /// The ticket.
    pub ticket: ticket::Model,
    /// The member of the body that holds the proof; `""` means the body itself.
    parent: &'static str,
    handle: Option<HandleDigest>,
    is_code: bool,
}

/// The member of a body that holds a [`Proof`].
const PROOF: &str = "/proof";

/// Checks a proof, and counts a wrong code. Call this before any work for the caller, such as hashing a password.
///
/// # Errors
/// A fault of `/proof/token` or `/proof/code`; see [`Refusal`].
pub async fn open(app: &App, source: &Source, purpose: TicketPurpose, proof: &Proof) -> Result<Opened> {
    let opened = match proof {
        Proof::Link(token) => by_link(app, token, purpose, PROOF).await?,
        Proof::Code { handle, code } => by_code(app, source, purpose, handle, *code).await?,
    };
    opened.map_err(|refusal| refusal.at(PROOF))
}

/// As [`open`], for a body whose member `token` is the proof.
///
/// # Errors
/// A fault of `/token`; see [`Refusal`].
pub async fn open_link(app: &App, purpose: TicketPurpose, token: &TicketToken) -> Result<Opened> {
    by_link(app, token, purpose, "").await?.map_err(|refusal| refusal.at(""))
}

impl Opened {
    /// Uses the ticket, once, in the transaction of the change that it permits.
    ///
    /// # Errors
    /// [`Self::refused`] if the ticket was used, became void or expired since it was checked.
    pub async fn redeem(&self, tx: &Transaction, now: DateTime<Utc>) -> Result<()> {
        let redeemed = ticket::Entity::redeem(tx, self.ticket.id, self.handle.as_ref(), now).await?;
        if redeemed { Ok(()) } else { Err(self.refused()) }
    }

    /// Returns the ticket if it is live, for a proof of [`open_own`].
    pub fn still_live(self, now: DateTime<Utc>) -> Result<Self> {
        match live(&self.ticket, now) {
            Ok(()) => Ok(self),
            Err(Refusal::Expired) if self.is_code => Err(Refusal::ExpiredCode.at(self.parent)),
            Err(Refusal::Spent) => Err(self.refused()),
            Err(refusal) => Err(refusal.at(self.parent)),
        }
    }

    /// Returns the reason for a ticket that permits nothing any more.
    pub fn spent(&self) -> Refusal {
        if self.is_code { Refusal::WrongCode } else { Refusal::Spent }
    }

    /// As [`Self::spent`], as the error for the caller.
    pub fn refused(&self) -> Error {
        self.spent().at(self.parent)
    }
}

/// Checks the proof of a signed-in user, in the transaction that locked the user's row. A wrong code is counted, so commit the
/// transaction even if the proof is refused. The ticket may be a used one: a repeated request may then succeed again.
pub async fn open_own(
    app: &App,
    tx: &Transaction,
    now: DateTime<Utc>,
    user: &user::Model,
    purpose: TicketPurpose,
    proof: &OwnProof,
) -> Result<Result<Opened, Refusal>> {
    let is_code = matches!(proof, OwnProof::Code(_));
    let opened = |ticket| Opened { ticket, parent: "", handle: None, is_code };
    let presented = match proof {
        OwnProof::Link(token) => {
            let is_own = |ticket: &ticket::Model| ticket.purpose == purpose && ticket.user_id == Some(user.id);
            return Ok(genuine(app, tx, token).await?.filter(is_own).map(opened).ok_or(Refusal::Invalid));
        }
        OwnProof::Code(code) => code,
    };
    let Some(ticket) = ticket::Entity::newest_of(tx, user.id, purpose).await? else { return Ok(Err(Refusal::WrongCode)) };
    if ticket.expires_at <= now {
        return Ok(Err(Refusal::ExpiredCode));
    }
    let guesses = Guesses::lock_own(app, tx, user.id, &ticket).await?;
    if ticket.attempts >= MAX_ATTEMPTS || !guesses.may_guess(now) {
        return Ok(Err(Refusal::WrongCode));
    }
    if code(app, &ticket).is(presented) {
        return Ok(Ok(opened(ticket)));
    }
    ticket::Entity::count_attempt(tx, ticket.id).await?;
    guesses.count(tx, now).await?;
    Ok(Err(Refusal::WrongCode))
}

/// Returns the live ticket of a link, whatever its purpose. Changes nothing.
///
/// # Errors
/// A fault of `/token`.
pub async fn read(app: &App, token: &TicketToken) -> Result<ticket::Model> {
    let found = genuine(app, app.db.read(), token).await?.ok_or(Refusal::Invalid);
    found.and_then(|ticket| live(&ticket, app.clock.now()).map(|()| ticket)).map_err(|refusal| refusal.at(""))
}

async fn by_link(
    app: &App,
    token: &TicketToken,
    purpose: TicketPurpose,
    parent: &'static str,
) -> Result<Result<Opened, Refusal>> {
    let found = genuine(app, app.db.read(), token).await?.filter(|ticket| ticket.purpose == purpose).ok_or(Refusal::Invalid);
    Ok(found.and_then(|ticket| live(&ticket, app.clock.now()).map(|()| ticket)).map(|ticket| Opened {
        ticket,
        parent,
        handle: None,
        is_code: false,
    }))
}

/// Returns the ticket of a genuine token.
async fn genuine(app: &App, conn: &impl ConnectionTrait, presented: &TicketToken) -> Result<Option<ticket::Model>> {
    let found = ticket::Entity::find_by_id(presented.ticket).one(conn).await?;
    let is_genuine = |ticket: &ticket::Model| {
        token(app, ticket).is_some_and(|token| verify_slices_are_equal(&token.mac, &presented.mac).is_ok())
    };
    Ok(found.filter(is_genuine))
}

/// Fails with the reason why the ticket permits nothing any more.
fn live(ticket: &ticket::Model, now: DateTime<Utc>) -> Result<(), Refusal> {
    if ticket.expires_at <= now {
        Err(Refusal::Expired)
    } else if ticket.is_live(now) {
        Ok(())
    } else {
        Err(Refusal::Spent)
    }
}

/// Compares a code with that of the handle's ticket. The rows of the handle and of the limits are locked, so that no more codes
/// are compared than are counted. Does the same work for a decoy.
async fn by_code(
    app: &App,
    source: &Source,
    purpose: TicketPurpose,
    handle: &TicketHandle,
    presented: TicketCode,
) -> Result<Result<Opened, Refusal>> {
    let (tx, digest) = (app.db.write().await?, handle.digest());
    let Some(row) = ticket_handle::Entity::locked(&tx, &digest).await? else { return Ok(Err(Refusal::WrongCode)) };
    let Some(ticket) = ticket::Entity::find_by_id(row.ticket_id).one(&tx).await? else { return Ok(Err(Refusal::WrongCode)) };
    let now = app.clock.now();
    if ticket.purpose != purpose {
        return Ok(Err(Refusal::WrongCode));
    }
    if row.expires_at <= now {
        return Ok(Err(Refusal::ExpiredCode));
    }
    let guesses = Guesses::lock(app, &tx, source, &ticket, now).await?;
    if row.attempts >= MAX_ATTEMPTS || !guesses.may_guess(now) {
        return Ok(Err(Refusal::WrongCode));
    }
    if code(app, &ticket).is(&presented) && ticket.is_live(now) {
        return Ok(Ok(Opened { ticket, parent: PROOF, handle: Some(digest), is_code: true }));
    }
    ticket_handle::Entity::count_attempt(&tx, &digest).await?;
    guesses.count(&tx, now).await?;
    tx.commit().await?;
    Ok(Err(Refusal::WrongCode))
}
