//! `/docs`: Swagger UI for the contract, embedded in the binary. The page loads nothing from another origin.

use std::borrow::Cow;

use bytes::Bytes;
use poem::{
    Request, Response, Result, Route,
    error::NotFoundError,
    get, handler,
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_SECURITY_POLICY, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
    },
    web::Path,
};
use rust_embed::Embed;

use super::http::cache::Document;

/// The content security policy of the page: it may run and read only what this origin serves.
///
/// `data:` is for images only, the icons in Swagger UI's style sheet. Swagger UI sets its inline styles through the DOM, which
/// `style-src` does not govern, so `unsafe-inline` is not needed.
pub const CONTENT_SECURITY_POLICY_VALUE: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PAGE: &str = "index.html";

/// The name and media type of every file that is served.
const FILES: [(&str, &str); 9] = [
    (PAGE, "text/html; charset=utf-8"),
    ("vestibule.js", "text/javascript; charset=utf-8"),
    ("vestibule.css", "text/css; charset=utf-8"),
    ("vestibule.svg", "image/svg+xml"),
    ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    ("swagger-ui-bundle.js.LICENSE.txt", "text/plain; charset=utf-8"),
    ("swagger-ui.css", "text/css; charset=utf-8"),
    ("swagger-ui.LICENSE.txt", "text/plain; charset=utf-8"),
    ("swagger-ui.NOTICE.txt", "text/plain; charset=utf-8"),
];

#[derive(Embed)]
#[folder = "src/api/docs/assets"]
struct Assets;

/// Adds the page at `/docs` and its files under `/docs/` to `routes`. Both are public.
///
/// The responses set [`CONTENT_SECURITY_POLICY_VALUE`]. A layer that sets another policy must not replace it.
pub fn mount(routes: Route) -> Route {
    routes.at("/docs", get(read_page)).at("/docs/", get(redirect_to_page)).at("/docs/:name", get(read_file))
}

#[handler]
fn read_page(request: &Request) -> Result<Response> {
    serve(PAGE, request)
}

/// Redirects to the page. The page names its files relative to `/docs`, so that it works behind a proxy that adds a prefix.
#[handler]
fn redirect_to_page() -> Response {
    Response::builder().status(StatusCode::PERMANENT_REDIRECT).header(LOCATION, "../docs").finish()
}

#[handler]
fn read_file(Path(name): Path<String>, request: &Request) -> Result<Response> {
    serve(&name, request)
}

fn serve(name: &str, request: &Request) -> Result<Response> {
    let (name, content_type) = FILES.into_iter().find(|(known, _)| *known == name).ok_or(NotFoundError)?;
    let file = Assets::get(name).ok_or(NotFoundError)?;
    let body = match file.data {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => bytes.into(),
    };
    let document = Document::with_digest(body, &file.metadata.sha256_hash());
    // `no-cache` means that a browser asks each time whether its copy is current, so an update shows at once.
    let mut response = document.respond(request, content_type, "no-cache");
    for (name, value) in [
        (CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY_VALUE),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use poem::{
        Endpoint,
        http::{
            Method,
            header::{AsHeaderName, CONTENT_TYPE, ETAG, IF_NONE_MATCH},
        },
        test::{TestClient, TestResponse},
    };

    use super::*;

    fn client() -> TestClient<impl Endpoint> {
        TestClient::new(mount(Route::new()))
    }

    fn header(response: &TestResponse, name: impl AsHeaderName) -> String {
        response.0.headers().get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
    }

    #[test]
    fn every_embedded_file_is_served() {
        let mut embedded: Vec<_> = Assets::iter().collect();
        let mut served = FILES.map(|(name, _)| name);
        embedded.sort();
        served.sort_unstable();
        assert_eq!(embedded, served);
    }

    #[tokio::test]
    async fn every_file_has_its_media_type_and_is_not_sent_again_to_a_client_that_has_it() {
        let client = client();
        let paths = FILES.map(|(name, content_type)| (format!("/docs/{name}"), content_type));
        for (path, content_type) in paths.into_iter().chain([("/docs".to_owned(), "text/html; charset=utf-8")]) {
            let first = client.get(&path).send().await;
            first.assert_status_is_ok();
            let etag = header(&first, ETAG);
            assert_eq!(header(&first, CONTENT_TYPE), content_type, "{path}");
            assert_eq!(etag.len(), 45, "{path}");
            assert!(!first.0.into_body().into_vec().await.unwrap().is_empty(), "{path}");

            for known in [etag.clone(), format!("\"other\", W/{etag}"), "*".to_owned()] {
                let again = client.get(&path).header(IF_NONE_MATCH, known).send().await;
                again.assert_status(StatusCode::NOT_MODIFIED);
                assert_eq!(header(&again, ETAG), etag, "{path}");
                assert_eq!(header(&again, CONTENT_SECURITY_POLICY), CONTENT_SECURITY_POLICY_VALUE, "{path}");
                assert!(again.0.into_body().into_vec().await.unwrap().is_empty(), "{path}");
            }
            for unknown in ["\"other\"", "rubbish"] {
                client.get(&path).header(IF_NONE_MATCH, unknown).send().await.assert_status_is_ok();
            }
        }
    }

    #[tokio::test]
    async fn h08_the_page_may_run_only_what_this_origin_serves() {
        let page = client().get("/docs").send().await;
        let policy = header(&page, CONTENT_SECURITY_POLICY);
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; "), "{policy}");
        assert!(!policy.contains("unsafe") && !policy.contains("http") && !policy.contains('*'), "{policy}");
        assert_eq!(header(&page, X_CONTENT_TYPE_OPTIONS), "nosniff");
        assert_eq!(header(&page, REFERRER_POLICY), "no-referrer");

        let page = page.0.into_body().into_string().await.unwrap();
        assert!(!page.contains("<style") && !page.contains("style=") && !page.contains("//"), "{page}");
        assert_eq!(page.matches("<script").count(), page.matches("></script>").count(), "{page}");
    }

    #[tokio::test]
    async fn every_file_that_the_page_names_exists() {
        let client = client();
        let page = client.get("/docs").send().await.0.into_body().into_string().await.unwrap();
        let named: Vec<_> = page.split('"').filter(|word| word.starts_with("docs/")).collect();
        assert_eq!(named.len(), 5, "{page}");
        for name in named {
            client.get(format!("/{name}")).send().await.assert_status_is_ok();
        }
    }

    #[tokio::test]
    async fn other_paths_are_not_found() {
        let client = client();
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
            client.get(path).send().await.assert_status(StatusCode::NOT_FOUND);
        }
    }

    #[tokio::test]
    async fn the_folder_redirects_to_the_page() {
        let response = client().get("/docs/").send().await;
        response.assert_status(StatusCode::PERMANENT_REDIRECT);
        assert_eq!(header(&response, LOCATION), "../docs");
    }

    #[tokio::test]
    async fn the_page_allows_only_get_and_head() {
        let client = client();
        let head = client.head("/docs").send().await;
        head.assert_status_is_ok();
        assert_eq!(header(&head, CONTENT_TYPE), "text/html; charset=utf-8");
        for method in [Method::POST, Method::PUT, Method::DELETE] {
            client.request(method, "/docs").send().await.assert_status(StatusCode::METHOD_NOT_ALLOWED);
        }
    }
}
