//! Authenticator apps: codes of RFC 6238, with SHA-1, six digits and 30 seconds, which every app supports. Each code works once: the
//! time step of the last one is stored, and no earlier step counts (section 5.2). That includes the code that confirms the app.

use chrono::{DateTime, TimeDelta, Utc};
use qrcodegen::{QrCode, QrCodeEcc};
use sea_orm::{ActiveModelTrait, ActiveValue::Set, EntityTrait};
use serde_json::json;
use totp_rs::{Builder, Totp};
use zeroize::Zeroizing;

use super::enrolment::{self, Enrolled, NewFactor};
use crate::{
    app::App,
    domain::{
        audit::{self, Event, Kind},
        caller::{Caller, CurrentUser},
        throttle::{Attempt, Target},
    },
    entity::{factor, pending_totp, user},
    error::{Error, Fault, Missing, Result},
    live::{database::Transaction, random, seal::Purpose},
    values::{
        Invalid,
        factor_kind::FactorKind,
        ids::{FactorId, UserId},
        name::Name,
        totp_code::TotpCode,
    },
};

/// The length of a secret in bytes: 160 bits (RFC 4226 section 4).
const SECRET: usize = 20;
/// How long a time step takes, in seconds.
const STEP: i64 = 30;
/// How long an app may wait to be confirmed.
const LIFE: TimeDelta = TimeDelta::minutes(10);
/// The apps of one user that may wait at once, such as in two tabs. Another one replaces the oldest.
const PENDING: usize = 5;
/// The name of an app to which its owner has given none.
const NAME: &str = "Authenticator app";

/// The characters of the service's name that an app shows. The URI contains it twice, and cameras read no large picture.
const LONGEST_ISSUER: usize = 32;

/// An app that is about to be enrolled. This is the only time that its secret is shown.
pub struct Started {
    /// The id that the factor will have.
    pub id: FactorId,
    /// The secret in base32, for apps that cannot read the picture.
    pub secret: Zeroizing<String>,
    /// The URI of the secret, as apps read it from the picture.
    pub uri: Zeroizing<String>,
    /// The picture of the URI.
    pub qr: Picture,
    /// How long the app may wait to be confirmed, in seconds.
    pub expires_in: i64,
}

/// A QR code as the path of an SVG.
pub struct Picture {
    /// The width and the height, with the quiet zone.
    pub size: i32,
    /// The attribute `d`: the dark modules.
    pub path: Zeroizing<String>,
}

/// Makes the secret of an app that the caller wants to enrol. The factors of the account stay as they are until the app is
/// confirmed.
///
/// # Errors
/// [`Error::TooManyFactors`]; [`Error::EmailUnverified`].
pub async fn start(app: &App, caller: &Caller, name: Option<Name>) -> Result<Started> {
    let (tx, now) = (app.db.write().await?, app.clock.now());
    let CurrentUser { user, .. } = caller.recheck(&tx, now).await?;
    enrolment::permit(app, &tx, &user, FactorKind::Totp).await?;
    let mut waiting = pending_totp::Entity::of(user.id).all(&tx).await?;
    while waiting.len() >= PENDING {
        pending_totp::Entity::take(&tx, waiting.remove(0).id).await?;
    }
    let held = factor::Entity::of(user.id, None).all(&tx).await?;
    let taken = held.iter().filter_map(|factor| factor.ordinal).chain(waiting.iter().map(|pending| pending.ordinal));
    let ordinal = first_free(&taken.collect::<Vec<_>>());
    let (id, secret) = (FactorId::new(now), random::bytes::<SECRET>().map_err(Error::internal)?);
    let name = name.map_or_else(|| numbered(NAME, ordinal), Name::into_string);
    let row = pending_totp::ActiveModel {
        id: Set(id),
        user_id: Set(user.id),
        name: Set(name),
        sealed: Set(app.factors.sealer.seal(Purpose::Totp, &id.to_string(), &*secret)),
        ordinal: Set(ordinal),
        created_at: Set(now),
        expires_at: Set(now + LIFE),
    };
    row.insert(&tx).await?;
    let event = Event::on_user(Kind::FactorEnrolmentStarted, &user).with(json!({ "factor": id, "kind": FactorKind::Totp }));
    audit::record(&tx, now, &caller.source, caller.actor(&user), event).await?;
    let totp = labelled(app, &user, ordinal, &*secret)?;
    let uri = Zeroizing::new(totp.to_url().map_err(|error| Error::internal(anyhow::anyhow!("{error}")))?);
    let secret = Zeroizing::new(totp.secret().to_base32());
    let qr = picture(&uri)?;
    tx.commit().await?;
    Ok(Started { id, secret, qr, uri, expires_in: LIFE.num_seconds() })
}

/// Enrols an app of the caller, who shows a code of it.
///
/// # Errors
/// [`Error::NotFound`] if no such app waits; a fault of `/code`; [`Error::TooManyRequests`]; the errors of [`start`].
pub async fn confirm(app: &App, caller: &Caller, id: FactorId, code: TotpCode) -> Result<Enrolled> {
    let (tx, now) = (app.db.write().await?, app.clock.now());
    let CurrentUser { user, roles } = caller.recheck(&tx, now).await?;
    let pending = pending_totp::Entity::find_by_id(id).one(&tx).await?;
    let pending = pending.filter(|pending| pending.user_id == user.id && pending.expires_at > now);
    let pending = pending.ok_or(Error::NotFound(Missing::Factor))?;
    let attempt = Attempt::new(app, &caller.source, Target::SecondFactor(user.id));
    attempt.check(&tx, now).await?;
    let Some(step) = matching_step(app, id, &pending.sealed, code, now)? else {
        let wrong = Fault::at("/code", Invalid::new("wrong_code", "Is not the code that the app shows now."));
        attempt.failed(&tx, now).await?;
        tx.commit().await?;
        return Err(wrong.into());
    };
    if !pending_totp::Entity::take(&tx, id).await? {
        return Err(Error::NotFound(Missing::Factor));
    }
    enrolment::permit(app, &tx, &user, FactorKind::Totp).await?;
    let new = NewFactor {
        id,
        kind: FactorKind::Totp,
        name: pending.name,
        sealed: pending.sealed,
        ordinal: Some(pending.ordinal),
        last_step: Some(step),
        credential_id: None,
        rp_id: None,
        backed_up: None,
    };
    enrolment::add(app, tx, now, caller, user, roles, new).await
}

/// Uses the code of one of a user's apps, once. Returns the app; `None` if the code is wrong or was used.
pub(super) async fn prove(
    app: &App,
    tx: &Transaction,
    now: DateTime<Utc>,
    user: UserId,
    before: Option<DateTime<Utc>>,
    code: TotpCode,
) -> Result<Option<FactorId>> {
    let held = factor::Entity::of(user, before).all(tx).await?;
    for factor in held.into_iter().filter(|factor| factor.kind == FactorKind::Totp) {
        if let Some(step) = matching_step(app, factor.id, &factor.sealed, code, now)?
            && factor::Entity::use_step(tx, factor.id, step, now).await?
        {
            return Ok(Some(factor.id));
        }
    }
    Ok(None)
}

/// Returns the time step for which a code is right: the present one, the one before or the one after, because clocks differ.
fn matching_step(app: &App, id: FactorId, sealed: &[u8], code: TotpCode, now: DateTime<Utc>) -> Result<Option<i64>> {
    let secret = app.factors.sealer.open(Purpose::Totp, &id.to_string(), sealed).map_err(Error::internal)?;
    let totp = Builder::new().with_secret(&**secret).build().map_err(|error| Error::internal(anyhow::anyhow!("{error}")))?;
    let Ok(seconds) = u64::try_from(now.timestamp()) else { return Ok(None) };
    Ok(totp.check(code.expose(), seconds).and_then(|step| i64::try_from(step).ok()))
}

/// Returns the last time step whose code counts at `now`, on any device.
pub fn last_step(now: DateTime<Utc>) -> i64 {
    now.timestamp() / STEP + 1
}

/// Returns the codes of a secret with the label by which apps list it. Apps replace an entry by another one with the same label, so
/// each app of a user has its own.
fn labelled(app: &App, user: &user::Model, ordinal: i64, secret: &[u8]) -> Result<Totp> {
    let issuer: String = app.settings.service_name().replace(':', " ").chars().take(LONGEST_ISSUER).collect();
    let label = numbered(&user.email.replace(':', " "), ordinal);
    let totp = Builder::new().with_secret(secret).with_issuer(Some(issuer)).with_account_name(label).build();
    totp.map_err(|error| Error::internal(anyhow::anyhow!("{error}")))
}

/// Returns the text, with the number if it is not the first.
fn numbered(text: &str, ordinal: i64) -> String {
    if ordinal == 1 { text.to_owned() } else { format!("{text} ({ordinal})") }
}

fn first_free(taken: &[i64]) -> i64 {
    let mut number = 1;
    while taken.contains(&number) {
        number += 1;
    }
    number
}

/// The light border that a reader needs around a QR code, in modules (ISO/IEC 18004 section 9.1).
const QUIET_ZONE: i32 = 4;

/// Draws a QR code. Each run of dark modules is a rectangle of the path.
fn picture(text: &str) -> Result<Picture> {
    use std::fmt::Write as _;
    let code =
        QrCode::encode_text(text, QrCodeEcc::Medium).map_err(|_| Error::internal(anyhow::anyhow!("the URI is too long")))?;
    let mut path = Zeroizing::new(String::new());
    for y in 0..code.size() {
        let mut x = 0;
        while x < code.size() {
            let end = (x..code.size()).find(|x| !code.get_module(*x, y)).unwrap_or(code.size());
            if end > x {
                let (left, top, run) = (x + QUIET_ZONE, y + QUIET_ZONE, end - x);
                write!(path, "M{left} {top}h{run}v1h-{run}z").expect("a text accepts every text");
            }
            x = end + 1;
        }
    }
    Ok(Picture { size: code.size() + 2 * QUIET_ZONE, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_covers_the_dark_modules_of_the_code() {
        let text = "otpauth://totp/Vestibule:ada%40example.org?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Vestibule";
        let (picture, code) = (picture(text).unwrap(), QrCode::encode_text(text, QrCodeEcc::Medium).unwrap());
        assert_eq!(picture.size, code.size() + 8);
        let mut dark = Vec::new();
        for rectangle in picture.path.split_terminator('z') {
            let (left, rest) = rectangle.strip_prefix('M').unwrap().split_once(' ').unwrap();
            let (top, rest) = rest.split_once('h').unwrap();
            let (run, back) = rest.split_once("v1h-").unwrap();
            assert_eq!(run, back);
            let (left, top, run): (i32, i32, i32) = (left.parse().unwrap(), top.parse().unwrap(), run.parse().unwrap());
            dark.extend((left..left + run).map(|x| (x - 4, top - 4)));
        }
        let modules = (0..code.size()).flat_map(|y| (0..code.size()).map(move |x| (x, y)));
        assert_eq!(dark, modules.filter(|(x, y)| code.get_module(*x, *y)).collect::<Vec<_>>());
    }

    #[test]
    fn each_app_has_the_lowest_free_number() {
        assert_eq!((first_free(&[]), first_free(&[1, 2]), first_free(&[2, 3])), (1, 3, 1));
        assert_eq!((numbered("ada", 1), numbered("ada", 2)), ("ada".to_owned(), "ada (2)".to_owned()));
    }
}
