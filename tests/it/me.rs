//! The caller's own account: reading it, updating it, changing its password and closing it.

use std::{collections::BTreeSet, fs};

use poem::{Body, http::Method};
use rstest::rstest;
use serde_json::{Value, json};
use vestibule::{entity::user_role, values::role_name::RoleName};

use crate::{
    accounts::FORBIDDEN_MEMBERS,
    assert_problem,
    support::{
        PASSWORD, TestApp,
        caller::{Answer, Caller},
        clock::minutes,
    },
};

const NEW_PASSWORD: &str = "another horse battery staple";
const WRONG: &str = "wrong horse battery staple";

async fn patch_if_match(caller: &Caller<'_>, condition: &str, body: Value) -> Answer {
    let headers = [("content-type", "application/json"), ("if-match", condition)];
    caller.send(Method::PATCH, "/v1/me", &headers, Body::from_string(body.to_string())).await
}

#[tokio::test]
async fn a_signed_in_user_can_read_their_account() {
    let app = TestApp::start().await;
    app.register("ada").await;
    app.clock.advance(minutes(1));
    let ada = app.anonymous().log_in("ada", PASSWORD).await;
    let answer = ada.get("/v1/me").await;
    assert!(answer.header("etag").starts_with('"'));
    assert_eq!(answer.header("cache-control"), "no-store");
    let me = answer.expect(200);
    let expected = json!({
        "id": me["id"], "email": "ada@example.org", "email_verified": false, "username": "ada", "status": "active", "roles": ["user"],
        "second_factor": false, "created_at": me["created_at"], "updated_at": me["created_at"], "last_login_at": me["last_login_at"],
    });
    assert_eq!(me, expected);
    assert!(me["last_login_at"].as_str() > me["created_at"].as_str());
}

#[tokio::test]
async fn names_can_be_changed_cleared_and_kept() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    let before = ada.get("/v1/me").await.expect(200);
    app.clock.advance(minutes(1));
    let me = ada.patch("/v1/me", json!({ "name": "Ada Lovelace", "username": "Countess" })).await.expect(200);
    assert_eq!((&me["name"], &me["username"]), (&json!("Ada Lovelace"), &json!("countess")));
    assert!(me["updated_at"].as_str().unwrap().starts_with("2026-01-01T00:01:00"));
    assert_eq!((&me["id"], &me["created_at"]), (&before["id"], &before["created_at"]));
    let me = ada.patch("/v1/me", json!({ "name": null })).await.expect(200);
    assert_eq!((me.get("name"), &me["username"]), (None, &json!("countess")));
    let me = ada.patch("/v1/me", json!({ "username": null })).await.expect(200);
    assert_eq!(me.get("username"), None);
    assert_eq!(ada.get("/v1/me").await.expect(200), me);
    app.register("ada2").await;
    assert_problem!(ada.patch("/v1/me", json!({ "username": "ADA2" })).await, 409, "username_taken");
    ada.patch("/v1/me", json!({ "username": "ada" })).await.expect(200);
}

#[tokio::test]
async fn a_change_is_audited_with_the_values_before_and_after() {
    let app = TestApp::without_mail().await;
    let ada = app.user("ada").await;
    let body = json!({ "name": "Ada", "email": "Ada@Example.net", "current_password": PASSWORD });
    let answer = ada.patch("/v1/me", body).await;
    let request_id = answer.header("x-request-id").to_owned();
    answer.expect(200);
    let event = app.event("account.updated").await;
    let expected = json!({
        "email": { "before": "ada@example.org", "after": "ada@example.net" },
        "name": { "before": null, "after": "Ada" },
    });
    assert_eq!(event.details.0, expected);
    assert_eq!(event.request_id.unwrap().to_string(), request_id);
    assert!(event.actor_id.is_some() && event.session_id.is_some());
    assert!(!format!("{:?}", app.events().await).contains(PASSWORD));
}

#[tokio::test]
async fn an_update_that_changes_nothing_writes_nothing() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    let (rows, before) = (app.rows().await, ada.get("/v1/me").await);
    app.clock.advance(minutes(1));
    for body in [json!({}), json!({ "username": "ADA" }), json!({ "name": null })] {
        let answer = ada.patch("/v1/me", body).await;
        assert_eq!(answer.header("etag"), before.header("etag"));
        assert_eq!(answer.expect(200), before.body);
    }
    assert_eq!(app.rows().await, rows);
}

#[rstest]
#[case(json!({ "email": null }), &[("/email", "type")])]
#[case(json!({ "current_password": null }), &[("/current_password", "type")])]
#[case(json!({ "name": "", "username": "a" }), &[("/name", "too_short"), ("/username", "too_short")])]
#[case(json!({ "name": "Ada\u{202e}" }), &[("/name", "not_allowed")])]
#[case(json!({ "name": "Ada\0" }), &[("/name", "not_allowed")])]
#[case(json!({ "name": 1, "username": [] }), &[("/name", "type"), ("/username", "type")])]
#[case(json!({ "email": "ada" }), &[("/email", "format")])]
#[case(json!({ "email": "grace@example.org" }), &[("/current_password", "required")])]
#[case(json!({ "email": "grace@example.org", "current_password": WRONG }), &[("/current_password", "wrong_password")])]
#[tokio::test]
async fn a_rejected_update_changes_nothing(#[case] body: Value, #[case] faults: &[(&str, &str)]) {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    let before = ada.get("/v1/me").await.expect(200);
    let answer = assert_problem!(ada.patch("/v1/me", body).await, 422, "validation_failed");
    assert_eq!(answer.faults(), faults);
    assert_eq!(ada.get("/v1/me").await.expect(200), before);
}

#[tokio::test]
async fn p06_users_cannot_change_their_own_roles() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    let (before, rows) = (ada.get("/v1/me").await.expect(200), app.rows().await);
    for (member, value) in FORBIDDEN_MEMBERS {
        let mut body = json!({ "name": "Ada" });
        body[member] = serde_json::from_str::<Value>(value).unwrap();
        let answer = assert_problem!(ada.patch("/v1/me", body).await, 422, "validation_failed");
        assert_eq!(answer.faults(), [(format!("/{member}").as_str(), "unknown_member")]);
    }
    let json = [("content-type", "application/json")];
    let twice = Body::from_string(r#"{"name":"Ada","name":"Eve"}"#.into());
    assert_problem!(ada.send(Method::PATCH, "/v1/me", &json, twice).await, 400, "malformed_request");
    assert_eq!(ada.get("/v1/me").await.expect(200), before);
    assert_eq!(app.rows().await, rows);
}

#[tokio::test]
async fn p08_a_new_address_requires_the_password_and_replaces_the_old_address_at_log_in() {
    let app = TestApp::without_mail().await;
    app.register("grace").await;
    let ada = app.user("ada").await;
    let address = |email: &str| json!({ "email": email, "current_password": PASSWORD });
    assert_problem!(ada.patch("/v1/me", address("GRACE@example.org")).await, 409, "email_taken");
    let me = ada.patch("/v1/me", address("Ada@Bücher.example")).await.expect(200);
    assert_eq!(me["email"], "ada@xn--bcher-kva.example");
    app.anonymous().log_in("ada@bücher.example", PASSWORD).await;
    let old = json!({ "identifier": "ada@example.org", "password": PASSWORD });
    assert_problem!(app.anonymous().post("/v1/sessions", old).await, 401, "invalid_credentials");
    assert_eq!(app.event("account.updated").await.details.0["email"]["before"], "ada@example.org");
}

#[tokio::test]
async fn the_current_address_requires_no_password_in_any_spelling() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    for email in ["ada@example.org", "ADA@Example.ORG", " ada@example.org ", "ada@ｅｘａｍｐｌｅ.org"] {
        let me = ada.patch("/v1/me", json!({ "email": email, "name": "Ada" })).await.expect(200);
        assert_eq!((&me["email"], &me["name"]), (&json!("ada@example.org"), &json!("Ada")));
        ada.patch("/v1/me", json!({ "email": email, "current_password": WRONG })).await.expect(200);
    }
    let rejected = ada.patch("/v1/me", json!({ "email": "ada@example.net" })).await;
    assert_eq!(assert_problem!(rejected, 422, "validation_failed").faults(), [("/current_password", "required")]);
}

#[tokio::test]
async fn every_version_has_its_own_etag_and_if_match_must_name_the_current_one() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    let mut etags = vec![ada.get("/v1/me").await.header("etag").to_owned()];
    for name in ["Ada", "Augusta", "Ada"] {
        let answer = patch_if_match(&ada, etags.last().unwrap(), json!({ "name": name })).await;
        etags.push(answer.header("etag").to_owned());
        answer.expect(200);
        assert_eq!(ada.get("/v1/me").await.header("etag"), etags.last().unwrap());
    }
    ada.log_in("ada", PASSWORD).await;
    let (distinct, now) = (etags.iter().collect::<BTreeSet<_>>().len(), etags.last().unwrap().clone());
    assert_eq!(distinct, etags.len(), "{etags:?}");
    assert_eq!(ada.get("/v1/me").await.header("etag"), now, "a log-in must not change the etag");

    let not_matching =
        [etags[0].as_str(), "\"x\"", now.trim_matches('"'), "\"\"", "\"999é\"", "é", "", &format!("{now}é"), "*, *"];
    for condition in not_matching {
        assert_problem!(patch_if_match(&ada, condition, json!({ "name": "Eve" })).await, 412, "precondition_failed");
    }
    let too_long = format!("\"{}\"", "x".repeat(1023));
    assert_problem!(patch_if_match(&ada, &too_long, json!({ "name": "Eve" })).await, 400, "malformed_request");
    assert_eq!(ada.get("/v1/me").await.expect(200)["name"], "Ada");
    patch_if_match(&ada, "*", json!({ "name": "Lady Ada" })).await.expect(200);
    for condition in ["\"x\", TAG", "W/TAG", ",\"é\", W/TAG,"] {
        let now = ada.get("/v1/me").await.header("etag").to_owned();
        patch_if_match(&ada, &condition.replace("TAG", &now), json!({ "name": condition })).await.expect(200);
    }
    let now = ada.get("/v1/me").await.header("etag").to_owned();
    let json = ("content-type", "application/json");
    let lines = [json, ("if-match", "\"é\""), ("if-match", &now)];
    ada.send(Method::PATCH, "/v1/me", &lines, r#"{"name":"Ada"}"#.into()).await.expect(200);
    let answer = ada.send(Method::PATCH, "/v1/me", &lines, r#"{"name":"Eve"}"#.into()).await;
    assert_problem!(answer, 412, "precondition_failed");
}

#[tokio::test]
async fn a_new_password_keeps_this_session_and_ends_the_others() {
    let app = TestApp::start().await;
    let here = app.user("ada").await;
    let (there, grace) = (here.log_in("ada", PASSWORD).await, app.user("grace").await);
    there.get("/v1/me").await.expect(200);
    let change = json!({ "current_password": PASSWORD, "new_password": NEW_PASSWORD });
    here.put("/v1/me/password", change).await.expect(204);
    here.get("/v1/me").await.expect(200);
    grace.get("/v1/me").await.expect(200);
    for path in ["/v1/me", "/v1/token"] {
        assert_problem!(there.get(path).await, 401, "session_ended");
    }
    assert_problem!(there.patch("/v1/me", json!({ "name": "Eve" })).await, 401, "session_ended");
    let old = json!({ "identifier": "ada", "password": PASSWORD });
    assert_problem!(app.anonymous().post("/v1/sessions", old).await, 401, "invalid_credentials");
    app.anonymous().log_in("ada", NEW_PASSWORD).await;
    let event = app.event("account.password_changed").await;
    assert!(event.session_id.is_some() && event.request_id.is_some());
    let trail = format!("{:?}", app.events().await);
    assert!(!trail.contains(PASSWORD) && !trail.contains(NEW_PASSWORD));
}

#[rstest]
#[case(json!({}), &[("/current_password", "required"), ("/new_password", "required")])]
#[case(json!({ "current_password": WRONG, "new_password": NEW_PASSWORD }), &[("/current_password", "wrong_password")])]
#[case(json!({ "current_password": PASSWORD, "new_password": "short" }), &[("/new_password", "too_short")])]
#[case(json!({ "current_password": PASSWORD, "new_password": "password123" }), &[("/new_password", "common_password")])]
#[case(json!({ "current_password": PASSWORD, "new_password": "ada@example.org" }), &[("/new_password", "contains_identity")])]
#[tokio::test]
async fn a_rejected_password_change_keeps_the_password_and_the_sessions(#[case] body: Value, #[case] faults: &[(&str, &str)]) {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    let other = ada.log_in("ada", PASSWORD).await;
    let answer = assert_problem!(ada.put("/v1/me/password", body).await, 422, "validation_failed");
    assert_eq!(answer.faults(), faults);
    other.get("/v1/me").await.expect(200);
    ada.log_in("ada", PASSWORD).await;
}

#[tokio::test]
async fn a_wrong_current_password_is_audited() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    let wrong = json!({ "current_password": WRONG });
    let answer = assert_problem!(ada.delete("/v1/me", wrong).await, 422, "validation_failed");
    assert_eq!(answer.faults(), [("/current_password", "wrong_password")]);
    let event = app.event("account.password_refused").await;
    assert!(event.actor_id.is_some() && event.session_id.is_some());
    assert!(!format!("{event:?}").contains(WRONG));
    ada.get("/v1/me").await.expect(200);
}

#[tokio::test]
async fn of_two_concurrent_password_changes_one_is_rejected() {
    let app = TestApp::with_one_hashing_thread().await;
    let (one, other) = (app.user("ada").await, app.anonymous().log_in("ada", PASSWORD).await);
    let hold = app.hold_hashing().await;
    let release = async {
        app.until_waiting(2).await; // both have read the account
        drop(hold);
    };
    let change = |new: &str| json!({ "current_password": PASSWORD, "new_password": new });
    let (first, second, ()) = tokio::join!(
        one.put("/v1/me/password", change("first horse battery staple")),
        other.put("/v1/me/password", change("second horse battery staple")),
        release
    );
    let (winner, loser) = if first.status == 204 { ("first", second) } else { ("second", first) };
    assert!(matches!(loser.problem(), (422, "validation_failed") | (401, "session_ended")), "{:#}", loser.body);
    app.anonymous().log_in("ada", &format!("{winner} horse battery staple")).await;
    assert_eq!(app.rows().await["sessions"], 2);
}

#[tokio::test]
async fn closing_an_account_deletes_the_account_and_its_sessions() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    let other = ada.log_in("ada", PASSWORD).await;
    ada.delete("/v1/me", json!({ "current_password": PASSWORD })).await.expect(204);
    for caller in [&ada, &other] {
        assert_problem!(caller.get("/v1/me").await, 401, "session_ended");
        assert_problem!(caller.get("/v1/token").await, 401, "session_ended");
    }
    let log_in = json!({ "identifier": "ada", "password": PASSWORD });
    assert_problem!(app.anonymous().post("/v1/sessions", log_in).await, 401, "invalid_credentials");
    let rows = app.rows().await;
    assert_eq!((rows["users"], rows["sessions"], rows["user_roles"]), (1, 0, 2));
    let event = app.event("account.closed").await;
    assert_eq!(event.actor_name.as_deref(), Some("ada"));
    assert_eq!(event.details.0, json!({ "roles": ["user"] }));
}

#[tokio::test]
async fn the_last_administrator_cannot_close_their_account() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    let password = fs::read_to_string(app.directory.path().join("data/initial-admin-password")).unwrap();
    let proof = json!({ "current_password": password.trim() });
    let rows = app.rows().await;
    assert_problem!(admin.delete("/v1/me", proof.clone()).await, 409, "last_admin");
    assert_eq!(app.rows().await, rows);
    admin.get("/v1/me").await.expect(200);

    let second = app.register("grace").await;
    let tx = app.app.db.write().await.unwrap();
    user_role::replace(&tx, second, [RoleName::admin()]).await.unwrap();
    tx.commit().await.unwrap();
    admin.delete("/v1/me", proof).await.expect(204);
}

#[tokio::test]
async fn p08_a_token_alone_cannot_take_over_an_account() {
    let app = TestApp::start().await;
    let thief = app.user("ada").await;
    let before = thief.get("/v1/me").await.expect(200);
    for (method, path, body) in [
        (Method::PATCH, "/v1/me", json!({ "email": "eve@example.org" })),
        (Method::PUT, "/v1/me/password", json!({ "new_password": NEW_PASSWORD })),
        (Method::DELETE, "/v1/me", json!({})),
    ] {
        let answer = assert_problem!(thief.json(method, path, &body).await, 422, "validation_failed");
        assert_eq!(answer.faults(), [("/current_password", "required")]);
    }
    assert_eq!(thief.get("/v1/me").await.expect(200), before);
}

#[tokio::test]
async fn changes_under_hashing_overload_are_rejected_and_write_nothing() {
    let app = TestApp::with_one_hashing_thread().await;
    let ada = app.user("ada").await;
    let (before, rows) = (ada.get("/v1/me").await.expect(200), app.rows().await);
    let _busy = app.fill_hashing_queue().await;
    for (method, path, body) in [
        (Method::PATCH, "/v1/me", json!({ "email": "eve@example.org", "current_password": PASSWORD })),
        (Method::PUT, "/v1/me/password", json!({ "current_password": PASSWORD, "new_password": NEW_PASSWORD })),
        (Method::DELETE, "/v1/me", json!({ "current_password": PASSWORD })),
    ] {
        let answer = assert_problem!(ada.json(method, path, &body).await, 503, "overloaded");
        assert_eq!(answer.header("retry-after"), "2");
    }
    assert_eq!(ada.get("/v1/me").await.expect(200), before);
    assert_eq!(app.rows().await, rows);
}
