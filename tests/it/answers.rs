//! What all responses have in common: their lists are bounded as the contract says, and their times have one format.

use std::time::Duration;

use sea_orm::{ActiveValue::Set, EntityTrait};
use serde_json::{Map, Value, json};
use vestibule::entity::{role, role_permission};

use crate::{
    assert_problem,
    support::{TestApp, client::Client, clock::minutes},
};

/// Returns distinct words of three letters.
fn words(count: usize) -> impl Iterator<Item = String> {
    let letters = || (b'a'..=b'z').map(char::from);
    letters()
        .flat_map(move |one| letters().flat_map(move |two| letters().map(move |three| format!("{one}{two}{three}"))))
        .take(count)
}

#[tokio::test]
async fn a_response_lists_at_most_a_hundred_faults() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let query: Vec<_> = words(1_500).collect();
    let rejected = admin.get(&format!("/v1/users?{}", query.join("&"))).await;
    assert_eq!(assert_problem!(rejected, 422, "validation_failed").faults().len(), 100);

    let members: Map<String, Value> = words(3_000).map(|word| (word, json!(1))).collect();
    let rejected = admin.post("/v1/roles", members.into()).await;
    assert_eq!(assert_problem!(rejected, 422, "validation_failed").faults().len(), 100);

    let repeated = admin.get(&format!("/v1/users?{}", "x=1&".repeat(2_000))).await;
    assert_eq!(repeated.faults(), [("x", "unknown_parameter")]);
}

/// Writes roles that grant `users:read` into the database, without the service's knowledge.
async fn add_roles(app: &TestApp, count: usize) {
    let now = chrono::DateTime::UNIX_EPOCH;
    let roles = words(count).map(|name| role::ActiveModel {
        name: Set(name.parse().unwrap()),
        description: Set(None),
        built_in: Set(false),
        created_at: Set(now),
        updated_at: Set(now),
    });
    let granted = words(count).map(|name| role_permission::ActiveModel {
        role: Set(name.parse().unwrap()),
        permission: Set("users:read".parse().unwrap()),
    });
    let tx = app.app.db.write().await.unwrap();
    role::Entity::insert_many(roles).exec_without_returning(&tx).await.unwrap();
    role_permission::Entity::insert_many(granted).exec_without_returning(&tx).await.unwrap();
    tx.commit().await.unwrap();
}

#[tokio::test]
async fn there_are_at_most_a_thousand_roles_even_when_several_are_created_at_once() {
    let app = TestApp::start().await;
    let (admin, user) = (app.admin().await, app.user("ada").await);
    add_roles(&app, 996).await; // with `admin` and `user`, 998
    let replica = app.replica().await;
    let elsewhere = replica.bearer(admin.token.as_deref().unwrap());
    let role = |name: &str| json!({ "name": name, "permissions": ["users:read"] });
    let answers = tokio::join!(
        admin.post("/v1/roles", role("one")),
        elsewhere.post("/v1/roles", role("two")),
        admin.post("/v1/roles", role("three")),
        elsewhere.post("/v1/roles", role("four")),
    );
    let mut outcomes: Vec<_> = [&answers.0, &answers.1, &answers.2, &answers.3].iter().map(|answer| answer.problem()).collect();
    outcomes.sort_unstable();
    let (created, full) = ((201, "(no problem)"), (409, "too_many_roles"));
    assert_eq!(outcomes, [created, created, full, full]);
    assert_problem!(admin.post("/v1/roles", role("admin")).await, 409, "role_exists");

    admin.delete("/v1/roles/aaa", json!(null)).await.expect(204);
    // Creating a role makes this process read all of them.
    admin.post("/v1/roles", role("five")).await.expect(201);
    let rejected = assert_problem!(user.get("/v1/users").await, 403, "insufficient_permission");
    assert_eq!(rejected.body["granted_by"].as_array().unwrap().len(), 999, "all but `user`");
}

/// Calls `check` with every time in a value.
fn each_time(value: &Value, check: &mut impl FnMut(&str)) {
    match value {
        Value::String(text) if text.starts_with("2026-01-01T") => check(text),
        Value::Array(items) => items.iter().for_each(|item| each_time(item, check)),
        Value::Object(members) => members.values().for_each(|member| each_time(member, check)),
        _ => {}
    }
}

#[tokio::test]
async fn every_time_has_six_fractional_digits() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    admin.post("/v1/signing-keys", json!(null)).await.expect(201);
    app.clock.advance(Duration::from_micros(1_500));
    let ada = app.user("ada").await;
    let mut count = 0;
    for (caller, path) in [
        (&ada, "/v1/me"),
        (&ada, "/v1/token"),
        (&ada, "/v1/me/sessions"),
        (&admin, "/v1/users"),
        (&admin, "/v1/roles"),
        (&admin, "/v1/signing-keys"),
        (&admin, "/v1/audit-events"),
    ] {
        each_time(&caller.get(path).await.expect(200), &mut |time| {
            count += 1;
            assert!(time.len() == 27 && time.as_bytes()[19] == b'.' && time.ends_with('Z'), "{path}: {time}");
        });
    }
    assert!(count > 20, "only {count} times");
    let event = app.event("key.rotated").await;
    assert_eq!(event.details.0["activates_at"].as_str().unwrap().len(), 27);
}

#[tokio::test]
async fn last_used_at_is_never_before_created_at() {
    let app = TestApp::start().await;
    app.clock.advance(Duration::from_secs(59));
    let ada = app.client("ada").await;
    let session = async |client: &Client<'_>| client.caller().get("/v1/me/sessions").await.expect(200)["items"][0].clone();
    let fresh = session(&ada).await;
    assert_eq!((&fresh["created_at"], &fresh["last_used_at"]), (&json!("2026-01-01T00:00:59.000000Z"), &fresh["created_at"]));
    let mut ada = ada;
    app.clock.advance(minutes(1));
    ada.refresh().await.expect(200);
    assert_eq!(session(&ada).await["last_used_at"], "2026-01-01T00:01:00.000000Z");
}
