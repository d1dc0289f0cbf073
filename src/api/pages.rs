//! The pages: every path that is served but is not in the contract. The same list routes requests, tells OPTIONS which paths
//! exist, and gives the log the path without personal data.

use std::sync::OnceLock;

use poem::{
    Request, Response,
    http::{Method, StatusCode, header},
};
use serde_json::json;

use super::{
    account_pages::AccountPages,
    contract,
    docs::Docs,
    http::{
        cache::{Document, compress},
        files::NO_CACHE,
        headers::accepts_html,
        problem::Problem,
    },
};
use crate::{
    config::{BasePath, Settings},
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
    page("/openapi.json", |pages, request, _| Some(pages.contract().respond(request, "application/json", NO_CACHE))),
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
    base_path: BasePath,
    contract: OnceLock<Document>,
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
            base_path: settings.server.base_path.clone(),
            contract: OnceLock::new(),
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

    /// The contract, which is made for the first client that reads it: that takes longer than the rest of the start.
    fn contract(&self) -> &Document {
        self.contract.get_or_init(|| Document::compressed(compress(&contract::text_below(&self.base_path))))
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
