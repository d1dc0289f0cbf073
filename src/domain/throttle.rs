//! The throttle: each wrong password makes the next attempt wait longer, and no account is ever locked. Every operation that
//! checks a password counts against the same three backoffs, and only if the password is wrong.

use aws_lc_rs::hmac;
use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, EntityTrait, QueryFilter};
use uuid::Uuid;

use super::source::Source;
use crate::{
    app::App,
    entity::{known_network, tally, throttle, user},
    error::{Error, Result},
    live::{clock_trust::TrustedReading, database::Transaction, rate_limits::RateLimit},
    values::{
        backoff::{Attempts, Backoff},
        identifier::Identifier,
        ids::UserId,
        network::Network,
        recent_times::RecentTimes,
    },
};

/// The attempts of one network at one account: five mistakes are free, then the wait grows from a second to half an hour. NIST
/// SP 800-63B section 3.2.2 recommends waits of up to an hour and at most 100 consecutive failures; an attacker gets about 65
/// attempts from one network, or 80 from many, on the first day and 48 on each later day.
const PAIR: Backoff = Backoff::new(5, 30 * 60);
/// The attempts of all networks at one account, so that attackers who share the work gain nothing. A network from which the
/// account has logged in is exempt.
const ACCOUNT: Backoff = Backoff::new(20, 30 * 60);
/// The attempts of one network at all accounts: enough for the mistakes of a whole company, too few for a list of stolen
/// passwords.
const NETWORK: Backoff = Backoff::new(50, 36);
const DAY: TimeDelta = TimeDelta::days(1);
/// How long a network is known to an account after a log-in.
const KNOWN: TimeDelta = TimeDelta::days(90);

/// The account at which an attempt is made.
#[derive(Debug, Clone, Copy)]
pub enum Target<'a> {
    /// An account, whichever of its names the caller gave.
    Account(UserId),
    /// An identifier that no account has.
    Unknown(&'a Identifier),
    /// The second factors of an account. They count apart from its password, so that a stranger, who has to know the password to
    /// come that far, cannot make the owner wait for a factor.
    SecondFactor(UserId),
}

/// An attempt at a password or a second factor that may be made. If it was wrong, record that with [`Attempt::failed`] before the
/// response is sent. If it was right, call [`Attempt::check`] once more in the transaction that it permits: a right attempt forgives
/// nothing, because whoever has stolen a password must not get more guesses at the factor by it. Only [`recognise`] forgives.
pub struct Attempt(Option<Counters>);

/// The keys of the rows that count an attempt.
struct Counters {
    /// The pair of account and network, the account, and the network.
    backoffs: [(Vec<u8>, Backoff); 3],
    /// The network as one that the account knows.
    known: Vec<u8>,
}

/// Limits how often one network may call a public operation. Fails with [`Error::TooManyRequests`] above the limit.
pub fn limit_rate(app: &App, source: &Source, limit: RateLimit) -> Result<()> {
    if !app.settings.throttle.enabled {
        return Ok(());
    }
    app.throttle.rate_limits.count_call(limit, source.address.into(), app.clock.read().monotonic()).map_err(too_many)
}

/// Begins an attempt at a password or a second factor. Fails with [`Error::TooManyRequests`], and writes nothing, if the caller
/// must wait.
pub async fn attempt(app: &App, source: &Source, target: Target<'_>) -> Result<Attempt> {
    let attempt = Attempt::new(app, source, target);
    attempt.check(app.db.read(), app.clock.now()).await?;
    Ok(attempt)
}

impl Attempt {
    /// Prepares an attempt. Call [`Self::check`] before it is made.
    pub fn new(app: &App, source: &Source, target: Target<'_>) -> Self {
        Self(app.settings.throttle.enabled.then(|| Counters::new(&app.throttle.key, source, target)))
    }

    /// Fails with [`Error::TooManyRequests`] if the attempt may no longer be made: other attempts may have failed while this
    /// one was hashed. The caller then does not learn whether the password is correct.
    pub async fn check(&self, conn: &impl ConnectionTrait, now: DateTime<Utc>) -> Result<()> {
        let Some(counters) = &self.0 else { return Ok(()) };
        let rows = throttle::Entity::of(conn, &counters.keys()).await?;
        counters.check(conn, &rows, now).await
    }

    /// Records that the password was wrong. Fails like [`Self::check`], and then counts nothing.
    pub async fn failed(&self, tx: &Transaction, now: DateTime<Utc>) -> Result<()> {
        let Some(counters) = &self.0 else { return Ok(()) };
        let rows = throttle::Entity::locked(tx, &counters.keys()).await?;
        counters.check(tx, &rows, now).await?;
        let counted = counters.backoffs.iter().map(|(key, backoff)| {
            let Attempts { expires_at, last_at } = backoff.count(attempts(&rows, key), now);
            throttle::Model { key: key.clone(), expires_at, last_at }
        });
        Ok(throttle::Entity::write(tx, counted.collect()).await?)
    }
}

impl Counters {
    fn new(key: &hmac::Key, source: &Source, target: Target<'_>) -> Self {
        let network = Network::from(source.address).to_string();
        let account = match target {
            Target::Account(id) | Target::SecondFactor(id) => format!("id {id}"),
            Target::Unknown(Identifier::Email(email)) => format!("email {}", email.as_str()),
            Target::Unknown(Identifier::Username(username)) => format!("username {}", username.as_str()),
            Target::Unknown(Identifier::Malformed) => "unknown".to_owned(),
        };
        let [pair, of_account, of_network] = match target {
            Target::SecondFactor(_) => ["factor pair", "factor account", "factor network"],
            _ => ["pair", "account", "network"],
        };
        // No part contains NUL.
        let digest = |parts: &[&str]| hmac::sign(key, parts.join("\0").as_bytes()).as_ref().to_vec();
        Self {
            backoffs: [
                (digest(&[pair, &account, &network]), PAIR),
                (digest(&[of_account, &account]), ACCOUNT),
                (digest(&[of_network, &network]), NETWORK),
            ],
            known: digest(&["known", &account, &network]),
        }
    }

    fn keys(&self) -> Vec<Vec<u8>> {
        self.backoffs.iter().map(|(key, _)| key.clone()).collect()
    }

    async fn check(&self, conn: &impl ConnectionTrait, rows: &[throttle::Model], now: DateTime<Utc>) -> Result<()> {
        let wait = |(key, backoff): &(Vec<u8>, Backoff)| backoff.wait(attempts(rows, key), now);
        let [pair, account, network] = &self.backoffs;
        // The owner can log in from a known network, however many attackers guess at the account.
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
        Ok(known_network::Entity::is_known(conn, &self.known, now).await?)
    }
}

/// Returns whether `user` has logged in from this network in the last months.
pub async fn knows_network(
    app: &App,
    conn: &impl ConnectionTrait,
    source: &Source,
    user: UserId,
    now: DateTime<Utc>,
) -> Result<bool> {
    let Counters { known, .. } = Counters::new(&app.throttle.key, source, Target::Account(user));
    Ok(known_network::Entity::is_known(conn, &known, now).await?)
}

/// Records that the user of this network has completely logged in, or has proven by other means that the account is theirs: forgives
/// the attempts of this network at the password and the factors of the account (NIST SP 800-63B section 3.2.2), forgets the factors
/// that were wrong, and makes the network known to the account. The attempts of other networks, and of this network at other accounts,
/// remain. Returns whether the network was not known; false if the throttle is off, because then nothing is recorded about networks.
pub async fn recognise(app: &App, tx: &Transaction, source: &Source, user: &user::Model, now: DateTime<Utc>) -> Result<bool> {
    if user.second_factor {
        tally::Entity::forget(tx, &wrong_factors(app, user.id)).await?;
    }
    if !app.settings.throttle.enabled {
        return Ok(false);
    }
    let counters = |target| Counters::new(&app.throttle.key, source, target);
    if user.second_factor {
        let Counters { backoffs: [(pair, _), ..], .. } = counters(Target::SecondFactor(user.id));
        throttle::Entity::forgive(tx, &pair).await?;
    }
    let Counters { backoffs: [(pair, _), ..], known } = counters(Target::Account(user.id));
    throttle::Entity::forgive(tx, &pair).await?;
    Ok(known_network::Entity::remember(tx, &known, now, now + KNOWN).await?)
}

/// The wrong factors in a day of which the owner is told (OWASP ASVS 6.3.5). They come after a correct password.
const MANY_WRONG: usize = 3;

/// Counts a wrong factor. Returns true for the third one in a day since the last log-in, and for every third one after that.
pub async fn count_wrong_factor(app: &App, tx: &Transaction, now: DateTime<Utc>, user: UserId) -> Result<bool> {
    let [mut tally] = tally::Entity::locked(tx, &[wrong_factors(app, user)]).await?;
    tally.times.add(now, DAY);
    tally.expires_at = now + DAY;
    let are_many = tally.times.within(DAY, now) >= MANY_WRONG;
    if are_many {
        tally.times = RecentTimes::default();
    }
    tally.write(tx).await?;
    Ok(are_many)
}

fn wrong_factors(app: &App, user: UserId) -> Vec<u8> {
    hmac::sign(&app.throttle.key, &[b"wrong factors\0".as_slice(), Uuid::from(user).as_bytes()].concat()).as_ref().to_vec()
}

fn attempts(rows: &[throttle::Model], key: &[u8]) -> Attempts {
    let row = rows.iter().find(|row| row.key == key);
    row.map_or(Attempts::NONE, |row| Attempts { expires_at: row.expires_at, last_at: row.last_at })
}

fn too_many(wait: TimeDelta) -> Error {
    Error::TooManyRequests { retry_after: wait.to_std().unwrap_or_default() }
}

/// Deletes the attempts and the known networks that have expired.
pub async fn purge(app: &App, trusted: TrustedReading) -> Result<()> {
    let purge_before = trusted.purge_before();
    let tx = app.db.write_in_background().await?;
    throttle::Entity::delete_many().filter(throttle::COLUMN.expires_at.lte(purge_before)).exec(&tx).await?;
    known_network::Entity::delete_many().filter(known_network::COLUMN.expires_at.lte(purge_before)).exec(&tx).await?;
    Ok(tx.commit().await?)
}
