//! Revocations: whatever takes something away writes it into the feed in the same transaction, and into this
//! process's memory before the answer leaves.

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait,
    ActiveValue::{NotSet, Set},
    ColumnTrait, ConnectionTrait, DatabaseTransaction, DbBackend, EntityTrait, QueryFilter,
};

use crate::{
    app::App,
    entity::{
        revocation::{self, Kind},
        session,
    },
    error::Result,
    live::revocations::KEPT,
    values::ids::{SessionId, UserId},
};

/// The key of the advisory lock under which PostgreSQL numbers the feed.
const FEED_LOCK: i64 = 0x5645_5354_4642;

/// What a transaction has taken away, to be remembered once it is committed.
#[derive(Default)]
#[must_use = "a revocation bites only once it is committed and remembered"]
pub struct Taken(Vec<revocation::Model>);

impl Taken {
    /// Commits the transaction, then remembers in this process what it took away.
    ///
    /// # Errors
    /// When the commit fails.
    pub async fn commit(self, app: &App, tx: DatabaseTransaction) -> Result<()> {
        tx.commit().await?;
        self.0.iter().for_each(|row| app.revocations.apply(row));
        Ok(())
    }
}

/// Ends all sessions of a user, but for `except`.
///
/// # Errors
/// When the database fails.
pub async fn end_sessions(
    tx: &DatabaseTransaction,
    now: DateTime<Utc>,
    user: UserId,
    except: Option<SessionId>,
) -> Result<Taken> {
    let mut ending = session::Entity::find().filter(session::COLUMN.user_id.eq(user));
    if let Some(session) = except {
        ending = ending.filter(session::COLUMN.id.ne(session));
    }
    let sessions = ending.all(tx).await?;
    session::Entity::delete_many().filter(session::COLUMN.id.is_in(sessions.iter().map(|it| it.id))).exec(tx).await?;
    let mut taken = Taken::default();
    for session in sessions {
        taken.0.push(append(tx, now, Kind::SessionEnded, Some(session.id)).await?);
    }
    Ok(taken)
}

/// Adds a row to the feed, whose numbers are in commit order: on PostgreSQL a number is drawn under a lock that is
/// held until the commit, or a follower asking for "after 41" could miss a 40 that commits late. SQLite has one writer.
async fn append(
    tx: &DatabaseTransaction,
    now: DateTime<Utc>,
    kind: Kind,
    session: Option<SessionId>,
) -> Result<revocation::Model> {
    if tx.get_database_backend() == DbBackend::Postgres {
        tx.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({FEED_LOCK})")).await?;
    }
    let row = revocation::ActiveModel {
        seq: NotSet,
        kind: Set(kind),
        session_id: Set(session),
        user_id: Set(None),
        least_epoch: Set(None),
        created_at: Set(now),
        expires_at: Set(now + KEPT),
    };
    Ok(row.insert(tx).await?)
}
