//! Files of an installation. What root writes belongs to the owner of what was there before, and nobody else reads it.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::database::Database;
use crate::config::Settings;

/// Writes a file that only its owner may read, and waits until it is on disk.
///
/// # Errors
/// When the file cannot be written.
pub fn write_secret(path: &Path, text: &str) -> Result<()> {
    let write = || -> io::Result<()> {
        let file = create(path)?;
        leave_to_owner(&file, path)?;
        fill(file, text)
    };
    write().with_context(|| format!("{} cannot be written", path.display()))
}

/// Writes a file with the owner and the mode of `model`, whose place it is to take, and waits until it is on disk.
///
/// # Errors
/// When the file cannot be written, or cannot be given to that owner.
pub fn write_like(model: &Path, path: &Path, text: &str) -> Result<()> {
    let write = || -> Result<()> {
        let (file, like) = (create(path)?, fs::metadata(model)?);
        let ours = file.metadata()?;
        if (ours.uid(), ours.gid()) != (like.uid(), like.gid()) {
            fchown(&file, Some(like.uid()), Some(like.gid())).with_context(|| {
                let _ = fs::remove_file(path);
                format!("{} belongs to user {}: run this as that user, or as root", model.display(), like.uid())
            })?;
        }
        file.set_permissions(Permissions::from_mode(like.mode() & 0o777))?;
        Ok(fill(file, text)?)
    };
    write().with_context(|| format!("{} cannot be written", path.display()))
}

fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?; // one that was there before may be open to others
    Ok(file)
}

fn fill(mut file: File, text: &str) -> io::Result<()> {
    writeln!(file, "{text}")?;
    file.sync_all()
}

/// Gives a file that root has made to the owner of its directory, whose server has to read it.
///
/// # Errors
/// When that is not allowed.
pub fn leave_to_owner(file: &File, path: &Path) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let directory = path.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (ours, owner) = (file.metadata()?, fs::metadata(directory)?);
    if ours.uid() == owner.uid() {
        return Ok(());
    }
    fchown(file, Some(owner.uid()), Some(owner.gid()))
}

/// How many files are named at most.
const MOST: usize = 20;

/// The secrets, databases and backups in the data directory and the directories in it that others than their owner may
/// read, with their modes.
#[must_use]
pub fn open_to_others(settings: &Settings) -> Vec<(PathBuf, u32)> {
    let list = |directory: &Path| fs::read_dir(directory).into_iter().flatten().flatten().map(|it| it.path()).collect::<Vec<_>>();
    let (folders, mut files): (Vec<_>, Vec<_>) = list(&settings.data_dir).into_iter().partition(|it| it.is_dir());
    files.extend(folders.iter().flat_map(|it| list(it)));
    files.extend(Database::file(&settings.database_url()).ok().flatten());
    files.sort();
    files.dedup();
    let mode = |path: &PathBuf| fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|it| it.mode() & 0o777);
    let open = files.into_iter().filter_map(|path| mode(&path).filter(|mode| mode & 0o044 != 0).map(|mode| (path, mode)));
    open.filter(|(path, _)| is_secret(path)).take(MOST).collect()
}

/// Whether a file is by its name a secret, a database or a backup. No file is opened: closing a database's own file would
/// drop the locks that SQLite holds in this process.
fn is_secret(path: &Path) -> bool {
    const NAMES: [&str; 4] = ["master.key", "initial-admin-password", "vestibule.db", "backup"];
    const ENDS: [&str; 12] = ["db", "sqlite", "sqlite3", "bak", "dump", "sql", "tar", "tgz", "gz", "xz", "zst", "zip"];
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    NAMES.iter().any(|part| name.contains(part)) || ENDS.iter().any(|end| name.ends_with(&format!(".{end}")))
}
