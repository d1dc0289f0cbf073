//! The pages: every path that is served but is not in the contract. The same list routes requests, tells OPTIONS which paths
//! exist, and gives the log the path without personal data.

use poem::{
    Request, Response,
    http::{Method, StatusCode, header},
};
use serde_json::json;

use super::{
    account_pages::AccountPages,
    contract,
    docs::Docs,
    http::{cache::Document, files::NO_CACHE, problem::Problem},
};
use crate::{
    config::Settings,
    error::{Error, Missing},
    live::passkeys::RelyingParty,
};

/// The methods of every page.
pub const METHODS: &str = "GET, HEAD, OPTIONS";

/// A page, or several with the same beginning.
pub struct Page {
    /// The path. A name in braces at its end stands for the rest of a path, such as `/docs/{file}`.
    pub template: &'static str,
    of_account: bool,
    respond: fn(&Pages, &Request, &str) -> Option<Response>,
}

/// Every page. The first one that matches a path counts.
static PAGES: [Page; 11] = [
    page("/", |pages, request, _| pages.root(request)),
    page("/openapi.json", |pages, request, _| Some(pages.contract.respond(request, "application/json", NO_CACHE))),
    page("/docs", |pages, request, _| pages.docs.page(request)),
    // The page names its files relative to `/docs`, so that it works below any base path.
    page("/docs/", |_, _, _| Some(redirect(StatusCode::PERMANENT_REDIRECT, "../docs"))),
    page("/docs/{file}", |pages, request, name| pages.docs.file(name, request)),
    account_page("/account", |_, request, _| {
        let query = request.uri().query().map(|query| format!("?{query}")).unwrap_or_default();
        Some(redirect(StatusCode::PERMANENT_REDIRECT, &format!("account/{query}")))
    }),
    account_page("/account/accent.css", |pages, request, _| Some(pages.account.as_ref()?.accent(request))),
    account_page("/account/assets/{file}", |pages, request, name| pages.account.as_ref()?.asset(name, request)),
    account_page("/account/{page}", |pages, request, path| pages.account.as_ref()?.page(path, request)),
    account_page("/.well-known/change-password", |_, _, _| Some(redirect(StatusCode::FOUND, "/account/password"))),
    account_page("/.well-known/passkey-endpoints", |pages, request, _| {
        Some(pages.passkey_endpoints.as_ref()?.respond(request, "application/json", NO_CACHE))
    }),
];

const fn page(template: &'static str, respond: fn(&Pages, &Request, &str) -> Option<Response>) -> Page {
    Page { template, of_account: false, respond }
}

/// A page that exists only if `account_pages.enabled` is set.
const fn account_page(template: &'static str, respond: fn(&Pages, &Request, &str) -> Option<Response>) -> Page {
    Page { template, of_account: true, respond }
}

impl Page {
    /// Returns the rest of a path of this page.
    fn rest<'a>(&self, path: &'a str) -> Option<&'a str> {
        match self.template.split_once('{') {
            Some((beginning, _)) => path.strip_prefix(beginning),
            None => (path == self.template).then_some(""),
        }
    }
}

/// What the pages respond.
pub struct Pages {
    contract: Document,
    docs: Docs,
    account: Option<AccountPages>,
    /// Tells password managers where a user adds and removes passkeys. Absent where passkeys cannot be used.
    passkey_endpoints: Option<Document>,
}

impl Pages {
    /// Prepares all pages that the settings enable.
    pub fn new(settings: &Settings) -> Self {
        let account = &settings.account_pages;
        Self {
            contract: Document::new(contract::text_below(&settings.server.base_path).into_owned()),
            docs: Docs::embedded(),
            account: account.enabled.then(|| AccountPages::new(account.accent)),
            passkey_endpoints: passkey_endpoints(settings),
        }
    }

    /// Returns the page with this path.
    pub fn find(&self, path: &str) -> Option<&'static Page> {
        PAGES.iter().filter(|page| self.account.is_some() || !page.of_account).find(|page| page.rest(path).is_some())
    }

    /// Responds to a request for a page that [`Self::find`] returned.
    pub fn respond(&self, page: &Page, request: &Request) -> Result<Response, Problem> {
        if *request.method() != Method::GET && *request.method() != Method::HEAD {
            return Err(Problem::method_not_allowed(METHODS));
        }
        let rest = page.rest(request.uri().path()).unwrap_or_default();
        let mut response = (page.respond)(self, request, rest).ok_or(Error::NotFound(Missing::Path))?;
        if *request.method() == Method::HEAD {
            response.set_body(());
        }
        Ok(response)
    }

    /// Redirects browsers to the account pages, or to the API reference if the account pages are off. Other programs get 404.
    fn root(&self, request: &Request) -> Option<Response> {
        let home = if self.account.is_some() { "/account/" } else { "/docs" };
        let mut response = accepts_html(request).then(|| redirect(StatusCode::FOUND, home))?;
        response.headers_mut().insert(header::VARY, header::HeaderValue::from_static("Accept"));
        Some(response)
    }
}

/// Returns the endpoints of passkeys, as the W3C's draft "A Well-Known URL for Relying Party Passkey Endpoints" defines them.
fn passkey_endpoints(settings: &Settings) -> Option<Document> {
    RelyingParty::of(settings).ok()?;
    let page = format!("{}/account/factors", settings.link_base());
    Some(Document::new(json!({ "enroll": page, "manage": page }).to_string()))
}

fn redirect(status: StatusCode, location: &str) -> Response {
    Response::builder().status(status).header(header::LOCATION, location).finish()
}

/// Returns whether a request comes from a browser: programs accept anything, but only browsers name HTML.
fn accepts_html(request: &Request) -> bool {
    let is_html = |range: &str| {
        let mut parts = range.split(';').map(str::trim);
        let is_html = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("text/html"));
        // RFC 9110 section 12.4.2: a weight of 0 means "not acceptable".
        is_html
            && !parts.any(|part| {
                part.split_once('=').is_some_and(|(name, weight)| name.eq_ignore_ascii_case("q") && weight.parse() == Ok(0.0))
            })
    };
    let lines = request.headers().get_all(header::ACCEPT).iter();
    let mut ranges = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    ranges.any(|range| str::from_utf8(range).is_ok_and(is_html))
}
