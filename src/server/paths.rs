//! The paths that exist, in the contract or as pages; and requests that need no handler: OPTIONS and TRACE.

use poem::{
    Response,
    http::{Method, StatusCode, header},
};

use crate::{
    api::{
        contract::routes::{self, Route},
        http::problem::Problem,
        pages::{self, Page, Pages},
    },
    error::{Error, Missing},
};

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

/// A path that exists: of the contract, or of a page.
#[derive(Clone, Copy)]
pub(super) enum KnownPath {
    Contract(&'static Route),
    Page(&'static Page),
}

impl KnownPath {
    /// Finds the path of a request.
    pub(super) fn find(path: &str, pages: &Pages) -> Option<Self> {
        routes::find(path).map(Self::Contract).or_else(|| pages.find(path).map(Self::Page))
    }

    /// Returns the path with placeholders. The path itself may contain personal data, so it is not logged.
    pub(super) fn template(self) -> &'static str {
        match self {
            Self::Contract(route) => route.template,
            Self::Page(page) => page.template,
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
            Self::Page(_) => pages::METHODS,
        }
    }
}
