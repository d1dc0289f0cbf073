//! The audit trail: the actor, the action and the subject of every change. An event is written in the transaction of its
//! change, so a change without an event does not happen. No event contains a secret.

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
        ids::{EventId, InvitationId, MailId, SessionId, UserId},
        query::SubjectId,
        role_name::RoleName,
    },
};

macro_rules! kinds {
    ($($kind:ident $name:literal,)*) => {
        /// The kind of an event.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Kind { $(#[doc = $name] $kind,)* }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$kind),*];

            /// Returns the name in rows and responses.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$kind => $name,)* }
            }
        }
    };
}

kinds! {
    AccountRegistered "account.registered",
    SignUpStarted "account.sign_up_started",
    AccountUpdated "account.updated",
    AccountClosed "account.closed",
    PasswordChanged "account.password_changed",
    PasswordRefused "account.password_refused",
    PasswordResetRequested "account.password_reset_requested",
    PasswordReset "account.password_reset",
    VerificationRequested "account.verification_requested",
    EmailVerified "account.email_verified",
    EmailChangeRequested "account.email_change_requested",
    EmailChangeCancelled "account.email_change_cancelled",
    EmailChanged "account.email_changed",
    EmailChangeReverted "account.email_change_reverted",
    RecoveryCodesCreated "account.recovery_codes_created",
    RecoveryCodeUsed "account.recovery_code_used",
    FactorEnrolmentStarted "factor.enrolment_started",
    FactorAdded "factor.added",
    FactorRenamed "factor.renamed",
    FactorRemoved "factor.removed",
    FactorRefused "factor.refused",
    LoggedIn "session.logged_in",
    LogInChallenged "session.log_in_challenged",
    LogInFailed "session.log_in_failed",
    AuthenticatedAgain "session.authenticated_again",
    RefreshDoubted "session.refresh_doubted",
    RefreshReused "session.refresh_reused",
    RefreshAhead "session.refresh_ahead",
    UserCreated "user.created",
    UserUpdated "user.updated",
    UserDeleted "user.deleted",
    UserErased "user.erased",
    UserPasswordSet "user.password_set",
    UserPasswordResetSent "user.password_reset_sent",
    UserRolesSet "user.roles_set",
    UserFactorsReset "user.factors_reset",
    UserSessionsEnded "user.sessions_ended",
    InvitationCreated "invitation.created",
    InvitationResent "invitation.resent",
    InvitationRevoked "invitation.revoked",
    InvitationAccepted "invitation.accepted",
    SessionEnded "session.ended",
    RoleCreated "role.created",
    RoleReplaced "role.replaced",
    RoleDeleted "role.deleted",
    SigningKeyRotated "key.rotated",
    SigningKeyRevoked "key.revoked",
    MasterKeyChanged "master_key.changed",
    RolePermissionsRemoved "role.permissions_removed",
    MailRetried "mail.retried",
    TestMailSent "mail.test_sent",
    ClockAccepted "clock.accepted",
    DatabaseRestored "database.restored",
    PasskeyRefused "factor.passkey_refused",
    AccessRefused "access.refused",
}

impl Kind {
    /// Returns the members of the details that name the subject: an address, or a text that the subject has chosen. A kind with such a
    /// member must be here, or the member outlives the erasure of the person.
    fn personal_details(self) -> &'static [&'static str] {
        match self {
            Self::AccountUpdated | Self::UserUpdated => &["email", "username", "name", "pending_email"],
            Self::EmailChangeRequested | Self::EmailChangeCancelled => &["pending_email"],
            Self::EmailChanged | Self::EmailChangeReverted | Self::FactorRenamed => &["before", "after"],
            Self::InvitationCreated | Self::InvitationRevoked => &["email"],
            _ => &[],
        }
    }
}

/// What replaces the name of a person who was erased. No username and no address looks like it.
pub const ERASED: &str = "(erased)";

/// Returns the texts in the details of an event that name its subject.
pub(super) fn personal_texts(event: &audit_event::Model) -> Vec<&str> {
    let mut texts = Vec::new();
    let mut values: Vec<_> = personal_details(&event.kind).iter().filter_map(|member| event.details.0.get(member)).collect();
    while let Some(value) = values.pop() {
        match value {
            Value::String(text) => texts.push(text.as_str()),
            Value::Object(members) => values.extend(members.values()),
            _ => {}
        }
    }
    texts
}

/// Returns the addresses and usernames that the subject of an event, a user, had before the change that it records or afterwards.
pub(super) fn names_of_subject(event: &audit_event::Model) -> impl Iterator<Item = &str> {
    let changes: &[&str] = match Kind::ALL.iter().find(|kind| kind.name() == event.kind) {
        Some(Kind::AccountUpdated | Kind::UserUpdated) => &["/email", "/username"],
        Some(Kind::EmailChanged | Kind::EmailChangeReverted) => &[""],
        _ => &[],
    };
    let members = changes.iter().flat_map(|change| ["before", "after"].map(|member| format!("{change}/{member}")));
    let changed = members.filter_map(|member| event.details.0.pointer(&member)?.as_str());
    event.subject_name.as_deref().into_iter().chain(changed)
}

/// Returns the details of an event without what names its subject; `None` if they name nobody.
pub(super) fn without_personal_texts(event: &audit_event::Model) -> Option<JsonText> {
    fn erase(value: &mut Value) {
        match value {
            Value::String(text) => ERASED.clone_into(text),
            Value::Object(members) => members.values_mut().for_each(erase),
            _ => {}
        }
    }
    let mut details = event.details.clone();
    for member in personal_details(&event.kind) {
        details.0.get_mut(member).map(erase);
    }
    (details != event.details).then_some(details)
}

fn personal_details(kind: &str) -> &'static [&'static str] {
    Kind::ALL.iter().find(|known| known.name() == kind).map_or(&[], |kind| kind.personal_details())
}

/// The actor of an event.
#[derive(Debug, Clone)]
pub struct Actor {
    /// The account; `None` for the operator, for a caller who is not logged in, and for the service itself.
    pub id: Option<UserId>,
    /// A copy of the username or e-mail address, which outlives the account until the person is erased.
    pub name: Option<String>,
    /// The session of the action.
    pub session: Option<SessionId>,
}

impl Actor {
    /// A caller who is not logged in, or the service itself.
    pub const NONE: Self = Self { id: None, name: None, session: None };

    /// The operator, who runs commands on the server.
    pub fn operator() -> Self {
        Self { name: Some("operator".into()), ..Self::NONE }
    }

    /// An account, and the session of the action.
    pub fn account(user: &user::Model, session: Option<SessionId>) -> Self {
        Self { id: Some(user.id), name: Some(name_of(user)), session }
    }
}

/// Returns the username, or the e-mail address of a user without one.
fn name_of(user: &user::Model) -> String {
    user.username.clone().unwrap_or_else(|| user.email.clone())
}

/// An event before it is recorded: its kind, its subject and its details.
#[derive(Debug, Clone)]
pub struct Event {
    kind: Kind,
    subject: Option<(&'static str, String, Option<String>)>,
    details: Value,
}

impl Event {
    /// An event without a subject.
    pub fn of(kind: Kind) -> Self {
        Self { kind, subject: None, details: json!({}) }
    }

    /// An event whose subject is an account.
    pub fn on_user(kind: Kind, user: &user::Model) -> Self {
        Self { subject: Some(("user", user.id.to_string(), Some(name_of(user)))), ..Self::of(kind) }
    }

    /// An event whose subject is an account whose person was erased.
    pub fn on_erased_user(kind: Kind, user: UserId) -> Self {
        Self { subject: Some(("user", user.to_string(), Some(ERASED.to_owned()))), ..Self::of(kind) }
    }

    /// An event whose subject is a role.
    pub fn on_role(kind: Kind, name: &RoleName) -> Self {
        Self { subject: Some(("role", name.to_string(), None)), ..Self::of(kind) }
    }

    /// An event whose subject is an invitation.
    pub fn on_invitation(kind: Kind, id: InvitationId) -> Self {
        Self { subject: Some(("invitation", id.to_string(), None)), ..Self::of(kind) }
    }

    /// An event whose subject is a mail.
    pub fn on_mail(kind: Kind, id: MailId) -> Self {
        Self { subject: Some(("mail", id.to_string(), None)), ..Self::of(kind) }
    }

    /// An event whose subject is a signing key.
    pub fn on_key(kind: Kind, id: &str) -> Self {
        Self { subject: Some(("key", id.to_owned(), None)), ..Self::of(kind) }
    }

    /// Adds the details: a JSON object without secrets.
    #[must_use]
    pub fn with(self, details: Value) -> Self {
        Self { details, ..self }
    }
}

/// Writes an event in the transaction of its change. If this fails, the change fails too.
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
        address: Set(source.address.map(|address| address.to_string())),
        session_id: Set(actor.session),
        request_id: Set(source.request_id),
        details: Set(JsonText(event.details)),
    };
    audit_event::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}

/// The events to list. An absent member does not filter.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// The actor.
    pub actor: Option<UserId>,
    /// The id of the subject.
    pub subject: Option<SubjectId>,
    /// The kind.
    pub kind: Option<Kind>,
    /// The earliest time.
    pub from: Option<DateTime<Utc>>,
    /// The end of the time range, which is not part of it.
    pub to: Option<DateTime<Utc>>,
}

/// Returns a page of events, newest first.
///
/// # Errors
/// A fault of `cursor`.
pub async fn list(app: &App, filter: &Filter, paging: &Paging) -> Result<Slice<audit_event::Model>> {
    const LIST: &str = "audit events";
    let mut condition = Condition::all()
        .add_option(filter.actor.map(|actor| audit_event::COLUMN.actor_id.eq(actor)))
        .add_option(filter.subject.as_ref().map(|subject| audit_event::COLUMN.subject_id.eq(subject.as_str())))
        .add_option(filter.kind.map(|kind| audit_event::COLUMN.kind.eq(kind.name())));
    // Ids sort by time, so bounds of the id let every index serve the time range.
    if let Some(from) = filter.from {
        condition = condition.add(audit_event::COLUMN.id.gte(EventId::first_of(from))).add(audit_event::COLUMN.at.gte(from));
    }
    if let Some(to) = filter.to {
        let beyond = EventId::first_of(to + TimeDelta::milliseconds(1));
        condition = condition.add(audit_event::COLUMN.id.lt(beyond)).add(audit_event::COLUMN.at.lt(to));
    }
    if let Some(id) = paging.position::<EventId>(app, LIST)? {
        condition = condition.add(audit_event::COLUMN.id.lt(id));
    }
    let query = audit_event::Entity::find().filter(condition).order_by_desc(audit_event::COLUMN.id).limit(paging.rows());
    Ok(paging.slice(app, LIST, query.all(app.db.read()).await?, |event| event.id))
}

/// Writes the denials by guards whose minute is over at `now`: one event for each caller, operation and minute. If this
/// fails, the denials are only in the log.
pub async fn write_denials(app: &App, now: DateTime<Utc>) -> Result<()> {
    let denials = app.denials.take_complete(now);
    if denials.is_empty() {
        return Ok(());
    }
    let tx = app.db.write().await?;
    for (Denial { user, operation, permission, minute }, Count { times, address }) in denials {
        let Some(user) = user::Entity::find_by_id(user).one(&tx).await? else { continue };
        let source = Source { address, ..Source::default() };
        let details = json!({ "operation": operation, "permission": permission, "count": times });
        let event = Event::on_user(Kind::AccessRefused, &user).with(details);
        record(&tx, minute, &source, Actor::account(&user, None), event).await?;
    }
    Ok(tx.commit().await?)
}

/// The number of events that one transaction deletes, so that other writers do not wait for long.
const BATCH: u64 = 2_000;

/// Deletes events older than `audit.retention`.
pub async fn purge(app: &App, trusted: TrustedReading) -> Result<()> {
    let oldest = trusted.purge_before() - app.settings.audit.retention;
    // An event that was written while the clock was far behind looks old from the start.
    if installation::Entity::row(app.db.read()).await?.behind_at.is_some_and(|behind| behind > oldest) {
        return Ok(());
    }
    let oldest = EventId::first_of(oldest);
    loop {
        let tx = app.db.write_in_background().await?;
        let old = audit_event::Entity::find().select_only().column(audit_event::Column::Id);
        let old = old.filter(audit_event::COLUMN.id.lt(oldest)).limit(BATCH);
        let ids: Vec<EventId> = old.into_tuple().all(&tx).await?;
        let deleted = ids.len() as u64;
        audit_event::Entity::delete_many().filter(audit_event::COLUMN.id.is_in(ids)).exec(&tx).await?;
        tx.commit().await?;
        if deleted < BATCH {
            return Ok(());
        }
    }
}
