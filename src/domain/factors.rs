//! Second factors: what a user proves beside the password. Authenticator apps ([`totp`]) and passkeys are factors; a recovery code
//! ([`recovery_codes`]) takes the place of one that was lost.
//!
//! A factor is proven in the transaction of what it permits, under the lock of the user's row. So each code is used once, and no
//! more codes are compared than are counted.

pub mod enrolment;
pub mod passkeys;
pub mod recovery_codes;
pub mod totp;

use chrono::{DateTime, Utc};
use sea_orm::{ColumnTrait, EntityTrait, ModelTrait, QueryFilter};
use serde_json::{Value, json};

use super::{
    audit::{self, Actor, Event, Kind},
    authority::By,
    caller::{Caller, CurrentUser},
    ceremonies::Purpose,
    challenges,
    mail::outbox::{self, Queued},
    revocations::{self, SessionSelection},
    source::Source,
    throttle::{self, Attempt, Target},
    users,
};
use crate::{
    app::App,
    entity::{challenge, factor, pending_totp, recovery_code, redeemed_ceremony, ticket, user},
    error::{Error, Missing, Result},
    live::{clock_trust::TrustedReading, database::Transaction, mail::Values, role_map::RoleMap},
    values::{
        authentication::{Acr, Method},
        ceremony::CeremonyText,
        challenge::ChallengePurpose,
        ids::{FactorId, SessionId, UserId},
        mail_kind::MailKind,
        name::Name,
        passkey_credential::PasskeyCredential,
        recovery_code::RecoveryCode,
        ticket_purpose::TicketPurpose,
        totp_code::TotpCode,
    },
};

/// What a caller sends to prove a second factor.
pub enum FactorProof {
    /// The code of an authenticator app.
    Totp(TotpCode),
    /// A recovery code.
    RecoveryCode(RecoveryCode),
    /// What a passkey has signed.
    Passkey {
        /// The ceremony for which it was signed.
        ceremony: CeremonyText,
        /// What the browser returned.
        credential: PasskeyCredential,
    },
}

impl FactorProof {
    /// Returns whether somebody might guess it. Nobody guesses what a passkey signs, so nobody has to wait for one.
    fn is_guessable(&self) -> bool {
        !matches!(self, Self::Passkey { .. })
    }
}

/// The circumstances in which a factor is proven.
pub(super) struct Occasion<'a> {
    /// What the factor is for. A passkey proves nothing else.
    pub purpose: Purpose,
    /// Where the request comes from.
    pub source: &'a Source,
    /// The caller, as far as it is known who they are.
    pub actor: Actor,
    /// The challenge that counts a wrong factor, if there is one.
    pub challenge: Option<&'a challenge::Model>,
    /// Only what the user had before this time counts.
    pub before: Option<DateTime<Utc>>,
}

/// A factor that was proven in a transaction which is not committed yet.
pub(super) struct Proven {
    pub tx: Transaction,
    pub method: Method,
    /// The notices that the transaction sends.
    pub queued: Vec<Queued>,
}

/// Proves a second factor of a user whose row is locked. Every operation that takes a factor calls this. A wrong factor is counted,
/// and then the transaction is committed; otherwise the caller goes on with it.
///
/// # Errors
/// [`Error::WrongFactor`]; [`Error::TooManyRequests`].
pub(super) async fn prove(
    app: &App,
    tx: Transaction,
    now: DateTime<Utc>,
    user: &user::Model,
    occasion: Occasion<'_>,
    proof: &FactorProof,
) -> Result<Proven> {
    let attempt = proof.is_guessable().then(|| Attempt::new(app, occasion.source, Target::SecondFactor(user.id)));
    if let Some(attempt) = &attempt {
        attempt.check(&tx, now).await?;
    }
    let Occasion { purpose, source, before, .. } = occasion;
    let method = match proof {
        FactorProof::Totp(code) => totp::prove(app, &tx, now, user.id, before, *code).await?.map(Method::Totp),
        FactorProof::RecoveryCode(code) => {
            let is_theirs = recovery_codes::redeem(app, &tx, now, user, before, code).await?;
            is_theirs.then_some(Method::RecoveryCode)
        }
        FactorProof::Passkey { ceremony, credential } => {
            passkeys::prove(app, &tx, now, source, user, purpose, before, ceremony, credential).await?.map(Method::Passkey)
        }
    };
    let Some(method) = method else { return refuse(app, tx, now, user, occasion, attempt).await };
    let mut queued = Vec::new();
    if matches!(method, Method::RecoveryCode) {
        queued = recovery_codes::report_use(app, &tx, now, source, occasion.actor, user).await?;
    }
    Ok(Proven { tx, method, queued })
}

/// Records a wrong factor, commits, and fails with [`Error::WrongFactor`]. If it was an attempt to guess, it counts, and the owner is
/// told of every third one.
async fn refuse<T>(
    app: &App,
    tx: Transaction,
    now: DateTime<Utc>,
    user: &user::Model,
    Occasion { source, actor, challenge, .. }: Occasion<'_>,
    attempt: Option<Attempt>,
) -> Result<T> {
    audit::record(&tx, now, source, actor, Event::on_user(Kind::FactorRefused, user)).await?;
    let mut notice = None;
    if let Some(attempt) = attempt {
        if let Some(challenge) = challenge {
            challenge::Entity::count_attempt(&tx, &challenge.digest).await?;
        }
        attempt.failed(&tx, now).await?;
        if throttle::count_wrong_factor(app, &tx, now, user.id).await? {
            let values = Values { network: source.address, ..Values::at(now) };
            notice = outbox::notify(app, &tx, now, MailKind::FactorRefused, user, values).await?;
        }
    }
    tx.commit().await?;
    outbox::wake(app, notice);
    Err(Error::WrongFactor)
}

/// Makes sure that a request with a mailed link or code also has a second factor if the account has one: mail alone never
/// suffices. Call this before any work for the caller, such as hashing a password; [`prove_beside`] then proves the factor.
///
/// # Errors
/// [`Error::SecondFactorRequired`] if the request has no factor; [`Error::TooManyRequests`].
pub(super) async fn require_beside(
    app: &App,
    source: &Source,
    user: &user::Model,
    ticket: &ticket::Model,
    proof: Option<&FactorProof>,
) -> Result<()> {
    if !factor::Entity::is_held(app.db.read(), user.id, ticket.undoes_since()).await? {
        return Ok(());
    }
    match proof {
        Some(proof) if proof.is_guessable() => {
            return throttle::attempt(app, source, Target::SecondFactor(user.id)).await.map(drop);
        }
        Some(_) => return Ok(()),
        None => {}
    }
    let tx = app.db.write().await?;
    // The account may have been deleted meanwhile, which the caller finds out.
    let Some(user) = user::Entity::locked(&tx, user.id).await? else { return Ok(()) };
    challenge_beside(app, tx, app.clock.now(), &user, ticket).await
}

async fn challenge_beside<T>(
    app: &App,
    tx: Transaction,
    now: DateTime<Utc>,
    user: &user::Model,
    ticket: &ticket::Model,
) -> Result<T> {
    let purpose = if ticket.purpose == TicketPurpose::Revert { ChallengePurpose::Revert } else { ChallengePurpose::Reset };
    let challenged = challenges::issue(app, &tx, now, user, purpose, Some(ticket)).await?;
    tx.commit().await?;
    Err(Error::SecondFactorRequired(Box::new(challenged)))
}

/// Proves the second factor of a user whose row is locked, beside a mailed link or code, if the user has one.
///
/// # Errors
/// [`Error::SecondFactorRequired`] if the request has no factor; [`Error::WrongFactor`]; [`Error::TooManyRequests`].
pub(super) async fn prove_beside(
    app: &App,
    tx: Transaction,
    now: DateTime<Utc>,
    source: &Source,
    user: &user::Model,
    ticket: &ticket::Model,
    proof: Option<&FactorProof>,
) -> Result<(Transaction, Vec<Queued>)> {
    let before = ticket.undoes_since();
    if !factor::Entity::is_held(&tx, user.id, before).await? {
        return Ok((tx, Vec::new()));
    }
    let Some(proof) = proof else { return challenge_beside(app, tx, now, user, ticket).await };
    let purpose = if ticket.purpose == TicketPurpose::Revert { Purpose::Revert } else { Purpose::Reset };
    let occasion = Occasion { purpose, source, actor: Actor::NONE, challenge: None, before };
    let Proven { tx, queued, .. } = prove(app, tx, now, user, occasion, proof).await?;
    Ok((tx, queued))
}

/// Returns the caller's factors, oldest first.
pub async fn list(app: &App, caller: &Caller) -> Result<Vec<factor::Model>> {
    Ok(factor::Entity::of(caller.user(), None).all(app.db.read()).await?)
}

/// Returns the factors of any account, oldest first.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn list_of(app: &App, user: UserId) -> Result<Vec<factor::Model>> {
    users::read(app, user).await?;
    Ok(factor::Entity::of(user, None).all(app.db.read()).await?)
}

/// Gives one of the caller's factors another name.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn rename(app: &App, caller: &Caller, id: FactorId, name: &Name) -> Result<factor::Model> {
    let (tx, now) = (app.db.write().await?, app.clock.now());
    let CurrentUser { user, .. } = caller.recheck(&tx, now).await?;
    let before = own(&tx, user.id, id).await?;
    if before.name == name.as_str() {
        return Ok(before);
    }
    factor::Entity::rename(&tx, id, name.as_str()).await?;
    let details = json!({ "factor": id, "before": before.name, "after": name.as_str() });
    let event = Event::on_user(Kind::FactorRenamed, &user).with(details);
    audit::record(&tx, now, &caller.source, caller.actor(&user), event).await?;
    tx.commit().await?;
    Ok(factor::Model { name: name.as_str().to_owned(), ..before })
}

/// Removes one of the caller's factors, and ends the sessions that were begun or raised with it. Recovery codes, and the sessions
/// that they have raised, go with the last factor. Returns the sessions that have ended, which may include the caller's.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::FactorRequired`] if it is the last one that works here, and the policy demands one.
pub async fn remove(app: &App, caller: &Caller, id: FactorId) -> Result<Vec<SessionId>> {
    let (tx, now) = (app.db.write().await?, app.clock.now());
    let CurrentUser { user, roles } = caller.recheck(&tx, now).await?;
    let (removed, others): (Vec<_>, Vec<_>) =
        factor::Entity::of(user.id, None).all(&tx).await?.into_iter().partition(|factor| factor.id == id);
    let removed = removed.into_iter().next().ok_or(Error::NotFound(Missing::Factor))?;
    let is_needed = !others.iter().any(|other| other.works_at(app.rp_id()));
    if is_needed && app.settings.second_factor.require.concerns(RoleMap::load(&tx).await?.administers(&roles)) {
        return Err(Error::FactorRequired);
    }
    let is_last = others.is_empty();
    // A recovery code has raised a session in place of a factor, and belongs to the last one.
    let selection = if is_last { SessionSelection::AtLevel(Acr::Two) } else { SessionSelection::WithFactor(id) };
    let mut pending = revocations::end_sessions(&tx, user.id, selection).await?;
    let ended = pending.sessions();
    let kind = removed.kind;
    removed.delete(&tx).await?;
    if is_last {
        recovery_code::Entity::delete_of(&tx, user.id, None).await?;
    }
    let details = json!({ "factor": id, "kind": kind, "sessions": ended });
    let event = Event::on_user(Kind::FactorRemoved, &user).with(details);
    audit::record(&tx, now, &caller.source, caller.actor(&user), event).await?;
    let values = Values { factor: Some(kind), ..Values::at(now) };
    let notice = outbox::notify(app, &tx, now, MailKind::FactorRemoved, &user, values).await?;
    let user = users::factors_changed(app, &tx, user, !is_last).await?;
    pending.merge(revocations::revoke_older_tokens(&tx, &user).await?);
    pending.commit(app, tx).await?;
    outbox::wake(app, notice);
    Ok(ended)
}

/// Returns a factor of this user, whose row is locked.
async fn own(tx: &Transaction, user: UserId, id: FactorId) -> Result<factor::Model> {
    let found = factor::Entity::find_by_id(id).filter(factor::COLUMN.user_id.eq(user)).one(tx).await?;
    found.ok_or(Error::NotFound(Missing::Factor))
}

/// Removes all second factors and recovery codes of an account whose owner has lost them, and ends its sessions, its tickets and
/// the log-ins that wait for a factor. Returns whether there were any factors.
///
/// # Errors
/// [`Error::NotFound`], [`Error::OwnAccount`], [`Error::EscalationDenied`].
pub async fn reset(app: &App, by: By<'_>, id: UserId) -> Result<bool> {
    by.must_not_be(id)?;
    let (tx, authority) = by.begin(app).await?;
    let (user, _) = users::target(&tx, &authority, id).await?;
    let now = app.clock.now();
    let removed = factor::Entity::delete_of(&tx, id, None).await?;
    recovery_code::Entity::delete_of(&tx, id, None).await?;
    pending_totp::Entity::delete_of(&tx, id).await?;
    users::void_requests(&tx, id, now).await?;
    let event = Event::on_user(Kind::UserFactorsReset, &user).with(json!({ "factors": removed }));
    audit::record(&tx, now, &authority.source, authority.actor, event).await?;
    let notice = match removed {
        0 => None,
        _ => outbox::notify(app, &tx, now, MailKind::FactorsReset, &user, Values::at(now)).await?,
    };
    let pending = revocations::end_sessions(&tx, id, SessionSelection::All).await?;
    users::factors_changed(app, &tx, user, false).await?;
    pending.commit(app, tx).await?;
    outbox::wake(app, notice);
    Ok(removed > 0)
}

/// Deletes the apps that were not confirmed, the challenges, and the record of redeemed ceremonies, a day after each has expired.
pub async fn purge(app: &App, trusted: TrustedReading) -> Result<()> {
    let purge_before = trusted.purge_before();
    let tx = app.db.write_in_background().await?;
    pending_totp::Entity::delete_many().filter(pending_totp::COLUMN.expires_at.lte(purge_before)).exec(&tx).await?;
    challenge::Entity::delete_many().filter(challenge::COLUMN.expires_at.lte(purge_before)).exec(&tx).await?;
    redeemed_ceremony::Entity::delete_many().filter(redeemed_ceremony::COLUMN.expires_at.lte(purge_before)).exec(&tx).await?;
    Ok(tx.commit().await?)
}

/// Removes the factors and recovery codes that an account has got since the time from which on this ticket undoes things. Its sessions
/// end, too. Returns the user, and what was removed for the audit trail.
pub(super) async fn remove_young(
    app: &App,
    tx: &Transaction,
    user: user::Model,
    ticket: &ticket::Model,
) -> Result<(user::Model, Value)> {
    let since = ticket.undoes_since();
    let factors = factor::Entity::delete_of(tx, user.id, since).await?;
    pending_totp::Entity::delete_of(tx, user.id).await?;
    let has_others = factor::Entity::is_held(tx, user.id, None).await?;
    let codes = recovery_code::Entity::delete_of(tx, user.id, since.filter(|_| has_others)).await?;
    let user = if factors == 0 { user } else { users::factors_changed(app, tx, user, has_others).await? };
    Ok((user, json!({ "factors": factors, "recovery_codes": codes })))
}
