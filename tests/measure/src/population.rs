//! Fills a database with users or revocations by SQL, in the product's own schema: with a million in about a minute.

use std::time::{Duration, UNIX_EPOCH};

use anyhow::Result;
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend};

const DAY: Duration = Duration::from_hours(24);

/// Inserts this many users. Each has the password of the first administrator, a session and an audit event. User 42 has the
/// username `user42`, the address `user42@example.org` and the name `Given42 Family42`.
pub async fn add_users(url: &str, count: u32) -> Result<()> {
    let (db, sql) = connect(url).await?;
    let (numbers, user, session, event) = (sql.numbers(count), sql.id(1), sql.id(2), sql.id(3));
    let (now, later, secret) = (sql.time("0 days"), sql.time("30 days"), sql.bytes(32));
    let statements = [
        format!(
            "INSERT INTO users (id, email, username, name, status, password_hash, epoch, revision, created_at, updated_at)
             SELECT {user}, 'user' || i || '@example.org', 'user' || i, 'Given' || i || ' Family' || i, 'active',
             (SELECT password_hash FROM users WHERE username = 'admin'), 1, 1, {now}, {now} FROM {numbers}"
        ),
        format!("INSERT INTO user_words (user_id, word) SELECT {user}, 'given' || i || ' family' || i FROM {numbers}"),
        format!("INSERT INTO user_words (user_id, word) SELECT {user}, 'family' || i FROM {numbers}"),
        format!("INSERT INTO user_roles (user_id, role) SELECT {user}, 'user' FROM {numbers}"),
        format!(
            "INSERT INTO sessions (id, user_id, client_id, created_at, last_used_at, expires_at, refresh_secret)
             SELECT {session}, {user}, 'vestibule', {now}, {now}, {later}, {secret} FROM {numbers}"
        ),
        format!(
            "INSERT INTO audit_events (id, at, kind, actor_id, subject_type, subject_id, details)
             SELECT {event}, {now}, 'session.created', {user}, 'user', 'user' || i, '{{}}' FROM {numbers}"
        ),
    ];
    run(&db, &statements).await
}

/// Inserts this many revocations that are live for an hour, half of sessions and half of users, all different: the case that needs
/// the most memory.
pub async fn add_revocations(url: &str, count: u32) -> Result<()> {
    let (db, sql) = connect(url).await?;
    let (numbers, session, user) = (sql.numbers(count / 2), sql.id(8), sql.id(9));
    let (now, later) = (sql.time("0 days"), sql.time("1 hours"));
    let insert = "INSERT INTO revocations (kind, session_id, user_id, least_epoch, created_at, expires_at)";
    let statements = [
        format!("{insert} SELECT 'session_ended', {session}, NULL, NULL, {now}, {later} FROM {numbers}"),
        format!("{insert} SELECT 'tokens_stale', NULL, {user}, 1, {now}, {later} FROM {numbers}"),
    ];
    run(&db, &statements).await
}

/// Creates a database on a PostgreSQL server.
pub async fn create_database(url: &str, name: &str) -> Result<()> {
    let db = Database::connect(url).await?;
    db.execute_unprepared(&format!("CREATE DATABASE {name}")).await?;
    Ok(db.close().await?)
}

async fn connect(url: &str) -> Result<(DatabaseConnection, Dialect)> {
    let mut options = ConnectOptions::new(url);
    options.max_connections(1).sqlx_logging(false);
    let db = Database::connect(options).await?;
    let dialect = Dialect { backend: db.get_database_backend(), created: UNIX_EPOCH.elapsed()?.saturating_sub(DAY) };
    Ok((db, dialect))
}

async fn run(db: &DatabaseConnection, statements: &[String]) -> Result<()> {
    let is_sqlite = db.get_database_backend() == DbBackend::Sqlite;
    if is_sqlite {
        // A crash loses nothing but a measurement.
        db.execute_unprepared("PRAGMA synchronous = OFF; PRAGMA cache_size = -500000").await?;
    }
    for statement in statements {
        db.execute_unprepared(statement).await?;
    }
    if !is_sqlite {
        // A server in use does this by itself within minutes. SQLite has no statistics unless somebody asks for them.
        db.execute_unprepared("VACUUM ANALYZE").await?;
    }
    Ok(db.close_by_ref().await?)
}

/// The expressions that differ between the databases.
struct Dialect {
    backend: DbBackend,
    /// The time at which all rows were created, as the ids have it. Rows that are much older would be purged.
    created: Duration,
}

impl Dialect {
    fn choose(&self, sqlite: String, postgres: String) -> String {
        if self.backend == DbBackend::Sqlite { sqlite } else { postgres }
    }

    /// A table with the numbers from 1 to `count` in the column `i`.
    fn numbers(&self, count: u32) -> String {
        self.choose(
            format!("(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT i FROM n)"),
            format!("generate_series(1, {count}) AS numbers(i)"),
        )
    }

    /// The id of row `i` of a table: a UUID of version 7, so that ids grow with `i`.
    fn id(&self, table: u8) -> String {
        let (time, table) = (format!("{:012x}", self.created.as_millis()), format!("7{table:03x}8"));
        self.choose(
            format!("unhex('{time}{table}' || printf('%015x', i))"),
            format!("('{time}{table}' || lpad(to_hex(i), 15, '0'))::uuid"),
        )
    }

    /// The time after this duration, such as `30 days`.
    fn time(&self, duration: &str) -> String {
        self.choose(
            format!("strftime('%Y-%m-%dT%H:%M:%S+00:00', 'now', '{duration}')"),
            format!("date_trunc('second', now()) + interval '{duration}'"),
        )
    }

    fn bytes(&self, length: u32) -> String {
        self.choose(format!("randomblob({length})"), format!("decode(repeat('42', {length}), 'hex')"))
    }
}
