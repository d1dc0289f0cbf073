//! The contract: it is committed as it is served, it is complete, and the server enforces it.

mod bounds;
mod complete;

use std::{collections::BTreeSet, fs, path::Path};

use poem::http::Method;
use serde_json::Value;
use vestibule::api::contract::{self, Access};

use crate::support::TestApp;

fn committed(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi").join(name)).unwrap()
}

#[test]
fn the_committed_contract_is_the_served_contract() {
    assert!(committed("openapi.json") == contract::text(), "run `cargo run -- openapi --write`");
    assert!(committed("access.md") == contract::matrix::render(), "run `cargo run -- openapi --write`");
}

#[test]
fn a01_every_operation_has_a_guard_or_is_on_the_public_list() {
    contract::check().unwrap();
    let ids: BTreeSet<_> = operation_ids().collect();
    assert!(contract::PUBLIC.iter().all(|id| ids.contains(*id)), "the public list names an operation that does not exist");
}

#[test]
fn operation_ids_are_camel_case_and_unique_and_each_has_one_tag_and_a_summary() {
    let ids: Vec<_> = operation_ids().collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len());
    assert!(ids.iter().all(|id| id.starts_with(|char: char| char.is_ascii_lowercase()) && id.chars().all(char::is_alphanumeric)));
    for (path, method, operation) in contract::operations(contract::document()) {
        assert_eq!(operation["tags"].as_array().unwrap().len(), 1, "{method} {path}");
        assert!(operation["summary"].as_str().is_some_and(|summary| summary.ends_with(['.', '?'])), "{method} {path}");
    }
}

#[test]
fn guarded_operations_declare_401_403_and_their_permission() {
    for (path, method, operation) in contract::operations(contract::document()) {
        let codes = |status: &str| {
            operation["responses"][status]["content"]["application/problem+json"]["schema"]["allOf"][1]["properties"]["code"]["enum"].to_string()
        };
        let (unauthorized, forbidden) = (codes("401"), codes("403"));
        match contract::access(operation) {
            Access::Public => assert!(!unauthorized.contains("missing_token"), "{method} {path}"),
            Access::Enrolling | Access::Signed => {
                assert!(unauthorized.contains("missing_token") && !forbidden.contains("insufficient"), "{method} {path}");
            }
            Access::Permission(name) => {
                assert!(
                    unauthorized.contains("missing_token") && forbidden.contains("insufficient_permission"),
                    "{method} {path}"
                );
                assert!(operation["description"].as_str().unwrap().contains(&name), "{method} {path}");
            }
        }
    }
}

#[test]
fn operations_that_can_require_another_proof_say_so() {
    for (path, method, operation) in contract::operations(contract::document()) {
        let unauthorized = &operation["responses"]["401"]["content"]["application/problem+json"]["schema"]["allOf"][1];
        let codes = unauthorized["properties"]["code"]["enum"].to_string();
        let is_fresh = contract::max_age(operation).is_some();
        let can_be_insufficient = match contract::access(operation) {
            Access::Public => false,
            Access::Enrolling => is_fresh,
            Access::Signed | Access::Permission(_) => true,
        };
        assert_eq!(codes.contains("insufficient_user_authentication"), can_be_insufficient, "{method} {path}");
        assert_eq!(operation["description"].as_str().unwrap().contains("fresh proof"), is_fresh, "{method} {path}");
    }
}

#[test]
fn the_access_matrix_has_one_row_for_each_operation_and_fits_on_a_screen() {
    let matrix = contract::matrix::render();
    let rows: Vec<_> = matrix.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(rows.iter().copied().collect::<BTreeSet<_>>(), operation_ids().collect());
    assert!(rows.len() == operation_ids().count() && matrix.lines().count() <= rows.len() + 20);
    let row = |id: &str| matrix.lines().find(|line| line.starts_with(&format!("| `{id}`"))).unwrap();
    assert!(row("createUser").contains("`roles:assign`"));
}

#[test]
fn only_throttled_operations_declare_429() {
    let throttled = contract::operations(contract::document())
        .filter(|(.., operation)| operation["responses"].get("429").is_some())
        .map(|(.., operation)| operation["operationId"].as_str().unwrap());
    let expected = [
        "acceptInvitation",
        "addPasskey",
        "authenticateAgain",
        "changePassword",
        "closeAccount",
        "completeLogIn",
        "completeSignUp",
        "confirmTotp",
        "logIn",
        "logInByPasskey",
        "readTicket",
        "refreshSession",
        "registerAccount",
        "requestPasswordReset",
        "resetPassword",
        "revertEmailChange",
        "startPasskeyLogIn",
        "startSignUp",
        "updateMe",
    ];
    assert_eq!(throttled.collect::<BTreeSet<_>>(), expected.into());
}

#[test]
fn no_schema_uses_keywords_of_openapi_3_0() {
    assert_eq!(contract::document()["openapi"], "3.1.0");
    let text = contract::text();
    for keyword in ["nullable", "writeOnly", "charset", "\"exclusiveMinimum\": true"] {
        assert!(!text.contains(keyword), "{keyword} is in the contract");
    }
}

#[tokio::test]
async fn the_contract_is_served_with_an_etag_and_a_matching_if_none_match_answers_304() {
    let app = TestApp::start().await;
    let first = app.anonymous().get("/openapi.json").await;
    assert_eq!((first.status, &first.body), (200, contract::document()));
    let headers = [("if-none-match", first.header("etag"))];
    let second = app.anonymous().send(Method::GET, "/openapi.json", &headers, poem::Body::empty()).await;
    assert_eq!((second.status, second.body), (304, Value::Null));
}

fn operation_ids() -> impl Iterator<Item = &'static str> {
    contract::operations(contract::document()).map(|(_, _, operation)| operation["operationId"].as_str().unwrap())
}
