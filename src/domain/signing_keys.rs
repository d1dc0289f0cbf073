//! Signing keys: how they turn over without anybody noticing, and how one is pending out of use at once. Each is published
//! before it signs, and kept until its last token is dead.

use std::time::Duration;

use chrono::{DateTime, Utc};
use jsonwebtoken::Algorithm;
use sea_orm::{ActiveModelTrait, ActiveValue::Set, EntityTrait, IntoActiveModel, ModelTrait, QueryOrder, QuerySelect};
use serde_json::json;
use tokio::task::spawn_blocking;
use tracing::Span;

use super::{
    audit::{self, Actor, Event, Kind},
    authority::{By, lock_administration},
    clocks, revocations,
    source::Source,
};
use crate::{
    app::App,
    config,
    entity::signing_key::{self, Model, signer},
    error::{Error, Missing, Result},
    live::{
        clock_trust::TrustedReading,
        database::Transaction,
        jwt_key::JwtKey,
        master_key::{self, KeyFile, MasterKey},
        revocations::{CLOCK_MARGIN, MAX_TOKEN_LIFETIME},
        seal::Sealer,
        secrets,
    },
    values::{key_id::KeyId, time::rfc3339},
};

/// How long a key is published before it signs: twice as long as the slowest common verifier, `jose` with its default of ten
/// minutes, keeps the key set.
pub const AHEAD: Duration = Duration::from_mins(20);
/// How long a key signs before another follows it by itself.
const OLDEST: Duration = Duration::from_hours(90 * 24);
/// How long after it last signed a key is kept: no token lives longer, whatever the settings were.
const KEPT_AFTER: Duration = MAX_TOKEN_LIFETIME.saturating_add(CLOCK_MARGIN);
/// How many keys a list shows.
const MOST: u64 = 100;

/// Where a key stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Published, and waiting for its time.
    Next,
    /// It signs.
    Active,
    /// It signs no more; its last tokens may be alive.
    Retiring,
    /// Its tokens are refused.
    Revoked,
}

/// A signing key as it stands.
#[derive(Debug, Clone)]
pub struct SigningKey {
    /// What the row says.
    pub row: Model,
    /// What that means at this moment.
    pub status: Status,
}

/// The keys that are in use or were lately, by when they sign, the last first. A secret of the operator's own is not among them.
///
/// # Errors
/// When the database fails.
pub async fn list(app: &App) -> Result<Vec<SigningKey>> {
    let now = app.clock.now();
    let rows = signing_key::Entity::find()
        .order_by_desc(signing_key::COLUMN.activates_at)
        .order_by_desc(signing_key::COLUMN.kid)
        .limit(MOST)
        .all(app.db.read())
        .await?;
    let statuses: Vec<_> = rows.iter().map(|row| status(app, row, &rows, now)).collect();
    let keys = rows.into_iter().zip(statuses).map(|(row, status)| SigningKey { row, status });
    // What is dead goes with the next turn.
    Ok(keys.filter(|it| it.row.is_trusted(now) || it.status == Status::Revoked).collect())
}

fn status(app: &App, row: &Model, all: &[Model], now: DateTime<Utc>) -> Status {
    let signs = || algorithm(app).is_some() && signer(all.iter(), now).is_some_and(|it| it.kid == row.kid);
    match row {
        row if row.revoked_at.is_some() => Status::Revoked,
        row if row.is_next(now) => Status::Next,
        _ if signs() => Status::Active,
        _ => Status::Retiring,
    }
}

/// The algorithm of new keys; `None` where a secret of the operator's own signs.
fn algorithm(app: &App) -> Option<Algorithm> {
    match app.settings.signing.algorithm {
        config::Algorithm::EdDsa => Some(Algorithm::EdDSA),
        config::Algorithm::Es256 => Some(Algorithm::ES256),
        config::Algorithm::Rs256 => Some(Algorithm::RS256),
        config::Algorithm::Hs256 => None,
    }
}

/// Publishes a new key, which will sign in [`AHEAD`].
///
/// # Errors
/// [`Error::RotationPending`] when one is waiting already; [`Error::SharedSecretSigns`] with HS256.
pub async fn rotate(app: &App, by: By<'_>) -> Result<SigningKey> {
    let fresh = fresh(app).await?.ok_or(Error::SharedSecretSigns)?;
    let (tx, authority) = by.begin(app).await?;
    // A clock that is behind must not retire the key that signs before its time.
    let now = app.clock_trust.latest(app.clock.now());
    if signing_key::Entity::unrevoked(&tx).await?.iter().any(|it| it.is_next(now)) {
        return Err(Error::RotationPending);
    }
    let row = follow_up(app, &tx, fresh, now, now + AHEAD).await?;
    audit::record(&tx, now, &authority.source, authority.actor, rotated(&row)).await?;
    revocations::signing_keys_changed().commit(app, tx).await?;
    Ok(SigningKey { row, status: Status::Next })
}

/// Refuses a key's tokens from this moment on. If it was the one that signs, another does so at once: the next one if it
/// is published already, else a new one. Revoking a key again changes nothing.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn revoke(app: &App, by: By<'_>, kid: &KeyId) -> Result<()> {
    let fresh = fresh(app).await?;
    let (tx, authority) = by.begin(app).await?;
    // What leaked is refused in any case, also where no other key can be made to take its place.
    let fresh = if secrets::are_sealed_by(&app.signing.sealer, &tx).await? { fresh } else { None };
    let now = app.clock.now();
    let row = signing_key::Entity::find_by_id(kid.as_str()).one(&tx).await?.ok_or(Error::NotFound(Missing::Key))?;
    if row.revoked_at.is_some() {
        return Ok(());
    }
    let before = status(app, &row, &signing_key::Entity::unrevoked(&tx).await?, now);
    let mut revoked = row.into_active_model();
    revoked.revoked_at = Set(Some(now));
    revoked.private_key = Set(Vec::new());
    revoked.update(&tx).await?;

    let rest = signing_key::Entity::unrevoked(&tx).await?;
    match (before, rest.iter().find(|it| it.is_next(now)), fresh) {
        (Status::Next, ..) => keep_signer(&tx, &rest, now).await?,
        (Status::Active, Some(next), _) => change(&tx, next, |row| row.activates_at = Set(now)).await?,
        (Status::Active, None, Some(fresh)) => _ = follow_up(app, &tx, fresh, now, now).await?,
        (Status::Active, None, None) => tracing::error!("no key signs any more until this process is started again"),
        _ => {}
    }
    let event = Event::on_key(Kind::KeyRevoked, kid.as_str());
    audit::record(&tx, now, &authority.source, authority.actor, event).await?;
    revocations::signing_keys_changed().commit(app, tx).await
}

async fn change(tx: &Transaction, row: &Model, how: impl FnOnce(&mut signing_key::ActiveModel)) -> Result<()> {
    let mut row = row.clone().into_active_model();
    how(&mut row);
    row.update(tx).await?;
    Ok(())
}

/// Does what is due by the clock: makes the first key, follows up one that is old or of another algorithm than is set,
/// deletes the dead, and reads the ring again. Any number of replicas may do so at once. While the clock is in doubt,
/// only the first key is made.
///
/// # Errors
/// When the database fails, or the master key was changed.
pub async fn maintain(app: &App) -> Result<()> {
    let trusted = clocks::check(app).await?;
    let now = app.clock.now();
    let rows = signing_key::Entity::unrevoked(app.db.read()).await?;
    if due(app, &rows, now, trusted).is_some()
        && let Some(fresh) = fresh(app).await?
    {
        make_if_due(app, fresh, now, trusted).await?;
    }
    if let Some(trusted) = trusted {
        let tx = app.db.write_in_background().await?;
        if algorithm(app).is_none() {
            // The operator's secret signs in place of all of them; one that waits may sign elsewhere, with older settings.
            signing_key::Entity::retire(&tx, now + KEPT_AFTER).await?;
        }
        let purge_before = trusted.purge_before();
        signing_key::Entity::delete_dead(&tx, purge_before, purge_before - KEPT_AFTER).await?;
        tx.commit().await?;
    }
    revocations::reload_keys(app).await?;
    if secrets::are_sealed_by(&app.signing.sealer, app.db.read()).await? { Ok(()) } else { Err(master_key_changed()) }
}

/// From when on a new key is to sign, if one is due.
fn due(app: &App, rows: &[Model], now: DateTime<Utc>, trusted: Option<TrustedReading>) -> Option<DateTime<Utc>> {
    let algorithm = algorithm(app)?;
    if rows.iter().all(|it| it.retires_at.is_some()) {
        return Some(now);
    }
    trusted?;
    let is_other = |it: &Model| it.algorithm.parse() != Ok(algorithm);
    let due = match rows.iter().find(|it| it.is_next(now)) {
        // One that is about to sign does so already where a clock is ahead of ours.
        Some(next) => is_other(next) && next.activates_at > now + CLOCK_MARGIN || is_misdated(next, rows, now),
        None => signer(rows.iter(), now).is_some_and(|it| is_other(it) || it.activates_at + OLDEST <= now),
    };
    due.then(|| now + AHEAD)
}

/// Whether a key waits far too long, because a clock was ahead when the key was made. (Where no other key signs, it does.)
fn is_misdated(next: &Model, rows: &[Model], now: DateTime<Utc>) -> bool {
    next.activates_at > now + AHEAD + CLOCK_MARGIN && signer(rows.iter(), now).is_some_and(|it| it.kid != next.kid)
}

async fn make_if_due(app: &App, fresh: Fresh, now: DateTime<Utc>, trusted: Option<TrustedReading>) -> Result<()> {
    let tx = app.db.write_in_background().await?;
    lock_administration(&tx).await?;
    // Again, for another replica may have made it meanwhile.
    let rows = signing_key::Entity::unrevoked(&tx).await?;
    let Some(activates_at) = due(app, &rows, now, trusted) else { return Ok(()) };
    if let Some(next) = rows.iter().find(|it| it.is_next(now)) {
        // Of an algorithm that is not set any more, or misdated, and it has signed nothing.
        next.clone().delete(&tx).await?;
        keep_signer(&tx, &rows, now).await?;
    }
    let row = follow_up(app, &tx, fresh, now, activates_at).await?;
    tracing::info!(kid = row.kid, algorithm = row.algorithm, %activates_at, "made a signing key");
    if rows.is_empty() {
        return Ok(tx.commit().await?);
    }
    audit::record(&tx, now, &Source::default(), Actor::NONE, rotated(&row)).await?;
    revocations::signing_keys_changed().commit(app, tx).await
}

/// Nothing follows the key that signs any more.
async fn keep_signer(tx: &Transaction, rows: &[Model], now: DateTime<Utc>) -> Result<()> {
    match signer(rows.iter(), now) {
        Some(signer) => change(tx, signer, |row| row.retires_at = Set(None)).await,
        None => Ok(()),
    }
}

/// A key just made: itself, and its sealed private half.
type Fresh = (JwtKey, Vec<u8>);

/// A new key, made before anything is locked: with RSA it takes its time. `None` with HS256.
async fn fresh(app: &App) -> Result<Option<Fresh>> {
    let Some(algorithm) = algorithm(app) else { return Ok(None) };
    let app = app.clone();
    let span = Span::current();
    let made = spawn_blocking(move || span.in_scope(|| JwtKey::generate_sealed(algorithm, &app.signing.sealer))).await?;
    made.map(Some).map_err(Error::internal)
}

/// Writes a key that signs from `activates_at` on; whichever signs until then retires.
async fn follow_up(
    app: &App,
    tx: &Transaction,
    (key, sealed): Fresh,
    now: DateTime<Utc>,
    activates_at: DateTime<Utc>,
) -> Result<Model> {
    // Sealed under a master key that is no longer the database's, nobody could open it after the next start.
    if !secrets::are_sealed_by(&app.signing.sealer, tx).await? {
        return Err(master_key_changed());
    }
    signing_key::Entity::retire(tx, activates_at + KEPT_AFTER).await?;
    let row = key.to_row(sealed, now, activates_at);
    signing_key::Entity::insert(row.clone().into_active_model()).exec_without_returning(tx).await?;
    Ok(row)
}

fn master_key_changed() -> Error {
    Error::internal(anyhow::anyhow!("the master key was changed since this process started: start it again"))
}

fn rotated(row: &Model) -> Event {
    Event::on_key(Kind::KeyRotated, &row.kid)
        .with(json!({ "algorithm": row.algorithm, "activates_at": rfc3339(row.activates_at) }))
}

/// Seals everything under another master key: `new`, or where the key lies in a file, a random one. Gives the file, if
/// there is one.
///
/// # Errors
/// When neither is there, something does not open, the files cannot be written, or the database fails.
pub async fn rewrap(app: &App, new: Option<MasterKey>) -> Result<Option<KeyFile>> {
    let file = KeyFile::new(&app.settings);
    let key = match new {
        Some(key) => key,
        None if file.is_some() => master_key::generate().map_err(Error::Internal)?,
        None => {
            return Err(Error::internal(anyhow::anyhow!("the master key is a setting, so give the new one with --key-stdin")));
        }
    };
    let (tx, authority) = By::Operator.begin(app).await?;
    // Before the files are touched: whoever was here first may have their new key in one of them.
    if !secrets::are_sealed_by(&app.signing.sealer, &tx).await? {
        return Err(master_key_changed());
    }
    if let Some(file) = &file {
        file.write_new(&key).map_err(Error::Internal)?;
    }
    secrets::rewrap(&tx, &app.signing.sealer, &Sealer::new(&key)).await.map_err(Error::Internal)?;
    let event = Event::of(Kind::MasterKeyChanged);
    audit::record(&tx, app.clock.now(), &authority.source, authority.actor, event).await?;
    tx.commit().await?;
    if let Some(file) = &file {
        let tx = app.db.write().await?;
        secrets::finish_rewrap(file, &tx).await.map_err(Error::Internal)?;
    }
    Ok(file)
}
