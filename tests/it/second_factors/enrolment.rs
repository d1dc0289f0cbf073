//! Enrolment, the list of factors, and their removal.

use std::time::Duration;

use serde_json::json;
use vestibule::config::MailTransport;

use crate::{
    assert_problem,
    password_resets::assert_fault,
    support::{
        PASSWORD, TestApp,
        authenticator::{Authenticator, STEP, confirm, enrol, texts},
        client::Client,
        clock::minutes,
    },
};

#[tokio::test]
async fn an_app_is_a_factor_once_a_code_of_it_was_confirmed() {
    let app = TestApp::start().await;
    app.create("ada").await;
    let ada = app.anonymous().log_in("ada", PASSWORD).await;
    let etag = ada.get("/v1/me").await.header("etag").to_owned();
    let started = ada.post("/v1/me/factors/totp", json!({ "name": "Phone" })).await.expect(201);
    assert_eq!(started["expires_in"], 600);
    let (secret, uri) = (started["secret"].as_str().unwrap(), started["uri"].as_str().unwrap());
    assert_eq!(secret.len(), 32, "160 bits in base32");
    assert_eq!(uri, format!("otpauth://totp/Vestibule:ada%40example.org?secret={secret}&issuer=Vestibule"));
    assert!(started["qr"]["path"].as_str().unwrap().starts_with("M4 4h7v1h-7z"), "a corner of the code, inside the border");
    // Nothing has changed yet.
    assert_eq!(ada.get("/v1/me/factors").await.expect(200)["items"], json!([]));
    assert_eq!(ada.get("/v1/me").await.header("etag"), etag);
    app.log_in("ada").await.expect(201);

    let authenticator = Authenticator::scan(&app, &started);
    assert_fault(&confirm(&ada, &authenticator, &authenticator.wrong_code()).await, "/code", "wrong_code");
    let code = authenticator.code();
    let spelled = format!("{} {}", &code[..3], &code[3..]);
    let enrolled = confirm(&ada, &authenticator, &spelled).await.expect(200);
    assert_eq!(enrolled["factor"]["name"], "Phone");
    assert_eq!(texts(&enrolled["recovery_codes"]).len(), 10);
    assert_problem!(ada.get("/v1/me").await, 401, "stale_token");
    let ada = app.bearer(enrolled["tokens"]["access_token"].as_str().unwrap());
    let me = ada.get("/v1/me").await;
    assert_ne!(me.header("etag"), etag);
    assert_eq!(me.body["second_factor"], true);
    let token = ada.get("/v1/token").await.expect(200);
    assert_eq!((&token["acr"], &token["amr"]), (&json!("2"), &json!(["pwd", "otp", "mfa"])));
    let listed = ada.get("/v1/me/factors").await.expect(200);
    assert_eq!(listed["items"], json!([enrolled["factor"]]));
    assert_eq!((&listed["items"][0]["kind"], &listed["items"][0]["last_used_at"]), (&json!("totp"), &json!(null)));
    assert_problem!(confirm(&ada, &authenticator, &authenticator.code()).await, 404, "not_found");
}

#[tokio::test]
async fn a_long_name_of_the_service_fits_into_the_picture() {
    let name = "\u{1f980}".repeat(100);
    let app = TestApp::start_with(|settings| settings.account_pages.name = Some(name.parse().unwrap())).await;
    app.create("ada").await;
    let started = app.anonymous().log_in("ada", PASSWORD).await.post("/v1/me/factors/totp", json!({})).await.expect(201);
    let uri = started["uri"].as_str().unwrap();
    assert!(uri.ends_with(&format!("&issuer={}", "%F0%9F%A6%80".repeat(32))), "{uri}");
}

#[tokio::test]
async fn an_app_can_be_confirmed_for_ten_minutes_and_by_its_owner_alone() {
    let app = TestApp::start().await;
    app.create("ada").await;
    app.create("eve").await;
    let (ada, eve) = (app.anonymous().log_in("ada", PASSWORD).await, app.anonymous().log_in("eve", PASSWORD).await);
    let authenticator = Authenticator::scan(&app, &ada.post("/v1/me/factors/totp", json!({})).await.expect(201));
    assert_problem!(confirm(&eve, &authenticator, &authenticator.code()).await, 404, "not_found");
    app.clock.advance(minutes(10));
    assert_problem!(confirm(&ada, &authenticator, &authenticator.code()).await, 404, "not_found");
    assert_eq!(ada.get("/v1/me").await.expect(200)["second_factor"], false);
}

#[tokio::test]
async fn whoever_began_to_enrol_with_a_password_alone_cannot_go_on_once_the_account_has_a_factor() {
    let app = TestApp::start().await;
    app.create("ada").await;
    let mut stolen = Client::log_in(&app, "ada").await;
    let ada = app.anonymous().log_in("ada", PASSWORD).await;
    let thiefs = Authenticator::scan(&app, &stolen.caller().post("/v1/me/factors/totp", json!({})).await.expect(201));
    let (ada, ..) = enrol(&ada).await;
    stolen.refresh().await.expect(200);
    let thief = stolen.caller();
    assert_problem!(confirm(&thief, &thiefs, &thiefs.code()).await, 404, "not_found");
    assert_eq!(thief.get("/v1/token").await.expect(200)["acr"], "1");
    assert_problem!(thief.post("/v1/me/factors/totp", json!({})).await, 401, "insufficient_user_authentication");
    assert_eq!(ada.get("/v1/me/factors").await.expect(200)["items"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn another_app_leaves_the_confirmed_one_as_it_is_until_it_is_confirmed_itself() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    let started = owner.caller.post("/v1/me/factors/totp", json!({})).await.expect(201);
    assert!(started["uri"].as_str().unwrap().starts_with("otpauth://totp/Vestibule:ada%40example.org%20%282%29?"), "{started}");
    let second = Authenticator::scan(&app, &started);
    let challenge = app.challenge("ada").await;
    assert_problem!(app.complete(&challenge, &second.factor()).await, 401, "wrong_factor");
    app.complete(&challenge, &owner.authenticator.factor()).await.expect(201);
    let enrolled = confirm(&owner.caller, &second, &second.code()).await.expect(200);
    assert_eq!((&enrolled["factor"]["name"], &enrolled["recovery_codes"]), (&json!("Authenticator app (2)"), &json!(null)));
    app.clock.advance(Duration::from_secs(STEP));
    for authenticator in [&owner.authenticator, &second] {
        app.log_in_with("ada", &authenticator.factor()).await.get("/v1/me").await.expect(200);
    }
}

#[tokio::test]
async fn the_label_of_a_removed_app_is_used_again_and_that_of_another_one_is_not() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    let (ada, second, _) = enrol(&owner.caller).await;
    let names = async |caller: &crate::support::caller::Caller<'_>| {
        let listed = caller.get("/v1/me/factors").await.expect(200);
        listed["items"].as_array().unwrap().iter().map(|factor| factor["name"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&ada).await, ["Authenticator app", "Authenticator app (2)"]);
    ada.delete(&format!("/v1/me/factors/{}", owner.authenticator.id), json!(null)).await.expect(204);
    app.clock.advance(Duration::from_secs(STEP));
    let ada = app.log_in_with("ada", &second.factor()).await;
    let (ada, ..) = enrol(&ada).await;
    assert_eq!(names(&ada).await, ["Authenticator app (2)", "Authenticator app"]);
}

#[tokio::test]
async fn an_account_has_five_apps_at_most() {
    let app = TestApp::start().await;
    app.create("ada").await;
    let mut ada = app.anonymous().log_in("ada", PASSWORD).await;
    for _ in 0..4 {
        ada = enrol(&ada).await.0;
    }
    let fifth = Authenticator::scan(&app, &ada.post("/v1/me/factors/totp", json!({})).await.expect(201));
    let enrolled = confirm(&ada, &fifth, &fifth.code()).await.expect(200);
    let ada = app.bearer(enrolled["tokens"]["access_token"].as_str().unwrap());
    assert_problem!(ada.post("/v1/me/factors/totp", json!({})).await, 409, "too_many_factors");
    assert_eq!(ada.get("/v1/me/factors").await.expect(200)["items"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn where_mail_can_be_sent_only_a_verified_address_enrols() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    assert_problem!(ada.post("/v1/me/factors/totp", json!({})).await, 409, "email_unverified");
    // The address of the first administrator receives no mail, but the operator vouches for it.
    enrol(&app.admin().await).await;
    let silent = app.replica_with(|settings| settings.mail.transport = Some(MailTransport::None)).await;
    enrol(&silent.bearer(ada.token.as_deref().unwrap())).await;
}

#[tokio::test]
async fn a_factor_has_the_name_that_its_owner_gives_it() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    let path = format!("/v1/me/factors/{}", owner.authenticator.id);
    let renamed = owner.caller.patch(&path, json!({ "name": "Work phone" })).await.expect(200);
    assert_eq!((&renamed["id"], &renamed["name"]), (&json!(owner.authenticator.id), &json!("Work phone")));
    let event = app.event("factor.renamed").await;
    assert_eq!((&event.details.0["before"], &event.details.0["after"]), (&json!("Authenticator app"), &json!("Work phone")));
    assert_fault(&owner.caller.patch(&path, json!({ "name": "" })).await, "/name", "too_short");
    app.create("eve").await;
    let eve = app.anonymous().log_in("eve", PASSWORD).await;
    assert_problem!(eve.patch(&path, json!({ "name": "Mine" })).await, 404, "not_found");
    assert_problem!(eve.delete(&path, json!(null)).await, 404, "not_found");
    assert_eq!(owner.caller.get("/v1/me/factors").await.expect(200)["items"][0]["name"], "Work phone");
}

#[tokio::test]
async fn removing_a_factor_ends_the_sessions_that_it_has_begun_or_raised_and_no_others() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    let (raised, second, _) = enrol(&owner.caller).await;
    app.clock.advance(Duration::from_secs(STEP));
    let by_second = app.log_in_with("ada", &second.factor()).await;
    let by_code = app.log_in_with("ada", &json!({ "kind": "recovery_code", "code": owner.recovery_codes[0] })).await;
    by_second.delete(&format!("/v1/me/factors/{}", owner.authenticator.id), json!(null)).await.expect(204);
    assert_problem!(raised.get("/v1/me").await, 401, "session_ended");
    // The others go on, with tokens that do not say too much.
    for caller in [&by_second, &by_code] {
        assert_problem!(caller.get("/v1/me").await, 401, "stale_token");
    }
    let challenge = app.challenge("ada").await;
    assert_problem!(app.complete(&challenge, &owner.authenticator.factor()).await, 401, "wrong_factor");
    app.clock.advance(Duration::from_secs(STEP));
    app.complete(&challenge, &second.factor()).await.expect(201);
}

#[tokio::test]
async fn the_recovery_codes_go_with_the_last_factor_and_the_password_is_enough_again() {
    let app = TestApp::start().await;
    let owner = app.owner("ada").await;
    let challenge = app.challenge("ada").await;
    owner.caller.delete(&format!("/v1/me/factors/{}", owner.authenticator.id), json!(null)).await.expect(204);
    assert_problem!(owner.caller.get("/v1/me").await, 401, "session_ended");
    assert_problem!(app.complete(&challenge, &owner.authenticator.factor()).await, 401, "invalid_challenge");
    let ada = app.anonymous().log_in("ada", PASSWORD).await;
    assert_eq!(ada.get("/v1/me").await.expect(200)["second_factor"], false);
    assert_problem!(ada.post("/v1/me/recovery-codes", json!(null)).await, 409, "factor_required");
    let (_, _, enrolled) = enrol(&ada).await;
    let codes = texts(&enrolled["recovery_codes"]);
    assert!(codes.len() == 10 && !codes.contains(&owner.recovery_codes[0]));
    app.clock.advance(Duration::from_secs(STEP));
    let challenge = app.challenge("ada").await;
    let old = json!({ "kind": "recovery_code", "code": owner.recovery_codes[0] });
    assert_problem!(app.complete(&challenge, &old).await, 401, "wrong_factor");
}
