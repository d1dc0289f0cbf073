//! The secrets in the database: they are created at the first start, sealed under the master key, and sealed again when the
//! master key changes.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, bail};
use chrono::{DateTime, Utc};
use sea_orm::{ActiveModelTrait, ActiveValue::Set, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel};
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::{
    database::Transaction,
    master_key::{self, KeyFile, MasterKey},
    random,
    seal::{KEY_LEN, Purpose, Sealer},
};
use crate::{
    config::Settings,
    entity::{secret, signing_key},
};

/// The secrets, while the process starts.
pub struct Secrets<'a> {
    tx: &'a Transaction,
    sealer: Sealer,
    now: DateTime<Utc>,
}

impl<'a> Secrets<'a> {
    /// Finds the master key. On SQLite, creates it if the database holds no secrets yet. Fails if they were sealed under another
    /// master key.
    pub async fn open(settings: &Settings, tx: &'a Transaction, now: DateTime<Utc>) -> Result<Self> {
        let sealer = Sealer::new(&*find_master_key(settings, tx).await?);
        if secret::Entity::find().one(tx).await?.is_some() && !are_sealed_by(&sealer, tx).await? {
            return Err(other_key(settings, tx).await?);
        }
        Ok(Self { tx, sealer, now })
    }

    /// Returns the 32 bytes of this name, and creates them if they do not exist.
    pub async fn find_or_create(&self, name: &str) -> Result<Zeroizing<Vec<u8>>> {
        if let Some(row) = secret::Entity::find_by_id(name).one(self.tx).await? {
            return self
                .sealer
                .open(Purpose::Secret, name, &row.sealed)
                .with_context(|| format!("the secret `{name}` is damaged"));
        }
        let secret = random::bytes::<KEY_LEN>()?;
        let sealed = self.sealer.seal(Purpose::Secret, name, &*secret);
        let row = secret::ActiveModel { name: Set(name.into()), sealed: Set(sealed), created_at: Set(self.now) };
        secret::Entity::insert(row).exec_without_returning(self.tx).await?;
        Ok(Zeroizing::new(secret.to_vec()))
    }

    /// Returns the sealer under the master key.
    pub fn into_sealer(self) -> Sealer {
        self.sealer
    }
}

/// Returns the master key from the settings or from the data directory. On SQLite, creates it there at the first start.
async fn find_master_key(settings: &Settings, tx: &Transaction) -> Result<MasterKey> {
    if let Some(key) = settings.master_key()? {
        return Ok(key);
    }
    let file = KeyFile::new(settings).context("the master key is a setting")?;
    finish_rewrap(&file, tx).await?;
    if let Some(key) = file.read()? {
        return Ok(key);
    }
    if secret::Entity::find().one(tx).await?.is_some() {
        let (path, sealed) = (file.path().display(), "the secrets in this database are sealed under a master key that is");
        match find_key_file(settings, tx).await? {
            Some(found) => bail!("{sealed} in {}: put it in the place of {path}", found.display()),
            None => bail!("{sealed} not here: restore {path}, or set VESTIBULE_MASTER_KEY"),
        }
    }
    if !settings.database_url().expose_secret().starts_with("sqlite:") {
        bail!(
            "PostgreSQL needs a master key that all replicas share: set VESTIBULE_MASTER_KEY to 32 random bytes in base64 \
             (`openssl rand -base64 32`)"
        );
    }
    let key = master_key::generate()?;
    file.create(&key)?;
    Ok(key)
}

/// Returns the error for a master key that does not open the database. It names the file with the right one, if there is one: `key
/// rewrap` keeps the previous key, under which earlier backups were made.
async fn other_key(settings: &Settings, tx: &Transaction) -> Result<anyhow::Error> {
    const OTHER: &str = "this database was made under another master key";
    let Some(found) = find_key_file(settings, tx).await? else {
        return Ok(anyhow!("{OTHER}: restore the file master.key, or the VESTIBULE_MASTER_KEY, that it was made with"));
    };
    let remedy = match KeyFile::new(settings) {
        Some(file) => format!("put it in the place of {}, which you may need for other backups", file.path().display()),
        None => "set VESTIBULE_MASTER_KEY_FILE to this file".to_owned(),
    };
    Ok(anyhow!("{OTHER}, which is in {}: {remedy}", found.display()))
}

/// Returns the file in the data directory whose master key opens the database.
async fn find_key_file(settings: &Settings, tx: &Transaction) -> Result<Option<PathBuf>> {
    for (file, key) in master_key::keys_in(&settings.data_dir) {
        if are_sealed_by(&Sealer::new(&key), tx).await? {
            return Ok(Some(file));
        }
    }
    Ok(None)
}

/// Returns the master key if it is here and opens this database. Changes nothing.
pub async fn present_master_key(settings: &Settings, conn: &impl ConnectionTrait) -> Result<Option<MasterKey>> {
    let file = KeyFile::new(settings);
    let keys = match &file {
        Some(file) => [file.read()?, file.read_new()],
        None => [settings.master_key()?, None],
    };
    for key in keys.into_iter().flatten() {
        if are_sealed_by(&Sealer::new(&key), conn).await? {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

/// Returns whether the secrets in the database are sealed under this master key now.
pub async fn are_sealed_by(sealer: &Sealer, conn: &impl ConnectionTrait) -> Result<bool, DbErr> {
    let row = secret::Entity::find().one(conn).await?;
    Ok(row.is_some_and(|row| sealer.open(Purpose::Secret, &row.name, &row.sealed).is_ok()))
}

/// Opens every secret and every private key under one master key and seals it under another.
pub async fn rewrap(tx: &Transaction, old: &Sealer, new: &Sealer) -> Result<()> {
    for row in secret::Entity::find().all(tx).await? {
        let sealed = new.seal(Purpose::Secret, &row.name, &old.open(Purpose::Secret, &row.name, &row.sealed)?);
        let mut row = row.into_active_model();
        row.sealed = Set(sealed);
        row.update(tx).await?;
    }
    for row in signing_key::Entity::unrevoked(tx).await? {
        let private_key = old.open(Purpose::SigningKey, &row.kid, &row.private_key)?;
        let sealed = new.seal(Purpose::SigningKey, &row.kid, &private_key);
        let mut row = row.into_active_model();
        row.private_key = Set(sealed);
        row.update(tx).await?;
    }
    Ok(())
}

/// Puts the new master key into its file after a [`rewrap`], also if the process was killed in between. Does so only if the
/// new key opens the database; otherwise nothing was sealed under it, and it is never used.
pub async fn finish_rewrap(file: &KeyFile, conn: &impl ConnectionTrait) -> Result<()> {
    match file.read_new() {
        Some(key) if are_sealed_by(&Sealer::new(&key), conn).await? => file.replace(),
        _ => Ok(()),
    }
}
