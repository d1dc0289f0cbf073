//! The file `master.key`: how the master key is read where no setting holds it, and how another takes its place without
//! a moment at which a crash would lose both.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use aws_lc_rs::rand;
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use zeroize::Zeroizing;

use super::{files, seal::KEY_LEN};
use crate::config::{self, Settings};

/// 32 bytes under which everything else is sealed.
pub type MasterKey = Zeroizing<[u8; KEY_LEN]>;

/// A random master key.
///
/// # Errors
/// When the system has no randomness.
pub fn random() -> Result<MasterKey> {
    let mut key = Zeroizing::new([0; KEY_LEN]);
    rand::fill(&mut *key).map_err(|_| anyhow::anyhow!("no randomness"))?;
    Ok(key)
}

/// `master.key` in the data directory; beside it `master.key.new` while a new key takes its place, and `master.key.old`
/// afterwards. Whoever changes these files holds the database's write lock.
pub struct KeyFile(PathBuf);

impl KeyFile {
    /// The file, unless a setting holds the key.
    #[must_use]
    pub fn of(settings: &Settings) -> Option<Self> {
        settings.master_key.is_none().then(|| Self(settings.data_dir.join("master.key")))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where the key before this one is.
    #[must_use]
    pub fn old(&self) -> PathBuf {
        self.0.with_extension("key.old")
    }

    fn proposed(&self) -> PathBuf {
        self.0.with_extension("key.new")
    }

    /// The key; `None` where there is no file.
    ///
    /// # Errors
    /// When the file cannot be read, or does not hold a key.
    pub fn read(&self) -> Result<Option<MasterKey>> {
        match fs::read_to_string(&self.0) {
            Ok(text) => {
                let key = config::parse_master_key(Zeroizing::new(text).trim());
                key.map(Some).with_context(|| format!("{} does not hold a master key: restore it", self.0.display()))
            }
            Err(err) if err.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(err) => Err(err).with_context(|| format!("{} cannot be read", self.0.display())),
        }
    }

    /// The key that is to take its place, if one was written whole.
    #[must_use]
    pub fn read_proposed(&self) -> Option<MasterKey> {
        config::parse_master_key(Zeroizing::new(fs::read_to_string(self.proposed()).ok()?).trim())
    }

    /// Writes the first key.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, key: &MasterKey) -> Result<()> {
        files::write_secret(&self.0, &Zeroizing::new(BASE64.encode(**key)))
    }

    /// Writes the key that is to take its place, before anything is sealed under it.
    ///
    /// # Errors
    /// When the key before this one is still here, or the file cannot be written.
    pub fn propose(&self, key: &MasterKey) -> Result<()> {
        let old = self.old();
        ensure!(!old.exists(), "{} is still here: move it to the backups it belongs to, or delete it, first", old.display());
        let text = Zeroizing::new(BASE64.encode(**key));
        if self.0.exists() {
            files::write_replacement(&self.0, &self.proposed(), &text)?;
        } else {
            files::write_secret(&self.proposed(), &text)?;
        }
        self.sync()
    }

    /// Puts the proposed key in its place, once the database is sealed under it, and the old one aside.
    ///
    /// # Errors
    /// When the files cannot be renamed.
    pub fn replace(&self) -> Result<()> {
        let rename = |from: &Path, to: &Path| {
            fs::rename(from, to).with_context(|| format!("{} cannot be renamed to {}", from.display(), to.display()))
        };
        // A crash in between leaves no master.key, and the next start goes on from here.
        if self.0.exists() {
            rename(&self.0, &self.old())?;
        }
        rename(&self.proposed(), &self.0)?;
        self.sync()
    }

    /// Waits until the directory is on disk, as the files in it are.
    fn sync(&self) -> Result<()> {
        let directory = self.0.parent().unwrap_or(Path::new("."));
        File::open(directory).and_then(|it| it.sync_all()).with_context(|| format!("{} cannot be synced", directory.display()))
    }
}
