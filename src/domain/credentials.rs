//! Credentials: passwords are hashed and checked. The hash is bcrypt over base64(HMAC-SHA-384(pepper, password)): bcrypt's
//! limit of 72 bytes truncates no password, and a stolen table is worthless without the pepper. Every check costs the same.

use std::sync::atomic::Ordering;

use aws_lc_rs::{constant_time::verify_slices_are_equal, hmac, rand::fill};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use zeroize::Zeroizing;

use crate::{
    app::App,
    error::{Error, Result},
    live::hashing_pool::Lane,
    values::{
        bcrypt_hash::BcryptHash,
        password::{NewPassword, Password},
        password_hash::PasswordHash,
    },
};

/// The lowest cost that bcrypt knows.
const LOWEST_COST: u32 = 4;

/// The result of a password check.
pub enum PasswordCheck {
    /// The password is the account's.
    Correct {
        /// A hash with today's cost, to be stored if the stored hash has another cost.
        upgrade: Option<PasswordHash>,
    },
    /// The password is wrong, the account does not exist, or it has no password.
    Wrong,
}

/// Hashes a password that is about to be set. Fails with [`Error::Overloaded`] if too many hashes are queued.
pub async fn hash(app: &App, password: &NewPassword) -> Result<PasswordHash> {
    hash_at(app, password, app.settings.password.bcrypt_cost).await
}

/// Hashes a password of 144 random bits at the lowest cost: nobody can guess it, however cheap a guess is.
/// The first log-in replaces the hash by one of the usual cost.
pub async fn hash_random(app: &App, password: &NewPassword) -> Result<PasswordHash> {
    hash_at(app, password, LOWEST_COST).await
}

async fn hash_at(app: &App, password: &NewPassword, cost: u32) -> Result<PasswordHash> {
    let digest = digest(app, password.expose());
    app.passwords.pool.run(move |lane| async move { new_hash(&lane, &digest, cost).await }).await?
}

/// Checks a password against the stored hash, which is `None` if there is no account or it has no password. Fails with
/// [`Error::Overloaded`] if too many hashes are queued.
///
/// Every check costs as much as the most expensive hash in use: a check without a stored hash computes one, and a check against
/// a cheaper hash computes the difference. Its duration reveals nothing about the account (P03).
pub async fn check(app: &App, stored: Option<&PasswordHash>, password: &Password) -> Result<PasswordCheck> {
    let digest = digest(app, password.expose());
    let today = app.settings.password.bcrypt_cost;
    let stored = stored.and_then(PasswordHash::bcrypt);
    let known = stored.map_or(today, |hash| hash.cost);
    let highest = app.passwords.highest_cost.fetch_max(known, Ordering::Relaxed).max(known);
    let check = move |lane: Lane| async move {
        let Some(BcryptHash { cost, salt, digest: expected }) = stored else {
            burn(&lane, &digest, highest).await;
            return Ok(PasswordCheck::Wrong);
        };
        let actual = lane.bcrypt(digest.as_bytes(), salt, cost).await;
        let is_correct = verify_slices_are_equal(&actual, &expected).is_ok();
        // 2^cost rounds are done; 2^cost + 2^(cost+1) + … + 2^(highest-1) more make 2^highest.
        for missing in cost..highest {
            burn(&lane, &digest, missing).await;
        }
        match is_correct {
            false => Ok(PasswordCheck::Wrong),
            true if cost == today => Ok(PasswordCheck::Correct { upgrade: None }),
            true => Ok(PasswordCheck::Correct { upgrade: Some(new_hash(&lane, &digest, today).await?) }),
        }
    };
    app.passwords.pool.run(check).await?
}

/// Returns 64 characters for a password of any length: within bcrypt's 72 bytes, and without NUL.
fn digest(app: &App, password: &str) -> Zeroizing<String> {
    Zeroizing::new(BASE64.encode(hmac::sign(&app.passwords.pepper, password.as_bytes())))
}

/// Hashes a digest with a new salt.
async fn new_hash(lane: &Lane, digest: &str, cost: u32) -> Result<PasswordHash> {
    let mut salt = [0; 16];
    fill(&mut salt).map_err(Error::internal)?;
    let digest = lane.bcrypt(digest.as_bytes(), salt, cost).await;
    Ok(PasswordHash::from_bcrypt(&BcryptHash { cost, salt, digest }))
}

/// Does the work of one hash and discards the result.
async fn burn(lane: &Lane, digest: &str, cost: u32) {
    lane.bcrypt(digest.as_bytes(), [0; 16], cost).await;
}
