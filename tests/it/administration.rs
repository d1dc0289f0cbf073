//! Administration: which changes a caller may make to the accounts of other users.

use std::time::Duration;

use poem::{Body, http::Method};
use serde_json::{Value, json};
use vestibule::{
    domain::{
        authority::By,
        users::{self, Change},
    },
    entity::user::Status,
    error::Error,
    values::{ids::UserId, role_name::RoleName},
};

use crate::{
    assert_problem,
    support::{PASSWORD, TestApp, caller::Caller, clock::minutes},
};

/// A path with an id that no user has.
const UNKNOWN_USER: &str = "/v1/users/0198c5e0-0000-7000-8000-000000000000";

async fn path_of(caller: &Caller<'_>) -> String {
    format!("/v1/users/{}", caller.get("/v1/me").await.expect(200)["id"].as_str().unwrap())
}

fn account(name: &str) -> Value {
    json!({ "email": format!("{name}@example.org"), "username": name, "password": PASSWORD })
}

#[tokio::test]
async fn an_account_created_by_an_administrator_can_log_in() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let created = admin.post("/v1/users", account("ada")).await;
    let location = created.header("location").to_owned();
    let user = created.expect(201);
    assert_eq!((&user["roles"], &user["status"]), (&json!(["user"]), &json!("active")));
    assert_eq!(admin.get(&location).await.expect(200), user);
    app.anonymous().log_in("ada", PASSWORD).await;
    assert_problem!(admin.post("/v1/users", account("ada")).await, 409, "email_taken");
}

#[tokio::test]
async fn an_account_without_a_password_cannot_log_in_until_one_is_set() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let user = admin.post("/v1/users", json!({ "email": "ada@example.org" })).await.expect(201);
    let log_in = json!({ "identifier": "ada@example.org", "password": PASSWORD });
    assert_problem!(app.anonymous().post("/v1/sessions", log_in.clone()).await, 401, "invalid_credentials");
    let path = format!("/v1/users/{}/password", user["id"].as_str().unwrap());
    admin.put(&path, json!({ "new_password": PASSWORD })).await.expect(204);
    app.anonymous().post("/v1/sessions", log_in).await.expect(201);
}

#[tokio::test]
async fn creating_an_account_with_roles_requires_the_permission_to_assign_roles() {
    let app = TestApp::start().await;
    let clerk = app.holding("clerk", &["users:write"]).await;
    let with_roles = |name: &str, roles: &[&str]| {
        let mut body = account(name);
        body["roles"] = json!(roles);
        body
    };
    for roles in [&["admin"][..], &["role-clerk"], &["user", "role-clerk"], &["no-such"]] {
        let rejected = clerk.post("/v1/users", with_roles("ada", roles)).await;
        let rejected = assert_problem!(rejected, 403, "insufficient_permission");
        assert_eq!(rejected.body["required_permission"], "roles:assign");
    }
    clerk.post("/v1/users", account("ada")).await.expect(201);
    for (name, roles) in [("eve", &["user"][..]), ("grace", &["user", "user"]), ("rosa", &[])] {
        let created = clerk.post("/v1/users", with_roles(name, roles)).await.expect(201);
        assert_eq!(created["roles"].as_array().unwrap().len(), roles.len().min(1));
    }
    let head = app.holding("head", &["users:write", "roles:assign"]).await;
    let mut bob = account("bob");
    bob["roles"] = json!(["admin"]);
    assert_problem!(head.post("/v1/users", bob.clone()).await, 403, "escalation_denied");
    bob["roles"] = json!(["role-clerk", "no-such", "user", "neither"]);
    let rejected = assert_problem!(head.post("/v1/users", bob).await, 422, "validation_failed");
    assert_eq!(rejected.faults(), [("/roles/1", "unknown_role"), ("/roles/3", "unknown_role")]);
}

#[tokio::test]
async fn an_account_can_be_changed_with_or_without_if_match() {
    let app = TestApp::start().await;
    let (admin, ada) = (app.admin().await, app.user("ada").await);
    let path = path_of(&ada).await;
    let read = admin.get(&path).await;
    let tag = read.header("etag").to_owned();
    let change = |name: &str| Body::from_string(json!({ "name": name }).to_string());
    let headers = [("content-type", "application/json"), ("if-match", tag.as_str())];
    let changed = admin.send(Method::PATCH, &path, &headers, change("Ada")).await.expect(200);
    assert_eq!(changed["name"], "Ada");
    let outdated = admin.send(Method::PATCH, &path, &headers, change("Other")).await;
    assert_problem!(outdated, 412, "precondition_failed");
    let cleared =
        admin.patch(&path, json!({ "name": null, "username": null, "email": "countess@example.org" })).await.expect(200);
    assert!(cleared.get("name").is_none() && cleared.get("username").is_none());
    app.anonymous().log_in("countess@example.org", PASSWORD).await;
}

#[tokio::test]
async fn setting_a_password_ends_all_sessions() {
    let app = TestApp::start().await;
    let (admin, ada) = (app.admin().await, app.user("ada").await);
    let path = format!("{}/password", path_of(&ada).await);
    assert_problem!(admin.put(&path, json!({ "new_password": "ada@example.org" })).await, 422, "validation_failed");
    admin.put(&path, json!({ "new_password": "another horse battery staple" })).await.expect(204);
    assert_problem!(ada.get("/v1/me").await, 401, "session_ended");
    app.anonymous().log_in("ada", "another horse battery staple").await;
}

#[tokio::test]
async fn p05_a_new_account_with_the_names_of_a_deleted_account_inherits_nothing() {
    let app = TestApp::start().await;
    let (admin, ada) = (app.admin().await, app.holding("ada", &["users:read"]).await);
    let path = path_of(&ada).await;
    admin.delete(&path, json!(null)).await.expect(204);
    assert_problem!(ada.get("/v1/me").await, 401, "session_ended");
    assert_problem!(admin.get(&path).await, 404, "not_found");
    let new_ada = app.user("ada").await;
    assert_ne!(path_of(&new_ada).await, path);
    assert_problem!(new_ada.get("/v1/users").await, 403, "insufficient_permission");
    assert_problem!(ada.get("/v1/me").await, 401, "session_ended");
}

#[tokio::test]
async fn s07_users_list_and_end_their_own_sessions_and_administrators_those_of_any_user() {
    let app = TestApp::start().await;
    let phone = app.user("ada").await;
    app.clock.advance(minutes(1));
    let laptop = app.anonymous().log_in("ada", PASSWORD).await;
    let bob = app.user("bob").await;
    let listed = laptop.get("/v1/me/sessions").await.expect(200);
    let sessions: Vec<_> =
        listed["items"].as_array().unwrap().iter().map(|session| (session["id"].clone(), session["current"] == true)).collect();
    assert_eq!(sessions.iter().map(|(_, current)| *current).collect::<Vec<_>>(), [true, false]);
    let phones = format!("/v1/me/sessions/{}", sessions[1].0.as_str().unwrap());
    assert_problem!(bob.delete(&phones, json!(null)).await, 404, "not_found");
    phone.get("/v1/me").await.expect(200);
    laptop.delete(&phones, json!(null)).await.expect(204);
    assert_problem!(phone.get("/v1/me").await, 401, "session_ended");
    assert_problem!(laptop.delete(&phones, json!(null)).await, 404, "not_found");
    assert_problem!(laptop.delete("/v1/me/sessions/nonsense", json!(null)).await, 404, "not_found");

    let tablet = app.anonymous().log_in("ada", PASSWORD).await;
    laptop.delete("/v1/me/sessions?except_current=true", json!(null)).await.expect(204);
    assert_problem!(tablet.get("/v1/me").await, 401, "session_ended");
    laptop.get("/v1/me").await.expect(200);

    let admin = app.admin().await;
    let path = format!("{}/sessions", path_of(&laptop).await);
    assert_eq!(admin.get(&path).await.expect(200)["items"].as_array().unwrap().len(), 1);
    admin.delete(&path, json!(null)).await.expect(204);
    assert_problem!(laptop.get("/v1/me").await, 401, "session_ended");
    assert_problem!(admin.get(&format!("{UNKNOWN_USER}/sessions")).await, 404, "not_found");
}

#[tokio::test]
async fn s06_a_session_that_was_idle_for_too_long_is_not_listed() {
    let app = TestApp::start_with(|settings| settings.sessions.idle_ttl = Duration::from_hours(1)).await;
    app.user("ada").await;
    app.clock.advance(Duration::from_hours(2));
    let now = app.anonymous().log_in("ada", PASSWORD).await;
    assert_eq!(now.get("/v1/me/sessions").await.expect(200)["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a05_a_caller_cannot_change_an_account_that_holds_more_permissions() {
    let app = TestApp::start().await;
    let all = ["users:read", "users:write", "users:delete", "roles:assign", "sessions:end", "sessions:read"];
    let deputy = app.holding("deputy", &all).await;
    let clerk = app.holding("clerk", &["users:read", "billing:refund"]).await;
    for target in [path_of(&app.admin().await).await, path_of(&clerk).await] {
        assert_problem!(deputy.patch(&target, json!({ "name": "X" })).await, 403, "escalation_denied");
        assert_problem!(deputy.patch(&target, json!({ "status": "disabled" })).await, 403, "escalation_denied");
        assert_problem!(deputy.delete(&target, json!(null)).await, 403, "escalation_denied");
        let password = json!({ "new_password": "another horse battery staple" });
        assert_problem!(deputy.put(&format!("{target}/password"), password).await, 403, "escalation_denied");
        assert_problem!(deputy.put(&format!("{target}/roles"), json!({ "roles": [] })).await, 403, "escalation_denied");
        assert_problem!(deputy.delete(&format!("{target}/sessions"), json!(null)).await, 403, "escalation_denied");
    }
    clerk.get("/v1/me").await.expect(200);
    let ada = app.user("ada").await;
    let roles = format!("{}/roles", path_of(&ada).await);
    assert_problem!(deputy.put(&roles, json!({ "roles": ["admin"] })).await, 403, "escalation_denied");
    assert_problem!(deputy.put(&roles, json!({ "roles": ["role-clerk"] })).await, 403, "escalation_denied");
    deputy.put(&format!("{}/roles", path_of(&ada).await), json!({ "roles": ["role-deputy"] })).await.expect(200);
}

#[tokio::test]
async fn a06_the_last_administrator_cannot_be_removed_by_any_operation() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let id: UserId = admin.get("/v1/me").await.expect(200)["id"].as_str().unwrap().parse().unwrap();
    let proof = json!({ "current_password": app.admin_password() });
    assert_problem!(admin.delete("/v1/me", proof.clone()).await, 409, "last_admin");
    // The operator holds every permission, and cannot do it either.
    let rejected = users::set_roles(&app.app, By::Operator, id, &[RoleName::user()]).await;
    assert!(matches!(rejected, Err(Error::LastAdmin)));
    let disabled = Change { status: Some(Status::Disabled), ..Change::default() };
    let rejected = users::update(&app.app, By::Operator, id, disabled, None).await;
    assert!(matches!(rejected, Err(Error::LastAdmin)));
    assert!(matches!(users::delete(&app.app, By::Operator, id).await, Err(Error::LastAdmin)));
    // A disabled administrator does not count.
    let mut second = account("second");
    second["roles"] = json!(["admin"]);
    let second = admin.post("/v1/users", second).await.expect(201);
    admin.patch(&format!("/v1/users/{}", second["id"].as_str().unwrap()), json!({ "status": "disabled" })).await.expect(200);
    assert_problem!(admin.delete("/v1/me", proof).await, 409, "last_admin");
    admin.get("/v1/me").await.expect(200);
}

#[tokio::test]
async fn a06_when_two_administrators_remove_each_other_at_once_one_remains() {
    for round in 0..8 {
        let app = TestApp::start().await;
        let other_replica = app.replica().await;
        let first = app.admin().await;
        let mut second = account("second");
        second["roles"] = json!(["admin"]);
        first.post("/v1/users", second).await.expect(201);
        let second = other_replica.bearer(&app.anonymous().log_in("second", PASSWORD).await.token.unwrap());
        let (paths, nothing) = ((path_of(&first).await, path_of(&second).await), json!({ "roles": [] }));
        let (one, other) = if round % 2 == 0 {
            let (to_second, to_first) = (format!("{}/roles", paths.1), format!("{}/roles", paths.0));
            tokio::join!(first.put(&to_second, nothing.clone()), second.put(&to_first, nothing))
        } else {
            tokio::join!(first.delete(&paths.1, json!(null)), second.delete(&paths.0, json!(null)))
        };
        let successes = [&one, &other].iter().filter(|answer| answer.status < 300).count();
        assert_eq!(successes, 1, "{one:?} {other:?}");
        let failed = if one.status < 300 { &other } else { &one };
        assert!(["last_admin", "stale_token", "session_ended"].contains(&failed.problem().1), "{failed:?}");
    }
}

#[tokio::test]
async fn a06_when_two_administrators_close_their_accounts_at_once_one_remains() {
    let app = TestApp::start().await;
    let first = app.admin().await;
    let mut second = account("second");
    second["roles"] = json!(["admin"]);
    first.post("/v1/users", second).await.expect(201);
    let second = app.anonymous().log_in("second", PASSWORD).await;
    let proof = |password: &str| json!({ "current_password": password });
    let (one, other) =
        tokio::join!(first.delete("/v1/me", proof(app.admin_password())), second.delete("/v1/me", proof(PASSWORD)));
    let mut answers = [one.problem(), other.problem()];
    answers.sort_unstable();
    assert_eq!(answers, [(204, "(no problem)"), (409, "last_admin")]);
}

#[tokio::test]
async fn p08_an_administrators_token_alone_cannot_take_over_the_account() {
    let app = TestApp::start().await;
    let (admin, ada) = (app.admin().await, app.user("ada").await);
    let (own, adas) = (path_of(&admin).await, path_of(&ada).await);
    let before = admin.get(&own).await.expect(200);
    let rows = app.rows().await;
    for body in [
        json!({ "email": "eve@example.org" }),
        json!({ "email": before["email"] }),
        json!({ "status": "disabled" }),
        json!({ "status": "active", "name": "Eve" }),
    ] {
        assert_problem!(admin.patch(&own, body).await, 409, "own_account");
    }
    let password = json!({ "new_password": "another horse battery staple" });
    assert_problem!(admin.put(&format!("{own}/password"), password.clone()).await, 409, "own_account");
    for roles in [json!(["user"]), json!([]), before["roles"].clone()] {
        assert_problem!(admin.put(&format!("{own}/roles"), json!({ "roles": roles })).await, 409, "own_account");
    }
    assert_problem!(admin.delete(&own, json!(null)).await, 409, "own_account");
    let upper = own.to_uppercase().replace("/V1/USERS", "/v1/users");
    assert_problem!(admin.delete(&upper, json!(null)).await, 409, "own_account");
    assert_eq!(app.rows().await, rows);
    assert_eq!(admin.get(&own).await.expect(200), before);
    // The permission is checked first. An administrator may change their own name here too.
    assert_problem!(ada.delete(&adas, json!(null)).await, 403, "insufficient_permission");
    assert_eq!(admin.patch(&own, json!({ "name": "Root" })).await.expect(200)["name"], "Root");
    admin.put(&format!("{adas}/password"), password).await.expect(204);
}

#[tokio::test]
async fn a03_an_unknown_or_malformed_id_answers_404() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    for path in [UNKNOWN_USER, "/v1/users/1", "/v1/users/00000000-0000-0000-0000-00000000000g", "/v1/users/%ff"] {
        assert_problem!(admin.get(path).await, 404, "not_found");
        assert_problem!(admin.patch(path, json!({ "name": "X" })).await, 404, "not_found");
        assert_problem!(admin.delete(path, json!(null)).await, 404, "not_found");
        assert_problem!(admin.put(&format!("{path}/roles"), json!({ "roles": [] })).await, 404, "not_found");
    }
    for (path, missing) in [
        (UNKNOWN_USER, "user"),
        ("/v1/users/1", "user"),
        ("/v1/users/%ff", "user"),
        ("/v1/roles/none", "role"),
        ("/v1/roles/NO", "role"),
        ("/v1/none", "path"),
    ] {
        let answer = assert_problem!(admin.get(path).await, 404, "not_found");
        assert_eq!(answer.body["detail"], format!("There is no such {missing}."), "{path}");
    }
    for (path, missing) in [
        ("/v1/me/sessions/0198c5e0-0000-7000-8000-000000000000", "session"),
        ("/v1/me/sessions/nonsense", "session"),
        ("/v1/signing-keys/none", "signing key"),
        ("/v1/signing-keys/a.b", "signing key"),
    ] {
        let answer = assert_problem!(admin.delete(path, json!(null)).await, 404, "not_found");
        assert_eq!(answer.body["detail"], format!("There is no such {missing}."), "{path}");
    }
}
