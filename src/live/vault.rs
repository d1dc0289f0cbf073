//! The vault: the master key, and what lies sealed under it in the database.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::{Context, Result};
use aws_lc_rs::rand;
use base64::{
    Engine,
    engine::general_purpose::{STANDARD as BASE64, URL_SAFE_NO_PAD},
};
use chrono::{DateTime, Utc};
use jsonwebtoken::Algorithm;
use sea_orm::{ActiveValue::Set, DatabaseTransaction, EntityTrait};
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use super::{
    key_ring::{Key, KeyRing},
    seal::{KEY_LEN, Sealer},
};
use crate::{
    config::Settings,
    entity::{json::JsonText, secret, signing_key},
};

const OTHER_KEY: &str = "this database was made under another master key: restore the file master.key, or the VESTIBULE_MASTER_KEY, \
                         that it was made with";

/// The secrets that lie sealed in a database, open while the process starts.
pub struct Vault<'a> {
    tx: &'a DatabaseTransaction,
    sealer: Sealer,
    now: DateTime<Utc>,
}

impl<'a> Vault<'a> {
    /// Finds the master key, or makes it where that may be done.
    ///
    /// # Errors
    /// When the master key is missing, unreadable, or no such key.
    pub async fn open(settings: &Settings, tx: &'a DatabaseTransaction, now: DateTime<Utc>) -> Result<Self> {
        let sealer = Sealer::new(&*master_key(settings, tx).await?);
        Ok(Self { tx, sealer, now })
    }

    /// The 32 bytes of this name, made at the first start.
    ///
    /// # Errors
    /// When the master key is another than the one they were sealed under.
    pub async fn secret(&self, name: &str) -> Result<Zeroizing<Vec<u8>>> {
        if let Some(row) = secret::Entity::find_by_id(name).one(self.tx).await? {
            return self.sealer.open("secret", name, &row.sealed).map_err(|_| anyhow::anyhow!(OTHER_KEY));
        }
        let mut secret = Zeroizing::new(vec![0; KEY_LEN]);
        rand::fill(&mut secret).map_err(|_| anyhow::anyhow!("no randomness"))?;
        let sealed = self.sealer.seal("secret", name, &secret);
        let row = secret::ActiveModel { name: Set(name.into()), sealed: Set(sealed), created_at: Set(self.now) };
        secret::Entity::insert(row).exec_without_returning(self.tx).await?;
        Ok(secret)
    }

    /// All keys that were not revoked; the newest of the algorithm that is set signs, and is made if there is none.
    ///
    /// # Errors
    /// As [`Self::secret`].
    pub async fn key_ring(&self, settings: &Settings) -> Result<KeyRing> {
        let mut keys = Vec::new();
        for row in signing_key::Entity::unrevoked(self.tx).await? {
            let algorithm: Algorithm = row.algorithm.parse()?;
            keys.push(Key::private(algorithm, &self.sealer.open("signing-key", &row.kid, &row.private_key)?)?);
        }
        if let Some(secret) = &settings.signing.secret {
            keys.push(Key::shared(secret.expose_secret().as_bytes())?);
        }
        let algorithm: Algorithm = settings.signing.algorithm.as_str().parse()?;
        if !keys.iter().any(|key| key.algorithm == algorithm) {
            keys.push(self.make_key(algorithm).await?);
        }
        let signer = keys.iter().rfind(|key| key.algorithm == algorithm).map(|key| key.id.clone()).unwrap_or_default();
        Ok(KeyRing::new(keys, signer)?)
    }

    async fn make_key(&self, algorithm: Algorithm) -> Result<Key> {
        let pkcs8 = Key::generate(algorithm)?;
        let key = Key::private(algorithm, &pkcs8)?;
        let row = signing_key::ActiveModel {
            kid: Set(key.id.clone()),
            algorithm: Set(key.algorithm_name().into()),
            private_key: Set(self.sealer.seal("signing-key", &key.id, &pkcs8)),
            public_jwk: Set(JsonText(key.public().unwrap_or_default())),
            created_at: Set(self.now),
            activates_at: Set(self.now),
            retires_at: Set(None),
            revoked_at: Set(None),
        };
        signing_key::Entity::insert(row).exec_without_returning(self.tx).await?;
        Ok(key)
    }
}

/// The master key: from the settings, else from the data directory, where on SQLite it is made once.
async fn master_key(settings: &Settings, tx: &DatabaseTransaction) -> Result<Zeroizing<[u8; KEY_LEN]>> {
    if let Some(key) = settings.master_key()? {
        return Ok(key);
    }
    let path = settings.data_dir.join("master.key");
    match fs::read_to_string(&path) {
        Ok(text) => {
            let bytes = Zeroizing::new(BASE64.decode(Zeroizing::new(text).trim()).unwrap_or_default());
            let key = bytes
                .as_slice()
                .try_into()
                .map_err(|_| anyhow::anyhow!("{} does not hold a master key: restore it", path.display()))?;
            Ok(Zeroizing::new(key))
        }
        Err(err) if err.kind() != io::ErrorKind::NotFound => {
            Err(err).with_context(|| format!("{} cannot be read", path.display()))
        }
        Err(_) if secret::Entity::find().one(tx).await?.is_some() => anyhow::bail!(
            "the secrets in this database are sealed under a master key that is not here: restore {}, or set VESTIBULE_MASTER_KEY",
            path.display()
        ),
        Err(_) if !settings.database_url().expose_secret().starts_with("sqlite:") => anyhow::bail!(
            "PostgreSQL needs a master key that all replicas share: set VESTIBULE_MASTER_KEY to 32 random bytes in base64 \
             (`openssl rand -base64 32`)"
        ),
        Err(_) => {
            let mut key = Zeroizing::new([0; KEY_LEN]);
            rand::fill(&mut *key).map_err(|_| anyhow::anyhow!("no randomness"))?;
            write_secret(&path, &BASE64.encode(*key))?;
            Ok(key)
        }
    }
}

/// Writes a file that only its owner may read, and waits until it is on disk.
///
/// # Errors
/// When the file cannot be written.
pub fn write_secret(path: &Path, text: &str) -> Result<()> {
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
        writeln!(file, "{text}")?;
        file.sync_all()
    };
    write().with_context(|| format!("{} cannot be written", path.display()))
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
