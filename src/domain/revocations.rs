//! Revocations: whatever takes something away writes it into the feed in the same transaction, and into this
//! process's memory before the answer leaves. Other processes follow the feed.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, QueryFilter, QueryOrder, QuerySelect, Statement,
};

use crate::{
    app::App,
    entity::{
        installation,
        revocation::{self, Kind},
        session, user,
    },
    error::{Error, Result},
    live::{
        clock_trust::TrustedReading,
        database::{CommitError, Transaction},
        key_ring::KeyRing,
        revocations::{KEPT, MARGIN, Revocation},
        role_map::RoleMap,
    },
    values::ids::{SessionId, UserId},
};

/// The key of the advisory lock under which PostgreSQL numbers the feed.
const FEED_LOCK: i64 = 0x5645_5354_4642;
/// How many rows one statement names: databases limit its variables, and an account may have any number of sessions.
const AT_ONCE: usize = 1_000;
/// The channel on which PostgreSQL wakes whoever follows the feed.
pub const CHANNEL: &str = "vestibule_revocations";

/// What a transaction takes away, to be remembered once it is committed.
#[must_use = "a revocation bites only once it is committed and remembered"]
#[derive(Default)]
pub struct PendingRevocations {
    all: Vec<Revocation>,
    /// Whether others may have taken as much away a moment ago, of which this process has not heard.
    looks_back: bool,
    /// When its sessions were last used. While a clock was ahead, that was later than now.
    latest: DateTime<Utc>,
}

impl PendingRevocations {
    /// Whether nothing was there to take away.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The sessions among it.
    #[must_use]
    pub fn sessions(&self) -> Vec<SessionId> {
        self.all.iter().filter_map(|it| if let Revocation::Session(session) = it { Some(*session) } else { None }).collect()
    }

    /// Writes everything into the feed, commits, and remembers it in this process; with it what other processes have
    /// written before, where the caller is told that all of something is gone.
    ///
    /// The feed's numbers are in commit order: on PostgreSQL they are drawn under a lock that is held until the
    /// commit, or a follower asking for "after 41" could miss a 40 that commits late. SQLite has one writer.
    ///
    /// # Errors
    /// When the commit fails. Where its outcome is unknown, the feed is read again at once, and tells.
    pub async fn commit(self, app: &App, tx: Transaction) -> Result<()> {
        let now = app.clock.now();
        let expires_at = app.clock_trust.latest(now).max(self.latest) + KEPT + MARGIN;
        if !self.all.is_empty() {
            if tx.get_database_backend() == DbBackend::Postgres {
                tx.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({FEED_LOCK}); NOTIFY {CHANNEL}")).await?;
            }
            for some in self.all.chunks(AT_ONCE) {
                let rows = some.iter().map(|it| row(*it, now, expires_at));
                revocation::Entity::insert_many(rows).exec_without_returning(&tx).await?;
            }
        }
        // Nobody is told that the change is made, so what this process knows is as good as another replica's knowledge.
        let look_again = |_: &Error| app.access.feed.request_poll();
        tx.commit().await.inspect_err(|err| {
            if matches!(err, CommitError::Unknown(_)) {
                app.access.feed.request_poll();
            }
        })?;
        let reading = app.clock.read();
        self.all.iter().for_each(|it| app.access.revocations.apply(*it, expires_at, reading));
        if self.all.contains(&Revocation::RoleMap) {
            reload_roles(app).await.inspect_err(look_again)?;
        }
        if self.all.contains(&Revocation::SigningKeys) {
            reload_keys(app).await.inspect_err(look_again)?;
        }
        if self.looks_back {
            // A connection that has fallen silent is replaced by the second attempt.
            let followed = match follow(app).await {
                Err(Error::Unavailable(_)) => follow(app).await,
                followed => followed,
            };
            followed.inspect_err(look_again)?;
        }
        Ok(())
    }

    fn one(revocation: Revocation) -> Self {
        Self { all: vec![revocation], ..Self::default() }
    }
}

fn row(revocation: Revocation, now: DateTime<Utc>, expires_at: DateTime<Utc>) -> revocation::ActiveModel {
    let (kind, session, user, least) = match revocation {
        Revocation::Session(session) => (Kind::SessionEnded, Some(session), None, None),
        Revocation::TokensBefore(user, least) => (Kind::TokensStale, None, Some(user), Some(least)),
        Revocation::RoleMap => (Kind::RolesChanged, None, None, None),
        Revocation::SigningKeys => (Kind::KeysChanged, None, None, None),
    };
    revocation::ActiveModel {
        seq: NotSet,
        kind: Set(kind),
        session_id: Set(session),
        user_id: Set(user),
        least_epoch: Set(least),
        created_at: Set(now),
        expires_at: Set(expires_at),
    }
}

/// Which of a user's sessions to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// All of them.
    All,
    /// All but this one.
    Except(SessionId),
    /// This one alone.
    Only(SessionId),
}

/// Ends sessions of a user: their rows go, and their tokens are refused.
///
/// # Errors
/// When the database fails.
pub async fn end_sessions(tx: &Transaction, user: UserId, which: Which) -> Result<PendingRevocations> {
    let theirs = session::Entity::of(user);
    let sessions = match which {
        Which::All => theirs,
        Which::Except(session) => theirs.filter(session::COLUMN.id.ne(session)),
        Which::Only(session) => theirs.filter(session::COLUMN.id.eq(session)),
    };
    let columns = [session::Column::Id, session::Column::LastUsedAt];
    let found: Vec<(SessionId, DateTime<Utc>)> = sessions.select_only().columns(columns).into_tuple().all(tx).await?;
    let latest = found.iter().map(|(_, last_used_at)| *last_used_at).max().unwrap_or_default();
    let ids: Vec<_> = found.into_iter().map(|(id, _)| id).collect();
    for some in ids.chunks(AT_ONCE) {
        session::Entity::delete_many().filter(session::COLUMN.id.is_in(some.iter().copied())).exec(tx).await?;
    }
    let all = ids.into_iter().map(Revocation::Session).collect();
    Ok(PendingRevocations { all, looks_back: !matches!(which, Which::Only(_)), latest })
}

/// Makes a user's tokens stale, as their roles were assigned anew. Their sessions go on.
///
/// # Errors
/// When the database fails.
pub async fn revoke_older_tokens(tx: &impl ConnectionTrait, user: &user::Model) -> Result<PendingRevocations> {
    let newest = session::Entity::of(user.id).order_by_desc(session::COLUMN.last_used_at).one(tx).await?;
    let latest = newest.map(|it| it.last_used_at).unwrap_or_default();
    Ok(PendingRevocations { latest, ..PendingRevocations::one(Revocation::TokensBefore(user.id, user.epoch)) })
}

/// Tells everybody that some role grants something else now.
pub fn roles_changed() -> PendingRevocations {
    PendingRevocations::one(Revocation::RoleMap)
}

/// Tells everybody that a signing key was made or revoked.
pub fn signing_keys_changed() -> PendingRevocations {
    PendingRevocations::one(Revocation::SigningKeys)
}

/// Reads the role map again. One at a time, so that no older map replaces a newer one.
async fn reload_roles(app: &App) -> Result<()> {
    let _turn = app.access.reloading.lock().await;
    app.access.roles.store(Arc::new(RoleMap::load(app.db.feed()).await?));
    Ok(())
}

/// Reads the key ring again. One at a time, as with the role map.
///
/// # Errors
/// When the database fails.
pub(super) async fn reload_keys(app: &App) -> Result<()> {
    let _turn = app.access.reloading.lock().await;
    let (ring, unopened) = KeyRing::load(app.db.feed(), &app.signing.sealer, &app.signing.keys.load()).await?;
    for kid in unopened {
        tracing::error!(kid, "a signing key does not open: the master key was changed, so restart this server");
    }
    app.signing.keys.store(Arc::new(ring));
    Ok(())
}

/// Reads what came into the feed since the last time, by whichever process.
///
/// # Errors
/// When the database fails, or is a standby that may lag behind. What was read until then is known all the same.
pub async fn follow(app: &App) -> Result<()> {
    let uptime = app.clock.uptime();
    let poll = app.access.feed.start_poll(uptime);
    let db = app.db.feed();
    if db.get_database_backend() == DbBackend::Postgres && is_standby(db).await? {
        return Err(Error::internal(anyhow::anyhow!("the database is a standby")));
    }
    // Rows are purged after an hour: whoever slept so long may have missed that a role or a key was changed.
    let slept = app.access.feed.age(uptime) > KEPT / 2;
    let (mut roles_changed, mut keys_changed) = (slept, slept);
    loop {
        let rows = revocation::after(db, app.access.feed.position()).await?;
        let reading = app.clock.read();
        for row in &rows {
            if let Some(revocation) = Revocation::of(row) {
                app.access.revocations.apply(revocation, row.expires_at, reading);
            }
        }
        roles_changed |= rows.iter().any(|row| row.kind == Kind::RolesChanged);
        if roles_changed {
            // Before the rows are done with: if this fails, they are read again.
            reload_roles(app).await?;
            roles_changed = false;
        }
        keys_changed |= rows.iter().any(|row| row.kind == Kind::KeysChanged);
        if keys_changed {
            reload_keys(app).await?;
            keys_changed = false;
        }
        app.access.feed.advance(rows.last().map_or(0, |row| row.seq));
        if (rows.len() as u64) < revocation::PAGE {
            app.access.feed.finish_poll(&poll);
            return Ok(());
        }
    }
}

async fn is_standby(db: &impl ConnectionTrait) -> Result<bool> {
    let statement = Statement::from_string(DbBackend::Postgres, "SELECT pg_is_in_recovery() AS standby");
    let row = db.query_one_raw(statement).await?;
    Ok(row.is_none_or(|row| row.try_get("", "standby").unwrap_or(true)))
}

/// Forgets revocations that no living token can ask about, in memory and in the feed.
///
/// # Errors
/// When the database fails.
pub async fn purge(app: &App, trusted: TrustedReading) -> Result<()> {
    app.access.revocations.sweep(trusted.reading());
    let tx = app.db.write_in_background().await?;
    let mut installation = installation::Entity::locked(&tx).await?;
    // Never earlier: a clock that turns out to be wrong has deleted them all the same.
    installation.purged_before = installation.purged_before.max(Some(trusted.purge_before()));
    installation.write(&tx).await?;
    revocation::Entity::delete_many().filter(revocation::COLUMN.expires_at.lte(trusted.purge_before())).exec(&tx).await?;
    Ok(tx.commit().await?)
}
