//! Fills a database with users in the product's own schema, by SQL: a million in a minute.

use anyhow::Result;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection, DbBackend};

/// Inserts this many users. Each has the password of the first administrator, a session and an audit event. User 42 has the
/// username `user42`, the address `user42@example.org` and the name `Given42 Family42`.
pub async fn add_users(url: &str, count: u32) -> Result<()> {
    let db = Database::connect(url).await?;
    let sql = Dialect(db.get_database_backend());
    let (numbers, user, session, event) = (sql.numbers(count), sql.id(1), sql.id(2), sql.id(3));
    let (now, later, secret) = (sql.time(0), sql.time(30), sql.bytes(32));
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

async fn run(db: &DatabaseConnection, statements: &[String]) -> Result<()> {
    for statement in statements {
        db.execute_unprepared(statement).await?;
    }
    Ok(db.close_by_ref().await?)
}

/// The expressions that differ between the databases.
struct Dialect(DbBackend);

impl Dialect {
    fn choose(&self, sqlite: String, postgres: String) -> String {
        if self.0 == DbBackend::Sqlite { sqlite } else { postgres }
    }

    /// A table with the numbers from 1 to `count` in the column `i`.
    fn numbers(&self, count: u32) -> String {
        self.choose(
            format!("(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) SELECT i FROM n)"),
            format!("generate_series(1, {count}) AS numbers(i)"),
        )
    }

    /// The id of row `i` of a table: a UUID of version 7 of a moment in October 2026, so that ids grow with `i`.
    fn id(&self, table: u8) -> String {
        let (time, table) = ("019a00000000", format!("7{table:03x}8"));
        self.choose(
            format!("unhex('{time}{table}' || printf('%015x', i))"),
            format!("('{time}{table}' || lpad(to_hex(i), 15, '0'))::uuid"),
        )
    }

    /// The time in this many days.
    fn time(&self, days: u32) -> String {
        self.choose(
            format!("strftime('%Y-%m-%dT%H:%M:%S+00:00', 'now', '{days} days')"),
            format!("date_trunc('second', now()) + interval '{days} days'"),
        )
    }

    fn bytes(&self, length: u32) -> String {
        self.choose(format!("randomblob({length})"), format!("decode(repeat('42', {length}), 'hex')"))
    }
}
