//! Signing keys: how they rotate without an interruption, and how one is revoked at once. A key is published before it signs,
//! and kept until its last token has expired.

use std::time::Duration;

use chrono::{DateTime, Utc};
use jsonwebtoken::Algorithm;
use sea_orm::{ActiveModelTrait, ActiveValue::Set, EntityTrait, IntoActiveModel, ModelTrait, QueryOrder, QuerySelect};
use serde_json::json;
use tokio::task::spawn_blocking;

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
        log::request,
        master_key::{self, KeyFile, MasterKey},
        revocations::{CLOCK_MARGIN, MAX_TOKEN_LIFETIME},
        seal::Sealer,
        secrets,
    },
    values::{key_id::KeyId, time::rfc3339},
};

/// How long a key is published before it signs: twice as long as the slowest common verifier caches the key set. That is
/// `jose`, with a default of ten minutes.
pub const PUBLISHED_AHEAD: Duration = Duration::from_mins(20);
/// How long a key signs before it is rotated automatically.
const MAX_AGE: Duration = Duration::from_hours(90 * 24);
/// How long a key is kept after it last signed: no token lives longer under any setting.
const KEPT_AFTER: Duration = MAX_TOKEN_LIFETIME.saturating_add(CLOCK_MARGIN);
/// The maximum number of keys in a list.
const MAX_LISTED: u64 = 100;

/// The status of a signing key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Published, but not signing yet.
    Next,
    /// Signing.
    Active,
    /// No longer signing; its last tokens may still be valid.
    Retiring,
    /// Its tokens are rejected.
    Revoked,
}

/// A signing key with its status.
#[derive(Debug, Clone)]
pub struct SigningKey {
    /// The key's row.
    pub row: Model,
    /// The key's status at this moment.
    pub status: Status,
}

/// Returns the keys that are in use or were so recently, newest first. The secret of HS256 is not among them.
pub async fn list(app: &App) -> Result<Vec<SigningKey>> {
    let now = app.clock.now();
    let rows = signing_key::Entity::find()
        .order_by_desc(signing_key::COLUMN.activates_at)
        .order_by_desc(signing_key::COLUMN.kid)
        .limit(MAX_LISTED)
        .all(app.db.read())
        .await?;
    let statuses: Vec<_> = rows.iter().map(|row| status(app, row, &rows, now)).collect();
    let keys = rows.into_iter().zip(statuses).map(|(row, status)| SigningKey { row, status });
    // `maintain` deletes the others.
    Ok(keys.filter(|key| key.row.is_trusted(now) || key.status == Status::Revoked).collect())
}

fn status(app: &App, row: &Model, all: &[Model], now: DateTime<Utc>) -> Status {
    let signs = || algorithm(app).is_some() && signer(all.iter(), now).is_some_and(|signer| signer.kid == row.kid);
    match row {
        row if row.revoked_at.is_some() => Status::Revoked,
        row if row.is_next(now) => Status::Next,
        _ if signs() => Status::Active,
        _ => Status::Retiring,
    }
}

/// Returns the algorithm of new keys; `None` with HS256, where the operator's secret signs.
fn algorithm(app: &App) -> Option<Algorithm> {
    match app.settings.signing.algorithm {
        config::Algorithm::EdDsa => Some(Algorithm::EdDSA),
        config::Algorithm::Es256 => Some(Algorithm::ES256),
        config::Algorithm::Rs256 => Some(Algorithm::RS256),
        config::Algorithm::Hs256 => None,
    }
}

/// Publishes a new key, which signs after [`PUBLISHED_AHEAD`].
///
/// # Errors
/// [`Error::RotationPending`] if another key is published and does not sign yet; [`Error::SharedSecretSigns`] with HS256.
pub async fn rotate(app: &App, by: By<'_>) -> Result<SigningKey> {
    let new = generate(app).await?.ok_or(Error::SharedSecretSigns)?;
    let (tx, authority) = by.begin(app).await?;
    // If the clock is behind, the key that signs must not retire too early.
    let now = app.clock_trust.latest(app.clock.now());
    if signing_key::Entity::unrevoked(&tx).await?.iter().any(|key| key.is_next(now)) {
        return Err(Error::RotationPending);
    }
    let row = insert(app, &tx, new, now, now + PUBLISHED_AHEAD).await?;
    audit::record(&tx, now, &authority.source, authority.actor, rotation_event(&row)).await?;
    revocations::signing_keys_changed().commit(app, tx).await?;
    Ok(SigningKey { row, status: Status::Next })
}

/// Revokes a key: its tokens are rejected from now on. If the key signs, another one takes over at once: the next one if it
/// is published, otherwise a new one. Revoking a key again changes nothing. Fails with [`Error::NotFound`] if there is no
/// such key.
pub async fn revoke(app: &App, by: By<'_>, kid: &KeyId) -> Result<()> {
    let new = generate(app).await?;
    let (tx, authority) = by.begin(app).await?;
    // A leaked key is revoked even if no other key can take its place.
    let new = if secrets::are_sealed_by(&app.signing.sealer, &tx).await? { new } else { None };
    let now = app.clock.now();
    let row = signing_key::Entity::find_by_id(kid.as_str()).one(&tx).await?.ok_or(Error::NotFound(Missing::SigningKey))?;
    if row.revoked_at.is_some() {
        return Ok(());
    }
    let before = status(app, &row, &signing_key::Entity::unrevoked(&tx).await?, now);
    revoke_row(&tx, &row, now).await?;

    let rest = signing_key::Entity::unrevoked(&tx).await?;
    match (before, rest.iter().find(|key| key.is_next(now)), new) {
        (Status::Next, ..) => keep_signer(&tx, &rest, now).await?,
        (Status::Active, Some(next), _) => change(&tx, next, |row| row.activates_at = Set(now)).await?,
        (Status::Active, None, Some(new)) => _ = insert(app, &tx, new, now, now).await?,
        (Status::Active, None, None) => tracing::error!("no key signs access tokens until this server is restarted"),
        _ => {}
    }
    let event = Event::on_key(Kind::SigningKeyRevoked, kid.as_str());
    audit::record(&tx, now, &authority.source, authority.actor, event).await?;
    revocations::signing_keys_changed().commit(app, tx).await
}

/// Revokes all keys. `new` signs instead.
pub(super) async fn replace_all(app: &App, tx: &Transaction, new: Option<NewKey>, now: DateTime<Utc>) -> Result<()> {
    for row in signing_key::Entity::unrevoked(tx).await? {
        revoke_row(tx, &row, now).await?;
    }
    if let Some(new) = new {
        insert(app, tx, new, now, now).await?;
    }
    Ok(())
}

async fn revoke_row(tx: &Transaction, row: &Model, now: DateTime<Utc>) -> Result<()> {
    let revoke = |row: &mut signing_key::ActiveModel| {
        row.revoked_at = Set(Some(now));
        row.private_key = Set(Vec::new());
    };
    change(tx, row, revoke).await
}

async fn change(tx: &Transaction, row: &Model, how: impl FnOnce(&mut signing_key::ActiveModel)) -> Result<()> {
    let mut row = row.clone().into_active_model();
    how(&mut row);
    row.update(tx).await?;
    Ok(())
}

/// Does what is due: creates the first key, rotates a key that is too old or has another algorithm than the settings, deletes
/// keys that are no longer needed, and loads the key ring again. Several replicas may do this at once. While the clock is in
/// doubt, this creates only the first key. Fails if the master key was changed.
pub async fn maintain(app: &App) -> Result<()> {
    let trusted = clocks::check(app).await?;
    let now = app.clock.now();
    let rows = signing_key::Entity::unrevoked(app.db.read()).await?;
    if due(app, &rows, now, trusted).is_some()
        && let Some(new) = generate(app).await?
    {
        create_if_due(app, new, now, trusted).await?;
    }
    if let Some(trusted) = trusted {
        let tx = app.db.write_in_background().await?;
        if algorithm(app).is_none() {
            // The operator's secret signs instead. A published key may sign on a server with older settings.
            signing_key::Entity::retire(&tx, now + KEPT_AFTER).await?;
        }
        let purge_before = trusted.purge_before();
        signing_key::Entity::delete_retired(&tx, purge_before, purge_before - KEPT_AFTER).await?;
        tx.commit().await?;
    }
    revocations::reload_keys(app).await?;
    if secrets::are_sealed_by(&app.signing.sealer, app.db.read()).await? { Ok(()) } else { Err(master_key_changed()) }
}

/// Returns when a new key is to start signing, if one is due.
fn due(app: &App, rows: &[Model], now: DateTime<Utc>, trusted: Option<TrustedReading>) -> Option<DateTime<Utc>> {
    let algorithm = algorithm(app)?;
    if rows.iter().all(|key| key.retires_at.is_some()) {
        return Some(now);
    }
    trusted?;
    let has_other_algorithm = |key: &Model| key.algorithm.parse() != Ok(algorithm);
    let due = match rows.iter().find(|key| key.is_next(now)) {
        // A key that is about to sign does so already on a server whose clock is ahead.
        Some(next) => has_other_algorithm(next) && next.activates_at > now + CLOCK_MARGIN || is_misdated(next, rows, now),
        None => signer(rows.iter(), now).is_some_and(|key| has_other_algorithm(key) || key.activates_at + MAX_AGE <= now),
    };
    due.then(|| now + PUBLISHED_AHEAD)
}

/// Returns whether a key would wait far too long, because a clock was ahead when the key was created. (If no other key signs,
/// this one does.)
fn is_misdated(next: &Model, rows: &[Model], now: DateTime<Utc>) -> bool {
    next.activates_at > now + PUBLISHED_AHEAD + CLOCK_MARGIN
        && signer(rows.iter(), now).is_some_and(|signer| signer.kid != next.kid)
}

async fn create_if_due(app: &App, new: NewKey, now: DateTime<Utc>, trusted: Option<TrustedReading>) -> Result<()> {
    let tx = app.db.write_in_background().await?;
    lock_administration(&tx).await?;
    // Checked again, because another replica may have created the key.
    let rows = signing_key::Entity::unrevoked(&tx).await?;
    let Some(activates_at) = due(app, &rows, now, trusted) else { return Ok(()) };
    if let Some(next) = rows.iter().find(|key| key.is_next(now)) {
        // The key has another algorithm than the settings, or is misdated, and has signed nothing.
        next.clone().delete(&tx).await?;
        keep_signer(&tx, &rows, now).await?;
    }
    let row = insert(app, &tx, new, now, activates_at).await?;
    tracing::info!(kid = row.kid, algorithm = row.algorithm, %activates_at, "created a signing key");
    if rows.is_empty() {
        return Ok(tx.commit().await?);
    }
    audit::record(&tx, now, &Source::default(), Actor::NONE, rotation_event(&row)).await?;
    revocations::signing_keys_changed().commit(app, tx).await
}

/// Clears the time at which the signing key retires, because no other key follows it.
async fn keep_signer(tx: &Transaction, rows: &[Model], now: DateTime<Utc>) -> Result<()> {
    match signer(rows.iter(), now) {
        Some(signer) => change(tx, signer, |row| row.retires_at = Set(None)).await,
        None => Ok(()),
    }
}

/// A new key, with its sealed private key.
pub(super) type NewKey = (JwtKey, Vec<u8>);

/// Generates a new key; `None` with HS256. This happens before any row is locked, because an RSA key takes long.
pub(super) async fn generate(app: &App) -> Result<Option<NewKey>> {
    let Some(algorithm) = algorithm(app) else { return Ok(None) };
    let app = app.clone();
    let request = request::current();
    let made =
        spawn_blocking(move || request::in_scope(request, || JwtKey::generate_sealed(algorithm, &app.signing.sealer))).await?;
    made.map(Some).map_err(Error::internal)
}

/// Inserts a key that signs from `activates_at` on. The key that signs until then retires.
async fn insert(
    app: &App,
    tx: &Transaction,
    (key, sealed): NewKey,
    now: DateTime<Utc>,
    activates_at: DateTime<Utc>,
) -> Result<Model> {
    // A private key that is sealed under an old master key could not be opened after the next start.
    if !secrets::are_sealed_by(&app.signing.sealer, tx).await? {
        return Err(master_key_changed());
    }
    signing_key::Entity::retire(tx, activates_at + KEPT_AFTER).await?;
    let row = key.to_row(sealed, now, activates_at);
    signing_key::Entity::insert(row.clone().into_active_model()).exec_without_returning(tx).await?;
    Ok(row)
}

fn master_key_changed() -> Error {
    Error::internal(anyhow::anyhow!("the master key was changed since this server started: restart it"))
}

fn rotation_event(row: &Model) -> Event {
    Event::on_key(Kind::SigningKeyRotated, &row.kid)
        .with(json!({ "algorithm": row.algorithm, "activates_at": rfc3339(row.activates_at) }))
}

/// Seals all secrets under another master key: under `new`, or under a random key if the master key is in a file. Returns the
/// file, if there is one. Fails if there is neither, if a secret cannot be opened, or if a file cannot be written.
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
    // Checked before the files are written: one of them may hold the key of a rewrap that came first.
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
