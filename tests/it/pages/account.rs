//! `/account`: the pages on which people sign in and manage their own account.

use poem::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{get, get_again, send};
use crate::{assert_problem, support::TestApp};

const HTML: &str = "text/html; charset=utf-8";
const BROWSER: (&str, &str) = ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");

/// Returns the relative addresses that an HTML page names.
fn named(html: &str) -> Vec<&str> {
    html.split('"').filter(|word| word.starts_with("./")).collect()
}

/// Returns the path to which an address on a page leads, as a browser resolves it.
fn resolve(page: &str, address: &str) -> String {
    let mut folders: Vec<_> = page.split('/').collect();
    folders.pop();
    for part in address.split('/') {
        match part {
            "." => {}
            ".." => drop(folders.pop()),
            part => folders.push(part),
        }
    }
    folders.join("/")
}

#[tokio::test]
async fn the_binary_contains_the_pages_and_every_file_that_they_name() {
    let app = TestApp::start().await;
    for path in
        ["/account/", "/account/reset", "/account/no-such-page", "/account/reset%23t=vt1.a.b", "/account/a/b/c", "/account//"]
    {
        let page = get_again(&app, path).await;
        assert_eq!((page.header("content-type"), page.header("cache-control")), (HTML, "no-cache"), "{path}");
        let html = page.text();
        assert!(html.contains("<div id=\"page\"></div>"), "{html}");
        // Everything else that a page can load would need an address that begins with a scheme, a slash or a name.
        let attributes = html.matches("href=").count() + html.matches("src=").count();
        assert_eq!(named(html).len(), attributes, "{html}");
        let files: Vec<_> = named(html).iter().map(|address| resolve(path, address)).collect();
        for (extension, media_type) in [(".js", "text/javascript; charset=utf-8"), (".css", "text/css; charset=utf-8")] {
            let is_built = |file: &&String| file.starts_with("/account/assets/") && file.ends_with(extension);
            let [built] = files.iter().filter(is_built).collect::<Vec<_>>()[..] else { panic!("{files:?}") };
            let file = get_again(&app, built).await;
            let expected = (media_type, "public, max-age=31536000, immutable");
            assert_eq!((file.header("content-type"), file.header("cache-control")), expected, "{built}");
            assert!(file.body.len() > 1_000, "{built}");
        }
        for file in files {
            assert_eq!(get(&app, &file).await.status, StatusCode::OK, "{path}: {file}");
        }
    }
}

#[tokio::test]
async fn h08_the_account_pages_may_run_only_what_this_origin_serves() {
    let app = TestApp::start().await;
    let html = get(&app, "/account/").await;
    let script = named(html.text()).into_iter().find(|address| address.contains(".js")).unwrap();
    for path in ["/account/", "/account/accent.css", &resolve("/account/", script)] {
        let answer = get(&app, path).await;
        for (name, value) in [
            (
                "content-security-policy",
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; \
                 form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
                 trusted-types svelte-trusted-html",
            ),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-robots-tag", "noindex"),
        ] {
            assert_eq!(answer.header(name), value, "{path}");
        }
        let permissions = answer.header("permissions-policy");
        assert!(permissions.contains("publickey-credentials-get=(self)") && permissions.contains("camera=()"), "{permissions}");
    }
    let html = html.text();
    assert!(!html.contains("<style") && !html.contains("style=") && !html.contains("//"), "{html}");
    assert_eq!(html.matches("<script").count(), html.matches("></script>").count(), "{html}");
}

#[tokio::test]
async fn an_unknown_file_is_not_found_and_never_the_page() {
    let app = TestApp::start().await;
    for path in [
        "/account/assets/",
        "/account/assets/none.js",
        "/account/assets/account-00000000.js",
        "/account/assets/../index.html",
        "/account/assets/%2e%2e/index.html",
        "/account/assets//",
        "/account/a/b/c/d/e/f/g/h/i/j", // deeper than any page will be
        "/Account/",
        "/accounts",
    ] {
        assert_problem!(app.anonymous().get(path).await, 404, "not_found");
    }
}

#[tokio::test]
async fn the_folder_without_a_slash_redirects_and_keeps_the_query() {
    let app = TestApp::start().await;
    for (path, location) in [
        ("/account", "account/"),
        ("/account?return_to=https%3A%2F%2Fa.example%2F", "account/?return_to=https%3A%2F%2Fa.example%2F"),
    ] {
        let answer = get(&app, path).await;
        assert_eq!((answer.status, answer.header("location")), (StatusCode::PERMANENT_REDIRECT, location));
    }
}

#[tokio::test]
async fn password_managers_find_the_page_that_changes_the_password() {
    let app = TestApp::start().await;
    let answer = get(&app, "/.well-known/change-password").await;
    assert_eq!((answer.status, answer.header("location")), (StatusCode::FOUND, "/account/password"));
}

#[tokio::test]
async fn password_managers_find_the_page_of_passkeys_where_these_work() {
    let app = TestApp::start_with(|settings| settings.server.public_url = Some("https://id.example.org".parse().unwrap())).await;
    let answer = get_again(&app, "/.well-known/passkey-endpoints").await;
    assert_eq!(answer.header("content-type"), "application/json");
    let page = "https://id.example.org/account/factors";
    assert_eq!(serde_json::from_str::<Value>(answer.text()).unwrap(), json!({ "enroll": page, "manage": page }));
    let app = TestApp::start().await;
    assert_problem!(app.anonymous().get("/.well-known/passkey-endpoints").await, 404, "not_found");
}

#[tokio::test]
async fn the_accent_colour_is_a_style_sheet_of_its_own() {
    let app = TestApp::start().await;
    let unset = get_again(&app, "/account/accent.css").await;
    assert_eq!((unset.header("content-type"), unset.text()), ("text/css; charset=utf-8", ""));
    let app = TestApp::start_with(|settings| settings.account_pages.accent = Some("#7B1FA2".parse().unwrap())).await;
    let sheet = get_again(&app, "/account/accent.css").await;
    assert_eq!(sheet.header("cache-control"), "no-cache");
    assert_ne!(sheet.header("etag"), unset.header("etag"));
    let (light, dark) = sheet.text().split_once("@media (prefers-color-scheme: dark)").unwrap();
    assert_eq!(light, ":root { --accent: #7b1fa2; --on-accent: #ffffff; }\n");
    assert!(dark.contains("--on-accent: #000000;") && !dark.contains("#7b1fa2"), "it is too dark for a dark page: {dark}");
}

#[tokio::test]
async fn pages_that_are_off_are_not_found() {
    let app = TestApp::start_with(|settings| settings.account_pages.enabled = false).await;
    for path in ["/account", "/account/", "/account/reset", "/account/accent.css", "/.well-known/change-password"] {
        assert_problem!(app.anonymous().get(path).await, 404, "not_found");
        assert_eq!(send(&app, Method::OPTIONS, path, &[]).await.status, StatusCode::NOT_FOUND, "{path}");
    }
    let root = send(&app, Method::GET, "/", &[BROWSER]).await;
    assert_eq!((root.status, root.header("location")), (StatusCode::FOUND, "/docs"));
    assert_eq!(get(&app, "/docs").await.status, StatusCode::OK);
}
