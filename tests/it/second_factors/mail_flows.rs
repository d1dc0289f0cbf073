//! Mail and second factors: a mailbox alone neither resets the password of an account with a factor nor undoes its change of address.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    assert_problem,
    support::{
        PASSWORD, TestApp,
        authenticator::{STEP, challenge, enrol, recovery_code, totp},
        caller::Answer,
        clock::minutes,
    },
};

const NEW: &str = "nine grey gulls at noon";

async fn requested(app: &TestApp) -> String {
    app.anonymous().post("/v1/password-resets", json!({ "identifier": "ada" })).await.expect(202);
    app.mail("reset", "ada@example.org").await.token().to_owned()
}

async fn reset(app: &TestApp, token: &str, factor: Value) -> Answer {
    let proof = json!({ "kind": "link", "token": token });
    let body = json!({ "proof": proof, "new_password": NEW, "factor": factor });
    app.anonymous().post("/v1/password-resets/complete", body).await
}

async fn read(app: &TestApp, token: &str) -> Value {
    app.anonymous().post("/v1/tickets/read", json!({ "token": token })).await.expect(200)
}

#[tokio::test]
async fn a_reset_needs_the_factor_and_a_refused_one_changes_nothing() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    let token = requested(&app).await;
    assert_eq!(read(&app, &token).await["factors"], json!(["totp", "recovery_code"]));
    let asked = reset(&app, &token, Value::Null).await;
    assert_eq!(asked.body["factors"], json!(["totp", "recovery_code"]));
    challenge(&asked);
    assert_problem!(reset(&app, &token, totp(&owner.authenticator.wrong_code())).await, 401, "wrong_factor");
    owner.caller.get("/v1/me").await.expect(200);
    reset(&app, &token, owner.authenticator.factor()).await.expect(204);
    assert_problem!(owner.caller.get("/v1/me").await, 401, "session_ended");
    assert_problem!(app.log_in("ada").await, 401, "invalid_credentials");
    // The factors stay, and the code is spent.
    let log_in = json!({ "identifier": "ada", "password": NEW });
    let challenge = challenge(&app.anonymous().post("/v1/sessions", log_in).await);
    assert_problem!(app.complete(&challenge, &owner.authenticator.factor()).await, 401, "wrong_factor");
    app.complete(&challenge, &recovery_code(&owner.recovery_codes[0])).await.expect(201);
}

#[tokio::test]
async fn a_recovery_code_is_not_spent_by_a_reset_that_fails() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    let token = requested(&app).await;
    let code = recovery_code(&owner.recovery_codes[0]);
    let weak = json!({ "proof": { "kind": "link", "token": token }, "new_password": "password", "factor": code });
    assert_problem!(app.anonymous().post("/v1/password-resets/complete", weak).await, 422, "validation_failed");
    reset(&app, &token, code).await.expect(204);
}

#[tokio::test]
async fn the_challenge_of_a_reset_logs_nobody_in() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    let challenge = challenge(&reset(&app, &requested(&app).await, Value::Null).await);
    assert_problem!(app.complete(&challenge, &owner.authenticator.factor()).await, 401, "invalid_challenge");
}

#[tokio::test]
async fn a_reset_makes_log_ins_void_that_wait_for_a_factor() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    let waiting = app.challenge("ada").await;
    let token = requested(&app).await;
    reset(&app, &token, recovery_code(&owner.recovery_codes[0])).await.expect(204);
    assert_problem!(app.complete(&waiting, &owner.authenticator.factor()).await, 401, "invalid_challenge");
}

/// Gives the account `ada` another address from this session, and returns the token that undoes it, if there is one.
async fn change_address(app: &TestApp, ada: &crate::support::caller::Caller<'_>) -> Option<String> {
    let body = json!({ "email": "ada@example.com", "current_password": PASSWORD });
    ada.patch("/v1/me", body).await.expect(200);
    let mail = app.mail("change", "ada@example.com").await;
    ada.post("/v1/me/pending-email/complete", json!({ "code": mail.code() })).await.expect(204);
    app.mails().await.iter().find(|mail| mail.kind == "revert").map(|mail| mail.token().to_owned())
}

async fn revert(app: &TestApp, token: &str, factor: Value) -> Answer {
    let body = json!({ "token": token, "new_password": NEW, "factor": factor });
    app.anonymous().post("/v1/email-changes/revert", body).await
}

#[tokio::test]
async fn undoing_a_change_needs_a_factor_from_before_it_and_removes_young_ones() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    app.clock.advance(Duration::from_hours(24 * 8));
    app.trusted().await;
    let ada = app.log_in_with("ada", &owner.authenticator.factor()).await;
    app.clock.advance(minutes(11));
    let token = change_address(&app, &ada).await.expect("the factor was not proven just now");
    // A thief adds an app and replaces the codes.
    let proof = json!({ "factor": owner.authenticator.factor() });
    let proven = ada.post("/v1/me/authentication", proof).await.expect(200);
    let (thief, late, _) = enrol(&app.bearer(proven["access_token"].as_str().unwrap())).await;
    let new_codes = thief.post("/v1/me/recovery-codes", json!(null)).await.expect(201);
    app.clock.advance(Duration::from_secs(2 * STEP));
    assert_eq!(read(&app, &token).await["factors"], json!(["totp"]));
    challenge(&revert(&app, &token, Value::Null).await);
    assert_problem!(revert(&app, &token, late.factor()).await, 401, "wrong_factor");
    let new_code = new_codes["codes"][0].as_str().unwrap();
    assert_problem!(revert(&app, &token, recovery_code(new_code)).await, 401, "wrong_factor");
    revert(&app, &token, owner.authenticator.factor()).await.expect(204);

    let removed = &app.event("account.email_change_reverted").await.details.0["removed"];
    assert_eq!(*removed, json!({ "factors": 1, "recovery_codes": 10 }));
    app.clock.advance(Duration::from_secs(STEP));
    let log_in = json!({ "identifier": "ada@example.org", "password": NEW });
    let asked = app.anonymous().post("/v1/sessions", log_in).await;
    assert_eq!(asked.body["factors"], json!(["totp"]), "the codes of the thief are gone");
    let challenge = challenge(&asked);
    assert_problem!(app.complete(&challenge, &late.factor()).await, 401, "wrong_factor");
    let tokens = app.complete(&challenge, &owner.authenticator.factor()).await.expect(201);
    let ada = app.bearer(tokens["access_token"].as_str().unwrap());
    let factors = ada.get("/v1/me/factors").await.expect(200);
    assert_eq!(factors["items"].as_array().unwrap().len(), 1);
    assert_eq!(factors["items"][0]["id"], owner.authenticator.id);
}

#[tokio::test]
async fn undoing_a_change_needs_no_factor_if_all_are_young() {
    for was_added_first in [true, false] {
        let app = TestApp::start().await;
        app.create("ada").await;
        let mut thief = app.anonymous().log_in("ada", PASSWORD).await;
        if was_added_first {
            (thief, _, _) = enrol(&thief).await;
            app.clock.advance(minutes(1));
        }
        let token = change_address(&app, &thief).await.unwrap();
        if !was_added_first {
            app.clock.advance(minutes(1));
            enrol(&thief).await;
        }
        assert_eq!(read(&app, &token).await["factors"], json!([]));
        revert(&app, &token, Value::Null).await.expect(204);
        let removed = &app.event("account.email_change_reverted").await.details.0["removed"];
        assert_eq!(*removed, json!({ "factors": 1, "recovery_codes": 10 }));
        let told = app.mail("email_change_undone", "ada@example.org").await;
        assert!(told.text.contains("in the week before the change"), "{}", told.text);
        let log_in = json!({ "identifier": "ada@example.org", "password": NEW });
        let tokens = app.anonymous().post("/v1/sessions", log_in).await.expect(201);
        let ada = app.bearer(tokens["access_token"].as_str().unwrap());
        assert_eq!(ada.get("/v1/me").await.expect(200)["second_factor"], false);
    }
}

#[tokio::test]
async fn undoing_a_change_asks_for_no_old_recovery_codes_if_all_factors_are_young() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    app.clock.advance(Duration::from_hours(24 * 8));
    app.trusted().await;
    let (ada, second, _) = enrol(&app.log_in_with("ada", &owner.authenticator.factor()).await).await;
    ada.delete(&format!("/v1/me/factors/{}", owner.authenticator.id), Value::Null).await.expect(204);
    app.clock.advance(Duration::from_secs(STEP));
    let ada = app.log_in_with("ada", &second.factor()).await;
    let token = change_address(&app, &ada).await.unwrap();
    assert_eq!(read(&app, &token).await["factors"], json!([]));
    revert(&app, &token, Value::Null).await.expect(204);
}

#[tokio::test]
async fn a_change_that_an_old_factor_has_just_confirmed_cannot_be_undone() {
    for (days, minutes_later, is_final) in [(7, 0, true), (6, 0, false), (7, 11, false)] {
        let app = TestApp::start().await;
        let owner = app.owner("ada").await;
        app.clock.advance(Duration::from_hours(24 * days));
        app.trusted().await;
        let ada = app.log_in_with("ada", &owner.authenticator.factor()).await;
        app.clock.advance(minutes(minutes_later));
        let token = change_address(&app, &ada).await;
        assert_eq!(token.is_none(), is_final, "{days} days, {minutes_later} minutes");
        let told = if is_final { "email_changed" } else { "revert" };
        app.mail(told, "ada@example.org").await;
    }
}

#[tokio::test]
async fn a_session_that_only_a_recovery_code_has_proven_leaves_the_change_open() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    app.clock.advance(Duration::from_hours(24 * 8));
    app.trusted().await;
    let ada = app.log_in_with("ada", &recovery_code(&owner.recovery_codes[0])).await;
    assert!(change_address(&app, &ada).await.is_some());
}
