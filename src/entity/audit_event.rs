//! Audit events. A row is written once, in the transaction of the change that it records.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

use super::json::JsonText;
use crate::values::ids::{EventId, SessionId, UserId};

/// An event. It outlives its actor and its subject: names are copies, and there are no relations.
#[sea_orm::model]
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "audit_events")]
pub struct Model {
    /// Ids sort by time.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: EventId,
    pub at: DateTime<Utc>,
    pub kind: String,
    /// Absent if the actor is the operator, a caller who is not logged in, or the service itself.
    pub actor_id: Option<UserId>,
    pub actor_name: Option<String>,
    pub subject_type: Option<String>,
    pub subject_id: Option<String>,
    pub subject_name: Option<String>,
    pub address: Option<String>,
    pub session_id: Option<SessionId>,
    pub request_id: Option<Uuid>,
    /// A JSON object without secrets.
    pub details: JsonText,
}

impl ActiveModelBehavior for ActiveModel {}
