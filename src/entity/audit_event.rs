//! Audit events. A row is written once, in the transaction of the change that it records. Only the erasure of a person changes it.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveValue::Set, QueryOrder, QuerySelect, Select, entity::prelude::*};

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

/// The maximum number of events that [`Entity::page`] returns.
pub const PAGE: u64 = 1_000;

impl Entity {
    /// Selects the events of which a user is the actor.
    pub fn by_user(user: UserId) -> Select<Self> {
        Self::find().filter(COLUMN.actor_id.eq(user))
    }

    /// Selects the events of which a user is the subject.
    pub fn on_user(user: UserId) -> Select<Self> {
        Self::find().filter(COLUMN.subject_id.eq(user.to_string()))
    }

    /// Returns events between two ids, at most [`PAGE`], of callers at an address who were not logged in and named no account.
    pub async fn of_nobody(
        conn: &impl ConnectionTrait,
        address: &str,
        (from, until): (EventId, EventId),
    ) -> Result<Vec<EventId>, DbErr> {
        let nobody = Self::find().select_only().column(Column::Id).filter(COLUMN.actor_id.is_null());
        let nobody = nobody.filter(COLUMN.subject_id.is_null()).filter(COLUMN.address.eq(address));
        nobody.filter(COLUMN.id.gte(from)).filter(COLUMN.id.lt(until)).limit(PAGE).into_tuple().all(conn).await
    }

    /// Returns the first [`PAGE`] selected events after this one, oldest first.
    pub async fn page(selected: Select<Self>, conn: &impl ConnectionTrait, last: Option<EventId>) -> Result<Vec<Model>, DbErr> {
        let selected = match last {
            Some(last) => selected.filter(COLUMN.id.gt(last)),
            None => selected,
        };
        selected.order_by_asc(COLUMN.id).limit(PAGE).all(conn).await
    }

    /// Writes columns of these events again.
    pub async fn rewrite(
        tx: &impl ConnectionTrait,
        ids: impl IntoIterator<Item = EventId>,
        row: ActiveModel,
    ) -> Result<(), DbErr> {
        Self::update_many().set(row).filter(COLUMN.id.is_in(ids)).exec(tx).await.map(drop)
    }
}

impl ActiveModel {
    /// Sets the actor's name, and removes the address, which is the actor's.
    pub fn with_actor_name(name: &str) -> Self {
        Self { actor_name: Set(Some(name.to_owned())), ..Self::without_address() }
    }

    /// Sets the subject's name.
    pub fn with_subject_name(name: &str) -> Self {
        Self { subject_name: Set(Some(name.to_owned())), ..Default::default() }
    }

    /// Sets the details.
    pub fn with_details(details: JsonText) -> Self {
        Self { details: Set(details), ..Default::default() }
    }

    /// Removes the address.
    pub fn without_address() -> Self {
        Self { address: Set(None), ..Default::default() }
    }
}
