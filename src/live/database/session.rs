//! Whether connections to PostgreSQL keep their sessions. A pooler in between may give each transaction, or even each statement,
//! another session: then notifications, prepared statements and the limits of a session are lost.

use sqlx::{ConnectOptions as _, Connection as _, PgConnection, Row as _, postgres::PgConnectOptions, raw_sql};

/// How often another connection is given the chance to get a session that it should not get.
const ATTEMPTS: u32 = 3;
/// Marks the session with a value that no other session has, and returns it.
const MARK: &str = "SELECT set_config('vestibule.session', md5(random()::text || clock_timestamp()::text), false)";
/// Returns the mark of the session, or an empty string if it has none.
const READ_MARK: &str = "SELECT coalesce(current_setting('vestibule.session', true), '')";

/// Returns whether a pooler gives the session of `connection` to others, or gives `connection` another one. Opens a second
/// connection, and no more, because a pooler has few.
///
/// A pooler without other clients uses the same session again and again, or all of them in turn. So the mark is read once more,
/// which shows the latter, and then by the second connection in a transaction, which holds the session that was free last. Other
/// clients may prevent that once, but hardly in each attempt. The statements are not prepared: what was prepared in one session
/// is unknown in another.
pub(super) async fn is_shared(connection: &mut PgConnection, options: &PgConnectOptions) -> Result<bool, sqlx::Error> {
    let mark = text(connection, MARK).await?;
    if text(connection, READ_MARK).await? != mark {
        return Ok(true);
    }
    let mut other = options.connect().await?;
    for _ in 0..ATTEMPTS {
        match run(&mut other, "BEGIN").await {
            Err(err) if is_refused_transaction(&err) => return Ok(true),
            begun => begun?,
        }
        if text(&mut other, READ_MARK).await? == mark || text(connection, READ_MARK).await? != mark {
            return Ok(true);
        }
        run(&mut other, "ROLLBACK").await?;
    }
    other.close().await?;
    Ok(false)
}

/// Returns whether PgBouncer refuses transactions, because it gives each statement another session.
fn is_refused_transaction(err: &sqlx::Error) -> bool {
    matches!(err, sqlx::Error::Database(err) if err.message().contains("statement pooling"))
}

async fn text(connection: &mut PgConnection, sql: &'static str) -> Result<String, sqlx::Error> {
    raw_sql(sql).fetch_one(connection).await?.try_get(0)
}

async fn run(connection: &mut PgConnection, sql: &'static str) -> Result<(), sqlx::Error> {
    raw_sql(sql).execute(connection).await.map(drop)
}
