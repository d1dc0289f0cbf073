//! Passkeys: keys in a phone, a computer or a security key, which their authenticator uses only after it has verified its user. So
//! a passkey counts for both factors. An authenticator that has not verified its user proves nothing here.
//!
//! A proof is checked before the transaction of what it permits, because signatures cost time, and counts in that transaction.

use aws_lc_rs::hmac;
use chrono::{DateTime, Utc};
use sea_orm::{ActiveModelTrait, ActiveValue::Set, ConnectionTrait, EntityTrait, IntoActiveModel};
use serde_json::{Value, json};
use uuid::Builder;

use super::{
    audit::{self, Actor, Event, Kind},
    ceremonies::{self, Ceremony, Purpose},
    source::Source,
};
use crate::{
    app::App,
    entity::{factor, user},
    error::{Error, Result},
    live::{
        database::Transaction,
        passkeys::{Assertion, Begun, Holder, Refusal, RelyingParty, StoredPasskey, Verified},
        seal,
    },
    values::{
        ceremony::CeremonyText,
        ids::{FactorId, UserId},
        passkey_credential::PasskeyCredential,
        passkeys_unavailable::PasskeysUnavailable,
    },
};

/// What a client needs to make or to use a passkey.
pub struct Started {
    /// The ceremony, which the client sends back with the result.
    pub ceremony: CeremonyText,
    /// The options for the browser.
    pub options: Value,
}

/// Why a passkey proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// The ceremony was not begun here for this purpose and account, has expired, or was redeemed before.
    Ceremony,
    /// No account has this passkey. Pages tell authenticators to forget such a passkey, so no other case may be reported as this.
    Unknown,
    /// The proof is malformed or wrong, or was made without verifying the user.
    Invalid,
    /// The passkey's counter did not advance.
    CounterBack,
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Invalid => Self::Invalid,
            Refusal::CounterBack => Self::CounterBack,
        }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Ceremony => Self::InvalidChallenge,
            Refused::Unknown => Self::UnknownPasskey,
            Refused::Invalid => Self::InvalidPasskey,
            Refused::CounterBack => Self::PasskeyCopied,
        }
    }
}

/// Returns what the service is to passkeys.
///
/// # Errors
/// [`Error::PasskeysUnavailable`].
pub(super) fn relying_party(app: &App) -> Result<&RelyingParty> {
    app.passkeys.as_ref().map_err(|reason| Error::PasskeysUnavailable(*reason))
}

/// Begins a proof by any passkey of the service, which also names the account.
///
/// # Errors
/// [`Error::PasskeysUnavailable`].
pub(super) fn start_log_in(app: &App) -> Result<Started> {
    let begun = relying_party(app)?.start_authentication(&[]).map_err(Error::internal)?;
    seal(app, Purpose::LogIn, None, begun)
}

/// Begins a proof by one of a user's passkeys.
///
/// # Errors
/// [`Error::PasskeysUnavailable`], also if the user has none.
pub(super) async fn start_proof(app: &App, purpose: Purpose, user: UserId) -> Result<Started> {
    let party = relying_party(app)?;
    let passkeys = of(app, app.db.read(), user, party).await?;
    if passkeys.is_empty() {
        return Err(Error::PasskeysUnavailable(PasskeysUnavailable::NoneHeld));
    }
    seal(app, purpose, Some(user), party.start_authentication(&passkeys).map_err(Error::internal)?)
}

/// Begins to make a passkey for a user.
pub(super) async fn start_enrolment(app: &App, conn: &impl ConnectionTrait, user: &user::Model) -> Result<Started> {
    let party = relying_party(app)?;
    let name = user.username.as_deref().unwrap_or(&user.email);
    let holder = Holder { handle: handle(app, user.id), name, display_name: user.name.as_deref().unwrap_or(name) };
    let existing = of(app, conn, user.id, party).await?;
    seal(app, Purpose::Enrolment, Some(user.id), party.start_registration(&holder, &existing).map_err(Error::internal)?)
}

fn seal(app: &App, purpose: Purpose, user: Option<UserId>, begun: Begun) -> Result<Started> {
    let Begun { options, state } = begun;
    Ok(Started { ceremony: ceremonies::begin(app, app.clock.now(), purpose, user, state)?, options })
}

/// Returns the passkeys of a user that work here, oldest first.
async fn of(app: &App, conn: &impl ConnectionTrait, user: UserId, party: &RelyingParty) -> Result<Vec<StoredPasskey>> {
    let rows = factor::Entity::of(user, None).all(conn).await?;
    rows.iter().filter(|row| row.rp_id.as_ref() == Some(&party.id)).map(|row| stored(app, row)).collect()
}

/// Returns the passkey in a row.
fn stored(app: &App, row: &factor::Model) -> Result<StoredPasskey> {
    let json = app.factors.sealer.open(seal::Purpose::Passkey, &row.id.to_string(), &row.sealed).map_err(Error::internal)?;
    StoredPasskey::from_json(&json).map_err(Error::internal)
}

/// Returns the user handle: what the authenticators of an account store instead of its id. It looks like a random UUID to everybody
/// else, and needs no row, so that beginning to make a passkey writes nothing.
fn handle(app: &App, user: UserId) -> uuid::Uuid {
    let mac = hmac::sign(&app.factors.ceremony_root, &[b"user handle\0".as_slice(), uuid::Uuid::from(user).as_bytes()].concat());
    let bytes = mac.as_ref().first_chunk().expect("an HMAC-SHA-256 has 32 bytes");
    Builder::from_random_bytes(*bytes).into_uuid()
}

/// A passkey that was made and checked.
pub(super) struct Made {
    pub ceremony: Ceremony,
    pub verified: Verified,
    pub rp_id: String,
}

/// Checks a passkey that was made for a user.
pub(super) fn check_made(
    app: &App,
    user: UserId,
    text: &CeremonyText,
    credential: PasskeyCredential,
) -> Result<Result<Made, Refused>> {
    let party = relying_party(app)?;
    let ceremony = ceremonies::open(app, app.clock.now(), Purpose::Enrolment, text);
    let Some(ceremony) = ceremony.filter(|ceremony| ceremony.user() == Some(user)) else { return Ok(Err(Refused::Ceremony)) };
    let verified = party.finish_registration(ceremony.state(), credential.into());
    Ok(verified.map_err(Refused::from).map(|verified| Made { ceremony, verified, rp_id: party.id.clone() }))
}

/// A proof by a passkey that was checked. It counts once [`prove`] has redeemed it.
pub(super) struct Checked {
    ceremony: Ceremony,
    factor: FactorId,
    /// The account that has the passkey.
    pub user: UserId,
    /// When the passkey was added.
    pub created_at: DateTime<Utc>,
    result: Result<Verified, Refusal>,
}

/// Checks a proof by a passkey. With `user`, the ceremony must have been begun for this user. Without, the passkey names the account.
pub(super) async fn check(
    app: &App,
    conn: &impl ConnectionTrait,
    purpose: Purpose,
    user: Option<UserId>,
    text: &CeremonyText,
    credential: &PasskeyCredential,
) -> Result<Result<Checked, Refused>> {
    let (Ok(party), Some(ceremony)) = (&app.passkeys, ceremonies::open(app, app.clock.now(), purpose, text)) else {
        return Ok(Err(Refused::Ceremony));
    };
    if user.is_some() && ceremony.user() != user {
        return Ok(Err(Refused::Ceremony));
    }
    let Ok(assertion) = Assertion::parse(credential.clone().into()) else { return Ok(Err(Refused::Invalid)) };
    let found = factor::Entity::by_credential(conn, assertion.credential_id()).await?;
    let Some(row) = found else { return Ok(Err(Refused::Unknown)) };
    // Where the account is known, the handle says nothing more, and authenticators that store no passkeys send none.
    let names = assertion.user_handle().map(|named| named == handle(app, row.user_id).as_bytes());
    if ceremony.user().is_some_and(|user| user != row.user_id) || !names.unwrap_or(ceremony.user().is_some()) {
        return Ok(Err(Refused::Invalid));
    }
    let result = party.finish_authentication(ceremony.state(), &assertion, stored(app, &row)?);
    match result {
        Err(Refusal::Invalid) => Ok(Err(Refused::Invalid)),
        result => Ok(Ok(Checked { ceremony, factor: row.id, user: row.user_id, created_at: row.created_at, result })),
    }
}

/// Lets a proof count: redeems its ceremony and stores the new counter. `user` is the locked row of [`Checked::user`]. If the counter
/// did not advance, that is audited. After a refusal the transaction can be committed.
pub(super) async fn prove(
    app: &App,
    tx: &Transaction,
    now: DateTime<Utc>,
    source: &Source,
    user: &user::Model,
    checked: Checked,
) -> Result<Result<FactorId, Refused>> {
    let Checked { ceremony, factor, result, .. } = checked;
    if !ceremony.redeem(tx).await? {
        return Ok(Err(Refused::Ceremony));
    }
    let row = factor::Entity::find_by_id(factor).one(tx).await?;
    let Some(row) = row.filter(|row| row.user_id == user.id) else { return Ok(Err(Refused::Unknown)) };
    // Another proof by the same passkey may have counted since this one was checked.
    let verified = match result {
        Ok(Verified { passkey, backed_up }) if passkey.follows(&stored(app, &row)?) => Verified { passkey, backed_up },
        _ => {
            let event = Event::on_user(Kind::PasskeyRefused, user).with(json!({ "factor": factor, "reason": "counter" }));
            audit::record(tx, now, source, Actor::NONE, event).await?;
            return Ok(Err(Refused::CounterBack));
        }
    };
    let json = verified.passkey.to_json().map_err(Error::internal)?;
    let mut row = row.into_active_model();
    row.sealed = Set(app.factors.sealer.seal(seal::Purpose::Passkey, &factor.to_string(), &json));
    row.backed_up = Set(Some(verified.backed_up));
    row.last_used_at = Set(Some(now));
    row.update(tx).await?;
    Ok(Ok(factor))
}

/// Returns what an operator should know of passkeys that do not work any more: browsers bind each to the host for which it was made.
pub async fn hints(app: &App) -> Result<Vec<String>> {
    let hosts = factor::Entity::count_by_rp_id(app.db.read()).await?;
    let lost = hosts.into_iter().filter(|(rp_id, _)| app.passkeys.as_ref().map(|party| &party.id) != Ok(rp_id));
    let hint = |(rp_id, count)| {
        let were = if count == 1 { "passkey was" } else { "passkeys were" };
        let reason = match &app.passkeys {
            Ok(party) => format!(
                "browsers do not use them at {}, the host of server.public_url. Their owners need another factor or a recovery code to \
                 log in, and can then add new ones",
                party.id
            ),
            Err(reason) => reason.to_string(),
        };
        format!("{count} {were} made for the host {rp_id}: {reason}")
    };
    Ok(lost.map(hint).collect())
}
