//! The replacement of a SQLite database by a backup. The backup is prepared in a folder beside the database, and takes its place by
//! one rename: a process that is killed leaves the former database or the new one, and nothing in between.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, ErrorKind},
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use chrono::{DateTime, Utc};
use secrecy::SecretString;
use sqlx::{Connection as _, SqliteConnection, error::DatabaseError};
use tokio::{task::spawn_blocking, time::sleep};

use super::{Database, lock, open, snapshot};
use crate::{config::database_url, live::files};

/// The folder in which a backup is prepared.
const FOLDER: &str = "restoring";
/// The endings of the files that SQLite keeps beside a database.
const LOGS: [&str; 2] = ["-wal", "-shm"];
/// How often to try again while connections of this process are closing.
const ATTEMPTS: u32 = 50;
/// The pause before the next attempt.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// A database that is being replaced. No server and no other command uses it meanwhile. What was prepared is removed when this is
/// dropped.
pub struct Replacement {
    /// The database, which may not exist.
    present: PathBuf,
    folder: PathBuf,
    _lock: File,
}

impl Replacement {
    /// Locks the database at this URL. Its directory must exist.
    pub fn begin(url: &SecretString) -> Result<Self> {
        let Some(path) = Database::file(url)? else {
            bail!("PostgreSQL has its own tools: use `pg_restore`, and then `vestibule restored`");
        };
        let lock = lock::lock_alone(&path)?;
        let present = fs::canonicalize(&path).unwrap_or(path);
        let this = Self { folder: files::directory_of(&present).join(FOLDER), present, _lock: lock };
        // What a restore that was killed has left.
        this.remove_folder().with_context(|| format!("{} cannot be removed", this.folder.display()))?;
        this.remove_second_names();
        Ok(this)
    }

    /// Returns whether there is a database to be replaced. An empty file is none.
    pub fn has_present(&self) -> bool {
        fs::metadata(&self.present).is_ok_and(|file| file.len() > 0)
    }

    /// Fails if another program has the database open that does not know of the lock, such as `sqlite3`. It would write to a file
    /// that is no longer the database.
    pub async fn must_be_unused(&self) -> Result<()> {
        if !self.has_present() {
            return Ok(());
        }
        match open_unused(&self.present).await {
            Ok(connection) => Ok(connection.close().await?),
            // Damaged: `open_present` says so.
            Err(error) if error.downcast_ref::<sqlx::Error>().is_some() => Ok(()),
            busy => busy.map(drop),
        }
    }

    /// Copies a backup into the folder, with the write-ahead log that may lie beside it, and checks that it is a whole database.
    pub async fn prepare(&self, backup: &Path) -> Result<()> {
        let identity = |path: &Path| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
        ensure!(
            identity(backup).is_none() || identity(backup) != identity(&self.present),
            "{} is the database itself",
            backup.display()
        );
        DirBuilder::new()
            .mode(0o700)
            .create(&self.folder)
            .with_context(|| format!("{} cannot be created", self.folder.display()))?;
        files::give_to_directory_owner(&File::open(&self.folder)?, &self.folder)?;
        let (from, to) = (backup.to_owned(), self.prepared());
        spawn_blocking(move || copy_database(&from, &to)).await??;
        let damage = || format!("{} is damaged", backup.display());
        let mut connection = match snapshot::open_alone(&self.prepared()).await {
            Ok(connection) => connection,
            Err(error) if is_no_database(&error) => bail!("{} is not a Vestibule database", backup.display()),
            Err(error) => return Err(error).with_context(damage),
        };
        let checked = snapshot::check(&mut connection).await;
        connection.close().await?;
        match checked {
            Err(error) if error.downcast_ref().is_some_and(is_no_database) => {
                bail!("{} is not a Vestibule database", backup.display())
            }
            checked => checked.with_context(damage),
        }
    }

    /// Returns the URL of the copy.
    pub fn url(&self) -> SecretString {
        database_url::of_file(&self.prepared()).into()
    }

    /// Opens the database that will be replaced. Fails if it is damaged, or if its tables are not those of this program.
    pub async fn open_present(&self) -> Result<Database> {
        let mut connection = snapshot::open_alone(&self.present).await?;
        let checked = snapshot::check(&mut connection).await;
        connection.close().await?;
        checked?;
        let db = open::open_unlocked(&self.present).await?;
        match db.migrations().await {
            Ok(migrations) if migrations.iter().all(|migration| migration.applied) => Ok(db),
            outcome => {
                db.close().await;
                outcome?;
                bail!("its tables are older than this program: run `vestibule migrate up` first")
            }
        }
    }

    /// Puts the copy in the place of the database, which keeps another name, and returns this name. Every connection to either of
    /// them must be closed.
    pub async fn finish(self, now: DateTime<Utc>) -> Result<Option<PathBuf>> {
        let prepared = self.prepared();
        let mut connection = open_when_closed(&prepared).await?;
        let checked = snapshot::check(&mut connection).await;
        connection.close().await?;
        checked?;
        // This also moves the write-ahead log into the file. If the database is damaged, the log keeps the name that belongs to it.
        self.must_be_unused().await?;
        spawn_blocking(move || self.swap(&prepared, now)).await?
    }

    fn swap(&self, prepared: &Path, now: DateTime<Utc>) -> Result<Option<PathBuf>> {
        let swap = || -> io::Result<Option<PathBuf>> {
            let file = OpenOptions::new().write(true).open(prepared)?;
            files::give_to_directory_owner(&file, &self.present)?;
            file.sync_all()?;
            let kept = if self.has_present() { Some(self.keep_present(now)?) } else { None };
            // SQLite would apply a log that belongs to another database.
            for ending in LOGS {
                let log = files::with_suffix(&self.present, ending);
                ignore_missing(match &kept {
                    Some(kept) => fs::rename(&log, files::with_suffix(kept, ending)),
                    None => fs::remove_file(&log),
                })?;
            }
            files::sync_directory_of(&self.present)?;
            fs::rename(prepared, &self.present)?;
            files::sync_directory_of(&self.present)?;
            Ok(kept)
        };
        swap().with_context(|| format!("{} cannot be replaced", self.present.display()))
    }

    /// Gives the database a second name, under which it stays when it is replaced.
    fn keep_present(&self, now: DateTime<Utc>) -> io::Result<PathBuf> {
        let kept = files::with_suffix(&self.present, &format!(".replaced-{}", now.format("%Y%m%dT%H%M%S%6fZ")));
        match fs::hard_link(&self.present, &kept) {
            // Not every file system has second names.
            Err(error) if [ErrorKind::Unsupported, ErrorKind::PermissionDenied].contains(&error.kind()) => {
                copy(&self.present, &kept)?;
            }
            linked => linked?,
        }
        Ok(kept)
    }

    /// Removes the second names that a restore which was killed has given to the database.
    fn remove_second_names(&self) {
        let Ok(present) = fs::metadata(&self.present) else { return };
        let mut prefix = self.present.file_name().map(OsString::from).unwrap_or_default();
        prefix.push(".replaced-");
        let entries = fs::read_dir(files::directory_of(&self.present)).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_name().as_encoded_bytes().starts_with(prefix.as_encoded_bytes())) {
            if entry.metadata().is_ok_and(|file| (file.dev(), file.ino()) == (present.dev(), present.ino())) {
                _ = fs::remove_file(entry.path());
            }
        }
    }

    fn prepared(&self) -> PathBuf {
        self.folder.join("vestibule.db")
    }

    fn remove_folder(&self) -> io::Result<()> {
        ignore_missing(fs::remove_dir_all(&self.folder))
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        _ = self.remove_folder();
    }
}

/// Opens a database. Fails if another program has it open that does not know of the lock, such as `sqlite3`.
pub(super) async fn open_unused(path: &Path) -> Result<SqliteConnection> {
    match open_when_closed(path).await {
        Err(error) if is_busy(&error) => bail!(
            "another program has {} open, such as `sqlite3` or an earlier version of this server: stop it first",
            path.display()
        ),
        outcome => Ok(outcome?),
    }
}

/// Opens a file as [`snapshot::open_alone`] does, once the connections of this process to it are closed.
async fn open_when_closed(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    let mut attempt = 1;
    loop {
        match snapshot::open_alone(path).await {
            Err(error) if attempt < ATTEMPTS && is_busy(&error) => attempt += 1,
            outcome => return outcome,
        }
        sleep(RETRY_AFTER).await;
    }
}

/// Returns whether SQLite says that another connection has a database open.
fn is_busy(error: &sqlx::Error) -> bool {
    code_of(error).is_some_and(|code| code & 0xFF == 5)
}

/// Returns whether SQLite says that a file is not a database.
fn is_no_database(error: &sqlx::Error) -> bool {
    code_of(error).is_some_and(|code| code & 0xFF == 26)
}

fn code_of(error: &sqlx::Error) -> Option<i32> {
    error.as_database_error().and_then(DatabaseError::code)?.parse().ok()
}

fn copy_database(from: &Path, to: &Path) -> Result<()> {
    let read = |path: &Path| format!("{} cannot be copied to {}", path.display(), files::directory_of(to).display());
    copy(from, to).with_context(|| read(from))?;
    let log = files::with_suffix(from, LOGS[0]);
    ignore_missing(copy(&log, &files::with_suffix(to, LOGS[0]))).with_context(|| read(&log))
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let mut copy = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to)?;
    files::give_to_directory_owner(&copy, to)?;
    io::copy(&mut source, &mut copy)?;
    copy.sync_all()
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}
