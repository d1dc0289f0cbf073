//! `/docs`: Swagger UI for the contract, embedded in the binary. The page loads nothing from another origin.

use std::collections::BTreeMap;

use poem::{
    Request, Response,
    http::{
        HeaderName,
        header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
    },
};

use super::http::files::{self, Embedded, File, NO_CACHE};

/// The headers of the page and its files. The page may run and read only what this origin serves.
///
/// `data:` is for images only, the icons in Swagger UI's style sheet. Swagger UI sets its inline styles through the DOM, which
/// `style-src` does not govern, so `unsafe-inline` is not needed.
static HEADERS: [(HeaderName, &str); 3] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
];

const PAGE: &str = "index.html";

static ASSETS: Embedded = include!(concat!(env!("OUT_DIR"), "/docs.rs"));

/// The page and its files.
pub struct Docs(BTreeMap<&'static str, File>);

impl Docs {
    /// Prepares the page and its files.
    pub fn embedded() -> Self {
        Self(files::embedded(ASSETS))
    }

    /// Responds with the page.
    pub fn page(&self, request: &Request) -> Option<Response> {
        self.file(PAGE, request)
    }

    /// Responds with a file, or with `None` if there is no such file.
    pub fn file(&self, name: &str, request: &Request) -> Option<Response> {
        Some(self.0.get(name)?.respond(request, NO_CACHE, &HEADERS))
    }
}
