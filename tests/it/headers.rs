//! Headers: which headers every response has, and which other web origins may read the response (row H08).

use poem::{Body, http::Method};
use rstest::rstest;
use vestibule::config::Settings;

use crate::{
    assert_problem,
    support::{TestApp, caller::Answer},
};

const STRICT: &str = "default-src 'none'; frame-ancestors 'none'";
const ORIGIN: &str = "https://app.example.org";

async fn start_with_origins(origins: &[&str]) -> TestApp {
    let origins = origins.iter().map(|origin| origin.parse().unwrap()).collect();
    TestApp::start_with(|settings: &mut Settings| settings.cors.origins = origins).await
}

async fn send_from(app: &TestApp, origin: &str, method: Method, path: &str) -> Answer {
    let headers =
        [("origin", origin), ("access-control-request-method", "PATCH"), ("access-control-request-headers", "authorization")];
    app.anonymous().send(method, path, &headers, Body::empty()).await
}

#[track_caller]
fn assert_not_shared(answer: &Answer) {
    let shared: Vec<_> = answer.headers.keys().filter(|name| name.as_str().starts_with("access-control-")).collect();
    assert!(shared.is_empty(), "{shared:?}");
}

#[tokio::test]
async fn h08_every_kind_of_response_has_the_security_headers() {
    let app = TestApp::start().await;
    let (ada, anonymous) = (app.user("ada").await, app.anonymous());
    let etag = anonymous.get("/.well-known/jwks.json").await.header("etag").to_owned();
    let known = [("if-none-match", etag.as_str())];
    for (answer, status, cache) in [
        (ada.get("/v1/me").await, 200, "no-store"),
        (ada.get("/v1/token").await, 200, "no-store"),
        (ada.send(Method::HEAD, "/v1/me", &[], Body::empty()).await, 200, "no-store"),
        (ada.get("/v1/users").await, 403, "no-store"),
        (anonymous.get("/v1/me").await, 401, "no-store"),
        (anonymous.get("/none").await, 404, "no-store"),
        (anonymous.send(Method::PUT, "/v1/me", &[], Body::empty()).await, 405, "no-store"),
        (anonymous.send(Method::OPTIONS, "/v1/me", &[], Body::empty()).await, 204, "no-store"),
        (anonymous.get("/healthz").await, 200, "no-store"),
        (anonymous.get("/.well-known/jwks.json").await, 200, "public, max-age=300"),
        (anonymous.send(Method::GET, "/.well-known/jwks.json", &known, Body::empty()).await, 304, "public, max-age=300"),
        (anonymous.get("/openapi.json").await, 200, "no-cache"),
    ] {
        assert_eq!((answer.status, answer.header("cache-control")), (status, cache));
        assert_eq!(answer.header("content-security-policy"), STRICT);
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert!(!answer.headers.contains_key("strict-transport-security") && !answer.headers.contains_key("server"));
    }
    let page = anonymous.get("/docs").await;
    assert!(page.header("content-security-policy").starts_with("default-src 'none'; script-src 'self';"));
    assert_eq!(page.header("referrer-policy"), "no-referrer");
}

#[rstest]
#[case::none(None, false)]
#[case::plain(Some("http://auth.example.org"), false)]
#[case::secure(Some("https://auth.example.org"), true)]
#[tokio::test]
async fn h08_hsts_is_sent_only_if_the_public_url_uses_https(#[case] public_url: Option<&str>, #[case] expected: bool) {
    let public_url = public_url.map(|url| url.parse().unwrap());
    let app = TestApp::start_with(|settings| settings.server.public_url = public_url).await;
    for path in ["/healthz", "/v1/me", "/docs", "/none"] {
        let answer = app.anonymous().get(path).await;
        assert_eq!(answer.headers.contains_key("strict-transport-security"), expected, "{path}");
    }
}

#[tokio::test]
async fn h08_another_origin_may_read_a_response_only_if_it_is_configured() {
    let app = TestApp::start().await;
    for origin in [ORIGIN, "null", "*", "", "http://127.0.0.1:8080", "https://exämple.org"] {
        for (method, path) in [(Method::GET, "/healthz"), (Method::OPTIONS, "/v1/me"), (Method::GET, "/none")] {
            let answer = send_from(&app, origin, method, path).await;
            assert_not_shared(&answer);
            assert!(!answer.headers.contains_key("vary"));
        }
    }
}

#[tokio::test]
async fn h08_a_configured_origin_may_send_requests_and_read_responses() {
    let app = start_with_origins(&["https://other.example.org", ORIGIN, "http://localhost:3000"]).await;
    for origin in [ORIGIN, "http://localhost:3000"] {
        let preflight = send_from(&app, origin, Method::OPTIONS, "/v1/me").await;
        assert_eq!(preflight.status, 204);
        let methods: Vec<_> = preflight.header("access-control-allow-methods").split(", ").collect();
        assert!(["GET", "PATCH", "DELETE"].iter().all(|method| methods.contains(method)), "{methods:?}");
        let headers: Vec<_> = preflight.header("access-control-allow-headers").split(", ").collect();
        assert!(["authorization", "content-type", "if-match"].iter().all(|name| headers.contains(name)), "{headers:?}");
        assert!(preflight.header("access-control-max-age").parse::<u32>().unwrap() <= 7_200);

        // Error responses too: a page must be able to read the reason.
        for (method, path) in
            [(Method::GET, "/healthz"), (Method::GET, "/v1/me"), (Method::PUT, "/v1/me"), (Method::GET, "/none")]
        {
            let answer = send_from(&app, origin, method, path).await;
            assert_eq!(answer.header("access-control-allow-origin"), origin);
            assert_eq!(answer.header("vary"), "Origin");
            let exposed: Vec<_> = answer.header("access-control-expose-headers").split(", ").collect();
            assert!(["etag", "link", "location", "retry-after", "x-request-id"].iter().all(|name| exposed.contains(name)));
        }
    }
}

#[rstest]
#[case("capacitor://localhost")]
#[case("tauri://localhost")]
#[case("http://tauri.localhost")]
#[case("chrome-extension://abcdefghijklmnopabcdefghijklmnop")]
#[case("https://pr-17.preview.example.org")]
#[tokio::test]
async fn h08_an_application_or_an_origin_that_matches_a_pattern_may_send_any_header(#[case] origin: &str) {
    let app = start_with_origins(&[
        "capacitor://localhost",
        "tauri://localhost",
        "http://tauri.localhost",
        "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
        "https://*.preview.example.org",
    ])
    .await;
    let preflight = async |origin: &str, requested: &str| {
        let headers =
            [("origin", origin), ("access-control-request-method", "PATCH"), ("access-control-request-headers", requested)];
        app.anonymous().send(Method::OPTIONS, "/v1/me", &headers, Body::empty()).await
    };
    let answer = preflight(origin, "authorization,baggage, Sentry-Trace,traceparent,x-b3").await;
    assert_eq!(answer.header("access-control-allow-origin"), origin);
    let allowed: Vec<_> = answer.header("access-control-allow-headers").split(", ").collect();
    for name in ["authorization", "baggage", "sentry-trace", "traceparent", "x-b3", "content-type", "if-match"] {
        assert!(allowed.contains(&name), "{allowed:?}");
    }
    // A value that is not a list of names, or is a very long list, is not repeated.
    for requested in ["a b", "baggage, é", "*", "a:b", &vec!["x-a"; 65].join(","), &"x".repeat(5_000)] {
        let answer = preflight(origin, requested).await;
        assert_eq!(answer.header("access-control-allow-headers"), "authorization, content-type, if-match, if-none-match");
    }
    assert_not_shared(&preflight("https://evil.example", "baggage").await);
    assert_not_shared(&preflight("https://a.b.preview.example.org", "baggage").await);
}

#[rstest]
#[case::by_default(None, Some("max-age=31536000"))]
#[case::off(Some("off"), None)]
#[case::host(Some("host"), Some("max-age=31536000"))]
#[case::below(Some("include_subdomains"), Some("max-age=31536000; includeSubDomains"))]
#[tokio::test]
async fn h08_hsts_includes_subdomains_only_if_configured(#[case] hsts: Option<&str>, #[case] expected: Option<&str>) {
    let app = TestApp::start_with(|settings| {
        settings.server.public_url = Some("https://auth.example.org".parse().unwrap());
        if let Some(hsts) = hsts {
            settings.server.hsts = hsts.parse().unwrap();
        }
    })
    .await;
    let answer = app.anonymous().get("/healthz").await;
    assert_eq!(answer.headers.get("strict-transport-security").map(|policy| policy.to_str().unwrap()), expected);
}

#[tokio::test]
async fn the_root_redirects_browsers_to_the_account_pages_and_answers_404_to_programs() {
    let app = TestApp::start().await;
    let anonymous = app.anonymous();
    let send = async |method: Method, accept: &str| anonymous.send(method, "/", &[("accept", accept)], Body::empty()).await;
    let chrome = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
    for accept in [chrome, "text/html", "TEXT/HTML", "application/json, text/html;q=0.5", "é, text/html"] {
        for method in [Method::GET, Method::HEAD] {
            let answer = send(method, accept).await;
            assert_eq!(
                (answer.status, answer.header("location"), answer.header("vary")),
                (302, "/account/", "Accept"),
                "{accept}"
            );
        }
    }
    for accept in ["*/*", "application/json", "", "text/*", "text/html;q=0", "text/html;q=0.0", "text/html5", "x/text/html"] {
        assert_problem!(send(Method::GET, accept).await, 404, "not_found");
        assert_eq!(send(Method::HEAD, accept).await.status, 404);
    }
    assert_problem!(anonymous.get("/").await, 404, "not_found");
    let allowed = "GET, HEAD, OPTIONS";
    let options = send(Method::OPTIONS, chrome).await;
    assert_eq!((options.status, options.header("allow")), (204, allowed));
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::TRACE, Method::from_bytes(b"BREW").unwrap()] {
        let answer = assert_problem!(send(method, chrome).await, 405, "method_not_allowed");
        assert_eq!(answer.header("allow"), allowed);
    }
}

#[tokio::test]
async fn h08_an_origin_must_match_exactly() {
    let app = start_with_origins(&[ORIGIN]).await;
    for origin in [
        "null",
        "*",
        "",
        "http://app.example.org",
        "https://app.example.org:8443",
        "https://app.example.org.evil.example",
        "https://evil.example/https://app.example.org",
        "https://evilapp.example.org",
        "https://sub.app.example.org",
        "https://app.example.org/",
        "https://app.example.org ",
        "https://app.example.org https://evil.example",
        "https://äpp.example.org",
        "https://app.example.org\u{e9}",
    ] {
        for (method, path) in [(Method::OPTIONS, "/v1/me"), (Method::GET, "/healthz"), (Method::GET, "/v1/me")] {
            let answer = send_from(&app, origin, method, path).await;
            assert_not_shared(&answer);
            assert_eq!(answer.header("vary"), "Origin", "a shared cache must keep responses to different origins apart");
        }
    }
    let anonymous = app.anonymous().get("/healthz").await;
    assert_not_shared(&anonymous);
    assert_eq!(anonymous.header("vary"), "Origin");
}
