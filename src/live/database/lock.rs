//! The lock beside a SQLite database: servers and commands share it. A restore, which replaces the file, and a copy to PostgreSQL,
//! which would miss later changes, hold it alone. The system releases the lock of a process that is killed.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::Error;
use crate::live::files;

/// Locks a database for a process that uses it. Fails with [`Error::HeldAlone`] during a restore or a copy.
pub(super) fn share(database: &Path) -> Result<File, Error> {
    lock(database, File::try_lock_shared, |path| Error::HeldAlone { path })
}

/// Locks a database for a restore or a copy. Fails with [`Error::InUse`] while a server or a command uses it.
pub(super) fn lock_alone(database: &Path) -> Result<File, Error> {
    lock(database, File::try_lock, |path| Error::InUse { path })
}

fn lock(database: &Path, try_lock: fn(&File) -> Result<(), TryLockError>, held: fn(PathBuf) -> Error) -> Result<File, Error> {
    let path = fs::canonicalize(database).unwrap_or_else(|_| database.to_owned()).with_extension("lock");
    let file = match open(&path) {
        // There is no such directory, so the database cannot be opened either.
        Err(source) if source.kind() == ErrorKind::NotFound => return Err(Error::File { path: database.to_owned(), source }),
        opened => opened.map_err(|source| Error::File { path: path.clone(), source })?,
    };
    match try_lock(&file) {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(held(database.to_owned())),
        Err(TryLockError::Error(source)) => Err(Error::File { path, source }),
    }
}

/// Opens the file that carries the lock, and creates it if it does not exist. It stays empty.
fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    files::give_to_directory_owner(&file, path)?;
    Ok(file)
}
