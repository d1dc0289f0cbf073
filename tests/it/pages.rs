//! Pages: what is served beside the contract, to browsers (rows A01 and H08).

mod account;
mod compressed;
mod docs;

use poem::{
    Request,
    http::{HeaderMap, Method, StatusCode},
};

use crate::support::TestApp;

/// A response with whatever body.
struct Served {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Served {
    fn header(&self, name: &str) -> &str {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next().map_or("", |value| value.to_str().unwrap());
        assert!(values.next().is_none(), "{name} is there twice");
        value
    }

    fn text(&self) -> &str {
        str::from_utf8(&self.body).unwrap()
    }
}

async fn send(app: &TestApp, method: Method, path: &str, headers: &[(&str, &str)]) -> Served {
    let request = Request::builder().method(method).uri_str(path);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).finish();
    let (parts, body) = app.raw(request).await.into_parts();
    Served { status: parts.status, headers: parts.headers, body: body.into_vec().await.unwrap() }
}

async fn get(app: &TestApp, path: &str) -> Served {
    send(app, Method::GET, path, &[]).await
}

/// Gets a file twice, and panics unless the second time only says that nothing has changed.
async fn get_again(app: &TestApp, path: &str) -> Served {
    let first = get(app, path).await;
    assert_eq!(first.status, StatusCode::OK, "{path}");
    let etag = first.header("etag").to_owned();
    assert!(etag.len() > 20, "{path}: {etag}");
    for known in [etag.clone(), format!("\"other\", W/{etag}"), "*".to_owned()] {
        let again = send(app, Method::GET, path, &[("if-none-match", &known)]).await;
        assert_eq!(
            (again.status, again.header("etag"), again.body.len()),
            (StatusCode::NOT_MODIFIED, etag.as_str(), 0),
            "{path}"
        );
        for name in ["content-security-policy", "cache-control", "x-content-type-options", "referrer-policy"] {
            assert_eq!(again.header(name), first.header(name), "{path}");
        }
    }
    for unknown in ["\"other\"", "rubbish"] {
        let again = send(app, Method::GET, path, &[("if-none-match", unknown)]).await;
        assert_eq!((again.status, &again.body), (StatusCode::OK, &first.body), "{path}");
    }
    first
}

/// Panics unless a page has the methods of pages and no others.
async fn allows_only_reading(app: &TestApp, path: &str) {
    let allowed = "GET, HEAD, OPTIONS";
    let (read, head) = (get(app, path).await, send(app, Method::HEAD, path, &[]).await);
    assert_eq!((head.status, head.body.len()), (read.status, 0), "{path}");
    for (name, value) in read.headers.iter().filter(|(name, _)| *name != "x-request-id") {
        assert_eq!(head.headers.get(name), Some(value), "{path}");
    }
    let options = send(app, Method::OPTIONS, path, &[]).await;
    assert_eq!((options.status, options.header("allow")), (StatusCode::NO_CONTENT, allowed), "{path}");
    for method in [Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::TRACE] {
        let refused = send(app, method, path, &[]).await;
        assert_eq!((refused.status, refused.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, allowed), "{path}");
        assert!(refused.text().contains("\"code\":\"method_not_allowed\""), "{}", refused.text());
    }
}

#[tokio::test]
async fn a01_every_page_can_be_read_and_nothing_else() {
    let app = TestApp::start().await;
    for path in ["/openapi.json", "/docs", "/docs/", "/docs/vestibule.js", "/account", "/account/", "/account/reset"] {
        allows_only_reading(&app, path).await;
    }
    for path in ["/account/accent.css", "/.well-known/change-password"] {
        allows_only_reading(&app, path).await;
    }
}
