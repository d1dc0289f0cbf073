//! The JSON Schema of request objects. poem-openapi emits schemas of OpenAPI 3.0 with some keys of 3.1; one pass turns them
//! into schemas of 3.1, which are JSON Schema.

use std::mem;

use poem_openapi::{registry::Registry, types::Type};
use serde_json::{Map, Value, json};

/// No text may hold the character NUL, which PostgreSQL cannot store.
const NO_NUL: &str = r"^[^\x00]*$";

/// Returns the JSON Schema that a request object of type `T` must satisfy, with every schema to which it refers.
pub fn schema_of<T: Type>() -> Value {
    let mut registry = Registry::new();
    T::register(&mut registry);
    let root = serde_json::to_value(T::schema_ref()).expect("a schema of poem-openapi can be written as JSON");
    let mut schema = json!({ "allOf": [root], "components": { "schemas": registry.schemas } });
    modernise(&mut schema);
    for object in schema["components"]["schemas"].as_object_mut().into_iter().flat_map(Map::values_mut) {
        close(object);
    }
    schema
}

/// The names of an object's optional members.
pub fn optional_members(object: &Value) -> impl Iterator<Item = &str> {
    let names = object["properties"].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    names.filter(|name| {
        let mut required = object["required"].as_array().into_iter().flatten();
        !required.any(|required| required == name)
    })
}

/// Makes a request object reject members that it does not name.
pub fn close(schema: &mut Value) {
    if let Some(object) = schema.as_object_mut().filter(|object| object.contains_key("properties")) {
        object.entry("additionalProperties").or_insert(Value::Bool(false));
    }
}

/// Replaces what OpenAPI 3.0 spells in another way than 3.1, everywhere in `value`.
pub fn modernise(value: &mut Value) {
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
            // No object is used both in requests and in responses, so the direction of a member is clear.
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
                *content = mem::take(content)
                    .into_iter()
                    .map(|(media_type, body)| (media_type.trim_end_matches("; charset=utf-8").to_owned(), body))
                    .collect();
            }
            members.values_mut().for_each(modernise);
        }
        _ => {}
    }
}

/// In 3.1 a reference may have a description of its own. 3.0 had to wrap both in an `allOf`.
fn unwrap_reference(members: &mut Map<String, Value>) {
    if let Some([reference, description]) = members.get("allOf").and_then(Value::as_array).map(Vec::as_slice)
        && let Some(reference) = reference.get("$ref").cloned()
        && description.get("type").is_none()
    {
        members.shift_remove("allOf");
        members.insert("$ref".into(), reference);
    }
}

/// Adds the bounds that hold for every text and every number, where a schema states nothing narrower.
fn bound(members: &mut Map<String, Value>) {
    match (members.get("type").and_then(Value::as_str), members.get("format").and_then(Value::as_str)) {
        (Some("string"), Some("uuid")) => _ = members.entry("maxLength").or_insert_with(|| 36.into()),
        (Some("string"), None) if !members.contains_key("enum") => {
            members.entry("pattern").or_insert_with(|| NO_NUL.into());
        }
        // OpenAPI's registry of formats has no `uint16`.
        (Some("integer"), Some("uint16")) => members["format"] = "int32".into(),
        _ => {}
    }
}
