//! `/account`: the pages on which people sign in and manage their own account. `src/pages` has their source, and the binary
//! contains what is built from it. They use only the public API.

use std::collections::BTreeMap;

use poem::{
    Request, Response,
    http::{
        HeaderName,
        header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
    },
};

use super::http::{
    cache::decompress,
    files::{self, Embedded, File, IMMUTABLE, NO_CACHE},
};
use crate::config::Accent;

/// The headers of the page and its files. The page may run and read only what this origin serves, and Svelte's policy is the
/// only one that may turn text into HTML.
static HEADERS: [(HeaderName, &str); 7] = [
    (
        CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
         trusted-types svelte-trusted-html",
    ),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (REFERRER_POLICY, "no-referrer"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=(), \
         publickey-credentials-create=(self), publickey-credentials-get=(self)",
    ),
    (HeaderName::from_static("x-robots-tag"), "noindex"),
];

const PAGE: &str = "index.html";
/// How many slashes the path of a page may have behind `/account/`.
const DEPTH: usize = 8;

static BUILT: Embedded = include!(concat!(env!("OUT_DIR"), "/account.rs"));

/// The one HTML page, which shows all pages, and its files.
pub struct AccountPages {
    files: BTreeMap<&'static str, File>,
    /// The page for paths with no slash behind `/account/`, with one slash, and so on.
    by_depth: Vec<File>,
    accent: File,
}

impl AccountPages {
    /// Prepares the pages, with an accent colour of their own or that of the service.
    pub fn new(accent: Option<Accent>) -> Self {
        let html = BUILT.iter().find(|(name, _)| *name == PAGE).map(|(_, html)| decompress(html)).unwrap_or_default();
        let html = String::from_utf8_lossy(&html);
        // The page names its files relative to `/account/`, so that it works below any base path.
        let at_depth = |depth: usize| File::new(PAGE, html.replace("\"./", &format!("\"./{}", "../".repeat(depth))));
        Self {
            files: files::embedded(BUILT),
            by_depth: (0..=DEPTH).map(at_depth).collect(),
            accent: File::new("accent.css", accent.map(style_sheet).unwrap_or_default()),
        }
    }

    /// Responds to a path behind `/account/`, of whatever page: the script shows which one it is, or that there is none.
    pub fn page(&self, path: &str, request: &Request) -> Option<Response> {
        let page = self.by_depth.get(path.matches('/').count())?;
        Some(page.respond(request, NO_CACHE, &HEADERS))
    }

    /// Responds with a file whose name contains a hash of its content, or with `None` if there is no such file.
    pub fn asset(&self, name: &str, request: &Request) -> Option<Response> {
        Some(self.files.get(&*format!("assets/{name}"))?.respond(request, IMMUTABLE, &HEADERS))
    }

    /// Responds with the style sheet that sets the accent colour. Without such a setting it is empty.
    pub fn accent(&self, request: &Request) -> Response {
        self.accent.respond(request, NO_CACHE, &HEADERS)
    }
}

/// Returns the rules that set the accent colour, and the colour of text on it.
fn style_sheet(accent: Accent) -> String {
    let rule = |accent: Accent, text: &str| format!(":root {{ --accent: {accent}; --on-accent: {text}; }}");
    let (light, dark) = (rule(accent, "#ffffff"), rule(accent.in_the_dark(), "#000000"));
    format!("{light}\n@media (prefers-color-scheme: dark) {{\n  {dark}\n}}\n")
}
