//! Log-ins with a second factor: what a challenge permits, and what works once.

use std::time::Duration;

use poem::{Body, http::Method};
use serde_json::json;

use crate::{
    assert_problem,
    password_resets::assert_fault,
    support::{
        PASSWORD, TestApp,
        authenticator::{STEP, challenge, recovery_code, totp},
        clock::minutes,
    },
};

#[tokio::test]
async fn a_password_alone_opens_no_session_and_sets_no_cookie() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    let before = app.rows().await;
    let asked = app.log_in("ada").await;
    assert!(!asked.headers.contains_key("set-cookie"));
    assert_eq!(asked.header("www-authenticate"), r#"Bearer realm="vestibule""#);
    assert_eq!((&asked.body["factors"], &asked.body["expires_in"]), (&json!(["totp", "recovery_code"]), &json!(600)));
    assert_eq!(app.rows().await["sessions"], before["sessions"]);
    app.event("session.log_in_challenged").await;
    let completed = app.complete(&challenge(&asked), &owner.authenticator.factor()).await;
    let ada = app.bearer(completed.expect(201)["access_token"].as_str().unwrap());
    let token = ada.get("/v1/token").await.expect(200);
    assert_eq!((&token["acr"], &token["amr"]), (&json!("2"), &json!(["pwd", "otp", "mfa"])));
    assert_eq!(ada.get("/v1/me/factors").await.expect(200)["items"][0]["last_used_at"], token["auth_time"]);
}

#[tokio::test]
async fn a_wrong_password_says_nothing_of_the_factor() {
    let app = TestApp::start().await;
    app.owner("ada").await;
    let wrong = json!({ "identifier": "ada", "password": "wrong horse battery staple" });
    let refused = app.anonymous().post("/v1/sessions", wrong).await;
    assert_problem!(&refused, 401, "invalid_credentials");
    assert!(refused.body["challenge"].is_null() && refused.body["factors"].is_null());
}

#[tokio::test]
async fn the_cookie_comes_with_the_completed_log_in() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    let challenge = app.challenge("ada").await;
    let body = json!({ "challenge": challenge, "factor": owner.authenticator.factor(), "transport": "cookie" }).to_string();
    let send = async |headers: &[(&str, &str)]| {
        let headers = [&[("content-type", "application/json")], headers].concat();
        let body = Body::from_string(body.clone());
        app.anonymous().send(Method::POST, "/v1/sessions/second-factor", &headers, body).await
    };
    assert_problem!(send(&[("sec-fetch-site", "cross-site")]).await, 403, "csrf_rejected");
    let completed = send(&[("sec-fetch-site", "same-origin")]).await;
    let cookies: Vec<_> = completed.headers.get_all("set-cookie").iter().map(|cookie| cookie.to_str().unwrap()).collect();
    assert!(cookies[0].starts_with("__Host-vestibule_refresh=") && cookies[1].starts_with("__Host-vestibule_browser="));
    assert!(completed.expect(201)["refresh_token"].is_null());
}

#[tokio::test]
async fn f01_the_code_of_a_step_works_once_and_no_earlier_one_after_it() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    let code = owner.authenticator.code();
    // The code of the enrolment was that of the step before.
    let challenge = app.challenge("ada").await;
    assert_problem!(app.complete(&challenge, &totp(&owner.authenticator.code_of(-1))).await, 401, "wrong_factor");
    app.complete(&challenge, &totp(&code)).await.expect(201);
    let challenge = app.challenge("ada").await;
    for steps in [-1, 0] {
        assert_problem!(app.complete(&challenge, &totp(&owner.authenticator.code_of(steps))).await, 401, "wrong_factor");
    }
    app.complete(&challenge, &totp(&owner.authenticator.code_of(1))).await.expect(201);
    app.clock.advance(Duration::from_secs(STEP));
    let challenge = app.challenge("ada").await;
    assert_problem!(app.complete(&challenge, &owner.authenticator.factor()).await, 401, "wrong_factor");
    app.clock.advance(Duration::from_secs(STEP));
    app.complete(&challenge, &owner.authenticator.factor()).await.expect(201);
}

#[tokio::test]
async fn a_clock_that_is_a_step_off_is_accepted_and_two_steps_are_not() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    app.clock.advance(minutes(5));
    let challenge = app.challenge("ada").await;
    for steps in [-2, 2] {
        assert_problem!(app.complete(&challenge, &totp(&owner.authenticator.code_of(steps))).await, 401, "wrong_factor");
    }
    app.complete(&challenge, &totp(&owner.authenticator.code_of(-1))).await.expect(201);
    app.log_in_with("ada", &totp(&owner.authenticator.code_of(1))).await;
}

#[tokio::test]
async fn f01_a_recovery_code_works_once_in_any_spelling() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    let spelled = owner.recovery_codes[0].to_lowercase().replace('-', " ");
    app.log_in_with("ada", &recovery_code(&spelled)).await;
    let challenge = app.challenge("ada").await;
    assert_problem!(app.complete(&challenge, &recovery_code(&owner.recovery_codes[0])).await, 401, "wrong_factor");
    app.complete(&challenge, &recovery_code(&owner.recovery_codes[1])).await.expect(201);
    app.owner("eve").await;
    let challenge = app.challenge("eve").await;
    assert_problem!(app.complete(&challenge, &recovery_code(&owner.recovery_codes[2])).await, 401, "wrong_factor");
}

#[tokio::test]
async fn without_codes_the_challenge_offers_none() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    for code in &owner.recovery_codes {
        app.log_in_with("ada", &recovery_code(code)).await;
    }
    assert_eq!(app.log_in("ada").await.body["factors"], json!(["totp"]));
}

#[tokio::test]
async fn f01_a_challenge_works_once_for_ten_minutes_and_permits_five_mistakes() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    let wrong = totp(&owner.authenticator.wrong_code());
    // Once.
    let used = app.challenge("ada").await;
    app.complete(&used, &owner.authenticator.factor()).await.expect(201);
    assert_problem!(app.complete(&used, &recovery_code(&owner.recovery_codes[0])).await, 401, "invalid_challenge");
    // Five mistakes.
    let guessed = app.challenge("ada").await;
    for _ in 0..5 {
        assert_problem!(app.complete(&guessed, &wrong).await, 401, "wrong_factor");
    }
    assert_problem!(app.complete(&guessed, &recovery_code(&owner.recovery_codes[0])).await, 401, "invalid_challenge");
    // Ten minutes.
    let late = app.challenge("ada").await;
    app.clock.advance(Duration::from_millis(10 * 60 * 1000 - 1));
    assert_problem!(app.complete(&late, &wrong).await, 401, "wrong_factor");
    app.clock.advance(Duration::from_millis(1));
    assert_problem!(app.complete(&late, &recovery_code(&owner.recovery_codes[0])).await, 401, "invalid_challenge");
    // The code was not spent by any of them.
    app.log_in_with("ada", &recovery_code(&owner.recovery_codes[0])).await;
    let unknown = format!("vc1.{}", "A".repeat(43));
    assert_problem!(app.complete(&unknown, &owner.authenticator.factor()).await, 401, "invalid_challenge");
}

#[tokio::test]
async fn a_challenge_does_not_survive_a_change_of_password_roles_factors_or_status() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    let admin = app.admin().await;
    let user = format!("/v1/users/{}", owner.id);
    let change = json!({ "current_password": PASSWORD, "new_password": "nine grey gulls at noon" });
    let back = json!({ "current_password": "nine grey gulls at noon", "new_password": PASSWORD });

    let challenge = app.challenge("ada").await;
    owner.caller.put("/v1/me/password", change).await.expect(204);
    owner.caller.put("/v1/me/password", back).await.expect(204);
    assert_problem!(app.complete(&challenge, &owner.authenticator.factor()).await, 401, "invalid_challenge");

    let challenge = app.challenge("ada").await;
    admin.patch(&user, json!({ "status": "disabled" })).await.expect(200);
    assert_problem!(app.complete(&challenge, &owner.authenticator.factor()).await, 403, "account_disabled");
    assert_problem!(app.log_in("ada").await, 403, "account_disabled");
    admin.patch(&user, json!({ "status": "active" })).await.expect(200);
    assert_problem!(app.complete(&challenge, &owner.authenticator.factor()).await, 401, "invalid_challenge");

    let challenge = app.challenge("ada").await;
    admin.post("/v1/roles", json!({ "name": "clerk", "permissions": ["billing:refund"] })).await.expect(201);
    admin.put(&format!("{user}/roles"), json!({ "roles": ["user", "clerk"] })).await.expect(200);
    assert_problem!(app.complete(&challenge, &owner.authenticator.factor()).await, 401, "invalid_challenge");

    let challenge = app.challenge("ada").await;
    admin.put(&format!("{user}/password"), json!({ "new_password": PASSWORD })).await.expect(204);
    assert_problem!(app.complete(&challenge, &owner.authenticator.factor()).await, 401, "invalid_challenge");

    let challenge = app.challenge("ada").await;
    admin.delete(&format!("{user}/factors"), json!(null)).await.expect(204);
    assert_problem!(app.complete(&challenge, &owner.authenticator.factor()).await, 401, "invalid_challenge");
    app.log_in("ada").await.expect(201);
}

#[tokio::test]
async fn faults_of_a_factor_have_the_pointers_of_its_kind() {
    let app = TestApp::start().await;
    app.owner("ada").await;
    let challenge = app.challenge("ada").await;
    for (factor, pointer, code) in [
        (json!({ "kind": "totp", "code": "1234567" }), "/factor/code", "pattern"),
        (json!({ "kind": "totp", "code": "12345x" }), "/factor/code", "pattern"),
        (json!({ "kind": "totp" }), "/factor/code", "required"),
        (json!({ "kind": "recovery_code", "code": "4F7K-2M9P-XW3B-R8TU" }), "/factor/code", "pattern"),
        (json!({ "kind": "recovery_code", "code": 1 }), "/factor/code", "type"),
        (json!({ "kind": "totp", "code": "123456", "token": "x" }), "/factor/token", "unknown_member"),
        (json!({ "kind": "sms", "code": "123456" }), "/factor/kind", "not_allowed"),
        (json!({ "code": "123456" }), "/factor/kind", "required"),
    ] {
        let refused = app.complete(&challenge, &factor).await;
        assert_fault(&refused, pointer, code);
    }
}
