//! What a restore keeps of the database that it replaces. That database is newer than the backup: who may log in, with what, and what
//! they may do is taken from it, account by account, so nobody who was shut out since the backup gets back in.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, EntityTrait, IntoActiveModel, ModelTrait, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect,
};

use super::audit::Kind;
use crate::{
    app::App,
    entity::{
        audit_event, closed_account, factor, installation, invitation, recovery_code, role, role_permission, secret,
        user::{self, Model},
        user_role,
    },
    error::Result,
    live::database::{Database, Reader, Transaction},
    values::ids::{EventId, UserId},
};

/// The number of users or closed accounts that are read at once.
const PAGE: u64 = 500;
/// The number of rows in one statement: databases limit a statement's variables.
const BATCH: usize = 1_000;

/// What was carried over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CarriedOver {
    /// The accounts whose status, address, password, factors or roles had changed since the backup.
    pub changed: usize,
    /// The accounts that had been deleted since the backup.
    pub deleted: usize,
    /// The accounts that were created since the backup, which does not have them.
    pub lost: u64,
}

/// Returns whether two databases belong to one installation: whether they have the same first secret.
pub async fn is_same_installation(app: &App, replaced: &Database) -> Result<bool> {
    const FIRST: &str = "pepper";
    let ours = secret::Entity::find_by_id(FIRST).one(app.db.read()).await?;
    let theirs = secret::Entity::find_by_id(FIRST).one(replaced.read()).await?;
    // Not by its bytes: another master key seals the same secret anew.
    Ok(ours.zip(theirs).is_some_and(|(ours, theirs)| ours.created_at == theirs.created_at))
}

/// Returns whether a database is a later state of the backup: whether its audit trail has every event of the backup, except those that
/// have been purged since. Otherwise it says nothing of what happened after the backup.
///
/// The newest event alone does not tell: if the clock was ahead for a while, both may have it although events of right times differ.
pub async fn is_later(app: &App, replaced: &Database) -> Result<bool> {
    let from = replaced.read_in_background();
    let purged_before = EventId::first_of(installation::Entity::row(&from).await?.purged_before.unwrap_or_default());
    let oldest = audit_event::Entity::find().order_by_asc(audit_event::COLUMN.id).one(&from).await?;
    let kept_since = oldest.map_or(purged_before, |oldest| oldest.id.min(purged_before));
    // The migration of the backup records events of this kind now.
    let recorded = || audit_event::Entity::find().filter(audit_event::COLUMN.kind.ne(role_permission::RECLAIMED));
    let mut last = None;
    loop {
        let page = audit_event::Entity::page(recorded(), app.db.read(), last).await?;
        let Some(end) = page.last() else { return Ok(true) };
        last = Some(end.id);
        let ours: Vec<_> = page.iter().map(|event| event.id).filter(|id| *id >= kept_since).collect();
        let (count, theirs) = (ours.len() as u64, audit_event::COLUMN.id.is_in(ours));
        if audit_event::Entity::find().filter(theirs).count(&from).await? < count {
            return Ok(false);
        }
    }
}

/// Keeps the newest time that a database has seen of which nothing else is kept.
pub async fn keep_newest_time(app: &App, replaced: &Database) -> Result<()> {
    let keep =
        |ours: &mut installation::Model, theirs: installation::Model| ours.newest_at = ours.newest_at.max(theirs.newest_at);
    change_installation(app, &replaced.read_in_background(), keep).await
}

/// Returns the secrets of a database that the backup lacks, because it is older than they are. Its factors and passkeys are sealed
/// under them.
pub async fn missing_secrets(app: &App, replaced: &Database) -> Result<Vec<secret::Model>> {
    let ours = secret::Entity::find().all(app.db.read()).await?;
    let is_ours = |theirs: &secret::Model| {
        // Not by its bytes, as above. A secret that was made when the backup was opened has another time.
        ours.iter().any(|ours| ours.name == theirs.name && ours.created_at == theirs.created_at)
    };
    Ok(secret::Entity::find().all(replaced.read()).await?.into_iter().filter(|theirs| !is_ours(theirs)).collect())
}

/// Puts secrets in the place of those of the same names. Then the app must be opened again, because it uses others.
pub async fn replace_secrets(app: &App, secrets: Vec<secret::Model>) -> Result<()> {
    let tx = app.db.write_in_background().await?;
    let names = secrets.iter().map(|secret| secret.name.clone());
    secret::Entity::delete_many().filter(secret::COLUMN.name.is_in(names)).exec(&tx).await?;
    insert(&tx, secrets).await?;
    Ok(tx.commit().await?)
}

/// Brings a backup, which nobody uses yet, up to the state of the database that it replaces: deletions, statuses, addresses,
/// passwords, factors, roles, what the roles grant, and invitations. Adds the audit events since. If this fails, the backup is in no
/// state to be used.
pub async fn carry_over(app: &App, replaced: &Database) -> Result<CarriedOver> {
    let from = replaced.read_in_background();
    replace_grants(app, &from).await?;
    replace_invitations(app, &from).await?;
    let (mut carried, mut kept, mut last) = (CarriedOver::default(), 0, None);
    let (mut addresses, mut former) = (Vec::new(), HashMap::new());
    loop {
        let tx = app.db.write_in_background().await?;
        let page = user::Entity::page_after(&tx, last, PAGE).await?;
        let ids: Vec<_> = page.iter().map(|user| user.id).collect();
        let Some(end) = ids.last() else { break };
        last = Some(*end);
        let theirs = user::Entity::with_ids(&from, &ids).await?;
        let theirs: HashMap<_, _> = theirs.into_iter().map(|user| (user.id, user)).collect();
        for ours in page {
            let Some(theirs) = theirs.get(&ours.id) else {
                user::Entity::delete_by_id(ours.id).exec(&tx).await?;
                carried.deleted += 1;
                former.insert(ours.id, (ours.email, ours.username));
                continue;
            };
            kept += 1;
            if ours.email != theirs.email {
                addresses.push((ours.id, theirs.email.clone()));
            }
            carried.changed += usize::from(update(&tx, app.clock.now(), ours, theirs).await?);
        }
        copy_of_users(&tx, &from, &theirs.into_keys().collect::<Vec<_>>()).await?;
        tx.commit().await?;
    }
    give_addresses(app, addresses).await?;
    copy_events(app, &from).await?;
    keep_erasures(app, &from, &former).await?;
    keep_clock(app, &from).await?;
    carried.lost = user::Entity::find().count(&from).await? - kept;
    Ok(carried)
}

/// Inserts rows of the replaced database.
async fn insert<M: ModelTrait + IntoActiveModel<<M::Entity as EntityTrait>::ActiveModel>>(
    tx: &Transaction,
    rows: Vec<M>,
) -> Result<()> {
    for batch in rows.chunks(BATCH) {
        let rows = batch.iter().cloned().map(IntoActiveModel::into_active_model);
        M::Entity::insert_many(rows).exec_without_returning(tx).await?;
    }
    Ok(())
}

/// Takes every role, factor and recovery code from every user, and replaces the roles.
async fn replace_grants(app: &App, from: &Reader) -> Result<()> {
    let tx = app.db.write_in_background().await?;
    user_role::Entity::delete_many().exec(&tx).await?;
    role_permission::Entity::delete_many().exec(&tx).await?;
    role::Entity::delete_many().exec(&tx).await?;
    factor::Entity::delete_many().exec(&tx).await?;
    recovery_code::Entity::delete_many().exec(&tx).await?;
    insert(&tx, role::Entity::find().all(from).await?).await?;
    insert(&tx, role_permission::Entity::find().all(from).await?).await?;
    Ok(tx.commit().await?)
}

/// Replaces the invitations, because an accepted or revoked one would be pending again, with the roles that it grants.
async fn replace_invitations(app: &App, from: &Reader) -> Result<()> {
    let tx = app.db.write_in_background().await?;
    invitation::Entity::delete_many().exec(&tx).await?;
    insert(&tx, invitation::Entity::find().all(from).await?).await?;
    Ok(tx.commit().await?)
}

/// Changes what decides about a user's access. Returns whether anything differed.
async fn update(tx: &Transaction, now: DateTime<Utc>, ours: Model, theirs: &Model) -> Result<bool> {
    // A change of roles or factors begins another epoch.
    let decisive = |user: &Model| {
        (user.status, user.email.clone(), user.email_verified, user.password_hash.clone(), user.epoch, user.second_factor)
    };
    if decisive(&ours) == decisive(theirs) {
        return Ok(false);
    }
    let (email, revision) = (format!("{}@restoring.invalid", ours.id), ours.revision.max(theirs.revision).next());
    let has_new_address = ours.email != theirs.email;
    let mut row = ours.into_active_model();
    if has_new_address {
        // Two users may have swapped their addresses, so all old ones are given up before the new ones are taken.
        row.email = Set(email);
    }
    row.email_verified = Set(theirs.email_verified);
    row.pending_email = Set(None);
    row.status = Set(theirs.status);
    row.password_hash = Set(theirs.password_hash.clone());
    row.epoch = Set(theirs.epoch);
    row.second_factor = Set(theirs.second_factor);
    row.revision = Set(revision);
    row.updated_at = Set(now);
    row.update(tx).await?;
    Ok(true)
}

/// Gives these users their roles, factors and recovery codes.
async fn copy_of_users(tx: &Transaction, from: &Reader, users: &[UserId]) -> Result<()> {
    let ids = || users.iter().copied();
    insert(tx, user_role::Entity::find().filter(user_role::COLUMN.user_id.is_in(ids())).all(from).await?).await?;
    insert(tx, factor::Entity::find().filter(factor::COLUMN.user_id.is_in(ids())).all(from).await?).await?;
    insert(tx, recovery_code::Entity::find().filter(recovery_code::COLUMN.user_id.is_in(ids())).all(from).await?).await
}

async fn give_addresses(app: &App, addresses: Vec<(UserId, String)>) -> Result<()> {
    for batch in addresses.chunks(BATCH) {
        let tx = app.db.write_in_background().await?;
        for (user, email) in batch {
            let Some(user) = user::Entity::locked(&tx, *user).await? else { continue };
            let mut row = user.into_active_model();
            row.email = Set(email.clone());
            row.update(&tx).await?;
        }
        tx.commit().await?;
    }
    Ok(())
}

/// Adds the audit events that were recorded since the backup. Some may have an earlier time than its newest event: the clock may have
/// been ahead when that was recorded.
async fn copy_events(app: &App, from: &Reader) -> Result<()> {
    let mut last = None;
    loop {
        let events = audit_event::Entity::page(audit_event::Entity::find(), from, last).await?;
        let Some(end) = events.last() else { return Ok(()) };
        last = Some(end.id);
        let known = audit_event::Entity::find().select_only().column(audit_event::Column::Id);
        let known = known.filter(audit_event::COLUMN.id.is_in(events.iter().map(|event| event.id)));
        let known: HashSet<EventId> = known.into_tuple().all(app.db.read()).await?.into_iter().collect();
        let new: Vec<_> = events.into_iter().filter(|event| !known.contains(&event.id)).collect();
        if !new.is_empty() {
            let tx = app.db.write_in_background().await?;
            insert(&tx, new).await?;
            tx.commit().await?;
        }
    }
}

/// Keeps which accounts have ended, and lets the next server erase the people again who were erased since the backup: the backup still
/// names them. `former` are the addresses and usernames that their accounts have in the backup.
async fn keep_erasures(app: &App, from: &Reader, former: &HashMap<UserId, (String, Option<String>)>) -> Result<()> {
    let mut last = None;
    loop {
        let accounts = closed_account::Entity::page_after(from, last, PAGE).await?;
        let Some(end) = accounts.last() else { break };
        last = Some(end.id);
        let tx = app.db.write_in_background().await?;
        closed_account::Entity::put(&tx, accounts.into_iter().filter(|account| !account.erased)).await?;
        tx.commit().await?;
    }
    let mut last = None;
    loop {
        let erased = audit_event::Entity::find().filter(audit_event::COLUMN.kind.eq(Kind::UserErased.name()));
        let events = audit_event::Entity::page(erased, from, last).await?;
        let Some(end) = events.last() else { return Ok(()) };
        last = Some(end.id);
        let again = |event: audit_event::Model| {
            let id = event.subject_id?.parse().ok()?;
            let (email, username) = former.get(&id).cloned().map_or((None, None), |(email, username)| (Some(email), username));
            let due_at = Some(app.clock.now());
            Some(closed_account::Model { id, email, username, closed_at: event.at, due_at, erased: true })
        };
        let tx = app.db.write_in_background().await?;
        closed_account::Entity::put(&tx, events.into_iter().filter_map(again)).await?;
        tx.commit().await?;
    }
}

/// Keeps what the installation knows of its clock, and its issuer.
async fn keep_clock(app: &App, from: &Reader) -> Result<()> {
    let keep = |ours: &mut installation::Model, theirs: installation::Model| {
        ours.issuer = theirs.issuer;
        ours.newest_at = theirs.newest_at;
        ours.accepted = theirs.accepted;
        ours.behind_at = theirs.behind_at;
        ours.purged_before = ours.purged_before.max(theirs.purged_before);
    };
    change_installation(app, from, keep).await
}

/// Changes the backup's row of the installation by that of the replaced database.
async fn change_installation(
    app: &App,
    from: &Reader,
    change: impl FnOnce(&mut installation::Model, installation::Model),
) -> Result<()> {
    let theirs = installation::Entity::row(from).await?;
    let tx = app.db.write_in_background().await?;
    let mut ours = installation::Entity::locked(&tx).await?;
    change(&mut ours, theirs);
    ours.write(&tx).await?;
    Ok(tx.commit().await?)
}
