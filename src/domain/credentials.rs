//! Credentials: passwords hashed and checked. bcrypt over base64(HMAC-SHA-384(pepper, password)), so that length is
//! no limit and 72 bytes no trap, and a stolen table is worthless without the pepper. Every check costs the same.

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

/// What checking a password found.
pub enum Verdict {
    /// It is the account's password. `upgrade` is a hash of today's cost, where the stored one had another.
    Right {
        /// Store this in place of the old one.
        upgrade: Option<PasswordHash>,
    },
    /// It is not, or there is no such account, or nobody can log in to it by password.
    Wrong,
}

/// Hashes a password that is about to be set.
///
/// # Errors
/// [`Error::Overloaded`].
pub async fn hash(app: &App, password: &NewPassword) -> Result<PasswordHash> {
    let digest = digest(app, password.expose());
    let cost = app.settings.password.bcrypt_cost;
    app.passwords.pool.run(move || bcrypt_hash(&digest, cost)).await?
}

/// Checks a password against what is stored; `None` where there is no account or it has no password.
///
/// All checks cost what the dearest hash in use costs: unknown accounts do as much as wrong passwords, and a hash of
/// a lower cost is made up for. The time tells nothing about the account (REQUIREMENTS P03).
///
/// # Errors
/// [`Error::Overloaded`].
pub async fn check(app: &App, stored: Option<&PasswordHash>, password: &Password) -> Result<Verdict> {
    let digest = digest(app, password.expose());
    let today = app.settings.password.bcrypt_cost;
    let stored = stored.and_then(PasswordHash::bcrypt).map(|(cost, hash)| (cost, hash.to_owned()));
    let known = stored.as_ref().map_or(today, |(cost, _)| *cost);
    let dearest = app.passwords.highest_cost.fetch_max(known, Ordering::Relaxed).max(known);
    app.passwords
        .pool
        .run(move || {
            let Some((cost, hash)) = stored else {
                burn(&digest, dearest)?;
                return Ok(Verdict::Wrong);
            };
            let right = bcrypt::verify(digest.as_bytes(), &hash).unwrap_or(false);
            // 2^cost is done; 2^cost + 2^(cost+1) + … + 2^(dearest-1) more make 2^dearest.
            for missing in cost..dearest {
                burn(&digest, missing)?;
            }
            match right {
                false => Ok(Verdict::Wrong),
                true if cost == today => Ok(Verdict::Right { upgrade: None }),
                true => Ok(Verdict::Right { upgrade: Some(bcrypt_hash(&digest, today)?) }),
            }
        })
        .await?
}

/// 64 characters whatever the password's length: within bcrypt's 72 bytes, and without NUL.
fn digest(app: &App, password: &str) -> Zeroizing<String> {
    Zeroizing::new(BASE64.encode(hmac::sign(&app.passwords.pepper, password.as_bytes())))
}

fn bcrypt_hash(digest: &str, cost: u32) -> Result<PasswordHash> {
    let hash = bcrypt::non_truncating_hash(digest, cost).map_err(Error::internal)?;
    Ok(PasswordHash::from_bcrypt(&hash))
}

/// Does the work of one hash and keeps nothing of it.
fn burn(digest: &str, cost: u32) -> Result<()> {
    std::hint::black_box(bcrypt_hash(digest, cost)?);
    Ok(())
}
