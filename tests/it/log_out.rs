//! Log-out with only a refresh token or only the cookie, and which cookies are cleared when a session ends.

use poem::{Body, http::Method};
use serde_json::{Value, json};

use crate::{
    assert_problem,
    cookies::{NAME, SAME_ORIGIN, cookie, log_in_with_cookie},
    support::{PASSWORD, TestApp, caller::Answer, client::Client, clock::minutes},
};

const JSON: (&str, &str) = ("content-type", "application/json");

async fn log_out(app: &TestApp, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers: Vec<_> = headers.iter().copied().chain([JSON]).collect();
    app.anonymous().send(Method::POST, "/v1/sessions/end", &headers, Body::from_string(body.into())).await
}

fn cookie_header(token: &str) -> String {
    format!("{NAME}={token}")
}

#[track_caller]
fn assert_cleared(answer: &Answer) {
    let (name, value, attributes) = cookie(answer);
    assert_eq!((name.as_str(), value.as_str()), (NAME, ""));
    assert_eq!(attributes, ["Path=/", "Max-Age=0", "Secure", "HttpOnly", "SameSite=Strict"]);
}

#[tokio::test]
async fn a_refresh_token_can_log_out_after_the_access_token_has_expired() {
    let app = TestApp::start().await;
    let mut ada = app.client("ada").await;
    let other = Client::log_in(&app, "ada").await;
    app.clock.advance(minutes(16));
    assert_problem!(ada.caller().get("/v1/me").await, 401, "expired_token");
    let answer = log_out(&app, &[], &json!({ "refresh_token": ada.refresh }).to_string()).await;
    assert!(!answer.headers.contains_key("set-cookie"));
    answer.expect(204);
    assert_problem!(ada.refresh().await, 401, "invalid_refresh_token");
    other.refresh_and_lose().await.expect(200);
    let event = app.event("session.ended").await;
    assert_eq!(event.details.0, json!({ "sessions": [ada.session] }));
    assert!(event.actor_name.as_deref() == Some("ada") && event.session_id.is_some() && event.request_id.is_some());
}

#[tokio::test]
async fn a_log_out_revokes_the_access_tokens_at_once() {
    let app = TestApp::start().await;
    let mut ada = app.client("ada").await;
    let before = ada.clone();
    ada.refresh().await.expect(200);
    // A spent refresh token may end its session too.
    log_out(&app, &[], &json!({ "refresh_token": before.refresh }).to_string()).await.expect(204);
    for caller in [before.caller(), ada.caller()] {
        assert_problem!(caller.get("/v1/me").await, 401, "session_ended");
    }
    app.event("session.ended").await;
}

#[tokio::test]
async fn the_cookie_alone_can_log_out_and_is_cleared() {
    let app = TestApp::start().await;
    app.register("ada").await;
    for body in ["", "{}", r#"{"refresh_token":null}"#] {
        let (tokens, token) = log_in_with_cookie(&app).await;
        let answer = log_out(&app, &[SAME_ORIGIN, ("cookie", &cookie_header(&token))], body).await;
        assert_cleared(&answer);
        answer.expect(204);
        let caller = app.bearer(tokens["access_token"].as_str().unwrap());
        assert_problem!(caller.get("/v1/me").await, 401, "session_ended");
    }
    let headers = [SAME_ORIGIN, ("cookie", &*cookie_header(&log_in_with_cookie(&app).await.1))];
    let without_type = app.anonymous().send(Method::POST, "/v1/sessions/end", &headers, Body::empty()).await;
    assert_cleared(&without_type);
    without_type.expect(204);
    assert_eq!(app.rows().await["sessions"], 0);
}

#[tokio::test]
async fn a_log_out_ends_the_sessions_of_all_presented_tokens() {
    let app = TestApp::start().await;
    let ada = app.client("ada").await;
    let (first, second) = (log_in_with_cookie(&app).await.1, log_in_with_cookie(&app).await.1);
    let cookies = format!("{}; {}", cookie_header(&first), cookie_header(&second));
    let answer = log_out(&app, &[("cookie", &cookies)], &json!({ "refresh_token": ada.refresh }).to_string()).await;
    assert_cleared(&answer);
    answer.expect(204);
    assert_eq!(app.rows().await["sessions"], 0);
}

#[tokio::test]
async fn a_log_out_answers_204_for_any_token() {
    let app = TestApp::start().await;
    let mut ada = app.client("ada").await;
    let mut forged = ada.refresh.clone().into_bytes();
    *forged.last_mut().unwrap() = if forged.last() == Some(&b'A') { b'E' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    let rows = app.rows().await;
    for token in ["x", "vrt_", &forged, &ada.access, "é", &"x".repeat(8_192)] {
        log_out(&app, &[], &json!({ "refresh_token": token }).to_string()).await.expect(204);
        let answer = log_out(&app, &[("cookie", &cookie_header(token))], "").await;
        assert_cleared(&answer);
        answer.expect(204);
    }
    for body in ["", "{}"] {
        let answer = log_out(&app, &[], body).await;
        assert!(!answer.headers.contains_key("set-cookie"));
        answer.expect(204);
    }
    assert_eq!(app.rows().await, rows, "an invalid token must end no session and write nothing");
    ada.refresh().await.expect(200);
    for _ in 0..2 {
        log_out(&app, &[], &json!({ "refresh_token": ada.refresh }).to_string()).await.expect(204);
    }
    app.event("session.ended").await;
    // The operation ignores bearer tokens.
    app.bearer("garbage").post("/v1/sessions/end", json!({})).await.expect(204);
}

#[tokio::test]
async fn s09_a_page_of_another_site_cannot_log_a_user_out() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let (_, token) = log_in_with_cookie(&app).await;
    for foreign in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site"), ("origin", "null")] {
        let answer = log_out(&app, &[foreign, ("cookie", &cookie_header(&token))], "").await;
        assert!(!answer.headers.contains_key("set-cookie"));
        assert_problem!(answer, 403, "csrf_rejected");
    }
    assert_eq!(app.rows().await["sessions"], 1);
}

#[tokio::test]
async fn every_operation_that_ends_the_session_of_the_cookie_clears_the_cookie() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let all = [
        (Method::DELETE, "/v1/me/sessions/current", json!({})),
        (Method::DELETE, "/v1/me/sessions", json!({})),
        (Method::DELETE, "/v1/me/sessions?except_current=true", json!({})),
        (Method::DELETE, "/v1/me", json!({ "current_password": PASSWORD })),
    ];
    for (method, path, body) in all {
        let ((here, own), (_, other)) = (log_in_with_cookie(&app).await, log_in_with_cookie(&app).await);
        let caller = app.bearer(here["access_token"].as_str().unwrap());
        let send = async |token: &str, body: &Value| {
            let headers = [JSON, ("cookie", &*cookie_header(token))];
            caller.send(method.clone(), path, &headers, Body::from_string(body.to_string())).await
        };
        let ends_others = path.contains("except_current");
        let answer = send(if ends_others { &other } else { &own }, &body).await;
        assert_cleared(&answer);
        answer.expect(204);
        if ends_others {
            let answer = send(&own, &body).await;
            assert!(!answer.headers.contains_key("set-cookie"), "the cookie of a session that continues must stay");
            answer.expect(204);
        }
    }
}
