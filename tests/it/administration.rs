//! Administration: what some may do to the accounts of others, and what nobody may.

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

const NOBODYS: &str = "/v1/users/0198c5e0-0000-7000-8000-000000000000";

async fn path_of(caller: &Caller<'_>) -> String {
    format!("/v1/users/{}", caller.get("/v1/me").await.expect(200)["id"].as_str().unwrap())
}

fn person(name: &str) -> Value {
    json!({ "email": format!("{name}@example.org"), "username": name, "password": PASSWORD })
}

#[tokio::test]
async fn an_administrator_makes_an_account_that_can_log_in() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let made = admin.post("/v1/users", person("ada")).await;
    let location = made.header("location").to_owned();
    let user = made.expect(201);
    assert_eq!((&user["roles"], &user["status"]), (&json!(["user"]), &json!("active")));
    assert_eq!(admin.get(&location).await.expect(200), user);
    app.nobody().log_in("ada", PASSWORD).await;
    assert_problem!(admin.post("/v1/users", person("ada")).await, 409, "email_taken");
}

#[tokio::test]
async fn an_account_without_password_admits_nobody_until_one_is_set() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let user = admin.post("/v1/users", json!({ "email": "ada@example.org" })).await.expect(201);
    let log_in = json!({ "identifier": "ada@example.org", "password": PASSWORD });
    assert_problem!(app.nobody().post("/v1/sessions", log_in.clone()).await, 401, "invalid_credentials");
    let path = format!("/v1/users/{}/password", user["id"].as_str().unwrap());
    admin.put(&path, json!({ "new_password": PASSWORD })).await.expect(204);
    app.nobody().post("/v1/sessions", log_in).await.expect(201);
}

#[tokio::test]
async fn giving_roles_to_a_new_account_takes_the_permission_to_assign_them() {
    let app = TestApp::start().await;
    let clerk = app.holding("clerk", &["users:write"]).await;
    let with_roles = |name: &str, roles: &[&str]| {
        let mut body = person(name);
        body["roles"] = json!(roles);
        body
    };
    for roles in [&["admin"][..], &["role-clerk"], &["user", "role-clerk"], &["no-such"]] {
        let refused = clerk.post("/v1/users", with_roles("ada", roles)).await;
        let refused = assert_problem!(refused, 403, "insufficient_permission");
        assert_eq!(refused.body["required_permission"], "roles:assign");
    }
    clerk.post("/v1/users", person("ada")).await.expect(201);
    for (name, roles) in [("eve", &["user"][..]), ("grace", &["user", "user"]), ("rosa", &[])] {
        let made = clerk.post("/v1/users", with_roles(name, roles)).await.expect(201);
        assert_eq!(made["roles"].as_array().unwrap().len(), roles.len().min(1));
    }
    let head = app.holding("head", &["users:write", "roles:assign"]).await;
    let mut bob = person("bob");
    bob["roles"] = json!(["admin"]);
    assert_problem!(head.post("/v1/users", bob.clone()).await, 403, "escalation_denied");
    bob["roles"] = json!(["role-clerk", "no-such", "user", "neither"]);
    let refused = assert_problem!(head.post("/v1/users", bob).await, 422, "validation_failed");
    assert_eq!(refused.faults(), [("/roles/1", "unknown_role"), ("/roles/3", "unknown_role")]);
}

#[tokio::test]
async fn an_account_is_changed_under_a_condition_or_without() {
    let app = TestApp::start().await;
    let (admin, ada) = (app.admin().await, app.user("ada").await);
    let path = path_of(&ada).await;
    let read = admin.get(&path).await;
    let tag = read.header("etag").to_owned();
    let change = |name: &str| poem::Body::from_string(json!({ "name": name }).to_string());
    let headers = [("content-type", "application/json"), ("if-match", tag.as_str())];
    let changed = admin.send(poem::http::Method::PATCH, &path, &headers, change("Ada")).await.expect(200);
    assert_eq!(changed["name"], "Ada");
    let late = admin.send(poem::http::Method::PATCH, &path, &headers, change("Other")).await;
    assert_problem!(late, 412, "precondition_failed");
    let cleared =
        admin.patch(&path, json!({ "name": null, "username": null, "email": "countess@example.org" })).await.expect(200);
    assert!(cleared.get("name").is_none() && cleared.get("username").is_none());
    app.nobody().log_in("countess@example.org", PASSWORD).await;
}

#[tokio::test]
async fn setting_a_password_ends_all_sessions() {
    let app = TestApp::start().await;
    let (admin, ada) = (app.admin().await, app.user("ada").await);
    let path = format!("{}/password", path_of(&ada).await);
    assert_problem!(admin.put(&path, json!({ "new_password": "ada@example.org" })).await, 422, "validation_failed");
    admin.put(&path, json!({ "new_password": "another horse battery staple" })).await.expect(204);
    assert_problem!(ada.get("/v1/me").await, 401, "session_ended");
    app.nobody().log_in("ada", "another horse battery staple").await;
}

#[tokio::test]
async fn p05_a_deleted_users_names_are_free_and_inherit_nothing() {
    let app = TestApp::start().await;
    let (admin, ada) = (app.admin().await, app.holding("ada", &["users:read"]).await);
    let path = path_of(&ada).await;
    admin.delete(&path, json!(null)).await.expect(204);
    assert_problem!(ada.get("/v1/me").await, 401, "session_ended");
    assert_problem!(admin.get(&path).await, 404, "not_found");
    let again = app.user("ada").await;
    assert_ne!(path_of(&again).await, path);
    assert_problem!(again.get("/v1/users").await, 403, "insufficient_permission");
    assert_problem!(ada.get("/v1/me").await, 401, "session_ended");
}

#[tokio::test]
async fn s07_people_see_and_end_their_own_sessions_and_administrators_anybodys() {
    let app = TestApp::start().await;
    let phone = app.user("ada").await;
    app.clock.advance(minutes(1));
    let laptop = app.nobody().log_in("ada", PASSWORD).await;
    let bob = app.user("bob").await;
    let listed = laptop.get("/v1/me/sessions").await.expect(200);
    let sessions: Vec<_> =
        listed["items"].as_array().unwrap().iter().map(|it| (it["id"].clone(), it["current"] == true)).collect();
    assert_eq!(sessions.iter().map(|it| it.1).collect::<Vec<_>>(), [true, false]);
    let phones = format!("/v1/me/sessions/{}", sessions[1].0.as_str().unwrap());
    assert_problem!(bob.delete(&phones, json!(null)).await, 404, "not_found");
    phone.get("/v1/me").await.expect(200);
    laptop.delete(&phones, json!(null)).await.expect(204);
    assert_problem!(phone.get("/v1/me").await, 401, "session_ended");
    assert_problem!(laptop.delete(&phones, json!(null)).await, 404, "not_found");
    assert_problem!(laptop.delete("/v1/me/sessions/nonsense", json!(null)).await, 404, "not_found");

    let tablet = app.nobody().log_in("ada", PASSWORD).await;
    laptop.delete("/v1/me/sessions?except_current=true", json!(null)).await.expect(204);
    assert_problem!(tablet.get("/v1/me").await, 401, "session_ended");
    laptop.get("/v1/me").await.expect(200);

    let admin = app.admin().await;
    let path = format!("{}/sessions", path_of(&laptop).await);
    assert_eq!(admin.get(&path).await.expect(200)["items"].as_array().unwrap().len(), 1);
    admin.delete(&path, json!(null)).await.expect(204);
    assert_problem!(laptop.get("/v1/me").await, 401, "session_ended");
    assert_problem!(admin.get(&format!("{NOBODYS}/sessions")).await, 404, "not_found");
}

#[tokio::test]
async fn s06_a_session_nobody_used_in_time_is_listed_no_more() {
    let app = TestApp::start_with(|settings| settings.sessions.idle_ttl = std::time::Duration::from_hours(1)).await;
    app.user("ada").await;
    app.clock.advance(std::time::Duration::from_hours(2));
    let now = app.nobody().log_in("ada", PASSWORD).await;
    assert_eq!(now.get("/v1/me/sessions").await.expect(200)["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a05_nobody_touches_an_account_that_holds_more_than_they_do() {
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
async fn a06_the_last_administrator_stays_whatever_they_try() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let id: UserId = admin.get("/v1/me").await.expect(200)["id"].as_str().unwrap().parse().unwrap();
    let proof = json!({ "current_password": app.admin_password() });
    assert_problem!(admin.delete("/v1/me", proof.clone()).await, 409, "last_admin");
    // The operator holds everything, and still cannot.
    let refused = users::set_roles(&app.app, By::Operator, id, &[RoleName::user()]).await;
    assert!(matches!(refused, Err(Error::LastAdmin)));
    let disabled = Change { status: Some(Status::Disabled), ..Change::default() };
    let refused = users::update(&app.app, By::Operator, id, disabled, None).await;
    assert!(matches!(refused, Err(Error::LastAdmin)));
    assert!(matches!(users::delete(&app.app, By::Operator, id).await, Err(Error::LastAdmin)));
    // A disabled second one does not count.
    let mut second = person("second");
    second["roles"] = json!(["admin"]);
    let second = admin.post("/v1/users", second).await.expect(201);
    admin.patch(&format!("/v1/users/{}", second["id"].as_str().unwrap()), json!({ "status": "disabled" })).await.expect(200);
    assert_problem!(admin.delete("/v1/me", proof).await, 409, "last_admin");
    admin.get("/v1/me").await.expect(200);
}

#[tokio::test]
async fn a06_of_two_administrators_who_remove_each_other_one_is_left() {
    for round in 0..8 {
        let app = TestApp::start().await;
        let other_replica = app.replica().await;
        let first = app.admin().await;
        let mut second = person("second");
        second["roles"] = json!(["admin"]);
        first.post("/v1/users", second).await.expect(201);
        let second = other_replica.bearer(&app.nobody().log_in("second", PASSWORD).await.token.unwrap());
        let (paths, nothing) = ((path_of(&first).await, path_of(&second).await), json!({ "roles": [] }));
        let (one, other) = if round % 2 == 0 {
            let (to_second, to_first) = (format!("{}/roles", paths.1), format!("{}/roles", paths.0));
            tokio::join!(first.put(&to_second, nothing.clone()), second.put(&to_first, nothing))
        } else {
            tokio::join!(first.delete(&paths.1, json!(null)), second.delete(&paths.0, json!(null)))
        };
        let won = [&one, &other].iter().filter(|it| it.status < 300).count();
        assert_eq!(won, 1, "{one:?} {other:?}");
        let lost = if one.status < 300 { &other } else { &one };
        assert!(["last_admin", "stale_token", "session_ended"].contains(&lost.problem().1), "{lost:?}");
    }
}

#[tokio::test]
async fn a06_of_two_administrators_who_step_down_at_once_one_stays() {
    let app = TestApp::start().await;
    let first = app.admin().await;
    let mut second = person("second");
    second["roles"] = json!(["admin"]);
    first.post("/v1/users", second).await.expect(201);
    let second = app.nobody().log_in("second", PASSWORD).await;
    let proof = |password: &str| json!({ "current_password": password });
    let (one, other) =
        tokio::join!(first.delete("/v1/me", proof(app.admin_password())), second.delete("/v1/me", proof(PASSWORD)));
    let mut answers = [one.problem(), other.problem()];
    answers.sort_unstable();
    assert_eq!(answers, [(204, "(no problem)"), (409, "last_admin")]);
}

#[tokio::test]
async fn p08_whoever_holds_only_an_administrators_token_does_not_take_the_account_over() {
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
    // A permission comes first, and names may be changed here too.
    assert_problem!(ada.delete(&adas, json!(null)).await, 403, "insufficient_permission");
    assert_eq!(admin.patch(&own, json!({ "name": "Root" })).await.expect(200)["name"], "Root");
    admin.put(&format!("{adas}/password"), password).await.expect(204);
}

#[tokio::test]
async fn a03_what_is_not_there_is_not_found() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    for path in [NOBODYS, "/v1/users/1", "/v1/users/00000000-0000-0000-0000-00000000000g", "/v1/users/%ff"] {
        assert_problem!(admin.get(path).await, 404, "not_found");
        assert_problem!(admin.patch(path, json!({ "name": "X" })).await, 404, "not_found");
        assert_problem!(admin.delete(path, json!(null)).await, 404, "not_found");
        assert_problem!(admin.put(&format!("{path}/roles"), json!({ "roles": [] })).await, 404, "not_found");
    }
    for (path, missing) in [
        (NOBODYS, "user"),
        ("/v1/users/1", "user"),
        ("/v1/users/%ff", "path"),
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
