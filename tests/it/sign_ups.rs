//! Sign-ups: accounts for people who have proven that the address is theirs. Nobody learns which addresses have an account.

use std::{collections::BTreeMap, time::Duration};

use poem::http::Method;
use serde_json::{Value, json};
use vestibule::values::registration_mode::RegistrationMode;

use crate::{
    assert_problem,
    password_resets::{assert_fault, with_accounts},
    support::{PASSWORD, TestApp, caller::Answer, clock::minutes, observed::observed},
    throttle::{ELSEWHERE, HOME, send},
};

const GRACE: &str = "grace@example.org";

async fn verified() -> TestApp {
    TestApp::start_with(|settings| settings.registration.mode = RegistrationMode::Verified).await
}

async fn start(app: &TestApp, email: &str) -> Answer {
    app.anonymous().post("/v1/sign-ups", json!({ "email": email })).await
}

/// Starts a sign-up of Grace, and returns the proof by link and the proof by code.
async fn started(app: &TestApp) -> [Value; 2] {
    let handle = start(app, GRACE).await.expect(202)["handle"].clone();
    let mail = app.mail("sign_up", GRACE).await;
    [json!({ "kind": "link", "token": mail.token() }), json!({ "kind": "code", "handle": handle, "code": mail.code() })]
}

async fn complete(app: &TestApp, proof: &Value) -> Answer {
    app.anonymous().post("/v1/sign-ups/complete", json!({ "proof": proof, "password": PASSWORD })).await
}

#[tokio::test]
async fn a_link_or_a_code_creates_one_account_whose_address_is_verified() {
    for with_code in [false, true] {
        let app = verified().await;
        let users = app.rows().await["users"];
        let body = json!({ "email": " Grace@Example.ORG ", "language": "de" });
        let pending = app.anonymous().post("/v1/sign-ups", body).await.expect(202);
        assert_eq!((&pending["expires_in"], &pending["resend_after"]), (&json!(86_400), &json!(60)));
        assert_eq!(app.rows().await["users"], users, "there is no account before the address is proven");
        let mail = app.mail("sign_up", GRACE).await;
        assert_eq!(mail.language, "de");
        let read = app.anonymous().post("/v1/tickets/read", json!({ "token": mail.token() })).await.expect(200);
        assert_eq!((&read["purpose"], &read["email"]), (&json!("sign_up"), &json!(GRACE)));
        let proof = if with_code {
            json!({ "kind": "code", "handle": pending["handle"], "code": mail.code() })
        } else {
            json!({ "kind": "link", "token": mail.token() })
        };
        let body = json!({ "proof": proof, "password": PASSWORD, "username": "grace", "name": "Grace Hopper" });
        let done = app.anonymous().post("/v1/sign-ups/complete", body).await;
        assert!(!done.headers.contains_key("set-cookie"));
        let user = done.expect(201);
        for (member, expected) in [
            ("email", json!(GRACE)),
            ("email_verified", json!(true)),
            ("username", json!("grace")),
            ("name", json!("Grace Hopper")),
            ("language", json!("de")),
            ("roles", json!(["user"])),
        ] {
            assert_eq!(user[member], expected, "{member}");
        }
        let (pointer, code) = if with_code { ("/proof/code", "wrong_code") } else { ("/proof/token", "spent_ticket") };
        assert_fault(&complete(&app, &proof).await, pointer, code);
        let grace = app.anonymous().log_in("grace", PASSWORD).await;
        assert_eq!(grace.get("/v1/me").await.expect(200)["id"], user["id"]);
        app.event("account.sign_up_started").await;
        let event = app.event("account.registered").await;
        assert_eq!((event.subject_id.as_deref(), event.actor_name.as_deref()), (user["id"].as_str(), Some("grace")));
    }
}

#[tokio::test]
async fn only_in_the_mode_verified_people_sign_up() {
    let app = verified().await;
    let [link, code] = started(&app).await;
    for mode in [RegistrationMode::Open, RegistrationMode::Invited, RegistrationMode::Closed] {
        let app = app.replica_with(|settings| settings.registration.mode = mode).await;
        let rows = app.rows().await;
        assert_problem!(start(&app, GRACE).await, 403, "registration_closed");
        assert_fault(&complete(&app, &link).await, "/proof/token", "spent_ticket");
        assert_fault(&complete(&app, &code).await, "/proof/code", "wrong_code");
        assert_eq!(app.rows().await, rows);
    }
    complete(&app, &code).await.expect(201);
}

#[tokio::test]
async fn without_a_transport_nobody_can_sign_up() {
    for transport in ["none", "log"] {
        let app = TestApp::start_with(|settings| {
            settings.registration.mode = RegistrationMode::Verified;
            settings.mail.transport = Some(transport.parse().unwrap());
        })
        .await;
        assert_problem!(start(&app, GRACE).await, 403, "mail_unavailable");
        assert_eq!(app.mail_rows().await.len(), 0);
    }
}

#[tokio::test]
async fn the_owner_of_an_account_is_told_that_it_exists() {
    let app = verified().await;
    let admin = app.admin().await;
    let account = json!({ "email": "ada@example.org", "name": "Ada Lovelace", "language": "de", "password": PASSWORD });
    let before = admin.post("/v1/users", account).await.expect(201);
    let handle = start(&app, "ada@example.org").await.expect(202)["handle"].clone();
    let mail = app.mail("account_exists", "ada@example.org").await;
    assert_eq!((mail.language.as_str(), mail.token, mail.code), ("de", None, None));
    for code in ["00000000", "99999999"] {
        let proof = json!({ "kind": "code", "handle": handle, "code": code });
        assert_fault(&complete(&app, &proof).await, "/proof/code", "wrong_code");
    }
    let id = before["id"].as_str().unwrap();
    assert_eq!(admin.get(&format!("/v1/users/{id}")).await.expect(200), before);
}

#[tokio::test]
async fn a_repeated_request_sends_the_same_link_and_code_until_a_day_has_passed() {
    let app = verified().await;
    let [link, code] = started(&app).await;
    app.clock.advance(Duration::from_hours(23));
    let [same_link, same_code] = started(&app).await;
    assert_eq!((&same_link, &same_code["code"]), (&link, &code["code"]));
    assert_ne!(same_code["handle"], code["handle"]);
    app.clock.advance(Duration::from_hours(2));
    // The handle is as old as its request; the link was renewed.
    assert_fault(&complete(&app, &code).await, "/proof/code", "expired_ticket");
    app.clock.advance(Duration::from_hours(22));
    assert_fault(&complete(&app, &link).await, "/proof/token", "expired_ticket");
    assert_fault(&complete(&app, &same_code).await, "/proof/code", "expired_ticket");
}

#[tokio::test]
async fn refused_names_and_passwords_use_up_nothing() {
    let app = verified().await;
    let admin = app.admin().await;
    let [_, code] = started(&app).await;
    let with = async |member: &str, value: &str| {
        let mut body = json!({ "proof": code, "password": PASSWORD });
        body[member] = json!(value);
        app.anonymous().post("/v1/sign-ups/complete", body).await
    };
    for _ in 0..8 {
        assert_fault(&with("password", GRACE).await, "/password", "contains_identity");
        assert_problem!(with("username", "admin").await, 409, "username_taken");
    }
    let account = json!({ "email": GRACE });
    let id = admin.post("/v1/users", account).await.expect(201)["id"].as_str().unwrap().to_owned();
    assert_problem!(with("name", "Grace Hopper").await, 409, "email_taken");
    // When the address is free again, an old mail does not create an account.
    admin.delete(&format!("/v1/users/{id}"), json!(null)).await.expect(204);
    assert_fault(&with("name", "Grace Hopper").await, "/proof/code", "wrong_code");
}

#[tokio::test]
async fn after_an_account_is_gone_its_address_signs_up_again_at_once() {
    let app = verified().await;
    let [link, _] = started(&app).await;
    complete(&app, &link).await.expect(201);
    app.clock.advance(minutes(1));
    start(&app, GRACE).await.expect(202);
    app.mail("account_exists", GRACE).await;
    let grace = app.anonymous().log_in(GRACE, PASSWORD).await;
    grace.delete("/v1/me", json!({ "current_password": PASSWORD })).await.expect(204);
    app.clock.advance(minutes(1));
    let [other, code] = started(&app).await;
    assert_ne!(other, link);
    assert_fault(&complete(&app, &link).await, "/proof/token", "spent_ticket");
    complete(&app, &code).await.expect(201);
}

#[tokio::test]
async fn an_old_mail_does_not_create_an_account_for_an_address_that_its_owner_has_left() {
    let app = verified().await;
    let first = started(&app).await;
    app.clock.advance(Duration::from_hours(30));
    let [second, _] = started(&app).await;
    assert_ne!(first[0], second);
    app.clock.advance(minutes(1));
    let admin = app.admin().await;
    let id = admin.post("/v1/users", json!({ "email": GRACE })).await.expect(201)["id"].as_str().unwrap().to_owned();
    admin.patch(&format!("/v1/users/{id}"), json!({ "email": "hopper@example.org" })).await.expect(200);
    assert_fault(&complete(&app, &second).await, "/proof/token", "spent_ticket");
}

#[tokio::test]
async fn a_sign_up_that_is_completed_many_times_at_once_creates_one_account() {
    let app = verified().await;
    let [link, code] = started(&app).await;
    let links = futures_util::future::join_all((0..6).map(|_| complete(&app, &link)));
    let codes = futures_util::future::join_all((0..6).map(|_| complete(&app, &code)));
    let (links, codes) = tokio::join!(links, codes);
    let answers: Vec<_> = links.iter().chain(&codes).map(|answer| answer.status).collect();
    assert_eq!(answers.iter().filter(|status| **status == 201).count(), 1, "{answers:?}");
    assert!(answers.iter().all(|status| [201, 409, 422].contains(status)), "{answers:?}");
}

#[tokio::test]
async fn m04_a_sign_up_and_wrong_codes_are_the_same_for_every_address() {
    let kinds = ["new", "known", "disabled", "verified", "w", "invited"];
    let mut seen = BTreeMap::<String, Vec<&str>>::new();
    for kind in kinds {
        let app = with_accounts().await.replica_with(|settings| settings.registration.mode = RegistrationMode::Verified).await;
        // No password is hashed: the only thread that hashes is busy.
        let _busy = app.hold_hashing().await;
        let (mut story, mut handle) = (Vec::new(), json!(null));
        let start = || {
            let body = json!({ "email": format!("{kind}@example.org") });
            send(&app, HOME, Method::POST, "/v1/sign-ups", None, body)
        };
        // Each address has been sent a mail before, as the one that is invited.
        start().await.expect(202);
        app.clock.advance(Duration::from_hours(49));
        for step in 0..110 {
            let (answer, seen) = observed(&app, start()).await;
            story.push(format!("{step}: {seen}"));
            if answer.status == 202 {
                handle = answer.body["handle"].clone();
            }
            app.clock.advance(Duration::from_secs(1));
        }
        let wrong = async || {
            let proof = json!({ "kind": "code", "handle": handle, "code": "00000000" });
            let body = json!({ "proof": proof, "password": PASSWORD });
            observed(&app, send(&app, ELSEWHERE, Method::POST, "/v1/sign-ups/complete", None, body)).await.1
        };
        for step in 0..7 {
            story.push(format!("code {step}: {}", wrong().await));
        }
        app.clock.advance(Duration::from_hours(25));
        story.push(wrong().await);
        seen.entry(story.concat()).or_default().push(kind);
    }
    let groups: Vec<_> = seen.values().collect();
    assert_eq!(groups.len(), 1, "{groups:?}\n{}", seen.keys().cloned().collect::<Vec<_>>().join("\n\n------\n\n"));
    let story = seen.into_keys().next().unwrap();
    assert!(story.contains("429") && story.contains("wrong_code") && story.contains("expired_ticket"));
}
