//! Log-out: by the refresh token or the cookie alone; and which cookies go when sessions end.

use poem::{Body, http::Method};
use serde_json::{Value, json};

use crate::{
    assert_problem,
    cookies::{NAME, SAME_ORIGIN, cookie, signed_in},
    support::{PASSWORD, TestApp, caller::Answer, clock::minutes},
};

const JSON: (&str, &str) = ("content-type", "application/json");

async fn log_out(app: &TestApp, headers: &[(&str, &str)], body: &str) -> Answer {
    let headers: Vec<_> = headers.iter().copied().chain([JSON]).collect();
    app.nobody().send(Method::POST, "/v1/sessions/end", &headers, Body::from_string(body.into())).await
}

fn holding(token: &str) -> String {
    format!("{NAME}={token}")
}

#[track_caller]
fn assert_cleared(answer: &Answer) {
    let (name, value, attributes) = cookie(answer);
    assert_eq!((name.as_str(), value.as_str()), (NAME, ""));
    assert_eq!(attributes, ["Path=/", "Max-Age=0", "Secure", "HttpOnly", "SameSite=Strict"]);
}

#[tokio::test]
async fn a_refresh_token_logs_out_although_the_access_token_has_expired() {
    let app = TestApp::start().await;
    let mut ada = app.client("ada").await;
    let other = crate::support::client::Client::log_in(&app, "ada").await;
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
async fn a_log_out_ends_the_access_token_at_once() {
    let app = TestApp::start().await;
    let mut ada = app.client("ada").await;
    let before = ada.clone();
    ada.refresh().await.expect(200);
    // The token of before was spent; whoever holds it may end the session all the same.
    log_out(&app, &[], &json!({ "refresh_token": before.refresh }).to_string()).await.expect(204);
    for caller in [before.caller(), ada.caller()] {
        assert_problem!(caller.get("/v1/me").await, 401, "session_ended");
    }
    app.event("session.ended").await;
}

#[tokio::test]
async fn the_cookie_alone_logs_out_and_is_cleared() {
    let app = TestApp::start().await;
    app.register("ada").await;
    for body in ["", "{}", r#"{"refresh_token":null}"#] {
        let (tokens, token) = signed_in(&app).await;
        let answer = log_out(&app, &[SAME_ORIGIN, ("cookie", &holding(&token))], body).await;
        assert_cleared(&answer);
        answer.expect(204);
        let caller = app.bearer(tokens["access_token"].as_str().unwrap());
        assert_problem!(caller.get("/v1/me").await, 401, "session_ended");
    }
    let headers = [SAME_ORIGIN, ("cookie", &*holding(&signed_in(&app).await.1))];
    let without_type = app.nobody().send(Method::POST, "/v1/sessions/end", &headers, Body::empty()).await;
    assert_cleared(&without_type);
    without_type.expect(204);
    assert_eq!(app.rows().await["sessions"], 0);
}

#[tokio::test]
async fn every_token_that_is_presented_is_given_up() {
    let app = TestApp::start().await;
    let ada = app.client("ada").await;
    let (one, two) = (signed_in(&app).await.1, signed_in(&app).await.1);
    let cookies = format!("{}; {}", holding(&one), holding(&two));
    let answer = log_out(&app, &[("cookie", &cookies)], &json!({ "refresh_token": ada.refresh }).to_string()).await;
    assert_cleared(&answer);
    answer.expect(204);
    assert_eq!(app.rows().await["sessions"], 0);
}

#[tokio::test]
async fn a_log_out_answers_the_same_whatever_the_token_is() {
    let app = TestApp::start().await;
    let mut ada = app.client("ada").await;
    let mut forged = ada.refresh.clone().into_bytes();
    *forged.last_mut().unwrap() = if forged.last() == Some(&b'A') { b'E' } else { b'A' };
    let forged = String::from_utf8(forged).unwrap();
    let rows = app.rows().await;
    for token in ["x", "vrt_", &forged, &ada.access, "é", &"x".repeat(8_192)] {
        log_out(&app, &[], &json!({ "refresh_token": token }).to_string()).await.expect(204);
        let answer = log_out(&app, &[("cookie", &holding(token))], "").await;
        assert_cleared(&answer);
        answer.expect(204);
    }
    for body in ["", "{}"] {
        let answer = log_out(&app, &[], body).await;
        assert!(!answer.headers.contains_key("set-cookie"));
        answer.expect(204);
    }
    assert_eq!(app.rows().await, rows, "nothing was ended, and nothing written");
    ada.refresh().await.expect(200);
    for _ in 0..2 {
        log_out(&app, &[], &json!({ "refresh_token": ada.refresh }).to_string()).await.expect(204);
    }
    app.event("session.ended").await;
    // A bearer token has no say here.
    app.bearer("garbage").post("/v1/sessions/end", json!({})).await.expect(204);
}

#[tokio::test]
async fn s09_a_page_of_another_site_logs_nobody_out() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let (_, token) = signed_in(&app).await;
    for foreign in [("origin", "https://evil.example"), ("sec-fetch-site", "cross-site"), ("origin", "null")] {
        let answer = log_out(&app, &[foreign, ("cookie", &holding(&token))], "").await;
        assert!(!answer.headers.contains_key("set-cookie"));
        assert_problem!(answer, 403, "csrf_rejected");
    }
    assert_eq!(app.rows().await["sessions"], 1);
}

#[tokio::test]
async fn the_cookie_goes_with_its_session_however_that_ends() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let all = [
        (Method::DELETE, "/v1/me/sessions/current", json!({})),
        (Method::DELETE, "/v1/me/sessions", json!({})),
        (Method::DELETE, "/v1/me/sessions?except_current=true", json!({})),
        (Method::DELETE, "/v1/me", json!({ "current_password": PASSWORD })),
    ];
    for (method, path, body) in all {
        let ((here, own), (_, other)) = (signed_in(&app).await, signed_in(&app).await);
        let caller = app.bearer(here["access_token"].as_str().unwrap());
        let send = async |token: &str, body: &Value| {
            let headers = [JSON, ("cookie", &*holding(token))];
            caller.send(method.clone(), path, &headers, Body::from_string(body.to_string())).await
        };
        let ends_others = path.contains("except_current");
        let answer = send(if ends_others { &other } else { &own }, &body).await;
        assert_cleared(&answer);
        answer.expect(204);
        if ends_others {
            let answer = send(&own, &body).await;
            assert!(!answer.headers.contains_key("set-cookie"), "this session goes on");
            answer.expect(204);
        }
    }
}
