//! Files are sent compressed to the clients that read gzip (row H14).

use std::io::Read;

use flate2::read::GzDecoder;
use poem::http::{Method, StatusCode};
use rstest::rstest;

use super::{Served, get, send};
use crate::support::TestApp;

/// A file of each kind, and the contract, which is compressed when it is first read.
const FILES: [&str; 4] = ["/docs/swagger-ui-bundle.js", "/docs/vestibule.css", "/docs", "/openapi.json"];

async fn get_for(app: &TestApp, path: &str, accept_encoding: &str) -> Served {
    send(app, Method::GET, path, &[("accept-encoding", accept_encoding)]).await
}

/// The files that a page of the account names.
async fn files_of_the_account_page(app: &TestApp) -> Vec<String> {
    let page = get(app, "/account/").await;
    let named = page.text().split('"').filter_map(|word| word.strip_prefix("./assets/"));
    named.map(|name| format!("/account/assets/{name}")).collect()
}

#[tokio::test]
async fn h14_files_are_compressed_for_clients_that_read_gzip() {
    let app = TestApp::start().await;
    let mut files = files_of_the_account_page(&app).await;
    assert!(files.len() >= 3, "{files:?}");
    files.extend(FILES.map(str::to_owned));
    for path in files {
        let (plain, compressed) = (get(&app, &path).await, get_for(&app, &path, "gzip").await);
        assert_eq!((plain.status, compressed.status), (StatusCode::OK, StatusCode::OK), "{path}");
        assert_eq!((plain.header("content-encoding"), compressed.header("content-encoding")), ("", "gzip"), "{path}");
        let mut body = Vec::new();
        GzDecoder::new(compressed.body.as_slice()).read_to_end(&mut body).unwrap();
        assert!(body == plain.body, "{path}");
        assert!(compressed.body.len() < plain.body.len() || plain.body.len() < 1_000, "{path}");
        for name in ["content-type", "cache-control", "content-security-policy", "vary"] {
            assert_eq!(plain.header(name), compressed.header(name), "{path}");
        }
        assert_eq!(plain.header("vary"), "Accept-Encoding", "{path}");
    }
}

#[tokio::test]
async fn h14_what_is_compressed_has_an_entity_tag_of_its_own() {
    let app = TestApp::start().await;
    for path in FILES {
        let (plain, compressed) = (get(&app, path).await, get_for(&app, path, "gzip").await);
        let (plain, compressed) = (plain.header("etag"), compressed.header("etag"));
        assert_ne!(plain, compressed, "{path}");
        for (accepted, known, status) in [
            ("gzip", compressed, StatusCode::NOT_MODIFIED),
            ("identity", plain, StatusCode::NOT_MODIFIED),
            ("gzip", plain, StatusCode::OK),
            ("identity", compressed, StatusCode::OK),
        ] {
            let again = send(&app, Method::GET, path, &[("accept-encoding", accepted), ("if-none-match", known)]).await;
            assert_eq!((again.status, again.header("vary")), (status, "Accept-Encoding"), "{path}: {accepted}");
        }
    }
}

#[rstest]
#[case("gzip", true)]
#[case("GZIP", true)]
#[case("x-gzip", true)]
#[case("br, gzip;q=0.5, identity", true)]
#[case("deflate,gzip ; q=1", true)]
#[case("*", true)]
#[case("*;q=0, gzip", true)]
#[case("", false)]
#[case("identity", false)]
#[case("br", false)]
#[case("gzip;q=0", false)]
#[case("gzip; Q=0.000", false)]
#[case("*, gzip;q=0", false)]
#[case("*;q=0", false)]
#[case("gzipped", false)]
#[case("\u{e9}, deflate", false)]
#[tokio::test]
async fn h14_the_client_decides(#[case] accept_encoding: &str, #[case] is_compressed: bool) {
    let file = get_for(&TestApp::start().await, "/docs/vestibule.css", accept_encoding).await;
    assert_eq!(file.header("content-encoding"), if is_compressed { "gzip" } else { "" });
}
