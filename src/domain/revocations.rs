//! Revocations: ends sessions and makes tokens stale. A change that removes access writes its revocations into the feed, in its
//! own transaction, and into this process's memory before the response is sent. Other processes follow the feed.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveValue::{NotSet, Set},
    ColumnTrait, ConnectionTrait, DbBackend, DbErr, EntityTrait, QueryFilter, QueryOrder, QuerySelect,
};

use crate::{
    app::App,
    entity::{
        installation,
        revocation::{self, RevocationKind},
        session, user,
    },
    error::{Error, Result},
    live::{
        clock_trust::TrustedReading,
        database::{CommitError, Transaction},
        key_ring::KeyRing,
        revocations::{CLOCK_MARGIN, MAX_TOKEN_LIFETIME, Revocation},
        role_map::RoleMap,
    },
    values::{
        authentication::Acr,
        ids::{FactorId, SessionId, UserId},
    },
};

/// The key of PostgreSQL's advisory lock under which the rows of the feed are numbered.
const FEED_LOCK: i64 = 0x5645_5354_4642;
/// The maximum number of rows in one statement: databases limit a statement's variables, and a user may have any number of
/// sessions.
const BATCH: usize = 1_000;
/// The channel on which PostgreSQL notifies the followers of the feed.
pub const CHANNEL: &str = "vestibule_revocations";

/// The revocations of a transaction, which [`Self::commit`] writes. A change that removes access always ends with that call.
#[must_use = "a revocation takes effect only when it is committed"]
#[derive(Default)]
pub struct PendingRevocations {
    revocations: Vec<Revocation>,
    /// Whether `commit` reads the feed afterwards. The response says that all sessions have ended, and another process may
    /// have ended some of them a moment ago.
    reads_feed: bool,
    /// When the sessions concerned were last used. That is later than now if a clock was ahead.
    last_used_at: DateTime<Utc>,
}

impl PendingRevocations {
    /// Returns whether there was nothing to revoke.
    pub fn is_empty(&self) -> bool {
        self.revocations.is_empty()
    }

    /// Adds the revocations of another change in the same transaction.
    pub fn merge(&mut self, other: Self) {
        self.revocations.extend(other.revocations);
        self.reads_feed |= other.reads_feed;
        self.last_used_at = self.last_used_at.max(other.last_used_at);
    }

    /// Returns the sessions that the transaction ends.
    pub fn sessions(&self) -> Vec<SessionId> {
        let session = |revocation: &Revocation| if let Revocation::Session(id) = revocation { Some(*id) } else { None };
        self.revocations.iter().filter_map(session).collect()
    }

    /// Writes the revocations into the feed, commits the transaction, and applies the revocations in this process.
    ///
    /// If the outcome of the commit is unknown, the next poll starts at once and finds it in the feed.
    pub async fn commit(self, app: &App, tx: Transaction) -> Result<()> {
        let now = app.clock.now();
        let expires_at = app.clock_trust.latest(now).max(self.last_used_at) + MAX_TOKEN_LIFETIME + CLOCK_MARGIN;
        self.write(&tx, now, expires_at).await?;
        tx.commit().await.inspect_err(|error| {
            if matches!(error, CommitError::Unknown(_)) {
                app.access.feed.request_poll();
            }
        })?;
        // After an error the client does not learn that the change was made, and the follower applies it, as on other replicas.
        self.apply(app, expires_at).await.inspect_err(|_| app.access.feed.request_poll())
    }

    /// Writes the revocations into the feed, which is numbered in commit order. PostgreSQL draws the numbers under a lock that
    /// is held until the commit; otherwise a follower that asks for the rows after 41 could miss a 40 that is committed late.
    /// SQLite has only one writer.
    async fn write(&self, tx: &Transaction, now: DateTime<Utc>, expires_at: DateTime<Utc>) -> Result<()> {
        if self.revocations.is_empty() {
            return Ok(());
        }
        if tx.get_database_backend() == DbBackend::Postgres {
            tx.execute_unprepared(&format!("SELECT pg_advisory_xact_lock({FEED_LOCK}); NOTIFY {CHANNEL}")).await?;
        }
        for batch in self.revocations.chunks(BATCH) {
            let rows = batch.iter().map(|revocation| row(*revocation, now, expires_at));
            revocation::Entity::insert_many(rows).exec_without_returning(tx).await?;
        }
        Ok(())
    }

    /// Applies the committed revocations in this process.
    async fn apply(&self, app: &App, expires_at: DateTime<Utc>) -> Result<()> {
        let reading = app.clock.read();
        for revocation in &self.revocations {
            app.access.revocations.apply(*revocation, expires_at, reading);
        }
        if self.revocations.contains(&Revocation::RoleMap) {
            reload_roles(app).await?;
        }
        if self.revocations.contains(&Revocation::SigningKeys) {
            reload_keys(app).await?;
        }
        if self.reads_feed {
            // The second attempt has a new connection, in case the first one had fallen silent.
            match follow(app).await {
                Err(Error::Unavailable(_)) => follow(app).await?,
                result => result?,
            }
        }
        Ok(())
    }

    fn one(revocation: Revocation) -> Self {
        Self { revocations: vec![revocation], ..Self::default() }
    }
}

fn row(revocation: Revocation, now: DateTime<Utc>, expires_at: DateTime<Utc>) -> revocation::ActiveModel {
    let (kind, session, user, least) = match revocation {
        Revocation::Session(session) => (RevocationKind::SessionEnded, Some(session), None, None),
        Revocation::TokensBefore(user, least) => (RevocationKind::TokensStale, None, Some(user), Some(least)),
        Revocation::RoleMap => (RevocationKind::RolesChanged, None, None, None),
        Revocation::SigningKeys => (RevocationKind::KeysChanged, None, None, None),
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

/// A selection of a user's sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionSelection {
    /// Every session.
    All,
    /// Every session but this one.
    AllExcept(SessionId),
    /// This session.
    One(SessionId),
    /// The sessions that were begun or raised with this second factor.
    WithFactor(FactorId),
    /// The sessions that have reached this level.
    AtLevel(Acr),
}

/// Ends the selected sessions of a user: deletes their rows and revokes their tokens.
pub async fn end_sessions(tx: &Transaction, user: UserId, selection: SessionSelection) -> Result<PendingRevocations> {
    let all = session::Entity::of(user);
    let selected = match selection {
        SessionSelection::All => all,
        SessionSelection::AllExcept(session) => all.filter(session::COLUMN.id.ne(session)),
        SessionSelection::One(session) => all.filter(session::COLUMN.id.eq(session)),
        SessionSelection::WithFactor(factor) => all.filter(session::COLUMN.factors.contains(factor.to_string())),
        SessionSelection::AtLevel(acr) => all.filter(session::COLUMN.acr.eq(acr)),
    };
    let columns = [session::Column::Id, session::Column::LastUsedAt];
    let found: Vec<(SessionId, DateTime<Utc>)> = selected.select_only().columns(columns).into_tuple().all(tx).await?;
    let last_used_at = found.iter().map(|(_, last_used_at)| *last_used_at).max().unwrap_or_default();
    let ids: Vec<_> = found.into_iter().map(|(id, _)| id).collect();
    for batch in ids.chunks(BATCH) {
        session::Entity::delete_many().filter(session::COLUMN.id.is_in(batch.iter().copied())).exec(tx).await?;
    }
    let revocations = ids.into_iter().map(Revocation::Session).collect();
    Ok(PendingRevocations { revocations, reads_feed: !matches!(selection, SessionSelection::One(_)), last_used_at })
}

/// Makes the tokens of a user stale that carry an older epoch than `user`. The sessions continue.
pub async fn revoke_older_tokens(tx: &impl ConnectionTrait, user: &user::Model) -> Result<PendingRevocations> {
    let newest = session::Entity::of(user.id).order_by_desc(session::COLUMN.last_used_at).one(tx).await?;
    let last_used_at = newest.map(|session| session.last_used_at).unwrap_or_default();
    Ok(PendingRevocations { last_used_at, ..PendingRevocations::one(Revocation::TokensBefore(user.id, user.epoch)) })
}

/// Makes every process load the role map again, because the permissions of a role have changed.
pub fn roles_changed() -> PendingRevocations {
    PendingRevocations::one(Revocation::RoleMap)
}

/// Makes every process load the key ring again, because a signing key was created or revoked.
pub fn signing_keys_changed() -> PendingRevocations {
    PendingRevocations::one(Revocation::SigningKeys)
}

/// Loads the role map again. Only one task at a time does so: an older map must not replace a newer one.
async fn reload_roles(app: &App) -> Result<()> {
    let _guard = app.access.reload_lock.lock().await;
    app.access.roles.store(Arc::new(RoleMap::load(app.db.read_feed()).await?));
    Ok(())
}

/// Loads the key ring again. Only one task at a time does so, as with the role map.
pub(super) async fn reload_keys(app: &App) -> Result<()> {
    let _guard = app.access.reload_lock.lock().await;
    let (ring, unopened) = KeyRing::load(app.db.read_feed(), &app.signing.sealer, &app.signing.keys.load()).await?;
    for kid in unopened {
        tracing::error!(kid, "a signing key cannot be decrypted: the master key was changed, so restart this server");
    }
    app.signing.keys.store(Arc::new(ring));
    Ok(())
}

/// Reads and applies the new rows of the feed, those of this process included. Fails if the database is a standby, which may
/// lag behind, if it has lost rows that this process has read, if its tables were created anew, or if its data have an earlier
/// generation. The rows that were read before a failure are applied all the same.
///
/// If the data have a later generation, everything is read again.
pub async fn follow(app: &App) -> Result<()> {
    let uptime = app.clock.uptime();
    let poll = app.access.feed.start_poll(uptime);
    let db = app.db.read_feed();
    let seen = app.access.feed.position(); // before the database is asked, because another task may advance it meanwhile
    let state = installation::Entity::feed_state(db).await?;
    if state.is_standby {
        return Err(Error::internal(anyhow::anyhow!("the database is a standby")));
    }
    let is_other = !app.access.generation.is(state.generation);
    let is_restored = is_other && app.access.generation.is_earlier_than(state.generation, app.clock.now());
    if is_restored {
        // The sessions and epochs of the former generation mean nothing, and its tokens are refused from here on.
        app.access.generation.refuse_before(state.generation);
        app.access.revocations.clear();
        app.access.feed.restart();
    }
    // Tables that were created anew may hold an older state although no revocation was lost.
    let are_same_tables = app.access.feed.comes_from(state.tables);
    let is_history_lost = !is_restored && (is_other || state.last_position < seen || !are_same_tables);
    app.access.generation.set_history_lost(is_history_lost);
    if is_history_lost {
        return Err(history_lost());
    }
    // Rows are purged after an hour, so a process that slept for long may have missed that a role or a key was changed.
    let reloads = is_restored || app.access.feed.age(uptime) > MAX_TOKEN_LIFETIME / 2;
    let (mut roles_changed, mut keys_changed) = (reloads, reloads);
    loop {
        let rows = revocation::after(db, app.access.feed.position()).await?;
        let reading = app.clock.read();
        for row in &rows {
            if let Some(revocation) = Revocation::from_row(row) {
                app.access.revocations.apply(revocation, row.expires_at, reading);
            }
        }
        roles_changed |= rows.iter().any(|row| row.kind == RevocationKind::RolesChanged);
        if roles_changed {
            // Before the position advances: if this fails, the next poll reads the rows again.
            reload_roles(app).await?;
            roles_changed = false;
        }
        keys_changed |= rows.iter().any(|row| row.kind == RevocationKind::KeysChanged);
        if keys_changed {
            reload_keys(app).await?;
            keys_changed = false;
        }
        if let Some(last) = rows.last() {
            app.access.feed.advance(last.seq);
        }
        if (rows.len() as u64) < revocation::PAGE {
            if is_restored {
                app.access.generation.replace(state.generation);
                tracing::warn!("the database was restored from a backup: everything was read again, and all sessions have ended");
            }
            app.access.feed.finish_poll(&poll);
            return Ok(());
        }
    }
}

/// Returns the error while the database holds an older state than this process has seen. Whatever was ended or disabled since may be
/// active in it.
pub(super) fn history_lost() -> Error {
    let cause = "the database holds an older state than before, so a backup was restored: run `vestibule restored`";
    Error::Unavailable(DbErr::Custom(cause.to_owned()))
}

/// Deletes the revocations that concern no token which is still valid, from memory and from the feed.
pub async fn purge(app: &App, trusted: TrustedReading) -> Result<()> {
    app.access.revocations.sweep(trusted.reading());
    let tx = app.db.write_in_background().await?;
    let mut installation = installation::Entity::locked(&tx).await?;
    // This time never decreases: a clock that turns out to have been wrong has deleted the rows all the same.
    installation.purged_before = installation.purged_before.max(Some(trusted.purge_before()));
    installation.write(&tx).await?;
    revocation::Entity::delete_many().filter(revocation::COLUMN.expires_at.lte(trusted.purge_before())).exec(&tx).await?;
    Ok(tx.commit().await?)
}
