//! The contract as a judge: no test sees an answer whose status, media type, headers or body the contract does not allow.

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

/// Reads an answer, and fails the test if the contract does not allow it.
pub async fn answer(method: &Method, path: &str, response: Response) -> Answer {
    let (parts, body) = response.into_parts();
    let bytes = body.into_bytes().await.unwrap();
    let media_type = parts.headers.get("content-type").map(|it| it.to_str().unwrap());
    let body = match media_type {
        Some(it) if it.contains("json") && !bytes.is_empty() => serde_json::from_slice(&bytes).unwrap(),
        _ => Value::Null,
    };
    let answer = Answer { status: parts.status.as_u16(), headers: parts.headers, body };
    what_every_answer_has(&answer);
    match operation(method, path) {
        Some((id, operation)) if method != Method::HEAD => check(id, operation, &answer),
        _ if answer.status >= 400 && method != Method::HEAD => is_problem(&answer),
        _ => {}
    }
    answer
}

/// Rows H01 and H08.
fn what_every_answer_has(answer: &Answer) {
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

fn is_problem(answer: &Answer) {
    assert_eq!(answer.header("content-type"), "application/problem+json");
    validate("Problem", || json!({ "$ref": "#/components/schemas/Problem" }), &answer.body);
}

fn check(id: &str, operation: &Map<String, Value>, answer: &Answer) {
    let documented = &operation["responses"][answer.status.to_string()];
    assert!(documented.is_object(), "{id} answered {}, which the contract does not know: {:#}", answer.status, answer.body);
    for (name, header) in documented["headers"].as_object().into_iter().flatten() {
        let Some(value) = answer.headers.get(name.to_lowercase()).map(|it| it.to_str().unwrap()) else {
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
    headers.get("content-length").is_some_and(|it| it != "0")
}

fn validate(name: &str, schema: impl FnOnce() -> Value, value: &Value) {
    static COMPILED: LazyLock<Mutex<HashMap<String, Arc<Validator>>>> = LazyLock::new(Mutex::default);
    let compile = || {
        let schema = json!({ "allOf": [schema()], "components": { "schemas": *CLOSED } });
        Arc::new(jsonschema::options().should_validate_formats(true).build(&schema).unwrap())
    };
    let validator = Arc::clone(COMPILED.lock().unwrap().entry(name.to_owned()).or_insert_with(compile));
    let errors: Vec<_> = validator.iter_errors(value).map(|it| format!("{} at {}", it, it.instance_path())).collect();
    assert!(errors.is_empty(), "{name}: {errors:#?}\n{value:#}");
}

/// The contract's schemas, closed: an answer has no member that is not in it.
static CLOSED: LazyLock<Value> = LazyLock::new(|| {
    let mut schemas = contract::document()["components"]["schemas"].clone();
    for schema in schemas.as_object_mut().unwrap().values_mut().filter(|it| it["properties"].is_object()) {
        schema["additionalProperties"] = false.into();
    }
    schemas
});

/// The operation that a request names.
pub fn operation(method: &Method, path: &str) -> Option<(&'static str, &'static Map<String, Value>)> {
    let fits = |template: &str| {
        let (wanted, given): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
        wanted.len() == given.len()
            && wanted.iter().zip(given).all(|(wanted, given)| *wanted == given || wanted.starts_with('{') && !given.is_empty())
    };
    contract::operations(contract::document())
        .find(|(template, verb, _)| verb.eq_ignore_ascii_case(method.as_str()) && fits(template))
        .map(|(_, _, operation)| (operation["operationId"].as_str().unwrap(), operation))
}
