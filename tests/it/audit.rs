//! The audit trail: an event names its actor, its subject and what was done, and contains no secret.

use std::time::Duration;

use serde_json::json;
use vestibule::{domain::audit, entity::role_permission};

use crate::{
    assert_problem,
    support::{PASSWORD, TestApp, caller::Caller, clock::minutes},
};

async fn kinds(caller: &Caller<'_>, query: &str) -> Vec<String> {
    let page = caller.get(&format!("/v1/audit-events?{query}")).await.expect(200);
    page["items"].as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_event_of_a_change_names_its_actor_its_subject_and_the_values_before_and_after() {
    let app = TestApp::start().await;
    let (admin, ada) = (app.admin().await, app.register("ada").await);
    let changed = admin.put(&format!("/v1/users/{ada}/roles"), json!({ "roles": ["admin"] })).await;
    let request_id = changed.header("x-request-id").to_owned();
    let page = admin.get(&format!("/v1/audit-events?subject={ada}&kind=user.roles_set")).await.expect(200);
    let event = &page["items"][0];
    assert_eq!(event["actor"]["name"], "admin");
    assert_eq!((&event["subject"]["type"], &event["subject"]["name"]), (&json!("user"), &json!("ada")));
    assert_eq!(event["details"], json!({ "before": ["user"], "after": ["admin"] }));
    assert_eq!(event["request_id"], request_id);
    assert!(event["session_id"].is_string());
}

#[tokio::test]
async fn events_can_be_filtered_by_actor_kind_and_time() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    app.register("ada").await;
    app.clock.advance(minutes(1));
    let ada = app.anonymous().log_in("ada", PASSWORD).await;
    let id = ada.get("/v1/me").await.expect(200)["id"].as_str().unwrap().to_owned();
    app.clock.advance(minutes(1));
    ada.patch("/v1/me", json!({ "name": "Ada" })).await.expect(200);
    assert_eq!(kinds(&admin, &format!("actor={id}")).await, ["account.updated", "session.logged_in", "account.registered"]);
    assert_eq!(kinds(&admin, &format!("actor={id}&from=2026-01-01T00:02:00Z")).await, ["account.updated"]);
    assert_eq!(kinds(&admin, &format!("actor={id}&to=2026-01-01T00:02:00Z")).await, ["session.logged_in", "account.registered"]);
    assert_eq!(kinds(&admin, "kind=user.created").await, ["user.created"]);
    assert_eq!(kinds(&admin, "kind=user.deleted").await, [""; 0]);
    let rejected = admin.get("/v1/audit-events?kind=nonsense&actor=1&from=yesterday&limit=0").await;
    let rejected = assert_problem!(rejected, 422, "validation_failed");
    assert_eq!(rejected.faults().iter().map(|(location, _)| *location).collect::<Vec<_>>(), ["actor", "kind", "from", "limit"]);
}

#[tokio::test]
async fn failed_log_ins_are_recorded_without_passwords_and_unknown_identifiers() {
    let app = TestApp::start().await;
    app.register("ada").await;
    for identifier in ["ada", "hunter2-in-the-wrong-field"] {
        let body = json!({ "identifier": identifier, "password": "hunter2 hunter2" });
        assert_problem!(app.anonymous().post("/v1/sessions", body).await, 401, "invalid_credentials");
        app.clock.advance(minutes(1));
    }
    let page = app.admin().await.get("/v1/audit-events?kind=session.log_in_failed").await.expect(200);
    let events = page["items"].as_array().unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(events[1]["subject"]["name"], "ada");
    assert!(!page.to_string().contains("hunter2"));
}

#[tokio::test]
async fn denials_are_counted_in_one_event_per_caller_operation_and_minute() {
    let app = TestApp::start().await;
    let (admin, ada, bob) = (app.admin().await, app.user("ada").await, app.user("bob").await);
    for _ in 0..20 {
        assert_problem!(ada.get("/v1/users").await, 403, "insufficient_permission");
    }
    assert_problem!(ada.get("/v1/roles").await, 403, "insufficient_permission");
    assert_problem!(bob.get("/v1/users").await, 403, "insufficient_permission");
    audit::write_denials(&app.app, app.app.clock.now()).await.unwrap();
    assert_eq!(kinds(&admin, "kind=access.refused").await, [""; 0], "denials are written when their minute is over");
    app.clock.advance(minutes(1));
    audit::write_denials(&app.app, app.app.clock.now()).await.unwrap();
    let page = admin.get("/v1/audit-events?kind=access.refused").await.expect(200);
    let mut counts: Vec<_> = page["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|event| {
            (
                event["actor"]["name"].as_str().unwrap(),
                event["details"]["operation"].as_str().unwrap(),
                event["details"]["count"].as_i64().unwrap(),
            )
        })
        .collect();
    counts.sort_unstable();
    assert_eq!(counts, [("ada", "listRoles", 1), ("ada", "listUsers", 20), ("bob", "listUsers", 1)]);
}

#[tokio::test]
async fn invalid_bearer_tokens_write_no_events() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let before = kinds(&admin, "limit=100").await.len();
    for _ in 0..50 {
        assert_problem!(app.bearer("nonsense").get("/v1/users").await, 401, "invalid_token");
    }
    app.clock.advance(minutes(2));
    audit::write_denials(&app.app, app.app.clock.now()).await.unwrap();
    assert_eq!(kinds(&admin, "limit=100").await.len(), before);
}

#[tokio::test]
async fn events_are_kept_for_the_configured_retention() {
    let app = TestApp::start_with(|settings| settings.audit.retention = Duration::from_hours(24)).await;
    app.register("ada").await;
    app.clock.advance(Duration::from_hours(23));
    app.register("bob").await;
    app.clock.advance(Duration::from_hours(26)); // events are purged a day later than the setting says
    audit::purge(&app.app, app.trusted().await).await.unwrap();
    let admin = app.admin().await;
    let page = admin.get("/v1/audit-events?kind=account.registered").await.expect(200);
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    app.anonymous().log_in("ada", PASSWORD).await;
}

#[test]
fn the_upgrade_that_takes_permissions_from_roles_writes_events_of_a_kind_that_can_be_listed() {
    assert_eq!(role_permission::RECLAIMED, audit::Kind::RolePermissionsRemoved.name());
}
