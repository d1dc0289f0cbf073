//! The audit trail: who did what to whom, written in the transaction of the change itself. A change whose event
//! cannot be written does not happen. No event holds a secret.

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::{ActiveValue::Set, ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect};
use serde_json::{Value, json};

use super::{
    paging::{Paging, Slice},
    source::Source,
};
use crate::{
    app::App,
    entity::{audit_event, installation, json::JsonText, user},
    error::Result,
    live::{
        clock_trust::TrustedReading,
        database::Transaction,
        denials::{Count, Denial},
    },
    values::{
        ids::{EventId, SessionId, UserId},
        query::SubjectId,
        role_name::RoleName,
    },
};

macro_rules! kinds {
    ($($kind:ident $name:literal,)*) => {
        /// What kinds of events there are.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Kind { $(#[doc = $name] $kind,)* }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// The kind's name in rows and answers.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }
        }
    };
}

kinds! {
    AccountRegistered "account.registered",
    AccountUpdated "account.updated",
    AccountClosed "account.closed",
    PasswordChanged "account.password_changed",
    PasswordRefused "account.password_refused",
    LoggedIn "session.logged_in",
    LogInFailed "session.log_in_failed",
    RefreshDoubted "session.refresh_doubted",
    RefreshReused "session.refresh_reused",
    RefreshAhead "session.refresh_ahead",
    UserCreated "user.created",
    UserUpdated "user.updated",
    UserDeleted "user.deleted",
    UserPasswordSet "user.password_set",
    UserRolesSet "user.roles_set",
    UserSessionsEnded "user.sessions_ended",
    SessionEnded "session.ended",
    RoleCreated "role.created",
    RoleReplaced "role.replaced",
    RoleDeleted "role.deleted",
    KeyRotated "key.rotated",
    KeyRevoked "key.revoked",
    MasterKeyChanged "master_key.changed",
    ClockAccepted "clock.accepted",
    AccessRefused "access.refused",
}

/// Who acted.
#[derive(Debug, Clone)]
pub struct Actor {
    /// The account; `None` for the operator at the command line, and for people not signed in.
    pub id: Option<UserId>,
    /// A copy of their username or e-mail address: it outlives the account.
    pub name: Option<String>,
    /// The session they acted in.
    pub session: Option<SessionId>,
}

impl Actor {
    /// Somebody who is not signed in.
    pub const NONE: Self = Self { id: None, name: None, session: None };

    /// Whoever has a shell on the server.
    #[must_use]
    pub fn operator() -> Self {
        Self { name: Some("operator".into()), ..Self::NONE }
    }

    /// An account, in the session it acts in.
    #[must_use]
    pub fn account(user: &user::Model, session: Option<SessionId>) -> Self {
        Self { id: Some(user.id), name: Some(name_of(user)), session }
    }
}

/// What people call an account: its username, else its e-mail address.
fn name_of(user: &user::Model) -> String {
    user.username.clone().unwrap_or_else(|| user.email.clone())
}

/// What was done, to what.
#[derive(Debug, Clone)]
pub struct Event {
    kind: Kind,
    subject: Option<(&'static str, String, Option<String>)>,
    details: Value,
}

impl Event {
    /// Something that concerns nobody in particular.
    #[must_use]
    pub fn of(kind: Kind) -> Self {
        Self { kind, subject: None, details: json!({}) }
    }

    /// Something that was done to an account.
    #[must_use]
    pub fn on_user(kind: Kind, user: &user::Model) -> Self {
        Self { subject: Some(("user", user.id.to_string(), Some(name_of(user)))), ..Self::of(kind) }
    }

    /// Something that was done to a role.
    #[must_use]
    pub fn on_role(kind: Kind, name: &RoleName) -> Self {
        Self { subject: Some(("role", name.to_string(), None)), ..Self::of(kind) }
    }

    /// Something that was done to a signing key.
    #[must_use]
    pub fn on_key(kind: Kind, id: &str) -> Self {
        Self { subject: Some(("key", id.to_owned(), None)), ..Self::of(kind) }
    }

    /// Adds what changed; a JSON object without secrets.
    #[must_use]
    pub fn with(self, details: Value) -> Self {
        Self { details, ..self }
    }
}

/// Writes an event into the transaction of the change it tells of.
///
/// # Errors
/// When the database fails: then the change fails too.
pub async fn record(tx: &Transaction, now: DateTime<Utc>, source: &Source, actor: Actor, event: Event) -> Result<()> {
    let (subject_type, (subject_id, subject_name)) =
        event.subject.map_or((None, (None, None)), |(kind, id, name)| (Some(kind.to_owned()), (Some(id), name)));
    let row = audit_event::ActiveModel {
        id: Set(EventId::new(now)),
        at: Set(now),
        kind: Set(event.kind.name().to_owned()),
        actor_id: Set(actor.id),
        actor_name: Set(actor.name),
        subject_type: Set(subject_type),
        subject_id: Set(subject_id),
        subject_name: Set(subject_name),
        address: Set(source.address.map(|it| it.to_string())),
        session_id: Set(actor.session),
        request_id: Set(source.request_id),
        details: Set(JsonText(event.details)),
    };
    audit_event::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// Which events to list. An absent member does not filter.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Who acted.
    pub actor: Option<UserId>,
    /// The id of what it was done to.
    pub subject: Option<SubjectId>,
    /// The kind.
    pub kind: Option<Kind>,
    /// Not before this.
    pub from: Option<DateTime<Utc>>,
    /// Before this.
    pub to: Option<DateTime<Utc>>,
}

/// One page of events, newest first.
///
/// # Errors
/// A fault of `cursor`; or when the database fails.
pub async fn list(app: &App, filter: &Filter, paging: &Paging) -> Result<Slice<audit_event::Model>> {
    const LIST: &str = "audit events";
    let mut all = Condition::all()
        .add_option(filter.actor.map(|it| audit_event::COLUMN.actor_id.eq(it)))
        .add_option(filter.subject.as_ref().map(|it| audit_event::COLUMN.subject_id.eq(it.as_str())))
        .add_option(filter.kind.map(|it| audit_event::COLUMN.kind.eq(it.name())));
    // Ids are in the order of time, so that bounds on them make use of every index.
    if let Some(from) = filter.from {
        all = all.add(audit_event::COLUMN.id.gte(EventId::first_of(from))).add(audit_event::COLUMN.at.gte(from));
    }
    if let Some(to) = filter.to {
        let beyond = EventId::first_of(to + TimeDelta::milliseconds(1));
        all = all.add(audit_event::COLUMN.id.lt(beyond)).add(audit_event::COLUMN.at.lt(to));
    }
    if let Some(id) = paging.position::<EventId>(app, LIST)? {
        all = all.add(audit_event::COLUMN.id.lt(id));
    }
    let query = audit_event::Entity::find().filter(all).order_by_desc(audit_event::COLUMN.id).limit(paging.rows());
    Ok(paging.slice(app, LIST, query.all(app.db.read()).await?, |it| it.id))
}

/// Writes down the refusals by guards whose minute is over at `now`: one event for each caller, operation and minute.
///
/// # Errors
/// When the database fails; then they are lost, and the log has them.
pub async fn write_denials(app: &App, now: DateTime<Utc>) -> Result<()> {
    let refusals = app.denials.take_complete(now);
    if refusals.is_empty() {
        return Ok(());
    }
    let tx = app.db.write().await?;
    for (Denial { user, operation, permission, minute }, Count { times, address }) in refusals {
        let Some(user) = user::Entity::find_by_id(user).one(&tx).await? else { continue };
        let source = Source { address, ..Source::default() };
        let details = json!({ "operation": operation, "permission": permission, "count": times });
        let event = Event::on_user(Kind::AccessRefused, &user).with(details);
        record(&tx, minute, &source, Actor::account(&user, None), event).await?;
    }
    Ok(tx.commit().await?)
}

/// How many events are deleted at once.
const AT_ONCE: u64 = 2_000;

/// Deletes events older than `audit.retention`.
///
/// # Errors
/// When the database fails.
pub async fn purge(app: &App, trusted: TrustedReading) -> Result<()> {
    let oldest = trusted.purge_before() - app.settings.audit.retention;
    // An event that was written while the clock was far behind looks old from the first.
    if installation::Entity::row(app.db.read()).await?.behind_at.is_some_and(|behind| behind > oldest) {
        return Ok(());
    }
    let oldest = EventId::first_of(oldest);
    // A few at a time, so that nobody else who writes waits for long.
    loop {
        let tx = app.db.write_in_background().await?;
        let old = audit_event::Entity::find().select_only().column(audit_event::Column::Id);
        let old = old.filter(audit_event::COLUMN.id.lt(oldest)).limit(AT_ONCE);
        let some: Vec<EventId> = old.into_tuple().all(&tx).await?;
        let deleted = some.len() as u64;
        audit_event::Entity::delete_many().filter(audit_event::COLUMN.id.is_in(some)).exec(&tx).await?;
        tx.commit().await?;
        if deleted < AT_ONCE {
            return Ok(());
        }
    }
}
