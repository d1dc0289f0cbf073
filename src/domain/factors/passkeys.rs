//! Passkeys as factors of an account.

use chrono::{DateTime, Utc};

use super::enrolment::{self, Enrolled, NewFactor};
use crate::{
    app::App,
    domain::{
        caller::{Caller, CurrentUser},
        ceremonies::Purpose,
        mail::outbox,
        passkeys::{self, Made, Refused, Started},
        source::Source,
        throttle,
    },
    entity::user,
    error::{Error, Fault, Result},
    live::{database::Transaction, rate_limits::RateLimit, seal},
    values::{
        Invalid, browser_name::browser_name, ceremony::CeremonyText, factor_kind::FactorKind, ids::FactorId, name::Name,
        passkey_credential::PasskeyCredential,
    },
};

/// The name of a passkey to which its owner has given none, if the browser is unknown.
const NAME: &str = "Passkey";

/// Begins to make a passkey for the caller. Writes nothing.
///
/// # Errors
/// [`Error::PasskeysUnavailable`]; [`Error::TooManyFactors`]; [`Error::EmailUnverified`].
pub async fn start(app: &App, caller: &Caller) -> Result<Started> {
    passkeys::relying_party(app)?;
    let tx = app.db.write().await?;
    let CurrentUser { user, .. } = caller.recheck(&tx, app.clock.now()).await?;
    enrolment::permit(app, &tx, &user, FactorKind::Passkey).await?;
    passkeys::start_enrolment(app, &tx, &user).await
}

/// Adds the passkey that the caller's browser has made.
///
/// # Errors
/// A fault of `/ceremony` or `/credential`; [`Error::TooManyRequests`]; the errors of [`start`].
pub async fn add(
    app: &App,
    caller: &Caller,
    ceremony: &CeremonyText,
    credential: PasskeyCredential,
    name: Option<Name>,
) -> Result<Enrolled> {
    throttle::limit_rate(app, &caller.source, RateLimit::Passkey)?;
    let Made { ceremony, verified, rp_id } = passkeys::check_made(app, caller.user(), ceremony, credential)?.map_err(fault)?;
    let (tx, now) = (app.db.write().await?, app.clock.now());
    let CurrentUser { user, roles } = caller.recheck(&tx, now).await?;
    if !ceremony.redeem(&tx).await? {
        return Err(fault(Refused::Ceremony).into());
    }
    enrolment::permit(app, &tx, &user, FactorKind::Passkey).await?;
    let id = FactorId::new(now);
    let new = NewFactor {
        id,
        kind: FactorKind::Passkey,
        name: name.map_or_else(|| default_name(app, caller, &user), Name::into_string),
        sealed: app.factors.sealer.seal(
            seal::Purpose::Passkey,
            &id.to_string(),
            &verified.passkey.to_json().map_err(Error::internal)?,
        ),
        ordinal: None,
        last_step: None,
        credential_id: Some(verified.passkey.credential_id().to_vec()),
        rp_id: Some(rp_id),
        backed_up: Some(verified.backed_up),
    };
    enrolment::add(app, tx, now, caller, user, roles, new).await
}

/// Uses what one of a user's passkeys has signed, once. Returns the passkey; `None` if that proves nothing.
#[expect(clippy::too_many_arguments, reason = "what makes the passkey the right one, and what it has signed")]
pub(super) async fn prove(
    app: &App,
    tx: &Transaction,
    now: DateTime<Utc>,
    source: &Source,
    user: &user::Model,
    purpose: Purpose,
    before: Option<DateTime<Utc>>,
    ceremony: &CeremonyText,
    credential: &PasskeyCredential,
) -> Result<Option<FactorId>> {
    let checked = passkeys::check(app, tx, purpose, Some(user.id), ceremony, credential).await?;
    let Some(checked) = checked.ok().filter(|checked| before.is_none_or(|before| checked.created_at < before)) else {
        return Ok(None);
    };
    Ok(passkeys::prove(app, tx, now, source, user, checked).await?.ok())
}

/// Names a passkey after the browser that has made it.
fn default_name(app: &App, caller: &Caller, user: &user::Model) -> String {
    let browser = caller.source.user_agent.as_ref();
    let name = browser.and_then(|browser| browser_name(browser, outbox::language_of(app, user)));
    name.unwrap_or_else(|| NAME.to_owned())
}

/// Returns the fault of the member because of which a passkey was refused.
fn fault(refused: Refused) -> Fault {
    match refused {
        Refused::Ceremony => {
            let detail = "Has expired, was used, or was begun for something else. Begin again.";
            Fault::at("/ceremony", Invalid::new("invalid_challenge", detail))
        }
        _ => Fault::at(
            "/credential",
            Invalid::new("invalid_passkey", "Is no passkey for this page whose device verifies its user."),
        ),
    }
}
