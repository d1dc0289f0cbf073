//! The audit trail, for those who may read it.

use poem::{Request, web::Data};
use poem_openapi::{
    Object, OpenApi,
    registry::{MetaSchema, MetaSchemaRef},
    types::{ParseFromJSON, ParseResult, ToJSON},
};
use serde_json::Value;
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

/// Something that happened.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct AuditEvent {
    /// Names the event; later events have greater ids.
    id: Uuid,
    /// When it happened.
    at: Time,
    /// What happened.
    #[oai(validator(max_length = 64))]
    kind: String,
    /// Who did it; absent where nobody was signed in.
    actor: Option<AuditActor>,
    /// What it was done to.
    subject: Option<AuditSubject>,
    /// The client's address.
    #[oai(validator(max_length = 45))]
    address: Option<String>,
    /// The session it was done in.
    session_id: Option<Uuid>,
    /// The request that did it.
    request_id: Option<Uuid>,
    /// What changed; which members there are depends on the kind.
    details: Details,
}

/// Who acted, by a name that outlives the account.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct AuditActor {
    /// The account; absent for the operator at the command line.
    id: Option<Uuid>,
    /// The username or e-mail address at that time.
    #[oai(validator(max_length = 254))]
    name: String,
}

/// What was acted on, by a name that outlives it.
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct AuditSubject {
    /// `user` or `role`.
    #[oai(rename = "type", validator(max_length = 32))]
    kind: String,
    /// The id of the user, or the name of the role.
    #[oai(validator(max_length = 64))]
    id: String,
    /// The username or e-mail address at that time.
    #[oai(validator(max_length = 254))]
    name: Option<String>,
}

/// A JSON object whose members depend on the kind of event.
#[derive(Debug)]
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
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct AuditEventPage {
    /// The events, newest first.
    #[oai(validator(max_items = 100))]
    items: Vec<AuditEvent>,
    /// Send it back as `cursor` for the next page; absent on the last.
    #[oai(validator(max_length = 512))]
    next_cursor: Option<String>,
}

/// The operations on the audit trail.
pub struct AuditApi;

#[OpenApi(prefix_path = "/v1", tag = "Tag::Audit")]
impl AuditApi {
    /// List audit events.
    ///
    /// Newest first. Events are kept for `audit.retention`, a year by default.
    #[oai(path = "/audit-events", method = "get", operation_id = "listAuditEvents")]
    #[expect(clippy::too_many_arguments, reason = "each is a query parameter of the contract")]
    async fn list(
        &self,
        _caller: Allowed<ReadAudit>,
        app: Data<&App>,
        request: &Request,
        /// Only what this user did.
        actor: Param<UserId>,
        /// Only what was done to this: the id of a user, or the name of a role.
        subject: Param<SubjectId>,
        /// Only this kind.
        kind: Param<Kind>,
        /// Not before this time.
        from: Param<TimeBound>,
        /// Before this time.
        to: Param<TimeBound>,
        /// `next_cursor` of the page before.
        cursor: Param<Cursor>,
        /// How many items at most.
        limit: Param<Limit>,
    ) -> Reply<Page<AuditEventPage>, ListAuditEvents> {
        let mut faults = Faults::of(request);
        let filter = Filter {
            actor: faults.take(actor),
            subject: faults.take(subject),
            kind: faults.take(kind),
            from: faults.take(from).map(|it| it.0),
            to: faults.take(to).map(|it| it.0),
        };
        let paging = faults.paging(cursor, limit);
        faults.none()?;
        let page = audit::list(&app, &filter, &paging).await?.map(AuditEvent::from);
        Ok(Page::new(request, page, |items, next_cursor| AuditEventPage { items, next_cursor }))
    }
}
