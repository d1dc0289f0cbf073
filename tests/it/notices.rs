//! Notices: what the owner of an account is told by mail (row M07).

use std::time::Duration;

use poem::{Body, http::Method};
use serde_json::{Value, json};
use vestibule::config::MailTransport;

use crate::{
    assert_problem,
    cookies::{SAME_ORIGIN, cookies},
    support::{PASSWORD, TestApp, caller::Caller, clock::minutes},
    throttle::{ELSEWHERE, HOME, log_in, throttled},
};

const NEW: &str = "nine grey gulls at noon";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";
const DAY: Duration = Duration::from_hours(24);
const BROWSER: &str = "__Host-vestibule_browser";

/// Returns the kinds of the notices to this address, sorted.
async fn kinds(app: &TestApp, to: &str) -> Vec<String> {
    let mut kinds: Vec<_> = app.mails().await.into_iter().filter(|mail| mail.to == to).map(|mail| mail.kind).collect();
    kinds.sort();
    kinds
}

/// Changes the password in every way, disables the account and closes it.
async fn live_through(app: &TestApp) {
    let (ada, admin) = (app.user("ada").await, app.admin().await);
    let eve = app.register("eve").await;
    ada.put("/v1/me/password", json!({ "current_password": PASSWORD, "new_password": NEW })).await.expect(204);
    admin.put(&format!("/v1/users/{eve}/password"), json!({ "new_password": NEW })).await.expect(204);
    admin.patch(&format!("/v1/users/{eve}"), json!({ "status": "disabled" })).await.expect(200);
    for change in [json!({ "status": "disabled" }), json!({ "status": "active" }), json!({ "name": "Eve" })] {
        admin.patch(&format!("/v1/users/{eve}"), change).await.expect(200);
    }
    admin.delete(&format!("/v1/users/{eve}"), json!(null)).await.expect(204);
    ada.delete("/v1/me", json!({ "current_password": NEW })).await.expect(204);
}

#[tokio::test]
async fn m07_the_owner_is_told_of_a_changed_password_and_of_a_disabled_or_closed_account() {
    let app = TestApp::start().await;
    live_through(&app).await;
    assert_eq!(kinds(&app, "ada@example.org").await, ["account_closed", "password_changed"]);
    assert_eq!(kinds(&app, "eve@example.org").await, ["account_closed", "account_disabled", "password_changed"]);
    for mail in app.mails().await {
        assert_eq!((mail.token, mail.code), (None, None), "{}", mail.text);
        assert!(!mail.text.contains(NEW) && !mail.text.contains(PASSWORD), "{}", mail.text);
    }
}

/// Changes the password this many times.
async fn change_password(caller: &Caller<'_>, times: usize) {
    for (current, new) in [(PASSWORD, NEW), (NEW, PASSWORD)].into_iter().cycle().take(times) {
        caller.put("/v1/me/password", json!({ "current_password": current, "new_password": new })).await.expect(204);
    }
}

#[tokio::test]
async fn m07_the_notices_of_one_account_leave_room_for_the_mails_of_others() {
    let app = TestApp::start_with(|settings| settings.mail.max_per_hour = 20).await;
    let (ada, admin) = (app.user("ada").await, app.admin().await);
    ada.post("/v1/me/email/verification", json!(null)).await.expect(202);
    let token = app.mail("verify", "ada@example.org").await.token().to_owned();
    ada.post("/v1/me/email/verification/complete", json!({ "token": token })).await.expect(204);
    change_password(&ada, 20).await;
    let sent = kinds(&app, "ada@example.org").await.len();
    assert!((6..20).contains(&sent), "{sent}");
    let eve = app.register("eve").await;
    admin.post(&format!("/v1/users/{eve}/password-reset"), json!(null)).await.expect(202);
    app.mail("reset", "eve@example.org").await;
    app.clock.advance(minutes(61));
    assert_eq!(kinds(&app, "ada@example.org").await.len(), 21, "none is lost");
}

#[tokio::test]
async fn an_address_that_nobody_has_proven_receives_five_notices_an_hour() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    change_password(&ada, 8).await;
    assert_eq!(kinds(&app, "ada@example.org").await.len(), 5);
    app.clock.advance(minutes(61));
    change_password(&app.anonymous().log_in("ada", PASSWORD).await, 1).await;
    assert_eq!(kinds(&app, "ada@example.org").await.len(), 6);
}

#[tokio::test]
async fn a_change_that_is_refused_sends_no_notice() {
    let app = TestApp::start().await;
    let (ada, admin) = (app.user("ada").await, app.admin().await);
    let change = json!({ "current_password": "wrong horse", "new_password": NEW });
    assert_problem!(ada.put("/v1/me/password", change).await, 422, "validation_failed");
    assert_problem!(ada.delete("/v1/me", json!({ "current_password": "wrong horse" })).await, 422, "validation_failed");
    let last = json!({ "current_password": app.admin_password() });
    assert_problem!(admin.delete("/v1/me", last).await, 409, "last_admin");
    assert_eq!(app.mail_rows().await.len(), 0);
}

#[tokio::test]
async fn without_a_transport_nothing_is_written_and_a_transport_that_only_logs_gets_every_notice() {
    for (transport, count) in [(MailTransport::None, 0), (MailTransport::Log, 5)] {
        let app = TestApp::start_with(|settings| settings.mail.transport = Some(transport)).await;
        live_through(&app).await;
        assert_eq!(app.mail_rows().await.len(), count);
    }
}

#[tokio::test]
async fn an_address_that_receives_no_mail_gets_no_notice() {
    let app = TestApp::start().await;
    let change = json!({ "current_password": app.admin_password(), "new_password": NEW });
    app.admin().await.put("/v1/me/password", change).await.expect(204);
    assert_eq!(app.mail_rows().await.len(), 0);
}

/// Logs in with a browser that holds this cookie. Returns the cookie that the browser holds afterwards.
async fn log_in_with(app: &TestApp, name: &str, browser: Option<&str>) -> String {
    let body = json!({ "identifier": name, "password": PASSWORD, "transport": "cookie" }).to_string();
    let cookie = browser.map(|browser| format!("theme=dark; {BROWSER}={browser}"));
    let cookie = cookie.as_deref().map(|cookie| ("cookie", cookie));
    let headers = [SAME_ORIGIN, ("content-type", "application/json"), ("user-agent", FIREFOX)].into_iter().chain(cookie);
    let headers: Vec<_> = headers.collect();
    let answer = app.anonymous().send(Method::POST, "/v1/sessions", &headers, Body::from_string(body)).await;
    let (name, value, attributes) = cookies(&answer).remove(1);
    answer.expect(201);
    assert_eq!(name, BROWSER);
    assert_eq!(attributes, ["Path=/", "Max-Age=31536000", "Secure", "HttpOnly", "SameSite=Strict"]);
    value
}

#[tokio::test]
async fn a_log_in_with_another_browser_is_mailed_at_most_once_an_hour_and_never_the_first_one() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let count = async || kinds(&app, "ada@example.org").await.len();
    let first = log_in_with(&app, "ada", None).await;
    assert_eq!(count().await, 0, "the first session");
    let first = log_in_with(&app, "ada", Some(&first)).await;
    assert_eq!(count().await, 0, "the same browser");
    let second = log_in_with(&app, "ada", None).await;
    assert_eq!(kinds(&app, "ada@example.org").await, ["new_sign_in"]);
    app.clock.advance(minutes(59));
    log_in_with(&app, "ada", None).await;
    assert_eq!(count().await, 1, "a third browser within the hour");
    app.clock.advance(minutes(1));
    log_in_with(&app, "ada", Some(&second)).await;
    assert_eq!(count().await, 1, "the second browser");
    log_in_with(&app, "ada", Some("damaged")).await;
    assert_eq!(count().await, 2, "a browser without a mark, an hour after the last notice");
    app.clock.advance(365 * DAY);
    log_in_with(&app, "ada", Some(&first)).await;
    assert_eq!(count().await, 3, "a browser that was not used for a year");
}

#[tokio::test]
async fn log_ins_at_once_with_several_browsers_are_mailed_once() {
    let app = TestApp::start().await;
    app.user("ada").await;
    futures_util::future::join_all((0..5).map(|_| log_in_with(&app, "ada", None))).await;
    assert_eq!(kinds(&app, "ada@example.org").await, ["new_sign_in"]);
}

#[tokio::test]
async fn a_notice_of_a_log_in_says_when_and_with_which_browser_in_the_language_of_the_owner() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    ada.patch("/v1/me", json!({ "language": "de" })).await.expect(200);
    log_in_with(&app, "ada", None).await;
    let mail = app.mail("new_sign_in", "ada@example.org").await;
    assert_eq!(mail.language, "de");
    for part in ["Firefox unter Linux", "1. Januar 2026", "/account/sessions"] {
        assert!(mail.text.contains(part), "{part}: {}", mail.text);
    }
    assert!(!mail.text.contains("Gecko"), "{}", mail.text);
}

#[tokio::test]
async fn a_browser_knows_several_users_and_a_mark_is_worth_nothing_to_others() {
    let app = TestApp::start().await;
    let names = ["ada", "bea", "cleo"];
    for name in names {
        app.user(name).await;
    }
    let mut browser = log_in_with(&app, "ada", None).await;
    for name in names {
        browser = log_in_with(&app, name, Some(&browser)).await;
    }
    let count = app.mail_rows().await.len();
    assert_eq!(count, 3, "one for each user");
    app.clock.advance(minutes(120));
    for name in names {
        browser = log_in_with(&app, name, Some(&browser)).await;
    }
    assert_eq!(app.mail_rows().await.len(), count, "the browser knows all of them");
    let adas = log_in_with(&app, "ada", None).await;
    log_in_with(&app, "bea", Some(&adas)).await;
    assert_eq!(app.mail_rows().await.len(), count + 2, "a browser that only Ada has used is new to Bea");
}

#[tokio::test]
async fn without_cookies_a_log_in_from_another_network_is_mailed() {
    let app = throttled().await;
    app.register("ada").await;
    let log_in = async |from: &str| log_in(&app, from, "ada", PASSWORD).await;
    for from in [HOME, HOME, ELSEWHERE, ELSEWHERE, HOME] {
        let answer = log_in(from).await;
        assert!(!answer.headers.contains_key("set-cookie"));
        answer.expect(201);
    }
    assert_eq!(kinds(&app, "ada@example.org").await, ["new_sign_in"]);
    assert!(app.mail("new_sign_in", "ada@example.org").await.text.contains(ELSEWHERE));
    app.clock.advance(91 * DAY);
    log_in(HOME).await.expect(201);
    assert_eq!(kinds(&app, "ada@example.org").await.len(), 2, "a network is known for 90 days");
}

#[tokio::test]
async fn a_log_in_that_fails_sends_no_notice() {
    let app = throttled().await;
    let id = app.register("ada").await;
    log_in(&app, HOME, "ada", PASSWORD).await.expect(201);
    assert_problem!(log_in(&app, ELSEWHERE, "ada", NEW).await, 401, "invalid_credentials");
    app.admin().await.patch(&format!("/v1/users/{id}"), json!({ "status": "disabled" })).await.expect(200);
    assert_problem!(log_in(&app, ELSEWHERE, "ada", PASSWORD).await, 403, "account_disabled");
    assert_eq!(kinds(&app, "ada@example.org").await, ["account_disabled"]);
}

#[tokio::test]
async fn without_a_transport_browsers_are_not_marked() {
    let app = TestApp::without_mail().await;
    app.register("ada").await;
    let body = json!({ "identifier": "ada", "password": PASSWORD, "transport": "cookie" });
    let answer = app.anonymous().post("/v1/sessions", body).await;
    assert_eq!(cookies(&answer).len(), 1);
}

/// Returns how many statements each of these requests of one user sends: log-ins with a new and with a known browser, and a
/// change of the password.
async fn statements(transport: MailTransport) -> [u64; 3] {
    let app = TestApp::start_with(|settings| settings.mail.transport = Some(transport)).await;
    let ada = app.user("ada").await;
    let body = json!({ "identifier": "ada", "password": PASSWORD, "transport": "cookie" }).to_string();
    let count = async |cookie: &str| {
        let before = app.app.db.statements();
        let headers = [("content-type", "application/json"), ("cookie", cookie)];
        let answer = app.anonymous().send(Method::POST, "/v1/sessions", &headers, Body::from_string(body.clone())).await;
        let count = app.app.db.statements() - before;
        let browser = cookies(&answer).into_iter().nth(1).map(|(name, value, _)| format!("{name}={value}"));
        answer.expect(201);
        (count, browser.unwrap_or_default())
    };
    let (new, browser) = count("").await;
    let (known, _) = count(&browser).await;
    let before = app.app.db.statements();
    let change: Value = json!({ "current_password": PASSWORD, "new_password": NEW });
    ada.put("/v1/me/password", change).await.expect(204);
    [new, known, app.app.db.statements() - before]
}

#[tokio::test]
async fn m07_a_notice_costs_a_request_one_read_and_one_insert() {
    let (without, with) = (statements(MailTransport::None).await, statements(MailTransport::File).await);
    // PostgreSQL is also told to wake the senders of all servers.
    let notice = if std::env::var("VESTIBULE_TEST_DATABASE").as_deref() == Ok("postgres") { 3 } else { 2 };
    assert_eq!(with, [without[0] + notice, without[1], without[2] + notice]);
}
