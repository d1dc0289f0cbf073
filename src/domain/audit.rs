//! The audit trail: who did what to whom, written in the transaction of the change itself. A change whose event
//! cannot be written does not happen. No event holds a secret.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, DatabaseTransaction, EntityTrait};
use serde_json::{Value, json};

use super::origin::Origin;
use crate::{
    entity::{audit_event, json::JsonText, user},
    error::Result,
    values::ids::{EventId, SessionId, UserId},
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
    UserCreated "user.created",
    UserUpdated "user.updated",
    UserDeleted "user.deleted",
    UserPasswordSet "user.password_set",
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
    pub const NOBODY: Self = Self { id: None, name: None, session: None };

    /// Whoever has a shell on the server.
    #[must_use]
    pub fn operator() -> Self {
        Self { name: Some("operator".into()), ..Self::NOBODY }
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
pub async fn record(tx: &DatabaseTransaction, now: DateTime<Utc>, origin: &Origin, actor: Actor, event: Event) -> Result<()> {
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
        address: Set(origin.address.map(|it| it.to_string())),
        session_id: Set(actor.session),
        request_id: Set(origin.request_id),
        details: Set(JsonText(event.details)),
    };
    audit_event::Entity::insert(row).exec_without_returning(tx).await?;
    Ok(())
}
