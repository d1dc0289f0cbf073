//! The last pass over the document: poem-openapi emits OpenAPI 3.0 with some keys of 3.1, and this makes it 3.1.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::{declarations, examples, headers, operations, operations_mut};
use crate::api::http::schema::{close, modernise, optional_members};

/// Completes poem-openapi's document and makes it OpenAPI 3.1.
pub(super) fn finish(mut document: Value) -> Value {
    document["openapi"] = json!("3.1.0");
    document["servers"][0]["x-internal"] = false.into();
    modernise(&mut document);
    let (mut requested, mut takes_null) = (Vec::new(), Vec::new());
    for (_, method, operation) in operations_mut(&mut document) {
        let id = operation.get("operationId").and_then(Value::as_str).unwrap_or_default();
        let declaration = &declarations()[id];
        let needs = declaration.sentence();
        let description = operation.get("description").and_then(Value::as_str);
        let description = description.map_or(needs.clone(), |description| format!("{description}\n\n{needs}"));
        operation.insert("description".into(), description.into());
        operation.entry("security").or_insert_with(|| json!([]));
        declaration.extend(operation);
        // A form stays open, because unknown parameters are ignored (RFC 6749 section 3.2).
        if let Some(body) = operation.get("requestBody").and_then(|request| request["content"].get("application/json")) {
            collect_references(body, &mut requested);
            if method != "patch" {
                collect_references(body, &mut takes_null);
            }
        }
        for parameter in operation.get_mut("parameters").and_then(Value::as_array_mut).into_iter().flatten() {
            describe_parameter(parameter);
        }
        let responses = operation.get_mut("responses").and_then(Value::as_object_mut);
        responses.into_iter().flat_map(Map::values_mut).for_each(describe_response);
    }
    // poem-openapi sorts the tags by name. Sort them in the order of the operations.
    let order: Vec<_> = operations(&document).map(|(_, _, operation)| operation["tags"][0].clone()).collect();
    if let Some(tags) = document["tags"].as_array_mut() {
        tags.sort_by_key(|tag| order.iter().position(|name| *name == tag["name"]));
    }
    examples::complete(&mut document["components"]["schemas"]);
    let mut closed = BTreeSet::new();
    while let Some(name) = requested.pop() {
        if let Some(schema) = document["components"]["schemas"].get_mut(&name)
            && closed.insert(name)
        {
            close(schema);
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

/// Allows `null` for optional members. It means that the member is absent: see `Body`.
fn admit_null(object: &mut Value) {
    let names: Vec<String> = optional_members(object).map(str::to_owned).collect();
    for name in names {
        let member = &mut object["properties"][name];
        if let Some(reference) = member.as_object_mut().and_then(|member| member.shift_remove("$ref")) {
            member["anyOf"] = json!([{ "$ref": reference }, { "type": "null" }]);
        } else {
            member["type"] = json!([member["type"].take(), "null"]);
        }
    }
}

/// Moves the description of a parameter's schema to the parameter, and copies the example of a required parameter. Swagger UI
/// fills in that example, so an optional parameter has none.
fn describe_parameter(parameter: &mut Value) {
    let schema = &mut parameter["schema"];
    if schema["type"] == "boolean" {
        schema["examples"] = json!([true]);
    }
    let example = schema["examples"].get(0).cloned();
    let description = schema.as_object_mut().and_then(|schema| schema.shift_remove("description"));
    if parameter["required"] == true
        && let Some(example) = example
    {
        parameter["example"] = example;
    }
    if parameter["description"].is_null() {
        parameter["description"] = description.unwrap_or_default();
    }
}

/// Adds to `names` the names of the schemas to which `value` refers.
fn collect_references(value: &Value, names: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect_references(item, names)),
        Value::Object(members) => {
            if let Some(name) =
                members.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix("#/components/schemas/"))
            {
                names.push(name.to_owned());
            }
            members.values().for_each(|member| collect_references(member, names));
        }
        _ => {}
    }
}

/// Completes a response: its example, which poem-openapi can only place in the schema, and the schemas of its headers.
fn describe_response(response: &mut Value) {
    for body in response.get_mut("content").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut) {
        if let Some(example) = body["schema"].as_object_mut().and_then(|schema| schema.shift_remove("example")) {
            body["example"] = example;
        }
    }
    for (name, header) in response.get_mut("headers").and_then(Value::as_object_mut).into_iter().flatten() {
        if let Some(header) = header.as_object_mut().filter(|header| header["deprecated"] == false) {
            header.shift_remove("deprecated");
        }
        header["schema"] = headers::schema(name);
    }
}
