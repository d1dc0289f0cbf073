//! Lost factors: recovery codes, and administrators and operators who remove factors. And the notices of all that.

use std::time::Duration;

use serde_json::json;
use vestibule::domain::{authority::By, factors};

use crate::{
    assert_problem,
    support::{
        PASSWORD, TestApp,
        authenticator::{STEP, recovery_code, texts, totp},
        clock::minutes,
    },
};

#[tokio::test]
async fn new_recovery_codes_replace_the_old_ones() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    let new = texts(&owner.caller.post("/v1/me/recovery-codes", json!(null)).await.expect(201)["codes"]);
    assert!(new.len() == 10 && !new.iter().any(|code| owner.recovery_codes.contains(code)));
    let challenge = app.challenge("ada").await;
    assert_problem!(app.complete(&challenge, &recovery_code(&owner.recovery_codes[0])).await, 401, "wrong_factor");
    app.complete(&challenge, &recovery_code(&new[0])).await.expect(201);
}

#[tokio::test]
async fn an_administrator_removes_the_factors_of_a_user_who_has_lost_them() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    let helper = app.holding("helper", &["users:read", "users:recover"]).await;
    let path = format!("/v1/users/{}/factors", owner.id);
    let listed = helper.get(&path).await.expect(200);
    assert_eq!(listed["items"][0]["id"], owner.authenticator.id);
    assert!(!listed.to_string().contains(&owner.authenticator.secret));
    let waiting = app.challenge("ada").await;
    let before = app.anonymous().post("/v1/password-resets", json!({ "identifier": "ada" })).await;
    before.expect(202);
    let link = app.mail("reset", "ada@example.org").await;

    helper.delete(&path, json!(null)).await.expect(204);
    assert_problem!(owner.caller.get("/v1/me").await, 401, "session_ended");
    assert_problem!(app.complete(&waiting, &owner.authenticator.factor()).await, 401, "invalid_challenge");
    let reset = json!({ "proof": { "kind": "link", "token": link.token() }, "new_password": "nine grey gulls at noon" });
    assert_problem!(app.anonymous().post("/v1/password-resets/complete", reset).await, 422, "validation_failed");
    assert_eq!(helper.get(&path).await.expect(200)["items"], json!([]));
    let ada = app.anonymous().log_in("ada", PASSWORD).await;
    assert_eq!(ada.get("/v1/me").await.expect(200)["second_factor"], false);
    let event = app.event("user.factors_reset").await;
    assert_eq!((event.actor_name.as_deref(), event.subject_name.as_deref()), (Some("helper"), Some("ada")));
    let notice = app.mail("factors_reset", "ada@example.org").await;
    assert_eq!((notice.token, notice.code), (None, None));
}

#[tokio::test]
async fn nobody_removes_the_factors_of_a_user_with_more_permissions_or_their_own() {
    let app = TestApp::start().await;
    let helper = app.holding("helper", &["users:read", "users:recover"]).await;
    let admin = app.admin().await;
    let id = |caller: &serde_json::Value| caller["id"].as_str().unwrap().to_owned();
    let (own, of_admin) = (id(&helper.get("/v1/me").await.body), id(&admin.get("/v1/me").await.body));
    assert_problem!(helper.delete(&format!("/v1/users/{own}/factors"), json!(null)).await, 409, "own_account");
    assert_problem!(helper.delete(&format!("/v1/users/{of_admin}/factors"), json!(null)).await, 403, "escalation_denied");
    let nobody = "019b76da-a800-7000-8000-000000000000";
    assert_problem!(helper.delete(&format!("/v1/users/{nobody}/factors"), json!(null)).await, 404, "not_found");
    assert_problem!(helper.get(&format!("/v1/users/{nobody}/factors")).await, 404, "not_found");
}

#[tokio::test]
async fn the_sessions_of_a_user_whose_factors_are_removed_end_at_every_server() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    let other = app.replica().await;
    let elsewhere = other.bearer(owner.caller.token.as_deref().unwrap());
    elsewhere.get("/v1/me").await.expect(200);
    factors::reset(&app.app, By::Operator, owner.id).await.unwrap();
    vestibule::domain::revocations::follow(&other.app).await.unwrap();
    assert_problem!(elsewhere.get("/v1/me").await, 401, "session_ended");
}

#[tokio::test]
async fn the_owner_is_told_of_each_change_of_a_factor_and_of_each_use_of_a_code() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    let told = async || {
        let kinds = app.mails().await.into_iter().filter(|mail| mail.to == "ada@example.org").map(|mail| mail.kind);
        let mut kinds: Vec<_> = kinds.collect();
        kinds.sort();
        kinds
    };
    assert_eq!(told().await, ["factor_added"], "one mail tells of the factor and its codes");
    let codes = texts(&owner.caller.post("/v1/me/recovery-codes", json!(null)).await.expect(201)["codes"]);
    assert_eq!(told().await, ["factor_added", "recovery_codes_created"]);
    for code in &codes[..6] {
        app.log_in_with("ada", &recovery_code(code)).await;
        app.clock.advance(minutes(30));
    }
    assert_eq!(told().await.iter().filter(|kind| *kind == "recovery_code_used").count(), 6);
    assert!(!told().await.contains(&"recovery_codes_low".to_owned()));
    let ada = app.log_in_with("ada", &recovery_code(&codes[6])).await;
    let low = app.mail("recovery_codes_low", "ada@example.org").await;
    assert!(low.text.contains("3 are left"), "{}", low.text);
    let used = app.mail("recovery_code_used", "ada@example.org").await;
    assert!(used.text.contains("Codes left: 3") && !used.text.contains(&codes[6]), "{}", used.text);
    app.clock.advance(minutes(60));
    let removed = app.log_in_with("ada", &owner.authenticator.factor()).await;
    removed.delete(&format!("/v1/me/factors/{}", owner.authenticator.id), json!(null)).await.expect(204);
    let notice = app.mail("factor_removed", "ada@example.org").await;
    assert!(notice.text.contains("Factor: authenticator app"), "{}", notice.text);
    drop(ada);
}

#[tokio::test]
async fn the_owner_is_told_of_three_wrong_factors_and_forgotten_mistakes_do_not_count() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    let wrong = totp(&owner.authenticator.wrong_code());
    let told = async || app.mails().await.iter().filter(|mail| mail.kind == "factor_refused").count();
    let fail = async |times: usize| {
        let challenge = app.challenge("ada").await;
        for _ in 0..times {
            assert_problem!(app.complete(&challenge, &wrong).await, 401, "wrong_factor");
        }
    };
    fail(2).await;
    app.log_in_with("ada", &owner.authenticator.factor()).await;
    fail(2).await;
    assert_eq!(told().await, 0, "a log-in forgets them");
    // Another challenge does not.
    fail(1).await;
    assert_eq!(told().await, 1);
    app.clock.advance(Duration::from_hours(25));
    app.trusted().await;
    fail(2).await;
    assert_eq!(told().await, 1, "those of yesterday do not count");
    fail(1).await;
    assert_eq!(told().await, 2);
    let events = app.events().await;
    assert_eq!(events.iter().filter(|event| event.kind == "factor.refused").count(), 8);
}

#[tokio::test]
async fn a_new_network_is_reported_after_the_complete_log_in_alone() {
    use crate::throttle::{ELSEWHERE, HOME, log_in, send, throttled};
    let app = throttled().await;
    let owner = app.owner("ada").await;
    let told = async || app.mails().await.iter().filter(|mail| mail.kind == "new_sign_in").count();
    let at = async |network: &str, factor: serde_json::Value| {
        let challenge = log_in(&app, network, "ada", PASSWORD).await.body["challenge"].clone();
        let body = json!({ "challenge": challenge, "factor": factor });
        send(&app, network, poem::http::Method::POST, "/v1/sessions/second-factor", None, body).await
    };
    let before = told().await;
    at(HOME, owner.authenticator.factor()).await.expect(201);
    let at_home = told().await;
    app.clock.advance(minutes(61));
    assert_problem!(at(ELSEWHERE, totp(&owner.authenticator.wrong_code())).await, 401, "wrong_factor");
    assert_eq!((told().await, at_home - before), (at_home, 1), "a password alone is no log-in");
    app.clock.advance(Duration::from_secs(STEP));
    at(ELSEWHERE, owner.authenticator.factor()).await.expect(201);
    assert_eq!(told().await, at_home + 1);
}
