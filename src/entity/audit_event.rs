//! Audit events: who did what to whom, from where. Written once, in the transaction of the change itself.

use super::json::JsonText;
use crate::values::ids::{EventId, SessionId, UserId};
use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

/// An event. Names are copies and there are no relations: an event outlives its actor and its subject.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_events")]
pub struct Model {
    /// In the order of time.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: EventId,
    pub at: DateTime<Utc>,
    pub kind: String,
    /// Absent: nobody was logged in, or the system itself acted.
    pub actor_id: Option<UserId>,
    pub actor_name: Option<String>,
    pub subject_type: Option<String>,
    pub subject_id: Option<String>,
    pub subject_name: Option<String>,
    pub address: Option<String>,
    pub session_id: Option<SessionId>,
    pub request_id: Option<Uuid>,
    /// A JSON object; never a secret.
    pub details: JsonText,
}

impl ActiveModelBehavior for ActiveModel {}
