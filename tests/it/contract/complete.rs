//! The contract is complete: every operation, schema and header has its descriptions, examples and bounds. A new one without
//! them fails these tests.

use std::collections::{BTreeMap, BTreeSet};

use jsonschema::Validator;
use serde_json::{Map, Value, json};
use vestibule::{
    api::contract::{self, Access},
    values::permission,
};

const PROBLEM: &str = "application/problem+json";

#[test]
fn every_operation_is_described_and_has_one_tag_that_is_described() {
    let tags: BTreeMap<_, _> =
        array(&contract::document()["tags"]).map(|tag| (text(&tag["name"]), text(&tag["description"]))).collect();
    for (id, operation) in operations() {
        let tag = array(&operation["tags"]).map(text).collect::<Vec<_>>();
        assert!(tag.len() == 1 && tags[tag[0]].ends_with('.'), "{id}");
        assert!(text(&operation["description"]).ends_with('.'), "{id}");
        for parameter in array(operation.get("parameters").unwrap_or(&Value::Null)) {
            assert!(text(&parameter["description"]).ends_with('.'), "{id} {}", parameter["name"]);
        }
        for (status, response) in members(&operation["responses"]) {
            assert!(!text(&response["description"]).is_empty(), "{id} {status}");
        }
    }
}

#[test]
fn every_operation_declares_who_may_call_it() {
    for (id, operation) in operations() {
        assert!(operation["security"].is_array(), "{id}");
        match contract::access(operation) {
            Access::Public => assert_eq!(operation["security"], json!([]), "{id}"),
            Access::Enrolling | Access::Signed => assert_eq!(operation["security"], json!([{ "BearerAuth": [] }]), "{id}"),
            Access::Permission(name) => assert!(permission::ALL.iter().any(|(known, _)| *known == name), "{id}: {name}"),
        }
    }
}

#[test]
fn every_body_parameter_and_header_has_an_example_that_fits_its_schema() {
    for (id, operation) in operations() {
        let request = operation.get("requestBody").into_iter().flat_map(|body| members(&body["content"]));
        let responses = members(&operation["responses"]).flat_map(|(_, response)| members(&response["content"]));
        for (media_type, content) in request.chain(responses) {
            let example = content.get("example").or_else(|| example(&content["schema"]));
            assert_fits(&format!("{id}: {media_type}"), &content["schema"], example);
        }
        let parameters = array(operation.get("parameters").unwrap_or(&Value::Null));
        let headers =
            members(&operation["responses"]).flat_map(|(_, response)| members(&response["headers"]).map(|(_, header)| header));
        for value in parameters.chain(headers) {
            assert_fits(&format!("{id}: {value}"), &value["schema"], example(&value["schema"]));
        }
    }
}

#[test]
fn every_string_array_and_integer_is_bounded() {
    let mut count = 0;
    each_schema(|at, schema| {
        let has = |bounds: &[&str]| bounds.iter().all(|bound| schema.get(*bound).is_some());
        match kind(schema) {
            "string" => assert!(has(&["enum"]) || has(&["maxLength"]) && (has(&["pattern"]) || has(&["format"])), "{at}"),
            "array" => assert!(has(&["items", "maxItems"]), "{at}"),
            "integer" => assert!(has(&["minimum", "maximum", "format"]), "{at}"),
            "object" | "boolean" => {}
            _ => assert!(["$ref", "allOf", "anyOf", "oneOf"].iter().any(|key| has(&[*key])), "{at}"),
        }
        count += 1;
    });
    assert!(count > 500, "only {count} schemas");
}

#[test]
fn every_enum_is_a_named_schema_except_the_codes_of_a_status() {
    each_schema(|at, schema| {
        let named = at.strip_prefix("/components/schemas/").is_some_and(|name| !name.contains('/'));
        let literal = ["code", "status"].iter().any(|member| at.ends_with(&format!("/allOf/1/properties/{member}")));
        assert!(schema.get("enum").is_none() || named || literal, "{at}");
    });
}

#[test]
fn request_objects_are_closed_and_responses_have_no_nulls() {
    for (id, operation) in operations() {
        // Forms are open: other parameters are ignored (RFC 6749 section 3.2).
        let request = operation.get("requestBody").map_or(&Value::Null, |body| &body["content"]["application/json"]["schema"]);
        // A passkey is open, too: browsers decide what they return.
        for name in reachable(request).into_iter().filter(|name| *name != "PasskeyCredential") {
            let schema = component(name);
            assert!(kind(schema) != "object" || schema["additionalProperties"] == false, "{id}: {name} is open");
        }
        for (status, response) in members(&operation["responses"]) {
            for name in members(&response["content"]).flat_map(|(_, content)| reachable(&content["schema"])) {
                let (schema, at) = (component(name), format!("{id} {status}: {name}"));
                assert!(!schema.to_string().contains("\"null\""), "{at} has nulls");
                let required: BTreeSet<_> = array(&schema["required"]).map(text).collect();
                assert!(kind(schema) != "object" || !required.is_empty(), "{at} may be empty");
                assert!(
                    required.iter().all(|name| schema["properties"].get(name).is_some()),
                    "{at} requires a member that it does not have"
                );
            }
        }
    }
}

#[test]
fn every_error_response_is_a_problem_with_the_codes_of_its_status_and_each_code_has_one_status() {
    let mut statuses: BTreeMap<&str, &str> = BTreeMap::new();
    for (id, operation) in operations() {
        for (status, response) in members(&operation["responses"]).filter(|(status, _)| status.starts_with(['4', '5'])) {
            assert_eq!(members(&response["content"]).map(|(media_type, _)| media_type).collect::<Vec<_>>(), [PROBLEM], "{id}");
            let literals = &response["content"][PROBLEM]["schema"]["allOf"][1]["properties"];
            assert_eq!(literals["status"]["enum"], json!([status.parse::<u16>().unwrap()]), "{id} {status}");
            let codes: Vec<_> = array(&literals["code"]["enum"]).map(text).collect();
            assert!(!codes.is_empty() && codes.iter().collect::<BTreeSet<_>>().len() == codes.len(), "{id} {status}: {codes:?}");
            for code in codes {
                assert_eq!(*statuses.entry(code).or_insert(status), status, "{id}: {code}");
            }
        }
    }
}

#[test]
fn every_response_declares_its_headers() {
    for (id, operation) in operations() {
        for (status, response) in members(&operation["responses"]) {
            let required = |name: &str| response["headers"][name]["required"] == true;
            assert!(required("X-Request-Id"), "{id} {status}");
            assert_eq!(required("WWW-Authenticate"), status == "401", "{id} {status}");
            assert_eq!(required("Retry-After"), matches!(status, "429" | "503"), "{id} {status}");
            assert!(
                members(&response["headers"]).all(|(_, header)| text(&header["description"]).ends_with('.')),
                "{id} {status}"
            );
        }
    }
}

fn operations() -> impl Iterator<Item = (&'static str, &'static Map<String, Value>)> {
    contract::operations(contract::document()).map(|(.., operation)| (text(&operation["operationId"]), operation))
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn members(value: &Value) -> impl Iterator<Item = (&str, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, member)| (name.as_str(), member))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Returns the JSON type of the values that a schema allows, other than `null`.
pub fn kind(schema: &Value) -> &str {
    schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap_or_default()
}

fn component(name: &str) -> &'static Value {
    &contract::document()["components"]["schemas"][name]
}

/// Returns the component that a schema refers to, also where the schema allows `null` too; otherwise the schema itself.
pub fn resolved(schema: &Value) -> &Value {
    let schema = schema["anyOf"].get(0).unwrap_or(schema);
    schema["$ref"]
        .as_str()
        .and_then(|reference| reference.strip_prefix("#/components/schemas/"))
        .map_or(schema, |name| component(name))
}

/// Returns a value that the schema allows: its first example, or the first value of its enum.
pub fn example(schema: &Value) -> Option<&Value> {
    let schema = resolved(schema);
    schema["examples"].get(0).or_else(|| schema["enum"].get(0))
}

fn assert_fits(what: &str, schema: &Value, example: Option<&Value>) {
    let example = example.unwrap_or_else(|| panic!("{what} has no example"));
    let schema = json!({ "allOf": [schema], "components": contract::document()["components"] });
    let validator: Validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    let errors: Vec<_> = validator.iter_errors(example).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{what}: {errors:?}");
}

/// Returns the names of all components that a schema refers to, directly or through others.
fn reachable(schema: &Value) -> BTreeSet<&str> {
    let (mut names, mut pending) = (BTreeSet::new(), vec![schema]);
    while let Some(value) = pending.pop() {
        match value {
            Value::Array(items) => pending.extend(items),
            Value::Object(all) => {
                if let Some(name) = value["$ref"].as_str().and_then(|reference| reference.strip_prefix("#/components/schemas/"))
                    && names.insert(name)
                {
                    pending.push(component(name));
                }
                pending.extend(all.values());
            }
            _ => {}
        }
    }
    names
}

/// Calls `check` with the JSON pointer of every schema of the document, and with the schema.
fn each_schema(mut check: impl FnMut(&str, &Value)) {
    let document = contract::document();
    let mut schemas: Vec<(String, &Value)> = Vec::new();
    let mut pending = vec![(String::from("/paths"), &document["paths"])];
    while let Some((at, value)) = pending.pop() {
        match value {
            Value::Array(items) => pending.extend(items.iter().enumerate().map(|(index, item)| (format!("{at}/{index}"), item))),
            Value::Object(all) => {
                for (name, member) in all {
                    let list = if name == "schema" { &mut schemas } else { &mut pending };
                    list.push((format!("{at}/{name}"), member));
                }
            }
            _ => {}
        }
    }
    schemas.extend(
        members(&document["components"]["schemas"]).map(|(name, schema)| (format!("/components/schemas/{name}"), schema)),
    );
    while let Some((at, schema)) = schemas.pop() {
        check(&at, schema);
        schemas.extend(members(&schema["properties"]).map(|(name, member)| (format!("{at}/properties/{name}"), member)));
        schemas.extend(array(&schema["allOf"]).enumerate().map(|(index, part)| (format!("{at}/allOf/{index}"), part)));
        schemas.extend(schema.get("items").map(|items| (format!("{at}/items"), items)));
    }
}
