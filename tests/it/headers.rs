//! Headers: what every answer carries, and which other web origins may read it (row H08).

use poem::{Body, http::Method};
use rstest::rstest;
use vestibule::config::Settings;

use crate::{
    assert_problem,
    support::{TestApp, caller::Answer},
};

const STRICT: &str = "default-src 'none'; frame-ancestors 'none'";
const ORIGIN: &str = "https://app.example.org";

async fn shared_with(origins: &[&str]) -> TestApp {
    let origins = origins.iter().map(|it| it.parse().unwrap()).collect();
    TestApp::start_with(|settings: &mut Settings| settings.cors.origins = origins).await
}

async fn from(app: &TestApp, origin: &str, method: Method, path: &str) -> Answer {
    let headers =
        [("origin", origin), ("access-control-request-method", "PATCH"), ("access-control-request-headers", "authorization")];
    app.nobody().send(method, path, &headers, Body::empty()).await
}

#[track_caller]
fn assert_not_shared(answer: &Answer) {
    let shared: Vec<_> = answer.headers.keys().filter(|it| it.as_str().starts_with("access-control-")).collect();
    assert!(shared.is_empty(), "{shared:?}");
}

#[tokio::test]
async fn h08_every_kind_of_answer_is_guarded_by_its_headers() {
    let app = TestApp::start().await;
    let (ada, nobody) = (app.user("ada").await, app.nobody());
    let etag = nobody.get("/.well-known/jwks.json").await.header("etag").to_owned();
    let known = [("if-none-match", etag.as_str())];
    for (answer, status, cache) in [
        (ada.get("/v1/me").await, 200, "no-store"),
        (ada.get("/v1/token").await, 200, "no-store"),
        (ada.send(Method::HEAD, "/v1/me", &[], Body::empty()).await, 200, "no-store"),
        (ada.get("/v1/users").await, 403, "no-store"),
        (nobody.get("/v1/me").await, 401, "no-store"),
        (nobody.get("/none").await, 404, "no-store"),
        (nobody.send(Method::PUT, "/v1/me", &[], Body::empty()).await, 405, "no-store"),
        (nobody.send(Method::OPTIONS, "/v1/me", &[], Body::empty()).await, 204, "no-store"),
        (nobody.get("/healthz").await, 200, "no-store"),
        (nobody.get("/.well-known/jwks.json").await, 200, "public, max-age=300"),
        (nobody.send(Method::GET, "/.well-known/jwks.json", &known, Body::empty()).await, 304, "public, max-age=300"),
        (nobody.get("/openapi.json").await, 200, "no-cache"),
    ] {
        assert_eq!((answer.status, answer.header("cache-control")), (status, cache));
        assert_eq!(answer.header("content-security-policy"), STRICT);
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("referrer-policy"), "no-referrer");
        assert!(!answer.headers.contains_key("strict-transport-security") && !answer.headers.contains_key("server"));
    }
    let page = nobody.get("/docs").await;
    assert!(page.header("content-security-policy").starts_with("default-src 'none'; script-src 'self';"));
    assert_eq!(page.header("referrer-policy"), "no-referrer");
}

#[rstest]
#[case::none(None, false)]
#[case::plain(Some("http://auth.example.org"), false)]
#[case::secure(Some("https://auth.example.org"), true)]
#[tokio::test]
async fn h08_only_a_service_reached_through_tls_asks_for_tls(#[case] public_url: Option<&str>, #[case] expected: bool) {
    let public_url = public_url.map(|it| it.parse().unwrap());
    let app = TestApp::start_with(|settings| settings.server.public_url = public_url).await;
    for path in ["/healthz", "/v1/me", "/docs", "/none"] {
        let answer = app.nobody().get(path).await;
        assert_eq!(answer.headers.contains_key("strict-transport-security"), expected, "{path}");
    }
}

#[tokio::test]
async fn h08_no_other_origin_may_read_anything_unless_it_is_set() {
    let app = TestApp::start().await;
    for origin in [ORIGIN, "null", "*", "", "http://127.0.0.1:8080", "https://exämple.org"] {
        for (method, path) in [(Method::GET, "/healthz"), (Method::OPTIONS, "/v1/me"), (Method::GET, "/none")] {
            let answer = from(&app, origin, method, path).await;
            assert_not_shared(&answer);
            assert!(!answer.headers.contains_key("vary"));
        }
    }
}

#[tokio::test]
async fn h08_a_configured_origin_may_call_and_read() {
    let app = shared_with(&["https://other.example.org", ORIGIN, "http://localhost:3000"]).await;
    for origin in [ORIGIN, "http://localhost:3000"] {
        let preflight = from(&app, origin, Method::OPTIONS, "/v1/me").await;
        assert_eq!(preflight.status, 204);
        let methods: Vec<_> = preflight.header("access-control-allow-methods").split(", ").collect();
        assert!(["GET", "PATCH", "DELETE"].iter().all(|it| methods.contains(it)), "{methods:?}");
        let headers: Vec<_> = preflight.header("access-control-allow-headers").split(", ").collect();
        assert!(["authorization", "content-type", "if-match"].iter().all(|it| headers.contains(it)), "{headers:?}");
        assert!(preflight.header("access-control-max-age").parse::<u32>().unwrap() <= 7_200);

        // Refusals too: a page must be able to read why.
        for (method, path) in
            [(Method::GET, "/healthz"), (Method::GET, "/v1/me"), (Method::PUT, "/v1/me"), (Method::GET, "/none")]
        {
            let answer = from(&app, origin, method, path).await;
            assert_eq!(answer.header("access-control-allow-origin"), origin);
            assert_eq!(answer.header("vary"), "Origin");
            let exposed: Vec<_> = answer.header("access-control-expose-headers").split(", ").collect();
            assert!(["etag", "link", "location", "retry-after", "x-request-id"].iter().all(|it| exposed.contains(it)));
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
async fn h08_a_page_of_an_application_or_of_a_pattern_may_send_any_header_it_asks_for(#[case] origin: &str) {
    let app = shared_with(&[
        "capacitor://localhost",
        "tauri://localhost",
        "http://tauri.localhost",
        "chrome-extension://abcdefghijklmnopabcdefghijklmnop",
        "https://*.preview.example.org",
    ])
    .await;
    let ask = async |origin: &str, wished: &str| {
        let headers =
            [("origin", origin), ("access-control-request-method", "PATCH"), ("access-control-request-headers", wished)];
        app.nobody().send(Method::OPTIONS, "/v1/me", &headers, Body::empty()).await
    };
    let answer = ask(origin, "authorization,baggage, Sentry-Trace,traceparent,x-b3").await;
    assert_eq!(answer.header("access-control-allow-origin"), origin);
    let allowed: Vec<_> = answer.header("access-control-allow-headers").split(", ").collect();
    for name in ["authorization", "baggage", "sentry-trace", "traceparent", "x-b3", "content-type", "if-match"] {
        assert!(allowed.contains(&name), "{allowed:?}");
    }
    // What is not a list of names is not repeated, and neither is a list without end.
    for wished in ["a b", "baggage, é", "*", "a:b", &vec!["x-a"; 65].join(","), &"x".repeat(5_000)] {
        let answer = ask(origin, wished).await;
        assert_eq!(answer.header("access-control-allow-headers"), "authorization, content-type, if-match, if-none-match");
    }
    assert_not_shared(&ask("https://evil.example", "baggage").await);
    assert_not_shared(&ask("https://a.b.preview.example.org", "baggage").await);
}

#[rstest]
#[case::by_default(None, Some("max-age=31536000"))]
#[case::off(Some("off"), None)]
#[case::host(Some("host"), Some("max-age=31536000"))]
#[case::below(Some("include_subdomains"), Some("max-age=31536000; includeSubDomains"))]
#[tokio::test]
async fn h08_no_other_host_must_use_tls_unless_it_is_set(#[case] hsts: Option<&str>, #[case] expected: Option<&str>) {
    let app = TestApp::start_with(|settings| {
        settings.server.public_url = Some("https://auth.example.org".parse().unwrap());
        if let Some(hsts) = hsts {
            settings.server.hsts = hsts.parse().unwrap();
        }
    })
    .await;
    let answer = app.nobody().get("/healthz").await;
    assert_eq!(answer.headers.get("strict-transport-security").map(|policy| policy.to_str().unwrap()), expected);
}

#[tokio::test]
async fn the_root_sends_a_browser_to_the_docs_and_programs_nowhere() {
    let app = TestApp::start().await;
    let nobody = app.nobody();
    let ask = async |method: Method, accept: &str| nobody.send(method, "/", &[("accept", accept)], Body::empty()).await;
    let chrome = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";
    for accept in [chrome, "text/html", "TEXT/HTML", "application/json, text/html;q=0.5", "é, text/html"] {
        for method in [Method::GET, Method::HEAD] {
            let answer = ask(method, accept).await;
            assert_eq!((answer.status, answer.header("location"), answer.header("vary")), (302, "/docs", "Accept"), "{accept}");
        }
    }
    for accept in ["*/*", "application/json", "", "text/*", "text/html;q=0", "text/html;q=0.0", "text/html5", "x/text/html"] {
        assert_problem!(ask(Method::GET, accept).await, 404, "not_found");
        assert_eq!(ask(Method::HEAD, accept).await.status, 404);
    }
    assert_problem!(nobody.get("/").await, 404, "not_found");
    let read = "GET, HEAD, OPTIONS";
    let options = ask(Method::OPTIONS, chrome).await;
    assert_eq!((options.status, options.header("allow")), (204, read));
    for method in [Method::POST, Method::PUT, Method::DELETE, Method::TRACE, Method::from_bytes(b"BREW").unwrap()] {
        let answer = assert_problem!(ask(method, chrome).await, 405, "method_not_allowed");
        assert_eq!(answer.header("allow"), read);
    }
}

#[tokio::test]
async fn h08_an_origin_is_compared_whole() {
    let app = shared_with(&[ORIGIN]).await;
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
            let answer = from(&app, origin, method, path).await;
            assert_not_shared(&answer);
            assert_eq!(answer.header("vary"), "Origin", "a shared cache must not mix them up");
        }
    }
    let nobody = app.nobody().get("/healthz").await;
    assert_not_shared(&nobody);
    assert_eq!(nobody.header("vary"), "Origin");
}
