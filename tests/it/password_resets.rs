//! Password resets: somebody who reads the mailbox of an account sets a new password. Nobody else learns or prevents anything.

use std::{collections::BTreeMap, time::Duration};

use poem::http::Method;
use sea_orm::{EntityTrait, PaginatorTrait};
use serde_json::{Value, json};
use vestibule::entity::{mail, ticket, ticket_handle};

use crate::{
    assert_problem,
    support::{PASSWORD, TestApp, caller::Answer, clock::minutes, observed::observed},
    throttle::{ELSEWHERE, HOME, send, throttled},
};

const NEW: &str = "nine grey gulls at noon";

/// Requests a reset from this network, and returns the handle.
async fn request_from(app: &TestApp, network: &str, identifier: &str) -> String {
    let body = json!({ "identifier": identifier });
    let pending = send(app, network, Method::POST, "/v1/password-resets", None, body).await.expect(202);
    pending["handle"].as_str().unwrap().to_owned()
}

async fn request(app: &TestApp, identifier: &str) -> String {
    request_from(app, HOME, identifier).await
}

/// Requests a reset of `ada`, and returns the handle, and the token and the code from the mail.
async fn requested(app: &TestApp) -> (String, String, String) {
    let handle = request(app, "ada").await;
    let mail = app.mail("reset", "ada@example.org").await;
    (handle, mail.token().to_owned(), mail.code().to_owned())
}

async fn complete_from(app: &TestApp, network: &str, proof: Value, password: &str) -> Answer {
    let body = json!({ "proof": proof, "new_password": password });
    send(app, network, Method::POST, "/v1/password-resets/complete", None, body).await
}

async fn by_link(app: &TestApp, token: &str) -> Answer {
    complete_from(app, HOME, json!({ "kind": "link", "token": token }), NEW).await
}

async fn by_code(app: &TestApp, handle: &str, code: &str) -> Answer {
    by_code_from(app, HOME, handle, code).await
}

async fn by_code_from(app: &TestApp, network: &str, handle: &str, code: &str) -> Answer {
    complete_from(app, network, json!({ "kind": "code", "handle": handle, "code": code }), NEW).await
}

/// Returns another code.
fn wrong(code: &str) -> String {
    format!("{:08}", (code.parse::<u32>().unwrap() + 1) % 100_000_000)
}

#[track_caller]
pub fn assert_fault(answer: &Answer, pointer: &str, code: &str) {
    assert_eq!((answer.problem(), answer.faults()), ((422, "validation_failed"), vec![(pointer, code)]), "{:#}", answer.body);
}

#[tokio::test]
async fn a_link_or_a_code_sets_the_password_once_and_ends_every_session() {
    for with_code in [false, true] {
        let app = TestApp::start().await;
        let ada = app.user("ada").await;
        let (handle, token, code) = requested(&app).await;
        ada.get("/v1/me").await.expect(200);
        let complete = async || if with_code { by_code(&app, &handle, &code).await } else { by_link(&app, &token).await };
        let done = complete().await;
        assert!(!done.headers.contains_key("set-cookie"));
        assert_eq!(done.expect(204), json!(null));
        assert_problem!(ada.get("/v1/me").await, 401, "session_ended");
        let log_in = async |password: &str| {
            app.anonymous().post("/v1/sessions", json!({ "identifier": "ada", "password": password })).await
        };
        assert_problem!(log_in(PASSWORD).await, 401, "invalid_credentials");
        log_in(NEW).await.expect(201);
        if with_code {
            assert_fault(&complete().await, "/proof/code", "wrong_code");
        } else {
            assert_fault(&complete().await, "/proof/token", "spent_ticket");
        }
        let notice = app.mail("password_reset", "ada@example.org").await;
        assert_eq!((notice.token, notice.code), (None, None));
        let event = app.event("account.password_reset").await;
        assert_eq!(event.actor_name.as_deref(), Some("ada"));
    }
}

#[tokio::test]
async fn a_reset_verifies_the_address_and_leaves_a_disabled_account_disabled() {
    let app = TestApp::start().await;
    let id = app.register("ada").await;
    let admin = app.admin().await;
    let user = async || admin.get(&format!("/v1/users/{id}")).await;
    let before = user().await;
    assert_eq!(before.body["email_verified"], false);
    admin.patch(&format!("/v1/users/{id}"), json!({ "status": "disabled" })).await.expect(200);
    let (_, token, _) = requested(&app).await;
    by_link(&app, &token).await.expect(204);
    let after = user().await;
    assert_eq!((&after.body["email_verified"], &after.body["status"]), (&json!(true), &json!("disabled")));
    assert_ne!(after.header("etag"), before.header("etag"));
    let log_in = json!({ "identifier": "ada", "password": NEW });
    assert_problem!(app.anonymous().post("/v1/sessions", log_in).await, 403, "account_disabled");
}

#[tokio::test]
async fn a_link_is_read_without_being_used() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    ada.patch("/v1/me", json!({ "name": "Ada Lovelace", "language": "de" })).await.expect(200);
    let (_, token, _) = requested(&app).await;
    let read = async |token: &str| app.anonymous().post("/v1/tickets/read", json!({ "token": token })).await;
    let expected = json!({
        "purpose": "reset", "email": "ada@example.org", "name": "Ada Lovelace", "language": "de",
        "factors": [], "expires_at": "2026-01-01T00:30:00.000000Z",
    });
    for _ in 0..3 {
        assert_eq!(read(&token).await.expect(200), expected);
    }
    for damaged in ["vt1.AAAAAAAAAAAAAAAAAAAAAA.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", &token.to_lowercase()] {
        assert_fault(&read(damaged).await, "/token", "invalid_ticket");
        assert_fault(&by_link(&app, damaged).await, "/proof/token", "invalid_ticket");
    }
    by_link(&app, &token).await.expect(204);
    assert_fault(&read(&token).await, "/token", "spent_ticket");
}

#[tokio::test]
async fn a_ticket_expires_after_half_an_hour() {
    let app = TestApp::start_with(|settings| settings.mail.reset_ttl = minutes(30)).await;
    app.register("ada").await;
    let (handle, token, code) = requested(&app).await;
    app.clock.advance(minutes(30));
    assert_fault(&by_link(&app, &token).await, "/proof/token", "expired_ticket");
    assert_fault(&by_code(&app, &handle, &code).await, "/proof/code", "expired_ticket");
}

#[tokio::test]
async fn a_repeated_request_sends_the_same_link_and_code_for_two_lives_at_most() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let (first, token, code) = requested(&app).await;
    app.clock.advance(minutes(20));
    let (second, same_token, same_code) = requested(&app).await;
    assert_eq!((&same_token, &same_code), (&token, &code));
    assert_ne!(first, second);
    app.clock.advance(minutes(20));
    let (third, other_token, other_code) = requested(&app).await;
    assert!(other_token != token && other_code != code);
    // The mail of the second request keeps its promise of half an hour, whoever made the third.
    app.clock.advance(minutes(9));
    assert_fault(&by_code(&app, &third, &code).await, "/proof/code", "wrong_code");
    by_code(&app, &second, &code).await.expect(204);
    assert_fault(&by_code(&app, &third, &other_code).await, "/proof/code", "wrong_code");
    assert_fault(&by_link(&app, &other_token).await, "/proof/token", "spent_ticket");
}

#[tokio::test]
async fn m05_wrong_codes_of_a_stranger_use_up_nothing_of_the_owner() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let strangers = request_from(&app, ELSEWHERE, "ada").await;
    let (handle, token, code) = requested(&app).await;
    for _ in 0..5 {
        assert_fault(&by_code_from(&app, ELSEWHERE, &strangers, &wrong(&code)).await, "/proof/code", "wrong_code");
    }
    // The stranger's handle is used up, even for the code itself.
    assert_fault(&by_code_from(&app, ELSEWHERE, &strangers, &code).await, "/proof/code", "wrong_code");
    app.anonymous().post("/v1/tickets/read", json!({ "token": token })).await.expect(200);
    by_code(&app, &handle, &format!("{} {}", &code[..4], &code[4..])).await.expect(204);
}

#[tokio::test]
async fn a_network_may_send_twenty_wrong_codes_a_day_for_an_address() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let code = requested(&app).await.2;
    for _ in 0..4 {
        let handle = request(&app, "ada").await;
        for _ in 0..5 {
            assert_fault(&by_code(&app, &handle, &wrong(&code)).await, "/proof/code", "wrong_code");
        }
    }
    let handle = request(&app, "ada").await;
    assert_fault(&by_code(&app, &handle, &code).await, "/proof/code", "wrong_code");
    by_code_from(&app, ELSEWHERE, &handle, &code).await.expect(204);
    app.clock.advance(Duration::from_hours(24));
    let (handle, _, code) = requested(&app).await;
    by_code(&app, &handle, &code).await.expect(204);
}

#[tokio::test]
async fn m05_after_a_hundred_wrong_codes_a_day_only_known_networks_and_links_work() {
    let app = throttled().await;
    app.register("ada").await;
    let log_in = json!({ "identifier": "ada", "password": PASSWORD });
    send(&app, HOME, Method::POST, "/v1/sessions", None, log_in).await.expect(201);
    let (handle, token, code) = requested(&app).await;
    for network in 1..=5 {
        let network = format!("203.0.113.{network}");
        for _ in 0..4 {
            let handle = request_from(&app, &network, "ada").await;
            for _ in 0..5 {
                assert_fault(&by_code_from(&app, &network, &handle, &wrong(&code)).await, "/proof/code", "wrong_code");
            }
        }
    }
    let elsewhere = request_from(&app, ELSEWHERE, "ada").await;
    assert_fault(&by_code_from(&app, ELSEWHERE, &elsewhere, &code).await, "/proof/code", "wrong_code");
    let body = json!({ "token": token });
    send(&app, ELSEWHERE, Method::POST, "/v1/tickets/read", None, body).await.expect(200);
    by_code(&app, &handle, &code).await.expect(204);
}

#[tokio::test]
async fn m05_after_a_reset_the_owner_logs_in_however_many_guess_at_the_account() {
    let app = throttled().await;
    app.register("ada").await;
    for network in 1..=30 {
        let guess = json!({ "identifier": "ada", "password": "wrong wrong wrong" });
        send(&app, &format!("203.0.113.{network}"), Method::POST, "/v1/sessions", None, guess).await;
    }
    let (_, token, _) = requested(&app).await;
    by_link(&app, &token).await.expect(204);
    let log_in = json!({ "identifier": "ada", "password": NEW });
    assert_problem!(send(&app, ELSEWHERE, Method::POST, "/v1/sessions", None, log_in.clone()).await, 429, "too_many_requests");
    send(&app, HOME, Method::POST, "/v1/sessions", None, log_in).await.expect(201);
}

#[tokio::test]
async fn one_address_gets_a_mail_a_minute_five_an_hour_ten_a_day_and_always_one_an_hour() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let mut sent = Vec::new();
    for minute in 0..(26 * 60) {
        // By both names: they belong to one address.
        for identifier in ["ada", "Ada@Example.org"] {
            request(&app, identifier).await;
        }
        let queued = mail::Entity::find().count(app.app.db.read()).await.unwrap();
        if queued > sent.len() as u64 {
            assert_eq!(queued, sent.len() as u64 + 1);
            sent.push(minute);
        }
        app.clock.advance(minutes(1));
    }
    let expected: Vec<u32> = (0..5).chain(60..65).chain((2..26).map(|hour| hour * 60 + 4)).collect();
    assert_eq!(sent, expected);
}

#[tokio::test]
async fn a_change_of_the_account_makes_the_link_void() {
    let change = async |name: &str| {
        let app = TestApp::start().await;
        let ada = app.user("ada").await;
        let id = ada.get("/v1/me").await.expect(200)["id"].as_str().unwrap().to_owned();
        let (handle, token, code) = requested(&app).await;
        let (admin, user) = (app.admin().await, format!("/v1/users/{id}"));
        let passwords = json!({ "current_password": PASSWORD, "new_password": "five red kites at dusk" });
        let email = json!({ "email": "new@example.org", "current_password": PASSWORD });
        match name {
            "password changed" => ada.put("/v1/me/password", passwords).await.expect(204),
            "password set" => admin.put(&format!("{user}/password"), json!({ "new_password": NEW })).await.expect(204),
            "own address" => {
                ada.patch("/v1/me", email).await.expect(200);
                let token = app.mail("change", "new@example.org").await.token().to_owned();
                ada.post("/v1/me/pending-email/complete", json!({ "token": token })).await.expect(204)
            }
            "address" => admin.patch(&user, json!({ "email": "new@example.org" })).await.expect(200),
            "disabled" => admin.patch(&user, json!({ "status": "disabled" })).await.expect(200),
            "deleted" => admin.delete(&user, json!(null)).await.expect(204),
            "closed" => ada.delete("/v1/me", json!({ "current_password": PASSWORD })).await.expect(204),
            other => panic!("{other}"),
        };
        assert_fault(&by_link(&app, &token).await, "/proof/token", "spent_ticket");
        assert_fault(&by_code(&app, &handle, &code).await, "/proof/code", "wrong_code");
    };
    for name in ["password changed", "password set", "own address", "address", "disabled", "deleted", "closed"] {
        change(name).await;
    }
}

#[tokio::test]
async fn a_mail_whose_link_became_void_is_not_sent() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    request(&app, "ada").await;
    let passwords = json!({ "current_password": PASSWORD, "new_password": NEW });
    ada.put("/v1/me/password", passwords).await.expect(204);
    let sent = app.mails().await;
    assert!(sent.iter().all(|mail| mail.kind != "reset"), "{sent:#?}");
    let listed = app.admin().await.get("/v1/mails?kind=reset").await.expect(200);
    assert_eq!(listed["items"][0]["state"], "dropped");
}

#[tokio::test]
async fn a_ticket_that_is_used_many_times_at_once_is_used_once() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let (handle, token, code) = requested(&app).await;
    let link = futures_util::future::join_all((0..8).map(|_| by_link(&app, &token)));
    let codes = futures_util::future::join_all((0..8).map(|_| by_code(&app, &handle, &code)));
    let (link, codes) = tokio::join!(link, codes);
    let done = link.iter().chain(&codes).filter(|answer| answer.status == 204).count();
    assert_eq!(done, 1);
    assert!(link.iter().chain(&codes).all(|answer| [204, 422].contains(&answer.status)));
}

#[tokio::test]
async fn codes_that_are_sent_at_once_are_counted() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let (handle, _, code) = requested(&app).await;
    futures_util::future::join_all((0..8).map(|_| by_code(&app, &handle, "00000000"))).await;
    assert_ne!(code, "00000000");
    let row = ticket_handle::Entity::find().one(app.app.db.read()).await.unwrap().unwrap();
    assert_eq!(row.attempts, 5);
    assert_fault(&by_code(&app, &handle, &code).await, "/proof/code", "wrong_code");
}

#[tokio::test]
async fn a_refused_password_uses_up_no_attempt() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let (handle, _, code) = requested(&app).await;
    let proof = json!({ "kind": "code", "handle": handle, "code": code });
    for _ in 0..8 {
        let refused = complete_from(&app, HOME, proof.clone(), "ada@example.org").await;
        assert_fault(&refused, "/new_password", "contains_identity");
    }
    by_code(&app, &handle, &code).await.expect(204);
}

#[tokio::test]
async fn an_administrator_sends_a_reset_to_users_whose_permissions_they_hold() {
    let app = TestApp::start().await;
    let id = app.register("ada").await;
    let admin = app.admin().await;
    let path = |id: &str| format!("/v1/users/{id}/password-reset");
    for _ in 0..3 {
        admin.post(&path(&id.to_string()), json!(null)).await.expect(202);
    }
    assert_eq!(app.mails().await.len(), 3, "the limits of the recipient do not count");
    let token = app.mail("reset", "ada@example.org").await.token().to_owned();
    by_link(&app, &token).await.expect(204);
    let clerk = app.holding("clerk", &["users:write"]).await;
    let root = admin.get("/v1/me").await.expect(200)["id"].as_str().unwrap().to_owned();
    assert_problem!(clerk.post(&path(&root), json!(null)).await, 403, "escalation_denied");
    assert_problem!(clerk.post(&path("0198c5e0-0000-7000-8000-000000000000"), json!(null)).await, 404, "not_found");
}

#[tokio::test]
async fn without_a_transport_nobody_can_request_a_reset() {
    let app = TestApp::start_with(|settings| settings.mail.transport = Some("none".parse().unwrap())).await;
    let id = app.register("ada").await;
    for identifier in ["ada", "nobody"] {
        let answer = app.anonymous().post("/v1/password-resets", json!({ "identifier": identifier })).await;
        assert_problem!(answer, 403, "mail_unavailable");
    }
    let admin = app.admin().await;
    for path in [format!("/v1/users/{id}/password-reset"), "/v1/me/email/verification".into()] {
        let caller = if path.contains("users") { admin.clone() } else { app.anonymous().log_in("ada", PASSWORD).await };
        assert_problem!(caller.post(&path, json!(null)).await, 403, "mail_unavailable");
    }
    assert_problem!(admin.post("/v1/mails/test", json!({ "to": "ada@example.org" })).await, 403, "mail_unavailable");
    assert_eq!(app.mail_rows().await.len(), 0);
}

/// The kinds of accounts that a caller must not be able to tell apart.
const KINDS: [&str; 9] = [
    "known",
    "known@example.org",
    "nobody",
    "nobody@example.org",
    "disabled@example.org",
    "verified",
    "withoutpassword",
    "invited@example.org",
    "@",
];

/// Starts a service that has these accounts, and one address that is invited.
pub async fn with_accounts() -> TestApp {
    let app = throttled().await;
    for name in ["known", "disabled", "verified"] {
        app.register(name).await;
    }
    let admin = app.admin().await;
    let body = json!({ "email": "w@example.org", "username": "withoutpassword" });
    admin.post("/v1/users", body).await.expect(201);
    let invitation = json!({ "email": "invited@example.org", "name": "Ida" });
    admin.post("/v1/invitations", invitation).await.expect(201);
    for (name, change) in
        [("disabled", json!({ "status": "disabled" })), ("verified", json!({ "email": "verified@example.org" }))]
    {
        let found = admin.get(&format!("/v1/users?search={name}")).await.expect(200)["items"][0]["id"].clone();
        admin.patch(&format!("/v1/users/{}", found.as_str().unwrap()), change).await.expect(200);
    }
    app
}

#[tokio::test]
async fn m04_a_request_and_wrong_codes_are_the_same_for_every_account_and_for_none() {
    let mut seen = BTreeMap::<String, Vec<&str>>::new();
    for identifier in KINDS {
        let app = with_accounts().await;
        // No password is hashed: the only thread that hashes is busy.
        let _busy = app.hold_hashing().await;
        let mut story = Vec::new();
        let mut handle = String::new();
        let request = || send(&app, HOME, Method::POST, "/v1/password-resets", None, json!({ "identifier": identifier }));
        // Each of them has been sent a mail before, as the address that is invited.
        request().await.expect(202);
        app.clock.advance(Duration::from_hours(49));
        for step in 0..110 {
            let (answer, seen) = observed(&app, request()).await;
            story.push(format!("{step}: {seen}"));
            if answer.status == 202 {
                handle = answer.body["handle"].as_str().unwrap().to_owned();
            }
            app.clock.advance(Duration::from_secs(1));
        }
        for step in 0..7 {
            let (_, seen) = observed(&app, by_code_from(&app, ELSEWHERE, &handle, "00000000")).await;
            story.push(format!("code {step}: {seen}"));
        }
        app.clock.advance(minutes(31));
        story.push(observed(&app, by_code_from(&app, ELSEWHERE, &handle, "00000000")).await.1);
        // The sender handles a decoy like a mail, up to the transport.
        let leased = vestibule::domain::mail::sending::lease(&app.app).await.unwrap();
        story.push(format!("{} mails", leased.len()));
        seen.entry(story.join("\n")).or_default().push(identifier);
    }
    let groups: Vec<_> = seen.values().collect();
    assert_eq!(groups.len(), 1, "{groups:?}\n{}", seen.keys().cloned().collect::<Vec<_>>().join("\n\n------\n\n"));
    let story = seen.into_keys().next().unwrap();
    assert!(story.contains("429") && story.contains("wrong_code") && story.contains("expired_ticket"));
}

#[tokio::test]
async fn a_decoy_is_neither_listed_nor_sent_and_leaves_no_address() {
    let app = TestApp::start().await;
    let handle = request(&app, "nobody@example.org").await;
    let admin = app.admin().await;
    assert_eq!(admin.get("/v1/mails").await.expect(200)["items"], json!([]));
    let row = app.mail_rows().await.remove(0);
    let retry = format!("/v1/mails/{}/retry", row.id);
    assert_problem!(admin.post(&retry, json!(null)).await, 404, "not_found");
    assert_eq!(app.mails().await.len(), 0);
    assert_eq!(app.mail_rows().await.len(), 0);
    let decoy = ticket::Entity::find().one(app.app.db.read()).await.unwrap().unwrap();
    assert_eq!((decoy.user_id, decoy.address), (None, None));
    assert_fault(&by_code(&app, &handle, "12345678").await, "/proof/code", "wrong_code");
}
