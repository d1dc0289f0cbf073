//! The audit trail.

use poem::{Request, web::Data};
use poem_openapi::{
    Object, OpenApi,
    registry::{MetaSchema, MetaSchemaRef},
    types::{ParseFromJSON, ParseResult, ToJSON},
};
use serde::Serialize;
use serde_json::Value;
use serde_with::skip_serializing_none;
use uuid::Uuid;

use super::{
    Tag,
    guard::Allowed,
    http::{
        codes::operation_codes,
        params::{Faults, Param},
        reply::{Page, Reply},
        words::{Time, TimeBound, typed},
    },
};
use crate::{
    app::App,
    domain::audit::{self, Filter, Kind},
    entity::audit_event,
    values::{
        ids::UserId,
        permission::ReadAudit,
        query::{Cursor, Limit, SubjectId},
    },
};

operation_codes! {
    /// `listAuditEvents`.
    ListAuditEvents: ValidationFailed;
}

/// An event of the audit trail.
#[skip_serializing_none]
#[derive(Debug, Object, Serialize)]
#[oai(skip_serializing_if_is_none)]
struct AuditEvent {
    /// The event's id. Later events have greater ids.
    id: Uuid,
    /// When the event happened.
    at: Time,
    /// The kind of event.
    #[oai(validator(max_length = 64))]
    kind: String,
    /// Who caused the event. Absent if nobody was logged in.
    actor: Option<AuditActor>,
    /// The user or role that the event concerns.
    subject: Option<AuditSubject>,
    /// The client's address. Absent if the person was erased.
    #[oai(validator(max_length = 45))]
    address: Option<String>,
    /// The session of the request.
    session_id: Option<Uuid>,
    /// The id of the request.
    request_id: Option<Uuid>,
    /// What changed. The members depend on the kind of event.
    details: Details,
}

/// Who caused an event. The name remains when the account is deleted, until the person is erased.
#[skip_serializing_none]
#[derive(Debug, Object, Serialize)]
#[oai(skip_serializing_if_is_none)]
struct AuditActor {
    /// The account's id. Absent for the operator at the command line.
    id: Option<Uuid>,
    /// The username or e-mail address at that time; `(erased)` if the person was erased.
    #[oai(validator(max_length = 254))]
    name: String,
}

/// The user, role or signing key that an event concerns. The name remains when the account is deleted, until the person is erased.
#[skip_serializing_none]
#[derive(Debug, Object, Serialize)]
#[oai(skip_serializing_if_is_none)]
struct AuditSubject {
    /// `user`, `invitation`, `role`, `mail` or `key`.
    #[oai(rename = "type", validator(max_length = 32))]
    #[serde(rename = "type")]
    kind: String,
    /// The name of the role, or the id of any other subject.
    #[oai(validator(max_length = 64))]
    id: String,
    /// The username or e-mail address at that time; `(erased)` if the person was erased.
    #[oai(validator(max_length = 254))]
    name: Option<String>,
}

/// A JSON object whose members depend on the kind of event.
#[derive(Debug, Serialize)]
struct Details(Value);

typed!(
    Details,
    MetaSchema {
        additional_properties: Some(Box::new(MetaSchemaRef::Inline(Box::new(MetaSchema::ANY)))),
        ..MetaSchema::new("object")
    }
);

impl ToJSON for Details {
    fn to_json(&self) -> Option<Value> {
        Some(self.0.clone())
    }
}

impl ParseFromJSON for Details {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        Ok(Self(value.unwrap_or_default()))
    }
}

impl From<audit_event::Model> for AuditEvent {
    fn from(row: audit_event::Model) -> Self {
        let subject = row.subject_type.zip(row.subject_id);
        Self {
            id: row.id.into(),
            at: Time(row.at),
            kind: row.kind,
            actor: row.actor_name.map(|name| AuditActor { id: row.actor_id.map(Into::into), name }),
            subject: subject.map(|(kind, id)| AuditSubject { kind, id, name: row.subject_name }),
            address: row.address,
            session_id: row.session_id.map(Into::into),
            request_id: row.request_id,
            details: Details(row.details.0),
        }
    }
}

/// One page of events.
#[skip_serializing_none]
#[derive(Debug, Object, Serialize)]
#[oai(skip_serializing_if_is_none)]
struct AuditEventPage {
    /// The events, newest first.
    #[oai(validator(max_items = 100))]
    items: Vec<AuditEvent>,
    /// The `cursor` of the next page. Absent on the last page.
    #[oai(validator(max_length = 512))]
    next_cursor: Option<String>,
}

/// The operations on the audit trail.
pub struct AuditApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Audit")]
impl AuditApi {
    /// List audit events.
    ///
    /// The newest event comes first. Events are kept for `audit.retention`, which is a year by default.
    #[oai(path = "/audit-events", method = "get", operation_id = "listAuditEvents")]
    #[expect(clippy::too_many_arguments, reason = "each is a query parameter of the contract")]
    async fn list(
        &self,
        _caller: Allowed<ReadAudit>,
        app: Data<&App>,
        request: &Request,
        /// Only events that this user caused.
        actor: Param<UserId>,
        /// Only events that concern this user or role: the id of a user, or the name of a role.
        subject: Param<SubjectId>,
        /// Only events of this kind.
        kind: Param<Kind>,
        /// Only events at or after this time.
        from: Param<TimeBound>,
        /// Only events before this time.
        to: Param<TimeBound>,
        /// The `next_cursor` of the previous page.
        cursor: Param<Cursor>,
        /// The number of items at most.
        limit: Param<Limit>,
    ) -> Reply<Page<AuditEventPage>, ListAuditEvents> {
        let mut faults = Faults::of(request);
        let filter = Filter {
            actor: faults.take(actor),
            subject: faults.take(subject),
            kind: faults.take(kind),
            from: faults.take(from).map(|TimeBound(time)| time),
            to: faults.take(to).map(|TimeBound(time)| time),
        };
        let paging = faults.paging(cursor, limit);
        faults.none()?;
        let page = audit::list(&app, &filter, &paging).await?.map(AuditEvent::from);
        Ok(Page::new(request, page, |items, next_cursor| AuditEventPage { items, next_cursor }))
    }
}
