//! Nothing is left to guess: what every operation, schema and header of the contract says. A new one that says less fails.

use std::collections::{BTreeMap, BTreeSet};

use jsonschema::Validator;
use serde_json::{Map, Value, json};
use vestibule::{
    api::contract::{self, Access},
    values::permission,
};

const PROBLEM: &str = "application/problem+json";

#[test]
fn every_operation_says_what_it_is_under_one_tag_that_is_described_too() {
    let tags: BTreeMap<_, _> =
        array(&contract::document()["tags"]).map(|it| (text(&it["name"]), text(&it["description"]))).collect();
    for (id, operation) in operations() {
        let tag = array(&operation["tags"]).map(text).collect::<Vec<_>>();
        assert!(tag.len() == 1 && tags[tag[0]].ends_with('.'), "{id}");
        assert!(text(&operation["description"]).ends_with('.'), "{id}");
        for parameter in array(operation.get("parameters").unwrap_or(&Value::Null)) {
            assert!(text(&parameter["description"]).ends_with('.'), "{id} {}", parameter["name"]);
        }
        for (status, answer) in members(&operation["responses"]) {
            assert!(!text(&answer["description"]).is_empty(), "{id} {status}");
        }
    }
}

#[test]
fn every_operation_says_who_may_call_it() {
    for (id, operation) in operations() {
        assert!(operation["security"].is_array(), "{id}");
        match contract::access(operation) {
            Access::Public => assert_eq!(operation["security"], json!([]), "{id}"),
            Access::Signed => assert_eq!(operation["security"], json!([{ "BearerAuth": [] }]), "{id}"),
            Access::Permission(name) => assert!(permission::ALL.iter().any(|(known, _)| *known == name), "{id}: {name}"),
        }
    }
}

#[test]
fn everything_sent_and_answered_has_an_example_that_fits_its_schema() {
    for (id, operation) in operations() {
        let request = operation.get("requestBody").into_iter().flat_map(|it| members(&it["content"]));
        let answers = members(&operation["responses"]).flat_map(|(_, answer)| members(&answer["content"]));
        for (media_type, content) in request.chain(answers) {
            let example = content.get("example").or_else(|| example(&content["schema"]));
            fits(&format!("{id}: {media_type}"), &content["schema"], example);
        }
        let parameters = array(operation.get("parameters").unwrap_or(&Value::Null));
        let headers = members(&operation["responses"]).flat_map(|(_, answer)| members(&answer["headers"]).map(|(_, it)| it));
        for it in parameters.chain(headers) {
            fits(&format!("{id}: {it}"), &it["schema"], example(&it["schema"]));
        }
    }
}

#[test]
fn every_text_list_and_number_has_an_end() {
    let mut seen = 0;
    each_schema(|at, schema| {
        let has = |bounds: &[&str]| bounds.iter().all(|it| schema.get(*it).is_some());
        match kind(schema) {
            "string" => assert!(has(&["enum"]) || has(&["maxLength"]) && (has(&["pattern"]) || has(&["format"])), "{at}"),
            "array" => assert!(has(&["items", "maxItems"]), "{at}"),
            "integer" => assert!(has(&["minimum", "maximum", "format"]), "{at}"),
            "object" | "boolean" => {}
            _ => assert!(has(&["$ref"]) || has(&["allOf"]) || has(&["anyOf"]), "{at}"),
        }
        seen += 1;
    });
    assert!(seen > 500, "{seen}");
}

#[test]
fn every_enum_has_a_name_but_for_the_literals_of_a_status() {
    each_schema(|at, schema| {
        let named = at.strip_prefix("/components/schemas/").is_some_and(|it| !it.contains('/'));
        let literal = ["code", "status"].iter().any(|it| at.ends_with(&format!("/allOf/1/properties/{it}")));
        assert!(schema.get("enum").is_none() || named || literal, "{at}");
    });
}

#[test]
fn requests_are_closed_and_answers_are_without_nulls() {
    for (id, operation) in operations() {
        // Other parameters of a form are ignored (RFC 6749 section 3.2).
        let request = operation.get("requestBody").map_or(&Value::Null, |it| &it["content"]["application/json"]["schema"]);
        for name in reachable(request) {
            let schema = component(name);
            assert!(kind(schema) != "object" || schema["additionalProperties"] == false, "{id}: {name} is open");
        }
        for (status, answer) in members(&operation["responses"]) {
            for name in members(&answer["content"]).flat_map(|(_, content)| reachable(&content["schema"])) {
                let (schema, at) = (component(name), format!("{id} {status}: {name}"));
                assert!(!schema.to_string().contains("\"null\""), "{at} has nulls");
                let required: BTreeSet<_> = array(&schema["required"]).map(text).collect();
                assert!(kind(schema) != "object" || !required.is_empty(), "{at} may be empty");
                assert!(required.iter().all(|it| schema["properties"].get(it).is_some()), "{at} requires what it has not");
            }
        }
    }
}

#[test]
fn every_refusal_is_a_problem_with_the_codes_of_its_status_and_each_code_has_one_status() {
    let mut statuses: BTreeMap<&str, &str> = BTreeMap::new();
    for (id, operation) in operations() {
        for (status, answer) in members(&operation["responses"]).filter(|(status, _)| status.starts_with(['4', '5'])) {
            assert_eq!(members(&answer["content"]).map(|(media_type, _)| media_type).collect::<Vec<_>>(), [PROBLEM], "{id}");
            let literals = &answer["content"][PROBLEM]["schema"]["allOf"][1]["properties"];
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
fn every_answer_names_its_headers() {
    for (id, operation) in operations() {
        for (status, answer) in members(&operation["responses"]) {
            let required = |name: &str| answer["headers"][name]["required"] == true;
            assert!(required("X-Request-Id"), "{id} {status}");
            assert_eq!(required("WWW-Authenticate"), status == "401", "{id} {status}");
            assert_eq!(required("Retry-After"), matches!(status, "429" | "503"), "{id} {status}");
            assert!(members(&answer["headers"]).all(|(_, it)| text(&it["description"]).ends_with('.')), "{id} {status}");
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
    value.as_object().into_iter().flatten().map(|(name, it)| (name.as_str(), it))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// The JSON type of what fits, beside `null`.
pub fn kind(schema: &Value) -> &str {
    schema["type"].as_str().or_else(|| schema["type"][0].as_str()).unwrap_or_default()
}

fn component(name: &str) -> &'static Value {
    &contract::document()["components"]["schemas"][name]
}

/// The schema itself, where this one only refers to it, perhaps beside `null`.
pub fn resolved(schema: &Value) -> &Value {
    let schema = schema["anyOf"].get(0).unwrap_or(schema);
    schema["$ref"].as_str().and_then(|it| it.strip_prefix("#/components/schemas/")).map_or(schema, |name| component(name))
}

/// An example of what fits; one of an enum's words is one.
pub fn example(schema: &Value) -> Option<&Value> {
    let schema = resolved(schema);
    schema["examples"].get(0).or_else(|| schema["enum"].get(0))
}

fn fits(what: &str, schema: &Value, example: Option<&Value>) {
    let example = example.unwrap_or_else(|| panic!("{what} has no example"));
    let schema = json!({ "allOf": [schema], "components": contract::document()["components"] });
    let validator: Validator = jsonschema::options().should_validate_formats(true).build(&schema).unwrap();
    let errors: Vec<_> = validator.iter_errors(example).map(|it| it.to_string()).collect();
    assert!(errors.is_empty(), "{what}: {errors:?}");
}

/// The names of all components that a schema leads to.
fn reachable(schema: &Value) -> BTreeSet<&str> {
    let (mut names, mut next) = (BTreeSet::new(), vec![schema]);
    while let Some(value) = next.pop() {
        match value {
            Value::Array(items) => next.extend(items),
            Value::Object(all) => {
                if let Some(name) = value["$ref"].as_str().and_then(|it| it.strip_prefix("#/components/schemas/"))
                    && names.insert(name)
                {
                    next.push(component(name));
                }
                next.extend(all.values());
            }
            _ => {}
        }
    }
    names
}

/// Calls `check` with every schema of the document, and where it stands.
fn each_schema(mut check: impl FnMut(&str, &Value)) {
    let document = contract::document();
    let mut next: Vec<(String, &Value)> = Vec::new();
    let mut places = vec![(String::from("/paths"), &document["paths"])];
    while let Some((at, value)) = places.pop() {
        match value {
            Value::Array(items) => places.extend(items.iter().enumerate().map(|(index, it)| (format!("{at}/{index}"), it))),
            Value::Object(all) => {
                for (name, it) in all {
                    let list = if name == "schema" { &mut next } else { &mut places };
                    list.push((format!("{at}/{name}"), it));
                }
            }
            _ => {}
        }
    }
    next.extend(members(&document["components"]["schemas"]).map(|(name, it)| (format!("/components/schemas/{name}"), it)));
    while let Some((at, schema)) = next.pop() {
        check(&at, schema);
        next.extend(members(&schema["properties"]).map(|(name, it)| (format!("{at}/properties/{name}"), it)));
        next.extend(array(&schema["allOf"]).enumerate().map(|(index, it)| (format!("{at}/allOf/{index}"), it)));
        next.extend(schema.get("items").map(|it| (format!("{at}/items"), it)));
    }
}
