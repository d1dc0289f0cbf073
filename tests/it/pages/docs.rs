//! `/docs`: the API reference and its files.

use poem::http::StatusCode;

use super::{get, get_again};
use crate::{assert_problem, support::TestApp};

/// The media types of the page and its files.
const FILES: [(&str, &str); 8] = [
    ("/docs", "text/html; charset=utf-8"),
    ("/docs/vestibule.js", "text/javascript; charset=utf-8"),
    ("/docs/vestibule.css", "text/css; charset=utf-8"),
    ("/docs/vestibule.svg", "image/svg+xml"),
    ("/docs/swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    ("/docs/swagger-ui-bundle.js.LICENSE.txt", "text/plain; charset=utf-8"),
    ("/docs/swagger-ui.css", "text/css; charset=utf-8"),
    ("/docs/swagger-ui.NOTICE.txt", "text/plain; charset=utf-8"),
];

#[tokio::test]
async fn every_file_has_its_media_type_and_is_not_sent_again_to_a_client_that_has_it() {
    let app = TestApp::start().await;
    for (path, media_type) in FILES {
        let file = get_again(&app, path).await;
        assert_eq!((file.header("content-type"), file.header("cache-control")), (media_type, "no-cache"), "{path}");
        assert!(!file.body.is_empty(), "{path}");
    }
}

#[tokio::test]
async fn h08_the_reference_may_run_only_what_this_origin_serves() {
    let app = TestApp::start().await;
    let page = get(&app, "/docs").await;
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; "), "{policy}");
    assert!(!policy.contains("unsafe") && !policy.contains("http") && !policy.contains('*'), "{policy}");
    let html = page.text();
    assert!(!html.contains("<style") && !html.contains("style=") && !html.contains("//"), "{html}");
    assert_eq!(html.matches("<script").count(), html.matches("></script>").count(), "{html}");
}

#[tokio::test]
async fn every_file_that_the_reference_names_is_served() {
    let app = TestApp::start().await;
    let page = get(&app, "/docs").await;
    let named: Vec<_> = page.text().split('"').filter(|word| word.starts_with("docs/")).collect();
    assert_eq!(named.len(), 5, "{}", page.text());
    for name in named {
        assert_eq!(get(&app, &format!("/{name}")).await.status, StatusCode::OK, "{name}");
    }
}

#[tokio::test]
async fn other_paths_are_not_found() {
    let app = TestApp::start().await;
    for path in [
        "/docs/unknown.js",
        "/docs/UPDATE.md",
        "/docs/../docs.rs",
        "/docs/..",
        "/docs/%2e%2e%2fdocs.rs",
        "/docs/..%2fUPDATE.md",
        "/docs/..%5cUPDATE.md",
        "/docs/%2fetc%2fpasswd",
        "/docs//index.html",
        "/docs/./index.html",
        "/docs/index.html/",
        "/docs/index.html%00",
        "/docs/INDEX.HTML",
    ] {
        assert_problem!(app.anonymous().get(path).await, 404, "not_found");
    }
}

#[tokio::test]
async fn the_folder_redirects_to_the_page() {
    let folder = get(&TestApp::start().await, "/docs/").await;
    assert_eq!((folder.status, folder.header("location")), (StatusCode::PERMANENT_REDIRECT, "../docs"));
}
