//! Snapshots of a SQLite database: one file that holds everything which was committed when it was made. Servers go on meanwhile.

use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io,
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail, ensure};
use chrono::{DateTime, Utc};
use rustix::fs::OFlags;
use sqlx::{
    ConnectOptions as _, Connection as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};

use super::{Database, open::DatabaseAddress};
use crate::live::files;

impl Database {
    /// Writes a snapshot into a new file that only its owner can read, and returns its size in bytes. The file appears under its
    /// name when it is whole, checked and on disk. Fails if it exists, and on PostgreSQL.
    pub async fn back_up(&self, file: &Path, now: DateTime<Utc>) -> Result<u64> {
        let DatabaseAddress::Sqlite(_, options) = &*self.address else {
            bail!("PostgreSQL has its own tools for backups: use `pg_dump`");
        };
        ensure!(!file.exists(), "{} exists already, and a backup replaces no file", file.display());
        let unfinished = Unfinished::create(file)?;
        let mut connection = options.connect().await?;
        // Reads in one transaction, which delays no writer.
        let path = unfinished.path.to_str().context("the path of a backup must be UTF-8")?;
        let written = sqlx::query("VACUUM INTO ?").bind(path).execute(&mut connection).await;
        connection.close().await?;
        written.with_context(|| format!("{} cannot be written", unfinished.path.display()))?;
        let mut snapshot = open_alone(&unfinished.path).await?;
        record_time(&mut snapshot, now).await?;
        let checked = check(&mut snapshot).await;
        snapshot.close().await?;
        checked.context("the database is damaged")?;
        unfinished.publish(file)
    }
}

/// Opens a file that no other process uses. It has no write-ahead log afterwards.
pub(super) async fn open_alone(path: &Path) -> Result<SqliteConnection, sqlx::Error> {
    let options = SqliteConnectOptions::new().filename(path).foreign_keys(true).disable_statement_logging();
    // The file is synced when it is complete.
    options.journal_mode(SqliteJournalMode::Delete).synchronous(SqliteSynchronous::Off).connect().await
}

/// Records in a snapshot when it was made, unless its tables are older than this program's.
async fn record_time(snapshot: &mut SqliteConnection, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    let column = "SELECT count(*) FROM pragma_table_info('installation') WHERE name = 'backed_up_at'";
    if sqlx::query_scalar::<_, i64>(column).fetch_one(&mut *snapshot).await? == 1 {
        sqlx::query("UPDATE installation SET backed_up_at = ?").bind(now).execute(&mut *snapshot).await?;
    }
    Ok(())
}

/// Fails if a page, an index or a reference of the database is damaged.
pub(super) async fn check(connection: &mut SqliteConnection) -> Result<()> {
    let report: String = sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(&mut *connection).await?;
    ensure!(report == "ok", "{report}");
    let dangling = sqlx::query("PRAGMA foreign_key_check").fetch_optional(&mut *connection).await?;
    ensure!(dangling.is_none(), "a row refers to a row that does not exist");
    Ok(())
}

/// The file of a snapshot that is being written. It is removed when this is dropped; that of a process which was killed is written
/// anew.
struct Unfinished {
    path: PathBuf,
    file: File,
}

impl Unfinished {
    fn create(target: &Path) -> Result<Self> {
        let path = files::with_suffix(target, ".unfinished");
        let open = || -> io::Result<File> {
            // In a directory of many people, a link could lead to a file of the operator.
            let no_link = OFlags::NOFOLLOW.bits().cast_signed();
            let open = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).custom_flags(no_link).open(&path);
            let file = open?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(io::Error::other("another backup is writing this file")),
                Err(TryLockError::Error(error)) => return Err(error),
            }
            file.set_len(0)?;
            file.set_permissions(Permissions::from_mode(0o600))?;
            files::give_to_directory_owner(&file, &path)?;
            Ok(file)
        };
        let file = open().with_context(|| format!("{} cannot be written", path.display()))?;
        Ok(Self { path, file })
    }

    /// Gives the file its name, unless another file has got it meanwhile. Returns its size.
    fn publish(self, target: &Path) -> Result<u64> {
        let publish = || -> io::Result<u64> {
            self.file.sync_all()?;
            files::rename_to_new(&self.path, target)?;
            files::sync_directory_of(target)?;
            Ok(self.file.metadata()?.len())
        };
        publish().with_context(|| format!("{} cannot be written", target.display()))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After [`Self::publish`] there is no such file.
        _ = fs::remove_file(&self.path);
    }
}
