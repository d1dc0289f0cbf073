//! Log-in by passkey: the passkey names the account and counts for both factors, so neither a name nor a password is typed.

use super::{
    browsers::Browser,
    ceremonies::Purpose,
    challenges,
    passkeys::{self, Started},
    sessions::{self, LogIn},
    source::Source,
    throttle,
};
use crate::{
    app::App,
    entity::user,
    error::{Error, Result},
    live::rate_limits::RateLimit,
    values::{
        authentication::Method,
        ceremony::CeremonyText,
        challenge::{Challenge, ChallengePurpose},
        passkey_credential::PasskeyCredential,
    },
};

/// Begins a proof by passkey for a caller who is not logged in. With a challenge, only the passkeys of its account are asked for, and
/// the proof serves only the purpose of the challenge. Writes nothing.
///
/// # Errors
/// [`Error::PasskeysUnavailable`]; [`Error::InvalidChallenge`]; [`Error::TooManyRequests`].
pub async fn start(app: &App, source: &Source, challenge: Option<&Challenge>) -> Result<Started> {
    throttle::limit_rate(app, source, RateLimit::Passkey)?;
    let Some(challenge) = challenge else { return passkeys::start_log_in(app) };
    let challenge = challenges::read(app, challenge).await?;
    passkeys::start_proof(app, challenge.purpose.into(), challenge.user_id).await
}

impl From<ChallengePurpose> for Purpose {
    fn from(purpose: ChallengePurpose) -> Self {
        match purpose {
            ChallengePurpose::LogIn => Self::LogIn,
            ChallengePurpose::Reset => Self::Reset,
            ChallengePurpose::Revert => Self::Revert,
        }
    }
}

/// Begins a session for a caller who proves a passkey.
///
/// # Errors
/// [`Error::UnknownPasskey`]; [`Error::InvalidPasskey`]; [`Error::PasskeyCopied`]; [`Error::InvalidChallenge`] for a ceremony that
/// cannot be used; [`Error::AccountDisabled`] only if the proof is correct; [`Error::TooManyRequests`].
pub async fn log_in(
    app: &App,
    source: &Source,
    ceremony: &CeremonyText,
    credential: &PasskeyCredential,
    browser: Option<&Browser>,
) -> Result<LogIn> {
    throttle::limit_rate(app, source, RateLimit::Passkey)?;
    let checked = passkeys::check(app, app.db.read(), Purpose::LogIn, None, ceremony, credential).await??;
    let (tx, now) = (app.db.write().await?, app.clock.now());
    let user = user::Entity::locked(&tx, checked.user).await?.ok_or(Error::UnknownPasskey)?;
    match passkeys::prove(app, &tx, now, source, &user, checked).await? {
        Ok(factor) => sessions::open(app, tx, now, source, user, &[Method::Passkey(factor)], browser).await,
        Err(refused) => {
            tx.commit().await?;
            Err(refused.into())
        }
    }
}
