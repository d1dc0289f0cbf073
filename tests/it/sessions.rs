//! Log-in: who may log in, what a log-in returns, and what a failed log-in reveals.

mod changes;
mod stored_hash;
mod work;

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};
use vestibule::{
    app::App,
    domain::{
        authority::By,
        credentials,
        users::{self, Change},
    },
    entity::user::Status,
    values::{ids::UserId, password_hash::PasswordHash},
};

use crate::{
    assert_problem,
    support::{PASSWORD, TestApp, caller::Answer},
};

const WRONG: &str = "wrong horse battery staple";

async fn log_in(app: &TestApp, identifier: &str, password: &str) -> Answer {
    app.anonymous().post("/v1/sessions", json!({ "identifier": identifier, "password": password })).await
}

async fn disable(app: &TestApp, id: UserId) {
    set_status(app, id, Status::Disabled).await;
}

async fn set_status(app: &TestApp, id: UserId, status: Status) {
    let change = Change { status: Some(status), ..Change::default() };
    users::update(&app.app, By::Operator, id, change, None).await.unwrap();
}

/// Returns the hash of `PASSWORD` at this cost, with this app's pepper, as another process on the same database would store it.
async fn hashed(app: &TestApp, cost: u32) -> PasswordHash {
    let mut settings = app.app.settings.clone();
    settings.password.bcrypt_cost = cost;
    let other = App::open(settings, app.app.clock.clone()).await.unwrap();
    credentials::hash(&other, &PASSWORD.parse().unwrap()).await.unwrap()
}

#[tokio::test]
async fn s10_a_log_in_by_address_or_username_returns_tokens_that_may_not_be_cached() {
    let app = TestApp::start().await;
    let id = app.register("ada").await;
    for identifier in ["ada", "ADA", "ada@example.org", "Ada@Example.org"] {
        let answer = log_in(&app, identifier, PASSWORD).await;
        assert_eq!(answer.header("cache-control"), "no-store");
        let tokens = answer.expect(201);
        assert_eq!(tokens["token_type"], "Bearer");
        assert_eq!(tokens["expires_in"], 900);
        assert_eq!(tokens["refresh_expires_in"], 30 * 24 * 3600);
        let token = app.bearer(tokens["access_token"].as_str().unwrap()).get("/v1/token").await.expect(200);
        assert_eq!(token["subject"], id.to_string());
        assert_eq!(token["session_id"], tokens["session_id"]);
    }
    assert_eq!(app.rows().await["sessions"], 4);
}

#[tokio::test]
async fn a_token_names_its_user_and_its_permissions() {
    let app = TestApp::start().await;
    let ada = app.holding("ada", &["users:read", "billing:refund"]).await;
    let token = ada.get("/v1/token").await.expect(200);
    let expected = json!({
        "subject": token["subject"], "session_id": token["session_id"], "client_id": "vestibule",
        "roles": ["role-ada"], "permissions": ["billing:refund", "users:read"],
        "issued_at": "2026-01-01T00:00:00.000000Z", "expires_at": "2026-01-01T00:15:00.000000Z",
        "auth_time": "2026-01-01T00:00:00.000000Z", "acr": "1", "amr": ["pwd"],
    });
    assert_eq!(token, expected);
    let token = app.admin().await.get("/v1/token").await.expect(200);
    assert_eq!(token["roles"], json!(["admin", "user"]));
    assert!(
        token["permissions"].as_array().unwrap().contains(&json!("billing:refund")),
        "an administrator holds every permission"
    );
    let token = app.user("grace").await.get("/v1/token").await.expect(200);
    assert_eq!((&token["roles"], &token["permissions"]), (&json!(["user"]), &json!([])));
}

#[tokio::test]
async fn a_log_in_is_recorded_in_the_account_and_in_the_audit_trail() {
    let app = TestApp::start().await;
    let id = app.register("ada").await;
    app.clock.advance(Duration::from_secs(1));
    let answer = log_in(&app, "ada", PASSWORD).await;
    let request_id = answer.header("x-request-id").to_owned();
    let tokens = answer.expect(201);
    let me = app.bearer(tokens["access_token"].as_str().unwrap()).get("/v1/me").await.expect(200);
    assert!(me["last_login_at"].as_str().unwrap().starts_with("2026-01-01T00:00:01"));
    assert_eq!(me["updated_at"], me["created_at"], "a log-in changes nothing else");
    let event = app.event("session.logged_in").await;
    assert_eq!((event.actor_id, event.actor_name.as_deref()), (Some(id), Some("ada")));
    assert_eq!(event.session_id.unwrap().to_string(), tokens["session_id"]);
    assert_eq!(event.request_id.unwrap().to_string(), request_id);
    let trail = format!("{:?}", app.events().await);
    assert!(!trail.contains(PASSWORD) && !trail.contains(tokens["access_token"].as_str().unwrap()));
}

#[tokio::test]
async fn a_failed_log_in_is_audited_without_the_typed_text() {
    let app = TestApp::start().await;
    let id = app.register("ada").await;
    assert_problem!(log_in(&app, "ada", WRONG).await, 401, "invalid_credentials");
    let event = app.event("session.log_in_failed").await;
    assert_eq!((event.actor_id, event.subject_id.as_deref()), (None, Some(id.to_string().as_str())));
    assert!(event.request_id.is_some());
    // Users sometimes type their password into the first field.
    assert_problem!(log_in(&app, WRONG, "grace").await, 401, "invalid_credentials");
    let trail = format!("{:?}", app.events().await);
    assert!(trail.matches("session.log_in_failed").count() == 2 && !trail.contains(WRONG));
}

#[tokio::test]
async fn all_invalid_members_are_reported_together() {
    let app = TestApp::start().await;
    let rows = app.rows().await;
    let faults = |body: Value| {
        let anonymous = app.anonymous();
        async move { assert_problem!(anonymous.post("/v1/sessions", body).await, 422, "validation_failed") }
    };
    assert_eq!(faults(json!({})).await.faults(), [("/identifier", "required"), ("/password", "required")]);
    assert_eq!(
        faults(json!({ "identifier": 1, "password": null, "transport": "pigeon", "otp": "1" })).await.faults(),
        [("/identifier", "type"), ("/otp", "unknown_member"), ("/password", "type"), ("/transport", "not_allowed")]
    );
    assert_eq!(
        faults(json!({ "identifier": "a\0", "password": "b\0" })).await.faults(),
        [("/identifier", "not_allowed"), ("/password", "not_allowed")]
    );
    assert_eq!(app.rows().await, rows);
}

#[tokio::test]
async fn p03_a_failed_log_in_reveals_nothing_about_the_account() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let disabled = app.register("eve").await;
    disable(&app, disabled).await;
    let without_password = app.register("grace").await;
    app.write_hash(without_password, "").await;

    let mut seen = Vec::new();
    for (identifier, password) in [
        ("nobody", PASSWORD),
        ("nobody@example.org", PASSWORD),
        ("no such name!", PASSWORD),
        ("@", PASSWORD),
        ("ada", WRONG),
        ("ada@example.org", WRONG),
        ("eve", WRONG),
        ("grace", PASSWORD),
    ] {
        let mut answer = assert_problem!(log_in(&app, identifier, password).await, 401, "invalid_credentials");
        answer.body.as_object_mut().unwrap().remove("request_id");
        answer.headers.remove("x-request-id");
        let headers: BTreeMap<_, _> =
            answer.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        seen.push((answer.status, answer.body, headers));
    }
    seen.dedup();
    assert_eq!(seen.len(), 1, "{seen:#?}");
}

#[tokio::test]
async fn only_the_correct_password_reveals_that_an_account_is_disabled() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    let id = ada.get("/v1/me").await.expect(200)["id"].as_str().unwrap().parse().unwrap();
    disable(&app, id).await;
    assert_problem!(ada.get("/v1/me").await, 401, "session_ended");
    let sessions = app.rows().await["sessions"];
    assert_problem!(log_in(&app, "ada", PASSWORD).await, 403, "account_disabled");
    assert_problem!(log_in(&app, "ada", WRONG).await, 401, "invalid_credentials");
    assert_eq!(app.rows().await["sessions"], sessions);
    set_status(&app, id, Status::Active).await;
    log_in(&app, "ada", PASSWORD).await.expect(201);
    assert_problem!(ada.get("/v1/me").await, 401, "session_ended");
}

#[tokio::test]
async fn two_concurrent_log_ins_begin_two_sessions() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let both = tokio::join!(log_in(&app, "ada", PASSWORD), log_in(&app, "ada", PASSWORD));
    assert_ne!(both.0.expect(201)["session_id"], both.1.expect(201)["session_id"]);
    assert_eq!(app.rows().await["sessions"], 2);
}

#[tokio::test]
async fn t07_a_token_expires_no_later_than_its_unused_session() {
    let app = TestApp::start_with(|settings| settings.sessions.idle_ttl = Duration::from_mins(1)).await;
    let (admin, id) = (app.admin().await, app.register("ada").await);
    let begun = app.anonymous().post("/v1/sessions", json!({ "identifier": "ada", "password": PASSWORD })).await.expect(201);
    assert_eq!(begun["expires_in"], 60);
    let ada = app.bearer(begun["access_token"].as_str().unwrap());
    app.clock.advance(Duration::from_secs(59));
    // A purge keeps a session whose token is still valid, so that ending the session can revoke the token.
    vestibule::domain::sessions::purge(&app.app, app.trusted().await).await.unwrap();
    admin.delete(&format!("/v1/users/{id}/sessions"), json!(null)).await.expect(204);
    assert_problem!(ada.get("/v1/me").await, 401, "session_ended");
    app.clock.advance(Duration::from_secs(1));
    assert_problem!(ada.get("/v1/me").await, 401, "expired_token");
}
