//! OpenAPI 3.1: poem-openapi emits 3.0 with keys of 3.1 in between. One pass over the JSON makes it what it says.

use poem::http::StatusCode;
use poem_openapi::{registry::Registry, types::Type};
use serde_json::{Map, Value, json};

use super::{access, examples, headers, operations, operations_mut};
use crate::api::http::problem::{self, Code};

/// No text may hold the character NUL, which PostgreSQL cannot store.
const NO_NUL: &str = r"^[^\x00]*$";

/// The JSON Schema one request object must satisfy, with everything it refers to.
///
/// # Panics
/// If poem-openapi's schemas did not serialise, which the tests would see.
#[must_use]
pub fn schema_of<T: Type>() -> Value {
    let mut registry = Registry::new();
    T::register(&mut registry);
    let root = serde_json::to_value(T::schema_ref()).expect("schemas serialise");
    let mut schema = json!({ "allOf": [root], "components": { "schemas": registry.schemas } });
    modernise(&mut schema);
    for object in schema["components"]["schemas"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        close(object);
    }
    schema
}

/// Completes poem-openapi's document and makes it OpenAPI 3.1.
pub(super) fn finish(mut document: Value) -> Value {
    document["openapi"] = json!("3.1.0");
    document["servers"][0]["x-internal"] = false.into();
    modernise(&mut document);
    let (mut requested, mut takes_null) = (Vec::new(), Vec::new());
    for (_, method, operation) in operations_mut(&mut document) {
        let needs = access(operation).sentence();
        let description =
            operation.get("description").and_then(Value::as_str).map_or(needs.clone(), |it| format!("{it}\n\n{needs}"));
        operation.insert("description".into(), description.into());
        operation.entry("security").or_insert_with(|| json!([]));
        // A form is left open: unknown parameters are ignored (RFC 6749 section 3.2).
        if let Some(body) = operation.get("requestBody").and_then(|it| it["content"].get("application/json")) {
            collect_references(body, &mut requested);
            if method != "patch" {
                collect_references(body, &mut takes_null);
            }
        }
        for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
            describe_parameter(parameter);
        }
        for (status, response) in operation.get_mut("responses").and_then(Value::as_object_mut).into_iter().flatten() {
            describe(status, response);
        }
    }
    // In the order in which a reader meets them, not by letter.
    let met: Vec<_> = operations(&document).map(|(_, _, operation)| operation["tags"][0].clone()).collect();
    if let Some(tags) = document["tags"].as_array_mut() {
        tags.sort_by_key(|tag| met.iter().position(|name| *name == tag["name"]));
    }
    examples::complete(&mut document["components"]["schemas"]);
    while let Some(name) = requested.pop() {
        if let Some(schema) = document["components"]["schemas"].get_mut(&name)
            && close(schema)
        {
            collect_references(&schema.clone(), &mut requested);
        }
    }
    takes_null.sort();
    takes_null.dedup();
    for name in takes_null {
        admit_null(&mut document["components"]["schemas"][name]);
    }
    document
}

/// The names of an object's members that may be absent.
pub fn optional_members(object: &Value) -> impl Iterator<Item = &str> {
    let names = object["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    names.filter(|name| !object["required"].as_array().is_some_and(|required| required.iter().any(|it| it == name)))
}

/// States that optional members may be `null`, which means that they are absent: see `Body`.
fn admit_null(object: &mut Value) {
    let names: Vec<String> = optional_members(object).map(str::to_owned).collect();
    for name in names {
        let member = &mut object["properties"][name];
        if let Some(reference) = member.as_object_mut().and_then(|it| it.shift_remove("$ref")) {
            member["anyOf"] = json!([{ "$ref": reference }, { "type": "null" }]);
        } else {
            member["type"] = json!([member["type"].take(), "null"]);
        }
    }
}

/// 3.0 spellings that poem-openapi emits, in 3.1's.
fn modernise(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(modernise),
        Value::Object(members) => {
            for bound in ["Minimum", "Maximum"] {
                if let Some(Value::Bool(exclusive)) = members.get(&format!("exclusive{bound}")).cloned() {
                    members.shift_remove(&format!("exclusive{bound}"));
                    if exclusive && let Some(limit) = members.shift_remove(&bound.to_lowercase()) {
                        members.insert(format!("exclusive{bound}"), limit);
                    }
                }
            }
            // Requests and answers share no object, so this need not be said of each member.
            members.retain(|name, value| !(matches!(name.as_str(), "readOnly" | "writeOnly") && value == &Value::Bool(true)));
            if members.get("nullable") == Some(&Value::Bool(true)) {
                members.shift_remove("nullable");
                if let Some(kind) = members.get_mut("type") {
                    *kind = json!([kind.take(), "null"]);
                }
            }
            if members.contains_key("type")
                && let Some(example) = members.shift_remove("example")
            {
                members.insert("examples".into(), json!([example]));
            }
            unwrap_reference(members);
            bound(members);
            if let Some(content) = members.get_mut("content").and_then(Value::as_object_mut) {
                *content = std::mem::take(content)
                    .into_iter()
                    .map(|(media_type, it)| (media_type.trim_end_matches("; charset=utf-8").to_owned(), it))
                    .collect();
            }
            members.values_mut().for_each(modernise);
        }
        _ => {}
    }
}

/// A reference may have a description of its own, where 3.0 had to wrap both in an `allOf`.
fn unwrap_reference(members: &mut Map<String, Value>) {
    if let Some([reference, about]) = members.get("allOf").and_then(Value::as_array).map(Vec::as_slice)
        && let Some(reference) = reference.get("$ref").cloned()
        && about.get("type").is_none()
    {
        members.shift_remove("allOf");
        members.insert("$ref".into(), reference);
    }
}

/// What is true of every text and every number, said where nothing narrower is.
fn bound(members: &mut Map<String, Value>) {
    match (members.get("type").and_then(Value::as_str), members.get("format").and_then(Value::as_str)) {
        (Some("string"), Some("uuid")) => _ = members.entry("maxLength").or_insert_with(|| 36.into()),
        (Some("string"), None) if !members.contains_key("enum") => {
            members.entry("pattern").or_insert_with(|| NO_NUL.into());
        }
        // JSON Schema has no word for it.
        (Some("integer"), Some("uint16")) => members["format"] = "int32".into(),
        _ => {}
    }
}

/// Gives a parameter what its schema says. Swagger UI fills in `example`, so an optional one keeps it in its schema.
fn describe_parameter(parameter: &mut Value) {
    let schema = &mut parameter["schema"];
    if schema["type"] == "boolean" {
        schema["examples"] = json!([true]);
    }
    let example = schema["examples"].get(0).cloned();
    let about = schema.as_object_mut().and_then(|it| it.shift_remove("description"));
    if parameter["required"] == true
        && let Some(example) = example
    {
        parameter["example"] = example;
    }
    if parameter["description"].is_null() {
        parameter["description"] = about.unwrap_or_default();
    }
}

/// Refuses members that a request object does not name. False when it was closed before.
fn close(schema: &mut Value) -> bool {
    match schema.as_object_mut() {
        Some(object) if object.contains_key("properties") && !object.contains_key("additionalProperties") => {
            object.insert("additionalProperties".into(), Value::Bool(false));
            true
        }
        _ => false,
    }
}

/// The names of all schemas that `value` refers to.
fn collect_references(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|it| collect_references(it, names)),
        Value::Object(members) => {
            if let Some(name) =
                members.get("$ref").and_then(Value::as_str).and_then(|it| it.strip_prefix("#/components/schemas/"))
            {
                names.push(name.to_owned());
            }
            members.values().for_each(|it| collect_references(it, names));
        }
        _ => {}
    }
}

/// A problem of this code as a caller might see it.
pub(super) fn problem_example(status: &str, title: &Value, code: &str) -> Value {
    let mut problem = json!({
        "type": format!("urn:problem-type:vestibule:{code}"),
        "title": title,
        "status": status.parse::<u16>().unwrap_or_default(),
        "code": code,
        "request_id": "019b76da-a800-7000-8000-5d2c8e6f1a3b",
    });
    if code == Code::InsufficientPermission.name() {
        problem["required_permission"] = json!("users:read");
        problem["granted_by"] = json!(["admin"]);
    }
    if code == Code::ValidationFailed.name() {
        problem["errors"] = json!([{ "pointer": "/email", "code": "format", "detail": "An e-mail address needs an @." }]);
    }
    problem
}

/// Gives a response the headers its status always has, and a description where it has none.
fn describe(status: &str, response: &mut Value) {
    let header = |about: &str| json!({ "description": about, "required": true });
    if response["description"] == "" {
        let reason = status.parse().ok().and_then(|code| StatusCode::from_u16(code).ok()?.canonical_reason());
        response["description"] = reason.unwrap_or("Response").into();
    }
    let codes = response["content"][problem::MEDIA_TYPE]["schema"]["allOf"][1]["properties"]["code"]["enum"].clone();
    let codes = codes.as_array().map(Vec::as_slice).unwrap_or_default();
    if let Some(code) = codes.first().and_then(Value::as_str) {
        let title = response["description"].clone();
        response["content"][problem::MEDIA_TYPE]["example"] = problem_example(status, &title, code);
    }
    let guarded = codes.contains(&json!(Code::InsufficientPermission.name()));
    let headers = &mut response["headers"];
    if headers.is_null() {
        *headers = json!({});
    }
    headers["X-Request-Id"] = header("Names this request, here and in the log.");
    if status == "401" {
        headers["WWW-Authenticate"] = header("A Bearer challenge (RFC 6750 section 3).");
    } else if guarded {
        headers["WWW-Authenticate"] = header("A Bearer challenge (RFC 6750 section 3).");
        headers["WWW-Authenticate"]["required"] = false.into();
    }
    if matches!(status, "429" | "503") {
        headers["Retry-After"] = header("Seconds to wait before trying again.");
    }
    for (name, header) in headers.as_object_mut().into_iter().flatten() {
        header["schema"] = headers::schema(name);
    }
}
