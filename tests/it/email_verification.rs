//! Verification of the address: a signed-in user shows that the address of the account is theirs.

use poem::http::Method;
use serde_json::{Value, json};

use crate::{
    assert_problem,
    support::{
        PASSWORD, TestApp,
        caller::{Answer, Caller},
        clock::minutes,
    },
    throttle::{log_in, send, throttled},
};

async fn request(caller: &Caller<'_>) {
    caller.post("/v1/me/email/verification", json!(null)).await.expect(202);
}

async fn verify(caller: &Caller<'_>, proof: Value) -> Answer {
    caller.post("/v1/me/email/verification/complete", proof).await
}

async fn is_verified(caller: &Caller<'_>) -> Value {
    caller.get("/v1/me").await.expect(200)["email_verified"].clone()
}

#[track_caller]
fn assert_fault(answer: &Answer, pointer: &str, code: &str) {
    assert_eq!((answer.problem(), answer.faults()), ((422, "validation_failed"), vec![(pointer, code)]), "{:#}", answer.body);
}

#[tokio::test]
async fn a_user_verifies_the_address_with_the_link_or_the_code_and_may_repeat_the_request() {
    for with_code in [false, true] {
        let app = TestApp::start().await;
        let ada = app.user("ada").await;
        assert_eq!(is_verified(&ada).await, false);
        let pending = ada.post("/v1/me/email/verification", json!(null)).await.expect(202);
        assert_eq!((&pending["expires_in"], &pending["resend_after"]), (&json!(86_400), &json!(60)));
        let mail = app.mail("verify", "ada@example.org").await;
        let proof = if with_code { json!({ "code": mail.code() }) } else { json!({ "token": mail.token() }) };
        let before = ada.get("/v1/me").await.header("etag").to_owned();
        for _ in 0..2 {
            verify(&ada, proof.clone()).await.expect(204);
        }
        assert_eq!(is_verified(&ada).await, true);
        assert_ne!(ada.get("/v1/me").await.header("etag"), before);
        app.event("account.email_verified").await;
        assert_problem!(ada.post("/v1/me/email/verification", json!(null)).await, 409, "already_verified");
    }
}

#[tokio::test]
async fn the_proof_of_one_account_verifies_no_other() {
    let app = TestApp::start().await;
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    request(&ada).await;
    request(&eve).await;
    let mail = app.mail("verify", "ada@example.org").await;
    assert_fault(&verify(&eve, json!({ "token": mail.token() })).await, "/token", "invalid_ticket");
    assert_fault(&verify(&eve, json!({ "code": mail.code() })).await, "/code", "wrong_code");
    assert_eq!(is_verified(&eve).await, false);
    app.anonymous().post("/v1/password-resets", json!({ "identifier": "ada" })).await.expect(202);
    app.clock.advance(minutes(1));
    app.anonymous().post("/v1/password-resets", json!({ "identifier": "ada" })).await.expect(202);
    let reset = app.mail("reset", "ada@example.org").await;
    assert_fault(&verify(&ada, json!({ "token": reset.token() })).await, "/token", "invalid_ticket");
}

#[tokio::test]
async fn five_codes_may_be_tried_after_each_request() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    request(&ada).await;
    let code = app.mail("verify", "ada@example.org").await.code().to_owned();
    let wrong = format!("{:08}", (code.parse::<u32>().unwrap() + 1) % 100_000_000);
    for _ in 0..5 {
        assert_fault(&verify(&ada, json!({ "code": wrong })).await, "/code", "wrong_code");
    }
    assert_fault(&verify(&ada, json!({ "code": code })).await, "/code", "wrong_code");
    request(&ada).await;
    verify(&ada, json!({ "code": code })).await.expect(204);
}

#[tokio::test]
async fn a_user_sends_twenty_wrong_codes_a_day_whatever_networks_they_know() {
    let app = throttled().await;
    let ada = app.user("ada").await;
    let complete = async |network: &str, proof: Value| {
        send(&app, network, Method::POST, "/v1/me/email/verification/complete", ada.token.as_deref(), proof).await
    };
    request(&ada).await;
    let mail = app.mail("verify", "ada@example.org").await;
    let wrong = format!("{:08}", (mail.code().parse::<u32>().unwrap() + 1) % 100_000_000);
    for network in ["192.0.2.1", "198.51.100.7", "203.0.113.9", "198.18.0.1"] {
        log_in(&app, network, "ada", PASSWORD).await.expect(201);
        for _ in 0..5 {
            assert_fault(&complete(network, json!({ "code": wrong })).await, "/code", "wrong_code");
        }
        request(&ada).await;
    }
    assert_fault(&complete("192.0.2.1", json!({ "code": mail.code() })).await, "/code", "wrong_code");
    complete("192.0.2.1", json!({ "token": mail.token() })).await.expect(204);
}

#[tokio::test]
async fn exactly_one_proof_is_required() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    request(&ada).await;
    let mail = app.mail("verify", "ada@example.org").await;
    assert_fault(&verify(&ada, json!({})).await, "/code", "required");
    let both = json!({ "token": mail.token(), "code": mail.code() });
    assert_fault(&verify(&ada, both).await, "/code", "not_allowed");
}

#[tokio::test]
async fn another_address_makes_the_link_void() {
    let app = TestApp::start().await;
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    let change = async |caller: &Caller<'_>, email: &str| {
        caller.patch("/v1/me", json!({ "email": email, "current_password": PASSWORD })).await.expect(200);
        let token = app.mail("change", email).await.token().to_owned();
        caller.post("/v1/me/pending-email/complete", json!({ "token": token })).await.expect(204);
    };
    request(&ada).await;
    let token = app.mail("verify", "ada@example.org").await.token().to_owned();
    verify(&ada, json!({ "token": token })).await.expect(204);
    change(&ada, "ada@example.com").await;
    assert_fault(&verify(&ada, json!({ "token": token })).await, "/token", "spent_ticket");
    request(&eve).await;
    let token = app.mail("verify", "eve@example.org").await.token().to_owned();
    change(&eve, "eve@example.com").await;
    assert_fault(&verify(&eve, json!({ "token": token })).await, "/token", "spent_ticket");
}

#[tokio::test]
async fn an_address_that_was_changed_without_a_proof_is_not_verified() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    request(&ada).await;
    let token = app.mail("verify", "ada@example.org").await.token().to_owned();
    verify(&ada, json!({ "token": token })).await.expect(204);
    // Another server of the same service sends no mail.
    let silent = app.replica_with(|settings| settings.mail.transport = Some("none".parse().unwrap())).await;
    let ada = silent.bearer(ada.token.as_deref().unwrap());
    let change = json!({ "email": "ada@example.com", "current_password": PASSWORD });
    assert_eq!(ada.patch("/v1/me", change).await.expect(200)["email_verified"], false);
    // The present address in another spelling is no new one.
    assert_eq!(ada.patch("/v1/me", json!({ "email": "ADA@example.com" })).await.expect(200)["email_verified"], false);
}

#[tokio::test]
async fn an_address_for_which_an_administrator_or_the_operator_vouches_is_verified() {
    let app = TestApp::start().await;
    let admin = app.admin().await;
    assert_eq!(is_verified(&admin).await, true);
    let created = admin.post("/v1/users", json!({ "email": "grace@example.org" })).await.expect(201);
    assert_eq!(created["email_verified"], true);
    let id = app.register("ada").await;
    let changed = admin.patch(&format!("/v1/users/{id}"), json!({ "email": "ada@example.com" })).await.expect(200);
    assert_eq!(changed["email_verified"], true);
}

#[tokio::test]
async fn mails_are_in_the_language_of_their_recipient() {
    let app = TestApp::start().await;
    let register = async |name: &str, header: Option<&str>, language: Value| {
        let body =
            json!({ "email": format!("{name}@example.org"), "username": name, "password": PASSWORD, "language": language });
        let headers: Vec<_> = [Some(("content-type", "application/json")), header.map(|header| ("accept-language", header))]
            .into_iter()
            .flatten()
            .collect();
        let body = poem::Body::from_string(body.to_string());
        app.anonymous().send(poem::http::Method::POST, "/v1/accounts", &headers, body).await.expect(201)["language"].clone()
    };
    assert_eq!(register("one", None, json!(null)).await, Value::Null);
    assert_eq!(register("two", Some("de-AT,en;q=0.5"), json!(null)).await, "de");
    assert_eq!(register("three", Some("de"), json!("en")).await, "en");
    assert_eq!(register("four", Some("fr"), json!(null)).await, Value::Null);
    for (name, language) in [("one", "en"), ("two", "de"), ("three", "en"), ("four", "en")] {
        request(&app.anonymous().log_in(name, PASSWORD).await).await;
        assert_eq!(app.mail("verify", &format!("{name}@example.org")).await.language, language, "{name}");
    }
    let two = app.anonymous().log_in("two", PASSWORD).await;
    two.patch("/v1/me", json!({ "language": null })).await.expect(200);
    app.clock.advance(minutes(1));
    let reset = json!({ "identifier": "two", "language": "de" });
    app.anonymous().post("/v1/password-resets", reset).await.expect(202);
    assert_eq!(app.mail("reset", "two@example.org").await.language, "de", "the language of the request");
    assert_eq!(two.patch("/v1/me", json!({ "language": "en" })).await.expect(200)["language"], "en");
    let answer = two.patch("/v1/me", json!({ "language": "fr" })).await;
    assert_fault(&answer, "/language", "not_allowed");
}
