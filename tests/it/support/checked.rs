//! Checks responses against the contract: a test fails if the contract does not allow the status, media type, headers or body.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock, Mutex},
};

use jsonschema::Validator;
use poem::{
    Response,
    http::{HeaderMap, Method},
};
use serde_json::{Map, Value, json};
use vestibule::api::contract;

use super::caller::Answer;

/// Reads a response. Panics if the contract does not allow it.
pub async fn answer(method: &Method, path: &str, response: Response) -> Answer {
    let (parts, body) = response.into_parts();
    let bytes = body.into_bytes().await.unwrap();
    let media_type = parts.headers.get("content-type").map(|value| value.to_str().unwrap());
    let body = match media_type {
        Some(media_type) if media_type.contains("json") && !bytes.is_empty() => serde_json::from_slice(&bytes).unwrap(),
        _ => Value::Null,
    };
    let answer = Answer { status: parts.status.as_u16(), headers: parts.headers, body };
    check_common_headers(&answer);
    match operation(method, path) {
        Some((id, operation)) if method != Method::HEAD => check_operation(id, operation, &answer),
        _ if answer.status >= 400 && method != Method::HEAD => check_problem(&answer),
        _ => {}
    }
    answer
}

/// Checks what all responses have in common (H01 and H08).
fn check_common_headers(answer: &Answer) {
    let id = answer.header("x-request-id");
    assert_eq!(id.len(), 36);
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert!(answer.header("content-security-policy").contains("default-src 'none'"));
    assert_eq!(answer.header("referrer-policy"), "no-referrer");
    assert!(answer.headers.contains_key("cache-control"));
    if answer.body["code"].is_string() {
        assert_eq!(answer.body["request_id"], id);
        assert_eq!(answer.body["status"], answer.status);
    }
    let challenges = answer.headers.get_all("www-authenticate").iter().count();
    assert!(if answer.status == 401 { challenges == 1 } else { challenges <= 1 }, "T02: {challenges} challenges");
}

fn check_problem(answer: &Answer) {
    assert_eq!(answer.header("content-type"), "application/problem+json");
    validate("Problem", || json!({ "$ref": "#/components/schemas/Problem" }), &answer.body);
}

fn check_operation(id: &str, operation: &Map<String, Value>, answer: &Answer) {
    let documented = &operation["responses"][answer.status.to_string()];
    assert!(documented.is_object(), "{id} returned {}, which the contract does not declare: {:#}", answer.status, answer.body);
    for (name, header) in documented["headers"].as_object().into_iter().flatten() {
        let Some(value) = answer.headers.get(name.to_lowercase()).map(|value| value.to_str().unwrap()) else {
            assert!(header["required"] != true, "{id} {} lacks {name}", answer.status);
            continue;
        };
        let number = (header["schema"]["type"] == "integer").then(|| value.parse::<u64>().unwrap());
        validate(name, || header["schema"].clone(), &number.map_or_else(|| value.into(), Value::from));
    }
    match documented["content"].as_object().and_then(|content| content.iter().next()) {
        Some((media_type, content)) => {
            assert_eq!(answer.header("content-type"), media_type, "{id}");
            validate(&format!("{id} {}", answer.status), || content["schema"].clone(), &answer.body);
        }
        None => assert!(answer.body.is_null() && !has_length(&answer.headers), "{id} {} has a body", answer.status),
    }
}

fn has_length(headers: &HeaderMap) -> bool {
    headers.get("content-length").is_some_and(|length| length != "0")
}

fn validate(name: &str, schema: impl FnOnce() -> Value, value: &Value) {
    static COMPILED: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);
    let compile = || {
        let schema = json!({ "allOf": [schema()], "components": { "schemas": *CLOSED } });
        Arc::new(jsonschema::options().should_validate_formats(true).build(&schema).unwrap())
    };
    let validator = Arc::clone(COMPILED.lock().unwrap().entry(name.to_owned()).or_insert_with(compile));
    let errors: Vec<_> = validator.iter_errors(value).map(|error| format!("{error} at {}", error.instance_path())).collect();
    assert!(errors.is_empty(), "{name}: {errors:#?}\n{value:#}");
}

/// The schemas of the contract, closed: a response has no member that its schema does not name.
static CLOSED: LazyLock<Value> = LazyLock::new(|| {
    let mut schemas = contract::document()["components"]["schemas"].clone();
    for schema in schemas.as_object_mut().unwrap().values_mut().filter(|schema| schema["properties"].is_object()) {
        schema["additionalProperties"] = false.into();
    }
    schemas
});

/// Returns the id and the description of the operation that a request calls.
pub fn operation(method: &Method, path: &str) -> Option<(&'static str, &'static Map<String, Value>)> {
    let operations = || contract::operations(contract::document());
    // A path without parameters takes precedence (OpenAPI 3.1, "Path Templating Matching").
    let is_concrete = operations().any(|(template, ..)| template == path);
    let fits = |template: &str| {
        let (wanted, given): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
        let fits = |wanted: &str, given: &str| wanted == given || !is_concrete && wanted.starts_with('{') && !given.is_empty();
        wanted.len() == given.len() && wanted.iter().zip(given).all(|(wanted, given)| fits(wanted, given))
    };
    operations()
        .find(|(template, verb, _)| verb.eq_ignore_ascii_case(method.as_str()) && fits(template))
        .map(|(_, _, operation)| (operation["operationId"].as_str().unwrap(), operation))
}
