//! The file `master.key`, which holds the master key if no setting does. Replacing the key takes several steps, so that a
//! crash at any moment loses neither the old key nor the new one.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use zeroize::Zeroizing;

use super::{files, random, seal::KEY_LEN};
use crate::config::{self, Settings};

/// The 32 bytes under which every secret in the database is sealed.
pub type MasterKey = Zeroizing<[u8; KEY_LEN]>;

/// Returns a random master key.
pub fn generate() -> Result<MasterKey> {
    random::bytes()
}

/// Returns a short text by which an operator recognises a master key. It reveals nothing of the key.
pub fn fingerprint(key: &MasterKey) -> String {
    let digest = digest(&SHA256, &[b"vestibule master key\0".as_slice(), &**key].concat());
    let pairs = digest.as_ref().chunks_exact(2).take(4);
    pairs.map(|pair| format!("{:02x}{:02x}", pair[0], pair[1])).collect::<Vec<_>>().join("-")
}

/// Returns the master keys in a data directory, the previous one included, with their files, whatever the settings say.
pub fn keys_in(data_dir: &Path) -> impl Iterator<Item = (PathBuf, MasterKey)> {
    let files = ["master.key", "master.key.old"].map(|name| data_dir.join(name));
    files.into_iter().filter_map(|file| read_key(&file).map(|key| (file, key)))
}

/// Reads a key. Returns `None` if the file does not hold a whole one.
fn read_key(file: &Path) -> Option<MasterKey> {
    config::parse_master_key(Zeroizing::new(fs::read_to_string(file).ok()?).trim())
}

/// The file `master.key` in the data directory. Beside it are `master.key.new` while the key is being replaced, and
/// `master.key.old` afterwards. Only a process that holds the database's write lock changes these files.
pub struct KeyFile(PathBuf);

impl KeyFile {
    /// Returns the file, or `None` if a setting holds the key.
    pub fn new(settings: &Settings) -> Option<Self> {
        settings.master_key.is_none().then(|| Self(settings.data_dir.join("master.key")))
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Returns the path of the file with the previous key.
    pub fn old_path(&self) -> PathBuf {
        self.0.with_extension("key.old")
    }

    fn new_path(&self) -> PathBuf {
        self.0.with_extension("key.new")
    }

    /// Reads the key. Returns `None` if the file does not exist.
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

    /// Reads the new key. Returns `None` if it was not written completely.
    pub fn read_new(&self) -> Option<MasterKey> {
        read_key(&self.new_path())
    }

    /// Writes the first key.
    pub fn create(&self, key: &MasterKey) -> Result<()> {
        files::write_secret(&self.0, &Zeroizing::new(BASE64.encode(**key)))
    }

    /// Writes the new key, before anything is sealed under it. Fails if the file with the previous key still exists.
    pub fn write_new(&self, key: &MasterKey) -> Result<()> {
        let old = self.old_path();
        ensure!(!old.exists(), "{} is still here: move it to the backups it belongs to, or delete it, first", old.display());
        let text = Zeroizing::new(BASE64.encode(**key));
        if self.0.exists() {
            files::write_replacement(&self.0, &self.new_path(), &text)?;
        } else {
            files::write_secret(&self.new_path(), &text)?;
        }
        self.sync_directory()
    }

    /// Replaces the key by the new one, after the database was sealed under it, and keeps the old key.
    pub fn replace(&self) -> Result<()> {
        let rename = |from: &Path, to: &Path| {
            fs::rename(from, to).with_context(|| format!("{} cannot be renamed to {}", from.display(), to.display()))
        };
        // After a crash between the two renames there is no master.key, and the next start calls this again.
        if self.0.exists() {
            rename(&self.0, &self.old_path())?;
        }
        rename(&self.new_path(), &self.0)?;
        self.sync_directory()
    }

    fn sync_directory(&self) -> Result<()> {
        let directory = files::directory_of(&self.0);
        File::open(directory)
            .and_then(|directory| directory.sync_all())
            .with_context(|| format!("{} cannot be synced", directory.display()))
    }
}
