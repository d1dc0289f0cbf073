//! Requests that need no handler: OPTIONS, TRACE, and `/`; and the paths that are not in the contract.

use poem::{
    Request, Response,
    http::{Method, StatusCode, header},
};

use crate::{
    api::{
        contract::routes::{self, Route},
        http::problem::Problem,
    },
    error::{Error, Missing},
};

/// The methods of a page.
const PAGE_METHODS: &str = "GET, HEAD, OPTIONS";

/// Responds to OPTIONS with the methods of the path, and to TRACE with 405. Returns `None` for other methods.
pub(super) fn options_or_trace(method: &Method, path: Option<KnownPath>) -> Option<Result<Response, Problem>> {
    if method != Method::OPTIONS && method != Method::TRACE {
        return None;
    }
    Some(match path.map(KnownPath::allow) {
        None => Err(Error::NotFound(Missing::Path).into()),
        Some(allow) if method == Method::TRACE => Err(Problem::method_not_allowed(allow)),
        Some(allow) => Ok(Response::builder().status(StatusCode::NO_CONTENT).header(header::ALLOW, allow).finish()),
    })
}

/// Responds to `/`: redirects browsers to the API reference, and returns 404 to other programs.
pub(super) fn root(request: &Request) -> Result<Response, Problem> {
    let accepts = request.headers().get_all(header::ACCEPT).iter();
    let accepts_html = |range: &str| {
        let mut parts = range.split(';').map(str::trim);
        let is_html = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("text/html"));
        // RFC 9110 section 12.4.2: a weight of 0 means "not acceptable".
        is_html
            && !parts.any(|part| {
                part.split_once('=').is_some_and(|(name, weight)| name.eq_ignore_ascii_case("q") && weight.parse() == Ok(0.0))
            })
    };
    let mut ranges = accepts.flat_map(|accept| accept.as_bytes().split(|byte| *byte == b','));
    let is_browser = ranges.any(|range| str::from_utf8(range).is_ok_and(accepts_html));
    match *request.method() {
        Method::GET | Method::HEAD if is_browser => {
            let response = Response::builder().status(StatusCode::FOUND).header(header::VARY, "Accept");
            Ok(response.header(header::LOCATION, "/docs").finish())
        }
        Method::GET | Method::HEAD => Err(Error::NotFound(Missing::Path).into()),
        _ => Err(Problem::method_not_allowed(PAGE_METHODS)),
    }
}

/// A path that exists: of the contract, or of a page.
#[derive(Clone, Copy)]
pub(super) enum KnownPath {
    Contract(&'static Route),
    Page(&'static str),
}

impl KnownPath {
    /// Finds the path of a request.
    pub(super) fn find(path: &str) -> Option<Self> {
        routes::find(path).map(Self::Contract).or_else(|| page(path).map(Self::Page))
    }

    /// Returns the path with placeholders. The path itself may contain personal data, so it is not logged.
    pub(super) fn template(self) -> &'static str {
        match self {
            Self::Contract(route) => route.template,
            Self::Page(template) => template,
        }
    }

    /// Returns the id of the operation that this method calls.
    pub(super) fn operation(self, method: &Method) -> Option<&'static str> {
        match self {
            Self::Contract(route) => route.operation(method),
            Self::Page(_) => None,
        }
    }

    /// Returns the methods of the path, as the value of `Allow`.
    pub(super) fn allow(self) -> &'static str {
        match self {
            Self::Contract(route) => route.allow(),
            Self::Page(_) => PAGE_METHODS,
        }
    }
}

/// Returns the template of a path that is not in the contract.
fn page(path: &str) -> Option<&'static str> {
    match path {
        "/" => Some("/"),
        "/openapi.json" => Some("/openapi.json"),
        "/docs" => Some("/docs"),
        path if path.starts_with("/docs/") => Some("/docs/{file}"),
        _ => None,
    }
}
