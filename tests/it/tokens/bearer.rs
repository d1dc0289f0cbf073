//! How a request carries its token, and the challenges in the responses.

use poem::{Body, http::Method};
use serde_json::{Value, json};
use vestibule::api::contract::{self, Access};

use super::assert_invalid;

use crate::{
    assert_problem,
    support::{PASSWORD, TestApp, clock::minutes},
};

#[tokio::test]
async fn t01_the_scheme_is_bearer_in_any_letter_case() {
    let app = TestApp::start().await;
    let token = app.user("ada").await.token.unwrap();
    for scheme in ["Bearer", "bearer", "BEARER", "bEaReR", "Bearer ", "Bearer   "] {
        let header = format!("{scheme} {token}");
        app.anonymous().send(Method::GET, "/v1/me", &[("authorization", &header)], Body::empty()).await.expect(200);
    }
    for (header, code) in [
        ("Basic YWRhOnNlY3JldA==", "missing_token"),
        (&format!("Basic {token}"), "missing_token"),
        (&format!("Bearer:{token}"), "missing_token"),
        ("Basic", "missing_token"),
        ("", "missing_token"),
        ("Bearer", "invalid_token"),
        ("Bearer ", "invalid_token"),
        (&format!("Bearer\t{token}"), "missing_token"),
        (&format!("Bearer {token} {token}"), "invalid_token"),
        (&format!("Bearer {token}, Bearer {token}"), "invalid_token"),
        (&format!("Bearer \"{token}\""), "invalid_token"),
        ("Bearer é", "invalid_token"),
    ] {
        let answer = app.anonymous().send(Method::GET, "/v1/me", &[("authorization", header)], Body::empty()).await;
        assert_eq!(answer.problem(), (401, code), "{header}");
    }
}

#[tokio::test]
async fn t01_a_token_outside_the_authorization_header_is_ignored() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    let (token, anonymous) = (ada.token.clone().unwrap(), app.anonymous());
    for name in ["access_token", "token", "authorization", "Authorization"] {
        assert_problem!(anonymous.get(&format!("/v1/me?{name}={token}")).await, 401, "missing_token");
        let cookie = format!("{name}={token}");
        assert_problem!(anonymous.send(Method::GET, "/v1/me", &[("cookie", &cookie)], Body::empty()).await, 401, "missing_token");
        let form = [("content-type", "application/x-www-form-urlencoded")];
        assert_problem!(anonymous.send(Method::PATCH, "/v1/me", &form, Body::from_string(cookie)).await, 401, "missing_token");
    }
    // A second token elsewhere does not affect the first one either.
    ada.get("/v1/me?access_token=garbage").await.expect(200);
}

#[tokio::test]
async fn t01_two_authorization_headers_are_ambiguous() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    for second in [ada.token.as_deref().map(|token| format!("Bearer {token}")).unwrap().as_str(), "Bearer x", "Basic x", ""] {
        let answer = ada.send(Method::GET, "/v1/me", &[("authorization", second)], Body::empty()).await;
        let answer = assert_problem!(answer, 400, "malformed_request");
        assert!(!answer.headers.contains_key("www-authenticate"));
    }
}

#[tokio::test]
async fn t02_every_401_has_one_challenge_that_reveals_no_more_than_it_should() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    let anonymous = app.anonymous().get("/v1/me").await;
    assert_eq!(anonymous.header("www-authenticate"), r#"Bearer realm="vestibule""#);
    assert_invalid("garbage", &app.bearer("garbage").get("/v1/me").await);

    app.clock.advance(minutes(15));
    let expired = assert_problem!(ada.get("/v1/me").await, 401, "expired_token");
    let challenge = r#"Bearer realm="vestibule", error="invalid_token", error_description="The access token has expired.""#;
    assert_eq!(expired.header("www-authenticate"), challenge);

    let wrong = app.anonymous().post("/v1/sessions", json!({ "identifier": "ada", "password": "wrong" })).await;
    assert_eq!(wrong.header("www-authenticate"), r#"Bearer realm="vestibule""#);
}

#[tokio::test]
async fn t03_a_guards_403_names_the_permission_and_the_roles_that_grant_it() {
    let app = TestApp::start().await;
    app.holding("clerk", &["users:read"]).await;
    let ada = app.user("ada").await;
    let answer = assert_problem!(ada.get("/v1/users").await, 403, "insufficient_permission");
    let challenge = r#"Bearer realm="vestibule", error="insufficient_scope", scope="users:read""#;
    assert_eq!(answer.header("www-authenticate"), challenge);
    assert_eq!(answer.body["required_permission"], "users:read");
    assert_eq!(answer.body["granted_by"], json!(["admin", "role-clerk"]));
}

#[tokio::test]
async fn t14_a_public_operation_ignores_authorization() {
    let app = TestApp::start().await;
    let ada = app.client("ada").await;
    app.clock.advance(minutes(16));
    assert_problem!(ada.caller().get("/v1/me").await, 401, "expired_token");
    let expired = format!("Bearer {}", ada.access);
    for (number, headers) in [
        vec![("authorization", expired.as_str())],
        vec![("authorization", "Bearer garbage")],
        vec![("authorization", "Bearer ")],
        vec![("authorization", "Basic YWRhOnNlY3JldA==")],
        vec![("authorization", "é")],
        vec![("authorization", "Bearer x"), ("authorization", "Bearer y")],
    ]
    .into_iter()
    .enumerate()
    {
        for (path, method, operation) in contract::operations(contract::document()) {
            if contract::access(operation) != Access::Public {
                continue;
            }
            let (body, status) = match path {
                "/v1/sessions" => (json!({ "identifier": "ada", "password": PASSWORD }), 201),
                "/v1/sessions/refresh" => (json!({ "refresh_token": ada.refresh }), 200),
                "/v1/sessions/second-factor" => {
                    (json!({ "challenge": "unknown", "factor": { "kind": "totp", "code": "123456" } }), 422)
                }
                "/v1/sessions/passkey" => (json!({ "ceremony": "unknown", "credential": {} }), 422),
                // The service of this test has no host name.
                "/v1/passkeys/options" => (json!({}), 403),
                "/v1/sessions/end" => (json!({ "refresh_token": "unknown" }), 204),
                "/v1/accounts" => (json!({ "email": format!("user{number}@example.org"), "password": PASSWORD }), 201),
                "/v1/password-resets" => (json!({ "identifier": "ada" }), 202),
                "/v1/password-resets/complete" => {
                    (json!({ "proof": { "kind": "link", "token": "unknown" }, "new_password": PASSWORD }), 422)
                }
                "/v1/email-changes/revert" => (json!({ "token": "unknown", "new_password": PASSWORD }), 422),
                // Only in the mode `verified`.
                "/v1/sign-ups" => (json!({ "email": "new@example.org" }), 403),
                "/v1/sign-ups/complete" => {
                    (json!({ "proof": { "kind": "link", "token": "unknown" }, "password": PASSWORD }), 422)
                }
                "/v1/invitations/accept" => (json!({ "token": "unknown", "password": PASSWORD }), 422),
                "/v1/tickets/read" => (json!({ "token": "unknown" }), 422),
                _ => (Value::Null, 200),
            };
            let headers: Vec<_> = headers.iter().copied().chain([("content-type", "application/json")]).collect();
            let method: Method = method.to_uppercase().parse().unwrap();
            app.anonymous().send(method, path, &headers, Body::from_string(body.to_string())).await.expect(status);
        }
    }
}
