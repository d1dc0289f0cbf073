//! The cookie mode: the refresh token is in a cookie that no script can read and only pages of this site may use (row S09).

use poem::{Body, http::Method};
use serde_json::{Value, json};

use crate::{
    assert_problem,
    support::{PASSWORD, TestApp, caller::Answer},
};

pub const NAME: &str = "__Host-vestibule_refresh";
pub const SAME_ORIGIN: (&str, &str) = ("sec-fetch-site", "same-origin");

async fn log_in(app: &TestApp, headers: &[(&str, &str)]) -> Answer {
    let body = json!({ "identifier": "ada", "password": PASSWORD, "transport": "cookie" }).to_string();
    let headers: Vec<_> = headers.iter().copied().chain([("content-type", "application/json")]).collect();
    app.anonymous().send(Method::POST, "/v1/sessions", &headers, Body::from_string(body)).await
}

async fn refresh(app: &TestApp, headers: &[(&str, &str)]) -> Answer {
    app.anonymous().send(Method::POST, "/v1/sessions/refresh", headers, Body::empty()).await
}

/// Returns the name, the value and the attributes of each cookie that an answer sets.
pub fn cookies(answer: &Answer) -> Vec<(String, String, Vec<String>)> {
    let parse = |cookie: &str| {
        let mut parts = cookie.split("; ").map(str::to_owned);
        let (name, value) =
            parts.next().unwrap().split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).unwrap();
        (name, value, parts.collect())
    };
    answer.headers.get_all("set-cookie").iter().map(|cookie| parse(cookie.to_str().unwrap())).collect()
}

/// Returns the cookie with the refresh token that an answer sets, as [`cookies`] does. It is the first one.
pub fn cookie(answer: &Answer) -> (String, String, Vec<String>) {
    cookies(answer).remove(0)
}

/// Logs Ada in, in cookie mode. Returns the body of the answer and the refresh token.
pub async fn log_in_with_cookie(app: &TestApp) -> (Value, String) {
    let answer = log_in(app, &[SAME_ORIGIN]).await;
    let token = cookie(&answer).1;
    (answer.expect(201), token)
}

#[tokio::test]
async fn s09_in_cookie_mode_the_refresh_token_is_only_in_the_cookie() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let answer = log_in(&app, &[SAME_ORIGIN]).await;
    let (name, mut token, attributes) = cookie(&answer);
    assert_eq!(name, NAME);
    assert_eq!(attributes, ["Path=/", "Max-Age=2592000", "Secure", "HttpOnly", "SameSite=Strict"]);
    let tokens = answer.expect(201);
    assert!(tokens.get("refresh_token").is_none() && !tokens.to_string().contains(&token));
    for _ in 0..3 {
        let answer = refresh(&app, &[SAME_ORIGIN, ("cookie", &format!("theme=dark; {NAME}={token}; other=1"))]).await;
        let next = cookie(&answer);
        assert_eq!((next.0.as_str(), &next.2), (NAME, &attributes));
        assert_ne!(next.1, token);
        token = next.1;
        let tokens = answer.expect(200);
        assert!(tokens.get("refresh_token").is_none() && !tokens.to_string().contains(&token));
        app.bearer(tokens["access_token"].as_str().unwrap()).get("/v1/me").await.expect(200);
    }
}

#[tokio::test]
async fn s09_in_body_mode_no_cookie_is_set() {
    let app = TestApp::start().await;
    let mut ada = app.client("ada").await;
    let body = json!({ "identifier": "ada", "password": PASSWORD, "transport": "body" });
    let answer = app.anonymous().post("/v1/sessions", body).await;
    assert!(!answer.headers.contains_key("set-cookie"));
    assert!(answer.expect(201)["refresh_token"].is_string());
    assert!(!ada.refresh().await.headers.contains_key("set-cookie"));
}

#[tokio::test]
async fn s09_insecure_cookies_have_neither_the_host_prefix_nor_the_secure_attribute() {
    let app = TestApp::start_with(|settings| settings.cookies.insecure = true).await;
    app.register("ada").await;
    let (name, token, attributes) = cookie(&log_in(&app, &[]).await);
    assert_eq!(name, "vestibule_refresh");
    assert_eq!(attributes, ["Path=/", "Max-Age=2592000", "HttpOnly", "SameSite=Strict"]);
    refresh(&app, &[("cookie", &format!("vestibule_refresh={token}"))]).await.expect(200);
    let other = refresh(&app, &[("cookie", &format!("{NAME}={token}"))]).await;
    assert_problem!(other, 401, "invalid_refresh_token");
}

#[tokio::test]
async fn s09_a_request_with_two_refresh_tokens_is_rejected() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let (_, token) = log_in_with_cookie(&app).await;
    let cookie = format!("{NAME}={token}");
    let two_cookies = format!("{cookie}; {NAME}=other");
    assert_problem!(refresh(&app, &[("cookie", &two_cookies)]).await, 400, "malformed_request");
    assert_problem!(refresh(&app, &[("cookie", &cookie), ("cookie", &cookie)]).await, 400, "malformed_request");
    let headers = [("cookie", cookie.as_str()), ("content-type", "application/json")];
    let body = Body::from_string(json!({ "refresh_token": token }).to_string());
    let with_both = app.anonymous().send(Method::POST, "/v1/sessions/refresh", &headers, body).await;
    assert_problem!(with_both, 400, "malformed_request");
    for body in ["{}", r#"{"refresh_token":null}"#] {
        let answer = app.anonymous().send(Method::POST, "/v1/sessions/refresh", &headers[1..], body.into()).await;
        assert_problem!(answer, 401, "invalid_refresh_token");
    }
    let garbage = refresh(&app, &[("cookie", &format!("{NAME}=garbage"))]).await;
    assert!(!garbage.headers.contains_key("set-cookie"), "a request that loses a race must not clear the winner's cookie");
    assert_problem!(garbage, 401, "invalid_refresh_token");
    for body in ["{}", r#"{"refresh_token":null}"#, ""] {
        app.anonymous().send(Method::POST, "/v1/sessions/refresh", &headers, body.into()).await.expect(200);
    }
}

#[tokio::test]
async fn s09_the_values_of_other_cookies_are_ignored() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let (_, token) = log_in_with_cookie(&app).await;
    let (cookie, with_other) = (format!("{NAME}={token}"), format!("theme=café; {NAME}={token}"));
    assert_problem!(refresh(&app, &[("cookie", &cookie), ("cookie", &with_other)]).await, 400, "malformed_request");
    assert_problem!(refresh(&app, &[("cookie", &cookie), ("cookie", &format!("{NAME}=é"))]).await, 400, "malformed_request");
    refresh(&app, &[("cookie", &with_other)]).await.expect(200);
}

#[tokio::test]
async fn s09_a_page_of_another_site_can_neither_log_in_nor_refresh() {
    let app = TestApp::start_with(|settings| {
        settings.server.public_url = Some("https://id.example.org".parse().unwrap());
        settings.cors.origins = vec!["https://app.example.org".parse().unwrap()];
    })
    .await;
    app.register("ada").await;
    let (_, token) = log_in_with_cookie(&app).await;
    let cookie = format!("{NAME}={token}");
    let rows = app.rows().await;
    for foreign in [
        &[("origin", "https://evil.example")][..],
        &[("origin", "null")],
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")],
        &[("sec-fetch-site", "none")],
        &[("origin", "http://id.example.org")],
    ] {
        assert_problem!(log_in(&app, foreign).await, 403, "csrf_rejected");
        let headers: Vec<_> = foreign.iter().copied().chain([("cookie", cookie.as_str())]).collect();
        assert_problem!(refresh(&app, &headers).await, 403, "csrf_rejected");
    }
    assert_eq!(app.rows().await, rows, "a rejected request must write nothing");
    for own in [&[][..], &[SAME_ORIGIN], &[("sec-fetch-site", "same-site")], &[("origin", "https://id.example.org")]] {
        let headers: Vec<_> = own.iter().copied().chain([("cookie", cookie.as_str())]).collect();
        refresh(&app, &headers).await.expect(200);
    }
    let answer = refresh(&app, &[("origin", "https://app.example.org"), ("cookie", &cookie)]).await;
    assert_eq!(answer.header("access-control-allow-credentials"), "true");
    assert_eq!(answer.header("access-control-allow-origin"), "https://app.example.org");
    answer.expect(200);
}

#[tokio::test]
async fn s09_a_log_out_clears_only_the_cookie_of_its_own_session() {
    let app = TestApp::start().await;
    app.register("ada").await;
    let ((first, first_token), (second, second_token)) = (log_in_with_cookie(&app).await, log_in_with_cookie(&app).await);
    let end = async |tokens: &Value, cookie: &str| {
        let caller = app.bearer(tokens["access_token"].as_str().unwrap());
        let cookie = format!("{NAME}={cookie}");
        caller.send(Method::DELETE, "/v1/me/sessions/current", &[("cookie", &cookie)], Body::empty()).await
    };
    let answer = end(&first, &second_token).await;
    assert!(!answer.headers.contains_key("set-cookie"), "the cookie of another session must stay");
    answer.expect(204);
    let answer = end(&second, &second_token).await;
    let (name, value, attributes) = cookie(&answer);
    assert_eq!((name.as_str(), value.as_str()), (NAME, ""));
    assert_eq!(attributes, ["Path=/", "Max-Age=0", "Secure", "HttpOnly", "SameSite=Strict"]);
    answer.expect(204);
    for token in [first_token, second_token] {
        let rejected = refresh(&app, &[("cookie", &format!("{NAME}={token}"))]).await;
        assert!(!rejected.headers.contains_key("set-cookie"));
        assert_problem!(rejected, 401, "invalid_refresh_token");
    }
}
