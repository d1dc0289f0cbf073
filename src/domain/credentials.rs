//! Credentials: passwords are hashed and checked. The hash is bcrypt over base64(HMAC-SHA-384(pepper, password)): bcrypt's
//! limit of 72 bytes truncates no password, and a stolen table is worthless without the pepper. Every check costs the same.

use std::sync::atomic::Ordering;

use aws_lc_rs::hmac;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use zeroize::Zeroizing;

use crate::{
    app::App,
    error::{Error, Result},
    values::{
        password::{NewPassword, Password},
        password_hash::PasswordHash,
    },
};

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
    let digest = digest(app, password.expose());
    let cost = app.settings.password.bcrypt_cost;
    app.passwords.pool.run(move || bcrypt_hash(&digest, cost)).await?
}

/// Checks a password against the stored hash, which is `None` if there is no account or it has no password. Fails with
/// [`Error::Overloaded`] if too many hashes are queued.
///
/// Every check costs as much as the most expensive hash in use: a check without a stored hash computes one, and a check against
/// a cheaper hash computes the difference. Its duration reveals nothing about the account (P03).
pub async fn check(app: &App, stored: Option<&PasswordHash>, password: &Password) -> Result<PasswordCheck> {
    let digest = digest(app, password.expose());
    let today = app.settings.password.bcrypt_cost;
    let stored = stored.and_then(PasswordHash::bcrypt).map(|(cost, hash)| (cost, hash.to_owned()));
    let known = stored.as_ref().map_or(today, |(cost, _)| *cost);
    let highest = app.passwords.highest_cost.fetch_max(known, Ordering::Relaxed).max(known);
    app.passwords
        .pool
        .run(move || {
            let Some((cost, hash)) = stored else {
                burn(&digest, highest)?;
                return Ok(PasswordCheck::Wrong);
            };
            let is_correct = bcrypt::verify(digest.as_bytes(), &hash).unwrap_or(false);
            // 2^cost rounds are done; 2^cost + 2^(cost+1) + … + 2^(highest-1) more make 2^highest.
            for cost in cost..highest {
                burn(&digest, cost)?;
            }
            match is_correct {
                false => Ok(PasswordCheck::Wrong),
                true if cost == today => Ok(PasswordCheck::Correct { upgrade: None }),
                true => Ok(PasswordCheck::Correct { upgrade: Some(bcrypt_hash(&digest, today)?) }),
            }
        })
        .await?
}

/// Returns 64 characters for a password of any length: within bcrypt's 72 bytes, and without NUL.
fn digest(app: &App, password: &str) -> Zeroizing<String> {
    Zeroizing::new(BASE64.encode(hmac::sign(&app.passwords.pepper, password.as_bytes())))
}

fn bcrypt_hash(digest: &str, cost: u32) -> Result<PasswordHash> {
    let hash = bcrypt::non_truncating_hash(digest, cost).map_err(Error::internal)?;
    Ok(PasswordHash::from_bcrypt(&hash))
}

/// Computes a hash of this cost and discards it.
fn burn(digest: &str, cost: u32) -> Result<()> {
    std::hint::black_box(bcrypt_hash(digest, cost)?);
    Ok(())
}
