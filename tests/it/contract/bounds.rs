//! The server enforces every bound that the contract sets on a request. Each request here violates one bound.

use std::fmt::Write;

use poem::{Body, http::Method};
use serde_json::{Value, json};
use vestibule::api::contract;

use super::complete::{example, kind, resolved};
use crate::{
    assert_problem,
    support::{TestApp, caller::Caller},
};

#[tokio::test]
async fn every_bound_on_a_member_is_enforced_and_its_violation_is_reported() {
    let app = TestApp::start().await;
    let admin = admin_with_a_role(&app).await;
    let id = app.register("ada").await.to_string();
    let mut tried = 0;
    for (path, method, operation) in contract::operations(contract::document()) {
        let Some(schema) = operation.get("requestBody").and_then(|body| body["content"]["application/json"].get("schema")) else {
            continue;
        };
        let (schema, path) = (resolved(schema), path.replace("{id}", &id).replace("{name}", "clerk"));
        let cases = violations_of_members(schema);
        for (body, pointer, code) in cases.into_iter().chain([(json!([]), String::new(), "type")]) {
            let answer = admin.json(parse_method(method), &path, &body).await;
            assert_eq!(answer.problem(), (422, "validation_failed"), "{method} {path} accepts {body}");
            assert!(answer.faults().contains(&(&*pointer, code)), "{method} {path}: {body}: {pointer} {code}: {:#}", answer.body);
            tried += 1;
        }
    }
    assert!(tried > 200, "only {tried} violations");
}

#[tokio::test]
async fn every_bound_on_a_parameter_is_enforced() {
    let app = TestApp::start().await;
    let admin = admin_with_a_role(&app).await;
    let id = app.register("ada").await.to_string();
    let mut tried = 0;
    for (template, method, operation) in contract::operations(contract::document()) {
        let body = operation.get("requestBody").and_then(|body| example(&body["content"]["application/json"]["schema"]));
        let path = template.replace("{id}", &id).replace("{name}", "clerk");
        for parameter in operation.get("parameters").and_then(Value::as_array).into_iter().flatten() {
            let name = parameter["name"].as_str().unwrap();
            for raw in raw_violations(&parameter["schema"]) {
                let value = percent_encoded(&raw);
                let (uri, headers, status, location) = match parameter["in"].as_str().unwrap() {
                    "query" => (format!("{path}?{name}={value}"), Vec::new(), 422, Some(name)),
                    // With an empty segment it is a different path.
                    "path" if value.is_empty() => continue,
                    "path" => (template.replace(&format!("{{{name}}}"), &value), Vec::new(), 404, None),
                    _ => (path.clone(), vec![(name, "*,".repeat(raw.len()))], 400, None),
                };
                let mut headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, &**value)).collect();
                headers.extend(body.map(|_| ("content-type", "application/json")));
                let body = body.map_or(Body::empty(), |body| Body::from_string(body.to_string()));
                let answer = admin.send(parse_method(method), &uri, &headers, body).await;
                assert_eq!(answer.status, status, "{method} {uri}: {:#}", answer.body);
                assert_eq!(answer.faults().first().map(|(location, _)| *location), location, "{method} {uri}");
                tried += 1;
            }
        }
        if operation
            .get("parameters")
            .is_some_and(|parameters| parameters.as_array().unwrap().iter().any(|parameter| parameter["in"] == "query"))
        {
            let answer = admin.send(parse_method(method), &format!("{path}?no_such_parameter=1"), &[], Body::empty()).await;
            assert_eq!(answer.faults(), [("no_such_parameter", "unknown_parameter")], "{method} {path}");
        }
    }
    assert!(tried > 60, "only {tried} violations");
}

#[tokio::test]
async fn every_bound_on_a_form_is_enforced() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let send = async |path: &str, form: String| {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        admin.send(Method::POST, path, &headers, Body::from_string(form)).await
    };
    for (path, _, operation) in contract::operations(contract::document()) {
        let Some(form) = operation.get("requestBody").and_then(|body| body["content"].get("application/x-www-form-urlencoded"))
        else {
            continue;
        };
        let schema = resolved(&form["schema"]);
        for (name, member) in schema["properties"].as_object().unwrap() {
            for raw in raw_violations(member) {
                assert_problem!(send(path, format!("{name}={}", percent_encoded(&raw))).await, 400, "malformed_request");
            }
            assert_problem!(send(path, format!("{name}=a&{name}=a")).await, 400, "malformed_request");
        }
        assert_problem!(send(path, "other=a".into()).await, 400, "malformed_request");
    }
}

/// Creates the role `clerk`, and returns the administrator.
async fn admin_with_a_role(app: &TestApp) -> Caller<'_> {
    let admin = app.admin().await;
    admin.post("/v1/roles", json!({ "name": "clerk", "permissions": [] })).await.expect(201);
    admin
}

fn parse_method(method: &str) -> Method {
    method.to_uppercase().parse().unwrap()
}

/// Returns values of which each violates one bound of a member, with the pointer inside the member and the code of the fault.
fn violations(schema: &Value) -> Vec<(Value, String, &'static str)> {
    let nullable = schema["type"].is_array() || schema["anyOf"].is_array();
    let schema = resolved(schema);
    let here = |value: Value, code| (value, String::new(), code);
    let mut values = Vec::new();
    if !nullable {
        values.push(here(Value::Null, "type"));
    }
    if let Some(variants) = schema["oneOf"].as_array() {
        values.extend([here(json!("a"), "type"), here(json!([]), "type")]);
        values.push((json!({}), "/kind".into(), "required"));
        values.push((json!({ "kind": 1 }), "/kind".into(), "type"));
        values.push((json!({ "kind": "no_such_word" }), "/kind".into(), "not_allowed"));
        values.extend(variants.iter().map(resolved).flat_map(violations_of_members));
        return values;
    }
    if kind(schema) != "object" {
        values.push(here(json!({ "a": 1 }), "type"));
    }
    match kind(schema) {
        "string" => {
            values.extend([here(json!(1), "type"), here(json!("a\0a"), "not_allowed")]);
            if schema.get("enum").is_some() {
                values.push(here(json!("no_such_word"), "not_allowed"));
            }
            values.extend(longer(schema).map(|text| here(text.into(), "too_long")));
            values.extend(shorter(schema).map(|text| here(text.into(), "too_short")));
            // A wrong character in a secret is no better than a wrong secret.
            let code = match schema["format"].as_str() {
                Some("ticket-token") => "invalid_ticket",
                Some("ticket-handle" | "challenge" | "ceremony") => "format",
                _ => "pattern",
            };
            values.extend(unmatched(schema).map(|text| here(text.into(), code)));
        }
        "array" => {
            values.push(here(json!("a"), "type"));
            let limit = schema["maxItems"].as_u64().unwrap();
            let item = example(&schema["items"]).unwrap();
            values.push(here((0..=limit).map(|_| item.clone()).collect(), "too_long"));
            let items = violations(&schema["items"]).into_iter();
            values.extend(items.map(|(value, inside, code)| (json!([value]), format!("/0{inside}"), code)));
        }
        // An open object, such as what a browser returns: it has no bounds.
        "object" => values.extend([here(json!("a"), "type"), here(json!([]), "type")]),
        other => panic!("no request had a {other} so far: add values that violate its bounds"),
    }
    values
}

/// Returns examples of an object with one violation each: an unknown member, an absent one, or one that violates its bounds.
fn violations_of_members(object: &Value) -> Vec<(Value, String, &'static str)> {
    let valid = &object["examples"][0];
    let with = |name: &str, value: Value| {
        let mut body = valid.clone();
        body[name] = value;
        body
    };
    let mut cases = vec![(with("no_such_member", json!(1)), "/no_such_member".into(), "unknown_member")];
    for name in object["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        let mut body = valid.clone();
        body.as_object_mut().unwrap().remove(name);
        cases.push((body, format!("/{name}"), "required"));
    }
    for (name, member) in object["properties"].as_object().unwrap() {
        let cases_of_member = violations(member).into_iter();
        cases.extend(cases_of_member.map(|(value, inside, code)| (with(name, value), format!("/{name}{inside}"), code)));
    }
    cases
}

/// Returns texts of which each violates one bound of a parameter.
fn raw_violations(schema: &Value) -> Vec<String> {
    let schema = resolved(schema);
    let number = |bound: &str| schema[bound].as_i64();
    match kind(schema) {
        "integer" => {
            let outside = number("minimum").map(|least| least - 1).into_iter().chain(number("maximum").map(|most| most + 1));
            outside.map(|number| number.to_string()).chain(["x".into(), "1.5".into(), String::new()]).collect()
        }
        "boolean" => vec!["maybe".into(), String::new()],
        "string" if schema.get("enum").is_some() => vec!["no_such_word".into(), String::new()],
        _ => {
            let mut texts: Vec<_> = longer(schema).into_iter().chain(shorter(schema)).chain(unmatched(schema)).collect();
            match schema["format"].as_str() {
                Some("uuid") => texts.push("g".repeat(36)),
                Some("date-time") => {
                    texts.extend(["yesterday".into(), format!("2026-01-01T12:00:00.{}Z", "0".repeat(20))]);
                }
                _ => {}
            }
            texts
        }
    }
}

/// Returns a text that is longer than `maxLength` allows.
fn longer(schema: &Value) -> Option<String> {
    let limit = usize::try_from(schema["maxLength"].as_u64()?).unwrap();
    Some("a".repeat(limit + 1))
}

/// Returns a text that is shorter than `minLength` allows.
fn shorter(schema: &Value) -> Option<String> {
    let limit = usize::try_from(schema["minLength"].as_u64()?).unwrap();
    Some("a".repeat(limit.checked_sub(1)?))
}

/// Returns a text of a valid length that does not match the pattern; `None` if the pattern allows `é`.
fn unmatched(schema: &Value) -> Option<String> {
    let limit = schema["minLength"].as_u64().unwrap_or(1).max(1);
    let text = "é".repeat(usize::try_from(limit).unwrap());
    let pattern = json!({ "pattern": schema.get("pattern")? });
    (!jsonschema::is_valid(&pattern, &json!(text))).then_some(text)
}

fn percent_encoded(raw: &str) -> String {
    raw.bytes().fold(String::new(), |mut all, byte| {
        if byte.is_ascii_alphanumeric() {
            all.push(char::from(byte));
        } else {
            write!(all, "%{byte:02X}").unwrap();
        }
        all
    })
}
