//! Registration: which accounts may be registered, and what a registration creates.

mod names;
mod passwords;

use poem::{Body, http::Method};
use serde_json::{Value, json};
use vestibule::values::registration_mode::RegistrationMode;

use crate::{
    assert_problem,
    support::{PASSWORD, TestApp, caller::Answer},
};

/// Registers an account with this password.
async fn register_password(app: &TestApp, password: &str) -> Answer {
    app.anonymous().post("/v1/accounts", json!({ "email": "ada@example.org", "password": password })).await
}

/// Registers an account with this address.
async fn register_email(app: &TestApp, email: &str) -> Answer {
    app.anonymous().post("/v1/accounts", json!({ "email": email, "password": PASSWORD })).await
}

/// Returns whether a log-in with this identifier and password succeeds.
async fn can_log_in(app: &TestApp, identifier: &str, password: &str) -> bool {
    let answer = app.anonymous().post("/v1/sessions", json!({ "identifier": identifier, "password": password })).await;
    match answer.status {
        201 => true,
        _ => assert_problem!(answer, 401, "invalid_credentials").status == 201,
    }
}

#[tokio::test]
async fn a_registration_creates_an_active_account_with_the_role_user() {
    let app = TestApp::start().await;
    let body = json!({ "email": "Ada@Example.org", "password": PASSWORD, "username": "Ada.L", "name": " Ada Lovelace " });
    let answer = app.anonymous().post("/v1/accounts", body).await;
    assert_eq!(answer.header("location"), "/v1/me");
    let user = answer.expect(201);
    let now = &user["created_at"];
    assert!(now.as_str().unwrap().starts_with("2026-01-01T00:00:00"));
    let expected = json!({
        "id": user["id"], "email": "ada@example.org", "email_verified": false, "username": "ada.l", "name": "Ada Lovelace", "status": "active",
        "roles": ["user"], "second_factor": false, "created_at": now, "updated_at": now,
    });
    assert_eq!(user, expected);
    assert!(can_log_in(&app, "ada.l", PASSWORD).await);
}

#[tokio::test]
async fn a_registration_requires_only_an_address_and_a_password() {
    let app = TestApp::start().await;
    let user = register_email(&app, "ada@example.org").await.expect(201);
    let members: Vec<_> = user.as_object().unwrap().keys().collect();
    assert_eq!(
        members,
        ["id", "email", "email_verified", "status", "roles", "second_factor", "created_at", "updated_at"],
        "the answer must omit absent members"
    );
}

#[tokio::test]
async fn null_in_an_optional_member_of_a_create_request_means_absent() {
    let app = TestApp::start().await;
    let body = json!({ "email": "ada@example.org", "password": PASSWORD, "username": null, "name": null });
    let user = app.anonymous().post("/v1/accounts", body).await.expect(201);
    assert!(user.get("username").is_none() && user.get("name").is_none());
    let body = json!({ "identifier": "ada@example.org", "password": PASSWORD, "transport": null });
    assert!(app.anonymous().post("/v1/sessions", body).await.expect(201)["refresh_token"].is_string());
    let admin = app.admin().await;
    let body = json!({ "email": "eve@example.org", "password": null, "username": null, "name": null, "roles": null });
    assert_eq!(admin.post("/v1/users", body).await.expect(201)["roles"], json!(["user"]));
    let body = json!({ "name": "clerk", "description": null, "permissions": [] });
    assert!(admin.post("/v1/roles", body).await.expect(201).get("description").is_none());
    let body = json!({ "description": null, "permissions": [] });
    admin.put("/v1/roles/clerk", body).await.expect(200);
    let required = admin.post("/v1/roles", json!({ "name": null, "permissions": null })).await;
    assert_eq!(assert_problem!(required, 422, "validation_failed").faults(), [("/name", "type"), ("/permissions", "type")]);
}

#[tokio::test]
async fn only_in_the_mode_open_anybody_can_register() {
    for mode in [RegistrationMode::Verified, RegistrationMode::Invited, RegistrationMode::Closed] {
        let app = TestApp::start_with(|settings| settings.registration.mode = mode).await;
        let rows = app.rows().await;
        assert_problem!(register_email(&app, "ada@example.org").await, 403, "registration_closed");
        assert_eq!(app.rows().await, rows);
    }
}

#[tokio::test]
async fn every_invalid_member_is_reported_in_one_response() {
    let app = TestApp::start().await;
    let body = json!({ "email": "ada", "username": "1", "name": "", "password": "short", "age": 36 });
    let answer = assert_problem!(app.anonymous().post("/v1/accounts", body).await, 422, "validation_failed");
    let faults = answer.faults();
    for expected in [
        ("/email", "format"),
        ("/username", "too_short"),
        ("/name", "too_short"),
        ("/password", "too_short"),
        ("/age", "unknown_member"),
    ] {
        assert!(faults.contains(&expected), "{expected:?} is not among {faults:?}");
    }
    let answer = assert_problem!(app.anonymous().post("/v1/accounts", json!({})).await, 422, "validation_failed");
    assert_eq!(answer.faults(), [("/email", "required"), ("/password", "required")]);
    let body = json!({ "email": 1, "username": true, "name": [], "password": null, "age": null });
    let answer = assert_problem!(app.anonymous().post("/v1/accounts", body).await, 422, "validation_failed");
    let expected =
        [("/age", "unknown_member"), ("/email", "type"), ("/name", "type"), ("/password", "type"), ("/username", "type")];
    assert_eq!(answer.faults(), expected);
}

#[tokio::test]
async fn of_concurrent_registrations_of_one_address_exactly_one_succeeds() {
    let app = TestApp::start().await;
    let answers = tokio::join!(
        register_email(&app, "ada@example.org"),
        register_email(&app, "ADA@example.org"),
        register_email(&app, "Ada@EXAMPLE.org"),
    );
    let mut answers = [answers.0.status, answers.1.status, answers.2.status];
    answers.sort_unstable();
    assert_eq!(answers, [201, 409, 409]);
    assert_eq!(app.rows().await["users"], 2);
}

/// Members that neither a registration nor an update of one's own account may set, and a value for each.
pub const FORBIDDEN_MEMBERS: [(&str, &str); 9] = [
    ("role", r#""admin""#),
    ("roles", r#"["admin"]"#),
    ("status", r#""active""#),
    ("id", r#""0198c5e0-0000-7000-8000-000000000000""#),
    ("epoch", "7"),
    ("password_hash", r#""hs384:$2b$04$""#),
    ("is_admin", "true"),
    ("__proto__", "{}"),
    ("Email", r#""eve@example.org""#),
];

#[tokio::test]
async fn p06_a_registration_that_sets_any_other_member_of_an_account_is_rejected() {
    let app = TestApp::start().await;
    let rows = app.rows().await;
    for (member, value) in FORBIDDEN_MEMBERS {
        let mut body = json!({ "email": "ada@example.org", "password": PASSWORD });
        body[member] = serde_json::from_str::<Value>(value).unwrap();
        let answer = assert_problem!(app.anonymous().post("/v1/accounts", body).await, 422, "validation_failed");
        assert_eq!(answer.faults(), [(format!("/{member}").as_str(), "unknown_member")]);
    }
    assert_eq!(app.rows().await, rows);
}

#[tokio::test]
async fn p06_a_repeated_member_is_rejected() {
    let app = TestApp::start().await;
    let rows = app.rows().await;
    for body in [
        format!(r#"{{"email":"ada@example.org","email":"eve@example.org","password":"{PASSWORD}"}}"#),
        format!(r#"{{"email":"ada@example.org","\u0065mail":"eve@example.org","password":"{PASSWORD}"}}"#),
        format!(r#"{{"email":"ada@example.org","password":"{PASSWORD}","password":"{PASSWORD}"}}"#),
        r#"{"email":"ada@example.org","password":{"a":1,"a":2}}"#.to_owned(),
    ] {
        let json = [("content-type", "application/json")];
        let answer = app.anonymous().send(Method::POST, "/v1/accounts", &json, Body::from_string(body)).await;
        assert_problem!(answer, 400, "malformed_request");
    }
    assert_eq!(app.rows().await, rows);
}

#[tokio::test]
async fn a08_a_registration_is_audited_without_its_password() {
    let app = TestApp::start().await;
    let answer = register_email(&app, "ada@example.org").await;
    let request_id = answer.header("x-request-id").to_owned();
    let id = answer.expect(201)["id"].clone();
    let event = app.event("account.registered").await;
    assert_eq!(event.actor_id.unwrap().to_string(), id);
    assert_eq!(event.actor_name.as_deref(), Some("ada@example.org"));
    assert_eq!(event.subject_type.as_deref(), Some("user"));
    assert_eq!(event.subject_id.as_deref(), id.as_str());
    assert_eq!(event.request_id.unwrap().to_string(), request_id);
    assert!(!format!("{:?}", app.events().await).contains(PASSWORD));
}

#[tokio::test]
async fn a08_invalid_requests_write_nothing_to_the_database() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    let rows = app.rows().await;
    let json = [("content-type", "application/json")];
    for caller in [app.anonymous(), app.bearer("garbage"), ada] {
        for (method, path) in [
            (Method::POST, "/v1/accounts"),
            (Method::POST, "/v1/sessions"),
            (Method::PATCH, "/v1/me"),
            (Method::DELETE, "/v1/me"),
            (Method::PUT, "/v1/me/password"),
            (Method::GET, "/v1/users?limit=0"),
            (Method::GET, "/v1/users/1"),
            (Method::GET, "/nowhere"),
        ] {
            for body in ["", "{", "[]", "null", "{\"identifier\":1}", "\u{0}", &"[".repeat(100)] {
                let answer = caller.send(method.clone(), path, &json, Body::from_string(body.into())).await;
                assert!((400..500).contains(&answer.status), "{method} {path} {body}: {}", answer.status);
            }
            let answer = caller.send(method.clone(), path, &[], Body::from_vec(vec![0xff; 70_000])).await;
            assert!((400..500).contains(&answer.status), "{method} {path}: {}", answer.status);
        }
    }
    assert_eq!(app.rows().await, rows);
}

#[tokio::test]
async fn a_registration_under_hashing_overload_is_rejected_and_writes_nothing() {
    let app = TestApp::with_one_hashing_thread().await;
    let rows = app.rows().await;
    let busy = app.fill_hashing_queue().await;
    let answer = assert_problem!(register_email(&app, "ada@example.org").await, 503, "overloaded");
    assert_eq!(answer.header("retry-after"), "2");
    assert_eq!(app.rows().await, rows);
    drop(busy);
    app.until_idle().await;
    register_email(&app, "ada@example.org").await.expect(201);
}
