//! Changes of one's own address where mail can be sent: the new mailbox confirms the change, and the old one can undo it.

use std::{collections::BTreeMap, time::Duration};

use poem::{Body, http::Method};
use serde_json::{Value, json};

use crate::{
    assert_problem,
    support::{
        PASSWORD, TestApp,
        caller::{Answer, Caller},
        clock::minutes,
        observed::observed,
    },
    throttle::{ELSEWHERE, HOME, log_in, send, throttled},
};

const OLD: &str = "ada@example.org";
const NEW: &str = "ada@example.com";
const NEW_PASSWORD: &str = "nine grey gulls at noon";
const DAY: Duration = Duration::from_hours(24);

async fn request(caller: &Caller<'_>, email: &str) -> Answer {
    caller.patch("/v1/me", json!({ "email": email, "current_password": PASSWORD })).await
}

async fn confirm(caller: &Caller<'_>, proof: Value) -> Answer {
    caller.post("/v1/me/pending-email/complete", proof).await
}

async fn cancel(caller: &Caller<'_>) -> Answer {
    caller.delete("/v1/me/pending-email", json!(null)).await
}

/// Changes the address of a caller, up to the confirmation.
async fn change(caller: &Caller<'_>, email: &str) {
    // One address is sent one mail a minute.
    caller.app.clock.advance(minutes(1));
    request(caller, email).await.expect(200);
    let token = caller.app.mail("change", email).await.token().to_owned();
    confirm(caller, json!({ "token": token })).await.expect(204);
}

async fn revert(app: &TestApp, token: &str) -> Answer {
    app.anonymous().post("/v1/email-changes/revert", json!({ "token": token, "new_password": NEW_PASSWORD })).await
}

/// Registers a user and verifies the address.
async fn verified<'a>(app: &'a TestApp, name: &str) -> Caller<'a> {
    let user = app.user(name).await;
    user.post("/v1/me/email/verification", json!(null)).await.expect(202);
    let token = app.mail("verify", &format!("{name}@example.org")).await.token().to_owned();
    user.post("/v1/me/email/verification/complete", json!({ "token": token })).await.expect(204);
    app.clock.advance(minutes(1));
    user
}

async fn me(caller: &Caller<'_>) -> Value {
    caller.get("/v1/me").await.expect(200)
}

/// Returns the kinds of the mails to an address, sorted.
async fn kinds(app: &TestApp, to: &str) -> Vec<String> {
    let mut kinds: Vec<_> = app.mails().await.into_iter().filter(|mail| mail.to == to).map(|mail| mail.kind).collect();
    kinds.sort();
    kinds
}

#[track_caller]
fn assert_fault(answer: &Answer, pointer: &str, code: &str) {
    assert_eq!((answer.problem(), answer.faults()), ((422, "validation_failed"), vec![(pointer, code)]), "{:#}", answer.body);
}

/// Returns another code.
fn wrong(code: &str) -> String {
    format!("{:08}", (code.parse::<u32>().unwrap() + 1) % 100_000_000)
}

#[tokio::test]
async fn m08_the_new_mailbox_confirms_the_change_with_the_link_or_the_code() {
    for with_code in [false, true] {
        let app = TestApp::start().await;
        let ada = verified(&app, "ada").await;
        let answer = request(&ada, "Ada@EXAMPLE.com").await;
        let (tag, pending) = (answer.header("etag").to_owned(), answer.expect(200));
        assert_eq!((&pending["email"], &pending["pending_email"]), (&json!(OLD), &json!(NEW)));
        assert_eq!(me(&ada).await, pending);
        let mail = app.mail("change", NEW).await;
        let proof = if with_code { json!({ "code": mail.code() }) } else { json!({ "token": mail.token() }) };
        // A repeated request succeeds again: the first response may have been lost.
        for _ in 0..2 {
            confirm(&ada, proof.clone()).await.expect(204);
        }
        let answer = ada.get("/v1/me").await;
        assert_ne!(answer.header("etag"), tag);
        let after = answer.expect(200);
        assert_eq!((&after["email"], &after["email_verified"], after.get("pending_email")), (&json!(NEW), &json!(true), None));
        app.anonymous().log_in(NEW, PASSWORD).await;
        assert_eq!(kinds(&app, OLD).await, ["email_change_requested", "revert", "verify"]);
        assert_eq!(kinds(&app, NEW).await, ["change", "email_changed"]);
        assert_eq!(app.event("account.email_change_requested").await.details.0, json!({ "pending_email": NEW }));
        assert_eq!(app.event("account.email_changed").await.details.0, json!({ "before": OLD, "after": NEW }));
    }
}

#[tokio::test]
async fn p08_a_request_for_another_address_requires_the_password_and_the_present_state() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    let tag = ada.get("/v1/me").await.header("etag").to_owned();
    assert_fault(&ada.patch("/v1/me", json!({ "email": NEW })).await, "/current_password", "required");
    let wrong = json!({ "email": NEW, "current_password": NEW_PASSWORD });
    assert_fault(&ada.patch("/v1/me", wrong).await, "/current_password", "wrong_password");
    assert_eq!(app.mail_rows().await.len(), 0);
    let pending = request(&ada, NEW).await;
    assert_ne!(pending.header("etag"), tag);
    let body = json!({ "email": "other@example.com", "current_password": PASSWORD }).to_string();
    let headers = [("content-type", "application/json"), ("if-match", tag.as_str())];
    let stale = ada.send(Method::PATCH, "/v1/me", &headers, Body::from_string(body)).await;
    assert_problem!(stale, 412, "precondition_failed");
    assert_eq!(me(&ada).await, pending.expect(200));
}

#[tokio::test]
async fn other_members_of_the_same_request_change_at_once() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    let body = json!({ "email": NEW, "current_password": PASSWORD, "name": "Ada Lovelace", "language": "de" });
    let after = ada.patch("/v1/me", body).await.expect(200);
    assert_eq!((&after["email"], &after["pending_email"], &after["name"]), (&json!(OLD), &json!(NEW), &json!("Ada Lovelace")));
    assert_eq!(app.event("account.updated").await.details.0["name"]["after"], "Ada Lovelace");
    assert_eq!(app.mail("change", NEW).await.language, "de");
    // The present address, in any spelling, is no new one.
    let same = ada.patch("/v1/me", json!({ "email": "ADA@example.org" })).await.expect(200);
    assert_eq!(same, after);
}

#[tokio::test]
async fn a_caller_does_not_learn_that_another_account_has_the_address_before_they_read_its_mailbox() {
    let app = TestApp::start().await;
    app.register("eve").await;
    let ada = app.user("ada").await;
    let mut seen = Vec::new();
    for email in ["eve@example.org", "nobody@example.org"] {
        let before = (app.rows().await, app.app.db.statements());
        let answer = request(&ada, email).await;
        let statements = app.app.db.statements() - before.1;
        let written: Vec<_> = app.rows().await.iter().map(|(table, count)| (*table, count - before.0[table])).collect();
        let body = answer.expect(200).to_string().replace(email, "");
        seen.push((statements, written, body));
        cancel(&ada).await.expect(204);
    }
    assert_eq!(seen[0], seen[1]);
    app.clock.advance(minutes(1));
    request(&ada, "eve@example.org").await.expect(200);
    let token = app.mail("change", "eve@example.org").await.token().to_owned();
    assert_problem!(confirm(&ada, json!({ "token": token })).await, 409, "email_taken");
    assert_eq!(me(&ada).await["email"], OLD);
    // The link still works when the address is free.
    let eve = app.anonymous().log_in("eve", PASSWORD).await;
    eve.delete("/v1/me", json!({ "current_password": PASSWORD })).await.expect(204);
    confirm(&ada, json!({ "token": token })).await.expect(204);
}

#[tokio::test]
async fn a_repeated_request_sends_the_same_link_again_and_another_address_makes_it_void() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    let mut mails = Vec::new();
    for _ in 0..2 {
        app.clock.advance(minutes(1));
        request(&ada, NEW).await.expect(200);
        mails.push(app.mail("change", NEW).await);
    }
    assert_eq!((mails[0].token(), mails[0].code()), (mails[1].token(), mails[1].code()));
    assert_eq!(kinds(&app, OLD).await, ["email_change_requested"], "told once");
    request(&ada, NEW).await.expect(200);
    assert_eq!(kinds(&app, NEW).await.len(), 2, "one mail a minute");
    request(&ada, "ada@example.net").await.expect(200);
    assert_fault(&confirm(&ada, json!({ "token": mails[0].token() })).await, "/token", "spent_ticket");
    assert_fault(&confirm(&ada, json!({ "code": mails[0].code() })).await, "/code", "wrong_code");
    let token = app.mail("change", "ada@example.net").await.token().to_owned();
    confirm(&ada, json!({ "token": token })).await.expect(204);
    assert_eq!(me(&ada).await["email"], "ada@example.net");
}

#[tokio::test]
async fn a_link_or_a_code_is_worth_nothing_to_another_account_or_for_another_purpose() {
    let app = TestApp::start().await;
    let (ada, eve) = (app.user("ada").await, app.user("eve").await);
    request(&ada, NEW).await.expect(200);
    request(&eve, "eve@example.com").await.expect(200);
    let mail = app.mail("change", NEW).await;
    assert_fault(&confirm(&eve, json!({ "token": mail.token() })).await, "/token", "invalid_ticket");
    assert_fault(&confirm(&eve, json!({ "code": mail.code() })).await, "/code", "wrong_code");
    assert_fault(&revert(&app, mail.token()).await, "/token", "invalid_ticket");
    let verify = ada.post("/v1/me/email/verification/complete", json!({ "token": mail.token() })).await;
    assert_fault(&verify, "/token", "invalid_ticket");
    assert_fault(&confirm(&ada, json!({})).await, "/code", "required");
    confirm(&ada, json!({ "token": mail.token() })).await.expect(204);
    let undo = app.mails().await.into_iter().find(|mail| mail.kind == "revert");
    assert!(undo.is_none(), "nobody has proven the old address");
    assert_eq!(kinds(&app, OLD).await, ["email_change_requested", "email_changed"]);
}

#[tokio::test]
async fn five_codes_may_be_tried_after_each_request() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    request(&ada, NEW).await.expect(200);
    let code = app.mail("change", NEW).await.code().to_owned();
    for _ in 0..5 {
        assert_fault(&confirm(&ada, json!({ "code": wrong(&code) })).await, "/code", "wrong_code");
    }
    assert_fault(&confirm(&ada, json!({ "code": code })).await, "/code", "wrong_code");
    request(&ada, NEW).await.expect(200);
    confirm(&ada, json!({ "code": code })).await.expect(204);
}

#[tokio::test]
async fn the_code_of_a_change_that_is_over_is_wrong_and_its_link_is_spent() {
    let app = TestApp::start().await;
    let (ada, admin) = (app.user("ada").await, app.admin().await);
    let user = format!("/v1/users/{}", me(&ada).await["id"].as_str().unwrap());
    request(&ada, NEW).await.expect(200);
    let mail = app.mail("change", NEW).await;
    confirm(&ada, json!({ "code": mail.code() })).await.expect(204);
    admin.patch(&user, json!({ "email": "third@example.org" })).await.expect(200);
    assert_fault(&confirm(&ada, json!({ "code": mail.code() })).await, "/code", "wrong_code");
    assert_fault(&confirm(&ada, json!({ "token": mail.token() })).await, "/token", "spent_ticket");
}

#[tokio::test]
async fn the_link_expires_after_a_day_and_the_address_stays_pending() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    request(&ada, NEW).await.expect(200);
    let mail = app.mail("change", NEW).await;
    app.clock.advance(DAY);
    let ada = app.anonymous().log_in("ada", PASSWORD).await;
    assert_fault(&confirm(&ada, json!({ "token": mail.token() })).await, "/token", "expired_ticket");
    assert_fault(&confirm(&ada, json!({ "code": mail.code() })).await, "/code", "expired_ticket");
    assert_eq!(me(&ada).await["pending_email"], NEW);
    request(&ada, NEW).await.expect(200);
    let again = app.mail("change", NEW).await;
    assert_ne!(again.token(), mail.token());
    confirm(&ada, json!({ "code": again.code() })).await.expect(204);
}

#[tokio::test]
async fn a_change_can_be_cancelled() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    assert_problem!(cancel(&ada).await, 404, "not_found");
    request(&ada, NEW).await.expect(200);
    let token = app.mail("change", NEW).await.token().to_owned();
    let tag = ada.get("/v1/me").await.header("etag").to_owned();
    cancel(&ada).await.expect(204);
    assert_ne!(ada.get("/v1/me").await.header("etag"), tag);
    assert_eq!(me(&ada).await.get("pending_email"), None);
    assert_fault(&confirm(&ada, json!({ "token": token })).await, "/token", "spent_ticket");
    assert_problem!(cancel(&ada).await, 404, "not_found");
    assert_eq!(app.event("account.email_change_cancelled").await.details.0, json!({ "pending_email": NEW }));
}

#[tokio::test]
async fn a_change_of_the_account_withdraws_the_pending_address() {
    for name in ["password changed", "password set", "password reset", "address", "disabled"] {
        let app = TestApp::start().await;
        let (ada, admin) = (app.user("ada").await, app.admin().await);
        let id = me(&ada).await["id"].as_str().unwrap().to_owned();
        let user = format!("/v1/users/{id}");
        request(&ada, NEW).await.expect(200);
        let token = app.mail("change", NEW).await.token().to_owned();
        let before = admin.get(&user).await;
        assert_eq!(before.body["pending_email"], NEW);
        let passwords = json!({ "current_password": PASSWORD, "new_password": NEW_PASSWORD });
        match name {
            "password changed" => ada.put("/v1/me/password", passwords).await.expect(204),
            "password set" => admin.put(&format!("{user}/password"), json!({ "new_password": NEW_PASSWORD })).await.expect(204),
            "password reset" => {
                app.anonymous().post("/v1/password-resets", json!({ "identifier": "ada" })).await.expect(202);
                let proof = json!({ "kind": "link", "token": app.mail("reset", OLD).await.token() });
                let body = json!({ "proof": proof, "new_password": NEW_PASSWORD });
                app.anonymous().post("/v1/password-resets/complete", body).await.expect(204)
            }
            "address" => admin.patch(&user, json!({ "email": "third@example.org" })).await.expect(200),
            "disabled" => admin.patch(&user, json!({ "status": "disabled" })).await.expect(200),
            other => panic!("{other}"),
        };
        let after = admin.get(&user).await;
        assert_eq!(after.body.get("pending_email"), None, "{name}");
        assert_ne!(after.header("etag"), before.header("etag"), "{name}");
        admin.patch(&user, json!({ "status": "active" })).await.expect(200);
        admin.put(&format!("{user}/password"), json!({ "new_password": PASSWORD })).await.expect(204);
        let ada = app.anonymous().log_in("ada", PASSWORD).await;
        assert_fault(&confirm(&ada, json!({ "token": token })).await, "/token", "spent_ticket");
    }
}

#[tokio::test]
async fn m07_both_mailboxes_are_told_of_a_change_by_an_administrator_and_none_can_undo_it() {
    let app = TestApp::start().await;
    let ada = verified(&app, "ada").await;
    let user = format!("/v1/users/{}", me(&ada).await["id"].as_str().unwrap());
    app.admin().await.patch(&user, json!({ "email": NEW })).await.expect(200);
    assert_eq!(kinds(&app, OLD).await, ["email_changed", "verify"]);
    assert_eq!(kinds(&app, NEW).await, ["email_changed"]);
    app.register("ada2").await;
    let ada2 = app.anonymous().log_in("ada2", PASSWORD).await;
    change(&ada2, OLD).await;
}

#[tokio::test]
async fn where_no_mail_can_be_sent_the_address_changes_at_once() {
    let app = TestApp::without_mail().await;
    let ada = app.user("ada").await;
    let after = request(&ada, NEW).await.expect(200);
    assert_eq!((&after["email"], after.get("pending_email")), (&json!(NEW), None));
    app.register("eve").await;
    assert_problem!(request(&ada, "eve@example.org").await, 409, "email_taken");
    assert_eq!(app.mail_rows().await.len(), 0);
    assert_problem!(cancel(&ada).await, 404, "not_found");
}

#[tokio::test]
async fn m08_the_old_mailbox_undoes_a_change_for_seven_days() {
    let app = throttled().await;
    let ada = verified(&app, "ada").await;
    change(&ada, NEW).await;
    let mail = app.mail("revert", OLD).await;
    assert_eq!(mail.code, None);
    let read = app.anonymous().post("/v1/tickets/read", json!({ "token": mail.token() })).await.expect(200);
    assert_eq!((&read["purpose"], &read["email"]), (&json!("revert"), &json!(OLD)));
    app.clock.advance(6 * DAY);
    let thief = app.anonymous().log_in(NEW, PASSWORD).await;
    request(&thief, "third@example.com").await.expect(200);
    let pending = app.mail("change", "third@example.com").await;
    assert_fault(
        &app.anonymous().post("/v1/email-changes/revert", json!({ "token": mail.token(), "new_password": OLD })).await,
        "/new_password",
        "contains_identity",
    );
    let body = json!({ "token": mail.token(), "new_password": NEW_PASSWORD });
    let done = send(&app, ELSEWHERE, Method::POST, "/v1/email-changes/revert", None, body).await;
    assert!(!done.headers.contains_key("set-cookie"));
    done.expect(204);
    assert_problem!(thief.get("/v1/me").await, 401, "session_ended");
    assert_problem!(log_in(&app, HOME, OLD, PASSWORD).await, 401, "invalid_credentials");
    let ada = app.anonymous().log_in(OLD, NEW_PASSWORD).await;
    let after = me(&ada).await;
    assert_eq!((&after["email"], &after["email_verified"], after.get("pending_email")), (&json!(OLD), &json!(true), None));
    assert_fault(&confirm(&ada, json!({ "token": pending.token() })).await, "/token", "spent_ticket");
    assert_fault(&revert(&app, mail.token()).await, "/token", "spent_ticket");
    for mailbox in [OLD, NEW] {
        assert_eq!(kinds(&app, mailbox).await.iter().filter(|kind| *kind == "email_change_undone").count(), 1, "{mailbox}");
    }
    let removed = json!({ "factors": 0, "recovery_codes": 0 });
    let details = json!({ "before": NEW, "after": OLD, "removed": removed });
    assert_eq!(app.event("account.email_change_reverted").await.details.0, details);
    // The other address is free again.
    app.register("eve").await;
    change(&app.anonymous().log_in("eve", PASSWORD).await, NEW).await;
}

#[tokio::test]
async fn a_change_cannot_be_undone_after_seven_days_and_the_address_is_free_then() {
    let app = TestApp::start().await;
    let ada = verified(&app, "ada").await;
    change(&ada, NEW).await;
    let token = app.mail("revert", OLD).await.token().to_owned();
    app.clock.advance(7 * DAY);
    assert_fault(&revert(&app, &token).await, "/token", "expired_ticket");
    let registration = json!({ "email": OLD, "password": PASSWORD });
    app.anonymous().post("/v1/accounts", registration).await.expect(201);
}

#[tokio::test]
async fn m08_nobody_else_takes_the_old_address_while_the_change_can_be_undone() {
    let app = TestApp::start().await;
    let (ada, eve, admin) = (verified(&app, "ada").await, app.user("eve").await, app.admin().await);
    change(&ada, NEW).await;
    let user = format!("/v1/users/{}", me(&eve).await["id"].as_str().unwrap());
    let account = json!({ "email": OLD, "password": PASSWORD });
    assert_problem!(app.anonymous().post("/v1/accounts", account.clone()).await, 409, "email_taken");
    assert_problem!(admin.post("/v1/users", account.clone()).await, 409, "email_taken");
    assert_problem!(admin.post("/v1/users", json!({ "email": OLD })).await, 409, "email_taken");
    assert_problem!(admin.patch(&user, json!({ "email": OLD })).await, 409, "email_taken");
    request(&eve, OLD).await.expect(200);
    let token = app.mail("change", OLD).await.token().to_owned();
    assert_problem!(confirm(&eve, json!({ "token": token })).await, 409, "email_taken");
    // The owner may have it back, and a deleted account reserves nothing.
    change(&ada, OLD).await;
    change(&ada, NEW).await;
    ada.delete("/v1/me", json!({ "current_password": PASSWORD })).await.expect(204);
    app.anonymous().post("/v1/accounts", account).await.expect(201);
}

#[tokio::test]
async fn m08_a_thief_who_changes_the_address_twice_does_not_escape_the_first_undo() {
    let app = TestApp::start().await;
    let ada = verified(&app, "ada").await;
    change(&ada, "thief@example.net").await;
    let first = app.mail("revert", OLD).await.token().to_owned();
    change(&ada, "thief@example.com").await;
    let second = app.mail("revert", "thief@example.net").await.token().to_owned();
    ada.put("/v1/me/password", json!({ "current_password": PASSWORD, "new_password": "a thief's own words" })).await.expect(204);
    revert(&app, &first).await.expect(204);
    assert_fault(&revert(&app, &second).await, "/token", "spent_ticket");
    let ada = app.anonymous().log_in(OLD, NEW_PASSWORD).await;
    assert_eq!(me(&ada).await["email"], OLD);
}

#[tokio::test]
async fn m08_an_address_set_by_an_administrator_ends_the_undoing_of_earlier_changes() {
    let app = TestApp::start().await;
    let (thief, admin) = (verified(&app, "ada").await, app.admin().await);
    let user = format!("/v1/users/{}", me(&thief).await["id"].as_str().unwrap());
    change(&thief, "thief@example.net").await;
    change(&thief, "thief@example.com").await;
    let token = app.mail("revert", "thief@example.net").await.token().to_owned();
    admin.patch(&user, json!({ "email": OLD })).await.expect(200);
    admin.put(&format!("{user}/password"), json!({ "new_password": NEW_PASSWORD })).await.expect(204);
    assert_fault(&revert(&app, &token).await, "/token", "spent_ticket");
    assert_eq!(admin.get(&user).await.expect(200)["email"], OLD);
    app.anonymous().log_in(OLD, NEW_PASSWORD).await;
}

#[tokio::test]
async fn an_undo_leaves_a_disabled_account_disabled() {
    let app = TestApp::start().await;
    let (ada, admin) = (verified(&app, "ada").await, app.admin().await);
    let user = format!("/v1/users/{}", me(&ada).await["id"].as_str().unwrap());
    change(&ada, NEW).await;
    let token = app.mail("revert", OLD).await.token().to_owned();
    admin.patch(&user, json!({ "status": "disabled" })).await.expect(200);
    revert(&app, &token).await.expect(204);
    let after = admin.get(&user).await.expect(200);
    assert_eq!((&after["email"], &after["status"]), (&json!(OLD), &json!("disabled")));
}

#[tokio::test]
async fn of_many_simultaneous_undos_one_succeeds() {
    let app = TestApp::start().await;
    let ada = verified(&app, "ada").await;
    change(&ada, NEW).await;
    let token = app.mail("revert", OLD).await.token().to_owned();
    let answers = futures_util::future::join_all((0..10).map(|_| revert(&app, &token))).await;
    let mut statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [[204].as_slice(), &[422; 9]].concat());
}

#[tokio::test]
async fn m08_of_a_change_and_a_registration_at_once_that_want_the_old_address_only_the_owner_keeps_it() {
    for _ in 0..10 {
        let app = TestApp::start().await;
        let ada = verified(&app, "ada").await;
        request(&ada, NEW).await.expect(200);
        let token = app.mail("change", NEW).await.token().to_owned();
        let register = async || {
            let account = json!({ "email": OLD, "password": PASSWORD });
            app.anonymous().post("/v1/accounts", account).await
        };
        let (confirmed, first, second) = tokio::join!(confirm(&ada, json!({ "token": token })), register(), register());
        confirmed.expect(204);
        assert_problem!(first, 409, "email_taken");
        assert_problem!(second, 409, "email_taken");
    }
}

#[tokio::test]
async fn of_two_users_who_confirm_one_address_at_once_one_gets_it() {
    for with_code in [false, true] {
        let app = TestApp::start().await;
        let (ada, eve) = (verified(&app, "ada").await, verified(&app, "eve").await);
        let mut proofs = Vec::new();
        for user in [&ada, &eve] {
            request(user, "shared@example.com").await.expect(200);
            let mail = app.mail("change", "shared@example.com").await;
            proofs.push(if with_code { json!({ "code": mail.code() }) } else { json!({ "token": mail.token() }) });
            app.clock.advance(minutes(1));
        }
        let (first, second) = tokio::join!(confirm(&ada, proofs[0].clone()), confirm(&eve, proofs[1].clone()));
        let mut statuses = [first.status, second.status];
        statuses.sort_unstable();
        assert_eq!(statuses, [204, 409], "{:#} {:#}", first.body, second.body);
    }
}

#[tokio::test]
async fn m04_a_request_for_another_address_is_the_same_whoever_has_the_address() {
    let mut seen = BTreeMap::<String, Vec<&str>>::new();
    for name in ["spare", "known", "ended"] {
        let app = throttled().await;
        for name in ["known", "ended"] {
            app.register(name).await;
        }
        let admin = app.admin().await;
        let ended = admin.get("/v1/users?search=ended").await.expect(200)["items"][0]["id"].as_str().unwrap().to_owned();
        admin.patch(&format!("/v1/users/{ended}"), json!({ "status": "disabled" })).await.expect(200);
        let ada = app.user("ada").await;
        let (id, address) = (me(&ada).await["id"].as_str().unwrap().to_owned(), format!("{name}@example.org"));
        let mut story = Vec::new();
        for step in 0..8 {
            let (answer, text) = observed(&app, request(&ada, &address)).await;
            answer.expect(200);
            story.push(format!("{step}: {text}"));
            app.clock.advance(Duration::from_secs(50));
        }
        for step in 0..7 {
            let (_, text) = observed(&app, confirm(&ada, json!({ "code": "00000000" }))).await;
            story.push(format!("code {step}: {text}"));
        }
        seen.entry(story.concat().replace(&id, "(id)").replace(&address, "(address)")).or_default().push(name);
    }
    let groups: Vec<_> = seen.values().collect();
    assert_eq!(groups.len(), 1, "{groups:?}\n{}", seen.keys().cloned().collect::<Vec<_>>().join("\n\n------\n\n"));
    assert!(seen.into_keys().next().unwrap().contains("wrong_code"));
}
