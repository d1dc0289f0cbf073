//! Recovery codes: ten codes of 80 random bits that let a user in who has lost every factor. They are made with the first factor,
//! shown once, and kept until they are replaced or the last factor is removed.
//!
//! A row holds a MAC of the code under a key that is sealed in the database. Password hashes are slow because people choose
//! passwords that can be guessed; nobody guesses 80 random bits, and without the key a guess cannot even be checked.

use aws_lc_rs::hmac;
use chrono::{DateTime, Utc};
use serde_json::json;
use uuid::Uuid;

use crate::{
    app::App,
    domain::{
        audit::{self, Actor, Event, Kind},
        caller::{Caller, CurrentUser},
        mail::outbox::{self, Queued},
        source::Source,
    },
    entity::{recovery_code, user},
    error::{Error, Result},
    live::{database::Transaction, mail::Values, random},
    values::{ids::UserId, mail_kind::MailKind, recovery_code::RecoveryCode},
};

/// The number of codes.
const COUNT: usize = 10;
/// The owner is warned when this many codes are left.
const FEW: u64 = 3;

/// Replaces the caller's recovery codes, and returns the new ones. This is the only time that they are shown.
///
/// # Errors
/// [`Error::FactorRequired`] if the caller has no factor that the codes could replace.
pub async fn replace(app: &App, caller: &Caller) -> Result<Vec<RecoveryCode>> {
    let (tx, now) = (app.db.write().await?, app.clock.now());
    let CurrentUser { user, .. } = caller.recheck(&tx, now).await?;
    if !user.second_factor {
        return Err(Error::FactorRequired);
    }
    let codes = create(app, &tx, now, caller, &user).await?;
    let notice = outbox::notify(app, &tx, now, MailKind::RecoveryCodesCreated, &user, Values::at(now)).await?;
    tx.commit().await?;
    outbox::wake(app, notice);
    Ok(codes)
}

/// Gives the caller new codes in place of those that they have. Sends no notice: with the first factor, the one about the factor
/// suffices, because whoever removes that factor removes the codes.
pub(super) async fn create(
    app: &App,
    tx: &Transaction,
    now: DateTime<Utc>,
    caller: &Caller,
    user: &user::Model,
) -> Result<Vec<RecoveryCode>> {
    let code = |_| Ok(RecoveryCode::from_bytes(&*random::bytes().map_err(Error::internal)?));
    let codes = (0..COUNT).map(code).collect::<Result<Vec<_>>>()?;
    let digests = codes.iter().map(|code| digest(app, user.id, code)).collect();
    recovery_code::Entity::replace(tx, user.id, digests, now).await?;
    let event = Event::on_user(Kind::RecoveryCodesCreated, user);
    audit::record(tx, now, &caller.source, caller.actor(user), event).await?;
    Ok(codes)
}

/// Uses a code, once. Returns false if it is not one of the user's, was used, or the user has no factor that it could replace.
pub(super) async fn redeem(
    app: &App,
    tx: &Transaction,
    now: DateTime<Utc>,
    user: &user::Model,
    before: Option<DateTime<Utc>>,
    code: &RecoveryCode,
) -> Result<bool> {
    let digest = digest(app, user.id, code);
    Ok(user.second_factor && recovery_code::Entity::redeem(tx, user.id, &digest, before, now).await?)
}

/// Records that a code was used, tells the owner, and warns them if few are left.
pub(super) async fn report_use(
    app: &App,
    tx: &Transaction,
    now: DateTime<Utc>,
    source: &Source,
    actor: Actor,
    user: &user::Model,
) -> Result<Vec<Queued>> {
    let left = recovery_code::Entity::left(tx, user.id, None).await?;
    let event = Event::on_user(Kind::RecoveryCodeUsed, user).with(json!({ "left": left }));
    audit::record(tx, now, source, actor, event).await?;
    let values = Values { codes_left: Some(left), network: source.address, ..Values::at(now) };
    let mut queued = Vec::new();
    queued.extend(outbox::notify(app, tx, now, MailKind::RecoveryCodeUsed, user, values.clone()).await?);
    if left == FEW {
        queued.extend(outbox::notify(app, tx, now, MailKind::RecoveryCodesLow, user, values).await?);
    }
    Ok(queued)
}

fn digest(app: &App, user: UserId, code: &RecoveryCode) -> Vec<u8> {
    let message = [b"recovery code\0".as_slice(), Uuid::from(user).as_bytes(), code.as_bytes()].concat();
    hmac::sign(&app.factors.recovery_root, &message).as_ref().to_vec()
}
