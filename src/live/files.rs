//! Files of an installation. A file that root writes belongs to the owner of the directory or of the file that it replaces,
//! and nobody else can read it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};

/// Creates the data directory with mode 0700, unless it exists.
pub fn create_data_dir(path: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .with_context(|| format!("cannot create the data directory {} (choose another with VESTIBULE_DATA_DIR)", path.display()))
}

/// Writes a file that only its owner can read, and waits until it is on disk.
pub fn write_secret(path: &Path, text: &str) -> Result<()> {
    let write = || -> io::Result<()> {
        let file = create(path)?;
        give_to_directory_owner(&file, path)?;
        write_and_sync(file, text)
    };
    write().with_context(|| format!("{} cannot be written", path.display()))
}

/// Writes a file that will replace `replaced`, with the same owner and mode, and waits until it is on disk.
pub fn write_replacement(replaced: &Path, path: &Path, text: &str) -> Result<()> {
    let write = || -> Result<()> {
        let (file, before) = (create(path)?, fs::metadata(replaced)?);
        let created = file.metadata()?;
        if (created.uid(), created.gid()) != (before.uid(), before.gid()) {
            fchown(&file, Some(before.uid()), Some(before.gid())).with_context(|| {
                let _ = fs::remove_file(path);
                format!("{} belongs to user {}: run this as that user, or as root", replaced.display(), before.uid())
            })?;
        }
        file.set_permissions(Permissions::from_mode(before.mode() & 0o777))?;
        Ok(write_and_sync(file, text)?)
    };
    write().with_context(|| format!("{} cannot be written", path.display()))
}

/// Writes a file that only its owner can read, and waits until it is on disk. The file appears under its name when it is whole, and
/// replaces an earlier one.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let unfinished = path.with_extension("unfinished");
    let write = || -> io::Result<()> {
        let mut file = create(&unfinished)?;
        give_to_directory_owner(&file, &unfinished)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        sync_directory_of(path)
    };
    write().with_context(|| format!("{} cannot be written", path.display()))
}

fn create(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?; // an existing file keeps its mode until here
    Ok(file)
}

fn write_and_sync(mut file: File, text: &str) -> io::Result<()> {
    writeln!(file, "{text}")?;
    file.sync_all()
}

/// Gives a file that root has created to the owner of its directory, because the server that reads it runs as that user.
pub fn give_to_directory_owner(file: &File, path: &Path) -> io::Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let (created, owner) = (file.metadata()?, fs::metadata(directory_of(path))?);
    if created.uid() == owner.uid() {
        return Ok(());
    }
    fchown(file, Some(owner.uid()), Some(owner.gid()))
}

/// Returns the directory of a file.
pub fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Waits until the names in the directory of a file are on disk.
pub fn sync_directory_of(path: &Path) -> io::Result<()> {
    File::open(directory_of(path))?.sync_all()
}

/// Renames a file. Fails if another file has the new name.
pub fn rename_to_new(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system can do this in one step.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) if !to.exists() => fs::rename(from, to),
        renamed => Ok(renamed?),
    }
}

/// Returns a path whose last component ends with `suffix` in addition.
pub fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// The maximum number of files that [`readable_by_others`] returns.
const MAX_REPORTED: usize = 20;

/// Returns the secrets, databases, backups and mails that users other than their owner can read, with their modes. Searches the data
/// directory and its subdirectories, and looks at the database's file.
pub fn readable_by_others(data_dir: &Path, database: Option<PathBuf>) -> Vec<(PathBuf, u32)> {
    let list =
        |directory: &Path| fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path()).collect::<Vec<_>>();
    let (directories, mut files): (Vec<_>, Vec<_>) = list(data_dir).into_iter().partition(|path| path.is_dir());
    files.extend(directories.iter().flat_map(|directory| list(directory)));
    files.extend(database);
    files.sort();
    files.dedup();
    let mode = |path: &PathBuf| fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|metadata| metadata.mode() & 0o777);
    let readable = files.into_iter().filter_map(|path| mode(&path).filter(|mode| mode & 0o044 != 0).map(|mode| (path, mode)));
    readable.filter(|(path, _)| is_sensitive(path)).take(MAX_REPORTED).collect()
}

/// Returns whether a file is a secret, a database, a backup or a mail, to judge by its name. The file is not opened: closing a
/// handle of the database's file would drop the locks that SQLite holds in this process.
fn is_sensitive(path: &Path) -> bool {
    const NAMES: [&str; 4] = ["master.key", "initial-admin-password", "vestibule.db", "backup"];
    const EXTENSIONS: [&str; 13] =
        ["db", "sqlite", "sqlite3", "bak", "dump", "sql", "tar", "tgz", "gz", "xz", "zst", "zip", "eml"];
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    NAMES.iter().any(|part| name.contains(part)) || EXTENSIONS.iter().any(|extension| name.ends_with(&format!(".{extension}")))
}
