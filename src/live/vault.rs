//! The vault: what lies in the database sealed under the master key.

use std::sync::Arc;

use anyhow::{Context, Result};
use aws_lc_rs::rand;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use jsonwebtoken::Algorithm;
use sea_orm::{ActiveModelTrait, ActiveValue::Set, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel};
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::{
    database::Transaction,
    key_ring::{Key, KeyRing},
    master_key::{self, KeyFile, MasterKey},
    seal::{KEY_LEN, Sealer},
};
use crate::{
    config::Settings,
    entity::{secret, signing_key},
};

const OTHER_KEY: &str = "this database was made under another master key: restore the file master.key, or the VESTIBULE_MASTER_KEY, \
                         that it was made with";
/// What secrets and signing keys are sealed for.
const SECRET: &str = "secret";
const SIGNING_KEY: &str = "signing-key";

/// The secrets that lie sealed in a database, open while the process starts.
pub struct Vault<'a> {
    tx: &'a Transaction,
    sealer: Sealer,
    now: DateTime<Utc>,
}

impl<'a> Vault<'a> {
    /// Finds the master key, or makes it where that may be done.
    ///
    /// # Errors
    /// When the master key is missing, unreadable, or no such key.
    pub async fn open(settings: &Settings, tx: &'a Transaction, now: DateTime<Utc>) -> Result<Self> {
        let sealer = Sealer::new(&*find(settings, tx).await?);
        Ok(Self { tx, sealer, now })
    }

    /// The 32 bytes of this name, made at the first start.
    ///
    /// # Errors
    /// When the master key is another than the one they were sealed under.
    pub async fn secret(&self, name: &str) -> Result<Zeroizing<Vec<u8>>> {
        if let Some(row) = secret::Entity::find_by_id(name).one(self.tx).await? {
            return self.sealer.open(SECRET, name, &row.sealed).map_err(|_| anyhow::anyhow!(OTHER_KEY));
        }
        let mut secret = Zeroizing::new(vec![0; KEY_LEN]);
        rand::fill(&mut secret).map_err(|_| anyhow::anyhow!("no randomness"))?;
        let sealed = self.sealer.seal(SECRET, name, &secret);
        let row = secret::ActiveModel { name: Set(name.into()), sealed: Set(sealed), created_at: Set(self.now) };
        secret::Entity::insert(row).exec_without_returning(self.tx).await?;
        Ok(secret)
    }

    /// What seals and opens from here on.
    #[must_use]
    pub fn into_sealer(self) -> Sealer {
        self.sealer
    }
}

/// The master key: from the settings, else from the data directory, where on SQLite it is made once.
async fn find(settings: &Settings, tx: &Transaction) -> Result<MasterKey> {
    if let Some(key) = settings.master_key()? {
        return Ok(key);
    }
    let file = KeyFile::of(settings).context("the master key is a setting")?;
    settle(&file, tx).await?;
    if let Some(key) = file.read()? {
        return Ok(key);
    }
    if secret::Entity::find().one(tx).await?.is_some() {
        let path = file.path().display();
        anyhow::bail!(
            "the secrets in this database are sealed under a master key that is not here: restore {path}, or set VESTIBULE_MASTER_KEY"
        );
    }
    if !settings.database_url().expose_secret().starts_with("sqlite:") {
        anyhow::bail!(
            "PostgreSQL needs a master key that all replicas share: set VESTIBULE_MASTER_KEY to 32 random bytes in base64 \
             (`openssl rand -base64 32`)"
        );
    }
    let key = master_key::random()?;
    file.write(&key)?;
    Ok(key)
}

/// Ends what [`rewrap`] began, also for a process that was killed in the middle: the proposed key takes its place exactly
/// if it is the one that opens the database. Otherwise nothing was sealed under it, and it is never looked at again.
///
/// # Errors
/// When the database fails, or the files cannot be renamed.
pub async fn settle(file: &KeyFile, tx: &Transaction) -> Result<()> {
    match file.read_proposed() {
        Some(key) if opens(&Sealer::new(&key), tx).await? => file.replace(),
        _ => Ok(()),
    }
}

/// Whether this is the master key that the database is sealed under at this moment.
///
/// # Errors
/// Whatever the database says.
pub async fn opens(sealer: &Sealer, conn: &impl ConnectionTrait) -> Result<bool, DbErr> {
    let row = secret::Entity::find().one(conn).await?;
    Ok(row.is_some_and(|it| sealer.open(SECRET, &it.name, &it.sealed).is_ok()))
}

/// Opens everything under one master key and seals it under another.
///
/// # Errors
/// When the database fails, or something does not open.
pub async fn rewrap(tx: &Transaction, old: &Sealer, new: &Sealer) -> Result<()> {
    for row in secret::Entity::find().all(tx).await? {
        let sealed = new.seal(SECRET, &row.name, &old.open(SECRET, &row.name, &row.sealed)?);
        let mut row = row.into_active_model();
        row.sealed = Set(sealed);
        row.update(tx).await?;
    }
    for row in signing_key::Entity::unrevoked(tx).await? {
        let sealed = new.seal(SIGNING_KEY, &row.kid, &old.open(SIGNING_KEY, &row.kid, &row.private_key)?);
        let mut row = row.into_active_model();
        row.private_key = Set(sealed);
        row.update(tx).await?;
    }
    Ok(())
}

/// A new signing key and its sealed private half.
///
/// # Errors
/// For a symmetric algorithm.
pub fn make_key(sealer: &Sealer, algorithm: Algorithm) -> Result<(Key, Vec<u8>)> {
    let pkcs8 = Key::generate(algorithm)?;
    let key = Key::private(algorithm, &pkcs8)?;
    let private = sealer.seal(SIGNING_KEY, &key.id, &pkcs8);
    Ok((key, private))
}

/// All keys that were not revoked, and the ids of those that cannot be opened. What the ring in use holds already is not
/// opened again: a process goes on with it after the master key was changed.
///
/// # Errors
/// Whatever the database says.
pub async fn key_ring(conn: &impl ConnectionTrait, sealer: &Sealer, in_use: &KeyRing) -> Result<(KeyRing, Vec<String>), DbErr> {
    let (mut keys, mut closed) = (Vec::new(), Vec::new());
    for row in signing_key::Entity::unrevoked(conn).await? {
        match in_use.opened(&row.kid).or_else(|| open_key(sealer, &row).ok().map(Arc::new)) {
            Some(key) => keys.push((row, key)),
            None => closed.push(row.kid),
        }
    }
    Ok((KeyRing::new(keys, in_use.shared()), closed))
}

fn open_key(sealer: &Sealer, row: &signing_key::Model) -> Result<Key> {
    Ok(Key::private(row.algorithm.parse()?, &sealer.open(SIGNING_KEY, &row.kid, &row.private_key)?)?)
}

/// 24 random characters of `[A-Za-z0-9_-]`: 144 bits.
///
/// # Errors
/// When the system has no randomness.
pub fn random_text() -> Result<String> {
    let mut bytes = [0; 18];
    rand::fill(&mut bytes).map_err(|_| anyhow::anyhow!("no randomness"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}
