//! The throttle: who guesses at passwords waits longer each time; nobody is ever locked out. Every operation that checks
//! a password counts against the same three backoffs, and only when the password was wrong.

use aws_lc_rs::hmac;
use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, EntityTrait, QueryFilter};

use super::source::Source;
use crate::{
    app::App,
    entity::{known_network, throttle},
    error::{Error, Result},
    live::{clock_trust::TrustedReading, database::Transaction, rate_limits::RateLimit},
    values::{
        backoff::{Attempts, Backoff},
        identifier::Identifier,
        ids::UserId,
        network::Network,
    },
};

/// One network at one account: 5 mistakes are free, as people make them; then waits from a second to half an hour.
/// NIST SP 800-63B section 3.2.2 has waits that grow up to an hour, and at most 100 failures in a row: a guesser gets
/// some 60 tries in the first day.
const PAIR: Backoff = Backoff::new(5, 30 * 60);
/// All networks at one account, but for those it has logged in from: many who guess together are one guesser.
const ACCOUNT: Backoff = Backoff::new(20, 30 * 60);
/// One network at all accounts: a whole company's mistakes, but no list of stolen passwords.
const NETWORK: Backoff = Backoff::new(50, 36);
/// How long a network is known after the account has logged in there.
const KNOWN: TimeDelta = TimeDelta::days(90);

/// Whose password is tried.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    /// This account's, by whatever name it was called.
    Account(UserId),
    /// Nobody's: there is no such account.
    Unknown(&'a Identifier),
}

/// A try at a password that was let through. What came of it must be told before the caller hears of it.
pub struct Attempt(Option<Keys>);

struct Keys {
    /// Of the pair, the account and the network.
    backoffs: [(Vec<u8>, Backoff); 3],
    known: Vec<u8>,
}

/// Lets somebody pass a door that everybody may knock at, so and so often.
///
/// # Errors
/// [`Error::TooManyRequests`].
pub fn limit_rate(app: &App, source: &Source, limit: RateLimit) -> Result<()> {
    if !app.settings.throttle.enabled {
        return Ok(());
    }
    app.throttle.rate_limits.count_call(limit, source.address.into(), app.clock.read().monotonic()).map_err(too_many)
}

/// Lets somebody try a password. Nothing is written for who is refused.
///
/// # Errors
/// [`Error::TooManyRequests`].
pub async fn attempt(app: &App, source: &Source, target: Target<'_>) -> Result<Attempt> {
    let attempt = Attempt(app.settings.throttle.enabled.then(|| Keys::new(&app.throttle.key, source, target)));
    attempt.check(app.db.read(), app.clock.now()).await?;
    Ok(attempt)
}

impl Attempt {
    /// Goes on if the try may still be made: others that were made during the hashing may have spent what was left, and
    /// then nobody learns whether this one was right.
    ///
    /// # Errors
    /// [`Error::TooManyRequests`].
    pub async fn check(&self, conn: &impl ConnectionTrait, now: DateTime<Utc>) -> Result<()> {
        let Some(keys) = &self.0 else { return Ok(()) };
        let rows = throttle::Entity::of(conn, &keys.all()).await?;
        keys.check(conn, &rows, now).await
    }

    /// The password was wrong: counts the attempt.
    ///
    /// # Errors
    /// As [`Self::check`]; then nothing is spent.
    pub async fn failed(&self, tx: &Transaction, now: DateTime<Utc>) -> Result<()> {
        let Some(keys) = &self.0 else { return Ok(()) };
        let rows = throttle::Entity::locked(tx, &keys.all()).await?;
        keys.check(tx, &rows, now).await?;
        let counted = keys.backoffs.iter().map(|(key, backoff)| {
            let Attempts { expires_at, last_at } = backoff.count(attempts(&rows, key), now);
            throttle::Model { key: key.clone(), expires_at, last_at }
        });
        Ok(throttle::Entity::write(tx, counted.collect()).await?)
    }

    /// The password was right: forgives what this network has spent at this account (NIST SP 800-63B section 3.2.2), and
    /// remembers it. What others have spent, and this network at others, stays.
    ///
    /// # Errors
    /// As [`Self::check`].
    pub async fn succeeded(&self, tx: &Transaction, now: DateTime<Utc>) -> Result<()> {
        self.check(tx, now).await?;
        let Some(Keys { backoffs: [(pair, _), ..], known }) = &self.0 else { return Ok(()) };
        throttle::Entity::forgive(tx, pair).await?;
        known_network::Entity::write(tx, known_network::Model { key: known.clone(), expires_at: now + KNOWN }).await?;
        Ok(())
    }
}

impl Keys {
    fn new(key: &hmac::Key, source: &Source, target: Target<'_>) -> Self {
        let network = Network::from(source.address).to_string();
        let account = match target {
            Target::Account(id) => format!("id {id}"),
            Target::Unknown(Identifier::Email(email)) => format!("email {}", email.as_str()),
            Target::Unknown(Identifier::Username(username)) => format!("username {}", username.as_str()),
            Target::Unknown(Identifier::Malformed) => "unknown".to_owned(),
        };
        // No part holds NUL.
        let digest = |parts: &[&str]| hmac::sign(key, parts.join("\0").as_bytes()).as_ref().to_vec();
        Self {
            backoffs: [
                (digest(&["pair", &account, &network]), PAIR),
                (digest(&["account", &account]), ACCOUNT),
                (digest(&["network", &network]), NETWORK),
            ],
            known: digest(&["known", &account, &network]),
        }
    }

    fn all(&self) -> Vec<Vec<u8>> {
        self.backoffs.iter().map(|(key, _)| key.clone()).collect()
    }

    async fn check(&self, conn: &impl ConnectionTrait, rows: &[throttle::Model], now: DateTime<Utc>) -> Result<()> {
        let wait = |(key, backoff): &(Vec<u8>, Backoff)| backoff.wait(attempts(rows, key), now);
        let [pair, account, network] = &self.backoffs;
        // The owner gets in from where they were before, however many others guess meanwhile.
        let account = match wait(account) {
            Some(wait) if !self.is_known(conn, now).await? => Some(wait),
            _ => None,
        };
        match wait(pair).max(account).max(wait(network)) {
            Some(longest) => Err(too_many(longest)),
            None => Ok(()),
        }
    }

    async fn is_known(&self, conn: &impl ConnectionTrait, now: DateTime<Utc>) -> Result<bool> {
        let row = known_network::Entity::find_by_id(self.known.clone()).one(conn).await?;
        Ok(row.is_some_and(|it| it.expires_at > now))
    }
}

fn attempts(rows: &[throttle::Model], key: &[u8]) -> Attempts {
    let row = rows.iter().find(|row| row.key == key);
    row.map_or(Attempts::NONE, |it| Attempts { expires_at: it.expires_at, last_at: it.last_at })
}

fn too_many(wait: TimeDelta) -> Error {
    Error::TooManyRequests { retry_after: wait.to_std().unwrap_or_default() }
}

/// Deletes what means nothing any more.
///
/// # Errors
/// When the database fails.
pub async fn purge(app: &App, trusted: TrustedReading) -> Result<()> {
    let purge_before = trusted.purge_before();
    let tx = app.db.write_in_background().await?;
    throttle::Entity::delete_many().filter(throttle::COLUMN.expires_at.lte(purge_before)).exec(&tx).await?;
    known_network::Entity::delete_many().filter(known_network::COLUMN.expires_at.lte(purge_before)).exec(&tx).await?;
    Ok(tx.commit().await?)
}
