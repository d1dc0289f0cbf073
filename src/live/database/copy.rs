//! The copy of a SQLite database to PostgreSQL. It is one transaction: a copy that fails or is killed leaves nothing behind. Every row
//! is read back and compared before the transaction commits.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context, Result, anyhow, bail, ensure};
use aws_lc_rs::digest::{self, SHA256};
use chrono::{DateTime, Utc};
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, EntityTrait, FromQueryResult, Iterable,
    ModelTrait, PrimaryKeyToColumn, PrimaryKeyTrait, QueryOrder, QueryResult, QuerySelect, QueryTrait as _, Statement,
    TransactionTrait as _, Value,
    sea_query::{DynIden, Expr, ExprTrait as _, IntoIden, Query, SelectStatement},
};
use secrecy::{ExposeSecret as _, SecretString};
use sqlx::{ConnectOptions as _, Connection as _, SqlitePool, pool::PoolOptions, sqlite::SqliteConnectOptions};
use tokio::time::timeout;

use super::{
    Database, lock, replacement,
    schema::{self, lock_for_migration},
    snapshot,
};
use crate::{entity, live::files};

/// The maximum number of rows that are read at once.
const PAGE: usize = 500;
/// How long a statement may take in the target. The longest one inserts or reads a page, or samples a table for its statistics.
const ANSWER_TIMEOUT: Duration = Duration::from_mins(1);
/// The maximum number of variables in a statement of PostgreSQL.
const MAX_VARIABLES: usize = 65_535;

/// The tables, in an order in which each follows those that it refers to.
fn tables() -> Vec<Table> {
    macro_rules! of {
        ($($table:ident),*) => { vec![$(Table::of::<entity::$table::Entity>()),*] };
    }
    of![
        installation,
        secret,
        signing_key,
        role,
        role_permission,
        user,
        user_role,
        user_word,
        session,
        factor,
        pending_totp,
        recovery_code,
        challenge,
        redeemed_ceremony,
        ticket,
        ticket_handle,
        mail,
        tally,
        invitation,
        throttle,
        known_network,
        revocation,
        closed_account,
        audit_event
    ]
}

/// A SQLite database that is being copied. No server and no other command uses it meanwhile.
pub struct Source {
    path: PathBuf,
    rows: DatabaseTransaction,
    _lock: File,
}

/// What a copy reports: the table whose rows were copied, and their number.
pub type Progress<'a> = &'a (dyn Fn(&str, u64) + Send + Sync);

impl Source {
    /// Locks the SQLite database at this URL, and checks that it is whole, that it is no backup and that its tables are those of this
    /// program. Creates nothing.
    pub async fn open(url: &SecretString) -> Result<Self> {
        let Some(path) = Database::file(url)? else { bail!("--from must be a URL that begins with `sqlite:`") };
        let path = fs::canonicalize(&path).unwrap_or(path);
        look_at(&path).await?;
        let lock = lock::lock_alone(&path)?;
        // While a transaction reads a database without a write-ahead log, no other program can write to it.
        let mut connection = replacement::open_unused(&path).await?;
        snapshot::check(&mut connection).await.with_context(|| format!("{} is damaged", path.display()))?;
        connection.close().await?;
        let rows = only_reading(&path).begin().await?;
        Ok(Self { path, rows, _lock: lock })
    }

    /// Returns the path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the connection from which rows are read.
    pub fn rows(&self) -> &DatabaseTransaction {
        &self.rows
    }

    /// Returns the number of rows of all tables.
    pub async fn count(&self) -> Result<u64> {
        let mut total = 0;
        for table in tables() {
            total += table.count(&self.rows).await?;
        }
        Ok(total)
    }

    /// Gives the file another name, so that no server uses it again. Returns the name.
    pub fn retire(self, now: DateTime<Utc>) -> Result<PathBuf> {
        let name = files::with_suffix(&self.path, &format!(".copied-{}", now.format("%Y%m%dT%H%M%SZ")));
        files::rename_to_new(&self.path, &name)
            .and_then(|()| files::sync_directory_of(&name))
            .with_context(|| format!("everything was copied, but {} cannot be renamed: move it away", self.path.display()))?;
        Ok(name)
    }

    /// Copies every row into an empty PostgreSQL database with the same tables. Fails, and changes nothing, if that holds anything
    /// or if a row differs afterwards.
    pub async fn copy_to(&self, target: &Database, progress: Progress<'_>) -> Result<()> {
        let connection = target.migration_connection();
        let tx = answer(connection.begin()).await?;
        self.fill(&tx, progress).await.context("nothing was copied")?;
        answer(tx.commit()).await.context("it is unknown whether the copy was committed")?;
        answer(connection.close()).await
    }

    async fn fill(&self, tx: &DatabaseTransaction, progress: Progress<'_>) -> Result<()> {
        // A server that starts meanwhile waits for this lock, as it waits for a migration.
        ensure!(answer(lock_for_migration(tx)).await?, "another process migrates the target or copies into it");
        let tables = tables();
        for table in &tables {
            table.empty(tx).await?;
        }
        for table in &tables {
            table.copy(&self.rows, tx, progress).await?;
        }
        Ok(())
    }
}

/// Fails unless a file is a database that [`Source::open`] can open.
async fn look_at(path: &Path) -> Result<()> {
    let absent = || format!("there is no Vestibule database at {}", path.display());
    // Not opened if it is empty: SQLite would take it for a database.
    ensure!(fs::metadata(path).is_ok_and(|file| file.len() > 0), absent());
    let connection = only_reading(path);
    let applied = vestibule_migration::applied(&connection).await.with_context(absent)?;
    let migrations = schema::migrations(&applied)?;
    ensure!(!applied.is_empty(), absent());
    ensure!(
        migrations.iter().all(|migration| migration.applied),
        "the tables of {} are older than this program: run `vestibule migrate up` first",
        path.display()
    );
    ensure!(
        entity::installation::Entity::row(&connection).await?.backed_up_at.is_none(),
        "{0} is a backup, whose state is old: make it the present database with `vestibule restore {0}`, and copy that",
        path.display()
    );
    Ok(connection.close().await?)
}

/// Returns a connection that leaves the file as it is.
fn only_reading(path: &Path) -> DatabaseConnection {
    let options = SqliteConnectOptions::new().filename(path).read_only(true).disable_statement_logging();
    let pool: SqlitePool = PoolOptions::new().max_connections(1).connect_lazy_with(options);
    pool.into()
}

/// The beginning of a message about a target that cannot be opened.
const UNUSABLE: &str = "the target cannot be used (--to takes the place of database.url)";

/// Opens a PostgreSQL database that will receive a copy, and makes the tables if there are none. Fails, and changes nothing, if it
/// has other tables.
pub async fn open_target(url: &SecretString) -> Result<Database> {
    ensure!(url.expose_secret().starts_with("postgres"), "--to must be a URL that begins with `postgres://`");
    let migrations = Database::migrations_at(url).await.context(UNUSABLE)?;
    let (applied, all) = (migrations.iter().filter(|migration| migration.applied).count(), migrations.len());
    let target = Database::connect(url).await.context(UNUSABLE)?;
    let outcome = if applied == 0 {
        make_tables(&target).await
    } else if applied < all {
        Err(anyhow!("the target is not empty: its tables are older than this program. Create another database"))
    } else {
        Ok(())
    };
    if outcome.is_err() {
        target.close().await;
    }
    outcome.map(|()| target)
}

async fn make_tables(target: &Database) -> Result<()> {
    const TABLES: &str = "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()";
    let count = target.read().query_one_raw(Statement::from_string(DbBackend::Postgres, TABLES)).await?;
    let count: i64 = count.context("no count of tables")?.try_get_by_index(0)?;
    ensure!(count == 0, "the target is not empty: another program has {count} tables in it. Create another database");
    Ok(target.migrate().await?)
}

/// Runs a statement in the target. Fails if its connection is silent.
async fn answer<T>(statement: impl Future<Output = Result<T, DbErr>>) -> Result<T> {
    Ok(timeout(ANSWER_TIMEOUT, statement).await.context("the target does not answer")??)
}

/// A table without the type of its entity, so that the program contains the code of the copy once.
struct Table {
    name: String,
    columns: Vec<DynIden>,
    /// The columns of the primary key.
    keys: Vec<DynIden>,
    /// Whether the database draws the keys.
    has_sequence: bool,
    /// Selects the first rows in the order of the primary key, which is the same in both databases.
    page: SelectStatement,
    /// Reads the values of a row, in the order of `columns`.
    values: fn(&QueryResult) -> Result<Vec<Value>, DbErr>,
}

impl Table {
    fn of<E: EntityTrait>() -> Self {
        let keys = || E::PrimaryKey::iter().map(PrimaryKeyToColumn::into_column);
        let page = keys().fold(E::find().limit(PAGE as u64), QueryOrder::order_by_asc);
        Self {
            name: E::default().table_name().to_owned(),
            columns: E::Column::iter().map(IntoIden::into_iden).collect(),
            keys: keys().map(IntoIden::into_iden).collect(),
            has_sequence: E::PrimaryKey::auto_increment(),
            page: page.into_query(),
            values: |row| {
                let row = E::Model::from_query_result(row, "")?;
                Ok(E::Column::iter().map(|column| row.get(column)).collect())
            },
        }
    }

    async fn count(&self, rows: &DatabaseTransaction) -> Result<u64, DbErr> {
        let count = Query::select().expr(Expr::cust("count(*)")).from(self.name.clone()).take();
        let row = rows.query_one(&count).await?.ok_or_else(|| DbErr::RecordNotFound("no count".to_owned()))?;
        Ok(row.try_get_by_index::<i64>(0)?.unsigned_abs())
    }

    /// Locks the table, and removes the rows that migrations have inserted. Fails if it has others.
    async fn empty(&self, tx: &DatabaseTransaction) -> Result<()> {
        let name = &self.name;
        let lock = format!("LOCK TABLE {name} IN EXCLUSIVE MODE NOWAIT");
        answer(tx.execute_unprepared(&lock)).await.context("another process uses the target")?;
        if ["installation", "roles"].contains(&name.as_str()) {
            answer(tx.execute_unprepared(&format!("DELETE FROM {name}"))).await?;
        }
        let rows = answer(self.count(tx)).await?;
        ensure!(rows == 0, "the target is not empty: its table {name} has {rows} rows. Create another database");
        Ok(())
    }

    /// Copies the rows, reads them back, and continues the sequence where that of the source is.
    async fn copy(&self, rows: &DatabaseTransaction, tx: &DatabaseTransaction, progress: Progress<'_>) -> Result<()> {
        let name = &self.name;
        let batch = MAX_VARIABLES / self.columns.len();
        let (mut read, mut written) = (Content::default(), Content::default());
        let mut last = None;
        while let Some(page) = self.page_after(last.as_deref(), rows).await.with_context(|| format!("{name} cannot be read"))? {
            read.add(&page);
            for batch in page.chunks(batch) {
                let mut insert = Query::insert().into_table(name.clone()).columns(self.columns.clone()).take();
                for row in batch {
                    insert.values(row.iter().cloned().map(Expr::val))?;
                }
                answer(tx.execute(&insert)).await.with_context(|| format!("{name} cannot be written"))?;
            }
            progress(name, page.len() as u64);
            last = page.into_iter().next_back();
        }
        let mut last = None;
        while let Some(page) = answer(self.page_after(last.as_deref(), tx)).await? {
            written.add(&page);
            last = page.into_iter().next_back();
        }
        ensure!(read.finish() == written.finish(), "the rows of {name} differ after the copy");
        if self.has_sequence {
            self.continue_sequence(rows, tx).await?;
        }
        // Without statistics, PostgreSQL would plan the first statements of a server badly.
        answer(tx.execute_unprepared(&format!("ANALYZE {name}"))).await?;
        Ok(())
    }

    /// Reads the rows that follow `last`; `None` if there are no more.
    async fn page_after(&self, last: Option<&[Value]>, rows: &DatabaseTransaction) -> Result<Option<Vec<Vec<Value>>>, DbErr> {
        let mut page = self.page.clone();
        if let Some(last) = last {
            let value_of =
                |key: &DynIden| self.columns.iter().zip(last).find(|(column, _)| *column == key).map(|(_, value)| value);
            let values = self.keys.iter().filter_map(value_of).cloned().map(Expr::val);
            // As one comparison of tuples, for which the index of the primary key is used.
            page.and_where(Expr::tuple(self.keys.iter().cloned().map(Expr::col)).gt(Expr::tuple(values)));
        }
        let rows = rows.query_all(&page).await?;
        let rows = rows.iter().map(self.values).collect::<Result<Vec<_>, _>>()?;
        Ok(Some(rows).filter(|rows| !rows.is_empty()))
    }

    /// Makes PostgreSQL draw the number next that SQLite would draw next. It may be larger than those of the rows, because rows
    /// are purged, and a number is never used twice.
    async fn continue_sequence(&self, rows: &DatabaseTransaction, tx: &DatabaseTransaction) -> Result<()> {
        let name = self.name.as_str();
        let drawn = "SELECT seq FROM sqlite_sequence WHERE name = ?";
        let drawn = rows.query_one_raw(Statement::from_sql_and_values(DbBackend::Sqlite, drawn, [name.into()])).await?;
        let Some(drawn) = drawn else { return Ok(()) };
        let drawn: i64 = drawn.try_get_by_index(0)?;
        let Some(key) = self.keys.first() else { return Ok(()) };
        if drawn > 0 {
            let set = "SELECT setval(pg_get_serial_sequence($1, $2), $3)";
            let values = [name.into(), key.to_string().into(), drawn.into()];
            answer(tx.execute_raw(Statement::from_sql_and_values(DbBackend::Postgres, set, values))).await?;
        }
        Ok(())
    }
}

/// The number of rows of a table, and a digest of their values.
struct Content {
    rows: u64,
    digest: digest::Context,
}

impl Default for Content {
    fn default() -> Self {
        Self { rows: 0, digest: digest::Context::new(&SHA256) }
    }
}

impl Content {
    fn add(&mut self, rows: &[Vec<Value>]) {
        self.rows += rows.len() as u64;
        for value in rows.iter().flatten() {
            // Its Debug text has a delimiter at either end, and a type.
            self.digest.update(format!("{value:?}\n").as_bytes());
        }
    }

    fn finish(self) -> (u64, Vec<u8>) {
        (self.rows, self.digest.finish().as_ref().to_vec())
    }
}

/// Returns the columns that are copied, each after the name of its table and a dot.
#[cfg(test)]
pub(super) fn columns() -> Vec<String> {
    let of = |table: &Table| table.columns.iter().map(|column| format!("{}.{column}", table.name)).collect::<Vec<_>>();
    tables().iter().flat_map(of).collect()
}
