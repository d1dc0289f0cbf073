//! The responses of an operation: one for each status, with every code that the operation can return under it.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
};

use poem::http::StatusCode;
use poem_openapi::{
    registry::{MetaHeader, MetaMediaType, MetaOperation, MetaResponse, MetaSchema, MetaSchemaRef},
    types::Type,
};

use super::examples;
use crate::{
    api::{
        guard::{Requirements, SCHEME},
        http::{
            codes::Code,
            declared_problem::Declared,
            problem::{MEDIA_TYPE, ProblemBody},
            reply::meta_header,
        },
    },
    values::permission::OwnPermission,
};

/// Completes an operation: its security requirement, and the responses that follow from its guard, its request and its declared
/// codes.
pub(super) fn complete(operation: &mut MetaOperation) {
    let mut successes = mem::take(&mut operation.responses.responses);
    let mut codes = Declared::take(&mut successes).codes;
    codes.extend([Code::MalformedRequest, Code::Internal, Code::Unavailable, Code::UriTooLong, Code::HeadersTooLarge]);
    if operation.request.is_some() {
        codes.extend([Code::RequestTimeout, Code::PayloadTooLarge, Code::UnsupportedMediaType]);
    }
    if let Some(guard) = Requirements::of(operation) {
        codes.extend([
            Code::MissingToken,
            Code::InvalidToken,
            Code::ExpiredToken,
            Code::SessionEnded,
            Code::StaleToken,
            Code::AuthorizationStale,
        ]);
        if guard.second_factor.is_some() || guard.is_fresh {
            codes.push(Code::InsufficientUserAuthentication);
        }
        let permissions: Vec<_> = guard.permission.map(OwnPermission::as_str).into_iter().collect();
        if !permissions.is_empty() {
            codes.push(Code::InsufficientPermission);
        }
        operation.security = vec![HashMap::from([(SCHEME, permissions)])];
    }
    let mut by_status: BTreeMap<u16, Vec<Code>> = BTreeMap::new();
    for code in codes {
        let codes = by_status.entry(code.status()).or_default();
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    let problems = by_status.into_iter().map(|(status, codes)| problem(status, &codes));
    let mut responses: Vec<_> = successes.into_iter().map(success).chain(problems).collect();
    responses.sort_by_key(|response| response.status);
    operation.responses.responses = responses;
}

/// Adds to a response what every success has.
fn success(mut response: MetaResponse) -> MetaResponse {
    response.description = reason(response.status.unwrap_or_default());
    response.headers.push(request_id());
    response
}

/// The response of this status whose code is one of `codes`.
fn problem(status: u16, codes: &[Code]) -> MetaResponse {
    let code = MetaSchema { enum_items: codes.iter().map(|code| code.name().into()).collect(), ..MetaSchema::new("string") };
    let number = MetaSchema {
        enum_items: vec![status.into()],
        minimum: Some(status.into()),
        maximum: Some(status.into()),
        ..MetaSchema::new_with_format("integer", "int32")
    };
    let members = MetaSchema {
        properties: vec![("code", MetaSchemaRef::Inline(Box::new(code))), ("status", MetaSchemaRef::Inline(Box::new(number)))],
        ..MetaSchema::new("object")
    };
    let schema = MetaSchema {
        all_of: vec![ProblemBody::schema_ref(), MetaSchemaRef::Inline(Box::new(members))],
        example: codes.first().map(|code| examples::problem(*code, reason(status))),
        ..MetaSchema::ANY
    };
    let mut headers = vec![request_id()];
    if status == 401 {
        headers.push(challenge(true));
    } else if codes.contains(&Code::InsufficientPermission) {
        headers.push(challenge(false));
    }
    if matches!(status, 429 | 503) {
        headers.push(meta_header("Retry-After", "Seconds to wait before the next attempt.", true));
    }
    MetaResponse {
        description: reason(status),
        status: Some(status),
        status_range: None,
        content: vec![MetaMediaType { content_type: MEDIA_TYPE, schema: MetaSchemaRef::Inline(Box::new(schema)) }],
        headers,
    }
}

fn reason(status: u16) -> &'static str {
    StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or("Response")
}

fn request_id() -> MetaHeader {
    meta_header("X-Request-Id", "The id of the request, which the log repeats.", true)
}

fn challenge(required: bool) -> MetaHeader {
    meta_header("WWW-Authenticate", "A bearer challenge (RFC 6750 section 3).", required)
}
