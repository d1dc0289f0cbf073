//! Enrolment: what adding a second factor has in common, whatever its kind.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveModelTrait, ActiveValue::Set, DbErr, SqlErr};
use serde_json::json;

use super::recovery_codes;
use crate::{
    app::App,
    domain::{
        audit::{self, Event, Kind},
        caller::Caller,
        mail::outbox,
        refresh::SessionAccess,
        revocations, sessions, users,
    },
    entity::{factor, pending_totp, user},
    error::{Error, Fault, Result},
    live::{database::Transaction, mail::Values},
    values::{
        Invalid, authentication::Method, factor_kind::FactorKind, ids::FactorId, mail_kind::MailKind,
        recovery_code::RecoveryCode, role_name::RoleName,
    },
};

/// A factor that its owner has confirmed.
pub struct NewFactor {
    /// The id.
    pub id: FactorId,
    /// The kind.
    pub kind: FactorKind,
    /// The name.
    pub name: String,
    /// What [`factor::Model::sealed`] holds.
    pub sealed: Vec<u8>,
    /// The number in the label of an authenticator app.
    pub ordinal: Option<i64>,
    /// The time step of the code that has confirmed an authenticator app.
    pub last_step: Option<i64>,
    /// The id of a passkey's credential.
    pub credential_id: Option<Vec<u8>>,
    /// The domain to which browsers bind a passkey.
    pub rp_id: Option<String>,
    /// Whether a passkey is copied to other devices.
    pub backed_up: Option<bool>,
}

/// A factor that was added.
pub struct Enrolled {
    /// The factor.
    pub factor: factor::Model,
    /// An access token of the caller's session, which the new factor has raised.
    pub access: SessionAccess,
    /// The recovery codes, if this is the first factor. This is the only time that they are shown.
    pub recovery_codes: Option<Vec<RecoveryCode>>,
}

/// Returns how many factors of a kind one user may have.
const fn most(kind: FactorKind) -> usize {
    match kind {
        FactorKind::Totp => 5,
        FactorKind::Passkey => 10,
    }
}

/// Fails unless a user, whose row is locked, may add a factor of this kind.
///
/// # Errors
/// [`Error::TooManyFactors`]; [`Error::EmailUnverified`] where mail can be sent: whoever registers with the address of somebody else
/// must not be able to keep the account with a factor when its owner resets the password.
pub async fn permit(app: &App, tx: &Transaction, user: &user::Model, kind: FactorKind) -> Result<()> {
    if app.mail.transport.can_send() && !user.email_verified {
        return Err(Error::EmailUnverified);
    }
    let held = factor::Entity::of(user.id, None).all(tx).await?;
    let is_full = held.iter().filter(|factor| factor.kind == kind).count() >= most(kind);
    if is_full { Err(Error::TooManyFactors) } else { Ok(()) }
}

/// Adds a factor to the account of the caller, whose row is locked, raises the caller's session with it, and commits. All tokens
/// of the account become stale, because they do not say yet that there is a factor. Apps that wait to be confirmed are forgotten.
/// The first factor comes with recovery codes.
pub async fn add(
    app: &App,
    tx: Transaction,
    now: DateTime<Utc>,
    caller: &Caller,
    user: user::Model,
    roles: Vec<RoleName>,
    new: NewFactor,
) -> Result<Enrolled> {
    let is_first = !user.second_factor;
    let row = factor::ActiveModel {
        id: Set(new.id),
        user_id: Set(user.id),
        kind: Set(new.kind),
        name: Set(new.name),
        sealed: Set(new.sealed),
        ordinal: Set(new.ordinal),
        last_step: Set(new.last_step),
        credential_id: Set(new.credential_id),
        rp_id: Set(new.rp_id),
        backed_up: Set(new.backed_up),
        created_at: Set(now),
        last_used_at: Set(None),
    };
    let factor = row.insert(&tx).await.map_err(registered)?;
    // Another session may have begun to enrol an app when less proof was enough.
    pending_totp::Entity::delete_of(&tx, user.id).await?;
    let user = users::factors_changed(app, &tx, user, true).await?;
    let details = json!({ "factor": factor.id, "kind": factor.kind });
    let event = Event::on_user(Kind::FactorAdded, &user).with(details);
    audit::record(&tx, now, &caller.source, caller.actor(&user), event).await?;
    let values = Values { factor: Some(factor.kind), ..Values::at(now) };
    let notice = outbox::notify(app, &tx, now, MailKind::FactorAdded, &user, values).await?;
    let recovery_codes = if is_first { Some(recovery_codes::create(app, &tx, now, caller, &user).await?) } else { None };
    let method = match factor.kind {
        FactorKind::Totp => Method::Totp(factor.id),
        FactorKind::Passkey => Method::Passkey(factor.id),
    };
    let access = sessions::raise(app, &tx, now, caller.session(), &user, roles, method).await?;
    revocations::revoke_older_tokens(&tx, &user).await?.commit(app, tx).await?;
    outbox::wake(app, notice);
    Ok(Enrolled { factor, access, recovery_codes })
}

/// The error of an insert: no two factors have the same credential, whosever they are.
fn registered(error: DbErr) -> Error {
    match error.sql_err() {
        Some(SqlErr::UniqueConstraintViolation(_)) => {
            Fault::at("/credential", Invalid::new("already_registered", "This passkey is registered already.")).into()
        }
        _ => error.into(),
    }
}
